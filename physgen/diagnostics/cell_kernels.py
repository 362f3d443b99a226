"""Loops over the cells of a lattice, compiled by numba when it is there.

Legend: B fields, (n_1, n_2, n_3) cells, n_1 = 1 in two dimensions; T thresholds. The level of a cell is the number of
thresholds that it reaches. Neighbours are often on one level: they count into four histograms in turn, so that one
count need not wait for the last.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from physgen.diagnostics.mode_kernels import compiled


@functools.cache
def cell_kernels() -> Any:
    """The functions below, compiled; None on a machine without numba."""
    return compiled(equal_bins, count_bins, element_levels, extremum_levels)


def equal_bins(values: np.ndarray, low: float, scale: float, last: float, out: np.ndarray) -> None:
    """out = (values - low) scale, at least 0 and at most ``last``, rounded down; all (N,), numbers as the values."""
    for i in range(values.size):
        place = (values[i] - low) * scale
        place = place if place > 0 else values.dtype.type(0)
        out[i] = np.int32(place if place < last else last)


def count_bins(bins: np.ndarray, out: np.ndarray) -> None:
    """Add to ``out`` (B, K) how many of ``bins`` (B, N) there are of each."""
    counts = np.empty((4, out.shape[1]), np.int64)
    for b in range(len(bins)):
        counts[:] = 0
        size = bins.shape[1]
        for i in range(0, size - 3, 4):
            counts[0, bins[b, i]] += 1
            counts[1, bins[b, i + 1]] += 1
            counts[2, bins[b, i + 2]] += 1
            counts[3, bins[b, i + 3]] += 1
        for i in range(size - size % 4, size):
            counts[0, bins[b, i]] += 1
        for part in range(4):
            out[b] += counts[part]


def element_levels(levels: np.ndarray, out: np.ndarray) -> None:
    """Add to ``out`` (B, 8, T + 1) how many elements of the lattice have each level, the largest of their cells.

    ``levels`` (B, n_1, n_2, n_3) uint8. Elements 0 to 7 lie across axis i where bit i of their number is set: 0 are the
    cells, 4 the faces between neighbours along the last axis, 7 the corners. Those across an axis of one cell stay 0.
    """
    fields, n1, n2, n3 = levels.shape
    line, wide, counts = np.empty(n3, np.uint8), np.empty(n3, np.uint8), np.empty((4, out.shape[2]), np.int64)
    for b in range(fields):
        for kind in range(8):
            if (kind & 1 and n1 == 1) or (kind & 2 and n2 == 1):
                continue
            counts[:] = 0
            for i in range(n1):
                for j in range(n2):
                    here = levels[b, i, j]
                    above = levels[b, i - 1, j] if kind & 1 else here
                    left = levels[b, i, j - 1] if kind & 2 else here
                    both = levels[b, i - 1, j - 1] if kind & 3 == 3 else here
                    for m in range(n3):
                        one = here[m] if here[m] > above[m] else above[m]
                        two = left[m] if left[m] > both[m] else both[m]
                        line[m] = one if one > two else two
                    found = line
                    if kind & 4:
                        found = wide
                        for m in range(1, n3):
                            wide[m] = line[m] if line[m] > line[m - 1] else line[m - 1]
                        wide[0] = line[0] if line[0] > line[n3 - 1] else line[n3 - 1]
                    for m in range(0, n3 - 3, 4):
                        counts[0, found[m]] += 1
                        counts[1, found[m + 1]] += 1
                        counts[2, found[m + 2]] += 1
                        counts[3, found[m + 3]] += 1
                    for m in range(n3 - n3 % 4, n3):
                        counts[0, found[m]] += 1
            for part in range(4):
                out[b, kind] += counts[part]


def extremum_levels(values: np.ndarray, levels: np.ndarray, out: np.ndarray) -> None:
    """Add to ``out`` (B, T + 1) how many maxima have each level: cells above all the cells around them.

    ``values``, ``levels``: (B, n_1, n_2, n_3), the latter uint8; an axis of one cell has no neighbours along it.
    """
    fields, n1, n2, n3 = values.shape
    others, column = np.empty(n3, values.dtype), np.empty(n3, values.dtype)
    for b in range(fields):
        for i in range(n1):
            for j in range(n2):
                here = values[b, i, j]
                others[:] = -np.inf
                for down in range(-1 if n1 > 1 else 0, 2 if n1 > 1 else 1):
                    for right in range(-1 if n2 > 1 else 0, 2 if n2 > 1 else 1):
                        if down != 0 or right != 0:
                            line = values[b, (i + down) % n1, (j + right) % n2]
                            for m in range(n3):
                                others[m] = others[m] if others[m] > line[m] else line[m]
                for m in range(n3):
                    column[m] = others[m] if others[m] > here[m] else here[m]
                for m in range(n3):
                    before, after = column[m - 1 if m > 0 else n3 - 1], column[m + 1 if m < n3 - 1 else 0]
                    side = before if before > after else after
                    if here[m] > others[m] and here[m] > side:
                        out[b, levels[b, i, j, m]] += 1
