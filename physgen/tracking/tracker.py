"""What a run shows in MLflow. Everything goes through the journal; a thread ships it::

    with Journal(run_dir, write=launch.is_main) as journal:
        journal.rewind(...)  # after a resume, before the tracker starts
        with Tracker(journal, launch, name="wide", experiment="boxes") as tracker:
            tracker.params(config, units={"data.box_size": "Mpc/h"})
            journal.log(step, {"train/loss": loss})

A server that is down stops nothing: the rest is sent later.
"""

import json
import os
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from physgen.errors import InputError
from physgen.processes.launch import Launch, node_number
from physgen.tracking.identity import RUN_FILE, open_run_file, read_run
from physgen.tracking.journal import Journal, read_journal
from physgen.tracking.server import chart_link, clean_tracking_uri, default_tracking_uri
from physgen.tracking.shipper import Busy, Sender, Shipper, reason
from physgen.tracking.system_metrics import SystemMonitor

# a new database is migrated first, seconds on a busy disk; a server that is there answers at once
DATABASE_START_SECONDS, SERVER_START_SECONDS = 60.0, 5.0
FLUSH_SECONDS, FLUSH_FAILING_SECONDS = 90.0, 5.0
OFF = "off"


def flat_params(config: Mapping[str, Any], units: Mapping[str, str] | None = None, prefix: str = "") -> dict[str, Any]:
    """Nested configuration as dotted keys with the unit in the key: ``data.box_size_Mpc_h``.

    Args:
        config: nested dicts of JSON values.
        units: dotted key -> unit.
        prefix: put before each key.
    """
    flat: dict[str, Any] = {}
    for key, value in config.items():
        dotted = f"{prefix}{key}"
        if isinstance(value, Mapping):
            flat.update(flat_params(value, units, f"{dotted}."))
            continue
        unit = re.sub(r"\W+", "_", (units or {}).get(dotted, "")).strip("_")
        text = value if isinstance(value, (str, int, float)) or value is None else json.dumps(value, default=str)
        flat[f"{dotted}_{unit}" if unit else dotted] = text
    return flat


def tracked_at(run_dir: Path) -> str | None:
    """Tracking URI of a run as it stands in its folder, wherever that lies now; None of one that was never tracked."""
    return read_run(run_dir)["tracking_uri"] if (Path(run_dir) / RUN_FILE).exists() else None


class Tracker:
    """Journal events that MLflow understands, and the thread that ships them. Inert on the ranks that do not write.

    On leaving the block the run becomes FINISHED, KILLED (``status`` set so, Ctrl-C) or FAILED (an exception), and the
    rest is sent within a bounded time. A server that does not answer costs one warning and nothing else.

    Args:
        journal: open journal of the run, already rewound.
        launch: the processes of the run; the first one of each further node writes its load.
        name: name of the run in MLflow.
        experiment: name of the experiment in MLflow.
        tracking_uri: if None, MLFLOW_TRACKING_URI, else ``mlflow.db`` beside the run folders; ``off``: journal alone.

    Raises:
        InputError: a tracking URI that MLflow refuses.
    """

    def __init__(
        self, journal: Journal, launch: Launch, name: str, experiment: str, tracking_uri: str | None = None
    ) -> None:
        self.status = "FINISHED"
        self.journal = journal
        self._shipper: Shipper | None = None
        self._monitor: SystemMonitor | None = None
        self._node_journal: Journal | None = None
        self._node = node_number() if launch.local_rank == 0 and launch.world_size > 1 else 0
        self._is_writer = journal.writes
        if not self._is_writer:
            return
        uri = tracking_uri or default_tracking_uri(journal.run_dir)
        self.uri = uri if uri == OFF else clean_tracking_uri(uri)
        open_run_file(journal.run_dir, name, experiment, self.uri)

    @property
    def run_id(self) -> str | None:
        """MLflow's id of the run; None while the server has not answered."""
        return read_run(self.journal.run_dir).get("run_id") if self._is_writer else None

    def __enter__(self) -> "Tracker":
        if self.journal.writes:
            self.journal.event("status", status="RUNNING")
            self._monitor = SystemMonitor(self.journal, self.journal, self._node)
            if self.uri != OFF:
                self.journal.is_shipped = True
                self._shipper = Shipper(self.journal.run_dir, self.uri)
                self._shipper.start()
                # run.json must know the id before step 1: a kill would else leave a run that a resume must search for
                is_server = self.uri.startswith("http")
                self._shipper.first_round.wait(SERVER_START_SECONDS if is_server else DATABASE_START_SECONDS)
        elif self._node > 0:
            self._node_journal = Journal(self.journal.run_dir, name=f"journal.node{self._node}.jsonl")
            self._monitor = SystemMonitor(self._node_journal, self.journal, self._node)
        if self._monitor is not None:
            self._monitor.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._monitor is not None:
            self._monitor.end()
        if self._node_journal is not None:
            self._node_journal.close()
        if isinstance(error, SystemExit):
            self.status = "FINISHED" if not error.code else "FAILED"
        elif error is not None:
            self.status = "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED"
        try:
            self.journal.event("status", status=self.status)
        except InputError as full:  # a full disk must not hide the error that brought us here
            print(f"physgen: WARNING: {full}", file=sys.stderr, flush=True)
        if self._shipper is not None:
            if not self._shipper.end(FLUSH_FAILING_SECONDS if self._shipper.failing else FLUSH_SECONDS):
                print(
                    f"physgen: WARNING: MLflow at {self.uri} did not receive all of this run; send the rest with: "
                    f"physgen sync {shlex.quote(str(self.journal.run_dir))}",
                    file=sys.stderr,
                    flush=True,
                )
            self.journal.is_shipped = False

    def params(self, config: Mapping[str, Any], units: Mapping[str, str] | None = None) -> None:
        """Log the configuration; MLflow refuses changes, so what a resume overrides goes to ``physgen.resume.<n>``."""
        if not self.journal.writes:
            return
        entries = read_journal(self.journal.run_dir)
        logged: dict[str, Any] = {}
        for entry in entries:
            logged.update(entry.get("params", {}))
        flat = flat_params(config, units)
        fresh = {key: value for key, value in flat.items() if key not in logged}
        changed = {key: [logged[key], value] for key, value in flat.items() if logged.get(key, value) != value}
        if fresh:
            self.journal.event("params", params=fresh)
        if changed:
            before = sum(key.startswith("physgen.resume.") for entry in entries for key in entry.get("tags", {}))
            self.tags({f"physgen.resume.{before + 1}": json.dumps(changed)})

    def tags(self, tags: Mapping[str, Any]) -> None:
        """Set tags, such as ``physgen.sweep`` or ``physgen.verdict``."""
        self.journal.event("tags", tags={key: str(value) for key, value in tags.items()})

    def note(self, markdown: str) -> None:
        """Set the description of the run (markdown): what it shows and what good means."""
        self.tags({"mlflow.note.content": markdown})

    def dataset(
        self,
        name: str,
        source: str | Path,
        digest: str,
        context: str = "training",
        profile: Mapping[str, Any] | None = None,
    ) -> None:
        """Name a data file as an input of the run; ``profile`` holds counts and shapes."""
        self.journal.event(
            "dataset", name=name, source=str(source), digest=digest, context=context, profile=dict(profile or {})
        )

    def _relative(self, path: str | Path) -> str:
        # also of files elsewhere: they are often moved together with the runs
        return os.path.relpath(Path(path).resolve(), self.journal.run_dir.resolve())

    def artifact(self, path: str | Path, folder: str = "") -> None:
        """Attach a file or a folder, under ``folder`` of the run's artifacts."""
        self.journal.event("artifact", path=self._relative(path), folder=folder)

    def figure(self, paths: Sequence[str | Path], key: str, step: int | None = None) -> None:
        """Attach a figure's files (png, svg); with a step, the png also joins the image series ``key``."""
        self.journal.event("figure", paths=[self._relative(path) for path in paths], key=key, step=step)

    def model(
        self,
        folder: str | Path,
        loader: str,
        name: str,
        alias: str = "newest",
        sample_shape: Sequence[int] = (),
        step: int = 0,
    ) -> None:
        """Log the final sampler as a pyfunc model from code and register it.

        Args:
            folder: weights in safetensors, configuration in JSON: all that the loader needs.
            loader: ``module:function``; function(folder) -> sampler(seeds int64 (N,), steps, condition) -> float32,
                whose ``conditions`` are the names of the conditions with their defaults.
            name: registered name.
            alias: alias that moves to this version (``latest`` is MLflow's own word).
            sample_shape: shape (C, grid ...) of one sample.
            step: training step of the weights.
        """
        self.journal.event(
            "model",
            folder=self._relative(folder),
            loader=loader,
            name=name,
            alias=alias,
            sample_shape=list(sample_shape),
            training_step=step,
        )


def sync(run_dir: str | Path, tracking_uri: str | None = None) -> str:
    """Send what MLflow lacks of a run's journal; nothing arrives twice.

    Args:
        run_dir: run folder.
        tracking_uri: where to; the run's own if None.

    Returns:
        Address of the chart page (http) or the tracking URI.

    Raises:
        InputError: no run there, another process sends it, or MLflow does not answer.
    """
    run = read_run(Path(run_dir))
    uri = run["tracking_uri"] if tracking_uri is None else tracking_uri
    if uri == OFF:
        raise InputError(f"{run_dir} was trained with tracking off; name a tracking URI")
    sender = Sender(Path(run_dir), clean_tracking_uri(uri))
    try:
        for last in (False, False, True):
            try:
                sender.send_all()
                break
            except Busy as error:
                raise InputError(f"{error}; try again when it has ended") from None
            except Exception as error:
                if last:
                    raise InputError(
                        f"MLflow at {sender.uri} does not take the run ({reason(error)}); start the "
                        f"server or name another tracking URI, then: physgen sync {shlex.quote(str(run_dir))}"
                    ) from None
    finally:
        sender.close()
    return chart_link(sender.uri, sender.experiment_id) if sender.uri.startswith("http") else sender.uri
