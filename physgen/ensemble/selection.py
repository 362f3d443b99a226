"""A part of an ensemble as a file that holds no values, but which samples of another file they are.

A *selection* is a small NetCDF-4 file: the positions along one sample dim (``selected``), where the ensemble lies and
its sha256, and the root attributes of the part. Every reader of ensembles opens it as if the values stood in it. A
program that knows nothing of this format finds no ``field`` in it; ``save_ensemble(open_ensemble(PATH), COPY)`` makes a
file of its own.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from physgen.errors import InputError
from physgen.provenance import file_digest
from physgen.storage.disk import whole_file

if TYPE_CHECKING:
    from collections.abc import Callable

    import xarray as xr

SELECTION = "physgen-selection/1"
SELECTED = "selected"
PREFIX = "selection_"


def save_selection(part: xr.Dataset, source: str | Path, sha256: str, dim: str, index: np.ndarray, path: Path) -> Path:
    """Write which samples of the file ``source`` make up ``part``.

    Args:
        part: its root attributes are kept. source: the file of the whole. sha256: its digest.
        dim: the sample dim along which the part was chosen. index: positions in the whole, ascending.
        path: of the new file; a ``source`` below its folder is found again when both are moved together.
    """
    import xarray as xr

    said = _place(Path(source), path, sha256)
    positions = xr.Variable(dim, np.asarray(index, dtype=np.int64), {"long_name": "position in the file", "units": "1"})
    selection = xr.Dataset({SELECTED: positions}, attrs=part.attrs | said | {"physgen_schema": SELECTION})
    with whole_file(path) as fresh:
        selection.to_netcdf(fresh, engine="h5netcdf")
    return path


def _place(source: Path, path: Path, sha256: str) -> dict[str, Any]:
    where = source.absolute()
    state = where.stat()
    about = {
        "file": str(where),
        "relative": os.path.relpath(where, path.absolute().parent),
        "sha256": sha256,
        "bytes": state.st_size,
        "mtime_ns": str(state.st_mtime_ns),
    }
    return {f"{PREFIX}{name}": value for name, value in about.items()}


def move_selection(path: Path, source: Path) -> None:
    """Have the selection at ``path`` point to ``source``, where the file of the whole is now; others stay as they are.

    Raises InputError where ``source`` is another file.
    """
    from physgen.storage.netcdf import open_dataset

    with open_dataset(path) as opened:
        if not is_selection(opened) or opened.attrs[f"{PREFIX}file"] == str(source.absolute()):
            return
        selection = opened.load()
    if not is_the_file(source, selection.attrs):
        raise InputError(
            f"{source} is not the file that {path} was made of ({selection.attrs[f'{PREFIX}file']}): "
            f"give the one of sha256 {selection.attrs[f'{PREFIX}sha256'][:16]}"
        )
    moved = selection.assign_attrs(_place(source, path, selection.attrs[f"{PREFIX}sha256"]))
    with whole_file(path) as fresh:
        moved.to_netcdf(fresh, engine="h5netcdf")


def is_selection(opened: xr.Dataset) -> bool:
    """Whether an open file is a selection."""
    return opened.attrs.get("physgen_schema") == SELECTION


def resolve_selection(opened: xr.Dataset, path: Path, open_whole: Callable[[Path], xr.Dataset]) -> xr.Dataset:
    """The selected samples of the whole, lazily.

    Args:
        opened: the selection at ``path``. open_whole: opens an ensemble file lazily.

    Raises:
        InputError: the file of the whole is not there, or is another one by now.
    """
    from physgen.ensemble.chosen import in_runs

    chosen, index = opened[SELECTED], opened[SELECTED].values
    whole = open_whole(find_whole(opened.attrs, path))
    kept = {name: value for name, value in opened.attrs.items() if not name.startswith(PREFIX)}
    kept["physgen_schema"] = whole.attrs["physgen_schema"]
    part = whole.isel({chosen.dims[0]: index})
    part["field"] = in_runs(whole["field"].variable, str(chosen.dims[0]), index)
    part.attrs = kept
    part.set_close(whole.close)
    return part


def find_whole(attrs: dict[Any, Any], path: Path) -> Path:
    """The file that the selection at ``path`` is of. Raises InputError where it is gone or was changed."""
    named, beside = Path(attrs[f"{PREFIX}file"]), path.absolute().parent / attrs[f"{PREFIX}relative"]
    found = next((place for place in (named, beside) if place.is_file()), None)
    if found is None:
        raise InputError(
            f"{path} says which samples of {named} it holds, and that file is not there: put it back, or link it there "
            f"(ln -s NEW {named}); a run is told with physgen train CONFIG --resume dataset=NEW"
        )
    if not is_the_file(found, attrs):
        raise InputError(
            f"{found} is not the file any more that {path} was made of (its sha256 is another): put back the one of "
            f"sha256 {attrs[f'{PREFIX}sha256'][:16]}, or start anew"
        )
    return found


def is_the_file(place: Path, attrs: dict[Any, Any]) -> bool:
    """Whether a file is the one that a selection was made of: untouched since, else of the same sha256."""
    state = place.stat()
    if state.st_size != int(attrs[f"{PREFIX}bytes"]):
        return False
    untouched = str(state.st_mtime_ns) == attrs[f"{PREFIX}mtime_ns"]
    return untouched or _digest_of(str(place), state.st_mtime_ns) == attrs[f"{PREFIX}sha256"]


@functools.lru_cache(maxsize=16)
def _digest_of(path: str, mtime_ns: int) -> str:
    """sha256 of a file as it was at a time: of one that was copied it is asked for at every opening."""
    return file_digest(path)
