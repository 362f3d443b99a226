"""Likelihood by the probability flow against exact log-densities, each within its own stated error."""

import math

import pytest
import torch

from physgen.diffusion.exact import GaussianField, GaussianMixture, IsingRing
from physgen.diffusion.inference.likelihood import log_likelihood, sample_with_log_density
from physgen.diffusion.inference.weight_statistics import summarise_weights
from physgen.diffusion.learning.denoisers import FieldDenoiser, SpinDenoiser
from physgen.diffusion.learning.prior_spectrum import Spectrum
from physgen.diffusion.levels import log_uniform
from physgen.diffusion.noise import generator_for, noise_like
from physgen.diffusion.traces import exact_trace, jacobian, probe_traces
from physgen.networks.unet import UNet

S_MIN = 0.1


def normal(*shape, seed=0):
    return noise_like(seed, "likelihood", [0], shape, dtype=torch.float64)[0]


def field(*grid, seed=1):
    power = normal(1, *grid, seed=seed).exp()
    axes = list(range(1, len(grid) + 1))
    return GaussianField(0.5 * (power + power.flip(axes).roll([1] * len(grid), axes)), torch.tensor([0.5]).double())


def mixture():
    factors = normal(3, 4, 4, seed=2)
    return GaussianMixture(
        normal(3, 1, 4, seed=3),
        factors @ factors.mT / 8 + 0.05 * torch.eye(4).double(),
        torch.tensor([0.2, 0.5, 0.3]).double(),
    )


LAWS = {
    "field 1-D": field(8),
    "field 2-D": field(4, 3),
    "field 3-D": field(2, 3, 2),
    "mixture": mixture(),
    "ring": IsingRing(normal(8, seed=4).sign(), 0.7, (1, 8)),
}
every_law = pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)


def points(law, n=6, s=S_MIN):
    x = law.sample(n, generator_for(5, "draw", 0)).double()
    return x + s * normal(*x.shape, seed=5)


def exact(law, y, s=S_MIN):
    return law.log_density(y, torch.tensor(s, dtype=torch.float64))


def level_start(law):
    return 0.3 if isinstance(law, IsingRing) else S_MIN


@every_law
@pytest.mark.parametrize(
    "settings",
    [
        {"method": "rk4"},
        {"method": "heun"},
        {"method": "adaptive", "tolerance": 1e-5},
        {"divergence": "hutchinson", "probes": 50},
    ],
    ids=["rk4", "heun", "adaptive", "hutchinson"],
)
def test_log_density_agrees_with_the_closed_form_within_the_stated_error(law, settings):
    """Step and prior errors are bounds; the probes' is a standard error: four of them."""
    s_min = level_start(law)
    y = points(law, s=s_min)
    found = log_likelihood(law, log_uniform(40, s_min, 41), y, **settings)
    wrong = (found.nats - exact(law, y, s_min)).abs()
    systematic = found.step_error + found.prior_error
    assert bool((wrong < 1.2 * systematic + 4 * found.probe_error + 1e-9).all())
    assert float(found.step_error.max()) < 1  # nat: the bars are not so wide that they say nothing
    assert float(found.prior_error.max()) < 0.1


@every_law
def test_prior_error_is_the_missing_signal_and_vanishes_with_the_exact_prior(law):
    s_min = level_start(law)
    y, levels = points(law, s=s_min), log_uniform(10, s_min, 41)
    plain, closed = log_likelihood(law, levels, y), log_likelihood(law, levels, y, prior=law)
    difference = (plain.nats - closed.nats).abs()
    # a next order of the few per cent that signal over noise is, squared
    torch.testing.assert_close(plain.prior_error, difference, rtol=0.1, atol=0.005)
    assert float(closed.prior_error.max()) == 0
    assert float((closed.nats - exact(law, y, s_min)).abs().max()) < 1.2 * float(closed.step_error.max())


@pytest.mark.parametrize(("method", "order"), [("euler", 1), ("heun", 2), ("rk4", 4)])
@pytest.mark.parametrize("divergence", ["exact", "jacobian"])
def test_orders_are_those_of_the_methods(method, order, divergence):
    law = LAWS["mixture"]
    y, steps = points(law), (41, 81, 161) if order == 1 else (21, 41, 81)
    errors = []
    for count in steps:
        levels = log_uniform(10, S_MIN, count)
        found = log_likelihood(law, levels, y, prior=law, method=method, divergence=divergence)
        errors.append(float((found.nats - exact(law, y)).abs().mean()))
    slopes = [math.log2(errors[0] / errors[1]), math.log2(errors[1] / errors[2])]
    assert abs(slopes[1] - order) < 0.35 * order, slopes


def test_hutchinson_is_unbiased_and_its_error_is_the_scatter_of_other_seeds():
    law = LAWS["field 1-D"]
    y, levels = points(law, n=4), log_uniform(10, S_MIN, 21)
    trace = log_likelihood(law, levels, y, method="heun")
    settings = {"method": "heun", "divergence": "hutchinson", "probes": 8}
    found = [log_likelihood(law, levels, y, **settings, seed=seed) for seed in range(40)]
    nats = torch.stack([one.nats for one in found])
    z = (nats.mean(0) - trace.nats) / (nats.std(0) / math.sqrt(40))
    assert float(z.abs().max()) < 4
    stated = torch.stack([one.probe_error.square() for one in found]).mean(0).sqrt()
    # the scatter of 40 draws is known to 1/sqrt(78) = 11 %, the stated mean square of 40 x 7 degrees to 8 %
    assert float((nats.std(0) / stated - 1).abs().max()) < 4 * 0.14
    again = log_likelihood(law, levels, y, **settings, seed=3)
    assert torch.equal(again.nats, found[3].nats)


def test_probes_belong_to_the_sample_not_the_batch():
    law, levels = LAWS["mixture"], log_uniform(10, S_MIN, 9)
    y = points(law, n=7)
    settings = {"divergence": "hutchinson", "probes": 4}
    whole, parts = (log_likelihood(law, levels, y, **settings, batch=batch) for batch in (7, 3))
    torch.testing.assert_close(whole.nats, parts.nats, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(whole.latent, parts.latent, rtol=1e-12, atol=1e-12)


def test_density_of_the_discrete_map_integrates_to_one():
    """Four coarse steps: the exact Jacobian makes a density of the map, the integral of the divergence does not."""
    law = GaussianMixture(torch.tensor([[[-1.0]], [[1.0]]]).double(), torch.tensor([0.1, 0.1]).double())
    y = torch.linspace(-6, 6, 4001, dtype=torch.float64).reshape(-1, 1, 1)
    levels, norm = log_uniform(5, 0.4, 5), {}
    for divergence in ("jacobian", "exact"):
        found = log_likelihood(law, levels, y, method="heun", divergence=divergence, batch=4001)
        norm[divergence] = float(found.nats.exp().sum() * 12 / 4000)
    assert norm["jacobian"] == pytest.approx(1, abs=1e-6)
    assert abs(norm["exact"] - 1) > 0.01


def smoothed(law, s):
    return lambda y: exact(law, y, s) + law.log_Z


def test_exact_jacobian_gives_ln_Z_of_spins_where_the_divergence_integral_is_biased():
    """Both have a fine effective sample size; only the density of the map itself finds ln Z."""
    law, levels = LAWS["ring"], log_uniform(20, 0.25, 14)[:-1]
    x, log_density = sample_with_log_density(law, levels, (600, 1, 8), 6, tile=600)
    s_min = float(levels[-1])
    target = smoothed(law, s_min)(x)
    found = summarise_weights(target - log_density)
    assert found.effective_fraction > 0.9
    assert abs(found.log_Z - law.log_Z) < 3 * found.log_Z_error
    integral = log_likelihood(law, levels, x, method="heun", batch=600)
    biased = summarise_weights(target - integral.nats)
    assert biased.effective_fraction > 0.8
    assert abs(biased.log_Z - law.log_Z) > 10 * biased.log_Z_error


@pytest.mark.parametrize("sampler", ["euler", "heun", "dpmpp_2m"])
def test_samples_carry_the_exact_density_of_their_sampler(sampler):
    """A linear denoiser makes a linear map: its law is the Gaussian of the measured singular values."""
    law, levels = field(6), log_uniform(5, 0.2, 7)
    law = GaussianField(law.spectrum)
    x, log_density = sample_with_log_density(law, levels, (5, 1, 6), 7, sampler=sampler)
    from physgen.diffusion.sampling.samplers import find_sampler

    unit = torch.eye(6, dtype=torch.float64).reshape(6, 1, 6)
    response = find_sampler(sampler)(law, levels, unit).flatten(1)
    covariance = float(levels[0]) ** 2 * response.T @ response
    expected = torch.distributions.MultivariateNormal(torch.zeros(6).double(), covariance).log_prob(x.flatten(1))
    torch.testing.assert_close(log_density, expected, rtol=1e-8, atol=1e-8)


def test_traces_and_jacobians_are_those_of_the_function_whatever_the_chunk():
    matrix = normal(6, 6, seed=8)

    def function(y):
        return torch.tanh(y.flatten(1) @ matrix.T).reshape(y.shape)

    y = normal(3, 1, 2, 3, seed=9)
    slope = 1 - function(y).flatten(1) ** 2
    expected = slope[:, :, None] * matrix
    for chunk in (1, 4, 100):
        value, trace = exact_trace(function, y, chunk)
        torch.testing.assert_close(value, function(y))
        torch.testing.assert_close(trace, expected.diagonal(dim1=1, dim2=2).sum(1))
        torch.testing.assert_close(jacobian(function, y, chunk)[1], expected)
    probes = normal(5, 3, 1, 2, 3, seed=10)
    found = probe_traces(function, y, probes, 2)[1]
    torch.testing.assert_close(found, torch.einsum("kbi,bij,kbj->kb", probes.flatten(2), expected, probes.flatten(2)))


@pytest.mark.parametrize("chunk", [1, 16])
def test_the_trace_of_a_unet_is_that_of_its_jacobian(chunk):
    """Its kernels, and torch's own for its memory format, know no batch of slopes: they are pulled back one by one."""
    torch.manual_seed(0)
    network = UNet(2, width=8, multipliers=(1, 2))
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    denoiser, y = FieldDenoiser(network).double(), normal(2, 1, 4, 4, seed=3)

    def function(y):
        return denoiser(y, torch.ones(len(y), dtype=torch.float64))

    rows = torch.autograd.functional.jacobian(function, y)
    found = exact_trace(function, y, chunk)[1]
    expected = torch.stack([rows[b, :, :, :, b].reshape(16, 16).trace() for b in range(2)])
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=0)


GRIDS = {1: (8,), 2: (4, 4), 3: (2, 4, 2)}


def unet(dimension, **options):
    """A U-Net of two labels whose weights are all far from zero, as training leaves them."""
    torch.manual_seed(dimension)
    network = UNet(dimension, labels=2, width=8, multipliers=(1, 2), **options)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return FieldDenoiser(network).requires_grad_(False).eval()


@pytest.mark.parametrize("dimension", [1, 2, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_on_unets_trace_probes_and_the_jacobian_of_the_steps_agree(dimension, dtype):
    """Three configurations in blocks of two; the steps are fine enough that all three stand within their errors."""
    denoiser, grid = unet(dimension).to(dtype), GRIDS[dimension]
    levels, settings = log_uniform(10, 0.5, 13), {"method": "heun", "batch": 2, "dtype": dtype}
    y, condition = normal(3, 1, *grid, seed=20), {"labels": normal(3, 2, seed=21)}
    found = {
        name: log_likelihood(denoiser, levels, y, condition, divergence=name, probes=6, **settings)
        for name in ("exact", "hutchinson", "jacobian")
    }
    trace, probed, mapped = (found[name] for name in ("exact", "hutchinson", "jacobian"))
    assert float(probed.probe_error.min()) > 0
    assert bool(((probed.nats - trace.nats).abs() < 6 * probed.probe_error).all())  # t of five degrees: 1 in 500
    assert bool(((mapped.nats - trace.nats).abs() < trace.step_error.max()).all())
    other = log_likelihood(
        denoiser,
        levels,
        y[1:],
        {"labels": condition["labels"][1:]},
        batch=5,
        **{name: value for name, value in settings.items() if name != "batch"},
    )
    # float32 rounds at 1e-7 over a dozen steps of 16 values
    torch.testing.assert_close(other.nats, trace.nats[1:], rtol=0, atol=1e-3 if dtype == torch.float32 else 1e-9)


def test_probes_leave_no_scatter_of_the_linear_part():
    """Without a network the denoiser is a Wiener filter: Hutchinson's estimate is the exact trace, at any probe."""
    law = field(4, 4)
    spectrum = Spectrum(law.spectrum[None, :, :, :3].log(), (4, 4))
    denoiser = FieldDenoiser(lambda x, c_noise, condition: torch.zeros_like(x), spectrum)
    levels, y = log_uniform(40, S_MIN, 21), points(GaussianField(law.spectrum))
    found = log_likelihood(denoiser, levels, y, divergence="hutchinson", probes=2, dtype=torch.float32)
    trace = log_likelihood(denoiser, levels, y, dtype=torch.float32)
    assert float(found.probe_error.max()) < 1e-4  # rounding in single precision
    torch.testing.assert_close(found.nats, trace.nats, rtol=0, atol=1e-3)


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("options", [{}, {"attention": True}, {"undecimated": True}])
def test_unets_know_vmap_and_tangents(dimension, options):
    """Their memory formats and kernels step aside: forward and reverse mode have one Jacobian."""
    denoiser, y = unet(dimension, **options).double(), normal(2, 1, *GRIDS[dimension], seed=22)
    labels = torch.zeros(1, 2, dtype=torch.float64)

    def one(y):
        return denoiser(y[None], torch.ones(1, dtype=torch.float64), {"labels": labels})[0]

    tangent = torch.func.vmap(lambda y, v: torch.func.jvp(one, (y,), (v,))[1])(y, y.roll(1, 0))
    for row, v, found in zip(y, y.roll(1, 0), tangent, strict=True):
        matrix = jacobian(
            lambda y: denoiser(y, torch.ones(len(y)).double(), {"labels": labels.expand(len(y), 2)}), row[None], 16
        )[1][0]
        torch.testing.assert_close(matrix @ v.flatten(), found.flatten(), rtol=0, atol=1e-10)


class LabelNetwork(torch.nn.Module):
    """A small network with a condition, float32 parameters."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layers = torch.nn.Sequential(torch.nn.Linear(10, 16), torch.nn.SiLU(), torch.nn.Linear(16, 8))

    def forward(self, x, c_noise, condition):
        given = torch.cat([x.flatten(1), c_noise[:, None], condition["labels"]], dim=1)
        return self.layers(given).reshape(x.shape)


@pytest.mark.parametrize("head", [FieldDenoiser, SpinDenoiser])
def test_learned_networks_work_with_their_condition_and_leave_no_gradients(head):
    """Their density integrates to one by construction: exp(log q - log p) averages to one on samples of p."""
    network = head(LabelNetwork())
    y, labels = normal(6, 1, 8, seed=11), normal(6, 1, seed=12).float()
    levels = log_uniform(20, 0.3, 17)
    whole = log_likelihood(network, levels, y, {"labels": labels}, dtype=torch.float32)
    part = log_likelihood(network, levels, y[2:4], {"labels": labels[2:4]}, dtype=torch.float32)
    torch.testing.assert_close(part.nats, whole.nats[2:4], rtol=1e-4, atol=1e-3)
    other = log_likelihood(network, levels, y, {"labels": labels + 1}, dtype=torch.float32)
    assert float((other.nats - whole.nats).abs().min()) > 1e-4
    fine = log_likelihood(network, log_uniform(20, 0.3, 65), y, {"labels": labels}, dtype=torch.float32)
    # single precision: 8 values, rounding 1e-6 over the steps
    assert bool(((fine.nats - whole.nats).abs() < whole.step_error + fine.step_error + 1e-3).all())
    assert all(parameter.grad is None for parameter in network.parameters())


def test_bits_per_dimension_of_white_noise():
    """Entropy of N(0, 1) in d dimensions: log2(2 pi e)/2 = 2.0471 bits each."""
    law, n = GaussianField(torch.full((1, 16), 1 - 0.01).double()), 400
    y = normal(n, 1, 16, seed=13)
    found = log_likelihood(law, log_uniform(30, 0.1, 33), y, batch=n)
    bits, error = found.mean_bits_per_dimension()
    assert abs(bits - 2.0471) < 3 * error
    assert error == pytest.approx(1 / (math.log(2) * math.sqrt(2 * 16 * n)), rel=0.2)
    torch.testing.assert_close(found.bits_per_dimension, -found.nats / (16 * math.log(2)))


def test_cost_is_counted():
    law, y, calls = LAWS["mixture"], points(LAWS["mixture"]), []

    def counted(y, s, condition=None):
        calls.append(len(y))
        return law(y, s)

    found = log_likelihood(counted, log_uniform(10, S_MIN, 9), y, batch=4)
    assert found.evaluations == len(calls) == 2 * (8 * 4 + 4 * 4 + 2)


@pytest.mark.parametrize(
    "settings",
    [
        {"method": "rk5"},
        {"divergence": "approximate"},
        {"divergence": "hutchinson", "probes": 1},
        {"condition": {"labels": torch.ones(2)}},
    ],
)
def test_impossible_settings_are_refused_with_the_value(settings):
    with pytest.raises(ValueError, match="got|unknown"):
        log_likelihood(LAWS["mixture"], log_uniform(10, S_MIN, 9), points(LAWS["mixture"]), **settings)


def test_an_adaptive_method_has_no_jacobian_and_two_levels_no_error():
    law, y = LAWS["mixture"], points(LAWS["mixture"])
    with pytest.raises(ValueError, match="no fixed map"):
        log_likelihood(law, log_uniform(10, S_MIN, 9), y, method="adaptive", divergence="jacobian")
    with pytest.raises(ValueError, match="three positive levels"):
        log_likelihood(law, torch.tensor([10.0, 1.0, 0.0]), y)
