"""A flaw in the linear part of a denoiser is found mode by mode and removed; samples then have the right spectrum."""

import math

import pytest
import torch
from torch import nn

from physgen.diffusion.learning.calibration import calibration_levels, fit_calibration
from physgen.diffusion.learning.denoisers import FieldDenoiser, denoising_loss
from physgen.diffusion.learning.prior_spectrum import fit_spectrum
from physgen.diffusion.levels import log_uniform
from physgen.diffusion.sampling.samplers import sample
from physgen.lattice import wavenumber

GRID = (16, 16)
FLAW = 0.06


class Flawed(nn.Module):
    """F = flaw (1 + l/2) sin(ln s) x: what a network that misses a part of its input adds to the Wiener filter."""

    def __init__(self, flaw=FLAW):
        super().__init__()
        self.flaw = flaw

    def forward(self, x, c_noise, condition=None):
        label = condition["labels"][:, :1, None, None]
        return self.flaw * (1 + 0.5 * label) * torch.sin(4 * c_noise).view(-1, 1, 1, 1) * x


def fields(count, seed):
    """Gaussian fields of a red spectrum whose amplitude is a label."""
    generator = torch.Generator().manual_seed(seed)
    labels = 2 * torch.rand(count, 1, generator=generator) - 1
    k = torch.from_numpy(wavenumber(GRID)).float()
    power = torch.where(k > 0, (k / 0.4).clamp(min=0.5) ** -1.5, 1.0)
    white = torch.fft.rfftn(torch.randn(count, 1, *GRID, generator=generator), dim=(2, 3))
    amplitude = torch.exp(0.3 * labels)[:, :, None, None]
    return torch.fft.irfftn(white * power.sqrt(), s=GRID, dim=(2, 3)) * amplitude, {"labels": labels}


@pytest.fixture(scope="module")
def found():
    x, condition = fields(4096, 0)
    denoiser = FieldDenoiser(Flawed(), fit_spectrum(x, condition["labels"]))
    levels = calibration_levels(0.05, 20.0, 17)
    return denoiser, fit_calibration(denoiser, x, condition, levels, 1), levels


def test_the_flaw_is_found_within_the_error_that_is_stated(found):
    _, calibration, levels = found
    label = torch.tensor([[-0.5], [0.7]])
    modes = torch.bincount(calibration.shell.flatten()) * 4096
    for s in levels[::4].float():
        f = calibration(s.expand(2), {"labels": label})[:, 0]
        wanted = -FLAW * (1 + 0.5 * label) * math.sin(math.log(float(s)))
        error = (2 / modes).sqrt()[calibration.shell] * 2  # an end of the label range knows half as much as its middle
        assert ((f - wanted[:, :, None]).abs() < 4.5 * error).all()


def test_samples_have_the_spectrum_of_the_data_once_it_is_removed(found):
    denoiser, calibration, _ = found
    count, labels = 256, torch.zeros(256, 1)
    truth, drawn = denoiser.spectrum({"labels": labels[:1]}), {}
    exact = FieldDenoiser(Flawed(0.0), denoiser.spectrum)
    for name, used, kept in (("exact", exact, None), ("flawed", denoiser, None), ("mended", denoiser, calibration)):
        used.calibration = kept
        x = sample(used, log_uniform(20.0, 0.05, 16), (count, 1, *GRID), seed=3, condition={"labels": labels})
        modes = torch.fft.rfftn(x, dim=(2, 3)).abs().square() / 256
        drawn[name] = float((modes / truth * denoiser.spectrum.multiplicity).sum() / (count * 256))
    denoiser.calibration = None
    # the same noise: what is left are errors of f, 0.2 % in the widest shells, and those of the solver on another path
    assert abs(drawn["mended"] / drawn["exact"] - 1) < 0.01
    assert abs(drawn["flawed"] / drawn["exact"] - 1) > 0.04


def test_loss_and_denoiser_agree_on_a_calibrated_network(found):
    denoiser, calibration, _ = found
    x, condition = fields(64, 5)
    noise, s = torch.randn(x.shape, generator=torch.Generator().manual_seed(2)), torch.full((64,), 0.8)
    denoiser.calibration = calibration
    direct = (denoiser(x + 0.8 * noise, s, condition) - x).square().flatten(1).mean(1)
    loss = denoising_loss(denoiser, x, s, noise, condition)
    torch.testing.assert_close(loss, direct / denoiser.error_scale(s, condition), rtol=1e-4, atol=0)
    calibrated = float(loss.mean())
    denoiser.calibration = None
    assert calibrated < float(denoising_loss(denoiser, x, s, noise, condition).mean())


def test_without_a_spectrum_there_are_no_modes_to_calibrate():
    with pytest.raises(ValueError, match="prior spectrum"):
        fit_calibration(FieldDenoiser(Flawed()), *fields(4, 0), torch.ones(2), 0)
