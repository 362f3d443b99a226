"""Sampling from a given y at a given noise level: U-turns compared with the exact posterior."""

import math

import pytest
import torch

from physgen.diffusion.discretization.check import convergence
from physgen.diffusion.exact import GaussianField, GaussianMixture
from physgen.diffusion.inference.kernel_sampler import KernelSampler
from physgen.diffusion.inference.likelihood import log_likelihood
from physgen.diffusion.inference.path_weights import noising_log_weight, weighted_sample
from physgen.diffusion.inference.reverse_kernels import FourierCovariance
from physgen.diffusion.levels import levels_from, log_uniform
from physgen.diffusion.masked import sample_masked
from physgen.diffusion.noise import noise_like
from physgen.diffusion.sampling.samplers import sample
from physgen.networks.message_passing import MessagePassing
from physgen.networks.unet import UNet

WIDE = {"dtype": torch.float64}
LEVELS = log_uniform(50.0, 0.01, 40)


def u_turn(x, s, seed=0):
    """x + s z, with noise of its own stream."""
    return x + s * noise_like(seed, "u-turn", range(len(x)), x.shape[1:], dtype=torch.float64)


def steep_field():
    k = torch.arange(9, dtype=torch.float64)
    half = 4 / (1 + k) ** 2
    return GaussianField(torch.cat([half, half[1:-1].flip(0)])[None])


@pytest.mark.parametrize("s", [0.1, 0.7, 5.0])
def test_u_turns_of_a_gaussian_field_have_the_moments_of_the_posterior(s):
    """x0' given x0: every mode has mean w x0 and variance w s^2 (1 + w), w = P/(P + s^2). The sampler is exact."""
    law, n = steep_field(), 4000
    sampler = KernelSampler(FourierCovariance(law))
    x0 = law.sample(1, torch.Generator().manual_seed(3))
    x = x0.expand(n, -1, -1).double()
    returned = sample(law, LEVELS, x.shape, 1, sampler=sampler, start=u_turn(x, s), from_level=s, tile=n, **WIDE)
    wiener = law.spectrum / (law.spectrum + s**2)
    variance = wiener * s**2 * (1 + wiener)
    modes = torch.fft.fft(returned, norm="ortho")
    offset = modes.mean(0) - wiener * torch.fft.fft(x0.double(), norm="ortho")[0]
    assert float((offset.abs().square() / variance * n).mean()) == pytest.approx(1, abs=4 / math.sqrt(8))  # 16 modes
    ratio = (modes - modes.mean(0)).abs().square().mean(0) / variance
    assert float((ratio - 1).abs().max()) < 4.5 * math.sqrt(2 / n)


@pytest.mark.parametrize("s", [0.3, 0.8, 2.0])
def test_u_turns_of_two_peaks_change_sides_as_often_as_the_posterior_says(s):
    """P(other peak | x0) = int dy N(y; x0, s^2) P(other | y), by quadrature; weak order 1 at 150 levels."""
    means = torch.tensor([[[-1.0]], [[1.0]]], dtype=torch.float64)
    law, n = GaussianMixture(means, torch.full((2,), 0.04, dtype=torch.float64)), 4000
    x = torch.ones(n, 1, 1, dtype=torch.float64)
    levels = log_uniform(50.0, 0.01, 150)
    returned = sample(law, levels, x.shape, 2, sampler="ancestral", start=u_turn(x, s), from_level=s, tile=n, **WIDE)
    y = 1 + s * torch.linspace(-9, 9, 4001, dtype=torch.float64)
    weight = torch.softmax(-0.5 * ((y - 1) / s) ** 2, 0)
    level = torch.full((len(y),), s, dtype=torch.float64)
    expected = float(weight @ law.responsibilities(y[:, None, None], level)[:, 0])
    crossed = float((returned < 0).double().mean())
    assert abs(crossed - expected) < 4 * math.sqrt(expected * (1 - expected) / n) + 1e-3
    mean = float(weight @ law(y[:, None, None], level).flatten())
    assert abs(float(returned.mean()) - mean) < 4 * float(returned.std()) / math.sqrt(n) + 2e-3


def test_the_flow_from_a_noisy_field_gives_the_law_of_the_data():
    """Deterministic: x0' follows from y; over x0 and noise its variance is P, at order 2 in the steps."""
    law, s, n = steep_field(), 0.7, 4000
    x = law.sample(n, torch.Generator().manual_seed(5)).double()
    returned = sample(law, LEVELS, x.shape, 1, sampler="heun", start=u_turn(x, s), from_level=s, tile=n, **WIDE)
    ratio = torch.fft.fft(returned, norm="ortho").abs().square().mean(0) / law.spectrum
    assert float((ratio - 1).abs().max()) < 0.01 + 4.5 * math.sqrt(2 / n)


def test_starting_from_the_noise_of_the_sampler_changes_nothing():
    law, shape = steep_field(), (5, 1, 16)
    start = noise_like(4, "sampler start", range(5), shape[1:]) * 50.0
    for sampler in ("dpmpp_2m", "ancestral"):
        whole = sample(law, LEVELS, shape, 4, sampler=sampler)
        assert torch.equal(whole, sample(law, LEVELS, shape, 4, sampler=sampler, start=start, from_level=50.0))
        assert torch.equal(whole, sample(law, LEVELS, shape, 4, sampler=sampler, start=start))


def test_a_sample_depends_on_its_own_start_alone():
    law = steep_field()
    y = u_turn(law.sample(12, torch.Generator().manual_seed(1)).double(), 0.5).float()
    settings = {"sampler": "ancestral", "from_level": 0.5, "tile": 4}
    whole = sample(law, LEVELS, y.shape, 7, start=y, **settings)
    part = sample(law, LEVELS, (5, 1, 16), 7, start=y[6:11], start_index=6, **settings)
    assert torch.equal(whole[6:11], part)


def test_levels_above_the_start_are_dropped():
    levels = torch.tensor([8.0, 4.0, 2.0, 1.0, 0.0])
    assert levels_from(levels, 3.0).tolist() == [3, 2, 1, 0]
    assert levels_from(levels, 2.0).tolist() == [2, 1, 0]
    assert levels_from(levels, 8.0).tolist() == levels.tolist()
    assert levels_from(levels, 0.5).tolist() == [0.5, 0]
    for outside in (8.1, 0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match="0 < s <= 8, got s = .*give levels"):
            levels_from(levels, outside)


def test_starts_that_do_not_fit_are_refused():
    law, y = steep_field(), torch.zeros(2, 1, 16)
    with pytest.raises(ValueError, match=r"from_level = 0\.5 .*pass start"):
        sample(law, LEVELS, y.shape, 0, from_level=0.5)
    with pytest.raises(ValueError, match=r"\(3, 1, 16\).*got \(2, 1, 16\)"):
        sample(law, LEVELS, (3, 1, 16), 0, start=y, from_level=0.5)


@pytest.mark.parametrize(
    "function",
    [
        sample,
        convergence,
        log_likelihood,
        weighted_sample,
        noising_log_weight,
        sample_masked,
        UNet,
        MessagePassing,
    ],
)
def test_a_wrong_word_is_a_type_error_that_names_the_function(function):
    with pytest.raises(TypeError, match=rf"{function.__name__}.*unexpected keyword argument 'devise'"):
        function(devise="cpu")
