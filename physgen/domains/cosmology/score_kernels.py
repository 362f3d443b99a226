"""The map to normal scores in one loop: a training set passes through it twice, value by value."""

from __future__ import annotations

import numpy as np
from numba import njit

CELLS = 4096  # between the outermost knots: the segment of a value is known, or known but for a step
TILE = 512  # values whose segments are found before they are mapped, which vectorises


@njit(cache=True, nogil=True, error_model="numpy")
def scores(
    values: np.ndarray, x: np.ndarray, y: np.ndarray, secant: np.ndarray, slope: np.ndarray, out: np.ndarray
) -> None:
    """Monotone rational quadratics between the knots (x, y), lines beyond; see :mod:`gaussianise`. Arrays are flat."""
    last, segment = len(x) - 1, np.empty(TILE, np.int32)
    per_cell, begin = CELLS / (x[last] - x[0]), _segments_of_cells(x)
    width, height, twist = x[1:] - x[:-1], y[1:] - y[:-1], slope[:-1] + slope[1:] - 2 * secant
    for start in range(0, len(values), TILE):
        tile, found = values[start : start + TILE], out[start : start + TILE]
        for j in range(len(tile)):
            v = min(max(tile[j], x[0]), x[last])
            k = begin[int((v - x[0]) * per_cell)]
            while k < last - 1 and v >= x[k + 1]:  # then x[k] <= v, and v < x[k + 1] unless that is the last knot
                k += 1
            segment[j] = k
        for j in range(len(tile)):
            k = segment[j]
            part = (tile[j] - x[k]) / width[k]
            bend = part * (1 - part)
            rise = secant[k] * part**2 + slope[k] * bend
            found[j] = y[k] + height[k] * (rise / (secant[k] + twist[k] * bend))
        for j in range(len(tile)):
            if tile[j] < x[0]:
                found[j] = y[0] + slope[0] * (tile[j] - x[0])
            elif tile[j] > x[last]:
                found[j] = y[last] + slope[last] * (tile[j] - x[last])


@njit(cache=True, nogil=True)
def _segments_of_cells(x: np.ndarray) -> np.ndarray:
    """Of each of CELLS equal cells, and of the last knot, the segment that its least value is in, or one before."""
    last, k = len(x) - 1, 0
    found, per_cell = np.zeros(CELLS + 1, np.int32), CELLS / (x[last] - x[0])
    for cell in range(1, CELLS + 1):
        while k < last - 1 and (x[k + 1] - x[0]) * per_cell < cell:  # rounded as that of a value, which is no less
            k += 1
        found[cell] = k
    return found
