"""An ensemble of spins from arrays in memory: configurations in their couplings, at their temperatures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from physgen.domains.spins.arrays import Source, assemble
from physgen.domains.spins.layout import check_spins
from physgen.errors import InputError

if TYPE_CHECKING:
    import xarray as xr


def from_arrays(
    spins: Any, couplings: Any, temperatures: Any, *, edges: Any = None, external_field: Any = None
) -> xr.Dataset:
    r"""The ensemble of spins s = +-1 in given couplings; without spins a template, to draw them.

    :math:`H = -\sum_{\langle ij\rangle} J_{ij} s_i s_j - \sum_i h_i s_i`, k_B = 1, temperatures and h in units of J.

    Args:
        spins: (D, T, R, \*grid) for D disorder instances, T temperatures and R replicas; of one instance D may be
            left out, of one temperature (a number) T as well. On a graph the grid is (N,). None: a template of one
            replica, for ``like`` of a run's ``sample``.
        couplings: (D, d, \*grid), the bond of each site to the next one along each of the d axes, 0 where there is
            none; (D, M) with ``edges``. D may be left out of one instance.
        temperatures: T numbers, or one.
        edges: (M, 2) pairs of spins, of a graph that is no lattice.
        external_field: (D, \*grid).

    Raises:
        InputError: shapes that do not fit, values that are no spins, temperatures that are not positive.
    """
    if spins is None:
        return _template(np.asarray(couplings), np.atleast_1d(np.asarray(temperatures, dtype=float)), edges)
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


def _template(couplings: np.ndarray, temperatures: np.ndarray, edges: Any) -> xr.Dataset:
    """An ensemble without its configurations: all of them +1, taken away again."""
    ends = None if edges is None else np.asarray(edges, dtype=np.int64)
    if ends is not None:
        grid = (int(ends.max()) + 1,)
        bonds = couplings[None] if couplings.ndim == 1 else couplings
    else:
        bonds = couplings if couplings.ndim > 2 and couplings.shape[1] == couplings.ndim - 2 else couplings[None]
        grid = bonds.shape[2:]
    up = np.ones((len(bonds), len(temperatures), 1, *grid), dtype=np.int8)
    return from_arrays(up, bonds, temperatures, edges=edges).drop_vars(("field", "energy"))


def _dimension(spins: np.ndarray, couplings: np.ndarray) -> int:
    """d of couplings (d, *grid) or (D, d, *grid): the number that stands on its own axis and counts the grid."""
    for axis in (0, 1):
        space = couplings.ndim - axis - 1
        if 1 <= space <= 3 and couplings.shape[axis] == space and couplings.shape[axis + 1 :] == spins.shape[-space:]:
            return space
    raise InputError(
        f"couplings of shape {couplings.shape} are no bonds of the lattice of spins of shape {spins.shape}: give "
        "(disorder, direction, *grid), one direction for each axis, or name the edges of a graph with edges="
    )
