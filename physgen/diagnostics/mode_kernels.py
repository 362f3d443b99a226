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


def standardise(x: np.ndarray, out: np.ndarray, rms: np.ndarray) -> None:
    """out = (x - mean) / rms of each of (B, N), and the rms about the mean; 0 where it is 0."""
    for b in range(len(x)):
        total, square = 0.0, 0.0
        for i in range(x.shape[1]):
            total += np.float64(x[b, i])
        mean = out.dtype.type(total / x.shape[1])
        for i in range(x.shape[1]):
            value = np.float64(x[b, i] - mean)
            square += value * value
        rms[b] = np.sqrt(square / x.shape[1])
        scale = out.dtype.type(1 / rms[b] if rms[b] > 0 else 0.0)
        for i in range(x.shape[1]):
            out[b, i] = (x[b, i] - mean) * scale


def filter_modes(modes: np.ndarray, windows: np.ndarray, spans: np.ndarray, which: np.ndarray, out: np.ndarray) -> None:
    """out[b, p] = F_b (V + iW), with the windows V, W = windows[which[b mod Q, p]], in the layout of fftn.

    Complex numbers are pairs of real ones here, which vectorise.

    Args:
        modes: (B, n_1, n_2, 2 n_h), of real fields, half of them.
        windows: (W, m_1, m_2, m_3), on a coarser lattice, that of ``out``.
        spans: (W, m_1, m_2, 4): where a line of a window is not 0, from and to, among k_3 >= 0 and among k_3 < 0.
        which: (Q, P, 2), the second -1 where there is no W.
        out: (B, P, m_1, m_2, 2 m_3).
    """
    n1, n2 = modes.shape[1:3]
    m1, m2, m3 = windows.shape[1:]
    out[:] = 0
    for b in range(len(modes)):
        for p in range(which.shape[1]):
            for part in range(2):
                w = which[b % len(which), p, part]
                if w < 0:
                    continue
                for i in range(m1):
                    down = i if i < (m1 + 1) // 2 else n1 + i - m1
                    for j in range(m2):
                        left = j if j < (m2 + 1) // 2 else n2 + j - m2
                        span, weight, line = spans[w, i, j], windows[w, i, j], out[b, p, i, j]
                        mode = modes[b, down, left]
                        if part == 0:
                            for m in range(span[0], span[1]):
                                line[2 * m] += mode[2 * m] * weight[m]
                                line[2 * m + 1] += mode[2 * m + 1] * weight[m]
                        else:
                            for m in range(span[0], span[1]):
                                line[2 * m] -= mode[2 * m + 1] * weight[m]
                                line[2 * m + 1] += mode[2 * m] * weight[m]
                        mode = modes[b, (n1 - down) % n1, (n2 - left) % n2]  # F(-k) = conj F(k)
                        if part == 0:
                            for m in range(span[2], span[3]):
                                line[2 * m] += mode[2 * (m3 - m)] * weight[m]
                                line[2 * m + 1] -= mode[2 * (m3 - m) + 1] * weight[m]
                        else:
                            for m in range(span[2], span[3]):
                                line[2 * m] += mode[2 * (m3 - m) + 1] * weight[m]
                                line[2 * m + 1] += mode[2 * (m3 - m)] * weight[m]


def shell_powers(modes: np.ndarray, index: np.ndarray, weight: np.ndarray, ends: np.ndarray, out: np.ndarray) -> None:
    r"""Sums of weight \|F\|^2 over shells: ``modes`` (B, n_half), of shell s those at index[ends[s] : ends[s + 1]]."""
    for b in range(len(modes)):
        for s in range(len(ends) - 1):
            total = 0.0
            for i in range(ends[s], ends[s + 1]):
                z = modes[b, index[i]]
                total += weight[i] * (np.float64(z.real) * np.float64(z.real) + np.float64(z.imag) * np.float64(z.imag))
            out[b, s] = total


def mean_products(parts: np.ndarray, triples: np.ndarray, out: np.ndarray) -> None:
    """Means over M of products of three real fields, (B, T).

    ``parts`` (B, P, M, 2) holds field s at [:, s // 2, :, s % 2]; ``triples`` (T, 3) of such s.
    """
    count = parts.shape[2]
    lines = np.empty((2 * parts.shape[1], 1024), parts.dtype)
    out[:] = 0
    for b in range(len(parts)):
        for start in range(0, count, 1024):
            size = min(1024, count - start)
            for p in range(parts.shape[1]):
                for m in range(size):
                    lines[2 * p, m] = parts[b, p, start + m, 0]
                    lines[2 * p + 1, m] = parts[b, p, start + m, 1]
            for t in range(len(triples)):
                x, y, z, total = lines[triples[t, 0]], lines[triples[t, 1]], lines[triples[t, 2]], 0.0
                for m in range(size):
                    total += np.float64(x[m] * y[m] * z[m])
                out[b, t] += total / count


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


def mean_powers(parts: np.ndarray, out: np.ndarray) -> None:
    """Means over M of x^2, x^3, x^4 to ``out`` (3, B, S); ``parts`` as in :func:`mean_products`."""
    count = parts.shape[2]
    line = np.empty(1024)
    out[:] = 0
    for b in range(len(parts)):
        for s in range(out.shape[2]):
            half = s % 2
            for start in range(0, count, 1024):
                size = min(1024, count - start)
                for m in range(size):
                    line[m] = parts[b, s // 2, start + m, half]
                second, third, fourth = 0.0, 0.0, 0.0
                for m in range(size):
                    square = line[m] * line[m]
                    second += square
                    third += square * line[m]
                    fourth += square * square
                out[0, b, s] += second / count
                out[1, b, s] += third / count
                out[2, b, s] += fourth / count


KERNELS = (
    centre,
    centre_if_needed,
    store_columns,
    bin_rows,
    bin_columns,
    bin_even_cells,
    standardise,
    filter_modes,
    shell_powers,
    mean_products,
    modulus,
    mean_modulus,
    mean_powers,
)
