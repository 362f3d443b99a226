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


def centre(x: np.ndarray, out: np.ndarray) -> float:
    """out = x - mean, (N,), the mean rounded to the precision of ``out``; the sum of x in float64 is returned."""
    total = 0.0
    for i in range(x.size):
        total += np.float64(x[i])
    mean = out.dtype.type(total / x.size)
    for i in range(x.size):
        out[i] = x[i] - mean
    return total


def bin_rows(first: np.ndarray, second: np.ndarray, table: np.ndarray, even: bool, sums: np.ndarray) -> None:
    """Add Re(first conj(second)), both (B, n_1, n_2, n_h), to ``sums`` (B, K + 1); ``even``: the last axis is."""
    fields, n1, n2, half = first.shape
    row = np.empty(half)
    for b in range(fields):
        for i in range(n1):
            plane = table[min(i, n1 - i)]
            for j in range(n2):
                bins = plane[min(j, n2 - j)]
                f, g = first[b, i, j], second[b, i, j]
                for m in range(half):
                    real = np.float64(f[m].real) * np.float64(g[m].real)
                    row[m] = real + np.float64(f[m].imag) * np.float64(g[m].imag)
                row[0] *= 0.5
                if even:
                    row[half - 1] *= 0.5
                for m in range(half):
                    sums[b, bins[m]] += row[m]


def bin_columns(first: np.ndarray, second: np.ndarray, table: np.ndarray, whole: np.ndarray, sums: np.ndarray) -> None:
    """The same of columns (c, n_1) to ``sums`` (K + 1,); ``table`` (c, n_1//2 + 1), ``whole`` (c,): counts half."""
    columns, n = first.shape
    octant = n // 2 + 1
    row = np.empty(n)
    for c in range(columns):
        f, g, bins = first[c], second[c], table[c]
        for m in range(n):
            real = np.float64(f[m].real) * np.float64(g[m].real)
            row[m] = real + np.float64(f[m].imag) * np.float64(g[m].imag)
        for m in range(1, n - octant + 1):
            row[m] += row[n - m]
        weight = 0.5 if whole[c] else 1.0
        for m in range(octant):
            sums[bins[m]] += weight * row[m]


def bin_cells(values: np.ndarray, table: np.ndarray, sums: np.ndarray) -> None:
    """Add values (B, n_1, n_2, n_3) to ``sums`` (B, K + 1) by the bins of an octant of shifts."""
    fields, n1, n2, n3 = values.shape
    octant = n3 // 2 + 1
    for b in range(fields):
        for i in range(n1):
            plane = table[min(i, n1 - i)]
            for j in range(n2):
                bins, row = plane[min(j, n2 - j)], values[b, i, j]
                for m in range(octant):
                    sums[b, bins[m]] += np.float64(row[m])
                for m in range(octant, n3):
                    sums[b, bins[n3 - m]] += np.float64(row[m])


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


KERNELS = (centre, bin_rows, bin_columns, bin_cells, mean_of_two, mean_of_three, modulus, mean_modulus, mean_powers)
