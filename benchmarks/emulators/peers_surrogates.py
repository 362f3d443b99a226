r"""Laws of maps that need no network: fitted on training maps and their labels in seconds.

Each takes training maps and gives a function (labels, rng) -> density. P(k; labels) is the gamma regression that the
emulators start from (:func:`physgen.diffusion.learning.prior_spectrum.fit_spectrum`), quantiles are least squares in
1, labels and their products. rho = 1 + delta; B maps of n x n cells, labels (B, L) in [-1, 1].
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import ndtr, ndtri
from torch import Tensor

from physgen.diagnostics.scattering import Wavelets, wavelets
from physgen.diffusion.learning.prior_spectrum import Spectrum, fit_spectrum, label_features

Law = Callable[[Tensor, np.random.Generator], np.ndarray]
QUANTILES = np.concatenate([np.logspace(-4, -2, 9)[:-1], np.linspace(0.01, 0.99, 99), 1 - np.logspace(-2, -4, 9)[1:]])


@dataclass(frozen=True)
class TrainingMaps:
    """rho (B, n, n) in units of the cosmic mean, labels (B, L), the number of the simulation of each map (B,)."""

    density: np.ndarray
    labels: Tensor
    simulation: np.ndarray

    @property
    def groups(self) -> list[np.ndarray]:
        """Rows of each simulation, whose maps share their labels."""
        return [np.flatnonzero(self.simulation == one) for one in np.unique(self.simulation)]


def gaussian_fields(spectrum: Spectrum, labels: Tensor, rng: np.random.Generator) -> np.ndarray:
    """Gaussian maps (B, n, n) of a spectrum at these labels; the mode k = 0 too."""
    white = torch.from_numpy(rng.standard_normal((len(labels), 1, *spectrum.grid)))
    return spectrum.field(spectrum.modes(white) * spectrum({"labels": labels}).double().sqrt())[:, 0].numpy()


def lognormal(maps: TrainingMaps) -> Law:
    r"""rho = exp(g - <g^2>/2) of a Gaussian g with :math:`\xi_g = \ln(1 + \xi)`: mean and P(k) of rho are right."""
    found = fit_spectrum(torch.from_numpy(maps.density - 1)[:, None], maps.labels)

    def draw(labels: Tensor, rng: np.random.Generator) -> np.ndarray:
        n = found.grid[0]
        power = full(found({"labels": labels})[:, 0].double().numpy(), n)
        gaussian = np.maximum(np.fft.fft2(np.log1p(np.fft.ifft2(power).real)).real, 0)  # it need not exist: clip
        white = np.fft.fft2(rng.standard_normal(gaussian.shape))
        g = np.fft.ifft2(white * np.sqrt(gaussian)).real
        return np.exp(g - gaussian.mean((1, 2), keepdims=True) / 2)

    return draw


def full(half: np.ndarray, n: int) -> np.ndarray:
    """An even function of k on the modes of fft2 from its half-spectrum (B, n, n//2 + 1)."""
    mirrored = np.roll(half[:, ::-1], 1, axis=1)  # k_y -> -k_y
    return np.concatenate([half, mirrored[:, :, 1 : (n + 1) // 2][:, :, ::-1]], axis=2)


class Quantiles:
    """ln rho at QUANTILES as a polynomial of the labels, fitted on the pooled cells of each simulation."""

    def __init__(self, maps: TrainingMaps) -> None:
        groups = maps.groups
        found = np.array([np.quantile(np.log(np.maximum(maps.density[rows], 1e-3)), QUANTILES) for rows in groups])
        features = label_features(maps.labels[[rows[0] for rows in groups]]).double().numpy()
        self.coefficients = np.linalg.lstsq(features, found, rcond=None)[0]

    def density(self, probability: np.ndarray, labels: Tensor) -> np.ndarray:
        """rho of cells at these probabilities (B, n, n); beyond the last quantiles straight on in normal scores."""
        table = np.sort(label_features(labels).double().numpy() @ self.coefficients, axis=1)
        nodes, scores = ndtri(QUANTILES), ndtri(np.clip(probability, 1e-12, 1 - 1e-12))
        out = np.empty_like(scores)
        for i, (row, at) in enumerate(zip(table, scores, strict=True)):
            slope = (row[-1] - row[-2]) / (nodes[-1] - nodes[-2])
            out[i] = np.interp(at, nodes, row) + slope * np.maximum(at - nodes[-1], 0)
        return np.exp(out)


def gaussian_copula(maps: TrainingMaps) -> Law:
    """One-point law and spectrum of its normal scores at the labels, random phases."""
    scores = np.empty_like(maps.density)
    for rows in maps.groups:
        order = np.argsort(maps.density[rows], axis=None)
        ranked = np.empty(order.size)
        ranked[order] = ndtri((np.arange(order.size) + 0.5) / order.size)
        scores[rows] = ranked.reshape(maps.density[rows].shape)
    found, quantiles = fit_spectrum(torch.from_numpy(scores)[:, None], maps.labels), Quantiles(maps)

    def draw(labels: Tensor, rng: np.random.Generator) -> np.ndarray:
        scale = found.mean_over_modes(found({"labels": labels})).double().sqrt().numpy()[:, None, None]
        return quantiles.density(ndtr(gaussian_fields(found, labels, rng) / scale), labels)

    return draw


# --- wavelet scattering -------------------------------------------------------------------------------


class Scattering:
    """First and second orders of :mod:`physgen.diagnostics.scattering` with a gradient, and ln of the band powers."""

    def __init__(self, n: int) -> None:
        bank: Wavelets = wavelets((n, n), (1.0, 1.0))
        lattices = [(values.grid, torch.from_numpy(values.values[:, 0])) for values in bank.filters]
        self.pairs, self.n = bank.pairs, n
        self.filters = [_on_grid(values, grid, n) for grid, values in lattices]

    def __call__(self, x: Tensor) -> Tensor:
        """Coefficients (B, C) of fields x (B, n, n)."""
        modes = torch.fft.fft2(x)
        u = [torch.fft.ifft2(modes[:, None] * f).abs() for f in self.filters]
        square = [one.square().mean((2, 3)) for one in u]
        found = [s.mean(1).clamp(min=1e-12).log() for s in square]
        found += [(one.mean((2, 3)).square() / s.clamp(min=1e-12)).mean(1) for one, s in zip(u, square, strict=True)]
        inner = [torch.fft.fft2(one) for one in u]
        for fine, coarse in self.pairs:
            second = torch.fft.ifft2(inner[fine][:, :, None] * self.filters[coarse]).abs().mean((3, 4))
            second = second / u[fine].mean((2, 3))[:, :, None]
            along = second.diagonal(dim1=1, dim2=2).mean(-1)
            across = torch.stack([second[:, i, (i + 2) % 4] for i in range(4)]).mean(0)
            found += [along, across]
        return torch.stack(found, 1)


def _on_grid(values: Tensor, grid: tuple[int, ...], n: int) -> Tensor:
    """Filters (L, m, m) of a coarse lattice on the modes of n x n cells, fft order."""
    out = torch.zeros(len(values), n, n)
    kept = torch.fft.fftfreq(grid[0], 1 / grid[0]).long() % n
    out[:, kept[:, None], kept] = values.reshape(len(values), *grid)
    return out


def scattering_maps(maps: TrainingMaps, steps: int = 80, rate: float = 0.05) -> Law:
    """From the copula by gradient descent in ln rho to the mean coefficients at the labels; then its one-point law.

    Coefficients are matched in the mean over eight maps of the same labels: matched map by map they would not vary.
    """
    n = maps.density.shape[-1]
    start, quantiles, measure, group = gaussian_copula(maps), Quantiles(maps), Scattering(n), 8
    logs = torch.from_numpy(np.log(np.maximum(maps.density, 1e-3))).float()
    with torch.no_grad():
        known = torch.cat([measure(part) for part in logs.split(64)]).double()
    coefficients = torch.linalg.lstsq(label_features(maps.labels).double(), known).solution
    spread = (known - label_features(maps.labels).double() @ coefficients).std(0).float()

    def matched(labels: Tensor, rng: np.random.Generator) -> np.ndarray:
        one = labels[:1].expand(group, -1)
        wanted = (label_features(labels[:1]).double() @ coefficients).float()
        x = torch.from_numpy(np.log(np.maximum(start(one, rng), 1e-3))).float().requires_grad_()
        optimiser = torch.optim.Adam([x], rate)
        for _ in range(steps):
            optimiser.zero_grad()
            (((measure(x).mean(0) - wanted) / spread).square().mean()).backward()
            optimiser.step()
        found = x.detach().numpy().astype(float)
        ranks = (np.argsort(np.argsort(found, axis=None)).reshape(found.shape) + 0.5) / found.size
        return quantiles.density(ranks, one)

    def draw(labels: Tensor, rng: np.random.Generator) -> np.ndarray:
        out = np.empty((len(labels), n, n))
        distinct, which = torch.unique(labels, dim=0, return_inverse=True)
        for i in range(len(distinct)):
            rows = np.flatnonzero(which.numpy() == i)
            for first in range(0, len(rows), group):
                some = rows[first : first + group]
                out[some] = matched(distinct[i : i + 1], rng)[: len(some)]
        return out

    return draw


SURROGATES: dict[str, Callable[[TrainingMaps], Law]] = {
    "Gaussian copula": gaussian_copula,
    "lognormal": lognormal,
    "scattering": scattering_maps,
}
