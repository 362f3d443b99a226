"""The journal: one JSON object per line, append-only, the local truth about a run.

    {"step": 12, "time": ..., "metrics": {"train/loss": 0.25}}      {"event": "params", "time": ..., "params": {...}}
    {"event": "validation", "time": ..., "step": 12, "level": [...], "loss": [...], "ratio": [...], "error": [...]}

Numbers are written with all their bits; NaN and Infinity stand as in Python's json. A line is whole or, after a kill,
the torn last one, which readers ignore and the next writer removes.
"""

import errno
import json
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from physgen.errors import InputError
from physgen.storage.disk import sync_to_disk, take_lock, write_atomically
from physgen.tracking.shipped import rewind_shipped

JOURNAL, DISCARDED = "journal.jsonl", "journal.discarded.jsonl"


def _lines(data: bytes, start: int) -> Iterator[tuple[int, int, dict[str, Any] | None]]:
    """(start, end, entry) of each whole line from an offset on; the entry of a damaged line is None."""
    while (end := data.find(b"\n", start) + 1) > 0:
        try:
            entry = json.loads(data[start:end])
        except ValueError:
            entry = None
        yield start, end, entry if isinstance(entry, dict) else None
        start = end


def read_entries(path: Path, offset: int = 0) -> Iterator[tuple[int, dict[str, Any]]]:
    """(offset after the line, entry) of each whole line of one journal file from an offset on.

    A damaged line in between is reported on stderr and comes as an empty entry.
    """
    if not path.exists():
        return
    with open(path, "rb") as file:
        file.seek(offset)
        data = file.read()
    for start, end, entry in _lines(data, 0):
        if entry is None:
            print(f"physgen: WARNING: {path}: line at byte {offset + start} damaged, skipped", file=sys.stderr)
        yield offset + end, entry or {}


def read_journal(run_dir: Path) -> list[dict[str, Any]]:
    """All entries of a run's journal in order; metric lines have ``step`` and ``metrics``, the others ``event``."""
    return [entry for _, entry in read_entries(Path(run_dir) / JOURNAL) if entry]


def read_validation(run_dir: Path) -> dict[str, list[float]]:
    """The last validation of a run by noise level: equally long lists, the levels ascending.

    ``level`` s, ``loss`` (mean squared error of the denoiser), ``ratio`` to the loss of the baseline and its
    ``error`` (nan for a single independent unit), at the levels where the baseline errs. Empty lists before the first
    validation.
    """
    names = ("level", "loss", "ratio", "error")
    entries = [entry for entry in read_journal(run_dir) if entry.get("event") == "validation"]
    return {name: list(entries[-1][name]) if entries else [] for name in names}


class Journal:
    """Writer of a run's journal; one process writes it, a lock on the folder holds others off.

    Args:
        run_dir: run folder; made if absent.
        write: False gives an inert journal with the same methods, for the ranks that do not write.
        name: file name within the run folder.

    Raises:
        InputError: another process writes this journal, or the folder cannot be written.
    """

    def __init__(self, run_dir: Path, write: bool = True, name: str = JOURNAL) -> None:
        self.run_dir = Path(run_dir)
        self.path = self.run_dir / name
        self.last_step = 0
        self._guard = threading.Lock()  # the system monitor writes from its thread
        self._file: int | None = None
        self._lock: int | None = None
        self.is_shipped = False  # set by the tracker that follows this file
        self._offset = 0
        if not write:
            return
        try:
            self.run_dir.mkdir(parents=True, exist_ok=True)
            self._lock = take_lock(self.run_dir / f"{name}.lock", wait=False)
            if self._lock is None:
                raise InputError(f"{self.run_dir} is being written by another process; wait or name another run")
            self._open()
        except OSError as error:
            raise InputError(
                f"the journal {self.path} cannot be written ({error.strerror}); name a folder with space and rights"
            ) from None

    def _open(self) -> None:
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        data = self.path.read_bytes()
        self._offset = data.rfind(b"\n") + 1
        if self._offset < len(data):  # torn by a kill
            os.ftruncate(self._file, self._offset)

    @property
    def writes(self) -> bool:
        """Whether this process writes the journal."""
        return self._file is not None

    @property
    def offset(self) -> int:
        """Bytes written; save it with the checkpoint."""
        return self._offset

    def _append(self, entry: dict[str, Any]) -> None:
        with self._guard:
            if self._file is None:
                return
            line = (json.dumps(entry) + "\n").encode()
            try:
                written = os.write(self._file, line)
                if written < len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except OSError as error:
                os.ftruncate(self._file, self._offset)
                raise InputError(
                    f"the journal {self.path} cannot be continued ({error.strerror}); "
                    "free space there, then resume the run"
                ) from None
            self._offset += len(line)

    def log(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Write the metrics of one step; values are anything that ``float`` takes."""
        self.last_step = max(self.last_step, int(step))
        if self.writes:
            values = {key: float(value) for key, value in metrics.items()}
            self._append({"step": int(step), "time": time.time(), "metrics": values})

    def event(self, kind: str, **fields: Any) -> None:
        """Write something that happened; fields are JSON values."""
        self._append({"event": kind, "time": time.time(), **fields})

    def sync(self) -> int:
        """fsync (before a checkpoint, which shall not know more than the journal); returns the offset."""
        if self._file is not None:
            os.fsync(self._file)
        return self._offset

    def rewind(self, step: int, offset: int = 0) -> int:
        """Cut back to a checkpoint: metrics and step-bound events after ``step`` move to journal.discarded.jsonl.

        Args:
            step: step of the checkpoint that the run resumes from; 0 if there is none.
            offset: bytes of the journal when that checkpoint was saved; what lies before is not looked at.

        Returns:
            Number of lines removed.
        """
        if self.is_shipped:
            raise RuntimeError("rewind the journal before its tracker starts")
        self.last_step = step
        if self._file is None:
            return 0
        data = self.path.read_bytes()
        if not 0 < offset <= len(data) or data[offset - 1 : offset] != b"\n":
            offset = 0  # not this journal's offset: look at every line
        kept: list[tuple[int, int]] = []
        dropped: list[tuple[int, int]] = []
        for start, end, entry in _lines(data, offset):
            late = entry is None or entry.get("step", step) > step
            (dropped if late else kept).append((start, end))
        if not dropped:
            return 0
        with open(self.run_dir / DISCARDED, "ab") as file:
            file.write(b"".join(data[start:end] for start, end in dropped))
        os.close(self._file)
        write_atomically(self.path, data[:offset] + b"".join(data[start:end] for start, end in kept))
        rewind_shipped(
            self.run_dir,
            self.path.name,
            lambda old: old if old <= offset else offset + sum(end - start for start, end in kept if start < old),
        )
        self._open()
        self.event("rewind", to_step=step, lines=len(dropped))
        return len(dropped)

    def close(self) -> None:
        """Write through to the disk and release the folder."""
        if self._file is not None:
            os.fsync(self._file)
            os.close(self._file)
            sync_to_disk(self.run_dir)
            self._file = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> "Journal":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
