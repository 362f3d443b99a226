"""``run.json``: who a run is, here and in MLflow."""

import json
import uuid
from pathlib import Path
from typing import Any

from physgen.errors import InputError
from physgen.storage.disk import write_atomically
from physgen.tracking.database import absolute_uri, portable_uri

RUN_FILE = "run.json"


def read_run(run_dir: Path) -> dict[str, Any]:
    """name, experiment, uid, tracking_uri of a run, and run_id, experiment_id once MLflow has answered.

    Raises:
        InputError: no run, or its file is damaged.
    """
    path = Path(run_dir) / RUN_FILE
    try:
        run = json.loads(path.read_text())
        missing = {"name", "experiment", "uid", "tracking_uri"} - set(run)
    except FileNotFoundError:
        raise InputError(f"{run_dir} is not a run folder ({RUN_FILE} is missing); give the folder of a run") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}); copy it back from a backup") from None
    if missing:
        raise InputError(f"{path} lacks {sorted(missing)}; copy it back from a backup")
    return {**run, "tracking_uri": absolute_uri(run["tracking_uri"], run_dir)}


def write_run(run_dir: Path, run: dict[str, Any]) -> None:
    """Replace ``run.json``."""
    portable = {**run, "tracking_uri": portable_uri(run["tracking_uri"], run_dir)}
    write_atomically(Path(run_dir) / RUN_FILE, json.dumps(portable, indent=1))


def open_run_file(run_dir: Path, name: str, experiment: str, tracking_uri: str) -> dict[str, Any]:
    """The run's identity: the one in its folder, which a resume keeps, else a new one.

    A tracking URI that differs from the earlier one starts a new MLflow run there.
    """
    run = {"name": name, "experiment": experiment, "uid": uuid.uuid4().hex, "tracking_uri": tracking_uri}
    if (Path(run_dir) / RUN_FILE).exists():
        before = read_run(run_dir)
        run = (
            before
            if before["tracking_uri"] == tracking_uri
            else {**run, "uid": before["uid"], "name": before["name"], "experiment": before["experiment"]}
        )
    write_run(run_dir, run)
    return run
