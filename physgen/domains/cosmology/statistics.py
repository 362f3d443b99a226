"""How cosmology judges fields: delta and log10(1 + delta), because halos rule the one, voids the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from physgen.domains.cosmology.density import density_scatter, log10, logarithm, mean_density
from physgen.domains.cosmology.discreteness import of_points, said_of_slabs
from physgen.domains.cosmology.encoding import field_kinds, overdensity
from physgen.ensemble import space_dims
from physgen.errors import InputError

if TYPE_CHECKING:
    from physgen.diagnostics.window import Correction

LOG10 = ("log10_density", {"long_name": "log10 of density / mean", "symbol": r"\log_{10}(1+\delta)", "units": "1"})
# the same for every ensemble: edges and thresholds that follow a file's own law would hide its errors
LOG10_EDGES = np.linspace(-2.5, 2.5, 51)  # tenths of a decade
LOG10_THRESHOLDS = np.linspace(-1.5, 1.5, 13)
FINER_BIN = "one_point_finer"  # attribute: how many times finer these edges are, about 0, for fields of small scatter
ON_LOG10: dict[str, Any] = {"thresholds": LOG10_THRESHOLDS, "transform": log10, "axis": LOG10}


def power_spectrum(ensemble: xr.Dataset, correction: Correction | None = None) -> xr.Dataset:
    """P(k) of delta; units (Mpc/h)^d."""
    from physgen.diagnostics.spectrum import power_spectrum

    found = power_spectrum(overdensity(of_points(ensemble)), correction=correction)
    return found.assign_attrs(convention=found.attrs["convention"] + said_of_slabs(ensemble))


def log_power_spectrum(ensemble: xr.Dataset) -> xr.Dataset:
    """P(k) of log10(1 + delta), empty cells at the floor of :mod:`physgen.domains.cosmology.density`."""
    from physgen.diagnostics.spectrum import power_spectrum

    contrast = overdensity(ensemble)
    return power_spectrum(contrast, transform=logarithm(contrast)).assign_attrs(tolerance_of="P(k) of the logarithm")


def correlation(ensemble: xr.Dataset) -> xr.Dataset:
    """Two-point correlation xi(r) of delta."""
    from physgen.diagnostics.correlation import two_point_correlation

    return two_point_correlation(overdensity(ensemble))


def one_point(ensemble: xr.Dataset, merged: int = 1) -> xr.Dataset:
    """Distribution of log10(1 + delta) over cells; of real fields, of the standardised field.

    ``merged`` bins are made one.
    """
    from physgen.diagnostics.distribution import one_point

    contrast = overdensity(ensemble)
    transform = logarithm(contrast)
    if transform is not log10:
        return one_point(contrast)
    edges = LOG10_EDGES[::merged] / float(ensemble.attrs.get(FINER_BIN, 1))
    return one_point(contrast, edges, "linear", transform, LOG10)


def finer_bins(reference: xr.Dataset) -> int:
    """1, 10 or 100: how many times finer bins of the one-point distribution a reference needs.

    Bins of a tenth of a decade hold a field whose log10 of the density scatters by half of one, or less, in three of
    them. The reference decides for all that are compared with it; values beyond the last edge count in the last bin.
    """
    from physgen.diagnostics.batches import batches

    contrast = overdensity(reference)
    transform = logarithm(contrast)
    if transform is not log10:
        return 1
    squares = [np.mean(np.square(batch.astype(float))) for batch in batches(contrast, transform)]
    scatter = float(np.sqrt(np.mean(squares)))  # about 0, as the edges are
    bin_width = float(LOG10_EDGES[1] - LOG10_EDGES[0])
    return next((finer for finer in (1, 10) if scatter > bin_width / (2 * finer)), 100)


def power_scatter(ensemble: xr.Dataset) -> xr.Dataset:
    """Scatter of ln P(k) of log10(1 + delta) between fields."""
    from physgen.diagnostics.scatter import power_scatter

    contrast = overdensity(ensemble)
    return power_scatter(contrast, transform=logarithm(contrast))


def power_correlation(ensemble: xr.Dataset) -> xr.Dataset:
    """Correlation of ln P(k) of log10(1 + delta) between bands of wavenumbers."""
    from physgen.diagnostics.scatter import power_correlation

    contrast = overdensity(ensemble)
    return power_correlation(contrast, transform=logarithm(contrast))


def power_covariance(ensemble: xr.Dataset) -> xr.Dataset:
    """Correlation matrix of ln P(k) of log10(1 + delta) at fixed labels."""
    from physgen.diagnostics.covariance import power_covariance

    contrast = overdensity(ensemble)
    return power_covariance(contrast, logarithm(contrast))


def off_diagonal_correlation(ensemble: xr.Dataset) -> xr.Dataset:
    """Mean off-diagonal correlation of ln P(k) of log10(1 + delta) at fixed labels."""
    from physgen.diagnostics.covariance import off_diagonal_correlation

    contrast = overdensity(ensemble)
    return off_diagonal_correlation(contrast, logarithm(contrast))


class PowerChiSquare:
    """Leave-one-out chi^2 of ln P(k) by the law of the reference; of delta, or of log10(1 + delta)."""

    def __init__(self, of_logarithm: bool) -> None:
        self.of_logarithm = of_logarithm

    def against(self, reference: xr.Dataset) -> Callable[[xr.Dataset], xr.Dataset]:
        """The diagnostic beside a reference, see :func:`physgen.diagnostics.chi_square.left_out_chi_square`."""
        from physgen.diagnostics.chi_square import left_out_chi_square

        contrast = overdensity(reference)
        measure = left_out_chi_square(contrast, logarithm(contrast) if self.of_logarithm else None)
        return lambda ensemble: measure(overdensity(ensemble))

    def __call__(self, ensemble: xr.Dataset) -> xr.Dataset:
        return self.against(ensemble)(ensemble)


def bispectrum(ensemble: xr.Dataset, correction: Correction | None = None) -> xr.Dataset:
    """Reduced bispectrum of delta: equilateral, squeezed, folded triangles."""
    from physgen.diagnostics.bispectrum import bispectrum

    return bispectrum(overdensity(of_points(ensemble)), correction=correction)


def log_bispectrum(ensemble: xr.Dataset) -> xr.Dataset:
    """Reduced bispectrum of log10(1 + delta): equilateral, squeezed, folded triangles."""
    from physgen.diagnostics.bispectrum import bispectrum

    contrast = overdensity(ensemble)
    # a tenth in Q of the natural logarithm: Q of log10 is ln 10 times as large
    said = {"tolerance": 0.25, "tolerance_of": "Q of the logarithm", "diagnostic": "log_bispectrum"}
    return bispectrum(contrast, transform=logarithm(contrast)).assign_attrs(said)


def isosceles_bispectrum(ensemble: xr.Dataset) -> xr.Dataset:
    """Reduced bispectrum of delta in isosceles triangles against their angle."""
    from physgen.diagnostics.isosceles import isosceles_bispectrum

    return isosceles_bispectrum(overdensity(ensemble))


def band_moments(ensemble: xr.Dataset) -> xr.Dataset:
    """Skewness and kurtosis of log10(1 + delta) in octave bands."""
    from physgen.diagnostics.band_moments import band_moments

    contrast = overdensity(ensemble)
    return band_moments(contrast, transform=logarithm(contrast))


def phase_moments(ensemble: xr.Dataset) -> xr.Dataset:
    """Skewness and kurtosis, in octave bands, of the phases of log10(1 + delta) alone."""
    from physgen.diagnostics.band_moments import band_moments

    contrast = overdensity(ensemble)
    return band_moments(contrast, transform=logarithm(contrast), phases_only=True)


def scattering(ensemble: xr.Dataset) -> xr.Dataset:
    """Wavelet scattering coefficients of log10(1 + delta)."""
    from physgen.diagnostics.scattering import scattering

    contrast = overdensity(ensemble)
    return scattering(contrast, transform=logarithm(contrast))


def _density(ensemble: xr.Dataset) -> xr.Dataset:
    """The density contrast; InputError for real fields, whose thresholds have no default."""
    contrast = overdensity(ensemble)
    if set(field_kinds(contrast)) != {"delta"}:
        kind = contrast.attrs.get("field_kind")
        raise InputError(f"thresholds of a field of kind {kind!r} have no default: only densities are judged by them")
    return contrast


def peaks(ensemble: xr.Dataset) -> xr.Dataset:
    """Maxima at or above thresholds of log10(1 + delta)."""
    from physgen.diagnostics.morphology import extrema

    return extrema(_density(ensemble), **ON_LOG10)


def minima(ensemble: xr.Dataset) -> xr.Dataset:
    """Minima below thresholds of log10(1 + delta)."""
    from physgen.diagnostics.morphology import extrema

    return extrema(_density(ensemble), minima=True, **ON_LOG10)


def volume_fraction(ensemble: xr.Dataset) -> xr.Dataset:
    """Part of the cells at or above thresholds of log10(1 + delta)."""
    from physgen.diagnostics.morphology import minkowski

    return minkowski(_density(ensemble), "volume", **ON_LOG10)


def boundary(ensemble: xr.Dataset) -> xr.Dataset:
    """Boundary of the regions above thresholds of log10(1 + delta): length in 2-D, area in 3-D."""
    from physgen.diagnostics.morphology import minkowski

    return minkowski(_density(ensemble), "surface", **ON_LOG10)


def euler_characteristic(ensemble: xr.Dataset) -> xr.Dataset:
    """Euler characteristic of the regions above thresholds of log10(1 + delta)."""
    from physgen.diagnostics.morphology import minkowski

    return minkowski(
        _density(ensemble), "euler_characteristic", thresholds=LOG10_THRESHOLDS, transform=log10, axis=LOG10
    )


def features(ensemble: xr.Dataset) -> xr.Dataset:
    """Two-sample test on random features of log10(1 + delta)."""
    from physgen.diagnostics.feature_test import feature_statistics

    contrast = overdensity(ensemble)
    return feature_statistics(contrast, transform=logarithm(contrast))


def condition_response(ensemble: xr.Dataset) -> xr.Dataset:
    """How the amplitude of log10(1 + delta) follows the labels."""
    from physgen.diagnostics.feature_test import condition_response

    contrast = overdensity(ensemble)
    return condition_response(contrast, transform=logarithm(contrast))


def _coarse_spectrum(ensemble: xr.Dataset, transform: Any = None) -> xr.Dataset:
    """P(k) in half octaves over the wavenumbers in which spectra are judged, 0.05 to 0.7 of Nyquist."""
    from physgen.diagnostics.covariance import judged_edges
    from physgen.diagnostics.spectrum import power_spectrum
    from physgen.ensemble import spacing

    return power_spectrum(ensemble, judged_edges(spacing(ensemble)), transform)


def power_response(ensemble: xr.Dataset) -> xr.Dataset:
    """d ln P / d label of delta."""
    from physgen.diagnostics.response import response

    return response(overdensity(ensemble), _coarse_spectrum, logarithm=True)


def log_power_response(ensemble: xr.Dataset) -> xr.Dataset:
    """d ln P / d label of log10(1 + delta)."""
    from physgen.diagnostics.response import response

    contrast = overdensity(ensemble)
    transform = logarithm(contrast)
    return response(contrast, lambda e: _coarse_spectrum(e, transform), logarithm=True)


def one_point_response(ensemble: xr.Dataset) -> xr.Dataset:
    """d p / d label of the distribution of log10(1 + delta)."""
    from physgen.diagnostics.response import response

    return response(ensemble, lambda e: one_point(e, 2))


def power_multipoles(ensemble: xr.Dataset, correction: Correction | None = None) -> xr.Dataset:
    """P_0, P_2 and P_4 of delta about the axis along which redshift space is, as the ensemble states it."""
    from physgen.diagnostics.multipoles import power_multipoles

    axis = str(ensemble.attrs.get("redshift_space", "")).removeprefix("along ")
    if axis not in space_dims(ensemble):
        raise InputError("the field states no axis of redshift space (root attribute redshift_space, e.g. along z)")
    return power_multipoles(overdensity(of_points(ensemble)), line_of_sight=axis, correction=correction)


def multipoles_of(reference: xr.Dataset) -> dict[str, Callable[[xr.Dataset], xr.Dataset]]:
    """The diagnostic of multipoles for boxes in redshift space; none for others."""
    axis = str(reference.attrs.get("redshift_space", "")).removeprefix("along ")
    dims = space_dims(reference)
    return {"power_multipoles": power_multipoles} if len(dims) == 3 and axis in dims else {}


DIAGNOSTICS: dict[str, Callable[[xr.Dataset], xr.Dataset]] = {
    "mean_density": mean_density,
    "density_scatter": density_scatter,
    "power_spectrum": power_spectrum,
    "log_power_spectrum": log_power_spectrum,
    "power_scatter": power_scatter,
    "power_correlation": power_correlation,
    "power_covariance": power_covariance,
    "off_diagonal_correlation": off_diagonal_correlation,
    "power_chi_square": PowerChiSquare(of_logarithm=False),
    "log_power_chi_square": PowerChiSquare(of_logarithm=True),
    "correlation": correlation,
    "one_point": one_point,
    "bispectrum": bispectrum,
    "log_bispectrum": log_bispectrum,
    "isosceles_bispectrum": isosceles_bispectrum,
    "band_moments": band_moments,
    "phase_moments": phase_moments,
    "scattering": scattering,
    "peaks": peaks,
    "minima": minima,
    "volume_fraction": volume_fraction,
    "boundary": boundary,
    "euler_characteristic": euler_characteristic,
    "features": features,
    "condition_response": condition_response,
    "power_response": power_response,
    "log_power_response": log_power_response,
    "one_point_response": one_point_response,
}


def memorization(generated: xr.Dataset, train: xr.Dataset, heldout: xr.Dataset, **judged: Any) -> xr.Dataset:
    """Nearest-neighbour test on log10(1 + delta), modulo translations and the lattice point group."""
    from physgen.diagnostics.memorization import memorization

    new, known, null = (overdensity(e) for e in (generated, train, heldout))
    return memorization(new, known, null, transform=logarithm(known), **judged)
