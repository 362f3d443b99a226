"""Arrays that may be larger than the memory, for as long as a program works on them."""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from physgen.errors import InputError
from physgen.storage.disk import check_room

SCRATCH = "PHYSGEN_SCRATCH"  # environment variable: a folder on a disk of this machine, with room for the data
IN_MEMORY_BYTES = 2**26


class _Pages(mmap.mmap):
    """The pages of a scratch array, so that it can be told from what others map."""


def scratch_array(shape: Sequence[int], dtype: DTypeLike) -> np.ndarray:
    """A new array of zeros: in memory up to 64 MiB, beyond that in a file without a name.

    The file goes when the array goes, and with the process at the latest. Its pages are written to the disk and given
    back when memory is short. It lies in the folder that ``PHYSGEN_SCRATCH`` names, else ``TMPDIR``, else
    ``/var/tmp`` (``/tmp`` is memory on many machines).

    Raises:
        InputError: that folder has no room for it.
    """
    size = int(np.prod([int(n) for n in shape])) * np.dtype(dtype).itemsize
    if size <= IN_MEMORY_BYTES:
        return np.zeros(shape, dtype)
    folder = _folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        check_room(folder, size)
        with tempfile.TemporaryFile(dir=folder) as file:
            os.ftruncate(file.fileno(), size)
            pages = _Pages(file.fileno(), size)
    except OSError as error:
        raise InputError(
            f"{folder} has no room for {size / 1e9:.3g} GB of data in work ({error.strerror}): free some space, or "
            f"name another folder in the environment variable {SCRATCH}"
        ) from None
    return np.frombuffer(pages, dtype).reshape(tuple(shape))


def give_back_pages(values: np.ndarray) -> None:
    """Have the system take back the pages of ``values``, of a scratch array or of a file that is mapped to be read.

    They are read anew from the file, or from what the system holds of it, when they are used again; nothing is lost.
    Without it they count as memory of this process until others need it. What is not in such a file stays.
    """
    base: Any = values
    read_only = False
    while isinstance(base, np.ndarray):
        read_only = read_only or (isinstance(base, np.memmap) and base.mode == "r")
        base = base.base
    base = base.obj if isinstance(base, memoryview) else base
    if not isinstance(base, _Pages) and not (read_only and isinstance(base, mmap.mmap)):
        return
    if not hasattr(base, "madvise") or not values.size or not values.flags.c_contiguous:
        return
    start = values.ctypes.data - np.frombuffer(base, np.uint8).ctypes.data
    first = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE  # whole pages: others may hold a neighbour of the values
    last = (start + values.nbytes) // mmap.PAGESIZE * mmap.PAGESIZE
    if last > first:
        base.madvise(mmap.MADV_DONTNEED, first, last - first)


def _folder() -> Path:
    named = os.environ.get(SCRATCH) or os.environ.get("TMPDIR")
    if named:
        return Path(named)
    return Path("/var/tmp") if os.access("/var/tmp", os.W_OK) else Path(tempfile.gettempdir())
