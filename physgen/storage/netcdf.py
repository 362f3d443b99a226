"""NetCDF-4 files through h5netcdf, whose objects are looked up once.

h5netcdf asks the file for the object of a variable each time that it wants anything of it, a hundred times for each one
that is read: half of what it costs to open a small file.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5netcdf
import h5py

if TYPE_CHECKING:
    import xarray as xr

# as xarray opens a file: strings as such, and a name of its own for each axis that has none
READING: dict[str, Any] = {"invalid_netcdf": None, "decode_vlen_strings": True, "phony_dims": "access"}


class _RememberingGroup(h5py.Group):
    """A group that tells its file when a name in it comes to mean something else."""

    _objects: dict[str, Any]

    def __delitem__(self, name: str) -> None:
        self._objects.clear()
        super().__delitem__(name)

    def move(self, source: str, dest: str) -> None:
        self._objects.clear()
        super().move(source, dest)


class _RememberingFile(h5py.File):
    """A file that keeps the objects that were asked for by their whole names."""

    _objects: dict[str, Any]

    def __getitem__(self, name: Any) -> Any:
        if not isinstance(name, str):
            return super().__getitem__(name)
        if name not in self._objects:
            found = super().__getitem__(name)
            if type(found) is h5py.Group:
                found.__class__ = _RememberingGroup
                found._objects = self._objects
            self._objects[name] = found
        return self._objects[name]

    def __delitem__(self, name: str) -> None:
        self._objects.clear()
        super().__delitem__(name)

    def move(self, source: str, dest: str) -> None:
        self._objects.clear()
        super().move(source, dest)

    def close(self) -> None:
        self._objects.clear()
        super().close()


def open_netcdf(path: str | Path, mode: str = "r", **options: Any) -> h5netcdf.File:
    """``h5netcdf.File``, faster.

    ``_h5file`` is h5netcdf's own: where a version has no such name, files are the same and take longer.
    """
    file = h5netcdf.File(str(path), mode, **options)
    below: Any = getattr(file, "_h5file", None)
    if type(below) is h5py.File:
        vars(below)["_objects"] = {}
        below.__class__ = _RememberingFile
    return file


def open_dataset(path: str | Path) -> xr.Dataset:
    """``xarray.open_dataset(path, engine="h5netcdf", chunks=None)``, faster: values are read when they are used."""
    import xarray as xr
    from xarray.backends import CachingFileManager, H5NetCDFStore

    store = H5NetCDFStore(CachingFileManager(open_netcdf, str(path), mode="r", kwargs=READING))
    try:
        found = xr.open_dataset(store, chunks=None)
    except BaseException:
        store.close()
        raise
    found.encoding["source"] = str(Path(path).absolute())
    return found


def load_groups(path: str | Path) -> dict[str, xr.Dataset]:
    """The datasets of all groups that hold variables, by their whole names, of a file that is opened once."""
    import xarray as xr
    from xarray.backends import H5NetCDFStore

    found = {}

    def walk(group: h5netcdf.Group) -> None:
        if group.variables:
            found[group.name.strip("/")] = xr.open_dataset(H5NetCDFStore(group)).load()
        for name in group.groups:
            walk(group.groups[name])

    with open_netcdf(path, "r", **READING) as file:
        walk(file)
    return found


def write_dataset(dataset: xr.Dataset, group: h5netcdf.Group, encoding: Mapping[Hashable, Any] | None = None) -> None:
    """What ``to_netcdf`` writes, into a group of a file that is open."""
    from xarray.backends import H5NetCDFStore

    dataset.dump_to_store(H5NetCDFStore(group), encoding=encoding)
