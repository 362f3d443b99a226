"""What is measured of vectors."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from physgen.domains.points.classes import class_fractions
from physgen.domains.points.coverage import density_and_coverage
from physgen.domains.points.projections import axis_moments, principal_axes, sliced_wasserstein

if TYPE_CHECKING:
    import xarray as xr

DIAGNOSTICS: dict[str, Callable[[xr.Dataset], xr.Dataset]] = {
    "axis_moments": axis_moments,
    "principal_axes": principal_axes,
    "sliced_wasserstein": sliced_wasserstein,
    "density_and_coverage": density_and_coverage,
    "class_fractions": class_fractions,
}
