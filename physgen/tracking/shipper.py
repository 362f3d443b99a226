"""The thread that carries the journal to MLflow: never raises, never blocks training, sends nothing twice."""

import os
import shlex
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from physgen.errors import InputError
from physgen.storage.disk import take_lock
from physgen.tracking.identity import read_run, write_run
from physgen.tracking.journal import read_entries
from physgen.tracking.server import METRICS_PER_BATCH, Store, metric_name
from physgen.tracking.shipped import Shipped, read_shipped, write_shipped

ROUND_SECONDS, LONGEST_PAUSE_SECONDS, ATTEMPTS = 2.0, 60.0, 3


class Busy(Exception):
    """Another process sends this run."""


def reason(error: BaseException) -> str:
    """First line of an error, short enough for a one-line warning; of our own messages all of it."""
    if isinstance(error, InputError):
        return str(error)
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0][:160]}"


class Sender:
    """Sends what the journal of one run holds beyond the last sent byte. Used by one thread at a time.

    Args:
        run_dir: run folder with ``run.json`` and journal.
        uri: clean tracking URI.
    """

    def __init__(self, run_dir: Path, uri: str) -> None:
        self.run_dir, self.uri = Path(run_dir), uri
        self.experiment_id = ""
        self._store: Store | None = None
        self._state = Shipped()
        self._lock: int | None = None
        self._failures: dict[tuple[str, int], int] = {}

    def connect(self) -> None:
        """Reach the server, open the run, write its id into ``run.json``.

        Raises:
            Busy: another process sends this run.
            Exception: whatever mlflow raises when nothing answers.
        """
        if self._lock is None:
            self._lock = take_lock(self.run_dir / "shipping.lock", wait=False)
        if self._lock is None:
            raise Busy(f"another process sends {self.run_dir} to MLflow")
        store = Store(self.uri)
        state = read_shipped(self.run_dir).get(self.uri, Shipped())
        run = read_run(self.run_dir)
        run_id, self.experiment_id = store.open_run(run["experiment"], run["name"], run["uid"], state.run_id)
        if state.run_id != run_id:
            state = Shipped(run_id, pending=True)
        sizes = {path.name: path.stat().st_size for path in self.run_dir.glob("journal*.jsonl")}
        lost = [name for name, offset in state.offsets.items() if offset > sizes.get(name, 0)]
        if state.pending or lost:  # only the server knows what arrived
            there = store.last_steps(run_id)
            state.skip = {key: max(state.skip.get(key, -1), there.get(key, -1)) for key in {*state.skip, *there}}
            state.last = {**state.last, **there}
            state.offsets = {name: offset for name, offset in state.offsets.items() if name not in lost}
            state.pending = False
        write_shipped(self.run_dir, self.uri, state)
        if run["tracking_uri"] == self.uri:
            write_run(self.run_dir, {**run, "run_id": run_id, "experiment_id": self.experiment_id})
        self._store, self._state = store, state

    def _connected(self) -> Store:
        if self._store is None:
            self.connect()
        assert self._store is not None
        return self._store

    def send_all(self) -> None:
        """Send everything that the journal files of all nodes hold now; connects if needed."""
        self._connected()
        try:
            for path in sorted(self.run_dir.glob("journal*.jsonl")):
                if path.name != "journal.discarded.jsonl":
                    self._send_file(path)
        except Exception:
            self._store = None  # the next round connects afresh and looks whether the run still exists
            raise

    def _send_file(self, path: Path) -> None:
        start = self._state.offsets.get(path.name, 0)
        points: list[tuple[str, float, float, int]] = []
        before = start
        for end, entry in read_entries(path, start):
            if "event" in entry or len(points) >= METRICS_PER_BATCH:
                self._send_points(path.name, points, before)
                points = []
            if "event" in entry:
                self._send_event(path.name, entry, end)
            elif "metrics" in entry:
                points += self._new_points(entry)
            before = end
        if before > start:
            self._send_points(path.name, points, before)

    def _new_points(self, entry: Mapping[str, Any]) -> list[tuple[str, float, float, int]]:
        step = entry["step"]
        names = {metric_name(key): value for key, value in entry["metrics"].items()}
        # the files of other nodes are not cut back by a resume: their steps must only grow
        loads = {key: last for key, last in self._state.last.items() if key.startswith("system/")}
        known = {**self._state.skip, **loads}
        return [(key, value, entry["time"], step) for key, value in names.items() if step > known.get(key, -1)]

    def _send_points(self, name: str, points: list[tuple[str, float, float, int]], end: int) -> None:
        if points:
            self._state.pending = True
            write_shipped(self.run_dir, self.uri, self._state)
            if self._attempt(name, end, lambda store: store.send_metrics(self._state.run_id, points)):
                for key, _, _, step in points:
                    self._state.last[key] = max(step, self._state.last.get(key, -1))
        self._done(name, end)

    def _send_event(self, name: str, entry: Mapping[str, Any], end: int) -> None:
        self._attempt(name, end, lambda store: store.send_event(self._state.run_id, entry, self.run_dir))
        self._done(name, end)

    def _attempt(self, name: str, end: int, send: Callable[[Store], None]) -> bool:
        """Send; a part of the journal that fails for good is named and left out: it must not block the rest."""
        try:
            send(self._connected())
            return True
        except Exception as error:
            count = self._failures[name, end] = self._failures.get((name, end), 0) + 1
            hopeless = isinstance(error, (FileNotFoundError, InputError))
            hopeless |= getattr(error, "error_code", "") == "INVALID_PARAMETER_VALUE"
            if not hopeless and count < ATTEMPTS:
                raise
            print(
                f"physgen: WARNING: MLflow at {self.uri} did not take {name} before byte {end} ({reason(error)}); "
                f"it is left out there and stays in {self.run_dir}",
                file=sys.stderr,
                flush=True,
            )
            return False

    def _done(self, name: str, end: int) -> None:
        self._state.offsets[name] = end
        self._state.pending = False
        write_shipped(self.run_dir, self.uri, self._state)

    def close(self) -> None:
        """Let other processes send this run."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


class Shipper(threading.Thread):
    """Daemon thread around a :class:`Sender`: one round every few seconds, longer pauses while nothing answers.

    Args:
        run_dir: run folder.
        uri: clean tracking URI.
    """

    def __init__(self, run_dir: Path, uri: str) -> None:
        super().__init__(name="physgen-shipper", daemon=True)
        self.first_round = threading.Event()
        self.failing = True  # until a round succeeds
        self._warned = False
        self.complete = False
        self._sender = Sender(run_dir, uri)
        self._ending = threading.Event()
        self._pause = ROUND_SECONDS

    def run(self) -> None:
        """Rounds until :meth:`end` is called, then a last one."""
        while not self._ending.wait(self._pause if self.first_round.is_set() else 0):
            self._round()
        self.complete = self._round()
        self._sender.close()

    def _round(self) -> bool:
        try:
            self._sender.send_all()
        except Exception as error:  # tracking never stops training
            if not self._warned:
                later = f"physgen sync {shlex.quote(str(self._sender.run_dir))}"
                print(
                    f"physgen: WARNING: MLflow at {self._sender.uri} is not reached ({reason(error)}); work goes on, "
                    f"the journal keeps everything; to send it later: {later}",
                    file=sys.stderr,
                    flush=True,
                )
            self.failing = self._warned = True
            self._pause = min(2 * self._pause, LONGEST_PAUSE_SECONDS)
        else:
            self.failing, self._warned, self._pause = False, False, ROUND_SECONDS
        self.first_round.set()
        return not self.failing

    def end(self, seconds: float) -> bool:
        """Send the rest, waiting at most so long; whether all of it arrived."""
        self._ending.set()
        self.join(seconds)
        return self.complete
