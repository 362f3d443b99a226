r"""Bands of wavenumbers: octave filters, and the coarse lattice that holds a band without loss.

Legend: d dimensions, \*grid = (n_1, ..., n_d) cells of sizes a_i, sides L_i = n_i a_i, N cells; \*half is the layout of
``rfftn``. A field whose modes all lie below k is known from its values on a lattice of m_i > k L_i / pi points; there
its FFT costs as little as the band holds modes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import fft

from physgen.diagnostics.band_kernels import band_kernels
from physgen.diagnostics.batches import real_type
from physgen.diagnostics.mode_sums import centred, three
from physgen.diagnostics.transforms import ifftn, rfftn
from physgen.errors import InputError
from physgen.lattice import wavenumber


def fundamental(grid: Sequence[int], spacing: Sequence[float]) -> float:
    r""":math:`2\pi/\min_i L_i`, the smallest wavenumber that every axis has."""
    return float(2 * np.pi / min(n * a for n, a in zip(grid, spacing, strict=True)))


def coarse_grid(grid: Sequence[int], spacing: Sequence[float], reach: float) -> tuple[int, ...]:
    r"""Fewest points along each axis with :math:`2\pi m_i/L_i \ge` reach, of sizes that the FFT likes; at most grid."""
    return tuple(
        min(n, fft.next_fast_len(m, real=True)) for n, m in zip(grid, _points(grid, spacing, reach), strict=True)
    )


def quick_grid(grid: Sequence[int], spacing: Sequence[float], reach: float) -> tuple[int, ...]:
    """:func:`coarse_grid` of sizes 4, 8, 12, 16, 24, 32, 48, ..., whose transforms take a third of the time a mode."""
    sizes = [size << i for i in range(30) for size in (4, 6)]
    points = _points(grid, spacing, reach)
    return tuple(min(n, *(size for size in sizes if size >= m)) for n, m in zip(grid, points, strict=True))


def _points(grid: Sequence[int], spacing: Sequence[float], reach: float) -> list[int]:
    sides = [n * a for n, a in zip(grid, spacing, strict=True)]
    return [int(np.ceil(reach * side / (2 * np.pi) * (1 - 1e-9))) for side in sides]


def to_modes(field: np.ndarray) -> np.ndarray:
    r""":math:`\delta_k/N`, :math:`\delta_k = \sum_x \delta(x) e^{-ikx}`, of fields (B, \*grid) without their means."""
    return half_modes(centred(field))


def half_modes(field: np.ndarray) -> np.ndarray:
    r"""Modes over N of fields (B, \*grid), in the layout of rfftn."""
    return rfftn(torch.from_numpy(field), range(1, field.ndim), "forward").numpy()


def unit_rms(field: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    r"""Fields (B, \*grid) with mean 0 and rms 1, and the rms that they had (B,); a constant field is 0."""
    loops = band_kernels()
    if loops is None:
        flat = centred(field)
        rms = np.sqrt([np.einsum("i,i->", x, x, dtype=float) / x.size for x in flat.reshape(len(flat), -1)])
        scale = np.divide(1.0, rms, out=np.zeros_like(rms), where=rms > 0)
        flat *= scale.astype(flat.dtype).reshape(-1, *[1] * (field.ndim - 1))
        return flat, rms
    flat, rms = np.empty(field.shape, real_type(field.dtype)), np.empty(len(field))
    source = np.ascontiguousarray(field, dtype=flat.dtype)
    loops.standardise(source.reshape(len(field), -1), flat.reshape(len(field), -1), rms)
    return flat, rms


class Windows:
    r"""Real filters of one lattice \*m.

    Args:
        values: (W, \*m) in the layout of fftn, 0 where the lattice does not hold both k and -k.
    """

    def __init__(self, values: np.ndarray) -> None:
        self.grid = values.shape[1:]
        self.values = values.astype(np.float32).reshape(-1, *three(self.grid))
        positive = (self.values.shape[-1] + 1) // 2
        filled = self.values != 0
        parts = filled[..., :positive], filled[..., positive:]
        (low, high), (below, above) = (_span(part) for part in parts)
        self.spans = np.stack([low, high, below + positive, above + positive], axis=-1)
        w = np.arange(len(values))
        self.alone = np.stack([w, np.full_like(w, -1)], axis=1)[None]  # (1, W, 2)
        self.paired = np.append(w, np.full(len(w) % 2, -1)).reshape(1, -1, 2)  # (1, ceil(W/2), 2)


def _span(filled: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """From and to, along the last axis, of what is filled."""
    some, n = filled.any(axis=-1), filled.shape[-1]
    if not n:
        return (np.zeros(filled.shape[:-1], int),) * 2
    return np.where(some, filled.argmax(axis=-1), 0), np.where(some, n - filled[..., ::-1].argmax(axis=-1), 0)


def filtered(modes: np.ndarray, windows: Windows, which: np.ndarray) -> np.ndarray:
    r"""Real fields through windows: :math:`\sum_k (V + iW)(k)\, \delta_k/N\, e^{ikx}` on the lattice of the windows.

    Where V and W are even, the real part is the field through V, the imaginary part that through W.

    Args:
        modes: over N, (B, \*half).
        windows: the windows.
        which: (Q, P, 2), V and W of field b in row b mod Q; -1 for none.

    Returns:
        complex (B, P, \*m).
    """
    grid, coarse = three(modes.shape[1:]), three(windows.grid)
    made = np.empty((len(modes), which.shape[1], *windows.grid), modes.dtype)
    loops = band_kernels()
    if loops is None:
        both = np.concatenate([windows.values, np.zeros((1, *coarse), np.float32)])  # the last is none
        for b, one in enumerate(_unfolded(modes.reshape(-1, *grid), coarse)):
            pair = both[which[b % len(which)]]
            made[b] = (one * (pair[:, 0] + 1j * pair[:, 1])).reshape(made.shape[1:])
    else:
        source, out = (x.view(x.real.dtype) for x in (modes.reshape(-1, *grid), made.reshape(*made.shape[:2], *coarse)))
        loops.filter_modes(source, windows.values, windows.spans, which, out)
    return ifftn(torch.from_numpy(made), range(2, made.ndim), "forward").numpy()


def _unfolded(modes: np.ndarray, coarse: Sequence[int]) -> np.ndarray:
    """Modes (B, n_1, n_2, n_h) of real fields as all modes (B, *coarse) of a coarser lattice."""
    whole = [np.rint(np.fft.fftfreq(m, 1 / m)).astype(int) for m in coarse]
    i, j, m = np.ix_(*whole)
    direct = modes[:, i, j, np.maximum(m, 0)]
    return np.where(m >= 0, direct, np.conj(modes[:, -i, -j, np.maximum(-m, 0)]))


@dataclass(frozen=True)
class Band:
    """One octave band: its filter on the coarse lattice that holds it."""

    k: float  # centre
    grid: tuple[int, ...]  # coarse lattice
    window: np.ndarray  # on that lattice, in the layout of fftn


def octave(k: np.ndarray, centre: float) -> np.ndarray:
    r"""Window :math:`\cos(\frac\pi2 \log_2 k/k_j)` for :math:`k_j/2 < k < 2k_j`; its squares sum to 1 over octaves."""
    with np.errstate(divide="ignore"):
        distance = np.abs(np.log2(np.maximum(k, 1e-300) / centre))
    return np.where(distance < 1, np.cos(np.pi / 2 * np.minimum(distance, 1)), 0.0)


def octave_centres(grid: Sequence[int], spacing: Sequence[float], most: int | None = None) -> np.ndarray:
    r"""Centres :math:`k_j = k_{Ny}/2^j`, j = 1, 2, ..., down to twice the fundamental wavenumber; finest first."""
    top, lowest = np.pi / max(spacing), 2 * fundamental(grid, spacing)
    count = int(np.floor(np.log2(top / lowest) * (1 + 1e-9)))
    if count < 1:
        raise InputError(f"a grid of {tuple(grid)} cells holds no octave from 2 k_F to Nyquist: use 8 cells or more")
    return top / 2.0 ** np.arange(1, min(count, most or count) + 1)


def octave_bands(
    grid: Sequence[int], spacing: Sequence[float], oversampling: float = 1.0, most: int | None = None
) -> list[Band]:
    """Octave bands of a lattice, finest first.

    Args:
        grid, spacing: lattice.
        oversampling: 1 for a lattice that just resolves the band; 2 makes the mean fourth power exact as well.
        most: bands at most.
    """
    bands = []
    for centre in octave_centres(grid, spacing, most):
        coarse = coarse_grid(grid, spacing, 4 * centre * oversampling)
        step = tuple(n * a / m for n, a, m in zip(grid, spacing, coarse, strict=True))
        bands.append(Band(float(centre), coarse, octave(wavenumber(coarse, step, half=False), centre)))
    return bands
