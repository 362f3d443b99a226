"""The disk: room that is asked for before it is needed, and data that are on it when a call returns."""

from __future__ import annotations

import errno
import os
from pathlib import Path


def reserve(path: Path, size: int) -> None:
    """Allocate ``size`` bytes under the name ``path`` and give them back; OSError if the disk does not have them.

    HDF5 ends the whole process where a write fails half-way, so that room is asked for before.
    """
    try:
        with open(path, "wb") as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):  # a file system that cannot tell
            raise OSError(error.errno, error.strerror, str(path.parent)) from None
    finally:
        path.unlink(missing_ok=True)


def sync_to_disk(path: Path) -> None:
    """fsync a file or a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
