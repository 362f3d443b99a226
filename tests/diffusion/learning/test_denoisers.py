"""Untrained denoisers are exact for Gaussian fields and free spins; spectra are fitted within mode counting errors."""

import math

import pytest
import torch

from physgen.diffusion.learning.denoisers import (
    FieldDenoiser,
    LogNormal,
    LogUniform,
    SpinDenoiser,
    denoising_loss,
)
from physgen.diffusion.learning.prior_spectrum import Spectrum, fit_spectrum
from physgen.diffusion.values import Binary, Real
from physgen.lattice import multiplicity, wavenumber
from physgen.networks.unet import UNet

GRID = (6, 8)


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def cycles(grid):
    """|k| of each mode in cycles per cell."""
    return torch.from_numpy(wavenumber(grid)) / (2 * math.pi)


def steep(grid=GRID):
    """P(k) = 1/(0.1 + k)^3 / 100 on the half-spectrum."""
    return 0.01 / (0.1 + cycles(grid)) ** 3


def gaussian_field(n, grid, power, seed=0):
    """(n, 1, *grid) with the given power per half-spectrum mode (broadcast against n)."""
    axes = list(range(1, 1 + len(grid)))
    modes = torch.fft.rfftn(draw(n, *grid, seed=seed), dim=axes) * power.sqrt()
    return torch.fft.irfftn(modes, s=grid, dim=axes)[:, None]


def spectrum_of(power, grid=GRID):
    return Spectrum(power.log()[None, None], grid)


def dense_covariance(power, grid):
    """Covariance matrix of the sites, from the response of each unit vector: C = F^H P F."""
    unit = torch.eye(math.prod(grid), dtype=torch.float64).reshape(-1, *grid)
    axes = list(range(1, 1 + len(grid)))
    return torch.fft.irfftn(torch.fft.rfftn(unit, dim=axes) * power, s=grid, dim=axes).reshape(len(unit), -1)


def test_untrained_field_denoiser_is_the_posterior_mean_of_the_gaussian_field():
    denoiser = FieldDenoiser(UNet(2, width=8, multipliers=(1, 2)), spectrum_of(steep()))
    covariance = dense_covariance(steep(), GRID)
    y, s = draw(3, 1, *GRID), torch.tensor([0.1, 1.0, 20.0], dtype=torch.float64)
    for row, level in enumerate(s):
        exact = covariance @ torch.linalg.solve(covariance + level**2 * torch.eye(48), y[row].flatten())
        found = denoiser(y, s)[row].flatten().double()
        torch.testing.assert_close(found, exact, rtol=1e-5, atol=1e-5 * exact.abs().max().item())  # float32
    assert torch.equal(denoiser(y, s), denoiser.baseline(y, s))


def test_error_scale_is_the_trace_of_the_posterior_covariance():
    denoiser = FieldDenoiser(torch.nn.Identity(), spectrum_of(steep()))
    covariance = dense_covariance(steep(), GRID)
    s = torch.tensor([0.05, 1.0, 30.0])
    exact = [
        torch.trace(covariance @ torch.linalg.inv(covariance + v**2 * torch.eye(48)) * v**2).item() / 48
        for v in s.tolist()
    ]
    torch.testing.assert_close(denoiser.error_scale(s).tolist(), exact, rtol=1e-5, atol=0)


def test_the_network_sees_unit_variance_and_its_output_has_the_posterior_size():
    """Target of the network, (x0 - skip)/gain, is white of unit variance for a Gaussian field at every level."""
    n, power = 400, steep()
    seen = []
    denoiser = FieldDenoiser(lambda x, c, condition: seen.append(x) or torch.zeros_like(x), spectrum_of(power))
    x0 = gaussian_field(n, GRID, power)
    for level in (0.05, 1.0, 30.0):
        y = x0 + level * draw(n, 1, *GRID, seed=7)
        s = torch.full((n,), level)
        residual = denoiser._modes(x0 - denoiser(y, s).double())
        gain = (power * level**2 / (power + level**2)).sqrt()
        for modes in (denoiser._modes(seen[-1].double()), residual / gain):
            white = (modes.abs().square()[:, 0] * multiplicity(GRID) / 48).sum((1, 2)) / 48
            # n x 48 independent standard normal numbers: the variance of their mean square is 2/(48 n)
            assert abs(white.mean() - 1) < 4 * math.sqrt(2 / (48 * n))


@pytest.mark.parametrize("level", [0.03, 0.3, 3.0, 30.0])
def test_loss_of_the_untrained_model_is_one_at_every_level(level):
    n, power = 500, steep()
    denoiser = FieldDenoiser(UNet(2, width=8, multipliers=(1, 2)), spectrum_of(power))
    x0 = gaussian_field(n, GRID, power).float()
    loss = denoising_loss(denoiser, x0, torch.full((n,), level), draw(n, 1, *GRID, seed=5).float())
    assert abs(loss.mean() - 1) < 4 * loss.std() / math.sqrt(n)


@pytest.mark.parametrize("grid", [(7,), (6, 8), (5, 4), (4, 3, 6)])
@pytest.mark.parametrize("known", [True, False])
def test_the_loss_by_modes_is_the_mean_square_of_the_field_over_the_error_scale(grid, known):
    """Parseval, in float64, with two channels and a spectrum that depends on labels; its gradient too."""
    x0, noise, labels = draw(3, 2, *grid), draw(3, 2, *grid, seed=1), draw(3, 1, seed=2)
    coefficients = draw(3, 2, *[1] * len(grid), seed=3)
    spectrum = Spectrum(coefficients * (1 - 6 * cycles(grid)), grid) if known else None

    class Scaled(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.tensor([0.3, -0.2], dtype=torch.float64))

        def forward(self, x, c_noise, condition):
            return self.weight[0] * x.roll(1, 2) ** 2 + self.weight[1] * x

    denoiser, given = FieldDenoiser(Scaled(), spectrum).double(), {"labels": labels}
    s = torch.tensor([0.01, 1.0, 50.0], dtype=torch.float64)
    found = []
    for loss in (denoising_loss(denoiser, x0, s, noise, given), _by_field(denoiser, x0, s, noise, given)):
        (gradient,) = torch.autograd.grad(loss.sum(), denoiser.network.weight)
        found.append((loss.double(), gradient))
    torch.testing.assert_close(found[0], found[1], rtol=1e-5, atol=0)  # the loss is given in float32


def _by_field(denoiser, x0, s, noise, condition):
    error = (denoiser(x0 + s.reshape(-1, *[1] * (x0.ndim - 1)) * noise, s, condition) - x0).square()
    return error.flatten(1).mean(1) / denoiser.error_scale(s, condition)


def test_fitted_spectrum_is_right_within_the_counting_error_of_modes():
    n, grid = 200, (16, 16)
    fitted = fit_spectrum(gaussian_field(n, grid, torch.ones(16, 9, dtype=torch.float64) * 2.5).float())()[0, 0]
    for k in (0.0, 1 / 16, 3 / 16, 7 / 16):  # one mode at 0; at least 4 real degrees of freedom in each other shell
        mode = (cycles(grid) - k).abs().argmin()
        modes = 1 if k == 0 else 4
        assert abs(math.log(fitted.flatten()[mode] / 2.5)) < 4 * math.sqrt(2 / (n * modes))


def test_fitted_spectrum_depends_on_labels_as_the_truth_does():
    n, grid = 600, (12, 12)
    labels = draw(n, 2, seed=3).clamp(-2, 2)
    k = cycles(grid)
    ln_power = steep(grid).log() + 0.5 * labels[:, 0, None, None] - 0.3 * labels[:, 1, None, None] ** 2 * (k < 0.3)
    fitted = fit_spectrum(gaussian_field(n, grid, ln_power.exp()), labels)
    # coefficients of 1, l0, l1, l0^2, l0 l1, l1^2 in the shell |k| = 2/12, of 12 modes; features have variance > 0.7
    shell = fitted.ln_power[:, 0, 0, 2]
    expected = torch.tensor([0.5, 0.0, 0.0, 0.0, -0.3])
    assert ((shell[1:] - expected).abs() < 4 * math.sqrt(2 / (n * 12 * 0.7))).all()
    flat = fitted({"labels": torch.zeros(2, 2)})
    assert flat.shape == (2, 1, 12, 7)


def test_fitted_spectrum_is_linear_on_request_and_takes_any_grid():
    n, grid = 400, (5, 4, 6)
    labels = draw(n, 3, seed=3).clamp(-2, 2)
    scale = (0.25 * labels[:, 0]).exp().reshape(-1, 1, 1, 1, 1)
    fitted = fit_spectrum(draw(n, 2, *grid) * scale, labels, quadratic=False).ln_power
    assert fitted.shape == (4, 2, 5, 4, 4)
    # white noise of ln P = l0 / 2: coefficients of 1, l0, l1, l2 in the shell |k| = 1/6, which holds 2 modes at least
    error = 4 * math.sqrt(2 / (n * 2 * 0.7))
    assert ((fitted[:, :, 0, 0, 1] - torch.tensor([0.0, 0.5, 0.0, 0.0])[:, None]).abs() < error).all()
    pair = fit_spectrum(draw(n, 1, 2))()  # two cells: the modes 0 and Nyquist
    assert pair.shape == (1, 1, 2) and (pair.log().abs() < 4 * math.sqrt(2 / n)).all()
    nothing = fit_spectrum(torch.zeros(3, 1, 4, 4))()
    assert torch.isfinite(nothing.log()).all() and nothing.max() < 1e-9


def test_untrained_spin_denoiser_is_exact_for_free_spins():
    denoiser = SpinDenoiser(UNet(2, width=8, multipliers=(1, 2)))
    y, s = draw(2, 1, 4, 4).float(), torch.tensor([0.5, 3.0])
    exact = torch.tanh(y / s[:, None, None, None] ** 2)
    assert torch.equal(denoiser(y, s), exact) and torch.equal(denoiser.baseline(y, s), exact)


def test_antisymmetric_spin_denoiser_is_odd():
    network = UNet(2, width=8, multipliers=(1, 2))
    torch.nn.init.normal_(network.head.convolution.weight, generator=torch.Generator().manual_seed(0))
    y, s = draw(2, 1, 4, 4).float(), torch.tensor([0.5, 3.0])
    odd, plain = SpinDenoiser(network, antisymmetric=True), SpinDenoiser(network)
    torch.testing.assert_close(odd(-y, s), -odd(y, s), rtol=0, atol=0)
    assert (plain(-y, s) + plain(y, s)).abs().max() > 1e-3


def test_autocast_touches_the_network_alone():
    denoiser = FieldDenoiser(UNet(2, width=8, multipliers=(1, 2)), spectrum_of(steep()))
    y, s = draw(2, 1, *GRID).float(), torch.tensor([0.1, 3.0])
    with torch.autocast("cpu", torch.bfloat16):
        found = denoiser(y, s)
    assert found.dtype == torch.float32 and torch.equal(found, denoiser(y, s))
    torch.nn.init.normal_(denoiser.network.head.convolution.weight, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        half = denoiser(y, s)
    assert half.dtype == torch.float32 and 0 < (half - denoiser(y, s)).abs().max() < 0.1 * denoiser(y, s).abs().max()


def test_level_laws_have_the_stated_quantiles():
    u = torch.tensor([0.1586553, 0.5, 0.8413447], dtype=torch.float64)
    torch.testing.assert_close(
        LogNormal(-1.0, 0.5)(u).log(), torch.tensor([-1.5, -1.0, -0.5]).double(), rtol=0, atol=1e-6
    )
    found = LogUniform(0.01, 100.0)(torch.tensor([0.0, 0.5, 1.0]))
    torch.testing.assert_close(found, torch.tensor([0.01, 1.0, 100.0]))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: LogUniform(1.0, 0.5), "0 < s_min < s_max, got 1.0, 0.5"),
        (lambda: Binary().denoiser(torch.nn.Identity(), spectrum_of(steep())), "no prior spectrum"),
        (lambda: Spectrum(torch.zeros(1, 1, 8, 8), (8, 8)), "modes of shape \\(8, 5\\)"),
        (lambda: FieldDenoiser(None, spectrum_of(steep())).baseline(draw(1, 1, 8, 8), torch.ones(1)), "grid"),
        (lambda: Spectrum(torch.zeros(3, 1, 8, 5), (8, 8))({}), "depends on labels"),
        (lambda: Spectrum(torch.zeros(3, 1, 8, 5), (8, 8))({"labels": torch.zeros(1, 3)}), "3 label features"),
    ],
)
def test_bad_input_gets_one_clear_message(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("dimension", [1, 2])
@pytest.mark.parametrize("values", [Real(), Binary()])
def test_a_denoiser_of_double_weights_computes_in_float64_throughout(dimension, values):
    """The rounding of float32 against it is there, and nowhere is a result rounded on the way."""
    grid = (16,) * dimension
    x = torch.randn(64, 1, *grid, generator=torch.Generator().manual_seed(0))
    labels = {"labels": x[:, 0].flatten(1)[:, :2]}
    network = UNet(dimension, width=8, multipliers=(1, 2), labels=2)
    for i, parameter in enumerate(network.parameters()):
        parameter.data.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(i)))
    denoiser = values.denoiser(network, values.prior_spectrum(x, labels["labels"])).eval()
    s = torch.full((64,), 0.7)
    with torch.no_grad():
        narrow = denoiser(x.double(), s.double(), {"labels": labels["labels"].double()})  # of float32 weights
        wide = denoiser.double()(x, s, labels)
    assert narrow.dtype == torch.float32 and wide.dtype == torch.float64
    assert 0 < float((narrow - wide).abs().max()) < 1e-4 * float(wide.abs().max())
    with torch.no_grad():
        shifted = denoiser(torch.nextafter(x.double(), x.double() + 1), s, labels)
    # a change in the 16th digit arrives: float32 anywhere would lose it or blow it up to 1e-7
    assert 0 < float((shifted - wide).abs().max()) < 1e-12
