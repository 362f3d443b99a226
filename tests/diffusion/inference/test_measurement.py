"""Instruments: adjoints, the exact posterior mean of a lognormal value, and coverage where the posterior is known."""

import math

import pytest
import torch

from physgen.diffusion.exact import GaussianField
from physgen.diffusion.inference.inverse import OBSERVED, VARIANCE, Observation, PosteriorDenoiser, mmps, wiener
from physgen.diffusion.inference.measurement import Blur, Chain, Downsample, Instrument, Scale, is_elementwise
from physgen.diffusion.levels import log_uniform
from physgen.diffusion.sampling.samplers import sample

K = torch.fft.fftfreq(8, 1 / 8, dtype=torch.float64)
FIELD = GaussianField((4 / (1 + K[:, None] ** 2 + K**2) ** 1.5)[None])


def noise(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("linear", [Blur((2.0, 3.0)), Downsample(2), Chain((Blur((2.0, 2.0)), Downsample(4))), Chain()])
def test_adjoints_and_the_energy_of_a_cell(linear):
    x = noise(2, 1, 8, 8)
    seen = linear(x)
    v = noise(*seen.shape, seed=1)
    assert torch.allclose((seen * v).sum(), (x * linear.adjoint(v)).sum())
    if not isinstance(linear, Downsample):
        one = torch.zeros(1, 1, 8, 8, dtype=torch.float64)
        one[..., 0, 0] = 1
        assert linear.energy((8, 8)) == pytest.approx(float(linear(one).square().sum()))


def test_a_blur_keeps_the_mean_and_its_width_is_that_at_half_maximum():
    one = torch.zeros(1, 1, 64, 64, dtype=torch.float64)
    one[..., 32, 32] = 1
    beam = Blur((8.0, 8.0))(one)[0, 0]
    assert float(beam.sum()) == pytest.approx(1) and float(beam[32, 36] / beam[32, 32]) == pytest.approx(0.5, abs=1e-6)


def lognormal(sigma, shape=(1, 1, 1)):
    return Instrument(torch.exp, Chain(), sigma, Scale.of(torch.exp, shape, sigma))


@pytest.mark.parametrize(("sigma", "most"), [(0.05, 0.08), (0.5, 0.16), (2.0, 0.36)])
def test_the_posterior_mean_of_a_lognormal_value_is_that_of_quadrature(sigma, most):
    """x0 of unit variance, a = exp(x0) + n: largest error of D_a over a and s, in those of x0.

    The posterior of a curve is skewed and the Gaussian that stands for it is not: no further expansion helps.
    """
    grid = torch.linspace(-8, 8, 8001, dtype=torch.float64)
    white, errors = GaussianField(torch.ones(1, 1, dtype=torch.float64)), []
    for s in (10.0, 1.0, 0.3):
        for y, a in ((0.5, 1.5), (-0.5, 0.6), (1.0, 4.0), (-1.0, 0.1)):
            log_p = -0.5 * (grid**2 + (grid - y) ** 2 / s**2 + (a - grid.exp()) ** 2 / sigma**2)
            exact = float((torch.softmax(log_p, 0) * grid).sum())
            at, level = (torch.full((1, 1, 1, 1), v, dtype=torch.float64)[0] for v in (y, a))
            seen = Observation(lognormal(sigma, (1, 1)), level, expansions=2)
            found = float(wiener(white, seen)(at, torch.tensor([s], dtype=torch.float64)))
            errors.append(abs(found - exact))
    assert max(errors) < most, errors


def test_a_shift_of_all_cells_has_the_slope_of_automatic_differentiation():
    def shift(x):
        return 0.3 * torch.tanh(x).mean((2, 3), keepdim=True) - 0.5 * x.mean((2, 3), keepdim=True)

    instrument = Instrument(torch.exp, Chain((Downsample(2),)), 0.0, Scale.of(torch.exp, (1, 8, 8), 0.0), shift)
    x, u, v = noise(2, 1, 8, 8), noise(2, 1, 8, 8, seed=1), noise(2, 1, 4, 4, seed=2)
    found = instrument.expand(x, instrument(x), torch.ones(()), 0)
    _, slope = torch.autograd.functional.jvp(lambda z: instrument.scale(instrument(z)), x, u)
    assert torch.allclose(found.slope(u), slope, atol=1e-9)
    assert torch.allclose((found.slope(u) * v).sum(), (u * found.adjoint(v)).sum())
    assert is_elementwise(torch.exp, (1, 8, 8)) and not is_elementwise(lambda z: z + shift(z), (1, 8, 8))


def test_the_shift_is_that_of_fields_with_peaks_where_cells_are_not_known():
    """c = -ln mean exp(x): of fields about a smooth mean it is lower by half their variance than that of the mean."""

    def shift(x):
        return -x.exp().mean((2, 3), keepdim=True).log()

    instrument = Instrument(torch.exp, Chain(), 0.0, Scale.of(torch.exp, (1, 32, 32), 0.0), shift)
    centre, deviation = 0.3 * noise(1, 1, 32, 32), 0.7
    hidden = torch.zeros(1, 1, 32, 32, dtype=torch.bool)
    hidden[..., :16] = True
    observed = torch.where(hidden, torch.nan, torch.ones_like(centre))
    fields = centre + torch.where(hidden, deviation * noise(400, 1, 32, 32, seed=1), 0.0)
    expected = float(shift(fields).mean())
    marginal = torch.full((1, 1, 1, 1), deviation**2, dtype=centre.dtype)
    found = instrument.expand(centre, observed, marginal, 0).value[~hidden] - instrument.scale(centre.exp())[~hidden]
    assert float(found.mean()) == pytest.approx(expected, abs=0.02)  # 400 fields
    assert abs(float(shift(centre)) - expected) > 0.1  # what it would be of the mean itself
    known = instrument.expand(centre, torch.ones_like(centre), marginal, 0).value - instrument.scale(centre.exp())
    assert torch.allclose(known.mean(), shift(centre).mean(), atol=1e-4)


def test_each_sample_has_its_own_observation_and_missing_values_whatever_the_tile():
    """Observations in the condition, NaN where nothing was seen: exact for a Gaussian field by both covariances."""
    truth = FIELD.sample(5, torch.Generator().manual_seed(1))
    seen = torch.where(noise(5, 1, 8, 8, seed=3) > 0, truth, torch.nan)
    condition = {OBSERVED: seen, VARIANCE: torch.full_like(seen, 0.1)}
    y, s = noise(5, 1, 8, 8, seed=4), torch.linspace(0.2, 3, 5, dtype=torch.float64)
    operator = Observation(lambda x: x)
    ours = wiener(FIELD, operator)(y, s, condition)
    assert torch.allclose(ours, mmps(FIELD, operator, iterations=64)(y, s, condition), atol=1e-7)
    alone = wiener(FIELD, Observation(lambda x: x, seen[2:3], 0.1))(y[2:3], s[2:3])
    assert torch.allclose(ours[2:3], alone, atol=1e-7)
    levels = log_uniform(30, 0.05, 6)
    whole, part = (
        sample(wiener(FIELD, operator), levels, (5, 1, 8, 8), 0, condition, tile=tile, dtype=torch.float64)
        for tile in (5, 2)
    )
    assert torch.allclose(whole, part, atol=1e-6)


@pytest.mark.parametrize("linear", [Chain(), Chain((Downsample(2),)), Chain((Blur((2.0, 2.0)),))])
def test_coverage_of_a_gaussian_field_is_nominal(linear):
    """60 fields, 9 draws, noise .5: the share of central 68 % intervals within 4 standard errors."""
    fields, draws = 60, 9
    truth = FIELD.sample(fields, torch.Generator().manual_seed(2))
    a = linear(truth)
    a = a + 0.5 * noise(*a.shape, seed=5)
    rows = {OBSERVED: a.repeat_interleave(draws, 0), VARIANCE: torch.full((fields * draws, 1, 1, 1), 0.25)}
    denoiser = PosteriorDenoiser(FIELD, Observation(linear), "wiener", tolerance=1e-6)
    x = sample(denoiser, log_uniform(60, 0.02, 24), (fields * draws, 1, 8, 8), 3, rows, "dpmpp_2m", tile=540)
    below = (x.reshape(fields, draws, 1, 8, 8) < truth[:, None]).sum(1)
    # ranks 2 to 7 of 0 ... 9
    inside = ((below >= 2) & (below <= 7)).double().flatten(1).mean(1)
    assert abs(float(inside.mean()) - 0.6) < 4 * float(inside.std()) / math.sqrt(fields)
    assert float(inside.std()) / math.sqrt(fields) < 0.02


def test_what_is_not_finite_is_an_error():
    with pytest.raises(ValueError, match="not finite"):
        wiener(FIELD, Observation(lambda x: x, torch.zeros(1, 1, 8, 8)))(noise(1, 1, 8, 8) / 0, torch.ones(1).double())
    with pytest.raises(ValueError, match="needs the condition"):
        wiener(FIELD, Observation(lambda x: x))(noise(1, 1, 8, 8), torch.ones(1).double())
    with pytest.raises(ValueError, match="Gaussian surrogate"):
        wiener(lambda y, s, condition=None: y, Observation(lambda x: x, torch.zeros(1)))
