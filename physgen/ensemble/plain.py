r"""An ensemble in plain files that other programs read: an array in .npy, a table of labels, HDF5 without conventions.

Shapes: n flattened samples (C order of the sample dims), C components, \*grid lattice; without components no such axis.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from physgen.ensemble.blocks import sample_blocks
from physgen.ensemble.layout import flatten, sample_count, sample_dims, space_dims
from physgen.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

PLAIN = {
    "npy": "one array (samples, [components,] *grid) and beside it NAME_params.txt, a table of the labels",
    "hdf5": "plain HDF5: the data set field, labels and all other variables beside it",
}


def write_plain(
    format: str, ensemble: xr.Dataset, folder: Path, name: str, columns: Mapping[str, np.ndarray] | None = None
) -> list[Path]:
    """Write the files of a format of ``PLAIN`` into ``folder``: ``name``, and a table whose name begins with its stem.

    Args:
        columns: what stands in the table, :func:`sample_columns` where None.

    Returns:
        The names of the files, ``name`` first.

    Raises:
        InputError: another format.
    """
    if format not in PLAIN:
        raise InputError(f"these data have no export {format!r}: choose one of {', '.join(PLAIN)}")
    columns = sample_columns(ensemble) if columns is None else columns
    if format == "hdf5":
        write_hdf5(ensemble, folder / name, columns)
        return [Path(name)]
    write_npy(ensemble, folder / name)
    if not columns:
        return [Path(name)]
    table = f"{Path(name).stem}_params.txt"
    write_table(columns, folder / table)
    return [Path(name), Path(table)]


def sample_columns(ensemble: xr.Dataset, leave_out: Sequence[str] = ()) -> dict[str, np.ndarray]:
    """Name -> (n,) of every number on the sample dims: labels, units, coordinates; a dim without one by its position.

    The coordinate of an only sample dim merely counts and is left out.
    """
    dims = sample_dims(ensemble)
    sizes = {dim: ensemble.sizes[dim] for dim in dims}
    columns = {}
    for name, variable in ensemble.variables.items():
        on_samples = bool(variable.dims) and set(map(str, variable.dims)) <= set(dims)
        counts = len(dims) == 1 and str(name) == dims[0]
        if on_samples and not counts and name not in ("field", *leave_out) and variable.dtype.kind in "fiub":
            columns[str(name)] = variable.set_dims(sizes).transpose(*dims).values.reshape(-1)
    for axis, dim in enumerate(dims):
        if len(dims) > 1 and dim not in columns:
            columns[dim] = np.indices(tuple(sizes.values()))[axis].reshape(-1)
    return columns


def field_shape(ensemble: xr.Dataset) -> tuple[int, ...]:
    r"""(n, \*grid), or (n, C, \*grid) where there is a dim of components."""
    grid = tuple(ensemble.sizes[dim] for dim in space_dims(ensemble))
    channels = (ensemble.sizes["component"],) if "component" in ensemble["field"].dims else ()
    return (sample_count(ensemble), *channels, *grid)


def field_blocks(ensemble: xr.Dataset) -> Iterator[np.ndarray]:
    """The field in the shape of :func:`field_shape`, some samples at a time."""
    shape = field_shape(ensemble)
    for block in sample_blocks(ensemble[["field"]]):
        values = flatten(block)
        yield np.ascontiguousarray(values.reshape(len(values), *shape[1:]))


def write_npy(ensemble: xr.Dataset, path: Path) -> None:
    """The field as one .npy array in its own number format."""
    dtype = ensemble["field"].dtype.newbyteorder("<")
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": field_shape(ensemble)}
    with open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for values in field_blocks(ensemble):
            file.write(values.astype(dtype, copy=False).tobytes())


def write_table(columns: Mapping[str, np.ndarray], path: Path) -> None:
    """A text table that ``numpy.loadtxt`` reads: a first line of names after #, then all digits of every number."""
    names = [re.sub(r"\s+", "_", name) for name in columns]
    whole = [column.dtype.kind in "iub" for column in columns.values()]
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"#{' '.join(names)}\n")
        for row in zip(*(column.tolist() for column in columns.values()), strict=True):
            file.write(" ".join(str(int(v)) if w else repr(float(v)) for v, w in zip(row, whole, strict=True)) + "\n")


def write_hdf5(ensemble: xr.Dataset, path: Path, columns: Mapping[str, np.ndarray]) -> None:
    """Plain HDF5: the data sets ``field`` (n, ...) and ``columns`` (n,), and all variables that lie on no sample alone.

    Attributes are those of the ensemble; ``dims`` of a data set names its axes.
    """
    import h5py

    space = [str(dim) for dim in ensemble["field"].dims if dim == "component"] + list(space_dims(ensemble))
    with h5py.File(path, "w") as file:
        _describe(file, ensemble.attrs)
        shape = field_shape(ensemble)
        field = file.create_dataset("field", shape, ensemble["field"].dtype, chunks=(1, *shape[1:]), fletcher32=True)
        _describe(field, {**ensemble["field"].attrs, "dims": ["sample", *space]})
        start = 0
        for values in field_blocks(ensemble):
            field[start : start + len(values)] = values
            start += len(values)
        for name, column in columns.items():
            file[name] = column
            described = ensemble[name].attrs if name in ensemble.variables else {}
            _describe(file[name], {**described, "dims": ["sample"]})
        for key, variable in ensemble.variables.items():
            if key not in ("field", *columns) and (not variable.dims or not _on_samples(variable, ensemble)):
                text = variable.dtype.kind in "OUS"
                values = variable.values.astype(str).astype(object) if text else variable.values
                file.create_dataset(str(key), data=values, dtype=h5py.string_dtype() if text else None)
                _describe(file[str(key)], {**variable.attrs, "dims": [str(dim) for dim in variable.dims]})


def _on_samples(variable: Any, ensemble: xr.Dataset) -> bool:
    return set(map(str, variable.dims)) <= set(sample_dims(ensemble))


def _describe(target: Any, attrs: Mapping[Any, Any]) -> None:
    for name, value in attrs.items():
        listed = isinstance(value, list | tuple | np.ndarray)
        texts = listed and any(isinstance(part, str) for part in np.asarray(value, dtype=object).reshape(-1))
        target.attrs[str(name)] = [str(part) for part in value] if texts else value
