r"""Sums over shells of modes of one field that is larger than the cache, piece by piece.

Legend: d dimensions, \*grid = (n_1, ..., n_d) cells; columns: the modes of all axes but the first, in the layout of
rfftn; K bins; c columns in a block.

Slab by slab the field is transformed along all axes but the first. Of what comes out the columns that hold a mode in a
bin are kept, in blocks (n_1, c) that lie in memory one after the other; then each block is transformed along the first
axis, binned and forgotten. Beside the field stands one half-spectrum of its size, at most.

A mean acts on k = 0 alone, but single precision would lose the digits of the other modes to it. It is taken off slab by
slab where it is larger than KEPT_MEAN of the scatter; else rounding does not feel it. Sums of planes, which are the
modes along the first axis, are taken in double precision.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import torch

from physgen.diagnostics.batches import real_type, shared_out
from physgen.diagnostics.mode_kernels import kernels
from physgen.diagnostics.transforms import fft, rfftn
from physgen.lattice import ModeBins, mirrored

SLAB_CELLS, BLOCK_MODES = 2**17, 2**16  # of one piece: 0.5 MiB of single precision
KEPT_MEAN = 0.25


def sums_of_large(first: np.ndarray, second: np.ndarray, binned: ModeBins) -> np.ndarray:
    r"""Sum of :math:`\mathrm{Re}\,\delta_k\delta'^*_k` over all modes of each bin, (K,) float64.

    Args:
        first, second: one field (\*grid) each, in two dimensions or three; the same array for its own spectrum.
        binned: bins of the lattice.
    """
    plan = _planned(binned, max(1, BLOCK_MODES // len(first)))
    one = _transformed_but_first(first, plan)
    two = one if second is first else _transformed_but_first(second, plan)

    def block(place: int) -> np.ndarray:
        f = _along_first(one[place])
        sums = np.zeros((2, len(binned.k) + 1))
        kernels().bin_columns(f, f if two is one else _along_first(two[place]), plan.table, plan.columns[place], sums)
        return sums

    return 2 * np.sum(shared_out(block, range(len(one))), axis=(0, 1))[:-1]


def reach(table: np.ndarray, outside: int) -> np.ndarray:
    """How many places along the last axis lie before the last one that is in a bin, int64."""
    inside = table != outside
    last = table.shape[-1] - np.argmax(inside[..., ::-1], axis=-1)
    return np.where(inside.any(axis=-1), last, 0)


@dataclass(frozen=True)
class _Plan:
    """Which columns are kept, and where; the bins along them."""

    table: np.ndarray  # (rows, n_1//2 + 1)
    columns: np.ndarray  # (blocks, c, 3), of each: its row of the table, reach in it, 1 where it counts half
    runs: np.ndarray  # (R, 4), of columns that are neighbours: the first, their number, their block, their place there


@functools.lru_cache(maxsize=2)
def _planned(binned: ModeBins, width: int) -> _Plan:
    """The columns, cut into blocks of ``width``; the first is that of the sums of planes, whether or not it counts."""
    count, last = binned.grid[-1], binned.table.shape[-1]
    table = np.moveaxis(binned.table, 0, -1).reshape(-1, last, binned.table.shape[0])  # (octant of axis 2, last, n_1)
    far = reach(table, len(binned.k))
    octant = mirrored(binned.grid[1]) if len(binned.grid) == 3 else np.zeros(1, int)
    runs, columns, place = [], [], 0
    for line in np.argsort(octant, kind="stable"):
        filled = np.flatnonzero(far[octant[line]])
        kept = int(filled[-1]) + 1 if len(filled) else int(line == 0)
        start = 0
        while start < kept:
            block, within = divmod(place, width)
            length = min(kept - start, width - within)
            runs.append((line * last + start, length, block, within))
            start, place = start + length, place + length
        m = np.arange(kept)
        half = (m == 0) | (2 * m == count)
        columns.append(np.stack([octant[line] * last + m, far[octant[line], :kept], half], axis=1))
    blocks = -(-place // width)
    padding = np.zeros((blocks * width - place, 3), int)
    placed = np.concatenate([*columns, padding]).reshape(blocks, width, 3)
    return _Plan(np.ascontiguousarray(table).reshape(-1, table.shape[-1]), placed, np.array(runs))


def _transformed_but_first(field: np.ndarray, plan: _Plan) -> np.ndarray:
    """The columns of rfftn of one field along all axes but the first, (blocks, n_1, c)."""
    loops, precision = kernels(), real_type(field.dtype)
    step = max(1, SLAB_CELLS // field[0].size)
    blocks, width = plan.columns.shape[:2]
    # numpy asks for large pages, torch does not: their faults take as long as the transform
    kept = np.empty((blocks, len(field), width), np.result_type(precision, np.complex64))
    sums = np.empty(len(field))

    def transform(start: int) -> None:
        slab = np.ascontiguousarray(field[start : start + step], dtype=precision)
        flat = slab.reshape(len(slab), -1)
        out = np.empty_like(flat)
        if loops.centre_if_needed(flat, out, sums[start : start + step], KEPT_MEAN):
            slab = out.reshape(slab.shape)
        elif not slab.flags.writeable:  # torch does not take it
            slab = slab.copy()
        modes = rfftn(torch.from_numpy(slab), range(1, field.ndim)).numpy()
        loops.store_columns(modes.reshape(len(slab), -1), plan.runs, start, kept)

    shared_out(transform, range(0, len(field), step))
    kept[0, :, 0] = sums - sums.mean()
    kept[-1, :, plan.runs[-1, 1] + plan.runs[-1, 3] :] = 0  # the last block is not full
    return kept


def _along_first(columns: np.ndarray) -> np.ndarray:
    """Transform of (n_1, c) along the first axis as (c, n_1)."""
    return fft(torch.from_numpy(columns), 0).T.contiguous().numpy()
