"""The rules that every ensemble keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from physgen.ensemble.layout import sample_dims, space_dims, spacing
from physgen.errors import InputError

if TYPE_CHECKING:
    import xarray as xr


def check_ensemble(ensemble: xr.Dataset, finite: bool = True) -> xr.Dataset:
    """Return the Dataset if it keeps the rules of the data type, see above.

    Raises InputError with the first broken rule and how to keep it.
    """
    if "field" not in ensemble:
        raise InputError(
            f"an ensemble needs a variable 'field', found {sorted(map(str, ensemble.data_vars))}: rename yours"
        )
    if not space_dims(ensemble):
        raise InputError(
            f"'field' has dims {ensemble['field'].dims}; at least one must be named z, y, x or site: rename it"
        )
    if not sample_dims(ensemble):
        raise InputError("'field' has no dim that counts samples: add one, even of length 1 (expand_dims('sample'))")
    empty = [str(d) for d in ensemble["field"].dims if ensemble.sizes[d] == 0]
    if empty:
        raise InputError(f"'field' is empty along {empty[0]!r}: an ensemble holds at least one configuration")
    if ensemble["field"].dtype.kind not in "fiu":
        raise InputError(
            f"'field' has dtype {ensemble['field'].dtype}; physgen reads real or integer numbers: convert it"
        )
    spacing(ensemble)
    if finite:
        _check_finite(ensemble)
    return ensemble


def _check_finite(ensemble: xr.Dataset) -> None:
    for name, variable in ensemble.data_vars.items():
        if variable.dtype.kind != "f":
            continue
        bad = ~np.isfinite(variable.values)
        if bad.any():
            first = tuple(int(i) for i in np.argwhere(bad)[0])
            where = ", ".join(f"{d}={i}" for d, i in zip(variable.dims, first, strict=True))
            value = variable.values[first]
            raise InputError(
                f"{name} holds {value} at {where} ({int(bad.sum())} such values in all); "
                "every value must be finite: drop or repair that configuration"
            )
