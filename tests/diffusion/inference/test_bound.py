"""The denoising bound of exact denoisers is the mean of ln p over the noise; posteriors of labels from it are right."""

import math

import numpy as np
import pytest
import torch

from physgen.diagnostics.coverage import coverage_at, coverage_curve, credibilities
from physgen.diagnostics.ranks import rank_uniformity, ranks
from physgen.diffusion.inference.bound import BoundSettings, denoising_bound
from physgen.diffusion.inference.label_posterior import label_posterior
from physgen.diffusion.learning.denoisers import FieldDenoiser
from physgen.diffusion.learning.prior_spectrum import Spectrum
from physgen.diffusion.noise import noise_like
from physgen.networks.unet import UNet

GRID, RANGE = (4, 4), (0.05, 40.0)


def labelled_law():
    """A Gaussian field whose ln P(k) is linear in an amplitude and a slope, as a denoiser without a network."""
    k = torch.fft.fftfreq(4, 0.25).abs()[:, None] + torch.fft.rfftfreq(4, 0.25)[None]
    ln_power = torch.stack([-0.5 * k, 0.6 * torch.ones_like(k), 0.5 - 0.3 * k])[:, None]
    return FieldDenoiser(lambda x, c_noise, condition: torch.zeros_like(x), Spectrum(ln_power, GRID))


def draw_fields(law, labels):
    white = noise_like(3, "fields", range(len(labels)), (1, *GRID))
    power = law.spectrum({"labels": labels})
    return law.spectrum.field(power.sqrt() * law.spectrum.modes(white))


def exact(law, y, labels, s):
    """ln N(y; 0, P + s^2)."""
    variance = law.spectrum({"labels": labels}) + s**2
    square = law.spectrum.modes(y).abs().square() / math.prod(GRID)
    return -0.5 * 16 * law.spectrum.mean_over_modes(square / variance + torch.log(2 * math.pi * variance))


def test_bound_of_an_exact_denoiser_is_the_mean_log_density_over_noise():
    """Drawn in full, from a denoiser that hides its linear part, and in closed form from one that shows it."""
    law = labelled_law()
    labels = 2 * torch.rand(6, 2, generator=torch.Generator().manual_seed(1)) - 1
    x, s_min = draw_fields(law, labels), RANGE[0]
    noisy = [exact(law, x + s_min * noise_like(j, "z", range(6), (1, *GRID)), labels, s_min) for j in range(200)]
    mean, error = torch.stack(noisy).mean(0), torch.stack(noisy).std(0) / math.sqrt(200)
    condition = {"labels": labels}
    known = denoising_bound(law, RANGE, x, condition, settings=BoundSettings(2, 1))
    assert float((known[0] - known[1]).abs().max()) == 0  # nothing is drawn of a Gaussian field
    assert bool(((known[0] - mean).abs() < 4 * error).all())
    drawn = denoising_bound(lambda y, s, c: law(y, s, c), RANGE, x, condition, settings=BoundSettings(30, 24))
    scatter = drawn.std(0) / math.sqrt(30)
    assert bool(((drawn.mean(0) - known[0]).abs() < 4 * scatter + 0.01).all())  # s_max misses (1/40)^2 of a mode
    assert float(scatter.max()) < 1.5


def test_rows_of_one_stream_share_their_noise_whatever_the_batch():
    torch.manual_seed(0)
    network = UNet(2, labels=2, width=8, multipliers=(1, 2))
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    denoiser, plan = FieldDenoiser(network, labelled_law().spectrum), BoundSettings(2, 3)
    x, labels = noise_like(1, "x", range(3), (1, *GRID)), torch.tensor([[0.1, 0.2], [0.1, 0.2], [-0.5, 0.7]])
    whole = denoising_bound(denoiser, RANGE, x[[0, 0, 2]], {"labels": labels}, [5, 5, 8], plan)
    torch.testing.assert_close(whole[:, 0], whole[:, 1], rtol=1e-6, atol=0)
    part = denoising_bound(denoiser, RANGE, x[[2]], {"labels": labels[2:]}, [8], plan)
    torch.testing.assert_close(part[:, 0], whole[:, 2], rtol=1e-5, atol=0)
    with pytest.raises(ValueError, match="draws >= 1"):
        BoundSettings(0, 3)


def test_posterior_of_labels_is_the_closed_form_and_calibrated():
    """Amplitude and slope of 60 Gaussian fields: each posterior against a fine grid, ranks and coverage together."""
    law, units = labelled_law(), 60
    truth = 2 * torch.rand(units, 2, generator=torch.Generator().manual_seed(2)) - 1
    x = draw_fields(law, truth)

    def measure(which, labels, last):
        given = {"labels": torch.from_numpy(labels).float()}
        return denoising_bound(law, RANGE, x[which], given, which.tolist(), BoundSettings(2, 1)).numpy()

    found = label_posterior(measure, units, 2)
    axis = (np.arange(41) + 0.5) / 20.5 - 1
    grid = torch.from_numpy(np.stack(np.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2)).float()
    for u in range(0, units, 15):
        ln_p = denoising_bound(law, RANGE, x[u].expand(len(grid), -1, -1, -1), {"labels": grid}, [0] * len(grid),
                               BoundSettings(1, 1))[0].numpy()  # fmt: skip
        weight = np.exp(ln_p - ln_p.max())
        mean = weight @ grid.numpy() / weight.sum()
        std = np.sqrt(weight @ (grid.numpy() - mean) ** 2 / weight.sum())
        np.testing.assert_allclose(found.mean[u], mean, atol=0.03 * std.min())
        np.testing.assert_allclose(found.std[u], std, rtol=0.03)
    assert found.misfit.max() < 0.1 and found.outside.max() < 0.01 and found.mean_error.max() == 0
    draws = found.draw(500, 0)
    rank = ranks(draws, truth.numpy())
    assert all(rank_uniformity(rank[:, i])["p"] > 0.01 for i in range(2))
    curve = coverage_curve(credibilities(draws, truth.numpy(), [-1, -1], [1, 1]))
    for level, (value, error) in coverage_at(curve).items():
        assert abs(value - level) < 4 * max(error, 0.01)
    narrow = found.mean[:, None] + 0.4 * (draws - found.mean[:, None])  # widths of two fifths must be seen
    seen = coverage_curve(credibilities(narrow, truth.numpy(), [-1, -1], [1, 1]))
    assert seen.attrs["largest_deviation"] > 1.56 * seen.attrs["floor"]
    assert rank_uniformity(ranks(narrow, truth.numpy())[:, 0])["p"] < 0.05


def test_posterior_holds_the_noise_of_its_draws():
    """Each draw of a Gaussian N(0, .05^2) with a slope t of its own moves it by t .05^2 and leaves its width."""
    slope = np.array([-14.0, 2.0, 12.0])
    found = label_posterior(lambda which, at, last: -200 * at[:, 0] ** 2 + slope[:, None] * at[:, 0], 1, 1)
    moved = 0.05**2 * slope.std(ddof=1) / math.sqrt(3)
    np.testing.assert_allclose(found.mean, 0, atol=1e-4)
    np.testing.assert_allclose(found.mean_error, moved, rtol=0.01)
    np.testing.assert_allclose(found.std, math.hypot(0.05, moved), rtol=0.002)
    at = np.linspace(-0.1, 0.1, 5)[:, None]
    weights = np.exp([found.ln_weight_at(point[None])[0] for point in at])
    on_grid = [np.interp(point, found.points[0, :, 0], found.weight[0]) for point in at[:, 0]]
    np.testing.assert_allclose(weights, on_grid, rtol=0.01)


@pytest.mark.parametrize("labels", [1, 3])
def test_posterior_of_one_and_of_three_labels(labels):
    """Gaussians narrow against the prior, one of them at its edge, with a tilt of each draw, for the jackknife."""
    rng = np.random.default_rng(labels)
    centre = np.vstack([rng.uniform(-0.8, 0.8, (2, labels)), np.full((1, labels), 1.0)])
    tilt = np.array([[-1.0], [1.0]])

    def measure(which, at, last):
        offset = at - centre[which]
        return -0.5 * ((offset / 0.05) ** 2).sum(1) + 5e3 + tilt * at[:, 0]

    found = label_posterior(measure, 3, labels)
    shift = np.eye(labels)[0] * 0.0025  # a tilt t moves the mean by t 0.05^2, and the draws cancel
    np.testing.assert_allclose(found.mean[:2], centre[:2], atol=0.004)
    np.testing.assert_allclose(found.mean_error[:2], np.tile(shift, (2, 1)), atol=3e-4)
    np.testing.assert_allclose(found.std[:2], 0.05, rtol=0.05)
    np.testing.assert_allclose(found.mean[2], 1 - 0.05 * math.sqrt(2 / math.pi), atol=0.004)
    assert found.outside.max() < 0.01
