r"""What the network is trained on: a part of the data, encoded block by block; large ones lie in files that are mapped.

Up to 64 MiB of encoded values stay in the memory of each process. More are written once, to ``data/encoded`` in the
folder of the run (or in the folder that ``PHYSGEN_SCRATCH`` names, by one process of each node: for a run folder on a
slow network disk), and every process maps the files: the pages are shared, and given back when memory is short. The
numbers are the same. The folder can be deleted: it is made anew where it is missing or not of these data.

Shapes: B configurations, C channels, \*grid lattice.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from physgen import __version__
from physgen.diffusion.learning.prior_spectrum import PowerMeter, Spectrum
from physgen.ensemble import sample_count, sample_dims, sample_regions
from physgen.ensemble.blocks import read_values
from physgen.ensemble.scratch import SCRATCH
from physgen.errors import InputError
from physgen.provenance import git_commit
from physgen.storage.disk import check_room, sync_to_disk, whole_file

if TYPE_CHECKING:
    import xarray as xr

    from physgen.domains.contract import Domain
    from physgen.runs.folder import Run

IN_MEMORY_BYTES = 2**26  # encoded values of up to 64 MiB are held in memory
ENCODED, ABOUT, SPECTRUM, X = "encoded", "about.json", "spectrum.npy", "x"
DIGEST_BYTES = 2**24
MAP_NORESERVE = 0x4000  # of Linux; older versions of Python do not name it


@dataclass(frozen=True)
class Encoded:
    r"""x (B, C, \*grid) and the conditions (B, ...) of encoded configurations, in memory or mapped."""

    x: torch.Tensor
    condition: dict[str, torch.Tensor]


def encode_part(
    domain: Domain,
    part: xr.Dataset,
    constants: Mapping[str, Any],
    rows: np.ndarray | None = None,
    store: Path | None = None,
    key: Mapping[str, Any] | None = None,
    meter: PowerMeter | None = None,
) -> Encoded:
    """Encode an ensemble block by block; it may have been opened lazily.

    Args:
        rows: numbers of the flattened samples that are wanted, ascending; None for all.
        store: new folder for what is more than IN_MEMORY_BYTES; None keeps everything in memory.
        key: what the store is of, for :func:`open_store`.
        meter: measures each block while it is in memory.

    Raises:
        InputError: the data are damaged, or the disk is full.
    """
    wanted = np.arange(sample_count(part)) if rows is None else np.asarray(rows)
    part = domain.numbered(part)
    filled: _Filled | None = None
    try:
        start = 0
        for region in sample_regions(part):
            count = int(np.prod([_length(region, part, dim) for dim in sample_dims(part)]))
            here = wanted[np.searchsorted(wanted, start) : np.searchsorted(wanted, start + count)] - start
            start += count
            if not len(here):
                continue
            x, condition = domain.encode(read_values(part.isel(region)), constants)
            arrays = {X: x} | {f"condition.{name}": value for name, value in condition.items()}
            if len(here) < count:
                chosen = torch.from_numpy(here)
                arrays = {name: value[chosen] for name, value in arrays.items()}
            filled = filled or _Filled(len(wanted), arrays, store)
            filled.add(arrays)
            if meter is not None:
                meter.add(arrays[X])
        if filled is None:
            raise InputError("no configuration was chosen to be encoded: give at least one")
        return filled.finish(key or {})
    finally:
        if filled is not None:
            filled.withdraw()


def _length(region: Mapping[str, slice], part: xr.Dataset, dim: str) -> int:
    return region[dim].stop - region[dim].start if dim in region else part.sizes[dim]


class _Filled:
    """Arrays that are filled row by row, in memory or in new files."""

    def __init__(self, count: int, first: Mapping[str, torch.Tensor], store: Path | None) -> None:
        shapes = {name: (count, *value.shape[1:]) for name, value in first.items()}
        size = sum(int(np.prod(shapes[name])) * value.element_size() for name, value in first.items())
        self._rows, self._store, self._fresh = 0, store, None
        if store is None or size <= IN_MEMORY_BYTES:
            self._arrays = {name: torch.empty(shapes[name], dtype=value.dtype) for name, value in first.items()}
            return
        self._fresh = store.with_name(f".{store.name}.{os.getpid()}.tmp")
        shutil.rmtree(self._fresh, ignore_errors=True)
        try:
            self._fresh.mkdir(parents=True)
            check_room(self._fresh, size)
        except OSError as error:
            shutil.rmtree(self._fresh, ignore_errors=True)
            raise InputError(
                f"the encoded data need {size / 1e9:.3g} GB in {store.parent} ({error.strerror}): free some space, or "
                f"name a folder with room in the environment variable {SCRATCH}"
            ) from None
        self._digests = {name: hashlib.sha256() for name in shapes}
        self._files = {name: open(self._fresh / f"{name}.npy", "wb") for name in shapes}  # noqa: SIM115  closed below
        for name, shape in shapes.items():
            described = {"descr": _dtype(first[name]).str, "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_2_0(self._files[name], described)

    def add(self, arrays: Mapping[str, torch.Tensor]) -> None:
        """Fill in the next rows."""
        count = len(arrays[X])
        for name, value in arrays.items():
            if self._fresh is None:
                self._arrays[name][self._rows : self._rows + count] = value
                continue
            content = value.contiguous().numpy().reshape(-1).view(np.uint8).data
            self._digests[name].update(content)
            self._files[name].write(content)
        self._rows += count

    def finish(self, key: Mapping[str, Any]) -> Encoded:
        """The arrays, mapped if they are in files: these are whole now, and under their name."""
        if self._fresh is None or self._store is None:
            return _encoded(self._arrays)
        for file in self._files.values():
            file.close()
        about = {"key": dict(key), "sha256": {name: found.hexdigest() for name, found in self._digests.items()}}
        (self._fresh / ABOUT).write_text(json.dumps(about, indent=1))
        for path in (*self._fresh.iterdir(), self._fresh):
            sync_to_disk(path)
        shutil.rmtree(self._store, ignore_errors=True)
        os.replace(self._fresh, self._store)
        sync_to_disk(self._store.parent)
        found = open_store(self._store, key, verify=False)
        if found is None:
            raise InputError(f"{self._store} was removed while it was written: start again")
        return found

    def withdraw(self) -> None:
        """Take back what is half written."""
        if self._fresh is not None:
            for file in self._files.values():
                file.close()
            shutil.rmtree(self._fresh, ignore_errors=True)


def _dtype(value: torch.Tensor) -> np.dtype:
    return value[:0].numpy().dtype


def _encoded(arrays: Mapping[str, torch.Tensor]) -> Encoded:
    prefix = "condition."
    condition = {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}
    return Encoded(arrays[X], condition)


def open_store(store: Path, key: Mapping[str, Any], verify: bool = True) -> Encoded | None:
    """Map the arrays of a store; None where it is missing, is of other data, or (``verify``) is damaged."""
    try:
        about = json.loads((store / ABOUT).read_text())
        if about["key"] != json.loads(json.dumps(dict(key))):
            return None
        if verify and any(_digest(store / f"{name}.npy") != sha256 for name, sha256 in about["sha256"].items()):
            return None
        arrays = {name: _map(store / f"{name}.npy") for name in about["sha256"]}
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return _encoded({name: torch.from_numpy(array) for name, array in arrays.items()})


def _map(path: Path) -> np.ndarray:
    """The array of an .npy file, mapped copy on write: torch wants what can be written to, and the file never is.

    Without a reserve of memory for such copies, which Linux refuses for a file larger than the memory.
    """
    header = np.load(path, mmap_mode="r")
    if not header.size:
        return np.array(header)
    flags = mmap.MAP_PRIVATE | (MAP_NORESERVE if sys.platform == "linux" else 0)
    with open(path, "rb") as file:
        pages = mmap.mmap(file.fileno(), 0, flags=flags, prot=mmap.PROT_READ | mmap.PROT_WRITE)
    return np.frombuffer(pages, header.dtype, offset=header.offset).reshape(header.shape)


def _digest(path: Path) -> str:
    """sha256 of the values in an .npy file. They are read, not mapped: pages of a map count as the process's own."""
    found, offset = hashlib.sha256(), np.load(path, mmap_mode="r").offset
    with open(path, "rb", buffering=0) as file:
        file.seek(offset)
        while content := file.read(DIGEST_BYTES):
            found.update(content)
    return found.hexdigest()


def encoded_part(
    run: Run,
    name: str,
    constants: Mapping[str, Any],
    rows: np.ndarray | None = None,
    write: bool = True,
    meter: PowerMeter | None = None,
) -> Encoded:
    """A part of the data of a run, encoded: from its store where that is whole and of these data, else made.

    Args:
        name: of the part. rows: as in :func:`encode_part`.
        write: whether this process verifies and writes the store. Others call it once that one has.
        meter: as in :func:`encode_part`; left empty where the store is found.
    """
    path, store = run.path_of_part(name), store_folder(run.folder) / name
    key = _key(path, constants, rows)
    found = open_store(store, key, verify=write)
    if found is None:
        with run.open_part(name) as part:
            found = encode_part(run.domain, part, constants, rows, store if write else None, key, meter)
    return found


def store_folder(folder: Path) -> Path:
    """Where the encoded data of the run in ``folder`` lie; see this module."""
    place = os.environ.get(SCRATCH)
    if not place:
        return folder / "data" / ENCODED
    return Path(place) / f"physgen-{hashlib.sha256(str(folder.absolute()).encode()).hexdigest()[:16]}"


def _key(path: Path, constants: Mapping[str, Any], rows: np.ndarray | None) -> dict[str, Any]:
    """What a store is of: the file of the part as it is now, the constants, the rows, and the code that encodes."""
    state = path.stat()
    return {
        "part": [path.name, state.st_size, state.st_mtime_ns],
        "constants": hashlib.sha256(json.dumps(constants, sort_keys=True).encode()).hexdigest(),
        "rows": None if rows is None else hashlib.sha256(np.asarray(rows, dtype=np.int64).tobytes()).hexdigest(),
        "physgen": [__version__, git_commit()],
    }


def keep_spectrum(folder: Path, spectrum: Spectrum) -> None:
    """Keep the spectrum of the training part beside it, where that has a store: it took a Fourier transform of all.

    That of vectors is measured again: it took next to nothing.
    """
    store = store_folder(folder) / "train"
    if store.is_dir() and spectrum.axes is None:
        with whole_file(store / SPECTRUM) as fresh, open(fresh, "wb") as file:
            np.save(file, spectrum.ln_power.numpy())


def kept_spectrum(folder: Path, grid: tuple[int, ...]) -> Spectrum | None:
    """What :func:`keep_spectrum` kept, or None."""
    path = store_folder(folder) / "train" / SPECTRUM
    return Spectrum(torch.from_numpy(np.load(path)), grid) if path.is_file() else None
