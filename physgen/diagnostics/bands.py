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

from physgen.diagnostics.mode_sums import centred
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


def crop(modes: np.ndarray, grid: Sequence[int], coarse: Sequence[int]) -> np.ndarray:
    """Modes (..., *half) of a lattice as those of a coarser one of equal sides; modes beyond it are left out."""
    d = len(grid)
    for axis, (n, m) in enumerate(zip(grid[:-1], coarse[:-1], strict=True)):
        if m < n:
            where = [slice(None)] * modes.ndim
            parts = []
            for kept in (slice(0, (m + 1) // 2), slice(n - m // 2, n)):
                where[modes.ndim - d + axis] = kept
                parts.append(modes[tuple(where)])
            modes = np.concatenate(parts, axis=modes.ndim - d + axis)
    return modes[..., : coarse[-1] // 2 + 1]


def to_modes(field: np.ndarray, d: int) -> np.ndarray:
    r""":math:`\delta_k/N`, :math:`\delta_k = \sum_x \delta(x) e^{-ikx}`, in the layout of rfftn; k = 0 is taken off."""
    axes = tuple(range(-d, 0))
    return torch.fft.rfftn(torch.from_numpy(_centred(field, d)), dim=axes, norm="forward").numpy()


def _centred(field: np.ndarray, d: int) -> np.ndarray:
    return centred(field.reshape(-1, *field.shape[-d:])).reshape(field.shape)


def to_field(modes: np.ndarray, coarse: Sequence[int]) -> np.ndarray:
    r""":math:`\sum_k \delta_k/N\, e^{ikx}` on the lattice ``coarse``, from half-space modes in its layout."""
    axes = tuple(range(-len(coarse), 0))
    return torch.fft.irfftn(torch.from_numpy(modes), s=tuple(coarse), dim=axes, norm="forward").numpy()


# --- two fields in one complex one: a real, even filter treats both alike ---------------------------------


def unit_rms(field: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    r"""Fields (B, \*grid) with mean 0 and rms 1, and the rms that they had (B,); a constant field is 0."""
    flat = centred(field)
    rms = np.sqrt([np.einsum("i,i->", x, x, dtype=float) / x.size for x in flat.reshape(len(flat), -1)])
    scale = np.divide(1.0, rms, out=np.zeros_like(rms), where=rms > 0)
    flat *= scale.astype(flat.dtype).reshape(-1, *[1] * (field.ndim - 1))
    return flat, rms


def paired_modes(field: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    r"""Modes over N of fields (B, \*grid) in pairs, :math:`f_{2i} + i f_{2i+1}`, in the layout of fftn.

    Means are taken off. Each field is brought to unit rms first, so that neither costs the other its digits.

    Returns:
        modes (ceil(B/2), \*grid), rms (B,) float64; the modes of a constant field are 0.
    """
    flat, rms = unit_rms(field)
    pairs = np.zeros(((len(flat) + 1) // 2, *flat.shape[1:]), np.result_type(flat.dtype, np.complex64))
    pairs.real = flat[::2]
    pairs.imag[: len(flat) // 2] = flat[1::2]
    return torch.fft.fftn(torch.from_numpy(pairs), dim=tuple(range(1, field.ndim)), norm="forward").numpy(), rms


def crop_all(modes: np.ndarray, coarse: Sequence[int]) -> np.ndarray:
    """Modes (..., *lattice) in the layout of fftn as those of a coarser lattice of equal sides."""
    d = len(coarse)
    for axis, m in zip(range(modes.ndim - d, modes.ndim), coarse, strict=True):
        n = modes.shape[axis]
        if m < n:
            before = (slice(None),) * axis
            low, high = modes[(*before, slice(0, (m + 1) // 2))], modes[(*before, slice(n - m // 2, n))]
            modes = np.concatenate([low, high], axis=axis)
    return modes


def filtered_pairs(modes: np.ndarray, window: np.ndarray) -> np.ndarray:
    r"""Pairs (b, \*m) through a real, even window (\*m): both fields at each point, real (b, M, 2)."""
    made = torch.fft.ifftn(torch.from_numpy(modes * window), dim=tuple(range(1, modes.ndim)), norm="forward")
    return torch.view_as_real(made).reshape(len(modes), -1, 2).numpy()


@dataclass(frozen=True)
class Band:
    """One octave band: its filter on the coarse lattice that holds it."""

    k: float  # centre
    grid: tuple[int, ...]  # coarse lattice
    window: np.ndarray  # half-space layout of that lattice


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
        bands.append(Band(float(centre), coarse, octave(wavenumber(coarse, step), centre)))
    return bands
