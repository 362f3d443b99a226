"""Writes that survive a crash, and locks that end with their process."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write_atomically(path: Path, content: str | bytes) -> None:
    """Replace a file such that after a crash it holds the old or the new content, whole."""
    fresh = path.with_name(path.name + ".tmp")
    fresh.write_bytes(content.encode() if isinstance(content, str) else content)
    sync_to_disk(fresh)
    os.replace(fresh, path)
    sync_to_disk(path.parent)


def take_lock(path: Path, wait: bool) -> int | None:
    """Lock a file for this process: its descriptor (close it to unlock), or None if another process holds it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EAGAIN):
            os.close(descriptor)
            return None
        if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS):  # a file system without locks
            os.close(descriptor)
            raise
    return descriptor


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Wait for the lock of a file and hold it for the block."""
    descriptor = take_lock(path, wait=True)
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


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
