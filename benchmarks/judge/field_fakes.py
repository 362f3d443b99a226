"""Fakes of density maps: laws that share some statistics with the truth and nothing else.

Each takes ``Maps``: an independent realisation of the truth with the conditions of the reference, so that a fake owes
nothing to the maps that it is compared with. rho = 1 + delta; B maps of n x n cells in U simulations.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from benchmarks.judge.data import with_field

NYQUIST_WAVELENGTH = 2.0  # cells; the smallest scale that a lattice resolves
EMPTY = 1e-3  # of the mean density: floor of logarithms


@dataclass(frozen=True)
class Maps:
    """What fakes are made of."""

    truth: object  # ensemble of kind delta
    training: object
    zeldovich: object
    rng: np.random.Generator

    @property
    def density(self):
        """rho in units of the cosmic mean, (B, n, n)."""
        return 1 + self.truth["field"].values.astype(float)

    @property
    def logarithm(self):
        """ln rho (B, n, n), empty cells at the floor."""
        return np.log(np.maximum(self.density, EMPTY))

    @property
    def simulations(self):
        """Rows of each simulation."""
        number = self.truth["simulation"].values
        return [np.flatnonzero(number == one) for one in np.unique(number)]

    def of_density(self, density):
        """The truth with other maps."""
        return with_field(self.truth, density - 1)


def wavenumbers(n):
    """|k| L / 2 pi of the modes of an n x n map, fft order."""
    axis = np.fft.fftfreq(n, 1 / n)
    return np.hypot(axis[:, None], axis)


def isotropic(spectrum):
    """Mean of a function of the modes over shells of width 1 in |k|, put back on the modes; k = 0 stays as it is."""
    shell = np.rint(wavenumbers(len(spectrum))).astype(int).ravel()
    mean = np.bincount(shell, spectrum.ravel()) / np.maximum(np.bincount(shell), 1)
    out = mean[shell].reshape(spectrum.shape)
    out[0, 0] = spectrum[0, 0]
    return out


def gaussian_maps(spectrum, count, rng):
    """Gaussian maps (count, n, n) with <|FFT|^2> = spectrum (n, n)."""
    n = len(spectrum)
    white = np.fft.fft2(rng.standard_normal((count, n, n))) / n
    return np.fft.ifft2(white * np.sqrt(spectrum)).real


def filtered(field, gain):
    """Every Fourier mode multiplied by gain (n, n)."""
    return np.fft.ifft2(np.fft.fft2(field) * gain).real


def gaussian_copula(maps):
    """One-point law of each simulation and spectrum of its normal scores, random phases: blobs for filaments."""
    density = maps.density
    for rows in maps.simulations:
        values = np.sort(density[rows], axis=None)
        order = np.argsort(density[rows], axis=None)
        scores = np.empty(values.size)
        scores[order] = ndtri((np.arange(values.size) + 0.5) / values.size)
        spectrum = (np.abs(np.fft.fft2(scores.reshape(density[rows].shape))) ** 2).mean(0)
        drawn = gaussian_maps(isotropic(spectrum), len(rows), maps.rng)
        fake = np.empty(values.size)
        fake[np.argsort(drawn, axis=None)] = values
        density[rows] = fake.reshape(drawn.shape)
    return maps.of_density(density)


def lognormal(maps):
    r"""rho = exp(g) / <exp(g)> of a Gaussian g with :math:`\xi_g = \ln(1 + \xi)`: P(k) of rho is that of the truth."""
    density = maps.density
    for rows in maps.simulations:
        mean = density[rows].mean()
        spectrum = isotropic((np.abs(np.fft.fft2(density[rows] / mean - 1)) ** 2).mean(0))
        n = len(spectrum)
        correlation = np.log1p(np.fft.ifft2(spectrum).real / n**2)
        gaussian = np.maximum(np.fft.fft2(correlation).real * n**2, 0)  # a lognormal field need not exist: clip
        drawn = gaussian_maps(gaussian, len(rows), maps.rng)
        density[rows] = mean * np.exp(drawn - gaussian.sum() / n**4 / 2)
    return maps.of_density(density)


def random_phases(maps):
    """Modulus of every mode of ln rho, random phases: P(k) of the logarithm is right map by map."""
    modes = np.fft.fft2(maps.logarithm)
    phase = np.fft.fft2(maps.rng.standard_normal(modes.shape))
    changed = np.abs(modes) * phase / np.abs(phase)
    changed[:, 0, 0] = modes[:, 0, 0]
    return maps.of_density(np.exp(np.fft.ifft2(changed).real))


def zeldovich(maps):
    """The Zel'dovich approximation in place of the simulation, painted alike."""
    return maps.zeldovich


def smoothed(maps, part):
    """Gaussian smoothing by a part of the Nyquist wavelength."""
    k = 2 * np.pi / maps.density.shape[-1] * wavenumbers(maps.density.shape[-1])
    return maps.of_density(np.maximum(filtered(maps.density, np.exp(-((k * part * NYQUIST_WAVELENGTH) ** 2) / 2)), 0))


def tilted(maps, tilt):
    """P(k) of ln rho times (k / k_pivot)^tilt, pivot at a quarter of the Nyquist wavenumber."""
    n = maps.density.shape[-1]
    k = np.maximum(wavenumbers(n), 1)
    gain = (k / (n / 8)) ** (tilt / 2)
    gain[0, 0] = 1
    return maps.of_density(np.exp(filtered(maps.logarithm, gain)))


def wrong_bin(maps, excess, shell=10):
    """P(k) of ln rho too high by ``excess`` in one shell of width 2 pi / L."""
    gain = np.where(np.rint(wavenumbers(maps.density.shape[-1])) == shell, np.sqrt(1 + excess), 1.0)
    return maps.of_density(np.exp(filtered(maps.logarithm, gain)))


def narrow_scatter(maps):
    """Rms of ln rho of each simulation pulled half-way to that of all: right on average, wrong for each universe."""
    logs = maps.logarithm
    rms = np.array([logs[rows].std() for rows in maps.simulations])
    target = np.exp(np.log(rms).mean())
    for rows, one in zip(maps.simulations, rms, strict=True):
        mean = logs[rows].mean()
        logs[rows] = mean + (logs[rows] - mean) * np.sqrt(target / one)
        logs[rows] += np.log(maps.density[rows].mean() / np.exp(logs[rows]).mean())  # the mean density stays
    return maps.of_density(np.exp(logs))


def own_mean(maps):
    """Each map divided by its own mean: the mean density of slabs does not vary any more."""
    density = maps.density
    return maps.of_density(density / density.mean((1, 2), keepdims=True))


def swapped_labels(maps):
    """The maps of another simulation under the labels of each: right as a whole, wrong for every condition."""
    order = np.roll(np.arange(len(maps.simulations)), 1)
    rows = np.concatenate([maps.simulations[i] for i in order])
    return maps.of_density(maps.density[rows])


def copies(maps, fraction, noise=0.05):
    """A fraction of the maps are training maps: shifted, mirrored, with some noise in ln rho."""
    rng, density = maps.rng, maps.density
    training = 1 + maps.training["field"].values.astype(float)
    chosen = rng.choice(len(density), round(fraction * len(density)), replace=False)
    for i in chosen:
        one = np.roll(training[rng.integers(len(training))], rng.integers(0, density.shape[-1], 2), (0, 1))
        one = one[:, ::-1] if rng.random() < 0.5 else one.T
        density[i] = one * np.exp(noise * rng.standard_normal(one.shape))
    return maps.of_density(density)


FAKES = {
    "truth, other initial conditions": lambda m: m.truth,
    "Gaussian copula": gaussian_copula,
    "lognormal of the right P(k)": lognormal,
    "random phases of ln(1 + delta)": random_phases,
    "Zel'dovich in place of N-body": zeldovich,
    "smoothed by 10 % of the Nyquist wavelength": lambda m: smoothed(m, 0.1),
    "smoothed by 5 % of the Nyquist wavelength": lambda m: smoothed(m, 0.05),
    "tilt of 0.2": lambda m: tilted(m, 0.2),
    "one bin of P(k) 30 % too high": lambda m: wrong_bin(m, 0.3),
    "half of the scatter between simulations": narrow_scatter,
    "each map over its own mean": own_mean,
    "swapped labels": swapped_labels,
    "10 % copies, shifted, mirrored, 5 % noise": lambda m: copies(m, 0.1),
    "3 % copies, shifted, mirrored, 5 % noise": lambda m: copies(m, 0.03),
}
