"""An ensemble a few configurations at a time, so that no statistic holds a second copy of it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from physgen.threads import shared_out

if TYPE_CHECKING:
    import xarray as xr

Transform = Callable[[np.ndarray], np.ndarray]  # of arrays (b, C, *grid); it treats every configuration alone

BATCH_CELLS = 2**18  # 1 MiB of single precision: a batch and its FFT stay in the cache


def batches(ensemble: xr.Dataset, transform: Transform | None = None, cells: int = BATCH_CELLS) -> Iterator[np.ndarray]:
    r"""Yield ``field`` as arrays (b, C, \*grid) in the order of the flattened samples.

    Args:
        ensemble: any ``field``; single precision stays single, integers become double.
        transform: None, or a function of an array (b, C, \*grid) that treats every configuration alone.
        cells: cells of a batch, at least one configuration.
    """
    for piece in _pieces(ensemble, transform, cells):
        yield piece()


def _pieces(
    ensemble: xr.Dataset, transform: Transform | None = None, cells: int = BATCH_CELLS
) -> list[Callable[[], np.ndarray]]:
    """The batches as functions that make them, so that any thread can."""
    from physgen.ensemble import flatten

    values = flatten(ensemble)
    step = max(1, cells // max(int(np.prod(values.shape[1:])), 1))

    def make(start: int) -> np.ndarray:
        batch = np.ascontiguousarray(values[start : start + step])
        if batch.dtype.kind != "f":
            batch = batch.astype(np.float64)
        elif not batch.dtype.isnative:  # FITS files are big-endian
            batch = batch.astype(batch.dtype.newbyteorder("="))
        return batch if transform is None else transform(batch)

    return [functools.partial(make, start) for start in range(0, len(values), step)]


def each_sample(
    ensemble: xr.Dataset, statistic: Callable[[np.ndarray], ArrayLike], transform: Transform | None = None
) -> np.ndarray:
    r"""``statistic`` of every configuration: (B, C, \*shape) from a function of (b, C, \*grid), batch by batch.

    Batches are shared out to threads (:func:`physgen.threads.shared_out`); results are the same.
    """
    pieces = _pieces(ensemble, transform)
    if len(pieces) == 1:  # one large configuration: the statistic itself may share out its parts
        return np.asarray(statistic(pieces[0]()), dtype=float)
    return np.concatenate(shared_out(lambda piece: np.asarray(statistic(piece()), dtype=float), pieces))


def real_type(dtype: np.dtype) -> type[np.floating]:
    """Precision in which values of a type are transformed: single where it holds them, else double."""
    return np.float32 if np.result_type(dtype.newbyteorder("="), np.float32) == np.float32 else np.float64


def cell_mean(x: np.ndarray, d: int) -> np.ndarray:
    """Mean over the last d axes in double precision; single precision is summed pairwise along the last axis first."""
    return x.mean(axis=-1).mean(axis=tuple(range(-(d - 1), 0)), dtype=float) if d > 1 else x.mean(axis=-1, dtype=float)
