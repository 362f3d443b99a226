"""The sampler in MLflow: from code, without pickle, registered, and over HTTP."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import torch

from physgen.errors import InputError
from physgen.processes.launch import Launch
from physgen.storage.weights import export_weights
from physgen.tracking import ui as ui_module
from physgen.tracking.journal import Journal
from physgen.tracking.registry import save_sampler
from physgen.tracking.server import Store
from physgen.tracking.shipped import read_shipped, write_shipped
from physgen.tracking.tracker import Tracker, sync
from physgen.tracking.ui import ui, ui_command, ui_environment

LOADER = "draw_numbers:load_sampler"
WEIGHTS = torch.arange(4, dtype=torch.float32).reshape(1, 1, 2, 2) / 3


@pytest.fixture
def folder(tmp_path):
    return export_weights(tmp_path / "runs" / "one" / "model", {"w": WEIGHTS}, {"shift": 0.5})


@pytest.fixture
def uri(tmp_path, database, folder):
    shutil.copy(database, tmp_path / "runs" / "mlflow.db")
    return f"sqlite:///{tmp_path / 'runs' / 'mlflow.db'}"


@pytest.fixture
def registered(tmp_path, folder, uri, monkeypatch):
    """Run folder whose sampler is registered as ``numbers``; pickles are forbidden from here on."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    run = tmp_path / "runs" / "one"
    with Journal(run) as journal, Tracker(journal, Launch(), "one", "tests", uri) as tracker:
        journal.log(7, {"train/loss": 1})
        tracker.model(folder, LOADER, "numbers", "champion", (1, 2, 2), 7)
    return run


def load(uri, monkeypatch, name="models:/numbers@champion"):
    import mlflow

    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)  # a user's notebook; physgen itself has no global state
    mlflow.set_tracking_uri(uri)
    try:
        return mlflow.pyfunc.load_model(name)
    finally:
        mlflow.set_tracking_uri(None)


def expected(seeds, steps, temperature=0.0):
    return ((np.asarray(seeds)[:, None, None, None] + WEIGHTS.numpy()) / steps + 0.5 + temperature).astype(np.float32)


def test_the_registered_sampler_draws_what_the_loader_draws_without_any_pickle(registered, uri, monkeypatch):
    model = load(uri, monkeypatch)
    drawn = model.predict(np.arange(5), params={"n_steps": 4, "condition": '{"temperature": 1.5}'})
    assert drawn.dtype == np.float32
    assert np.array_equal(drawn, expected(np.arange(5), 4, 1.5))
    assert np.array_equal(model.predict(np.arange(3)), expected(np.arange(3), 40))
    nested = {"n_steps": 4, "condition": '{"temperature": 1.5, "couplings": [[1, 2], [3, 4.5]]}'}
    assert np.array_equal(model.predict(np.arange(5), params=nested), expected(np.arange(5), 4, 12.0))
    assert "n_steps" in model.metadata.metadata["example"]
    files = [path.name for path in (registered.parent / "mlartifacts").rglob("*") if path.is_file()]
    assert "weights.safetensors" in files and "served_model.py" in files
    assert not [name for name in files if name.endswith((".pkl", ".pickle", ".pt", ".bin"))]


@pytest.mark.parametrize(
    ("seeds", "params", "message"),
    [
        (np.arange(3), {"n_steps": 0}, "n_steps is 0"),
        (np.arange(3), {"condition": "warm"}, """JSON object.* e.g. {"temperature": 1.0}"""),
        (np.arange(3), {"condition": '{"temperature": "hot"}'}, "JSON object"),
        (np.arange(3), {"condition": '{"couplings": [[1, true]]}'}, "JSON object"),
        (np.arange(3), {"condition": "[1]"}, "JSON object"),
        (np.arange(3.0), {}, "int64"),
        (np.arange(4).reshape(2, 2), {}, "shape"),
    ],
)
def test_what_the_sampler_cannot_draw_is_refused(registered, uri, monkeypatch, seeds, params, message):
    with pytest.raises(Exception, match=message):
        load(uri, monkeypatch).predict(seeds, params=params)


def test_a_model_sent_twice_is_registered_once(registered, uri):
    state = read_shipped(registered)[uri]
    state.offsets, state.pending = {}, True  # a kill before anything was noted
    write_shipped(registered, uri, state)
    sync(registered)
    client = Store(uri).client
    versions = client.search_model_versions("name = 'numbers'")
    assert len(versions) == 1
    assert versions[0].run_id == state.run_id
    logged = client.search_logged_models([client.get_run(state.run_id).info.experiment_id])
    assert [(model.name, model.status) for model in logged] == [("numbers", "READY")]
    assert [output.step for output in client.get_run(state.run_id).outputs.model_outputs] == [7]
    assert [point.step for point in client.get_metric_history(state.run_id, "train/loss")] == [7]


def test_a_folder_with_a_pickle_is_refused(tmp_path, folder):
    torch.save({}, folder / "weights.pt")
    with pytest.raises(InputError, match="weights.pt.*safetensors"):
        save_sampler(tmp_path / "model", folder, LOADER, (1, 2, 2))


def wait_until_it_answers(address, server):
    for _ in range(600):
        try:
            return urllib.request.urlopen(f"{address}/health", timeout=5).status
        except OSError:
            assert server.poll() is None, "the server ended"
            time.sleep(0.2)
    raise AssertionError("the server does not answer")


def test_a_run_synced_to_a_server_is_there_once_with_its_model_and_the_page_is_printed(
    registered, uri, tmp_path, database, monkeypatch, capsys
):
    shutil.copy(database, tmp_path / "served.db")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    with pytest.raises(InputError, match=address):
        ui(address)
    command = [
        *ui_command(f"sqlite:///{tmp_path / 'served.db'}", "127.0.0.1", port),
        "--artifacts-destination",
        str(tmp_path / "served"),
    ]
    server = subprocess.Popen(
        command,
        env=ui_environment(),
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        assert wait_until_it_answers(address, server) == 200
        assert sync(registered, address) == sync(registered, address)
        run_id = read_shipped(registered)[address].run_id
        history = Store(address).client.get_metric_history(run_id, "train/loss")
        assert [(point.step, point.value) for point in history] == [(7, 1.0)]
        assert np.array_equal(load(address, monkeypatch).predict(np.arange(2)), expected(np.arange(2), 40))
        capsys.readouterr()
        assert ui(address) == 0
        experiment_id = Store(address).client.get_experiment_by_name("tests").experiment_id
        link = f"{address}/#/experiments/{experiment_id}/runs?workflowType=machine_learning&compareRunsMode=CHART"
        assert link in capsys.readouterr().out
    finally:
        os.killpg(server.pid, 9)  # the server's own workers too
        server.wait()


def test_ui_serves_the_database_on_the_loopback_and_opens_on_the_newest_experiment(uri, monkeypatch, capsys):
    started = []
    monkeypatch.setattr(
        ui_module.subprocess,
        "run",
        lambda command, env, check: started.append((command, env)) or subprocess.CompletedProcess(command, 0),
    )
    Store(uri).experiment_id("older")
    time.sleep(0.01)  # experiments are ordered by milliseconds
    newest = Store(uri).experiment_id("newer")
    assert ui(uri, port=0) == 0
    assert f"#/experiments/{newest}/runs?workflowType=machine_learning" in capsys.readouterr().out
    command, environment = started[0]
    assert command[:4] == [sys.executable, "-m", "mlflow", "server"]
    assert command[command.index("--host") + 1] == "127.0.0.1"
    assert environment["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"
    assert environment["MLFLOW_DISABLE_TELEMETRY"] == "true"


def test_ui_says_what_is_missing_or_taken(tmp_path, uri):
    with pytest.raises(InputError, match="there is no database"):
        ui(f"sqlite:///{tmp_path / 'none.db'}")
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(InputError, match="cannot be used.*free port"):
        ui(uri, port=taken.getsockname()[1])


def test_the_exported_model_json_is_plain(folder):
    assert json.loads((folder / "model.json").read_text())["model"] == {"shift": 0.5}
