"""Steps with a posterior covariance in the modes: exact for Gaussian fields at one step; the variance that is left."""

import math

import pytest
import torch

from physgen.diffusion.distillation.posterior_variance import CovarianceSteps, measured_variance
from physgen.diffusion.exact import GaussianField
from physgen.diffusion.learning.prior_spectrum import Spectrum
from physgen.diffusion.sampling.samplers import sample

POWER = torch.tensor([[4.0, 1.0, 0.3, 0.1, 0.3, 1.0]])
FIELD, SPECTRUM = GaussianField(POWER), Spectrum(POWER[None, :, :4].log(), (6,))
COUNT = 4096


@pytest.mark.parametrize("levels", [[1.0, 0.0], [3.0, 0.6, 0.0]])
def test_a_gaussian_field_is_drawn_exactly_at_one_step_and_loses_its_posterior_variance_without_it(levels):
    def power(variance):
        steps = CovarianceSteps(SPECTRUM, variance)
        x = sample(FIELD, torch.tensor(levels, dtype=torch.float64), (COUNT, 1, 6), 1, sampler=steps)
        return torch.fft.fft(x, norm="ortho").abs().square().mean(0)

    assert float((power(1.0) / POWER - 1).abs().max()) < 5 * math.sqrt(2 / COUNT)  # chi^2 of at least one degree
    if len(levels) == 2:  # x = D: P^2/(P + s^2)
        assert float((power(0.0) / (POWER**2 / (POWER + 1)) - 1).abs().max()) < 5 * math.sqrt(2 / COUNT)


def test_the_variance_that_is_left_is_that_of_the_wiener_filter_for_a_gaussian_field_and_more_for_a_worse_denoiser():
    x = FIELD.sample(COUNT, torch.Generator().manual_seed(0))
    levels = torch.tensor([2.0, 0.5, 0.0], dtype=torch.float64)

    def noise(i):
        return torch.randn(COUNT, 1, 6, generator=torch.Generator().manual_seed(10 + i))

    found = measured_variance(FIELD, SPECTRUM, x, levels, noise)
    assert found.shape == (2, 1, 4)
    assert float((found - 1).abs().max()) < 5 * math.sqrt(2 / COUNT)
    # D = 0 leaves P, which is (P + s^2)/s^2 times what the filter leaves
    nothing = measured_variance(lambda y, s, c: 0 * y, SPECTRUM, x, levels, noise)
    expected = torch.stack([(POWER[:, :4] + s**2) / s**2 for s in (2.0, 0.5)])
    assert float((nothing / expected - 1).abs().max()) < 5 * math.sqrt(2 / COUNT)
    with pytest.raises(ValueError, match="needs noise"):
        CovarianceSteps(SPECTRUM)(FIELD, levels, x)
