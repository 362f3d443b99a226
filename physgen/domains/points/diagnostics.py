"""What is measured of vectors."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from physgen.domains.points.classes import class_fractions
from physgen.domains.points.coverage import density_and_coverage
from physgen.domains.points.projections import axis_moments, principal_axes, sliced_wasserstein
from physgen.domains.points.validity import sequence_frequencies, valid_sequences

if TYPE_CHECKING:
    import xarray as xr

    from physgen.domains.points.domain import Points

DIAGNOSTICS: dict[str, Callable[[xr.Dataset], xr.Dataset]] = {
    "axis_moments": axis_moments,
    "principal_axes": principal_axes,
    "sliced_wasserstein": sliced_wasserstein,
    "density_and_coverage": density_and_coverage,
    "class_fractions": class_fractions,
}
BITS: dict[str, Callable[[xr.Dataset], xr.Dataset]] = {  # of +1 and -1: no density, and balls of radius 0
    "axis_moments": axis_moments,
    "sliced_wasserstein": sliced_wasserstein,
    "class_fractions": class_fractions,
}


def diagnostics_of_law(domain: Points) -> dict[str, Callable[[xr.Dataset], xr.Dataset]]:
    """Name -> diagnostic of vectors of the law of a domain; of sequences, whether they are ones of it."""
    from physgen.domains.points.laws import law_of

    if domain.values.name != "binary":
        return dict(DIAGNOSTICS)
    known = law_of(domain).sequences
    found = dict(BITS) if known is None else {"valid_sequences": valid_sequences}
    if known is not None and hasattr(known, "matches"):
        found["sequence_frequencies"] = sequence_frequencies
    return found | {name: BITS[name] for name in ("axis_moments", "sliced_wasserstein")}
