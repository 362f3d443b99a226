r"""Loops over the modes of a lattice, compiled by numba when it is there; plain functions of arrays.

Legend: B fields, N cells, n_h modes of a half axis, K bins (column K collects what is in none), c columns of modes
along the first axis. ``table`` holds the bin of each mode of one octant (:class:`physgen.lattice.ModeBins`). Sums are
float64; modes that a half-spectrum holds for themselves and their conjugates count once, those that it holds in full
count half: the caller doubles.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np


@functools.cache
def kernels() -> Any:
    """The functions below, compiled; None on a machine without numba."""
    return compiled(*KERNELS)


def compiled(*functions: Callable[..., object]) -> Any:
    """Functions by their names, compiled by numba when they are first called; None without it."""
    if importlib.util.find_spec("numba") is None:
        return None
    from numba import njit

    # sums may be taken in any order (so that they vectorise), nothing else is given up
    compile = njit(nogil=True, cache=True, fastmath={"reassoc", "nsz", "contract"})
    return SimpleNamespace(**{f.__name__: compile(f) for f in functions})


def centre(x: np.ndarray, out: np.ndarray) -> None:
    """out = x - mean of each of (B, N), the mean rounded to the precision of ``out``."""
    for b in range(len(x)):
        total = 0.0
        for i in range(x.shape[1]):
            total += np.float64(x[b, i])
        mean = out.dtype.type(total / x.shape[1])
        for i in range(x.shape[1]):
            out[b, i] = x[b, i] - mean


def centre_if_needed(x: np.ndarray, out: np.ndarray, sums: np.ndarray, kept: float) -> bool:
    """Sums over N of x (B, N) in float64; whether a mean is larger than ``kept`` rms scatters: then out = x - mean."""
    needed = False
    for b in range(len(x)):
        total, square = 0.0, 0.0
        for i in range(x.shape[1]):
            value = np.float64(x[b, i])
            total += value
            square += value * value
        sums[b] = total
        # mean^2 > kept^2 (mean square - mean^2)
        needed |= total * total * (1 + kept * kept) > kept * kept * square * x.shape[1]
    if needed:
        for b in range(len(x)):
            mean = out.dtype.type(sums[b] / x.shape[1])
            for i in range(x.shape[1]):
                out[b, i] = x[b, i] - mean
    return needed


def store_columns(modes: np.ndarray, runs: np.ndarray, place: int, out: np.ndarray) -> None:
    """Runs of columns of planes of modes (p, columns) into ``out`` (blocks, n_1, c), from its plane ``place`` on.

    ``runs`` (R, 4): first column and number of columns of a run, its block and its place there.
    """
    for p in range(len(modes)):
        for run in range(len(runs)):
            column, start = runs[run, 0], runs[run, 3]
            row = out[runs[run, 2], place + p]
            for m in range(runs[run, 1]):
                row[start + m] = modes[p, column + m]


def bin_rows(
    first: np.ndarray, second: np.ndarray, table: np.ndarray, reach: np.ndarray, even: bool, sums: np.ndarray
) -> None:
    """Add Re(first conj(second)), both (B, n_1, n_2, n_h), to ``sums`` (B, 2, K + 1); ``even``: the last axis is.

    ``reach`` (n_1//2 + 1, n_2//2 + 1): how many modes of a row may lie in a bin. Rows that differ in signs alone are
    added before they are binned, and neighbours go to two sums in turn: an addition need not wait for the last one.
    """
    fields, n1, n2, half = first.shape
    row = np.empty(half)
    for b in range(fields):
        for i in range(n1 // 2 + 1):
            for j in range(n2 // 2 + 1):
                count, bins = reach[i, j], table[i, j]
                row[:count] = 0.0
                for sign in range(4):
                    down, left = sign // 2 == 1, sign % 2 == 1
                    if (down and (i == 0 or 2 * i == n1)) or (left and (j == 0 or 2 * j == n2)):
                        continue
                    f = first[b, n1 - i if down else i, n2 - j if left else j]
                    g = second[b, n1 - i if down else i, n2 - j if left else j]
                    for m in range(count):
                        real = np.float64(f[m].real) * np.float64(g[m].real)
                        row[m] += real + np.float64(f[m].imag) * np.float64(g[m].imag)
                if count == 0:
                    continue
                row[0] *= 0.5
                if even and count == half:
                    row[half - 1] *= 0.5
                for m in range(0, count - 1, 2):
                    sums[b, 0, bins[m]] += row[m]
                    sums[b, 1, bins[m + 1]] += row[m + 1]
                if count % 2:
                    sums[b, 0, bins[count - 1]] += row[count - 1]


def bin_columns(
    first: np.ndarray, second: np.ndarray, table: np.ndarray, columns: np.ndarray, sums: np.ndarray
) -> None:
    """The same of columns (c, n_1) to ``sums`` (2, K + 1).

    ``table`` (rows, n_1//2 + 1); ``columns`` (c, 3): row of the table, how many of its places may lie in a bin, and 1
    for a column that counts half.
    """
    n = first.shape[1]
    octant = n // 2 + 1
    row = np.empty(octant)
    for c in range(len(columns)):
        count = columns[c, 1]
        if count == 0:
            continue
        f, g, bins = first[c], second[c], table[columns[c, 0]]
        for m in range(count):
            real = np.float64(f[m].real) * np.float64(g[m].real)
            row[m] = real + np.float64(f[m].imag) * np.float64(g[m].imag)
        for m in range(1, min(count, n - octant + 1)):
            real = np.float64(f[n - m].real) * np.float64(g[n - m].real)
            row[m] += real + np.float64(f[n - m].imag) * np.float64(g[n - m].imag)
        weight = 0.5 if columns[c, 2] == 1 else 1.0
        for m in range(0, count - 1, 2):
            sums[0, bins[m]] += weight * row[m]
            sums[1, bins[m + 1]] += weight * row[m + 1]
        if count % 2:
            sums[0, bins[count - 1]] += weight * row[count - 1]


def bin_even_cells(values: np.ndarray, table: np.ndarray, reach: np.ndarray, even: bool, sums: np.ndarray) -> None:
    """Add values (B, n_1, n_2, n_3), equal at a shift and its opposite, to ``sums`` (B, 2, K + 1), half of each."""
    fields, n1, n2, n3 = values.shape
    octant = n3 // 2 + 1
    row = np.empty(octant)
    for b in range(fields):
        for i in range(n1 // 2 + 1):
            for j in range(n2 // 2 + 1):
                count, bins = reach[i, j], table[i, j]
                row[:count] = 0.0
                for sign in range(4):
                    down, left = sign // 2 == 1, sign % 2 == 1
                    if (down and (i == 0 or 2 * i == n1)) or (left and (j == 0 or 2 * j == n2)):
                        continue
                    f = values[b, n1 - i if down else i, n2 - j if left else j]
                    for m in range(count):
                        row[m] += np.float64(f[m])
                if count == 0:
                    continue
                row[0] *= 0.5
                if even and count == octant:
                    row[octant - 1] *= 0.5
                for m in range(0, count - 1, 2):
                    sums[b, 0, bins[m]] += row[m]
                    sums[b, 1, bins[m + 1]] += row[m + 1]
                if count % 2:
                    sums[b, 0, bins[count - 1]] += row[count - 1]


KERNELS = (
    centre,
    centre_if_needed,
    store_columns,
    bin_rows,
    bin_columns,
    bin_even_cells,
)
