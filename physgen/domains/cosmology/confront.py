"""Whether two ensembles can be compared, and the second one in the frame of the first."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr

from physgen.diagnostics.window import MassAssignment
from physgen.domains.cosmology.conditions import mean_at
from physgen.domains.cosmology.encoding import field_kinds, join_kinds, own_mean
from physgen.domains.cosmology.geometry import check_mask_free, is_periodic
from physgen.ensemble import sample_dims, space_dims, spacing
from physgen.errors import InputError
from physgen.units import parse_quantity

# redshifts are written with two decimals: 0.95 and 0.954 are one snapshot
REDSHIFT_TOLERANCE = 0.005
LENGTH_TOLERANCE = 1e-3
UNSTATED = ("", "1")


def confront(reference: xr.Dataset, other: xr.Dataset, name: str) -> xr.Dataset:
    """``other`` in the frame of ``reference``, ready to be measured with the same constants.

    Compared are: kind and unit of the field, components, lattice, cell size and its unit, redshift, thickness of slabs,
    periodicity, coordinates of further sample dims. What both state and what differs is refused; what one of them does
    not state is taken from the reference and noted in the root attribute ``frame_notes`` (one note a line).

    Densities of both are divided by the means of the *reference*: the returned ensemble carries its ``mean_density``,
    as a variable where the reference gives each cosmology its own, else as an attribute. A field that is ten times
    too dense then is so in every statistic.

    Fields that are not periodic (``periodic`` = 0) are compared by the same periodograms on both sides; masked ones are
    refused.

    Args:
        name: what ``other`` is called in messages: "generated", "train".

    Raises:
        InputError: the two differ, with both values and what to do.
    """
    found = _Found(name)
    check_mask_free(reference)
    check_mask_free(other)
    other = _same_kind(reference, other, found)
    other = _same_lattice(reference, other, found)
    other = _same_facts(reference, other, found)
    if found.differences:
        raise InputError(". ".join(found.differences))
    other = _same_mean(reference, other, found)
    return other.assign_attrs(frame_notes="\n".join(found.notes))


@dataclass
class _Found:
    """What two ensembles do not share: differences, all of which are refused at once, and notes."""

    name: str
    differences: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def differ(self, what: str, values: Iterable[object], remedy: str) -> None:
        other, reference = values
        self.differences.append(f"{what} differs: {self.name} has {other}, the reference {reference}; {remedy}")

    def note(self, words: str) -> None:
        self.notes.append(words)


def _same_kind(reference: xr.Dataset, other: xr.Dataset, found: _Found) -> xr.Dataset:
    counts = [e.sizes.get("component", 1) for e in (other, reference)]
    if counts[0] != counts[1]:
        found.differ("the number of components", counts, "compare fields of the same components")
    if "component" in other.coords and "component" in reference.coords:
        labels = [e["component"].values.tolist() for e in (other, reference)]
        if labels[0] != labels[1]:
            found.differ("the order or the names of the components", labels, "put them in one order")
    if "field_kind" not in other.attrs and "field_kind" in reference.attrs:
        found.note(f"{found.name} does not state field_kind; taken as {reference.attrs['field_kind']}")
        other = other.assign_attrs(field_kind=reference.attrs["field_kind"])
    elif "field_kind" not in reference.attrs:
        found.note("the reference does not state field_kind; taken as delta")
    kinds = [join_kinds(field_kinds(e)) for e in (other, reference)]
    if kinds[0] != kinds[1]:
        found.differ("field_kind", kinds, "import both as the same quantity (field_kind=...)")
    units = [str(e["field"].attrs.get("units", "")) for e in (other, reference)]
    _same_unit("the unit of the field", units, found)
    return other


def _same_unit(what: str, units: list[str], found: _Found) -> None:
    mine, theirs = units
    if mine == theirs or _synonyms(mine, theirs):
        return
    if mine in UNSTATED or theirs in UNSTATED:
        found.note(f"{what} is stated by one file alone ({theirs if mine in UNSTATED else mine})")
        return
    found.differ(what, (mine, theirs), "convert one of them, the values with the unit")


def _synonyms(mine: str, theirs: str) -> bool:
    if "".join(mine.split()) == "".join(theirs.split()):
        return True
    try:
        return abs(parse_quantity(f"1 {mine}", theirs) - 1) < 1e-9
    except (InputError, ValueError):  # no length
        return False


def _same_lattice(reference: xr.Dataset, other: xr.Dataset, found: _Found) -> xr.Dataset:
    dims = space_dims(other), space_dims(reference)
    if dims[0] != dims[1]:
        found.differ("the space dims", dims, "compare maps with maps and boxes with boxes")
        return other
    cells = [tuple(e.sizes[d] for d in dims[0]) for e in (other, reference)]
    if cells[0] != cells[1]:
        found.differ("the lattice", cells, "regrid one of them")
    units: dict[tuple[str, ...], list[str]] = {}
    for dim in dims[0]:
        if dim not in reference.coords or dim not in other.coords:
            if (dim in reference.coords) != (dim in other.coords):
                found.note(f"{dim} has a coordinate in one file alone; cells are taken as equal")
            other = other.drop_vars(dim, errors="ignore")
            other = other.assign_coords({dim: reference[dim]}) if dim in reference.coords else other
            continue
        units.setdefault(tuple(str(e[dim].attrs.get("units", "")) for e in (other, reference)), []).append(dim)
    for pair, axes in units.items():
        _same_unit(f"the unit of {', '.join(axes)}", list(pair), found)
    steps = [np.asarray(spacing(e)) for e in (other, reference)]
    if not np.allclose(steps[0], steps[1], rtol=LENGTH_TOLERANCE, atol=0):
        shown = [
            f"cells of {_numbers(step)} in a box of {_numbers(step * np.asarray(n))}"
            for step, n in zip(steps, cells, strict=True)
        ]
        found.differ("the cell size", shown, "compare equal boxes, in equal units")
    _same_sample_dims(reference, other, found)
    return other


def _same_sample_dims(reference: xr.Dataset, other: xr.Dataset, found: _Found) -> None:
    kept = [[d for d in sample_dims(e) if d != "sample"] for e in (other, reference)]
    if sorted(kept[0]) != sorted(kept[1]):
        found.differ("the sample dims", [dims or "none" for dims in kept], "select equal ones on both sides")
        return
    for dim in kept[0]:
        values = [np.asarray(e[dim].values) if dim in e.coords else np.arange(e.sizes[dim]) for e in (other, reference)]
        same = values[0].shape == values[1].shape
        if same and all(v.dtype.kind in "fiu" for v in values):
            same = np.allclose(values[0], values[1], rtol=1e-5, atol=1e-8)
        elif same:
            same = bool((values[0] == values[1]).all())
        if not same:
            found.differ(f"the coordinate {dim}", [v.tolist() for v in values], "select equal values")


def _numbers(values: np.ndarray) -> str:
    return f"{values[0]:.6g}" if np.ptp(values) == 0 else " x ".join(f"{v:.6g}" for v in values)


def _same_facts(reference: xr.Dataset, other: xr.Dataset, found: _Found) -> xr.Dataset:
    def relative(a: Any, b: Any) -> bool:
        a, b = (np.atleast_1d(np.asarray(v, dtype=np.float64)) for v in (a, b))  # one side, or one for each axis
        return bool(np.allclose(a, b, rtol=LENGTH_TOLERANCE, atol=0)) if len(a) == len(b) else False

    def redshifts(a: Any, b: Any) -> bool:
        return abs(float(a) - float(b)) <= REDSHIFT_TOLERANCE * (1 + float(b))

    def along_alike(a: str, b: str) -> bool:
        # slabs say "along the line of sight", or the one axis that all of them lie across
        return a == b or (len(space_dims(reference)) == 2 and "none" not in (a, b))

    facts: dict[str, tuple[Callable[[Any, Any], bool], str]] = {
        "redshift": (redshifts, "compare fields of one epoch"),
        "source_redshift": (redshifts, "compare maps of one source redshift"),
        "slab_thickness": (relative, "compare slabs of one thickness"),
        "box_size": (relative, "compare equal boxes"),
        "redshift_space": (along_alike, "compare real space with real space, redshift space with redshift space"),
        "linear_power": (str.__eq__, "simulate both from one linear spectrum (data.linear_power)"),
        "mass_assignment": (_painted_alike, "paint both by one scheme, and deconvolve both or neither"),
    }
    for fact, (same, remedy) in facts.items():
        if any(fact in e.variables for e in (other, reference)):
            continue  # a label or a dim, which is a condition
        values = [e.attrs.get(fact) for e in (other, reference)]
        if all(v is None for v in values):
            continue
        if any(v is None for v in values):
            found.note(f"{fact} is stated by one file alone ({values[0] if values[1] is None else values[1]})")
        elif not same(*values):
            found.differ(fact, values, remedy)
    if "periodic" in other.attrs and "periodic" in reference.attrs:
        periodic = [is_periodic(e) for e in (other, reference)]
        if periodic[0] != periodic[1]:
            found.differ("periodic", map(int, periodic), "compare periodic boxes with periodic boxes")
    elif ("periodic" in other.attrs) != ("periodic" in reference.attrs):
        found.note("periodicity is stated by one file alone")
        other = other.assign_attrs({k: v for k, v in reference.attrs.items() if k == "periodic"})
    if not is_periodic(other):
        found.note("the fields are not periodic: spectra and correlations by FFT are periodograms, alike on both sides")
    return other


def _painted_alike(one: Any, other: Any) -> bool:
    """Scheme, interlacing and deconvolution; what else the attribute tells, such as what was painted, may differ."""
    return MassAssignment.stated({"mass_assignment": one}) == MassAssignment.stated({"mass_assignment": other})


def _same_mean(reference: xr.Dataset, other: xr.Dataset, found: _Found) -> xr.Dataset:
    if all(kind in ("delta", "real") for kind in field_kinds(reference)):
        return other
    other = other.drop_vars("mean_density", errors="ignore")
    said = reference.attrs.get("mean_convention")
    other = other.assign_attrs(mean_convention=said) if said else other
    mean = reference.attrs.get("mean_density")
    if mean is None:
        mean = np.atleast_1d(own_mean(reference).values)
        mean = float(mean[0]) if len(mean) == 1 else mean
        found.note("the reference states no mean density: both are divided by the mean of its field")
    other = other.assign_attrs(mean_density=mean)
    if "mean_density" not in reference.variables:
        return other
    values, inferred = mean_at(reference, other)
    if inferred:
        found.note(
            f"{inferred} samples of {found.name} have labels that the reference has not: the mean there is inferred "
            "from its cosmologies"
        )
    return other.assign_coords(mean_density=values)
