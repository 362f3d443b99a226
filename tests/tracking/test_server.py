"""What MLflow takes: addresses, names, databases opened at once."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from physgen.errors import InputError
from physgen.processes.launch import Launch
from physgen.tracking.journal import Journal
from physgen.tracking.server import Store, clean_tracking_uri, default_tracking_uri, metric_name
from physgen.tracking.tracker import Tracker, flat_params


@pytest.mark.parametrize("bad", ["mlruns", "file:///data/runs", "sqlite://relative.db", "ftp://x"])
def test_a_tracking_uri_that_mlflow_refuses_is_refused_at_once(tmp_path, bad):
    with Journal(tmp_path) as journal, pytest.raises(InputError, match="tracking URI.*sqlite:///"):
        Tracker(journal, Launch(), "one", "tests", bad)


def test_the_default_database_lies_beside_the_runs_by_its_absolute_path(tmp_path, monkeypatch):
    run = tmp_path / "runs" / "one"
    assert default_tracking_uri(run) == f"sqlite:///{run.parent}/mlflow.db"
    monkeypatch.chdir(run.parent.parent)
    assert clean_tracking_uri("sqlite:///runs/mlflow.db") == default_tracking_uri(Path("runs/one"))


@pytest.mark.parametrize("name", ["50%", "50%25", "a b", "a#b", "why?", "a?x=1", "\u00fc%41/b?c d", "x'y&z;[0]"])
def test_a_database_and_its_artifacts_lie_where_the_path_says_whatever_its_characters(name, tmp_path, database):
    folder = tmp_path / name
    folder.mkdir(parents=True)
    shutil.copy(database, folder / "mlflow.db")
    (tmp_path / "note.txt").write_text("mine")
    before = set(tmp_path.rglob("*"))
    store = Store(default_tracking_uri(folder / "one"))
    run_id, _ = store.open_run("tests", "one", "uid", "")
    store.client.log_artifact(run_id, str(tmp_path / "note.txt"), "notes")
    assert [file.path for file in store.client.list_artifacts(run_id, "notes")] == ["notes/note.txt"]
    made = {path for path in set(tmp_path.rglob("*")) - before if folder / "mlartifacts" not in path.parents}
    assert made == {folder / "mlartifacts", folder / "mlflow.db.lock"}
    assert next((folder / "mlartifacts").rglob("note.txt")).read_text() == "mine"


@pytest.mark.parametrize("address", ["sqlite:///{}/noise.db", "sqlite:///{}/noise.db/runs/mlflow.db", "mysql+no://x/y"])
def test_a_database_that_cannot_be_opened_is_one_message_at_once(address, tmp_path):
    """MLflow itself tries for a minute."""
    (tmp_path / "noise.db").write_text("noise " * 100)
    started = time.monotonic()
    with pytest.raises(InputError, match="cannot be opened .* check the address"):
        Store(address.format(tmp_path))
    assert time.monotonic() - started < 10


@pytest.mark.parametrize(
    ("name", "clean"),
    [
        ("eval/P(k)", "eval/P_k"),
        ("k=0.1", "k_0.1"),
        ("x@y", "x_y"),
        ("ξ(r)", "xi_r"),
        ("Ω_m", "Omega_m"),
        ("/train//loss", "train/loss"),
        ("a/../b", "a/b"),
        ("train/loss", "train/loss"),
        ("(?)", "unnamed"),
        ("é", "e"),
    ],
)
def test_metric_names_become_what_mlflow_takes(name, clean):
    from mlflow.utils.validation import _validate_metric_name

    assert metric_name(name) == clean
    _validate_metric_name(metric_name(name))


def test_params_carry_their_unit_in_the_key():
    flat = flat_params(
        {"data": {"box_size": 25.0, "cells": 8}, "temperatures": [1.0, 2.0]},
        {"data.box_size": "Mpc/h", "temperatures": "J"},
    )
    assert flat == {"data.box_size_Mpc_h": 25.0, "data.cells": 8, "temperatures_J": "[1.0, 2.0]"}


def test_four_processes_that_open_a_new_database_at_once_all_succeed(tmp_path):
    code = (
        "import sys; from physgen.tracking.server import Store; store = Store(sys.argv[1]); "
        "print(store.open_run('shared', sys.argv[2], sys.argv[2], '')[1])"
    )
    command = [sys.executable, "-c", code, f"sqlite:///{tmp_path / 'runs' / 'mlflow.db'}"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    started = [
        subprocess.Popen([*command, str(n)], env=environment, stdout=subprocess.PIPE, text=True) for n in range(4)
    ]
    ids = {process.communicate(timeout=200)[0].strip() for process in started}
    assert [process.returncode for process in started] == [0] * 4
    assert len(ids) == 1
    store = Store(f"sqlite:///{tmp_path / 'runs' / 'mlflow.db'}")
    assert len(store.client.search_runs(list(ids))) == 4


def test_training_code_does_not_import_mlflow_by_itself():
    code = "import sys, physgen.tracking.tracker, physgen.tracking.ui; assert 'mlflow' not in sys.modules"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0
