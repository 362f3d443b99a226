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
READ_CELLS, PARTS = 2**20, 16  # that are read at once, and how many such parts there should be at least


def batches(ensemble: xr.Dataset, transform: Transform | None = None, cells: int = BATCH_CELLS) -> Iterator[np.ndarray]:
    r"""Yield ``field`` as arrays (b, C, \*grid) in the order of the flattened samples.

    Args:
        ensemble: any ``field``; single precision stays single, integers become double.
        transform: None, or a function of an array (b, C, \*grid) that treats every configuration alone.
        cells: cells of a batch, at least one configuration.
    """
    for piece in _pieces(ensemble, transform, cells):
        yield from piece()


def _pieces(
    ensemble: xr.Dataset, transform: Transform | None = None, cells: int = BATCH_CELLS
) -> list[Callable[[], Iterator[np.ndarray]]]:
    """The ensemble in parts that are read at once, as functions that make their batches, so that any thread can."""
    from physgen.ensemble import sample_count, sample_dims, sample_regions, space_dims
    from physgen.ensemble.blocks import read_values

    field, samples, space = ensemble["field"].variable, sample_dims(ensemble), space_dims(ensemble)
    order = [field.dims.index(d) for d in (*samples, "component", *space) if d in field.dims]
    shape = (-1, ensemble.sizes.get("component", 1), *(ensemble.sizes[d] for d in space))
    one = max(1, field.size // max(sample_count(ensemble), 1))
    step = max(1, cells // one)
    # of so many batches that a thread that is done early finds another
    read = max(step, min(READ_CELLS, field.size // PARTS) // one)

    def make(region: dict[str, slice]) -> Iterator[np.ndarray]:
        values = read_values(field.isel(region)).values.transpose(order).reshape(shape)
        for start in range(0, len(values), step):
            batch = np.ascontiguousarray(values[start : start + step])
            if batch.dtype.kind != "f":
                batch = batch.astype(np.float64)
            elif not batch.dtype.isnative:  # FITS files are big-endian
                batch = batch.astype(batch.dtype.newbyteorder("="))
            yield batch if transform is None else transform(batch)

    return [functools.partial(make, region) for region in sample_regions(ensemble, read // step * step * one)]


def each_sample(
    ensemble: xr.Dataset, statistic: Callable[[np.ndarray], ArrayLike], transform: Transform | None = None
) -> np.ndarray:
    r"""``statistic`` of every configuration: (B, C, \*shape) from a function of (b, C, \*grid), batch by batch.

    Of an ensemble that is not in memory (:mod:`physgen.ensemble.view`, or opened lazily) a few MiB are at a time.
    Batches are shared out to threads (:func:`physgen.threads.shared_out`); results are the same.
    """

    def measure(piece: Callable[[], Iterator[np.ndarray]]) -> np.ndarray:
        return np.concatenate([np.asarray(statistic(batch), dtype=float) for batch in piece()])

    pieces = _pieces(ensemble, transform)
    if len(pieces) == 1:  # one large configuration: the statistic itself may share out its parts
        return measure(pieces[0])
    return np.concatenate(shared_out(measure, pieces))


def real_type(dtype: np.dtype) -> type[np.floating]:
    """Precision in which values of a type are transformed: single where it holds them, else double."""
    return np.float32 if np.result_type(dtype.newbyteorder("="), np.float32) == np.float32 else np.float64


def cell_mean(x: np.ndarray, d: int) -> np.ndarray:
    """Mean over the last d axes in double precision; single precision is summed pairwise along the last axis first."""
    return x.mean(axis=-1).mean(axis=tuple(range(-(d - 1), 0)), dtype=float) if d > 1 else x.mean(axis=-1, dtype=float)
