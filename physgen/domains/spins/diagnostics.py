"""The diagnostics of spins by name, in the order in which they are reported."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from physgen.domains.spins import equilibrium_tests, glass_statistics, overlap

if TYPE_CHECKING:
    import xarray as xr

DIAGNOSTICS: dict[str, Callable[[xr.Dataset], xr.Dataset]] = {
    "energy": overlap.energy,
    "energy_distribution": equilibrium_tests.energy_distribution,
    "heat_capacity": equilibrium_tests.heat_capacity,
    "satisfaction": equilibrium_tests.satisfaction,
    "callen": equilibrium_tests.callen,
    "energy_ratio": equilibrium_tests.energy_ratio,
    "drift": equilibrium_tests.drift,
    "link_overlap_drift": equilibrium_tests.link_overlap_drift,
    "magnetization": overlap.magnetization,
    "mean_overlap": glass_statistics.mean_overlap,
    "overlap": overlap.overlap_distribution,
    "link_overlap": overlap.link_overlap_distribution,
    "correlation": overlap.correlation,
    "susceptibility": glass_statistics.susceptibility,
    "correlation_length": glass_statistics.correlation_length,
    "binder": glass_statistics.binder_ratio,
    "overlap_moments": glass_statistics.overlap_moments,
}
