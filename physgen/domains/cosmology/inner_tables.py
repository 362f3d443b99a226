"""Labels that lie beside the fields in one file: arrays of an .npz, a .pt or an HDF5 file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from physgen.domains.cosmology.labels import NUMBER_COLUMNS
from physgen.domains.cosmology.sources import Source, kind_of_file, open_hdf5, read_arrays, read_hdf5
from physgen.domains.cosmology.tables import Table
from physgen.errors import InputError

NAME_ATTRIBUTES = ("names", "columns", "column_names", "labels", "parameters")


def read_inner_table(path: Path, names: list[str]) -> Table:
    """The arrays called ``names`` as a table: each a column (rows,), or one array (rows, columns).

    The columns of a two-dimensional array are named by its attribute ``names`` (HDF5), or by a list in brackets after
    its name: ``labels=params[Omega_m,sigma_8]``.

    Raises:
        InputError: no such array, arrays of unequal length, or columns without names.
    """
    text = ",".join(names)
    name, _, listed = text.partition("[")
    given = [word.strip() for word in listed.rstrip("]").split(",") if word.strip()]
    wanted = [name.strip()] if given else names
    hdf5 = kind_of_file(path) == "hdf5"
    try:
        columns = read_hdf5(path, wanted) if hdf5 else read_arrays(path, wanted)
    except InputError as error:
        raise InputError(f"labels = {text} is not a file, and as names of arrays: {error}") from None
    first = columns[0]
    if len(columns) == 1 and np.ndim(first.array) == 2:
        given = given or (_attribute_names(path, first) if hdf5 else [])
        if len(given) != first.array.shape[1]:
            raise InputError(
                f"{first} has {first.array.shape[1]} columns and {len(given)} names: name them all, "
                f"labels={wanted[0]}[Omega_m,sigma_8,...]"
            )
        return _table(path, np.asarray(first.array, dtype=float), given)
    shapes = {np.shape(column.array) for column in columns}
    if len(shapes) != 1 or len(next(iter(shapes))) != 1:
        raise InputError(f"{path}: the labels {text} have shapes {sorted(shapes)}: give columns of equal length")
    values = np.stack([np.asarray(column.array, dtype=float) for column in columns], axis=1)
    return _table(path, values, [column.part.split("/")[-1] for column in columns])


def _attribute_names(path: Path, source: Source) -> list[str]:
    with open_hdf5(path) as file:
        attrs = file[source.part].attrs
        found: Any = next((attrs[name] for name in NAME_ATTRIBUTES if name in attrs), [])
        if isinstance(found, str | bytes):
            found = (found.decode() if isinstance(found, bytes) else found).replace(",", " ").split()
        return [word.decode() if isinstance(word, bytes) else str(word) for word in found]


def _table(path: Path, values: np.ndarray, names: list[str]) -> Table:
    bad = ~np.isfinite(values)
    if bad.any():
        row = int(np.argwhere(bad)[0][0])
        raise InputError(f"{path} holds a label that is not finite in row {row}: repair or drop that row")
    whole = [name for name in names if name.lower() in NUMBER_COLUMNS]
    return Table(path, values, names, {}, [f"{name} of {path.name} numbers the simulations" for name in whole])
