"""Metropolis-adjusted Langevin along the levels: exact laws in, their samples out; a score alone is refused."""

import math

import pytest
import torch

from physgen.diffusion.energy.draws import SolverDraws
from physgen.diffusion.energy.moves import Langevin
from physgen.diffusion.exact import GaussianField, GaussianMixture
from physgen.diffusion.levels import log_uniform
from physgen.diffusion.sampling.metropolis import SENSIBLE, Acceptance, AnnealedMetropolis
from physgen.diffusion.sampling.samplers import sample
from physgen.errors import InputError


def test_few_levels_are_enough_where_the_steps_mix():
    """Stopped above zero, after 4 levels of a Gaussian field, the variance is P + s^2: a chi-square of its modes."""
    field = GaussianField(torch.tensor([[2.0, 0.5, 1.0, 0.5]], dtype=torch.float64))
    levels = log_uniform(8.0, 0.5, 4)[:-1]
    x = sample(field, levels, (800, 1, 4), 2, sampler="mala", dtype=torch.float64, tile=1500)
    power = torch.fft.fft(x, norm="ortho").abs().square().mean(0)[0]
    expected = field.spectrum[0] + 0.25
    degrees = torch.tensor([1, 2, 1, 2])  # k and -k are one number
    assert float((((power / expected) - 1) / torch.sqrt(2 / (degrees * 800))).abs().max()) < 4
    plain = sample(field, levels, (800, 1, 4), 2, sampler="ancestral", dtype=torch.float64, tile=1500)
    wrong = torch.fft.fft(plain, norm="ortho").abs().square().mean(0)[0] / expected - 1
    assert float((wrong / torch.sqrt(2 / (degrees * 800))).abs().max()) > 10  # what the corrector has mended


def test_weights_of_modes_of_a_mixture():
    numbers = [torch.tensor(values, dtype=torch.float64) for values in ([-1.0, 1.0], [0.04, 0.04], [0.3, 0.7])]
    law = GaussianMixture(numbers[0].reshape(2, 1, 1), *numbers[1:])
    x = sample(law, log_uniform(10.0, 0.05, 12), (1500, 1, 1), 5, sampler="mala", dtype=torch.float64, tile=1500)
    assert abs(float((x > 0).double().mean()) - 0.7) < 4 * math.sqrt(0.21 / 1500)


def test_a_sample_depends_on_itself_alone():
    """The step size of each follows its own acceptance."""
    field = GaussianField(torch.ones(1, 6))
    many, few = (sample(field, log_uniform(5.0, 0.1, 4), (n, 1, 6), seed=1, sampler="mala", tile=n) for n in (5, 2))
    torch.testing.assert_close(many[:2], few)


def test_a_score_without_energy_is_refused_with_the_remedy():
    with pytest.raises(InputError, match="energy head"):
        sample(lambda y, s, condition=None: y, log_uniform(5.0, 0.1, 4), (2, 1, 4), seed=0, sampler="mala")


def test_the_acceptance_that_is_reported_is_that_which_the_sizes_aim_at():
    """Sizes of 400 samples that have adapted to .574 in 20 steps; their own scatter about it is averaged out."""
    field, accepted = GaussianField(torch.ones(1, 6, dtype=torch.float64)), Acceptance()
    sampler = AnnealedMetropolis(inner=40, seen=accepted)
    sample(field, log_uniform(5.0, 0.1, 4), (400, 1, 6), 1, sampler=sampler, dtype=torch.float64, tile=400)
    found = accepted.facts()
    assert found["mala_acceptance_least"] <= found["mala_acceptance"] <= found["mala_acceptance_largest"]
    assert SENSIBLE[0] < found["mala_acceptance_least"] and found["mala_acceptance_largest"] < SENSIBLE[1]
    assert abs(found["mala_acceptance"] - 0.574) < 0.1
    assert Acceptance().facts() == {}


def test_steps_of_fixed_size_are_accepted_as_often_as_the_law_says():
    """N(0, v) of one number, Langevin steps of size e: min(1, ratio) by quadrature over x and the noise."""
    accepted, size, s = Acceptance(), 1.5, 0.5
    field = GaussianField(torch.ones(1, 1, dtype=torch.float64))
    sampler = AnnealedMetropolis(inner=100, move=Langevin(target=None), seen=accepted)
    bound = sampler.of(field)
    start = math.sqrt(1 + s * s) * torch.randn(2000, 1, 1, generator=torch.Generator().manual_seed(1)).double()
    sizes = torch.full((2000,), size, dtype=torch.float64)
    generator = torch.Generator().manual_seed(2)
    noise = SolverDraws(lambda _: torch.randn(2000, 1, 1, generator=generator, dtype=torch.float64))
    bound._relaxed(start, s, sizes, None, noise)
    variance, step = 1 + s * s, size * s * s
    x, z = (torch.linspace(-6, 6, 801, dtype=torch.float64) for _ in range(2))
    at, white = x[:, None] * math.sqrt(variance), z[None]
    other = at * (1 - step / variance) + math.sqrt(2 * step) * white
    forth, back = (b - a * (1 - step / variance) for a, b in ((at, other), (other, at)))
    ratio = (at**2 - other**2) / (2 * variance) + (forth**2 - back**2) / (4 * step)
    weight = torch.exp(-(x[:, None] ** 2 + z[None] ** 2) / 2)
    expected = float((ratio.exp().clamp(max=1) * weight).sum() / weight.sum())
    assert abs(accepted.facts()["mala_acceptance"] - expected) < 0.01  # 4 errors of 2000 x 100 steps
