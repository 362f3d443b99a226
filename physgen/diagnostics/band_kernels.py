r"""Loops over bands of modes and the fields that they make, compiled by numba when it is there.

Legend: B fields, n_half modes of a half-spectrum, P complex fields on M points of a coarser lattice, each of which may
hold two real ones; W windows.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from physgen.diagnostics.mode_kernels import compiled


@functools.cache
def band_kernels() -> Any:
    """The functions below, compiled; None on a machine without numba."""
    return compiled(*KERNELS)


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
                        mode, mirror = modes[b, down, left], modes[b, (n1 - down) % n1, (n2 - left) % n2]
                        if part == 0:
                            line[: 2 * span[0]] = 0
                            for m in range(span[0], span[1]):
                                line[2 * m] = mode[2 * m] * weight[m]
                                line[2 * m + 1] = mode[2 * m + 1] * weight[m]
                            line[2 * span[1] : 2 * span[2]] = 0
                            for m in range(span[2], span[3]):  # F(-k) = conj F(k)
                                line[2 * m] = mirror[2 * (m3 - m)] * weight[m]
                                line[2 * m + 1] = -mirror[2 * (m3 - m) + 1] * weight[m]
                            line[2 * span[3] :] = 0
                        else:
                            for m in range(span[0], span[1]):
                                line[2 * m] -= mode[2 * m + 1] * weight[m]
                                line[2 * m + 1] += mode[2 * m] * weight[m]
                            for m in range(span[2], span[3]):
                                line[2 * m] += mirror[2 * (m3 - m) + 1] * weight[m]
                                line[2 * m + 1] += mirror[2 * (m3 - m)] * weight[m]


def unit_moduli(modes: np.ndarray, out: np.ndarray) -> None:
    r"""out = z / \|z\| of each of (N, 2), real and imaginary part; 0 where z is 0. Moduli are taken in float64."""
    for i in range(len(modes)):
        real, imaginary = np.float64(modes[i, 0]), np.float64(modes[i, 1])
        size = np.sqrt(real * real + imaginary * imaginary)
        scale = 1.0 / size if size > 0.0 else 0.0
        out[i, 0], out[i, 1] = real * scale, imaginary * scale


def shell_powers(modes: np.ndarray, index: np.ndarray, weight: np.ndarray, ends: np.ndarray, out: np.ndarray) -> None:
    r"""Sums of weight \|F\|^2 over shells: ``modes`` (B, n_half), of shell s those at index[ends[s] : ends[s + 1]]."""
    for b in range(len(modes)):
        for s in range(len(ends) - 1):
            total = 0.0
            for i in range(ends[s], ends[s + 1]):
                z = modes[b, index[i]]
                total += weight[i] * (np.float64(z.real) * np.float64(z.real) + np.float64(z.imag) * np.float64(z.imag))
            out[b, s] = total


def window_powers(modes: np.ndarray, shares: np.ndarray, out: np.ndarray) -> None:
    r"""Sums over all modes of shares \|F\|^2, (B, W), for ``modes`` (B, n_half) and ``shares`` (W, n_half)."""
    for b in range(len(modes)):
        for w in range(len(shares)):
            total = 0.0
            for i in range(modes.shape[1]):
                z = modes[b, i]
                total += shares[w, i] * (
                    np.float64(z.real) * np.float64(z.real) + np.float64(z.imag) * np.float64(z.imag)
                )
            out[b, w] = total


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
    unit_moduli,
    standardise,
    filter_modes,
    shell_powers,
    window_powers,
    mean_products,
    modulus,
    mean_modulus,
    mean_powers,
)
