"""Chosen entries of a variable that stands in a file: read in runs, since HDF5 is slow with lists of places."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

# what lies between two chosen entries is read and dropped if it is at most this: a call costs as much
GAP_BYTES, GAP_ENTRIES = 2**17, 4


def in_runs(whole: xr.Variable, dim: str, index: np.ndarray) -> xr.Variable:
    """``whole.isel({dim: index})``, lazily: entries in a row are read at once, with small gaps between them.

    A list of places with gaps costs HDF5 twenty times what the same values cost in slices (2 x 8 MiB of two chunks).
    """
    chosen = indexing.LazilyIndexedArray(_Chosen(whole, whole.dims.index(dim), np.asarray(index, dtype=np.int64)))
    return xr.Variable(whole.dims, chosen, whole.attrs, whole.encoding)


class _Chosen(BackendArray):
    """Entries ``index`` of a variable along an axis."""

    def __init__(self, whole: xr.Variable, axis: int, index: np.ndarray) -> None:
        self._whole, self._axis, self._index = whole, axis, index
        self.shape = (*whole.shape[:axis], len(index), *whole.shape[axis + 1 :])
        self.dtype = whole.dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.OUTER, self._read)

    def _read(self, key: tuple[Any, ...]) -> np.ndarray:
        axis, dims = self._axis, self._whole.dims
        place = self._index[key[axis]]
        others = {dim: k for i, (dim, k) in enumerate(zip(dims, key, strict=True)) if i != axis}
        if np.ndim(place) == 0:
            return np.asarray(self._whole.isel(others | {dims[axis]: int(place)}).values)
        at = sum(not isinstance(k, int | np.integer) for k in key[:axis])  # whole numbers take their axes away
        entry = max(1, self._whole.nbytes // max(1, self._whole.shape[axis]))
        parts = []
        for run, wanted in _runs(place, min(GAP_BYTES // entry, GAP_ENTRIES)):
            values = self._whole.isel(others | {dims[axis]: run}).values
            parts.append(values if values.shape[at] == len(wanted) else np.take(values, wanted, axis=at))
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=at)


def _runs(places: np.ndarray, gap: int) -> Iterator[tuple[slice, np.ndarray]]:
    """Slices that hold the places in their order, with at most ``gap`` others between two, and where they stand."""
    steps = np.diff(places)
    if not len(places):
        yield slice(0), places
        return
    for run in np.split(places, np.flatnonzero((steps < 1) | (steps > 1 + gap)) + 1):
        yield slice(int(run[0]), int(run[-1]) + 1), run - run[0]
