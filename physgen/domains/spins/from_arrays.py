"""An ensemble of spins from arrays in memory: configurations in their couplings, at their temperatures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from physgen.domains.spins.arrays import Source, assemble
from physgen.domains.spins.layout import Disorder, check_spins, couplings_template
from physgen.errors import InputError

if TYPE_CHECKING:
    import xarray as xr


def from_arrays(
    spins: Any, couplings: Any, temperatures: Any = None, *, edges: Any = None, external_field: Any = None
) -> xr.Dataset:
    r"""The ensemble of spins s = +-1 in given couplings; without spins a template, to draw them.

    :math:`H = -\sum_{\langle ij\rangle} J_{ij} s_i s_j - \sum_i h_i s_i`, k_B = 1, temperatures and h in units of J.

    Args:
        spins: (D, T, R, \*grid) for D disorder instances, T temperatures and R replicas; of one instance D may be
            left out, of one temperature (a number) T as well. On a graph the grid is (N,). None: couplings alone, a
            template, for ``like`` of a run's ``sample`` and ``given`` of :func:`physgen.simulate`.
        couplings: (D, d, \*grid), the bond of each site to the next one along each of the d axes, 0 where there is
            none; (D, M) with ``edges``. D may be left out of one instance.
        temperatures: T numbers, or one. Couplings alone may have none.
        edges: (M, 2) pairs of spins, of a graph that is no lattice.
        external_field: (D, \*grid).

    Raises:
        InputError: shapes that do not fit, values that are no spins, temperatures that are not positive.
    """
    if spins is None:
        return _template(np.asarray(couplings), temperatures, edges, external_field)
    if temperatures is None:
        raise InputError("spins have a temperature: give temperatures, one or several, in units of J")
    values, bonds = np.asarray(spins), np.asarray(couplings)
    ends = None if edges is None else np.asarray(edges, dtype=np.int64)
    points = np.atleast_1d(np.asarray(temperatures, dtype=float))
    space = 1 if ends is not None else _dimension(values, bonds)
    if bonds.ndim == (1 if ends is not None else space + 1):
        bonds = bonds[None]
    missing = space + 3 - values.ndim
    if missing and np.ndim(temperatures) == 0:
        values, missing = np.expand_dims(values, values.ndim - space - 1), missing - 1
    if missing and len(bonds) == 1:
        values, missing = values[None], missing - 1
    shape = (*values.shape[:1], *(bonds.shape[1:2] if ends is not None else (space, *values.shape[-space:])))
    if missing or bonds.shape != shape or values.ndim != space + 3:
        raise InputError(
            f"spins of shape {np.shape(spins)} do not fit couplings of shape {np.shape(couplings)} at {len(points)} "
            "temperatures: give spins (disorder, temperature, replica, *grid) and couplings (disorder, direction, "
            "*grid), or couplings (disorder, edge) with edges (edge, 2)"
        )
    if external_field is not None:
        external_field = np.asarray(external_field).reshape(len(values), *values.shape[-space:])
    return check_spins(assemble(values, bonds, ends, points, Source("the arrays"), external_field))


def _template(couplings: np.ndarray, temperatures: Any, edges: Any, external_field: Any) -> xr.Dataset:
    """Couplings without configurations."""
    if couplings.dtype.kind not in "iuf" or not np.isfinite(couplings).all():
        raise InputError(f"couplings of dtype {couplings.dtype} must be finite numbers: repair them")
    points = None if temperatures is None else np.atleast_1d(np.asarray(temperatures, dtype=float))
    if points is not None and not (np.all(points > 0) and np.all(np.isfinite(points))):
        raise InputError(f"temperatures {points.tolist()} must be positive, in units of J")
    ends = None if edges is None else np.asarray(edges, dtype=np.int32)
    if ends is not None:
        bonds = couplings[None] if couplings.ndim == 1 else couplings
        grid = (int(ends.max()) + 1 if external_field is None else np.shape(external_field)[-1],)
        fits = ends.ndim == 2 and ends.shape[1] == 2 and bonds.ndim == 2 and bonds.shape[1] == len(ends)
    else:
        # (2, 2, 2) can be read in one way only: three axes are one instance in two dimensions, or 1-d with D first
        alone = couplings.ndim > 1 and couplings.shape[0] == couplings.ndim - 1
        bonds = couplings[None] if alone and couplings.shape[1] != couplings.ndim - 2 else couplings
        grid = bonds.shape[2:]
        fits = 1 <= len(grid) <= 3 and bonds.shape[1] == len(grid)
    if not fits:
        raise InputError(
            f"couplings of shape {couplings.shape} are no bonds: give (disorder, direction, *grid), one direction for "
            "each axis, or (disorder, edge) with edges (edge, 2)"
        )
    outer = None if external_field is None else np.asarray(external_field, np.float32).reshape(len(bonds), *grid)
    return couplings_template(Disorder(bonds.astype(np.float32), ends, outer), grid, points)


def _dimension(spins: np.ndarray, couplings: np.ndarray) -> int:
    """d of couplings (d, *grid) or (D, d, *grid): the number that stands on its own axis and counts the grid."""
    for axis in (0, 1):
        space = couplings.ndim - axis - 1
        if 1 <= space <= 3 and couplings.shape[axis] == space and couplings.shape[axis + 1 :] == spins.shape[-space:]:
            return space
    raise InputError(
        f"couplings of shape {couplings.shape} do not fit the lattice of spins of shape {spins.shape}: give "
        "(disorder, direction, *grid), one direction for each axis, or name the edges of a graph with edges="
    )
