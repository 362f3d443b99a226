"""Cloud-in-cell assignment and its adjoint as loops over the particles, compiled by numba, for a processor.

The same cells, weights and order of sums as in :mod:`physgen.domains.cosmology.mesh`, so the same bits; no array of
corners or of a mesh with margins is made, and that is what the time went into.

Shapes: n particles, positions (3, n) float32 in cells of a periodic mesh of M^3 cells.
"""

from __future__ import annotations

import functools
from types import SimpleNamespace
from typing import Any

import numpy as np

CHUNK = 1 << 15  # particles whose corners are added one kind after the other: their cells and weights stay in the cache


@functools.cache
def kernels() -> Any:
    """The functions below, compiled; every operation is rounded by itself."""
    from numba import njit, types
    from numba.extending import intrinsic

    def fused(context: Any, x: Any, y: Any, z: Any) -> Any:
        return types.float32(*[types.float32] * 3), lambda _, builder, signature, values: builder.fma(*values)

    globals()["_fused"] = intrinsic(fused)
    for part in (_place, _slope):
        globals()[part.__name__] = njit(nogil=True, cache=True, inline="always")(part)
    return SimpleNamespace(**{f.__name__: njit(nogil=True, cache=True)(f) for f in (paint, gather, difference)})


def _fused(x: Any, y: Any, z: Any) -> Any:
    """x y + z, rounded once: what torch's ``add(alpha=)`` does."""


def _slope(before: Any, last: Any, following: Any, after: Any) -> Any:
    """(8 (following - last) - (after - before)) / 12."""
    twelfth = np.float32(1 / 12)
    return _fused(before, twelfth, _fused(after, -twelfth, (following - last) * np.float32(2 / 3)))


def _place(x: Any, cells: int) -> tuple[Any, Any, Any]:
    """Lower and upper cell along an axis, and the weight of the upper one."""
    floor = np.floor(x)
    low = np.int32(floor)
    if low < 0 or low >= cells:  # a remainder costs as much as all the rest
        low = low % cells
    high = np.int32(0) if low == cells - 1 else low + 1
    return low, high, x - floor


def paint(positions: np.ndarray, cells: int, density: np.ndarray) -> None:
    """Add the particles to ``density`` (M^3,)."""
    one = np.float32(1)
    index = np.empty((3, 2, CHUNK), np.int32)
    weight = np.empty((3, 2, CHUNK), np.float32)
    for first in range(0, positions.shape[1], CHUNK):
        count = min(CHUNK, positions.shape[1] - first)
        for axis in range(3):
            stride = cells ** (2 - axis)
            for i in range(count):
                low, high, upper = _place(positions[axis, first + i], cells)
                index[axis, 0, i], index[axis, 1, i] = low * stride, high * stride
                weight[axis, 0, i], weight[axis, 1, i] = one - upper, upper
        for x in range(2):
            for y in range(2):
                for z in range(2):
                    for i in range(count):
                        cell = index[0, x, i] + index[1, y, i] + index[2, z, i]
                        density[cell] += weight[0, x, i] * weight[1, y, i] * weight[2, z, i]


def gather(positions: np.ndarray, cells: int, field: np.ndarray, out: np.ndarray) -> None:
    """``field`` (M^3,) at the particles, (n,)."""
    one = np.float32(1)
    for i in range(positions.shape[1]):
        x0, x1, u = _place(positions[0, i], cells)
        y0, y1, v = _place(positions[1, i], cells)
        z0, z1, w = _place(positions[2, i], cells)
        total = np.float32(0)
        for x, p in ((x0, one - u), (x1, u)):
            for y, q in ((y0, one - v), (y1, v)):
                row = (x * cells + y) * cells
                total += field[row + z0] * (p * q * (one - w))
                total += field[row + z1] * (p * q * w)
        out[i] = total


def difference(field: np.ndarray, axis: int, out: np.ndarray) -> None:
    """Four-point difference of a periodic field (M, M, M) along an axis."""
    cells = field.shape[0]
    for x in range(cells):
        for y in range(cells):
            line, target = field[x, y], out[x, y]
            if axis == 2:
                for z in range(2, cells - 2):
                    target[z] = _slope(line[z - 2], line[z - 1], line[z + 1], line[z + 2])
                for z in (0, 1, cells - 2, cells - 1):
                    target[z] = _slope(
                        line[(z - 2) % cells], line[(z - 1) % cells], line[(z + 1) % cells], line[(z + 2) % cells]
                    )
            else:
                dx, dy = 1 - axis, axis
                before = field[(x - 2 * dx) % cells, (y - 2 * dy) % cells]
                last = field[(x - dx) % cells, (y - dy) % cells]
                following = field[(x + dx) % cells, (y + dy) % cells]
                after = field[(x + 2 * dx) % cells, (y + 2 * dy) % cells]
                for z in range(cells):
                    target[z] = _slope(before[z], last[z], following[z], after[z])
