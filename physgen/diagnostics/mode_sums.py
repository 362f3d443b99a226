r"""Sums over shells of modes in one pass: the transform and the binning of a piece of the field that fits the cache.

Legend: B fields, d dimensions, \*grid = (n_1, ..., n_d) cells, N of them; K bins; "half" is the layout of rfftn.

The bin of a mode is looked up in a table over one octant of modes. Single precision is transformed in single precision,
after the mean is taken off (it would cost the other modes their digits; k = 0 is in no bin); products and sums are
float64. Pieces depend on the shape alone, each is done by one thread: results do not depend on the number of threads.
Fields of more than LARGE cells go through :mod:`.mode_pieces`. Without numba, and on a GPU, torch does the same with
whole transforms; the numbers agree up to rounding.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from physgen.diagnostics.batches import BATCH_CELLS, real_type, shared_out
from physgen.diagnostics.mode_kernels import kernels
from physgen.diagnostics.mode_pieces import reach, sums_of_large
from physgen.diagnostics.transforms import irfftn, rfftn, torch_is_steady
from physgen.lattice import ModeBins, half_grid, multiplicity, unfolded

Array = np.ndarray | torch.Tensor

LARGE = 2**21  # cells of a field that is transformed in pieces
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
        return np.stack([sums_of_large(f, f if two is None else two[b], binned) for b, f in enumerate(one)])
    step = max(1, BATCH_CELLS // one[0].size)

    def some(start: int) -> np.ndarray:
        rows = slice(start, start + step)
        return _sums_of_some(one[rows], None if two is None else two[rows], binned)

    return np.concatenate(shared_out(some, range(0, len(one), step)))


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
    count = len(binned.k)
    sums = np.zeros((len(one), 2, count + 1))
    shape = three(half_grid(binned.grid))
    table = binned.table.reshape(three(binned.table.shape))
    even = binned.grid[-1] % 2 == 0
    kernels().bin_rows(one.reshape(-1, *shape), two.reshape(-1, *shape), table, reach(table, count), even, sums)
    return 2 * sums.sum(axis=1)[:, :-1]


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
    loops.centre(np.ascontiguousarray(field, dtype=found.dtype).reshape(len(field), -1), found.reshape(len(field), -1))
    return found


def half_space(field: np.ndarray) -> np.ndarray:
    r"""rfftn of centred fields (B, \*grid)."""
    return rfftn(torch.from_numpy(centred(field)), range(1, field.ndim)).numpy()


def autocorrelation(field: np.ndarray) -> np.ndarray:
    r""":math:`N^{-1}\sum_x f(x) f(x+r)` of centred fields (B, \*grid) at every shift r, in their layout."""
    modes = torch.from_numpy(half_space(field))
    parts = torch.view_as_real(modes)
    real, imaginary = parts[..., 0], parts[..., 1]
    real.square_().addcmul_(imaginary, imaginary).div_(field[0].size)
    imaginary.zero_()
    return _to_real(modes, field.shape[1:]).numpy()


def _to_real(modes: torch.Tensor, grid: Sequence[int]) -> torch.Tensor:
    """irfftn of modes (B, half) whose digits do not depend on B, as those of torch do for 1 and for more."""
    d = len(grid)
    if not torch_is_steady():
        return irfftn(modes, grid, range(1, d + 1))
    if d == 1 or np.prod(grid) > BATCH_CELLS:  # large fields come one by one
        return torch.fft.irfftn(modes, s=tuple(grid), dim=tuple(range(1, d + 1)))
    lines = torch.fft.ifftn(modes.movedim(-1, 1).contiguous(), dim=tuple(range(2, d + 1)))
    rows = lines.movedim(1, -1).contiguous().view(-1, modes.shape[-1])
    return torch.fft.irfft(rows, n=grid[-1]).view(-1, *grid)


def sums_of_cells(values: np.ndarray, table: np.ndarray, count: int) -> np.ndarray:
    r"""Sums of values (B, \*grid), equal at a shift and its opposite, over bins (B, K) of shifts.

    Args:
        values: such as an autocorrelation.
        table: bins over an octant of shifts.
        count: K.
    """
    grid, loops = values.shape[1:], kernels()
    if loops is None:
        index = unfolded(table, grid).ravel()
        return np.stack([np.bincount(index, line, count + 1)[:-1] for line in values.reshape(len(values), -1)])
    sums = np.zeros((len(values), 2, count + 1))
    table = table.reshape(three(table.shape))
    loops.bin_even_cells(values.reshape(-1, *three(grid)), table, reach(table, count), grid[-1] % 2 == 0, sums)
    return 2 * sums.sum(axis=1)[:, :-1]


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
    x = x - x.mean(dim=axes, keepdim=True, dtype=torch.float64).to(x.dtype)
    return rfftn(x, axes).flatten(1)


WIDE = (torch.float64, torch.int32, torch.int64)  # types that single precision does not hold
