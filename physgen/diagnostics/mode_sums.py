r"""Sums over shells of modes in one pass: the transform and the binning of a piece of the field that fits the cache.

Legend: B fields, d dimensions, \*grid = (n_1, ..., n_d) cells, N of them; K bins; "half" is the layout of rfftn.

The bin of a mode is looked up in a table over one octant of modes. Single precision is transformed in single precision,
after the mean is taken off (it would cost the other modes their digits; k = 0 is in no bin); products and sums are
float64. Pieces depend on the shape alone, each is done by one thread: results do not depend on the number of threads.
Fields of more than LARGE cells are transformed slab by slab along all axes but the first, then along the first by
blocks of columns, which are binned and forgotten: beside the field stands one half-spectrum of its size. Without numba,
and on a GPU, torch does the same with whole transforms; the numbers agree up to rounding.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import torch

from physgen.diagnostics.batches import BATCH_CELLS, shared_out
from physgen.diagnostics.mode_kernels import kernels
from physgen.lattice import ModeBins, half_grid, multiplicity, unfolded

Array = np.ndarray | torch.Tensor

LARGE = 2**21  # cells of a field that is transformed in pieces
SLAB_CELLS, BLOCK_MODES = 2**17, 2**15  # of one piece of it: 0.5 and 0.25 MiB of single precision
CHUNK_CELLS = 2**22  # cells that torch transforms at once where there is no numba, and on a GPU


def sums_over_bins(first: Array, second: Array | None, binned: ModeBins) -> np.ndarray:
    r"""Sum of :math:`\mathrm{Re}\,\delta_k\delta'^*_k` over all modes of each bin, (B, K) float64.

    Args:
        first: (B, \*grid) real, of any type, array or tensor on any device.
        second: of the same shape and kind; None for ``first`` itself.
        binned: bins of the lattice.
    """
    first, second = _in_numpy(first), None if second is None else _in_numpy(second)
    count = len(binned.k)
    if not len(first):
        return np.zeros((0, count))
    if not isinstance(first, np.ndarray) or not (second is None or isinstance(second, np.ndarray)) or kernels() is None:
        return _sums_by_torch(first, second, binned)
    one, two = first, second
    if one[0].size > LARGE and len(binned.grid) > 1:
        return np.stack([_sums_of_large(f, f if two is None else two[b], binned) for b, f in enumerate(one)])
    step = max(1, BATCH_CELLS // one[0].size)

    def some(start: int) -> np.ndarray:
        rows = slice(start, start + step)
        return _sums_of_some(one[rows], None if two is None else two[rows], binned)

    return np.concatenate(shared_out(some, range(0, len(one), step)))


def real_type(dtype: np.dtype) -> type[np.floating]:
    """Precision in which values of a type are transformed: single where it holds them, else double."""
    return np.float32 if np.result_type(dtype.newbyteorder("="), np.float32) == np.float32 else np.float64


def _in_numpy(x: Array) -> Array:
    """Tensors of the CPU as arrays of the same memory; those of a device as they are."""
    if not isinstance(x, torch.Tensor) or x.device.type != "cpu":
        return x
    half_precision = x.dtype in (torch.float16, torch.bfloat16)
    return (x.detach().float() if half_precision else x.detach()).numpy()


# --- by compiled loops -------------------------------------------------------------------------------------


def _sums_of_some(first: np.ndarray, second: np.ndarray | None, binned: ModeBins) -> np.ndarray:
    """A few fields that fit the cache."""
    one = half_space(first)
    two = one if second is None else half_space(second)
    sums = np.zeros((len(one), len(binned.k) + 1))
    shape = three(half_grid(binned.grid))
    table = binned.table.reshape(three(binned.table.shape))
    even = binned.grid[-1] % 2 == 0
    kernels().bin_rows(one.reshape(-1, *shape), two.reshape(-1, *shape), table, even, sums)
    return 2 * sums[:, :-1]


def three(shape: Sequence[int]) -> tuple[int, ...]:
    """A shape of one to three axes as one of three."""
    return (1,) * (3 - len(shape)) + tuple(shape)


def centred(field: np.ndarray) -> np.ndarray:
    r"""Fields (B, \*grid) without their means, in the precision of :func:`real_type`; always a copy."""
    found = np.empty(field.shape, real_type(field.dtype))
    loops = kernels()
    if loops is None:
        axes = tuple(range(1, field.ndim))
        return np.subtract(field, field.mean(axis=axes, keepdims=True, dtype=float).astype(found.dtype), out=found)
    source = np.ascontiguousarray(field, dtype=found.dtype).reshape(len(field), -1)
    for values, out in zip(source, found.reshape(len(field), -1), strict=True):
        loops.centre(values, out)
    return found


def half_space(field: np.ndarray) -> np.ndarray:
    r"""rfftn of centred fields (B, \*grid)."""
    return torch.fft.rfftn(torch.from_numpy(centred(field)), dim=tuple(range(1, field.ndim))).numpy()


def autocorrelation(field: np.ndarray) -> np.ndarray:
    r""":math:`N^{-1}\sum_x f(x) f(x+r)` of centred fields (B, \*grid) at every shift r, in their layout."""
    modes = torch.from_numpy(half_space(field))
    parts = torch.view_as_real(modes)
    real, imaginary = parts[..., 0], parts[..., 1]
    real.square_().addcmul_(imaginary, imaginary).div_(field[0].size)
    imaginary.zero_()
    return torch.fft.irfftn(modes, s=field.shape[1:], dim=tuple(range(1, field.ndim))).numpy()


def sums_of_cells(values: np.ndarray, table: np.ndarray, count: int) -> np.ndarray:
    r"""Sums of values (B, \*grid) over bins (B, K) of shifts, from the table over an octant of them."""
    grid, loops = values.shape[1:], kernels()
    sums = np.zeros((len(values), count + 1))
    if loops is None:
        index = unfolded(table, grid).ravel()
        for row, line in zip(sums, values.reshape(len(values), -1), strict=True):
            row[:] = np.bincount(index, line, minlength=count + 1)
    else:
        loops.bin_cells(values.reshape(-1, *three(grid)), table.reshape(three(table.shape)), sums)
    return sums[:, :-1]


def _sums_of_large(first: np.ndarray, second: np.ndarray, binned: ModeBins) -> np.ndarray:
    """One field of any size, (K,)."""
    one = _transformed_but_first(first)
    two = one if second is first else _transformed_but_first(second)
    table, whole = _columns_of(binned)
    step = max(1, BLOCK_MODES // len(first))

    def block(start: int) -> np.ndarray:
        part = slice(start, start + step)
        f = _along_first(one[:, part])
        sums = np.zeros(len(binned.k) + 1)
        kernels().bin_columns(f, f if two is one else _along_first(two[:, part]), table[part], whole[part], sums)
        return sums

    return 2 * np.sum(shared_out(block, range(0, one.shape[1], step)), axis=0)[:-1]


def _transformed_but_first(field: np.ndarray) -> torch.Tensor:
    """rfftn of one centred field along all axes but the first, (n_1, columns)."""
    loops, precision = kernels(), real_type(field.dtype)
    step = max(1, SLAB_CELLS // field[0].size)
    columns = int(np.prod(half_grid(field.shape)[1:]))
    # numpy asks for large pages, torch does not: their faults take as long as the transform
    half = torch.from_numpy(np.empty((len(field), columns), np.result_type(precision, np.complex64)))
    sums = np.empty(len(field))

    def transform(start: int) -> None:
        slab = np.ascontiguousarray(field[start : start + step], dtype=precision)
        out = np.empty_like(slab)
        for i, plane in enumerate(slab):
            sums[start + i] = loops.centre(plane.reshape(-1), out[i].reshape(-1))
        modes = torch.fft.rfftn(torch.from_numpy(out), dim=tuple(range(1, field.ndim)))
        half[start : start + step] = modes.view(len(slab), -1)

    shared_out(transform, range(0, len(field), step))
    half[:, 0] = torch.from_numpy(sums - sums.mean())  # of the mean of each plane, taken off above
    return half


def _along_first(columns: torch.Tensor) -> np.ndarray:
    """Transform of (n_1, c) along the first axis as (c, n_1)."""
    return torch.fft.fft(columns.contiguous(), dim=0).T.contiguous().numpy()


@functools.lru_cache(maxsize=2)
def _columns_of(binned: ModeBins) -> tuple[np.ndarray, np.ndarray]:
    """The table of bins of the columns along the first axis, (columns, n_1//2 + 1), and which of them count half."""
    table = unfolded(np.moveaxis(binned.table, 0, -1), binned.grid[1:-1])
    whole = np.broadcast_to(multiplicity(binned.grid).numpy() == 1, table.shape[:-1])
    return np.ascontiguousarray(table).reshape(-1, table.shape[-1]), whole.ravel().copy()


# --- by torch alone ----------------------------------------------------------------------------------------


def _sums_by_torch(first: Array, second: Array | None, binned: ModeBins) -> np.ndarray:
    """The same with whole transforms, on the device of a tensor."""
    count, half = len(binned.k), half_grid(binned.grid)
    device = first.device if isinstance(first, torch.Tensor) else torch.device("cpu")
    index = torch.from_numpy(binned.index()).to(device)
    weight = multiplicity(binned.grid).to(device, torch.float64).expand(half).reshape(-1)
    found = np.zeros((len(first), count))
    step = max(1, CHUNK_CELLS // int(np.prod(binned.grid)))
    for start in range(0, len(first), step):
        rows = slice(start, start + step)
        one = _modes(first[rows], device)
        two = one if second is None else _modes(second[rows], device)
        product = (one.real.double() * two.real.double() + one.imag.double() * two.imag.double()) * weight
        place = index + (count + 1) * torch.arange(len(one), device=device)[:, None]
        sums = torch.bincount(place.reshape(-1), product.reshape(-1), minlength=len(one) * (count + 1))
        found[rows] = sums.view(len(one), count + 1)[:, :-1].cpu().numpy()
    return found


def _modes(field: Array, device: torch.device) -> torch.Tensor:
    """rfftn of centred fields, (B, half) flattened."""
    x = field if isinstance(field, torch.Tensor) else torch.from_numpy(centred(field))
    x = x.to(device, torch.float64 if x.dtype in WIDE else torch.float32)
    axes = tuple(range(1, x.ndim))
    return torch.fft.rfftn(x - x.mean(dim=axes, keepdim=True, dtype=torch.float64).to(x.dtype), dim=axes).flatten(1)


WIDE = (torch.float64, torch.int32, torch.int64)  # types that single precision does not hold
