"""How cosmology judges fields: delta and log10(1 + delta), because halos rule the one, voids the other."""

from __future__ import annotations

from collections.abc import Callable

import xarray as xr

from physgen.domains.cosmology.encoding import overdensity


def power_spectrum(ensemble: xr.Dataset) -> xr.Dataset:
    """P(k) of delta; units (Mpc/h)^d."""
    from physgen.diagnostics.spectrum import power_spectrum

    return power_spectrum(overdensity(ensemble))


def log_power_spectrum(ensemble: xr.Dataset) -> xr.Dataset:
    """P(k) of log10(1 + delta), empty cells at the floor of physgen.diagnostics.density."""
    from physgen.diagnostics.spectrum import power_spectrum

    return power_spectrum(overdensity(ensemble), transform="log10").assign_attrs(tolerance_of="P(k) of the logarithm")


def correlation(ensemble: xr.Dataset) -> xr.Dataset:
    """Two-point correlation xi(r) of delta."""
    from physgen.diagnostics.correlation import two_point_correlation

    return two_point_correlation(overdensity(ensemble))


def one_point(ensemble: xr.Dataset) -> xr.Dataset:
    """Distribution of log10(1 + delta) over cells."""
    from physgen.diagnostics.distribution import one_point

    return one_point(overdensity(ensemble))


def mean_density(ensemble: xr.Dataset) -> xr.Dataset:
    """Mean density of each simulation in units of the reference's mean."""
    from physgen.diagnostics.density import mean_density

    return mean_density(overdensity(ensemble))


def density_scatter(ensemble: xr.Dataset) -> xr.Dataset:
    """Scatter of the mean density of the fields."""
    from physgen.diagnostics.density import density_scatter

    return density_scatter(overdensity(ensemble))


def power_scatter(ensemble: xr.Dataset) -> xr.Dataset:
    """Scatter of ln P(k) of log10(1 + delta) between fields."""
    from physgen.diagnostics.scatter import power_scatter

    return power_scatter(overdensity(ensemble), transform="log10")


def power_correlation(ensemble: xr.Dataset) -> xr.Dataset:
    """Correlation of ln P(k) of log10(1 + delta) between bands of wavenumbers."""
    from physgen.diagnostics.scatter import power_correlation

    return power_correlation(overdensity(ensemble), transform="log10")


def bispectrum(ensemble: xr.Dataset) -> xr.Dataset:
    """Reduced bispectrum of delta: equilateral, squeezed, folded triangles."""
    from physgen.diagnostics.bispectrum import bispectrum

    return bispectrum(overdensity(ensemble))


def log_bispectrum(ensemble: xr.Dataset) -> xr.Dataset:
    """Reduced bispectrum of log10(1 + delta): equilateral, squeezed, folded triangles."""
    from physgen.diagnostics.bispectrum import bispectrum

    # a tenth in Q of the natural logarithm: Q of log10 is ln 10 times as large
    said = {"tolerance": 0.25, "tolerance_of": "Q of the logarithm", "diagnostic": "log_bispectrum"}
    return bispectrum(overdensity(ensemble), transform="log10").assign_attrs(said)


def band_moments(ensemble: xr.Dataset) -> xr.Dataset:
    """Skewness and kurtosis of log10(1 + delta) in octave bands."""
    from physgen.diagnostics.band_moments import band_moments

    return band_moments(overdensity(ensemble), transform="log10")


def phase_moments(ensemble: xr.Dataset) -> xr.Dataset:
    """Skewness and kurtosis, in octave bands, of the phases of log10(1 + delta) alone."""
    from physgen.diagnostics.band_moments import band_moments

    return band_moments(overdensity(ensemble), transform="log10", phases_only=True)


def scattering(ensemble: xr.Dataset) -> xr.Dataset:
    """Wavelet scattering coefficients of log10(1 + delta)."""
    from physgen.diagnostics.scattering import scattering

    return scattering(overdensity(ensemble), transform="log10")


def peaks(ensemble: xr.Dataset) -> xr.Dataset:
    """Maxima at or above thresholds of log10(1 + delta)."""
    from physgen.diagnostics.morphology import extrema

    return extrema(overdensity(ensemble))


def minima(ensemble: xr.Dataset) -> xr.Dataset:
    """Minima below thresholds of log10(1 + delta)."""
    from physgen.diagnostics.morphology import extrema

    return extrema(overdensity(ensemble), minima=True)


def boundary(ensemble: xr.Dataset) -> xr.Dataset:
    """Boundary of the regions above thresholds of log10(1 + delta): length in 2-D, area in 3-D."""
    from physgen.diagnostics.morphology import minkowski

    return minkowski(overdensity(ensemble), "surface")


def euler_characteristic(ensemble: xr.Dataset) -> xr.Dataset:
    """Euler characteristic of the regions above thresholds of log10(1 + delta)."""
    from physgen.diagnostics.morphology import minkowski

    return minkowski(overdensity(ensemble), "euler_characteristic")


DIAGNOSTICS: dict[str, Callable[[xr.Dataset], xr.Dataset]] = {
    "mean_density": mean_density,
    "density_scatter": density_scatter,
    "power_spectrum": power_spectrum,
    "log_power_spectrum": log_power_spectrum,
    "power_scatter": power_scatter,
    "power_correlation": power_correlation,
    "correlation": correlation,
    "one_point": one_point,
    "bispectrum": bispectrum,
    "log_bispectrum": log_bispectrum,
    "band_moments": band_moments,
    "phase_moments": phase_moments,
    "scattering": scattering,
    "peaks": peaks,
    "minima": minima,
    "boundary": boundary,
    "euler_characteristic": euler_characteristic,
}


def memorization(generated: xr.Dataset, train: xr.Dataset, heldout: xr.Dataset, **judged: float) -> xr.Dataset:
    """Nearest-neighbour test on log10(1 + delta), modulo translations and the lattice point group."""
    from physgen.diagnostics.memorization import memorization

    fields = (overdensity(e) for e in (generated, train, heldout))
    return memorization(*fields, similarity="field", transform="log10", **judged)
