r"""Fourier modes of a lattice: wavenumbers, the modes that a half-spectrum stands for, shells of \|k\|.

Convention: :math:`k_i = 2\pi m_i/L_i` with integer m_i, in radians per unit of the cell sizes. Modes stand in the
layout of ``rfftn`` (the last axis holds n//2 + 1 of them) unless a function says otherwise.

Legend: d dimensions, \*grid = (n_1, ..., n_d) cells of sizes a_i, sides L_i = n_i a_i; K bins.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from physgen.errors import InputError


def half_grid(grid: Sequence[int]) -> tuple[int, ...]:
    """Shape of the half-spectrum of a real field on ``grid``: the last axis holds n//2 + 1 modes."""
    return (*grid[:-1], grid[-1] // 2 + 1)


def multiplicity(grid: Sequence[int]) -> Tensor:
    """Number of full-spectrum modes (1 or 2) that each half-spectrum mode stands for, shape (n//2 + 1,)."""
    size = grid[-1]
    twice = torch.full((size // 2 + 1,), 2.0)
    twice[0] = 1.0
    if size % 2 == 0:
        twice[-1] = 1.0
    return twice


def wavenumbers(
    grid: Sequence[int],
    spacing: Sequence[float] | None = None,
    half: bool = True,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
) -> tuple[Tensor, ...]:
    r"""Wavenumber along each axis, :math:`2\pi m/L`: d tensors that broadcast to all modes.

    Args:
        grid: cells along each axis.
        spacing: cell size along each axis; None for 1, so that wavenumbers are in radians per cell.
        half: layout of ``rfftn``; False for that of ``fftn``.
    """
    steps = [1.0] * len(grid) if spacing is None else spacing
    found = []
    for axis, (n, a) in enumerate(zip(grid, steps, strict=True)):
        frequencies = torch.fft.rfftfreq if half and axis == len(grid) - 1 else torch.fft.fftfreq
        k = 2 * math.pi * frequencies(n, d=a, dtype=dtype, device=device)
        found.append(k.reshape([-1 if i == axis else 1 for i in range(len(grid))]))
    return tuple(found)


def wavenumber(grid: Sequence[int], spacing: Sequence[float] | None = None, half: bool = True) -> np.ndarray:
    r"""\|k\| of every mode, float64; arguments as :func:`wavenumbers`."""
    # numpy's root is correctly rounded on every machine, that of torch differs from it in the last digit
    return np.sqrt(sum(np.square(k.numpy()) for k in wavenumbers(grid, spacing, half)))


def nyquist(spacing: Sequence[float]) -> float:
    r"""Largest wavenumber resolved along every axis, :math:`\min_i \pi/a_i`."""
    return float(np.pi / max(spacing))


def shells(
    grid: Sequence[int], spacing: Sequence[float] | None = None, parts: int = 1, half: bool = True
) -> np.ndarray:
    r"""Number of the shell of every mode, parts \|k\| / k_0 to the nearest integer; int64, k = 0 is 0.

    :math:`k_0 = 2\pi/\max_i L_i` is the smallest wavenumber of the box: shells are 1/parts of it wide and hold every
    mode, beyond Nyquist too. In a cube no mode lies on an edge between shells; in other boxes one that does belongs to
    the upper shell, so that rounding never decides.
    """
    steps = [1.0] * len(grid) if spacing is None else spacing
    longest = max(n * a for n, a in zip(grid, steps, strict=True))
    in_shells = wavenumber(grid, steps, half) * (parts * longest / (2 * np.pi))
    return np.floor(in_shells + (0.5 + 1e-9)).astype(np.int64)


# --- bins of |k| --------------------------------------------------------------------------------------


def bin_edges(
    grid: Sequence[int], spacing: Sequence[float], bins: int | Sequence[float] | np.ndarray | None = None
) -> np.ndarray:
    r"""Edges of linear bins in \|k\|.

    Args:
        grid, spacing: lattice of sides :math:`L_i = n_i a_i`.
        bins: None: from :math:`k_0/2`, :math:`k_0 = 2\pi/\max_i L_i`, in steps of :math:`2\pi/\min_i L_i`, up to
            Nyquist; in a cube these are the half-integers of k_F = 2 pi / L, which no mode hits, so that rounding
            never decides on which side of an edge a mode falls. A number: that many bins from :math:`k_0/2` to
            Nyquist. An increasing sequence: the edges themselves.

    Raises:
        InputError: a lattice too coarse for one bin, or edges that do not increase.
    """
    lengths = np.asarray(grid) * np.asarray(spacing)
    first, step = np.pi / lengths.max(), 2 * np.pi / lengths.min()
    if bins is None:
        count = int((nyquist(spacing) - first) / step * (1 + 1e-9))
        if count < 1:
            raise InputError(f"a grid of {tuple(grid)} cells has no bin of width 2 pi/L below Nyquist: use more cells")
        return first + step * np.arange(count + 1)
    if isinstance(bins, int | np.integer):
        return np.linspace(first, nyquist(spacing), int(bins) + 1)
    return increasing_edges(bins)


def increasing_edges(bins: Sequence[float] | np.ndarray) -> np.ndarray:
    """Edges as an array; InputError unless there are at least two that increase."""
    edges = np.asarray(bins, dtype=float)
    if edges.ndim != 1 or len(edges) < 2 or np.any(np.diff(edges) <= 0):
        raise InputError(f"bin edges must be at least two increasing wavenumbers, got {edges.tolist()}")
    return edges


@dataclass(frozen=True, eq=False)
class ModeBins:
    r"""Which bin each mode falls in, in a table over one octant: \|k\| does not know the signs of the wavenumbers."""

    grid: tuple[int, ...]
    table: np.ndarray  # (n_1//2 + 1, ..., n_d//2 + 1) int16 or int32: bin 0..K-1, K for a mode outside every bin
    k: np.ndarray  # (K,) mean |k| of the modes
    count: np.ndarray  # (K,) modes of the full FFT
    edges: np.ndarray  # (K, 2)

    def index(self) -> np.ndarray:
        """The table unfolded to the layout of rfftn, flattened, int64."""
        return unfolded(self.table, self.grid[:-1]).ravel().astype(np.int64)


def mirrored(n: int) -> np.ndarray:
    """Place in the octant, min(m, n - m), of each of the n modes or shifts along an axis."""
    m = np.arange(n)
    return np.minimum(m, n - m)


def unfolded(table: np.ndarray, grid: Sequence[int]) -> np.ndarray:
    """A table over an octant at all modes (or shifts) of the leading axes, those of ``grid``."""
    for axis, n in enumerate(grid):
        table = np.take(table, mirrored(n), axis=axis)
    return table


def mode_bins(
    grid: Sequence[int], spacing: Sequence[float], bins: int | Sequence[float] | np.ndarray | None = None
) -> ModeBins:
    """Bins of the modes of a grid, edges[j] <= |k| < edges[j+1]; k = 0 never counts, empty bins are dropped.

    Args:
        grid, spacing, bins: as :func:`bin_edges`.
    """
    if bins is not None and not isinstance(bins, int | np.integer):
        bins = tuple(increasing_edges(bins))
    return _mode_bins(tuple(grid), tuple(spacing), bins)


@functools.lru_cache(maxsize=8)
def _mode_bins(grid: tuple[int, ...], spacing: tuple[float, ...], bins: int | tuple[float, ...] | None) -> ModeBins:
    edges = bin_edges(grid, spacing, bins)
    axes = [k.numpy().ravel()[: n // 2 + 1] for k, n in zip(wavenumbers(grid, spacing), grid, strict=True)]
    table, k, count, filled = octant_bins(grid, axes, edges, origin=False)
    return ModeBins(grid, table, k, count, np.stack([edges[:-1], edges[1:]], axis=1)[filled])


def octant_bins(
    grid: Sequence[int], axes: Sequence[np.ndarray], edges: np.ndarray, origin: bool = True
) -> tuple[np.ndarray, ...]:
    r"""Bins, by length, of vectors on a lattice (modes, or shifts); those that hold none are dropped.

    Args:
        grid: vectors along each axis.
        axes: component along each axis of the vectors of one octant, (n_i//2 + 1,).
        edges: of the bins, edges[j] <= length < edges[j+1].
        origin: whether the vector of length 0 counts.

    Returns:
        table over the octant (K: in no bin), mean length (K,), number of vectors (K,), which bins are left (K,).
    """
    squares = [np.square(axis) for axis in axes]
    weights = [np.bincount(mirrored(n)) for n in grid]  # vectors that each place of the octant stands for
    table = np.empty([len(a) for a in axes], np.int16 if len(edges) < 2**15 else np.int32)
    count, total = np.zeros(len(edges)), np.zeros(len(edges))
    rest = functools.reduce(np.multiply.outer, weights[1:], np.ones(()))
    for i, first in enumerate(squares[0]):  # plane by plane: a box of 512^3 needs no second one for its wavenumbers
        length = np.asarray(np.sqrt(functools.reduce(np.add.outer, squares[1:], first)))  # in the order of wavenumber()
        index = np.asarray(np.searchsorted(edges, length, side="right") - 1)
        index[index < 0] = len(edges) - 1  # where those are that lie beyond the last edge
        if i == 0 and not origin:
            index[(0,) * (len(grid) - 1)] = len(edges) - 1
        table[i] = index
        weight = np.ravel(weights[0][i] * rest)
        count += np.bincount(np.ravel(index), weight, len(edges))
        total += np.bincount(np.ravel(index), weight * np.ravel(length), len(edges))
    filled = np.flatnonzero(count[:-1])
    renumbered = np.full(len(edges), len(filled), table.dtype)
    renumbered[filled] = np.arange(len(filled))
    return renumbered[table], total[filled] / count[filled], count[filled], filled
