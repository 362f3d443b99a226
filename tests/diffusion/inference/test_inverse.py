"""Posterior samplers held to the exact posterior of a Gaussian field, whose denoiser is affine: no Monte Carlo needed.

Problem of the figures: 12 sites, spectrum 4/(1 + k)^2, the first 5 sites observed.
"""

import math

import pytest
import torch

from physgen.diffusion.exact import GaussianField, GaussianMixture
from physgen.diffusion.inference.inverse import Observation, PosteriorDenoiser, dps, mmps, pigdm, repaint
from physgen.diffusion.levels import log_uniform
from physgen.diffusion.sampling.samplers import SAMPLERS, sample

SITES = 12
WAVENUMBER = torch.fft.fftfreq(SITES, 1 / SITES, dtype=torch.float64).abs()
SPECTRUM = (4 / (1 + WAVENUMBER) ** 2)[None]
FIELD = GaussianField(SPECTRUM)
KNOWN = torch.arange(SITES) < 5
VALUES = torch.tensor([1.0, 0.5, -0.3, -1.0, 0.8], dtype=torch.float64)
IDENTITY = torch.eye(SITES, dtype=torch.float64)
STILL = torch.zeros(1, 1, SITES, dtype=torch.float64)


def covariance(spectrum=SPECTRUM):
    circulant = torch.fft.ifft(spectrum[0]).real
    return torch.stack([circulant.roll(shift) for shift in range(SITES)])


def posterior(prior, measure, noise_variance, values):
    """Mean and covariance of x0 given measure @ x0 + noise = values, for a Gaussian of mean 0."""
    gain = prior @ measure.T @ torch.linalg.inv(measure @ prior @ measure.T + noise_variance * torch.eye(len(measure)))
    return gain @ values, prior - gain @ measure @ prior


def law_drawn(denoiser, levels, sampler="heun"):
    """Exact mean (N,) and covariance of what a deterministic sampler draws with a denoiser affine in y."""
    start = torch.cat([STILL, IDENTITY[:, None] * levels[0]])
    drawn = SAMPLERS[sampler](denoiser, levels, start)[:, 0]
    return drawn[0], (drawn[1:] - drawn[0]).T @ (drawn[1:] - drawn[0])


def observation(noise_variance):
    return Observation(lambda x: x[..., KNOWN], VALUES[None, None], noise_variance)


def unknown_ratio(found, exact):
    """Variance of the unobserved sites over the exact one."""
    return float(found.diagonal()[~KNOWN].sum() / exact.diagonal()[~KNOWN].sum())


@pytest.mark.parametrize("noise_variance", [0.0, 0.01, 1.0])
def test_moment_matching_is_the_exact_posterior_denoiser_of_a_gaussian_field(noise_variance):
    """E[x0 | y, a]: y is one more observation, of every site with variance s^2."""
    y = torch.randn(6, 1, SITES, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    s = torch.logspace(-1, 1, 6, dtype=torch.float64)
    denoised = mmps(FIELD, observation(noise_variance))(y, s)
    for row, level, x in zip(y[:, 0], s, denoised[:, 0], strict=True):
        mean, spread = posterior(covariance(), IDENTITY, float(level) ** 2, row)
        offset, _ = posterior(spread, IDENTITY[KNOWN], noise_variance, VALUES - mean[KNOWN])
        assert torch.allclose(x, mean + offset, atol=1e-9)


def test_moment_matching_draws_the_exact_posterior_variance_at_the_order_of_its_sampler():
    mean, spread = posterior(covariance(), IDENTITY[KNOWN], 0.25, VALUES)
    errors = []
    for steps in (100, 200):
        found_mean, found = law_drawn(mmps(FIELD, observation(0.25)), log_uniform(3000, 0.0003, steps))
        errors.append((found - spread).abs().max() / spread.diagonal().max())
        assert (found_mean - mean).abs().max() < 10 * errors[-1]
    assert errors[1] < 5e-3 and math.log2(errors[0] / errors[1]) == pytest.approx(2, abs=0.3)


@pytest.mark.parametrize(
    ("method", "ratio", "shift"),
    [
        (lambda obs: dps(FIELD, obs), 0.826, 0.58),
        (lambda obs: pigdm(FIELD, obs, float(SPECTRUM.mean())), 0.931, 0.13),
    ],
)
def test_the_biased_methods_are_biased_by_what_is_stated(method, ratio, shift):
    """Noise variance .25: variance of the unobserved sites over the exact one, largest error of a mean in standard
    deviations."""
    mean, spread = posterior(covariance(), IDENTITY[KNOWN], 0.25, VALUES)
    found_mean, found = law_drawn(method(observation(0.25)), log_uniform(300, 0.003, 400))
    assert unknown_ratio(found, spread) == pytest.approx(ratio, abs=2e-3)
    assert ((found_mean - mean).abs() / spread.diagonal().sqrt())[~KNOWN].max() == pytest.approx(shift, abs=0.01)


def test_pseudo_inverse_guidance_is_exact_for_white_fields_alone():
    white = torch.full((1, SITES), 2.0, dtype=torch.float64)
    y, s = torch.randn(4, 1, SITES, dtype=torch.float64), torch.full((4,), 0.7, dtype=torch.float64)

    def blurred(x):
        return (x + x.roll(1, -1))[..., KNOWN]

    seen = Observation(blurred, VALUES[None, None], 0.3)
    exact = mmps(GaussianField(white), seen)(y, s)
    assert torch.allclose(pigdm(GaussianField(white), seen, 2.0)(y, s), exact, atol=1e-9)
    assert not torch.allclose(pigdm(FIELD, seen, float(SPECTRUM.mean()))(y, s), mmps(FIELD, seen)(y, s), atol=1e-2)


def test_an_observed_smooth_field_may_lie_in_another_space():
    """A: the mean of blocks of three sites, so 4 values for 12 sites."""
    measure = torch.kron(torch.eye(4), torch.full((1, 3), 1 / 3)).double()
    seen = Observation(lambda x: x @ measure.T, torch.tensor([[[1.0, -1.0, 0.5, 0.0]]], dtype=torch.float64), 0.05)
    mean, spread = posterior(covariance(), measure, 0.05, seen.value[0, 0])
    found_mean, found = law_drawn(mmps(FIELD, seen), log_uniform(300, 0.003, 200))
    assert (found - spread).abs().max() < 5e-3 * spread.diagonal().max()
    assert (found_mean - mean).abs().max() < 5e-3 * mean.abs().max()


@pytest.mark.parametrize(("resamplings", "ratio", "shift"), [(1, 0.962, 0.84), (10, 0.862, 0.27)])
def test_repaint_is_biased_by_what_is_stated(resamplings, ratio, shift):
    """40 levels from 30 to .01, no observation noise; resampling mends the mean and not the variance."""
    count = 3000
    known = torch.cat([VALUES, torch.zeros(7, dtype=torch.float64)])
    mean, spread = posterior(covariance(), IDENTITY[KNOWN], 0.0, VALUES)
    generator = torch.Generator().manual_seed(0)

    def noise(number):
        return torch.randn(count, 1, SITES, generator=generator, dtype=torch.float64)

    x = repaint(KNOWN, known, resamplings)(FIELD, log_uniform(30, 0.01, 40), 30 * noise(0), None, noise)[:, 0]
    assert (x[:, KNOWN] == VALUES).all()
    deviation = (x.mean(0) - mean)[~KNOWN] / spread.diagonal()[~KNOWN].sqrt()
    # the sites are correlated: the error of the summed variance is at most that of one site
    assert abs(unknown_ratio(torch.cov(x.T), spread) - ratio) < 4 * ratio * math.sqrt(2 / count)
    assert abs(float(deviation.abs().max()) - shift) < 4 / math.sqrt(count)


def test_repaint_is_a_sampler_like_any_other():
    known = torch.cat([VALUES, torch.zeros(7, dtype=torch.float64)])
    whole, part = (
        sample(FIELD, log_uniform(30, 0.01, 4), (n, 1, SITES), seed=0, sampler=repaint(KNOWN, known, 2), tile=3)
        for n in (5, 2)
    )
    assert torch.equal(whole[:2], part) and torch.allclose(whole[:, 0, KNOWN], VALUES.float())


def test_no_method_is_exact_for_a_mixture():
    """Two modes +-1 of variance .05, a = x0 + n = .4 with noise variance .3, s = .8: mean error of D_a over y."""
    means, variances = torch.tensor([[[-1.0]], [[1.0]]], dtype=torch.float64), torch.tensor([0.05, 0.05])
    law, seen = GaussianMixture(means, variances.double()), Observation(lambda x: x, torch.tensor([[[0.4]]]), 0.3)
    y = torch.linspace(-2, 2, 41, dtype=torch.float64)[:, None, None]
    s = torch.full((41,), 0.8, dtype=torch.float64)
    # y and a are two observations of x0: one of the combined precision
    precision = 1 / 0.64 + 1 / 0.3
    exact = law((y / 0.64 + 0.4 / 0.3) / precision, torch.full((41,), precision**-0.5, dtype=torch.float64))
    errors = [float((method(law, seen)(y, s) - exact).abs().mean()) for method in (dps, pigdm, mmps)]
    assert errors == pytest.approx([0.340, 0.191, 0.207], abs=1e-3)


def test_wrong_requests_say_what_is_right():
    with pytest.raises(ValueError, match="dps divides by the noise variance"):
        dps(FIELD, observation(0.0))
    with pytest.raises(ValueError, match="must be finite and not negative"):
        observation(-1.0)
    with pytest.raises(ValueError, match="covariance is"):
        PosteriorDenoiser(FIELD, observation(1.0), "exact")
    with pytest.raises(ValueError, match="resamplings must be at least 1"):
        repaint(KNOWN, VALUES, 0)
    with pytest.raises(ValueError, match="repaint is stochastic"):
        repaint(KNOWN, IDENTITY[0])(FIELD, log_uniform(10, 0.1, 4), STILL)


def test_weights_make_the_posterior_of_a_mixture_exact():
    """Two modes as above, a = .4 with noise variance .3; the draws alone have the variance wrong by a quarter or more.

    160 ancestral steps leave the variance of the chain off by up to 5 %.
    """
    from physgen.diffusion.inference.posterior_weights import weighted_posterior
    from physgen.diffusion.inference.weight_statistics import summarise_weights

    means, variances = torch.tensor([[[-1.0]], [[1.0]]], dtype=torch.float64), torch.tensor([0.05, 0.05])
    law, seen = GaussianMixture(means, variances.double()), Observation(lambda x: x, torch.tensor([[[0.4]]]), 0.3)

    def log_likelihood(x):
        return -0.5 * ((x[:, 0, 0] - 0.4) ** 2 / 0.3 + math.log(2 * math.pi * 0.3))

    levels, count = log_uniform(20, 0.05, 160), 3000
    drawn = weighted_posterior(law, mmps(law, seen), levels, (count, 1, 1), 5, log_likelihood)
    grid = torch.linspace(-3, 3, 6001, dtype=torch.float64)[:, None, None]
    log_joint = law.log_density(grid, levels[-2].expand(len(grid))) + log_likelihood(grid)
    weight, x = torch.softmax(log_joint, 0), grid[:, 0, 0]
    exact = torch.stack([(weight * (x > 0)).sum(), (weight * x).sum()])
    ours, found = torch.softmax(drawn.log_weight, 0), drawn.x[:, 0, 0]
    values = torch.stack([(found > 0).double(), found])
    value = (ours * values).sum(1)
    error = (ours * (values - value[:, None])).square().sum(1).sqrt()
    assert ((value - exact).abs() < 4 * error + 0.01).all(), (value, exact, error)
    assert ((values.mean(1) - exact).abs() > 6 * error).all(), (values.mean(1), exact, error)
    statistics = summarise_weights(drawn.log_weight)
    evidence = float(torch.logsumexp(log_joint, 0)) + math.log(6 / 6000)
    assert abs(statistics.log_Z - evidence) < 4 * statistics.log_Z_error + 0.02 and statistics.is_reliable
