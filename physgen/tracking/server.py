"""One MLflow server or database: connect, open the run, send what the journal says.

mlflow is imported inside functions only: it costs 1.5 s of CPU.
"""

import json
import logging
import os
import re
import unicodedata
import warnings
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType
from typing import Any

from physgen.errors import InputError
from physgen.storage.disk import locked
from physgen.tracking.database import (
    ARTIFACTS,
    artifact_folder,
    database_path,
    follow_artifacts,
    open_once,
    sqlalchemy_uri,
)

METRICS_PER_BATCH, PARAMS_PER_BATCH = 1000, 100
KEY_LENGTH, PARAM_LENGTH, TAG_LENGTH, DIGEST_LENGTH = 250, 6000, 5000, 36
_QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    # its default of 7 retries blocks for minutes; the journal keeps everything, so the next round is soon enough
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "15",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "GIT_PYTHON_REFRESH": "quiet",
}


def import_mlflow() -> ModuleType:
    """mlflow without telemetry, long retries and chatter; variables that the user has set stay."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    import mlflow

    for name in ("mlflow", "alembic", "urllib3"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=UserWarning, module=r"mlflow\.")
    return mlflow


def default_tracking_uri(run_dir: Path) -> str:
    """MLFLOW_TRACKING_URI if set, else the database ``mlflow.db`` beside the run folders."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{Path(run_dir).resolve().parent / 'mlflow.db'}"


def clean_tracking_uri(uri: str) -> str:
    """The URI with an absolute path, so that it means the same from any folder.

    Raises:
        InputError: a scheme that MLflow refuses.
    """
    if uri.startswith("sqlite:///"):
        return f"sqlite:///{Path(uri.removeprefix('sqlite:///')).resolve()}"
    if not re.match(r"(https?|databricks|postgresql|mysql|mssql)(\+\w+)?(://|$)", uri):
        raise InputError(
            f"tracking URI {uri!r} is not usable; give sqlite:///FILE.db, http://HOST:PORT or postgresql://..."
        )
    return uri.rstrip("/")


def metric_name(name: str) -> str:
    """A name that MLflow takes: Greek is spelled out, other signs become ``_``: ``eval/P(k)`` gives ``eval/P_k``."""
    words = []
    for letter in name:
        greek = re.fullmatch(r"GREEK (SMALL|CAPITAL) LETTER (FINAL )?(\w+)", unicodedata.name(letter, ""))
        spelled = letter if greek is None else greek[3].lower() if greek[1] == "SMALL" else greek[3].capitalize()
        words.append(spelled)
    clean = re.sub(r"[^A-Za-z0-9_.:/ -]+", "_", unicodedata.normalize("NFKD", "".join(words)))
    parts = [part.strip("_ ") for part in clean.split("/")]
    return "/".join(part for part in parts if part.strip("."))[:KEY_LENGTH] or "unnamed"


def chart_link(tracking_uri: str, experiment_id: str) -> str:
    """Address of the page that compares the runs of an experiment in charts (MLflow opens elsewhere by itself)."""
    return f"{tracking_uri}/#/experiments/{experiment_id}/runs?workflowType=machine_learning&compareRunsMode=CHART"


def _chunks(items: Iterable[Any], size: int) -> Iterable[list[Any]]:
    items = list(items)
    return (items[start : start + size] for start in range(0, len(items), size))


class Store:
    """A connection to one tracking URI.

    Args:
        uri: clean tracking URI. Processes that open the same new SQLite file wait for each other: two migrations at
            once would break the database for ever.

    Raises:
        InputError: a database that cannot be opened.
        Exception: whatever mlflow raises when nothing answers.
    """

    def __init__(self, uri: str) -> None:
        mlflow = import_mlflow()
        self.uri = uri
        self._entities = mlflow.entities
        open_once(uri)
        database, address = database_path(uri), sqlalchemy_uri(uri)
        guard = nullcontext() if database is None else locked(database.with_name(database.name + ".lock"))
        with guard:
            self.client = mlflow.MlflowClient(tracking_uri=address, registry_uri=address)
            self.client.search_experiments(max_results=1)
            follow_artifacts(uri)

    def experiment_id(self, name: str) -> str:
        """Id of the experiment of this name, made if absent; two processes may ask at once."""
        found = self.client.get_experiment_by_name(name)
        if found is None:
            location = None
            database = database_path(self.uri)
            if database is not None:  # else mlflow would put artifacts into the current folder
                location = (database.parent / ARTIFACTS / artifact_folder(name)).as_uri()
            try:
                return self.client.create_experiment(name, artifact_location=location)
            except Exception:
                found = self.client.get_experiment_by_name(name)
                if found is None:
                    raise
        if found.lifecycle_stage == "deleted":
            self.client.restore_experiment(found.experiment_id)
        return found.experiment_id

    def open_run(self, experiment: str, name: str, uid: str, run_id: str) -> tuple[str, str]:
        """(run id, experiment id) of the run: the known one, else the one tagged ``physgen.uid``, else a new one."""
        if run_id and (known := self._existing(run_id)) is not None:
            return known
        experiment_id = self.experiment_id(experiment)
        found = self.client.search_runs([experiment_id], f"tags.`physgen.uid` = '{uid}'", max_results=1)
        if not found:  # a kill before run.json was written leaves a run that only its tag betrays
            found = [
                self.client.create_run(
                    experiment_id,
                    run_name=name,
                    tags={
                        "physgen.uid": uid,
                        "mlflow.source.name": "physgen",
                        "mlflow.source.type": "LOCAL",
                        "mlflow.user": os.environ.get("USER", "unknown"),
                    },
                )
            ]
        return found[0].info.run_id, experiment_id

    def _existing(self, run_id: str) -> tuple[str, str] | None:
        try:
            info = self.client.get_run(run_id).info
        except Exception as error:
            if getattr(error, "error_code", "") == "RESOURCE_DOES_NOT_EXIST":
                return None  # the database was deleted: the journal will be sent again into a new run
            raise
        return (info.run_id, info.experiment_id) if info.lifecycle_stage == "active" else None

    def last_steps(self, run_id: str) -> dict[str, int]:
        """Newest step that the server has of each metric."""
        names = self.client.get_run(run_id).data.metrics
        return {name: max(point.step for point in self.client.get_metric_history(run_id, name)) for name in names}

    def send_metrics(self, run_id: str, points: Iterable[tuple[str, float, float, int]]) -> None:
        """Send (name, value, unix time, step) points; equal points sent twice are one to an SQL store."""
        metrics = [self._entities.Metric(name, value, int(1000 * time), step) for name, value, time, step in points]
        for chunk in _chunks(metrics, METRICS_PER_BATCH):
            self.client.log_batch(run_id, metrics=chunk)

    def send_event(self, run_id: str, entry: Mapping[str, Any], run_dir: Path) -> None:
        """Send a journal event that means something to MLflow; others are ignored.

        Raises:
            FileNotFoundError: its file is gone.
        """
        senders: dict[str, Callable[[str, Mapping[str, Any], Path], None]] = {
            "status": self._status,
            "params": self._params,
            "tags": self._tags,
            "dataset": self._dataset,
            "artifact": self._artifact,
            "figure": self._figure,
            "model": self._model,
        }
        if entry.get("event") in senders:
            senders[entry["event"]](run_id, entry, run_dir)

    def _status(self, run_id: str, entry: Mapping[str, Any], run_dir: Path) -> None:
        if entry["status"] == "RUNNING":
            self.client.update_run(run_id, status="RUNNING")
        else:
            self.client.set_terminated(run_id, entry["status"], int(1000 * entry["time"]))

    def _params(self, run_id: str, entry: Mapping[str, Any], run_dir: Path) -> None:
        params = [
            self._entities.Param(metric_name(key), str(value)[:PARAM_LENGTH]) for key, value in entry["params"].items()
        ]
        for chunk in _chunks(params, PARAMS_PER_BATCH):
            self.client.log_batch(run_id, params=chunk)

    def _tags(self, run_id: str, entry: Mapping[str, Any], run_dir: Path) -> None:
        tags = [
            self._entities.RunTag(key[:KEY_LENGTH], str(value)[:TAG_LENGTH]) for key, value in entry["tags"].items()
        ]
        for chunk in _chunks(tags, PARAMS_PER_BATCH):
            self.client.log_batch(run_id, tags=chunk)

    def _dataset(self, run_id: str, entry: Mapping[str, Any], run_dir: Path) -> None:
        dataset = self._entities.Dataset(
            entry["name"],
            entry["digest"][:DIGEST_LENGTH],
            "local",
            json.dumps({"uri": entry["source"]}),
            profile=json.dumps(entry["profile"]),
        )
        context = [self._entities.InputTag("mlflow.data.context", entry["context"])]
        self.client.log_inputs(run_id, [self._entities.DatasetInput(dataset, context)])

    def _artifact(self, run_id: str, entry: Mapping[str, Any], run_dir: Path) -> None:
        path = run_dir / entry["path"]  # an absolute path stays as it is
        if not path.exists():
            raise FileNotFoundError(path)
        send = self.client.log_artifacts if path.is_dir() else self.client.log_artifact
        send(run_id, str(path), entry["folder"] or None)

    def _figure(self, run_id: str, entry: Mapping[str, Any], run_dir: Path) -> None:
        from PIL import Image

        for path in entry["paths"]:
            self._artifact(run_id, {"path": path, "folder": "figures"}, run_dir)
            if path.endswith(".png") and entry["step"] is not None:
                with Image.open(run_dir / path) as image:
                    self.client.log_image(
                        run_id,
                        image.convert("RGB"),
                        key=metric_name(entry["key"]),
                        step=entry["step"],
                        timestamp=int(1000 * entry["time"]),
                    )

    def _model(self, run_id: str, entry: Mapping[str, Any], run_dir: Path) -> None:
        from physgen.tracking.registry import log_sampler

        log_sampler(self.client, run_id, run_dir, entry)
