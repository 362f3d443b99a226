"""Bounds of the chain against laws that are known: no scatter where the chain is exact, norm one where it is wrong."""

import math

import pytest
import torch

from physgen.diffusion.exact import EnumeratedIsing, GaussianField, GaussianMixture, IsingRing
from physgen.diffusion.exact.atoms import enumerate_spins
from physgen.diffusion.inference.categorical_kernel import CategoricalMixture
from physgen.diffusion.inference.masked_orders import masked_bounds
from physgen.diffusion.inference.reverse_kernels import Ancestral, FourierCovariance, LocalCovariance, SpinMixture
from physgen.diffusion.inference.reversed_paths import chain_bounds
from physgen.diffusion.inference.spectrum_kernel import SpectrumCovariance
from physgen.diffusion.learning.prior_spectrum import Spectrum
from physgen.diffusion.levels import log_uniform
from physgen.diffusion.masked import from_denoiser, log_probability
from physgen.diffusion.noise import generator_for, noise_like

S_MIN = 0.1


def field(grid):
    k = torch.fft.fftfreq(grid, dtype=torch.float64) * grid
    return GaussianField((10 / (1 + k.square()))[None])


def noisy(law, count, seed=0, s=S_MIN):
    x = law.sample(count, generator_for(seed, "draw", 0)).double()
    return x + s * noise_like(seed, "noise", range(count), tuple(x.shape[1:]), dtype=torch.float64)


def down_to_noise(s_max, steps, s_min=S_MIN):
    return log_uniform(s_max, s_min, steps + 1)[:-1]


def down_to_zero(s_max, s_min, steps):
    return torch.cat([log_uniform(s_max, s_min, steps)[:-1], torch.zeros(1, dtype=torch.float64)])


def standing(difference):
    """Mean of (N,), and its standard error."""
    return float(difference.mean()), float(difference.std()) / math.sqrt(len(difference))


def kernels_of_the_field(law):
    half = law.spectrum.shape[-1] // 2 + 1
    axes = torch.linalg.qr(torch.randn(4, 4, generator=generator_for(1, "axes", 0)))[0]
    yield law, FourierCovariance(law)
    yield law, SpectrumCovariance(Spectrum(law.spectrum[None, :, :half].log(), law.spectrum.shape[1:]))
    powers = torch.tensor([4.0, 1.0, 0.5, 0.2])
    vectors = GaussianMixture(torch.zeros(1, 4).double(), (axes @ powers.diag() @ axes.T).double()[None])
    yield vectors, SpectrumCovariance(Spectrum(powers.log()[None], (), axes))


@pytest.mark.parametrize("case", range(3))
def test_a_chain_that_is_exact_has_no_scatter_in_few_steps(case):
    law, kernel = list(kernels_of_the_field(field(16)))[case]
    y = noisy(law, 5)
    exact = law.log_density(y, torch.tensor(S_MIN, dtype=torch.float64))
    found = chain_bounds(law, kernel, down_to_noise(30, 4), y, 3, 0, dtype=torch.float64)
    # the spectrum is kept in float32: relative 6e-8 in the variances of 16 values, squares up to about 16 of them
    torch.testing.assert_close(found.log_weight, exact.expand(3, -1), rtol=0, atol=2e-5)
    torch.testing.assert_close(-found.terms.sum(0), found.variational, rtol=0, atol=1e-9)
    torch.testing.assert_close(found.rate + found.distortion, -found.variational, rtol=0, atol=1e-9)
    assert found.terms.shape == (5, 5) and found.squared_error.shape == (4, 5) and found.evaluations == 12


def test_the_guess_of_x_errs_by_the_posterior_variance():
    law = field(16)
    y = noisy(law, 400)
    found = chain_bounds(law, Ancestral(), down_to_noise(30, 4), y, 2, 0, dtype=torch.float64)
    for level, error in zip(found.levels[:-1], found.squared_error, strict=True):
        power = law.spectrum + S_MIN**2
        rest = (power * (level**2 - S_MIN**2) / (law.spectrum + level**2)).mean()
        value, spread = standing(error)
        assert abs(value - float(rest)) < 4 * spread


def test_what_an_exact_chain_pays_down_to_a_level_is_what_is_known_of_x_there():
    r""":math:`I(x; y_s) = \tfrac12 \sum_k \ln (P + s^2)/(s^2 - e^2)` of x with noise e, as mean over draws."""
    law = field(16)
    y = noisy(law, 400, 3)
    found = chain_bounds(law, FourierCovariance(law), down_to_noise(30, 6), y, 4, 0, dtype=torch.float64)
    for level, paid in zip(found.levels[:-1], found.terms.cumsum(0), strict=False):
        known = 0.5 * torch.log((law.spectrum + level**2) / (level**2 - S_MIN**2)).sum()
        value, error = standing(paid)
        assert abs(value - float(known)) < 4 * error
    assert error < 0.01 * float(known)


LAWS = {
    "mixture": GaussianMixture(
        torch.tensor([[1.5, 0, 0], [-1, 1, 0], [0, -2, 0.5]]).double(), torch.full((3,), 0.2).double()
    ),
    "field": field(16),
    "ring": IsingRing(torch.tensor([1.0, -1, 1, 1, -1, 1, 1, 1]).double(), 0.7, (1, 8)),
}


@pytest.mark.parametrize("name", LAWS)
def test_bounds_are_ordered_and_close_on_the_law(name):
    """As means over draws of the law, where ln p of a chain is at most that of the law."""
    law, count = LAWS[name], 300
    if name == "ring":
        x = law.sample(count, generator_for(2, "draw", 0)).double()
        exact, levels, kernel, readout = (
            law.log_probability_of_known(x),
            down_to_zero(10, 0.4, 8),
            SpinMixture(),
            "bernoulli",
        )
    else:
        x, levels, kernel, readout = noisy(law, count, 2), down_to_noise(20, 16), Ancestral(), "gaussian"
        exact = law.log_density(x, torch.tensor(S_MIN, dtype=torch.float64))
    found = chain_bounds(law, kernel, levels, x, 32, 3, readout=readout, dtype=torch.float64)
    for lower, higher in ((1, 4), (4, 32)):
        value, error = standing(found.importance(higher) - found.importance(lower))
        assert value > 3 * error  # it grows
    value, error = standing(exact - found.importance())
    assert value > -3 * error
    gap, error = standing(exact - found.variational)
    assert gap > 3 * error and value < 0.5 * gap  # more than half of the gap is closed
    assert bool((found.importance() >= found.variational - 1e-12).all())
    torch.testing.assert_close(found.importance(1), found.variational, rtol=0, atol=1e-12)


def wrong_spins(y, s, condition=None):
    """No posterior of any law: too cold and shifted."""
    return torch.tanh(0.7 * y / s.reshape(-1, 1, 1).square() + 0.3 * torch.roll(y, 1, -1))


def wrong_kinds(y, s, condition=None):
    return (0.8 * y / s.reshape(-1, 1, 1).square() + torch.tensor([0.5, 0.0, -0.5]).reshape(1, 3, 1)).softmax(1)


def all_kinds():
    place = torch.cartesian_prod(*[torch.arange(3)] * 2)
    return torch.nn.functional.one_hot(place, 3).double().movedim(-1, 1)


@pytest.mark.parametrize(
    ("denoiser", "kernel", "states", "readout"),
    [
        (wrong_spins, SpinMixture(), enumerate_spins(3).double()[:, None], "bernoulli"),
        (wrong_spins, LocalCovariance(), enumerate_spins(3).double()[:, None], "bernoulli"),
        (wrong_kinds, CategoricalMixture(), all_kinds(), "categorical"),
    ],
)
def test_probabilities_of_a_wrong_chain_add_up_to_one(denoiser, kernel, states, readout):
    rows = 600
    x = states.repeat(rows, 1, 1)
    found = chain_bounds(denoiser, kernel, down_to_zero(6, 0.5, 5), x, 2, 4, readout=readout, dtype=torch.float64)
    weights = found.log_weight.exp().mean(0).reshape(rows, -1).sum(1)
    value, error = standing(weights)
    assert abs(value - 1) < 4 * error and error < 0.05


def test_the_density_of_a_wrong_chain_has_norm_one():
    def wrong(y, s, condition=None):
        return 0.5 * torch.tanh(y) + 0.2

    y, rows = torch.linspace(-4, 4, 81).double(), 100
    found = chain_bounds(
        wrong, Ancestral(), down_to_noise(3, 5, 0.5), y.repeat(rows)[:, None], 2, 5, dtype=torch.float64
    )
    value, error = standing(found.log_weight.exp().mean(0).reshape(rows, -1).sum(1) * float(y[1] - y[0]))
    assert abs(value - 1) < 4 * error and error < 0.05


def test_paths_belong_to_their_configuration_and_number():
    law = LAWS["mixture"]
    y = noisy(law, 6)
    few, many = (chain_bounds(law, Ancestral(), down_to_noise(9, 3), y, k, 7, dtype=torch.float64) for k in (3, 5))
    torch.testing.assert_close(many.log_weight[:3], few.log_weight, rtol=1e-12, atol=0)
    part = chain_bounds(law, Ancestral(), down_to_noise(9, 3), y[4:], 3, 7, streams=[4, 5], dtype=torch.float64)
    torch.testing.assert_close(part.log_weight, few.log_weight[:, 4:], rtol=1e-12, atol=0)


def test_the_error_of_the_weighted_mean_is_that_of_its_scatter():
    law = LAWS["mixture"]
    y = noisy(law, 1).repeat(400, 1)
    found = chain_bounds(law, Ancestral(), down_to_noise(9, 12), y, 16, 8, dtype=torch.float64)
    spread, said = float(found.importance().std()), float(found.importance_error().square().mean().sqrt())
    assert said == pytest.approx(spread, rel=0.25)  # of 400 repetitions; heavy tails widen both
    assert float(found.variational_error.square().mean().sqrt()) == pytest.approx(
        float(found.variational.std()), rel=0.1
    )


def test_what_cannot_be_bounded_is_refused():
    law, y = LAWS["mixture"], noisy(LAWS["mixture"], 2)
    with pytest.raises(ValueError, match="two paths"):
        chain_bounds(law, Ancestral(), down_to_noise(9, 3), y, 1, 0)
    with pytest.raises(ValueError, match="append 0"):
        chain_bounds(law, Ancestral(), down_to_noise(9, 3), y, 2, 0, readout="bernoulli")
    with pytest.raises(ValueError, match="ask for 1 to"):
        chain_bounds(law, Ancestral(), down_to_noise(9, 3), y, 2, 0).importance(3)
    with pytest.raises(ValueError, match=r"given\(condition\)"):
        SpectrumCovariance(Spectrum(torch.zeros(1, 3), ())).variance(y, 1.0, 0.5)
    with pytest.raises(ValueError, match="two orders"):
        masked_bounds(from_denoiser(law), y, 1, 0)


# --- masked sites -------------------------------------------------------------------------------------

STATES = enumerate_spins(3).double()[:, None]
ENERGY = (STATES[:, 0] * STATES[:, 0].roll(1, 1)) @ torch.tensor([0.5, -0.8, 0.3]).double() + 0.4 * STATES[:, 0, 1]


def poor(x, u, condition=None):
    """Fields that depend on the order."""
    return 0.9 * x.roll(1, -1) - 0.4 * x.roll(-1, -1) + 0.2


def test_masked_bounds_of_an_exact_model_are_its_law():
    found = masked_bounds(from_denoiser(EnumeratedIsing(ENERGY, (1, 3))), STATES, 4, 0)
    exact = ENERGY - ENERGY.logsumexp(0)
    torch.testing.assert_close(found.log_weight, exact.expand(4, -1), rtol=0, atol=1e-9)
    assert found.levels.tolist() == pytest.approx([1, 2 / 3, 1 / 3, 0]) and bool((found.terms[0] == 0).all())


def test_masked_bounds_of_a_poor_model_are_means_over_all_orders():
    orders = [o for o in torch.cartesian_prod(*[torch.arange(3)] * 3) if len(set(o.tolist())) == 3]
    every = torch.stack([log_probability(poor, STATES, order) for order in orders])
    p, rows = every.logsumexp(0) - math.log(6), 400
    assert float(p.exp().sum()) == pytest.approx(1, abs=1e-12)
    found = masked_bounds(poor, STATES.repeat(rows, 1, 1), 8, 1)
    torch.testing.assert_close(-found.terms.sum(0), found.variational, rtol=0, atol=1e-12)
    mean, weighted = (value.reshape(rows, -1) for value in (found.variational, found.importance()))
    for state in range(len(STATES)):
        value, error = standing(mean[:, state] - every.mean(0)[state])
        assert abs(value) < 4.5 * error  # eight states
        value, error = standing(weighted[:, state] - p[state])
        assert value < 3 * error and float(p[state] - every.mean(0)[state]) > 0.01
        assert abs(value) < 0.5 * float(p[state] - every.mean(0)[state])
    fewer = masked_bounds(poor, STATES, 2, 1, steps=2)
    assert fewer.terms.shape == (3, 8) and fewer.evaluations == 4
