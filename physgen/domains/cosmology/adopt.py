"""An ensemble that names no physics, of an array in memory, as density fields: with the checks of every importer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from physgen.domains.cosmology.arrays import check_square, make_ensemble, read_fields
from physgen.domains.cosmology.kinds import KINDS, confront, mean_note, parse_kind
from physgen.domains.cosmology.options import Box, Options
from physgen.ensemble import in_box_of, independent_units, space_dims
from physgen.ensemble.scratch import scratch_array
from physgen.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

SOURCE = "the array"
OF_THE_KIND = ("field_kind", "redshift", "h", "mass_assignment")
MADE_HERE = {"domain", "field_kind", "box_size", "box_size_units", "mean_convention", "independent_unit"}


def adopt_fields(ensemble: xr.Dataset, like: xr.Dataset | None = None) -> xr.Dataset:
    """Check ``field`` (sample, [component,] \\*grid) and give it the attributes of a density field.

    What the physics needs and an array does not hold stands in the root attributes: ``field_kind`` (one for each
    component, separated by commas), ``redshift``, ``h``, ``mass_assignment``; see :func:`physgen.from_array`. What is
    not said there, nor by coordinates with a unit, is taken from ``like``.

    Raises:
        InputError: no length or no angle for a box, values that contradict their kind, or a kind in doubt.
    """
    space = space_dims(ensemble)
    others = [str(d) for d in ensemble["field"].dims if d not in (*space, "component", "sample")]
    if others or "sample" not in ensemble["field"].dims or "site" in space:
        raise InputError(
            f"density fields have the dims sample, [component,] {', '.join(space)}, these have "
            f"{ensemble['field'].dims}: stack {', '.join(others) or 'them'} into sample"
        )
    ensemble = in_box_of(ensemble, like)
    known = {} if like is None else {key: like.attrs[key] for key in OF_THE_KIND if key in like.attrs}
    box, said = _box(ensemble, space), known | dict(ensemble.attrs)
    field = ensemble["field"] if "component" in ensemble["field"].dims else ensemble["field"].expand_dims("component")
    arrays = field.transpose("component", "sample", *space).values
    check_square(arrays.shape[2:], box, SOURCE)
    simulation = independent_units(ensemble).index
    kinds = _typed(said.get("field_kind"), len(arrays))
    units = str(field.attrs.get("units", "1"))
    given = {
        "mass_assignment": said.get("mass_assignment"),
        "units": None if units == "1" else units,
        "periodic": bool(said.get("periodic", 1)),
        "angular": box.units == "deg",
    }
    values = scratch_array(np.moveaxis(arrays, 0, 1).shape, np.float32)
    for c, (array, kind) in enumerate(zip(arrays, kinds, strict=True)):
        _read(array, kind, len(space), values[:, c])
    found = []
    for c, kind in enumerate(kinds):
        name = SOURCE if len(kinds) == 1 else f"{SOURCE} (component {c})"
        found.append(confront(values[:, c], KINDS[kind] if kind else None, simulation, name, given))
    notes = [mean_note(values[:, c], simulation) for c in range(len(kinds)) if found[c] == "delta" and not kinds[c]]
    components = [str(name) for name in ensemble["component"].values] if "component" in ensemble["field"].dims else []
    attrs = {key: value for key, value in said.items() if key not in MADE_HERE and value is not None}
    attrs |= {"import_notes": "\n".join(filter(None, notes))} | ({"field_units": units} if units != "1" else {})
    return make_ensemble(
        values if components else values[:, 0], found, box, _labels(ensemble), simulation, attrs, components
    )


def _box(ensemble: xr.Dataset, space: tuple[str, ...]) -> Box:
    """Sides of the box from the coordinates, in Mpc/h or degrees."""
    from physgen.ensemble import spacing

    units = [str(ensemble[dim].attrs.get("units", "")) if dim in ensemble.coords else "" for dim in space]
    if any(unit in ("", "1", "lattice spacing") for unit in units):
        raise InputError('density fields stand in a box with a length: give from_array(..., box_size="25 Mpc/h")')
    sides = [a * ensemble.sizes[dim] for a, dim in zip(spacing(ensemble), space, strict=True)]
    h = ensemble.attrs.get("h")
    options = Options("box_size", {} if h is None else {"h": str(h)}, ("h",))
    return options.box_of("box_size", ", ".join(f"{s:.10g} {u}" for s, u in zip(sides, units, strict=True)))


def _typed(kinds: Any, count: int) -> list[str | None]:
    """The kind that was said of each component, or None."""
    named: list[str | None] = [None]
    if kinds:
        named = [parse_kind(word.strip()) for word in str(kinds).split(",")]
    if len(named) not in (1, count):
        raise InputError(f"field_kind names {len(named)} kinds for {count} components: give one, or one for each")
    return named * count if len(named) == 1 else named


def _read(array: np.ndarray, kind: str | None, dimension: int, out: np.ndarray) -> None:
    bound = "positive" if kind == "1+delta" else KINDS[kind] if kind else "real"
    read_fields(array, bound, dimension, SOURCE, None, out)
    if kind == "1+delta":
        out -= 1


def _labels(ensemble: xr.Dataset) -> dict[str, np.ndarray]:
    """Numbers on ``sample`` that are neither the field nor the name of a unit."""
    unit = {"field", "simulation", str(ensemble.attrs.get("independent_unit", ""))}
    return {
        str(name): variable.values
        for name, variable in ensemble.data_vars.items()
        if name not in unit and variable.dims == ("sample",) and variable.dtype.kind in "fiu"
    }
