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

    return power_spectrum(overdensity(ensemble), transform="log10")


def correlation(ensemble: xr.Dataset) -> xr.Dataset:
    """Two-point correlation xi(r) of delta."""
    from physgen.diagnostics.correlation import two_point_correlation

    return two_point_correlation(overdensity(ensemble))


def one_point(ensemble: xr.Dataset) -> xr.Dataset:
    """Distribution of log10(1 + delta) over cells."""
    from physgen.diagnostics.distribution import one_point

    return one_point(overdensity(ensemble))


def features(ensemble: xr.Dataset) -> xr.Dataset:
    """Two-sample test on random features of log10(1 + delta)."""
    from physgen.diagnostics.feature_test import feature_statistics

    return feature_statistics(overdensity(ensemble), transform="log10")


def condition_response(ensemble: xr.Dataset) -> xr.Dataset:
    """How the amplitude of log10(1 + delta) follows the labels."""
    from physgen.diagnostics.feature_test import condition_response

    return condition_response(overdensity(ensemble), transform="log10")


DIAGNOSTICS: dict[str, Callable[[xr.Dataset], xr.Dataset]] = {
    "power_spectrum": power_spectrum,
    "log_power_spectrum": log_power_spectrum,
    "correlation": correlation,
    "one_point": one_point,
    "features": features,
    "condition_response": condition_response,
}


def memorization(generated: xr.Dataset, train: xr.Dataset, heldout: xr.Dataset, **judged: float) -> xr.Dataset:
    """Nearest-neighbour test on log10(1 + delta), modulo translations and the lattice point group."""
    from physgen.diagnostics.memorization import memorization

    fields = (overdensity(e) for e in (generated, train, heldout))
    return memorization(*fields, similarity="field", transform="log10", **judged)
