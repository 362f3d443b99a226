"""Latents: the linear autoencoder in closed form, shifts, what is lost of each mode, what is added at random."""

import pytest
import torch

from physgen.diffusion.exact import GaussianField
from physgen.diffusion.latent import (
    Autoencoder,
    AutoencoderOptions,
    Fit,
    add_residual,
    fit_autoencoder,
    interpolated,
    kept_information,
    residual_power,
    truncated,
)
from physgen.lattice import wavenumber


def draw(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def moved(autoencoder):
    """No parameter at zero, as after training."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in autoencoder.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return autoencoder.double()


@pytest.mark.parametrize(("grid", "factor"), [((24,), 4), ((8, 12), 2), ((8, 8, 16), 4)])
def test_the_truncation_keeps_the_modes_below_the_coarse_nyquist_and_no_others(grid, factor):
    x, dims = draw(2, 3, *grid), tuple(range(2, 2 + len(grid)))
    modes = torch.fft.fftn(x, dim=dims)
    for axis, size in zip(dims, grid, strict=True):
        m = torch.fft.fftfreq(size, 1 / size).abs()
        shape = [1] * x.ndim
        shape[axis] = size
        modes = modes * (m < size / factor / 2).reshape(shape)
    low = torch.fft.ifftn(modes, dim=dims).real
    z = truncated(x, factor)
    torch.testing.assert_close(z, low[(..., *[slice(None, None, factor)] * len(grid))], rtol=0, atol=1e-13)
    torch.testing.assert_close(interpolated(z, factor), low, rtol=0, atol=1e-13)


@pytest.mark.parametrize(("dimension", "grid"), [(1, (16,)), (2, (8, 16)), (3, (8, 4, 8))])
def test_both_ways_commute_with_shifts_by_the_factor_and_not_with_smaller_ones(dimension, grid):
    factor = 4 if dimension < 3 else 2
    autoencoder = moved(Autoencoder(dimension, 1, AutoencoderOptions(channels=2, factor=factor, width=8)))
    x = draw(2, 1, *grid)
    with torch.no_grad():
        z, back = autoencoder.encode(x), autoencoder(x)
        assert z.shape == (2, 2, *(size // factor for size in grid)) and back.shape == x.shape
        for axis in range(2, x.ndim):
            rolled = autoencoder.encode(x.roll(factor, axis))
            torch.testing.assert_close(rolled, z.roll(1, axis), rtol=0, atol=1e-13 * z.abs().max().item())
            whole = autoencoder(x.roll(factor, axis))
            torch.testing.assert_close(whole, back.roll(factor, axis), rtol=0, atol=1e-13 * back.abs().max().item())
        assert (autoencoder(x.roll(1, -1)) - back.roll(1, -1)).std() > 0.01 * back.std()


def test_an_untrained_autoencoder_is_the_linear_one_and_training_loses_less():
    """Fields whose small scales follow from the large ones, x = g + (g^2 - <g^2>)/2: a linear map cannot know them."""
    k = torch.from_numpy(wavenumber((16, 16), half=False))[None]
    g = GaussianField((k < 0.79 * torch.pi / 2).double()).sample(96, torch.Generator().manual_seed(2)).float()
    x = g + (g.square() - g.square().mean()) / 2
    torch.manual_seed(0)
    autoencoder = Autoencoder(2, 1, AutoencoderOptions(channels=1, factor=2, width=8))
    linear = interpolated(truncated(x, 2), 2)
    with torch.no_grad():
        torch.testing.assert_close(autoencoder(x), linear, rtol=0, atol=1e-6)
    before = (linear[64:] - x[64:]).square().mean()
    fit_autoencoder(autoencoder, x[:64], Fit(steps=80, batch_size=8, learning_rate=5e-3))
    with torch.no_grad():
        after = (autoencoder(x[64:]) - x[64:]).square().flatten(1).mean(1)
    error = after.std() / len(after) ** 0.5
    assert after.mean() + 4 * error < 0.8 * before


def test_what_the_truncation_loses_is_exactly_what_lies_above_the_cut():
    x = draw(40, 1, 16, 16)
    found = kept_information(x, interpolated(truncated(x, 2), 2))
    below = found.k < 3.5 * 2 * torch.pi / 16  # shells of modes |m| < 4 along every axis
    above = found.k > 4.5 * 2**0.5 * 2 * torch.pi / 16
    for kept, is_one in ((found.transfer, 1), (found.correlation, 1), (found.power, 1), (found.residual, 0)):
        assert abs(kept[0, below] - is_one).max() < 1e-12 and abs(kept[0, above] - (1 - is_one)).max() < 1e-12
    assert found.modes.sum() == 256
    # 7 x 7 of 16 x 16 modes of white noise are kept
    assert abs(found.total - (1 - 49 / 256)) < 4 * found.total_error


def test_noise_of_known_power_gives_the_known_correlation():
    r""":math:`\hat x = a x + b n`: T = a, P = a^2 + b^2, r = a/sqrt(P), rho = (1 - a)^2 + b^2."""
    x, n = draw(2, 60, 1, 8, 8)
    back, unit = 0.8 * x + 0.3 * n, torch.arange(60).numpy() // 2
    found = kept_information(x, back, unit)
    wanted = {"transfer": 0.8, "power": 0.73, "correlation": 0.8 / 0.73**0.5, "residual": 0.13}
    for name, value in wanted.items():
        z = (getattr(found, name)[0] - value) / getattr(found, f"{name}_error")[0]
        assert abs(z).max() < 4.5 and 0.3 < z.std() < 2, name  # 7 shells


def test_the_residual_brings_the_power_back_and_belongs_to_a_field():
    x = draw(200, 1, 16, 16)
    back = interpolated(truncated(x, 2), 2)
    power = residual_power(x, back)
    whole = add_residual(back, power, 3)
    torch.testing.assert_close(add_residual(back[5:7], power, 3, first=5), whole[5:7], rtol=0, atol=1e-12)
    found = kept_information(x, whole)
    z = (found.power[0] - 1) / found.power_error[0]
    above = found.k > 4.5 * 2**0.5 * 2 * torch.pi / 16
    assert abs(z[above]).max() < 4.5 and abs(found.correlation[0, above]).max() < 0.1
    assert abs(found.power[0, :3] - 1).max() < 1e-6  # the power is kept in float32


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: AutoencoderOptions(factor=3), "power of two, got 3"),
        (lambda: AutoencoderOptions(channels=0), "channels must be a whole number >= 1"),
        (lambda: Autoencoder(2, 3, AutoencoderOptions(channels=2)), "at least the 3 components, got 2"),
        (lambda: truncated(torch.zeros(1, 1, 6, 8), 4), "divisible by the factor 4, got \\(6, 8\\)"),
        (lambda: Fit(steps=0), "at least 1"),
        (lambda: kept_information(torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 8, 8)), "shape"),
    ],
)
def test_bad_input_gets_one_clear_message(call, message):
    with pytest.raises(ValueError, match=message):
        call()
