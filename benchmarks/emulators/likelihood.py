"""Likelihoods and posteriors of labels by trained U-Nets, against the closed form of Gaussian fields.

ln P(k) of the fields is linear in an amplitude and a slope. The denoiser starts from white noise of unit variance and
must learn the spectrum and both labels: ``FieldDenoiser`` without a spectrum. ``python -m benchmarks.emulators
likelihood`` prints the rows.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

import numpy as np
import torch

from benchmarks.regimes.row import Row
from physgen.diagnostics.coverage import coverage_at, coverage_curve, credibilities
from physgen.diagnostics.ranks import rank_uniformity, ranks, standard_scores
from physgen.diffusion.inference.bound import BoundSettings, denoising_bound
from physgen.diffusion.inference.label_posterior import label_posterior
from physgen.diffusion.inference.likelihood import log_likelihood
from physgen.diffusion.learning.denoisers import FieldDenoiser, LogUniform, denoising_loss
from physgen.diffusion.learning.prior_spectrum import Spectrum
from physgen.diffusion.levels import log_uniform
from physgen.diffusion.noise import noise_like
from physgen.lattice import half_grid, wavenumber
from physgen.networks.unet import UNet

S_MIN, S_MAX = 0.05, 20.0
STEPS, BATCH, WIDTH, UNITS = {2: 900, 3: 400}, 48, 16, 40
GRIDS = {2: (8, 8), 3: (4, 4, 4)}


class Law:
    """Gaussian fields of ln P = 0.5 - 0.5 k + 0.5 a - 0.4 b (k - 1.5), labels a, b in [-1, 1], k in pi/4 per site."""

    def __init__(self, grid: tuple[int, ...]) -> None:
        k = torch.from_numpy(np.asarray(wavenumber(grid, [1.0] * len(grid)))).float() / (math.pi / 4)
        assert tuple(k.shape) == half_grid(grid)
        terms = [0.5 - 0.5 * k, 0.5 * torch.ones_like(k), -0.4 * (k - 1.5)]
        self.grid, self.spectrum = grid, Spectrum(torch.stack(terms)[:, None], grid)
        self.exact = FieldDenoiser(torch.nn.Identity(), self.spectrum)

    def draw(self, labels: torch.Tensor, seed: int) -> torch.Tensor:
        white = noise_like(seed, "benchmark fields", range(len(labels)), (1, *self.grid))
        return self.spectrum.field(self.spectrum({"labels": labels}).sqrt() * self.spectrum.modes(white))

    def ln_p(self, y: torch.Tensor, labels: torch.Tensor, s: float) -> torch.Tensor:
        """ln N(y; 0, P + s^2), (B,)."""
        variance = self.spectrum({"labels": labels}) + s**2
        square = self.spectrum.modes(y.float()).abs().square() / math.prod(self.grid)
        return -0.5 * y[0].numel() * self.spectrum.mean_over_modes(square / variance + (2 * math.pi * variance).log())

    def bound(self, x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Mean over noise of ln p(x + s_min z), (B,)."""
        s = torch.full((len(x),), S_MIN)
        return self.exact.surrogate_log_density(x, s, {"labels": labels})


def labels_of(count: int, seed: int) -> torch.Tensor:
    return 2 * torch.rand(count, 2, generator=torch.Generator().manual_seed(seed)) - 1


def train(law: Law, steps: int, seed: int = 0) -> FieldDenoiser:
    """A U-Net trained on fresh fields, cosine decay of the rate, average of the weights over the last tenth."""
    torch.manual_seed(seed)
    dimension = len(law.grid)
    denoiser = FieldDenoiser(UNet(dimension, labels=2, width=WIDTH, multipliers=(1, 2)))
    optimiser = torch.optim.Adam(denoiser.parameters(), 3e-3)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    average, levels = torch.optim.swa_utils.AveragedModel(denoiser), LogUniform(S_MIN, S_MAX)
    for step in range(steps):
        labels = labels_of(BATCH, 10**6 + step)
        x = law.draw(labels, 10**6 + step)
        s = levels((torch.arange(BATCH) + torch.rand(BATCH)) / BATCH)
        loss = denoising_loss(denoiser, x, s, torch.randn_like(x), {"labels": labels}).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        decay.step()
        if step > 0.9 * steps:
            average.update_parameters(denoiser)
    found: FieldDenoiser = average.module
    return found.requires_grad_(False).eval()


def agreement_rows(law: Law, denoiser: FieldDenoiser, name: str) -> Iterator[Row]:
    """ln p of one network by all roads, beside the closed form of its data."""
    labels = labels_of(8, 5)
    x = law.draw(labels, 5)
    y = x.double() + S_MIN * noise_like(6, "benchmark noise", range(8), tuple(x.shape[1:])).double()
    levels, condition, size = log_uniform(S_MAX, S_MIN, 25), {"labels": labels}, x[0].numel()
    settings = {"dtype": torch.float32, "method": "heun"}
    exact = log_likelihood(denoiser, levels, y, condition, **settings)
    for how, more in (
        ("8 probes", {"divergence": "hutchinson", "probes": 8}),
        ("Jacobian", {"divergence": "jacobian"}),
    ):
        found = log_likelihood(denoiser, levels, y, condition, **{**settings, **more})
        value = float((found.nats - exact.nats).mean())
        random = float(found.probe_error.square().sum().sqrt()) / 8
        systematic = float(exact.step_error.mean()) if how == "Jacobian" else 0.0
        kept = abs(value) < 4 * random + systematic
        note = f"24 Heun steps, 8 fields; within 4 probe errors and the stated step error of {systematic:.3g}"
        yield Row(f"{name}: ln p by {how} less that by the exact trace, nats", value, random, 0.0, "", kept, note)
    closed = law.ln_p(y, labels, S_MIN).double()
    gap = (exact.nats - closed) / (size * math.log(2))
    note = "mean over 8 fields, its scatter, and the integration: what the network misses of the law"
    error = math.hypot(float(gap.std()) / math.sqrt(8), float(exact.error.mean()) / (size * math.log(2)))
    yield Row(f"{name}: bits per dimension above the closed form", float(-gap.mean()), error, 0.0, "", None, note)
    drawn = denoising_bound(denoiser, (S_MIN, S_MAX), x, condition, settings=BoundSettings(16, 32))
    low = drawn.mean(0) - law.bound(x, labels)
    value, error = float(low.mean()), float(drawn.mean(1).std()) / 4
    note = "never above the closed form on the mean over data; 16 draws of 32 levels"
    yield Row(f"{name}: bound less the closed form, nats", value, error, 0.0, "", value < 4 * error + 0.5, note)


def posterior_rows(law: Law, denoiser: FieldDenoiser) -> Iterator[Row]:
    """Posteriors of 40 fields by the bound and by the flow, against those of the closed form."""
    truth = labels_of(UNITS, 7)
    x = law.draw(truth, 7)
    z = noise_like(8, "benchmark noise", range(UNITS), tuple(x.shape[1:]))

    def by_closed_form(which: np.ndarray, at: np.ndarray, last: bool) -> np.ndarray:
        return np.repeat(law.bound(x[which], torch.from_numpy(at).float())[None].numpy(), 2, 0)

    def by_bound(which: np.ndarray, at: np.ndarray, last: bool) -> np.ndarray:
        given, plan = {"labels": torch.from_numpy(at).float()}, BoundSettings(4 if last else 1, 32)
        return denoising_bound(denoiser, (S_MIN, S_MAX), x[which], given, which.tolist(), plan).numpy()

    def by_flow(which: np.ndarray, at: np.ndarray, last: bool) -> np.ndarray:
        given, y = {"labels": torch.from_numpy(at).float()}, x[which] + S_MIN * z[which]
        return log_likelihood(
            denoiser, log_uniform(S_MAX, S_MIN, 25), y, given, method="heun", divergence="hutchinson", batch=256,
            probes=4 if last else 2, dtype=torch.float32, streams=which.tolist(),
        ).per_probe.numpy()  # fmt: skip

    exact = label_posterior(by_closed_form, UNITS, 2)
    for name, measure, units in (("bound", by_bound, UNITS), ("flow", by_flow, 4)):
        began = time.process_time()
        found = label_posterior(measure, units, 2)
        seconds = (time.process_time() - began) / units
        shift = (found.mean - exact.mean[:units]) / exact.std[:units]
        noise = found.mean_error / exact.std[:units]
        cost = f"{seconds:.2f} CPU s a field; {found.evaluations // units} ln p drawn"
        for i, label in enumerate(("amplitude", "slope")):
            rms, drawn = np.sqrt((shift[:, i] ** 2).mean()), noise[:, i].mean()
            note = f"{units} fields; rms {rms:.2f}, of which Monte Carlo {drawn:.2f}; {cost}"
            error = shift[:, i].std(ddof=1) / math.sqrt(units)
            where = f"posterior mean of the {label} by {name} less the exact, in posterior deviations"
            yield Row(where, float(shift[:, i].mean()), float(error), 0.0, "", abs(shift[:, i].mean()) < 0.3, note)
            ratio = found.std[:, i] / exact.std[:units, i]
            error = ratio.std(ddof=1) / math.sqrt(units)
            where = f"posterior width of the {label} by {name} over the exact"
            yield Row(where, float(ratio.mean()), float(error), 1.0, "", abs(ratio.mean() - 1) < 0.15, "within 15 %")
        if name == "bound":
            yield from calibration_rows(found.draw(1000, 0), found, truth.numpy())


def calibration_rows(draws: np.ndarray, found: object, truth: np.ndarray) -> Iterator[Row]:
    """Ranks and coverage of the truth."""
    for i, label in enumerate(("amplitude", "slope")):
        tested = rank_uniformity(ranks(draws, truth)[:, i])
        note = f"{tested['count']} fields; would see a distance of {tested['detectable']:.2f}"
        yield Row(f"KS p of the ranks of the {label}", tested["p"], 0.0, None, "", tested["p"] > 0.05, note)
        score = standard_scores(draws.mean(1), draws.std(1), truth)[:, i]
        error = (score**2).std(ddof=1) / math.sqrt(len(score))
        kept = abs((score**2).mean() - 1) < 4 * max(error, math.sqrt(2 / len(score)))
        yield Row(f"mean square of (mean - truth)/std of the {label}", float((score**2).mean()), float(error), 1.0, "",
                  kept, "within four errors, sqrt(2/N) of a calibrated one where that is larger")  # fmt: skip
    curve = coverage_curve(credibilities(draws, truth, [-1, -1], [1, 1]))
    for level, (value, error) in coverage_at(curve).items():
        floor = math.sqrt(level * (1 - level) / UNITS)
        note = f"TARP (2302.03026); scatter of a calibrated one {floor:.3f}"
        yield Row(f"coverage at {level:g}", value, error, level, "", abs(value - level) < 3 * floor, note)


def rows() -> list[Row]:
    """All rows, about a minute."""
    made: list[Row] = []
    for dimension, grid in GRIDS.items():
        law = Law(grid)
        began = time.process_time()
        denoiser = train(law, STEPS[dimension])
        name = f"U-Net in {dimension}-D, {'x'.join(map(str, grid))}, trained {time.process_time() - began:.0f} CPU s"
        made += agreement_rows(law, denoiser, name)
        if dimension == 2:
            made += posterior_rows(law, denoiser)
    return made
