"""An ensemble from an array in memory: maps or boxes of one's own, with their labels and their independent units."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from physgen.ensemble.check import check_ensemble
from physgen.ensemble.layout import space_dims
from physgen.errors import InputError
from physgen.units import check_extent, split_quantity

if TYPE_CHECKING:
    import xarray as xr

RESERVED = {"field", "sample", "component", "x", "y", "z", "site", "mask", "source"}
AXES = ("z", "y", "x")
LATTICE_SPACING = "lattice spacing"


def from_array(
    array: Any,
    box_size: Any = None,
    *,
    labels: Mapping[str, Any] | None = None,
    simulation: Any = None,
    independent_unit: str | None = None,
    components: Sequence[str] | range | None = None,
    dimension: int | None = None,
    units: str | None = None,
    long_name: str = "field",
    periodic: bool = True,
    attrs: Mapping[str, str | float] | None = None,
) -> xr.Dataset:
    r"""The ensemble of an array of configurations; coordinates are the cell centres :math:`(i + 1/2)\,a`.

    It names no physics: :func:`physgen.train` and :func:`physgen.evaluate` check it as fields of theirs.

    Args:
        array: (N, \*grid), or (N, C, \*grid) with ``components``, in one to three dimensions, or vectors (N, C); numpy,
            torch (of any device) or an astropy quantity. Real numbers are kept as float32, whole ones as they are.
        box_size: side of the box with its unit, ``"25 Mpc/h"``, or an astropy quantity; one per axis, in the order of
            the axes, where they differ (``["25 Mpc/h", "50 Mpc/h"]``). None: lengths in units of the cells.
        labels: name -> N numbers, or one for all; a mapping, a table of pandas or astropy. A quantity gives the units.
        simulation: N whole numbers or names: configurations that share one are not independent of each other, and
            errors are taken over simulations. None: every configuration is independent.
        independent_unit: name of the label over which errors are taken, where it is another one (``"chain"``).
        components: names of the C fields along axis 1.
        dimension: of space; needed in one dimension, where an array is taken for one map else, and of vectors, 0.
        units: of the values; long_name: what they are, for figures.
        periodic: whether opposite sides touch.
        attrs: further facts that a physics asks for, such as ``{"field_kind": "counts"}``.

    Raises:
        InputError: a shape, a unit, a label or a value that has no meaning; it says what would have.
    """
    import xarray as xr

    values, own_units = _numbers(array)
    sides, length = _sides(box_size)
    if dimension == 0 and components is None and values.ndim == 2:
        components = range(values.shape[1])
    dims = _space(values.shape, sides, components, dimension)
    layout = ("sample", *dims) if components is None else ("sample", "component", *dims)
    described = {"long_name": long_name, "units": units or own_units}
    variables: dict[Hashable, Any] = {"field": (layout, values, described)}
    variables |= {name: ("sample", *column) for name, column in _columns(labels, len(values)).items()}
    # the label has the name of the argument
    named = {} if simulation is None else dict(simulation=_names_of_units(simulation, len(values)))
    variables |= {name: ("sample", names, {"long_name": name}) for name, names in named.items()}
    unit = independent_unit or next(iter(named), None)
    if unit is not None and unit not in variables:
        raise InputError(f"independent_unit={unit!r} is not among the labels: give labels={{{unit!r}: ...}} too")
    coords: dict[Hashable, Any] = {
        dim: (dim, (np.arange(n) + 0.5) * (side / n if side else 1.0), {"long_name": dim, "units": length})
        for dim, n, side in zip(dims, values.shape[values.ndim - len(dims) :], sides or [0.0] * len(dims), strict=True)
    }
    coords |= _component(components, dims)
    root = {"domain": "", "periodic": int(periodic), **({"independent_unit": unit} if unit else {}), **(attrs or {})}
    return check_ensemble(xr.Dataset(variables, coords, root))


def in_box_of(ensemble: xr.Dataset, like: xr.Dataset | None) -> xr.Dataset:
    """The ensemble with the coordinates of ``like``, where it has none with a unit and the lattice is the same."""
    dims = space_dims(ensemble)
    if like is None or space_dims(like) != dims or any(like.sizes[d] != ensemble.sizes[d] for d in dims):
        return ensemble
    own = [
        dim
        for dim in dims
        if dim in ensemble.coords and ensemble[dim].attrs.get("units", LATTICE_SPACING) != LATTICE_SPACING
    ]
    return ensemble if own else ensemble.assign_coords({dim: like[dim] for dim in dims if dim in like.coords})


def _numbers(array: Any) -> tuple[np.ndarray, str]:
    """The values as numpy, float32 or whole, and their units."""
    units = str(getattr(array, "unit", "") or "1")
    if hasattr(array, "detach"):  # torch, which may be on another device and in need of gradients
        array = array.detach().cpu()
    values = np.asarray(getattr(array, "value", array) if hasattr(array, "unit") else array)
    if values.dtype.kind == "b":
        values = values.astype(np.int8)
    if values.dtype.kind not in "fiu":
        raise InputError(f"the array has dtype {values.dtype}: physgen reads real or whole numbers, convert it")
    if values.dtype.kind == "f" and values.size and np.isfinite(values).all() and np.abs(values).max() > 3e38:
        raise InputError("the array holds values beyond those of float32 (3e38): choose other units")
    return (values.astype(np.float32, copy=False) if values.dtype.kind == "f" else values), units


def _sides(box_size: Any) -> tuple[list[float], str]:
    """Sides of the box, none where it was not given, and their common unit."""
    if box_size is None:
        return [], LATTICE_SPACING
    if isinstance(box_size, str):
        parts = [part for part in box_size.split(",") if part.strip()]
    elif isinstance(box_size, list | tuple):
        parts = [_length(side) for side in box_size]
    else:
        parts = [_length(side) for side in box_size] if getattr(box_size, "shape", ()) else [_length(box_size)]
    found = [split_quantity(part) for part in parts]
    for part, read in zip(parts, found, strict=True):
        if read is None:
            raise InputError(f'box_size {part.strip()!r} is not a length with a unit: write it as "25 Mpc/h"')
    units = {read[1].replace(" / littleh", "/h") for read in found if read}
    if len(units) != 1:
        raise InputError(f"box_size {box_size!r} has {len(units)} units ({', '.join(sorted(units))}): use one")
    sides = [read[0] for read in found if read]
    if not all(np.isfinite(side) and side > 0 for side in sides):
        raise InputError(f"box_size {box_size!r} must be positive")
    unit = units.pop()
    check_extent(box_size, unit)
    return sides, unit


def _length(side: Any) -> str:
    """``25 Mpc/h`` of a text, a number (which then has no unit) or a quantity."""
    unit = getattr(side, "unit", None)
    return str(side) if unit is None else f"{float(side.value)!r} {unit}"


def _space(
    shape: tuple[int, ...], sides: list[float], components: Sequence[Any] | None, dimension: int | None
) -> tuple[str, ...]:
    """Names of the space dims; ``sides`` is completed to one per axis."""
    named = components is not None
    left = len(shape) - 1 - named
    if dimension == 0 or (named and left == 0):
        return _no_space(shape, sides, components)
    wanted = dimension or (len(sides) if len(sides) > 1 else left)
    if left == 1 and dimension is None:
        raise InputError(
            f"the array has shape {shape}: one map is array[None], a set of one-dimensional configurations "
            "dimension=1, a set of vectors dimension=0"
        )
    if not 1 <= left <= 3 or wanted != left:
        form = "(N, C, *grid)" if named else "(N, *grid)"
        one_more = "; if axis 1 counts fields, name them: components=[...]" if not named and left == wanted + 1 else ""
        raise InputError(
            f"the array has shape {shape}, which is not {form} in "
            f"{f'{wanted} dimensions' if 1 <= wanted <= 3 else 'one to three dimensions'}: "
            f"the first axis counts configurations, one of them is array[None]{one_more}"
        )
    if components is not None and len(components) != shape[1]:
        raise InputError(f"{len(components)} components were named, axis 1 of shape {shape} has {shape[1]}: name each")
    grid = shape[-left:]
    if len(sides) == 1:
        if len(set(grid)) > 1:
            raise InputError(
                f"the configurations have the grid {grid}; with one box_size it must be square (cubic): give one "
                f"length per axis, {[sides[0] * n / max(grid) for n in grid]} if the cells are"
                + ("" if named or left < 3 else ", or name the fields along axis 1: components=[...]")
            )
        sides *= left
    return AXES[3 - left :]


def _component(components: Sequence[str] | range | None, dims: tuple[str, ...]) -> dict[Hashable, Any]:
    """The coordinate ``component``, if there is one: names, or the numbers of vectors whose components have none."""
    if components is None:
        return {}
    names = list(components) if isinstance(components, range) else [str(name) for name in components]
    return {"component": ("component", names, {"long_name": "field" if dims else "component"})}


def _no_space(shape: tuple[int, ...], sides: list[float], components: Sequence[Any] | None) -> tuple[str, ...]:
    """The space dims of vectors: none. Raises InputError where the array does not hold any."""
    if len(shape) != 2 or shape[1] == 0 or components is None:
        raise InputError(f"the array has shape {shape}; vectors are (N, C): N of them with C components each")
    if len(components) != shape[1]:
        raise InputError(f"{len(components)} components were named, axis 1 of shape {shape} has {shape[1]}: name each")
    if sides:
        raise InputError("vectors have no box: leave box_size out")
    return ()


def _columns(labels: Mapping[str, Any] | None, count: int) -> dict[str, tuple[np.ndarray, dict[str, str]]]:
    """Labels (N,) with their attributes."""
    columns = {}
    names: Iterable[str] = [] if labels is None else getattr(labels, "colnames", None) or list(labels.keys())
    for name in names:
        given = labels[name]  # type: ignore[index]
        units = str(getattr(given, "unit", None) or "1")
        column = np.asarray(getattr(given, "value", given) if units != "1" else given)
        if str(name) in RESERVED:
            raise InputError(f"a label cannot be called {name!r}, which has another meaning: rename it")
        if column.ndim == 0:
            column = np.full(count, column)
        if column.shape != (count,):
            raise InputError(
                f"label {name!r} has shape {column.shape} for {count} configurations: give {count} numbers, or one"
            )
        if column.dtype.kind not in "fiuUSO":
            raise InputError(f"label {name!r} has dtype {column.dtype}: give numbers")
        columns[str(name)] = (_label(column, str(name)), {"long_name": str(name), "units": units})
    return columns


def _label(column: np.ndarray, name: str) -> np.ndarray:
    """Numbers as float64 or whole ones, all finite; words as str."""
    if column.dtype.kind in "USO":
        return column.astype(str)
    if column.dtype.kind == "f" and not np.isfinite(column).all():
        first = int(np.flatnonzero(~np.isfinite(column))[0])
        raise InputError(f"label {name!r} is {column[first]} for configuration {first}: repair or drop it")
    return column.astype(np.float64) if column.dtype.kind == "f" else column.astype(np.int64)


def _names_of_units(simulation: Any, count: int) -> np.ndarray:
    names = np.asarray(simulation)
    if names.shape != (count,):
        raise InputError(
            f"simulation has shape {names.shape} for {count} configurations: give the number of the simulation of "
            f"each, e.g. np.repeat(np.arange({max(count // 4, 1)}), 4)"
        )
    if names.dtype.kind == "f" and np.any(names != np.rint(names)):
        raise InputError("simulation has fractions: give whole numbers or names, equal where one simulation was")
    return names.astype(str) if names.dtype.kind in "USO" else names.astype(np.int64)
