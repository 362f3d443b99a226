"""Arrays in the containers that people have: .npy, .npz, .pt, HDF5. Nothing that could run code is ever loaded."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import numpy as np

from physgen.ensemble.scratch import scratch_array
from physgen.errors import InputError

SIGNATURES = {
    b"\x93NUMPY": "npy",
    b"\x89HDF\r\n\x1a\n": "hdf5",
    b"SIMPLE  =": "fits",
    b"PK\x03\x04": "zip",
    b"CDF": "netcdf3",
    b"\x1f\x8b": "gzip",
    b"\x80\x02": "pickle",
}
READ_VALUES = 2**22  # of an HDF5 data set, read at once
# filters of HDF5 that need a plugin, by their registered numbers
FILTERS = {
    32000: "LZF",
    32001: "Blosc",
    32004: "LZ4",
    32008: "Bitshuffle",
    32013: "ZFP",
    32015: "Zstandard",
    32017: "SZ",
    32018: "FCIDECOMP",
    32026: "Blosc2",
}


@dataclass(frozen=True)
class Source:
    """One array of one file, with what the file says of it.

    Attributes:
        path: the file. array: numbers, (n, ...) or a single field; may be memory-mapped.
        part: name inside the file, "" for the whole file.
        facts: facts of the file: "units" of the values, "box_size", "redshift", each as text; see the readers.
        labels: parameters of its rows that the file says, of all or one number for each; ``simulation`` among them.
    """

    path: Path
    array: Any
    part: str = ""
    facts: dict[str, str] = field(default_factory=dict)
    labels: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.path}:{self.part}" if self.part else str(self.path)


def natural_key(text: object) -> list[Any]:
    """Sort key under which map_2 stands before map_10."""
    return [(0, int(word), "") if word.isdigit() else (1, 0, word) for word in re.split(r"(\d+)", str(text)) if word]


def kind_of_file(path: Path) -> str:
    """npy, npz, pt, hdf5, fits, ... by the first bytes, "" where they say nothing."""
    try:
        with open(path, "rb") as file:
            head = file.read(16)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): check the path") from error
    found = next((kind for magic, kind in SIGNATURES.items() if head.startswith(magic)), "")
    if found == "zip":
        return "pt" if path.suffix in (".pt", ".pth", ".ckpt") else "npz"
    return "pt" if found == "pickle" and path.suffix in (".pt", ".pth") else found


def read_arrays(path: Path, data: list[str]) -> list[Source]:
    """The arrays called ``data`` in a .npy, .npz or .pt file; without names its only one."""
    kind = kind_of_file(path)
    if kind == "npz":
        return _members(path, _read_npz(path), data)
    if kind == "pt":
        return _members(path, _read_torch(path), data)
    if kind == "hdf5":
        raise InputError(f"{path} is an HDF5 file, not .npy: use `physgen import hdf5 {path} data=NAME`")
    if kind == "fits":
        raise InputError(f"{path} is a FITS file, not .npy: use `physgen import fits {path}`")
    return [Source(path, read_npy(path))]


def read_npy(path: Path) -> np.ndarray:
    """A numeric .npy array, memory-mapped. Objects are refused: they would run code on loading."""
    if kind_of_file(path) in ("hdf5", "fits"):
        read_arrays(path, [])
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        reason = " ".join(str(error).split())
        if "object" in reason.lower() or "pickle" in reason.lower():
            raise InputError(
                f"{path} holds Python objects (pickle), which physgen never loads: "
                "save a plain numeric array with numpy.save"
            ) from error
        raise InputError(
            f"{path} is not a whole .npy file ({reason}): it is truncated or damaged, copy it again"
        ) from error
    return check_numbers(array, path)


def check_numbers(array: Any, source: object) -> Any:
    """The array, if it holds real numbers."""
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu":
        found = getattr(array, "dtype", type(array).__name__)
        raise InputError(f"{source} holds {found}; physgen reads real numbers: save one numeric array per .npy file")
    return array


def _members(path: Path, members: dict[str, np.ndarray], data: list[str]) -> list[Source]:
    if not data:
        fields = [name for name, array in members.items() if np.ndim(array) >= 2]
        if len(fields) != 1:
            listed = ", ".join(f"{name} {np.shape(array)}" for name, array in members.items()) or "nothing"
            raise InputError(f"{path} holds {listed}: say which one, data=NAME (several, data=A,B, become components)")
        data = fields
    missing = [name for name in data if name not in members]
    if missing:
        raise InputError(f"{path} has no array {missing[0]!r}: it holds {', '.join(members) or 'nothing'}")
    return [Source(path, check_numbers(members[name], path), name) for name in data]


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except Exception as error:  # zipfile raises its own
        reason = " ".join(str(error).split())
        raise InputError(
            f"{path} cannot be read as .npz ({reason}): save plain numeric arrays, or copy it again"
        ) from error


def _read_torch(path: Path) -> dict[str, np.ndarray]:
    import torch

    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=is_zipfile(path) or None)
    except Exception as error:
        reason = str(error).split("\n")[0][:160]
        raise InputError(
            f"{path} is not a file of plain tensors ({reason}): physgen does not load Python objects; save one with "
            "torch.save(tensor, path) or a dict of tensors"
        ) from error
    members = loaded if isinstance(loaded, dict) else {"": loaded}
    tensors = {str(name): value for name, value in members.items() if isinstance(value, torch.Tensor)}
    if not tensors:
        raise InputError(f"{path} holds {type(loaded).__name__} without a tensor: save the tensor of fields itself")
    return {
        n: (t.float() if t.dtype.is_floating_point and t.dtype.itemsize < 4 else t).numpy() for n, t in tensors.items()
    }


# --- HDF5 -----------------------------------------------------------------------------------------


def read_hdf5(path: Path, data: list[str]) -> list[Source]:
    """The data sets called ``data`` (``maps/Mcdm``); without names the only one of at least two axes.

    Facts: attributes units, unit or BUNIT of the data set; box_size, BoxSize or boxsize with an attribute of its unit;
    redshift or Redshift; of the data set, its group, the root or ``Header``.
    """
    with open_hdf5(path) as file:
        found = _datasets(file)
        if not data:
            data = [name for name, shape in found.items() if len(shape) >= 2]
            if len(data) != 1:
                listed = ", ".join(f"{name} {shape}" for name, shape in found.items()) or "no data set"
                raise InputError(f"{path} holds {listed}: say which one, data=NAME (data=A,B become components)")
        missing = [name for name in data if name.strip("/") not in found]
        if missing:
            raise InputError(f"{path} has no data set {missing[0]!r}: it holds {', '.join(found) or 'none'}")
        return [
            Source(path, check_numbers(read_dataset(file[name], path), path), name.strip("/"), _facts(file, file[name]))
            for name in data
        ]


def open_hdf5(path: Path) -> Any:
    """An open HDF5 file, with the filters of hdf5plugin registered where it is installed."""
    import contextlib

    import h5py

    kind = kind_of_file(path)
    if kind in ("npy", "npz", "pt", "fits"):
        format = "fits" if kind == "fits" else "npy"
        raise InputError(f"{path} is a .{kind} file, not HDF5: use `physgen import {format} {path}`")
    with contextlib.suppress(ImportError):
        import hdf5plugin  # noqa: F401  registers its filters on import
    try:
        return h5py.File(path, "r")
    except OSError as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"{path} cannot be read as HDF5 ({reason}): it is truncated or damaged, copy it again"
        ) from error


def read_dataset(dataset: Any, path: Path) -> np.ndarray:
    """All values of a data set, some rows at a time; names the plugin where its compression needs one."""
    check_filters(dataset, path)
    if not dataset.ndim:
        return read_rows(dataset, path, ...)
    values = scratch_array(dataset.shape, dataset.dtype)
    rows = max(1, READ_VALUES * len(dataset) // max(1, dataset.size))
    for start in range(0, len(dataset), rows):
        values[start : start + rows] = read_rows(dataset, path, slice(start, start + rows))
    return values


def check_filters(dataset: Any, path: Path) -> None:
    """Raise InputError where a data set is compressed by a filter that is not there, with the plugin that has it."""
    import h5py

    plist = dataset.id.get_create_plist()
    for i in range(plist.get_nfilters()):
        code, name = plist.get_filter(i)[0], plist.get_filter(i)[3]
        if not h5py.h5z.filter_avail(code):
            known = FILTERS.get(code) or (name.decode(errors="replace") if name else "unknown")
            raise InputError(
                f"{path} is compressed with {known} (HDF5 filter {code}), whose plugin is not installed: "
                "pip install hdf5plugin, then import again"
            )


def read_rows(dataset: Any, path: Path, rows: Any) -> np.ndarray:
    """Some rows of a data set. Raises InputError where they cannot be read."""
    try:
        return dataset[rows]
    except OSError as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"{path}: the data set {dataset.name} cannot be read ({reason}): it is truncated or damaged, copy it again"
        ) from error


def _datasets(file: Any) -> dict[str, tuple[int, ...]]:
    import h5py

    found: dict[str, tuple[int, ...]] = {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.dtype.kind in "fiu":
            found[name] = item.shape

    file.visititems(visit)
    return found


def _facts(file: Any, dataset: Any) -> dict[str, str]:
    places = [dataset.attrs, dataset.parent.attrs, file.attrs] + ([file["Header"].attrs] if "Header" in file else [])

    def look(*names: str, only: int | None = None) -> str | None:
        for attrs in places[:only]:
            for name in names:
                if name in attrs:
                    value = attrs[name]
                    value = value.decode() if isinstance(value, bytes) else value
                    return " ".join(str(part) for part in np.atleast_1d(value))
        return None

    facts = {
        "units": look("units", "unit", "Units", "BUNIT", only=1),
        "box_size": look("box_size", "BoxSize", "boxsize", "Boxsize", "BOXSIZE"),
        "box_units": look("box_size_units", "box_units", "BoxSizeUnits", "boxsize_units"),
        "redshift": look("redshift", "Redshift", "REDSHIFT"),
    }
    return {name: value for name, value in facts.items() if value is not None}
