"""What is measured of vectors."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from physgen.diagnostics.distribution import moments
from physgen.domains.points.classes import class_fractions

if TYPE_CHECKING:
    import xarray as xr

DIAGNOSTICS: dict[str, Callable[[xr.Dataset], xr.Dataset]] = {
    "moments": moments,
    "class_fractions": class_fractions,
}
