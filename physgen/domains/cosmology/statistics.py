"""How cosmology judges fields: delta and log10(1 + delta), because halos rule the first, filaments and voids the second."""

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

    return power_spectrum(overdensity(ensemble), transform="log10")


def correlation(ensemble: xr.Dataset) -> xr.Dataset:
    """Two-point correlation xi(r) of delta."""
    from physgen.diagnostics.correlation import two_point_correlation

    return two_point_correlation(overdensity(ensemble))


def one_point(ensemble: xr.Dataset) -> xr.Dataset:
    """Distribution of log10(1 + delta) over cells."""
    from physgen.diagnostics.distribution import one_point

    return one_point(overdensity(ensemble))


DIAGNOSTICS: dict[str, Callable[[xr.Dataset], xr.Dataset]] = {
    "power_spectrum": power_spectrum,
    "log_power_spectrum": log_power_spectrum,
    "correlation": correlation,
    "one_point": one_point,
}
