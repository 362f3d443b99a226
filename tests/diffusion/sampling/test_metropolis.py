"""Metropolis-adjusted Langevin along the levels: exact laws in, their samples out; a score alone is refused."""

import math

import pytest
import torch

from physgen.diffusion.exact import GaussianField, GaussianMixture
from physgen.diffusion.levels import log_uniform
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
