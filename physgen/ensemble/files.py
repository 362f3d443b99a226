"""Ensemble files: NetCDF-4/HDF5, one sample per chunk with a Fletcher-32 checksum on each.

A plain HDF5 file with a flipped bit loads without complaint; these do not.
"""

from __future__ import annotations

import datetime
import errno
import os
import sys
from collections.abc import Hashable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from physgen import __version__
from physgen.ensemble.blocks import first_line, read_values, sample_regions
from physgen.ensemble.check import check_conditions, check_ensemble, is_template, refuse_template
from physgen.ensemble.layout import SPACE, sample_count
from physgen.ensemble.scratch import give_back_pages, scratch_array
from physgen.ensemble.selection import is_selection, resolve_selection
from physgen.errors import InputError
from physgen.provenance import git_commit
from physgen.storage.disk import reserve, sync_to_disk

if TYPE_CHECKING:
    import xarray as xr

SIGNATURE = b"\x89HDF\r\n\x1a\n"
SCHEMA = "physgen-ensemble/1"


def save_ensemble(ensemble: xr.Dataset, path: str | Path) -> Path:
    """Write an ensemble, or a template, so that the name holds either the whole new file or what stood there before.

    It is written under a temporary name in the same folder, synced to the disk, then renamed. Chunks
    hold one sample each; one that was opened lazily is read as it is written. A full disk
    or a missing folder raises InputError and leaves nothing behind.
    """
    path = Path(path)
    ensemble = _with_provenance(check_conditions(ensemble))
    samples = 0 if is_template(ensemble) else sample_count(ensemble)
    if not path.parent.is_dir():
        raise InputError(f"{path.parent} is not a folder: create it first, or give another -o")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        # HDF5's own tables and attributes come on top of the values
        reserve(temporary, ensemble.nbytes + 256 * samples + 2**17)
        _write(ensemble, temporary)
        sync_to_disk(temporary)
        os.replace(temporary, path)
        sync_to_disk(path.parent)
    except OSError as error:
        if error.errno == errno.ENOSPC or "No space left" in str(error) or "write failed" in str(error):
            raise InputError(
                f"{path} was not written (No space left on device): the disk of {path.parent} is full, this ensemble "
                f"needs {ensemble.nbytes / 2**20:.3g} MiB: free some space or choose another place. "
                "Nothing that existed was changed"
            ) from error
        raise InputError(f"cannot write {path}: {error.strerror or error}. Nothing that existed was changed") from error
    finally:
        temporary.unlink(missing_ok=True)
    return path


def _write(ensemble: xr.Dataset, path: Path) -> None:
    """The file of an ensemble: the field block by block, so that one larger than the memory can be written."""
    from physgen.storage.netcdf import open_netcdf, write_dataset

    encoding, rest = _encoding(ensemble), ensemble.drop_vars("field", errors="ignore")
    with open_netcdf(path, "w") as file:
        write_dataset(rest, file, {name: how for name, how in encoding.items() if name != "field"})
        if "field" not in ensemble:
            return
        field, layout = ensemble["field"], encoding["field"]
        for dim in field.dims:
            if dim not in file.dimensions:
                file.dimensions[dim] = field.sizes[dim]
        written = file.create_variable(
            "field", field.dims, field.dtype.newbyteorder("="), chunks=layout["chunksizes"], fletcher32=True
        )
        written.attrs.update(field.attrs)
        for region in sample_regions(ensemble):
            place = tuple(region.get(str(dim), slice(None)) for dim in field.dims)
            values = read_values(ensemble[["field"]].isel(region))["field"].values
            written[place] = values
            give_back_pages(values)


def open_ensemble(path: str | Path) -> xr.Dataset:
    """Open an ensemble lazily: values are read, and their checksums verified, when they are used.

    The file may be a selection of another (:mod:`physgen.ensemble.selection`). Close it, or use it in a ``with``.
    Raises InputError where the file is missing, damaged or not an ensemble.
    """
    ensemble = open_conditions(path)
    try:
        refuse_template(ensemble, str(path))
    except InputError:
        ensemble.close()
        raise
    return ensemble


def is_foreign(path: str | Path) -> bool:
    """Whether a file exists and is no HDF5, so that it cannot be an ensemble of this package."""
    try:
        with open(path, "rb") as file:
            return file.read(len(SIGNATURE)) != SIGNATURE
    except OSError:
        return False


def open_conditions(path: str | Path) -> xr.Dataset:
    """Open an ensemble or a template (``field`` is absent) lazily; close it, or use it in a ``with``."""
    from physgen.storage.netcdf import open_dataset

    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} does not exist or is not a file: check the path, or make one with `physgen simulate`")
    try:
        ensemble = open_dataset(path)
    except Exception as error:
        raise InputError(
            f"{path} is not a readable HDF5 ensemble ({first_line(error)}): it is damaged, truncated or of another "
            "format. Copy or write it again, or bring foreign data in with `physgen import`"
        ) from error
    if is_selection(ensemble):
        with ensemble as selection:
            return resolve_selection(selection, path, open_ensemble)
    if "field" not in ensemble and not is_template(ensemble):
        ensemble.close()
        raise InputError(
            f"{path} has no variable 'field', so it is not an ensemble. Bring foreign data in with `physgen import`"
        )
    return ensemble


def open_verified(path: str | Path) -> xr.Dataset:
    """:func:`open_ensemble`, once every checksum and every value was verified, a block at a time.

    Raises InputError as :func:`load_ensemble` does.
    """
    ensemble = open_ensemble(path)
    try:
        return check_ensemble(ensemble)
    except InputError as error:
        ensemble.close()
        raise InputError(str(error) if str(path) in str(error) else f"{path}: {error}") from None


def load_ensemble(path: str | Path) -> xr.Dataset:
    """Read a whole ensemble into memory, verify every checksum and every value, and close the file.

    Raises InputError where the file is missing, damaged, not an ensemble, or holds values that are not finite.
    """
    return _read(open_ensemble(path), path)


def map_ensemble(path: str | Path) -> xr.Dataset:
    """:func:`load_ensemble`, but a large field is copied into a file without a name that is mapped into memory.

    Its pages go when memory is short (:func:`physgen.ensemble.scratch_array`).
    """
    with open_ensemble(path) as lazy:
        field = lazy["field"]
        values = scratch_array(field.shape, field.dtype.newbyteorder("="))
        for region in sample_regions(lazy):
            place = tuple(region.get(str(dim), slice(None)) for dim in field.dims)
            values[place] = read_values(lazy[["field"]].isel(region))["field"].values
            give_back_pages(values[place])
        ensemble = read_values(lazy.assign(field=(field.dims, values, field.attrs)))
    try:
        return check_ensemble(ensemble)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def load_conditions(path: str | Path) -> xr.Dataset:
    """Read an ensemble or a template, for its conditions; checked like an ensemble.

    Raises InputError as :func:`load_ensemble` does, save that a template passes.
    """
    return _read(open_conditions(path), path)


def _read(opened: xr.Dataset, path: str | Path) -> xr.Dataset:
    with opened as lazy:
        ensemble = read_values(lazy)
    try:
        return check_conditions(ensemble)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _encoding(ensemble: xr.Dataset) -> dict[Hashable, dict[str, Any]]:
    encoding: dict[Hashable, dict[str, Any]] = {}
    for name, variable in ensemble.variables.items():
        if not variable.ndim or variable.dtype.kind not in "fiu":
            continue
        # one chunk per sample: a reader of one configuration reads (and verifies) only that one
        on_lattice = name == "field" or bool(set(variable.dims) & set(SPACE) and variable.ndim > 1)
        chunk = tuple(
            size if not on_lattice or dim in SPACE or dim == "component" else 1
            for dim, size in zip(variable.dims, variable.shape, strict=True)
        )
        encoding[name] = {"chunksizes": chunk, "fletcher32": True, "contiguous": False}
    return encoding


def _with_provenance(ensemble: xr.Dataset) -> xr.Dataset:
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    line = f"{now} {' '.join([Path(sys.argv[0]).name, *sys.argv[1:]])}".strip()
    history = str(ensemble.attrs.get("history", ""))
    defaults = {"domain": "", "seed": -1, "config_json": "{}"}
    attrs = {**defaults, **ensemble.attrs}
    attrs |= {
        "physgen_schema": SCHEMA,
        "Conventions": "CF-1.11",
        "physgen_version": __version__,
        "git_commit": git_commit(),
        "history": f"{history}\n{line}".strip(),
    }
    kept = ensemble.assign_attrs(attrs)
    for name, variable in kept.variables.items():
        variable.attrs.setdefault("units", "1")
        variable.attrs.setdefault("long_name", str(name).replace("_", " "))
    return kept
