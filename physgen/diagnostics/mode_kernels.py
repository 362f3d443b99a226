r"""Loops over the modes of a lattice, compiled by numba when it is there; plain functions of arrays.

Legend: B fields, N cells, n_h modes of a half axis, K bins (column K collects what is in none), c columns of modes
along the first axis. ``table`` holds the bin of each mode of one octant (:class:`physgen.lattice.ModeBins`). Sums are
float64; modes that a half-spectrum holds for themselves and their conjugates count once, those that it holds in full
count half: the caller doubles.
"""

from __future__ import annotations

import functools
import importlib.util
from types import SimpleNamespace
from typing import Any

import numpy as np


@functools.cache
def kernels() -> Any:
    """The functions below, compiled; None on a machine without numba."""
    if importlib.util.find_spec("numba") is None:
        return None
    from numba import njit

    # sums may be taken in any order (so that they vectorise), nothing else is given up
    compiled = njit(nogil=True, cache=True, fastmath={"reassoc", "nsz", "contract"})
    return SimpleNamespace(**{f.__name__: compiled(f) for f in KERNELS})


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


def mean_of_two(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> None:
    """Mean over points of the product of a and b, real (B, M, 2), to ``out`` (B, 2)."""
    for i in range(len(a)):
        first, second = 0.0, 0.0
        for m in range(a.shape[1]):
            first += np.float64(a[i, m, 0] * b[i, m, 0])
            second += np.float64(a[i, m, 1] * b[i, m, 1])
        out[i, 0], out[i, 1] = first / a.shape[1], second / a.shape[1]


def mean_of_three(a: np.ndarray, b: np.ndarray, c: np.ndarray, out: np.ndarray) -> None:
    """The same of three."""
    for i in range(len(a)):
        first, second = 0.0, 0.0
        for m in range(a.shape[1]):
            first += np.float64(a[i, m, 0] * b[i, m, 0] * c[i, m, 0])
            second += np.float64(a[i, m, 1] * b[i, m, 1] * c[i, m, 1])
        out[i, 0], out[i, 1] = first / a.shape[1], second / a.shape[1]


def modulus(z: np.ndarray, out: np.ndarray, mean: np.ndarray, square: np.ndarray) -> None:
    r"""``out`` = \|z\|, (B, M), with its mean and mean square over M, (B,); values near 1, so that squares hold."""
    for i in range(len(z)):
        total, squares = 0.0, 0.0
        for m in range(z.shape[1]):
            size = z[i, m].real * z[i, m].real + z[i, m].imag * z[i, m].imag
            root = np.sqrt(size)
            out[i, m] = root
            total += np.float64(root)
            squares += np.float64(size)
        mean[i], square[i] = total / z.shape[1], squares / z.shape[1]


def mean_modulus(z: np.ndarray, mean: np.ndarray) -> None:
    r"""Mean of \|z\|, (B, M), over M, (B,)."""
    for i in range(len(z)):
        total = 0.0
        for m in range(z.shape[1]):
            total += np.float64(np.sqrt(z[i, m].real * z[i, m].real + z[i, m].imag * z[i, m].imag))
        mean[i] = total / z.shape[1]


def mean_powers(x: np.ndarray, out: np.ndarray) -> None:
    """Means over M of x^2, x^3, x^4, (B, M), to ``out`` (B, 3)."""
    for i in range(len(x)):
        second, third, fourth = 0.0, 0.0, 0.0
        for m in range(x.shape[1]):
            value = np.float64(x[i, m])
            square = value * value
            second += square
            third += square * value
            fourth += square * square
        out[i, 0], out[i, 1], out[i, 2] = second / x.shape[1], third / x.shape[1], fourth / x.shape[1]


KERNELS = (
    centre,
    centre_if_needed,
    store_columns,
    bin_rows,
    bin_columns,
    bin_even_cells,
    mean_of_two,
    mean_of_three,
    modulus,
    mean_modulus,
    mean_powers,
)
