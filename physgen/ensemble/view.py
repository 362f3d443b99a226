"""Fields that are computed where they are read, so that no second copy of an ensemble need be in memory."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike

if TYPE_CHECKING:
    import xarray as xr

    Change = Callable[[xr.Variable, Mapping[Hashable, Any]], xr.Variable]


def computed_field(
    ensemble: xr.Dataset, change: Change, dtype: DTypeLike, attrs: Mapping[str, Any] | None = None
) -> xr.Dataset:
    """The ensemble with another field, of the same dims, each value of which is computed when it is read.

    Selections of it (``isel``) are not read either. ``.values`` and ``load`` compute it whole.

    Args:
        change: (a part of the field, where it lies) -> the new values of the part, in its dims and their order. Where
            it lies: dim -> number, slice or numbers, for ``isel`` of other variables. It treats every value alone,
            whatever part it is in.
        dtype: of the new values.
        attrs: of the new field; None for those of the old one.
    """
    import xarray as xr
    from xarray.backends import BackendArray
    from xarray.core import indexing

    field = ensemble["field"].variable

    class Computed(BackendArray):
        def __init__(self) -> None:
            self.shape, self.dtype = field.shape, np.dtype(dtype)

        def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
            return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.OUTER, self.read)

        def read(self, key: tuple[Any, ...]) -> np.ndarray:
            where = dict(zip(field.dims, key, strict=True))
            return np.asarray(change(field.isel(where), where).values)

    values = indexing.LazilyIndexedArray(Computed())
    return ensemble.assign(field=xr.Variable(field.dims, values, dict(field.attrs if attrs is None else attrs)))


def unread_field(ensemble: xr.Dataset) -> xr.Dataset:
    """The same ensemble, but that selections of its configurations are copied only where they are read.

    Args:
        ensemble: any; its ``field`` in memory or mapped. Values, dtype and everything else stay as they are.
    """
    return computed_field(ensemble, lambda part, where: part, ensemble["field"].dtype)
