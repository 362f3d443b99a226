r"""Shape of the regions above a threshold (Minkowski functionals), and maxima and minima of the field.

Legend: d dimensions, \*grid cells of sizes a_i, T thresholds. A region is the union of the closed cells whose value is
at least the threshold; cells that share but a corner are connected. Its cells, faces, edges and corners are counted on
the periodic lattice ("Crofton's formula" of Schmalzing and Buchert 1997, arXiv:astro-ph/9702130), an element being in
the region when one of the cells around it is. The elements that are in the region at a threshold are those whose
largest adjacent cell is: one histogram of maxima over adjacent cells serves every threshold.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from physgen.diagnostics.batches import each_sample
from physgen.diagnostics.cell_kernels import cell_kernels
from physgen.diagnostics.distribution import bin_of
from physgen.diagnostics.mode_sums import three
from physgen.diagnostics.result import length_unit, result_of_samples
from physgen.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

    from physgen.diagnostics.batches import Transform


Axis = tuple[str, dict[str, Any]]  # name and attributes of a coordinate
FUNCTIONALS = {
    2: ("volume", "surface", "euler_characteristic"),
    3: ("volume", "surface", "mean_curvature", "euler_characteristic"),
}
NAMES = {  # long names in two and three dimensions
    "volume": ("area fraction", "volume fraction"),
    "surface": ("boundary length per area", "boundary area per volume"),
    "mean_curvature": ("", "integrated mean curvature per volume"),
    "euler_characteristic": ("Euler characteristic per area", "Euler characteristic per volume"),
}


def _reached(counts: np.ndarray) -> np.ndarray:
    """How many are at or above each of T thresholds, (..., T), from how many reach 0 to T of them, (..., T + 1)."""
    return counts[..., ::-1].cumsum(axis=-1)[..., ::-1][..., 1:]


def _levels(flat: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Number of thresholds that each value reaches, as small integers."""
    if len(thresholds) > 254:
        raise InputError(f"{len(thresholds)} thresholds are more than 254: use fewer")
    edges = np.concatenate([[-np.inf], thresholds])
    width = np.diff(thresholds)
    if len(width) and np.allclose(width, width[0], rtol=1e-9):  # one width: bin_of is fast
        edges[0] = thresholds[0] - width[0]
        edges = np.concatenate([edges, [thresholds[-1] + width[0]]])
        return bin_of(flat, edges).astype(np.uint8)
    return np.searchsorted(thresholds, flat, side="right").astype(np.uint8)


def element_counts(field: np.ndarray, thresholds: ArrayLike, d: int) -> dict[tuple[int, ...], np.ndarray]:
    r"""Elements of the regions above each threshold, by the axes along which they extend.

    Args:
        field: (B, \*grid).
        thresholds: (T,) increasing.
        d: dimensions of space.

    Returns:
        dict: tuple of the axes along which an element extends ((0, 1) for a cell in two dimensions, () for a corner)
        -> (B, T) number of such elements over the number of cells.
    """
    thresholds = np.asarray(thresholds, dtype=float)
    levels, count = _levels(field, thresholds), len(thresholds) + 1
    everything, loops = tuple(range(d)), cell_kernels()
    counted: dict[tuple[int, ...], np.ndarray] = {}  # axes across which elements lie -> (B, T + 1) by levels
    if loops is None:
        largest: dict[tuple[int, ...], np.ndarray] = {(): levels}
        for across in _subsets(everything):
            if across:
                before = largest[across[:-1]]
                largest[across] = np.maximum(before, np.roll(before, 1, axis=1 + across[-1]))
            rows = largest[across].reshape(len(field), -1)
            counted[across] = np.stack([np.bincount(row, minlength=count) for row in rows])
    else:
        found = np.zeros((len(field), 8, count), np.int64)
        loops.element_levels(levels.reshape(-1, *three(field.shape[1:])), found)
        counted = {across: found[:, sum(1 << (3 - d + axis) for axis in across)] for across in _subsets(everything)}
    return {
        tuple(a for a in everything if a not in across): _reached(counts) / field[0].size
        for across, counts in counted.items()
    }


def _subsets(axes: tuple[int, ...]) -> list[tuple[int, ...]]:
    return [some for size in range(len(axes) + 1) for some in itertools.combinations(axes, size)]


def minkowski_array(field: ArrayLike, thresholds: ArrayLike, spacing: Sequence[float]) -> np.ndarray:
    r"""Minkowski functionals per volume of the regions above thresholds, in two or three dimensions.

    With n_c cells, n_i faces across axis i, n_ij edges across axes i and j and n_0 corners of the region per cell, and
    boundary faces :math:`f_i = 2(n_i - n_c)`: volume n_c; surface :math:`c \sum_i f_i / a_i`, c = pi/4 (length over
    area in two dimensions) or 2/3 (area over volume): exact for boundaries without preferred direction (Crofton);
    Euler characteristic :math:`\sum (-1)^{dimension} n / \prod a`; in three dimensions the integrated mean curvature
    :math:`\int \frac12(\kappa_1+\kappa_2) dA` from the Euler characteristics :math:`\chi_i` of plane sections
    of the cells normal to axis i, :math:`\frac{2\pi}{3}\sum_i \chi_i / \prod_{j\ne i} a_j` (a ball of radius R has
    :math:`4\pi R`).

    Args:
        field: (..., \*grid) numpy array, periodic.
        thresholds: (T,) increasing.
        spacing: cell size along each space axis.

    Returns:
        (..., F, T), the functionals of FUNCTIONALS[d] in their order.
    """
    d = len(spacing)
    if d not in FUNCTIONALS:
        raise InputError(f"Minkowski functionals are for fields in 2 or 3 dimensions, got {d}")
    field = np.asarray(field)
    flat = field.reshape(-1, *field.shape[-d:])
    n = element_counts(flat, thresholds, d)
    axes = tuple(range(d))
    cells = n[axes]
    faces = [n[tuple(a for a in axes if a != i)] - cells for i in axes]  # half the boundary faces across axis i
    surface = (np.pi / 4 if d == 2 else 2 / 3) * sum(2 * f / spacing[i] for i, f in enumerate(faces))
    euler = sum((-1) ** len(extends) * count for extends, count in n.items()) / np.prod(spacing)
    found = [cells, surface, euler]
    if d == 3:
        found.insert(2, _mean_curvature(n, spacing))
    return np.stack(found, axis=1).reshape(*field.shape[:-d], len(found), -1)


def _mean_curvature(n: dict[tuple[int, ...], np.ndarray], spacing: Sequence[float]) -> np.ndarray:
    """Crofton: 2 pi times the mean over the axes of the Euler characteristic of plane sections per length."""
    total = np.zeros_like(n[(0, 1, 2)])
    for normal in range(3):
        i, j = (a for a in range(3) if a != normal)
        cells = n[(0, 1, 2)]
        edges = n[tuple(sorted((normal, i)))] + n[tuple(sorted((normal, j)))]
        chi = cells - edges + n[(normal,)]  # of the section through the middle of the cells
        total = total + chi / (spacing[i] * spacing[j])
    return 2 * np.pi * total / 3


def extrema_array(
    field: ArrayLike, thresholds: ArrayLike, spacing: Sequence[float], minima: bool = False
) -> np.ndarray:
    r"""Number density of maxima at or above each threshold (or of minima below it).

    A maximum is a cell above all its 3^d - 1 neighbours (a plateau is none).

    Args:
        field: (..., \*grid) numpy array, periodic.
        thresholds: (T,) increasing.
        spacing: cell size along each space axis.
        minima: count cells below all their neighbours, with values below the threshold.

    Returns:
        (..., T), per volume.
    """
    field, thresholds = np.asarray(field), np.asarray(thresholds, dtype=float)
    d = len(spacing)
    flat = field.reshape(-1, *field.shape[-d:])
    found = _extrema_by_levels(-flat if minima else flat, _levels(flat, thresholds), len(thresholds) + 1)
    counted = found.cumsum(axis=1)[:, :-1] if minima else _reached(found)
    return (counted / (flat[0].size * np.prod(spacing))).reshape(*field.shape[:-d], -1)


def _extrema_by_levels(values: np.ndarray, levels: np.ndarray, count: int) -> np.ndarray:
    """Maxima of values (B, *grid) by their levels, (B, count)."""
    loops, grid = cell_kernels(), three(values.shape[1:])
    if loops is not None:
        found = np.zeros((len(values), count), np.int64)
        loops.extremum_levels(values.reshape(-1, *grid), levels.reshape(-1, *grid), found)
        return found
    around = np.full_like(values, -np.inf)  # largest of the neighbours
    block = values  # the same with the cell itself
    for axis in range(1, values.ndim):
        sides = np.maximum(np.roll(block, 1, axis), np.roll(block, -1, axis))
        around = np.maximum(around, sides)
        block = np.maximum(block, sides)
    places = np.where(values > around, 1 + levels.astype(int), 0).reshape(len(values), -1)
    return np.stack([np.bincount(row, minlength=count + 1)[1:] for row in places])


# --- of ensembles -------------------------------------------------------------------------------


def _thresholds(ensemble: xr.Dataset, thresholds: ArrayLike, axis: Axis | None) -> tuple[np.ndarray, Axis]:
    """Thresholds, checked, and the name and attributes of their coordinate."""
    points = np.asarray(thresholds, dtype=float)
    if points.ndim != 1 or len(points) < 1 or np.any(np.diff(points) <= 0):
        raise InputError(f"thresholds must increase, got {points.tolist()}")
    said = {"long_name": "threshold", "units": str(ensemble["field"].attrs.get("units", "1"))}
    return points, axis or ("threshold", said)


def _per_volume(ensemble: xr.Dataset, power: int | None) -> str:
    from physgen.ensemble import space_dims

    length, d = length_unit(ensemble), len(space_dims(ensemble))
    power = d if power is None else power
    return "1" if length == "1" or power == 0 else f"1/({length})" if power == 1 else f"1/({length})^{power}"


def _curve(ensemble: xr.Dataset, found: np.ndarray, thresholds: np.ndarray, axis: Axis, **attrs: Any) -> xr.Dataset:
    """Result over thresholds whose yardstick is the largest mean of the ensemble."""
    name, said = axis
    coords = {name: (thresholds, said)}
    result = result_of_samples(ensemble, found, (name,), coords, kind="curve", **attrs)
    largest = abs(result["value"]).max(name).broadcast_like(result["value"])
    result["yardstick"] = largest.assign_attrs(long_name="largest value", units=attrs["units"])
    return result


def minkowski(
    ensemble: xr.Dataset,
    functional: str,
    thresholds: ArrayLike,
    transform: Transform | None = None,
    axis: Axis | None = None,
) -> xr.Dataset:
    r"""One Minkowski functional per volume of the regions above thresholds (:func:`minkowski_array`).

    Args:
        ensemble: periodic ``field`` in two or three dimensions.
        functional: "volume", "surface", "mean_curvature" (three dimensions) or "euler_characteristic".
        thresholds: (T,), increasing. The same for all ensembles that are compared: thresholds that follow each file's
            own law would hide its errors.
        transform: None or a function of the array of fields, of which the thresholds are taken.
        axis: name and attributes of the coordinate of the thresholds; default ``threshold``.

    Returns:
        Dataset of kind curve over the thresholds: ``value``, ``error`` over independent units, ``yardstick``, its
        largest value over thresholds.
    """
    from physgen.ensemble import space_dims, spacing

    steps = spacing(ensemble)
    d = len(space_dims(ensemble))
    if functional not in FUNCTIONALS.get(d, ()):
        raise InputError(f"{functional!r} of a field in {d} dimensions: choose from {FUNCTIONALS.get(d, 'none')}")
    points, axis = _thresholds(ensemble, thresholds, axis)
    place = FUNCTIONALS[d].index(functional)
    found = each_sample(ensemble, lambda v: minkowski_array(v, points, steps)[..., place, :], transform)
    power = {"volume": 0, "surface": 1, "mean_curvature": 2}.get(functional)
    attrs: dict[str, Any] = {
        "diagnostic": functional,
        "long_name": NAMES[functional][d - 2],
        "units": _per_volume(ensemble, power),
    }
    attrs["convention"] = (
        "Regions of closed cells at or above the threshold, cells that share a corner connected; elements counted on "
        "the lattice, boundaries by Crofton's formula along the axes."
    )
    attrs |= {"tolerance": 0.05, "tolerance_kind": "difference", "tolerance_of": f"{functional} / its largest value"}
    attrs["figure"] = "Minkowski functionals"  # results of one figure stand side by side
    return _curve(ensemble, found, points, axis, **attrs)


def extrema(
    ensemble: xr.Dataset,
    minima: bool = False,
    *,
    thresholds: ArrayLike,
    transform: Transform | None = None,
    axis: Axis | None = None,
) -> xr.Dataset:
    r"""Number density of maxima at or above each threshold, or of minima below it (:func:`extrema_array`).

    Args:
        ensemble: periodic ``field``.
        minima: count minima.
        thresholds, transform, axis: as in :func:`minkowski`.

    Returns:
        Dataset of kind curve over the thresholds; ``yardstick`` is the largest density, of all maxima in reach.
    """
    from physgen.ensemble import spacing

    steps = spacing(ensemble)
    points, axis = _thresholds(ensemble, thresholds, axis)
    found = each_sample(ensemble, lambda v: extrema_array(v, points, steps, minima), transform)
    what = "minima below" if minima else "maxima above"
    attrs: dict[str, Any] = {
        "diagnostic": "minima" if minima else "peaks",
        "long_name": f"density of {what} the threshold",
    }
    attrs["units"] = _per_volume(ensemble, None)
    attrs["convention"] = "Cells above (below) all their 3^d - 1 neighbours."
    of = f"number of {'minima' if minima else 'peaks'} / all of them"
    attrs |= {"tolerance": 0.05, "tolerance_kind": "difference", "tolerance_of": of}
    return _curve(ensemble, found, points, axis, **attrs)
