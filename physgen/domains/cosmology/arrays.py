"""Foreign arrays: the checks that every importer makes, and the ensemble they all end in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from physgen.domains.cosmology.encoding import LOWEST, check_bound
from physgen.domains.cosmology.means import mean_densities
from physgen.domains.cosmology.options import Box
from physgen.ensemble import unit_attrs
from physgen.ensemble.scratch import IN_MEMORY_BYTES, give_back_pages, scratch_array
from physgen.errors import InputError

LABEL_LONG_NAMES = {
    "Omega_m": "matter density parameter",
    "sigma_8": "rms linear density in 8 Mpc/h spheres",
    "Omega_b": "baryon density parameter",
    "h": "Hubble constant over 100 km/s/Mpc",
    "n_s": "slope of the primordial spectrum",
    "M_nu": "sum of the neutrino masses",
    "w": "equation of state of dark energy",
}
LABEL_UNITS = {"M_nu": "eV"}
FIELD_ATTRS = {
    "delta": ("density contrast", "1"),
    "counts": ("particles per cell", "1"),
    "density": ("density", "(Msun/h)/(Mpc/h)^3"),
    "surface_density": ("surface density", "(Msun/h)/(Mpc/h)^2"),
    "positive": ("field", "1"),
    "real": ("field", "1"),
}
CONTRASTS = ("delta", "real")  # kinds without a mean density


def make_ensemble(
    fields: np.ndarray,
    kind: str | Sequence[str],
    box_size: float | Sequence[float] | Box,
    labels: dict[str, np.ndarray],
    simulation: np.ndarray,
    attrs: dict[str, Any],
    components: Sequence[str] = (),
) -> xr.Dataset:
    r"""The ensemble of fields (samples, \*grid), or (samples, components, \*grid); coordinates are cell centres.

    Densities get the attribute ``mean_density``, their mean over all samples, and, where the cosmologies differ in it,
    the coordinate ``mean_density`` on ``sample``: the mean of each sample's cosmology
    (:func:`physgen.domains.cosmology.means.mean_densities`). ``mean_convention`` says which.
    The mean of one slab or map fluctuates about it and is part of the physics.

    Args:
        kind: of the field, or of each component.
        box_size: sides in Mpc/h: one, or one per axis in the order of the array; a ``Box`` may be in degrees.
        attrs: root attributes; ``field_units`` and ``field_long_name`` override those of the kind.
        components: names of the fields along the axis after ``sample``; none where there is no such axis.
    """
    dims = ("z", "y", "x")[-(fields.ndim - 1 - bool(components)) :]
    kinds = [kind] * max(1, len(components)) if isinstance(kind, str) else list(kind)
    attrs = dict(attrs)
    long_name, units = FIELD_ATTRS[kinds[0]] if len(set(kinds)) == 1 else ("fields", "1")
    field_attrs = {"long_name": attrs.pop("field_long_name", long_name), "units": attrs.pop("field_units", units)}
    box = box_size if isinstance(box_size, Box) else Box(tuple(np.atleast_1d(box_size).astype(float).tolist()))
    sides = box.of(len(dims), "the array")
    layout = ("sample", "component", *dims) if components else ("sample", *dims)
    variables: dict[str, Any] = {"field": (layout, fields.astype(np.float32, copy=False), field_attrs)}
    if set(kinds) == {"delta"}:
        field_attrs["display_offset"] = 1.0
    for name, column in labels.items():
        described = {"long_name": LABEL_LONG_NAMES.get(name, name), "units": LABEL_UNITS.get(name, "1")}
        variables[name] = ("sample", np.asarray(column, dtype=np.float64), described)
    numbers = np.asarray(simulation, dtype=np.int64)
    variables["simulation"] = ("sample", numbers, {"long_name": "simulation number", "units": "1"})
    coords: dict[str, Any] = {}
    named = "comoving" if box.units == "Mpc/h" else "angular"
    for dim, side, cells in zip(dims, sides, fields.shape[-len(dims) :], strict=True):
        centres = (np.arange(cells) + 0.5) * (side / cells)
        coords[dim] = (dim, centres, {"long_name": f"{named} {dim}", "units": box.units})
    if components:
        coords["component"] = ("component", np.asarray(components, dtype=str), {"long_name": "field", "units": "1"})
    equal = len(set(sides)) == 1
    root = {
        "field_kind": kinds[0] if len(set(kinds)) == 1 else ", ".join(kinds),
        "box_size": float(sides[0]) if equal else [float(side) for side in sides],
        "box_size_units": box.units,
        "periodic": 1,
        **unit_attrs("simulation"),
        "mean_convention": "global: the mean over the box or data set, not over each map",
    }
    ensemble = xr.Dataset(variables, coords, {**root, **attrs})
    return ensemble if set(kinds) <= set(CONTRASTS) else mean_densities(ensemble, kinds, field_attrs["units"])


# --- checks ---------------------------------------------------------------------------------------


def check_fields(fields: np.ndarray, kind: str, dimension: int, source: object, first: int = 0) -> None:
    r"""Raise InputError unless ``fields`` (samples, \*grid) is finite and within the bound of its kind.

    ``first`` is the index of the first of these samples in the file, for the message.
    """
    if kind not in LOWEST:
        raise InputError(f"field_kind = {kind!r} is unknown: choose one of {', '.join(LOWEST)}")
    if fields.ndim != dimension + 1:
        raise InputError(
            f"{source} has shape {fields.shape}; a set of {dimension}-D fields has {dimension + 1} axes "
            "(sample first): choose the other format or the other dimension"
        )
    bad = ~np.isfinite(fields)
    if bad.any():
        index = np.argwhere(bad)[0]
        where = ", ".join(str(int(i)) for i in (index[0] + first, *index[1:]))
        raise InputError(
            f"{source} holds {fields[tuple(index)]} at index ({where}) ({int(bad.sum())} such values): "
            "every value must be finite, repair or drop that field"
        )
    try:
        check_bound(fields, kind)
    except InputError as error:
        raise InputError(f"{source}: {error}") from None


def check_square(shape: Sequence[int], box: Box, source: object) -> None:
    """Raise InputError where one length is given for a grid of unequal sides: which cells are square is in doubt."""
    if len(set(shape)) != 1 and len(box.sides) == 1:
        raise InputError(
            f"{source} has fields of shape {tuple(shape)}; with one box_size they must be square (cubic): give one "
            f'length per axis in that order, e.g. box_size="{_sides_of_square_cells(shape, box)}", or crop'
        )


def _sides_of_square_cells(shape: Sequence[int], box: Box) -> str:
    return ", ".join(f"{box.sides[0] * n / max(shape):g} {box.units}" for n in shape)


def read_fields(
    array: Any, kind: str, dimension: int, source: object, cells: int | None, out: np.ndarray | None = None
) -> np.ndarray:
    r"""Checked float32 copy of (samples, \*grid), averaged (counts: summed) down to ``cells`` on the longest side.

    One sample at a time, so that a memory-mapped file of any size needs little memory; ``out`` is where the copy goes,
    else a new :func:`physgen.ensemble.scratch.scratch_array`.
    """
    if not len(array):
        raise InputError(f"{source} holds no field: give a file with at least one")
    factor, kept = _block_size(array.shape[-dimension:], cells, source), serves_as_it_is(array, cells)
    out = array if out is None and kept else out
    for i in range(len(array)):
        read = np.asarray(array[i : i + 1])
        check_fields(read, kind, dimension, source, first=i)
        one = block_average(read, factor, "sum" if kind == "counts" else "mean")
        if out is None:
            out = scratch_array((len(array), *one.shape[1:]), np.float32)
        if out is not array:
            out[i] = one[0]
        give_back_pages(read)
    assert out is not None
    return out


def serves_as_it_is(array: Any, cells: int | None) -> bool:
    """Whether a mapped file is single precision already and so large that it is better read than copied."""
    mapped = isinstance(array, np.ndarray) and _mapped(array) and array.flags.c_contiguous
    return mapped and array.dtype == np.float32 and array.nbytes > IN_MEMORY_BYTES and cells is None


def _mapped(array: Any) -> bool:
    while isinstance(array, np.ndarray) and not isinstance(array, np.memmap):
        array = array.base
    return isinstance(array, np.memmap)


def coarse_grid(grid: Sequence[int], cells: int | None, source: object) -> tuple[int, ...]:
    """The grid of :func:`read_fields`."""
    factor = _block_size(grid, cells, source)
    return tuple(n // factor for n in grid)


def _block_size(grid: Sequence[int], cells: int | None, source: object) -> int:
    longest = max(grid)
    if cells is None:
        return 1
    if cells < 1 or longest % cells or any(n % (longest // cells) for n in grid):
        raise InputError(
            f"cells = {cells} does not divide the {longest} cells of {source}: choose a divisor of {longest}"
            + (f" whose blocks fit {tuple(grid)}" if len(set(grid)) > 1 else "")
        )
    return longest // cells


def block_average(fields: np.ndarray, factor: int, how: str = "mean") -> np.ndarray:
    r"""(samples, \*grid) in blocks of ``factor`` cells a side; the mean (or sum) of each block, in float64."""
    if factor == 1:
        return fields
    shape = [len(fields), *(n for cells in fields.shape[1:] for n in (cells // factor, factor))]
    axes = tuple(range(2, len(shape), 2))
    return getattr(fields.astype(np.float64).reshape(shape), how)(axis=axes)
