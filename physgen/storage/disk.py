"""Files that are whole or not there, room on the disk, and locks that end with their process."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TEMPORARY_PREFIX, TEMPORARY_SUFFIX = ".", ".tmp"


@contextmanager
def whole_file(path: str | Path, size: int = 0) -> Iterator[Path]:
    """Write a file whole or not at all.

    ::

        with whole_file(path) as fresh:
            write(fresh)

    ``fresh`` lies in the folder of ``path``. At the end of the block it is synced to the disk and takes the name, so
    that the name holds the old or the new content even after a crash; an exception leaves the old one and no rest.

    Args:
        path: its folder exists.
        size: bytes to ask for before the block, see :func:`reserve`; 0 asks for nothing.

    Raises:
        OSError: no room, or no right to write there.
    """
    path = Path(path)
    fresh = path.with_name(f"{TEMPORARY_PREFIX}{path.name}.{os.getpid()}{TEMPORARY_SUFFIX}")
    try:
        if size:
            reserve(fresh, size)
        yield fresh
        sync_to_disk(fresh)
        os.replace(fresh, path)
        sync_to_disk(path.parent)
    finally:
        fresh.unlink(missing_ok=True)


@contextmanager
def fresh_folder(path: str | Path, size: int = 0) -> Iterator[Path]:
    """An empty folder beside ``path``, whose files take their places there, ``path`` last, or none does.

    At the end of the block everything in it is synced to the disk, then moved. An exception leaves no rest, and what
    had taken its place before goes as well. ``path`` must be new; ``size`` bytes are asked for, see :func:`reserve`.

    Raises:
        OSError: no room, or no right to write there.
    """
    path = Path(path)
    folder = path.with_name(f"{TEMPORARY_PREFIX}{path.name}.{os.getpid()}{TEMPORARY_SUFFIX}")
    moved: list[Path] = []
    folder.mkdir()
    try:
        if size:
            reserve(folder / "room", size)
        yield folder
        for inside in folder.rglob("*"):
            sync_to_disk(inside)
        for inside in sorted(folder.iterdir(), key=lambda one: one.name == path.name):
            target = path.with_name(inside.name)
            os.rename(inside, target)
            moved.append(target)
        sync_to_disk(path.parent)
    except BaseException:
        for target in moved:
            shutil.rmtree(target, ignore_errors=True) if target.is_dir() else target.unlink(missing_ok=True)
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_atomically(path: str | Path, content: str | bytes) -> None:
    """Replace a small file in one step; text is UTF-8."""
    with whole_file(path) as fresh:
        fresh.write_bytes(content.encode() if isinstance(content, str) else content)


def leftovers(folder: Path, pattern: str) -> list[Path]:
    """What a process that was killed left half written of the files that match a pattern."""
    return sorted(folder.glob(f"{TEMPORARY_PREFIX}{pattern}.*{TEMPORARY_SUFFIX}"))


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


def check_room(folder: Path, size: int) -> None:
    """Raise OSError where the disk of a folder has fewer than ``size`` bytes free."""
    free = shutil.disk_usage(folder).free
    if free < size:
        words = f"{os.strerror(errno.ENOSPC)}: {size / 1e6:.1f} MB are needed, {free / 1e6:.1f} MB are free"
        raise OSError(errno.ENOSPC, words, str(folder))


def reserve(path: Path, size: int) -> None:
    """:func:`check_room`, and allocate ``size`` bytes under the name ``path`` and give them back: a quota shows too.

    HDF5 ends the whole process where a write fails half-way, so its files ask for their room before. Others fail with
    an exception; for them :func:`check_room` is enough, as some network file systems allocate by writing zeros.

    Raises:
        OSError: the disk does not have them.
    """
    check_room(path.parent, size)
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
