"""From the journal to MLflow: everything, once, in spite of kills and dead servers."""

import importlib
import json
import shutil
import socket
from contextlib import closing

import pytest

from physgen.errors import InputError
from physgen.processes.launch import Launch
from physgen.tracking import shipper
from physgen.tracking import tracker as tracking
from physgen.tracking.identity import read_run
from physgen.tracking.journal import Journal, read_journal
from physgen.tracking.server import Store
from physgen.tracking.shipped import read_shipped
from physgen.tracking.shipper import Sender
from physgen.tracking.tracker import Tracker, sync

HERE = Launch()


@pytest.fixture
def uri(tmp_path, database):
    (tmp_path / "runs").mkdir()
    shutil.copy(database, tmp_path / "runs" / "mlflow.db")
    return f"sqlite:///{tmp_path / 'runs' / 'mlflow.db'}"


@pytest.fixture
def run(tmp_path):
    return tmp_path / "runs" / "one"


def track(journal, uri, **options):
    return Tracker(journal, HERE, options.pop("name", "one"), "tests", uri, **options)


def received(run, uri, key="train/loss"):
    """(step, value) of a metric in MLflow."""
    history = Store(uri).client.get_metric_history(read_shipped(run)[uri].run_id, key)
    return [(point.step, point.value) for point in history]


def send_all(run, uri):
    with closing(Sender(run, uri)) as sender:
        sender.send_all()


def in_mlflow(run, uri):
    return Store(uri).client.get_run(read_shipped(run)[uri].run_id)


def test_a_run_arrives_whole(run, uri, tmp_path):
    data = tmp_path / "note.txt"
    data.write_text("x")
    with Journal(run) as journal, track(journal, None) as tracker:
        assert read_run(run)["run_id"] == tracker.run_id  # before step 1
        tracker.params(
            {"data": {"box_size": 25.0, "grid": (8, 8)}, "many": {str(n): n for n in range(150)}},
            {"data.box_size": "Mpc/h"},
        )
        tracker.note("what good means")
        tracker.dataset("train", "train.h5", "0123456789abcdef" * 4, profile={"samples": 60})
        tracker.artifact(data, "notes")
        for step in range(1, 401):
            journal.log(step, {"train/loss": 1 / step, "eval/P(k)": step, "train/bad": float("nan")})
    assert received(run, uri) == [(step, 1 / step) for step in range(1, 401)]
    assert len(received(run, uri, "eval/P_k")) == 400
    found = in_mlflow(run, uri)
    assert found.info.status == "FINISHED"
    assert found.data.params["data.box_size_Mpc_h"] == "25.0"
    assert found.data.params["data.grid"] == "[8, 8]"
    assert len(found.data.params) == 152
    assert found.data.tags["mlflow.note.content"] == "what good means"
    dataset = found.inputs.dataset_inputs[0].dataset
    assert (dataset.name, dataset.digest) == ("train", "0123456789abcdef" * 2 + "0123")
    assert "system/0/memory_GB" in found.data.metrics
    assert [file.path for file in Store(uri).client.list_artifacts(tracker.run_id, "notes")] == ["notes/note.txt"]
    assert found.info.artifact_uri.startswith((tmp_path / "runs" / "mlartifacts").as_uri())


def test_a_figure_is_an_artifact_and_an_image_of_its_step(run, uri):
    from PIL import Image

    with Journal(run) as journal, track(journal, uri) as tracker:
        Image.new("RGB", (4, 4)).save(run / "spectrum.png")
        (run / "spectrum.svg").write_text("<svg/>")
        tracker.figure([run / "spectrum.png", run / "spectrum.svg"], "P(k)", 3)
    client = Store(uri).client
    assert {file.path for file in client.list_artifacts(tracker.run_id, "figures")} == {
        "figures/spectrum.png",
        "figures/spectrum.svg",
    }
    assert any("step+3" in file.path for file in client.list_artifacts(tracker.run_id, "images"))


@pytest.mark.parametrize(
    ("error", "status"),
    [(RuntimeError, "FAILED"), (KeyboardInterrupt, "KILLED"), (SystemExit(2), "FAILED"), (SystemExit(0), "FINISHED")],
)
def test_the_status_says_how_the_run_ended(run, uri, error, status):
    with pytest.raises(BaseException), Journal(run) as journal, track(journal, uri):  # noqa: B017
        raise error
    assert in_mlflow(run, uri).info.status == status


def test_a_resume_continues_the_mlflow_run_and_a_changed_param_becomes_a_tag(run, uri):
    for rate in (0.1, 0.1, 0.2, 0.3):
        with Journal(run) as journal, track(journal, uri) as tracker:
            tracker.params({"rate": rate, "steps": 5})
    found = in_mlflow(run, uri)
    assert len(Store(uri).client.search_runs([found.info.experiment_id])) == 1
    assert found.data.params == {"rate": "0.1", "steps": "5"}
    assert json.loads(found.data.tags["physgen.resume.1"]) == {"rate": [0.1, 0.2]}
    assert json.loads(found.data.tags["physgen.resume.2"]) == {"rate": [0.1, 0.3]}


class Killed(BaseException):
    """Stands for SIGKILL: nothing after it runs in that round."""


@pytest.mark.parametrize("kill", ["before sending", "after sending", "between batches"])
def test_a_kill_around_a_batch_and_a_resume_send_each_step_once(run, uri, monkeypatch, kill):
    def log(journal, first, last):
        for step in range(first, last + 1):
            journal.log(step, {"train/loss": step / 7})
            if step == 5:
                offset[0] = journal.sync()

    offset = [0]
    send = Store.send_metrics

    def killed(store, run_id, points):
        if kill == "after sending":
            send(store, run_id, points)
        raise Killed

    with Journal(run) as journal:
        track(journal, uri)
        log(journal, 1, 3)
        send_all(run, uri)
        log(journal, 4, 8)
        if kill == "between batches":
            send_all(run, uri)
        else:
            monkeypatch.setattr(Store, "send_metrics", killed)
            with pytest.raises(Killed):
                send_all(run, uri)
            monkeypatch.undo()
    with Journal(run) as journal:
        assert journal.rewind(5, offset[0]) == 3
        log(journal, 6, 12)
        send_all(run, uri)
        send_all(run, uri)
    assert received(run, uri) == [(step, step / 7) for step in range(1, 13)]


def test_a_second_evaluation_of_the_same_step_is_not_taken_for_a_repeat(run, uri):
    with Journal(run) as journal:
        track(journal, uri)
        for value in (1.0, 2.0):
            journal.log(100, {"eval_spectrum/ratio": value})
            send_all(run, uri)
    assert received(run, uri, "eval_spectrum/ratio") == [(100, 1.0), (100, 2.0)]


def closed_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_without_a_server_every_step_runs_one_warning_is_given_and_sync_sends_all_once(run, uri, capsys):
    dead = f"http://127.0.0.1:{closed_port()}"
    with Journal(run) as journal, track(journal, dead) as tracker:
        tracker.params({"rate": 0.1})
        for step in range(1, 1201):
            journal.log(step, {"train/loss": step})
    said = capsys.readouterr().err
    assert dead in said and said.count("WARNING") == said.count(f"physgen sync {run}") == 2  # at the start, at the end
    losses = [entry["step"] for entry in read_journal(run) if "train/loss" in entry.get("metrics", {})]
    assert losses == list(range(1, 1201))
    with pytest.raises(InputError, match=f"{dead} does not take the run.*physgen sync"):
        sync(run)
    sync(run, uri)
    sync(run, uri)
    assert received(run, uri) == [(step, float(step)) for step in range(1, 1201)]
    found = in_mlflow(run, uri)
    assert (found.info.status, found.data.params) == ("FINISHED", {"rate": "0.1"})


def test_a_server_that_accepts_and_never_answers_does_not_hold_training(run, uri, monkeypatch, capsys):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setattr(tracking, "SERVER_START_SECONDS", 0.1)
    monkeypatch.setattr(tracking, "FLUSH_FAILING_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with Journal(run) as journal, track(journal, f"http://127.0.0.1:{port}") as tracker:
            for step in range(1, 51):
                journal.log(step, {"train/loss": step})
    assert "did not receive all of this run" in capsys.readouterr().err
    tracker._shipper.join(60)  # the thread gives up by itself once the socket is closed
    assert not tracker._shipper.is_alive()
    sync(run, uri)
    assert received(run, uri) == [(step, float(step)) for step in range(1, 51)]


def test_a_database_that_was_deleted_is_filled_again(run, uri, database):
    with Journal(run) as journal, track(journal, uri):
        journal.log(1, {"train/loss": 1})
    other = uri.replace("mlflow.db", "second.db")
    shutil.copy(database, other.removeprefix("sqlite:///"))
    sync(run, other)
    state = read_shipped(run)[other]
    with_new_id = json.loads((run / "shipped.json").read_text())
    with_new_id[other]["run_id"] = "0" * 32  # what a fresh database at the same place looks like
    (run / "shipped.json").write_text(json.dumps(with_new_id))
    Store(other).client.delete_run(state.run_id)
    sync(run, other)
    assert read_shipped(run)[other].run_id not in {state.run_id, "0" * 32}
    assert received(run, other) == [(1, 1.0)]


@pytest.mark.parametrize("by", ["move", "copy"])
def test_a_moved_folder_of_runs_takes_its_database_and_artifacts_along(run, uri, by, tmp_path):
    note = tmp_path / "runs" / "note.txt"
    note.write_text("x")
    with Journal(run) as journal, track(journal, None) as tracker:
        tracker.artifact(note, "notes")
        journal.log(1, {"train/loss": 1})
    place = tmp_path / "elsewhere" / "moved"
    place.parent.mkdir()
    (shutil.move if by == "move" else shutil.copytree)(run.parent, place)
    # as in another process: mlflow keeps the places of the artifacts of a run in memory
    importlib.import_module("mlflow.tracking._tracking_service.utils")._artifact_repos_cache.clear()
    before = sorted(tmp_path.rglob("*"))
    moved, new = place / "one", f"sqlite:///{place}/mlflow.db"
    for _ in range(2):
        assert sync(moved) == new
    assert sorted(set(tmp_path.rglob("*")) - set(before)) == []
    with Journal(moved) as journal, track(journal, None) as tracker:
        tracker.artifact(place / "note.txt", "later")
        journal.log(2, {"train/loss": 2})
    assert received(moved, new) == [(1, 1.0), (2, 2.0)]
    found, client = in_mlflow(moved, new), Store(new).client
    assert found.info.status == "FINISHED"
    assert len(client.search_runs([found.info.experiment_id])) == 1
    for folder in ("notes", "later"):
        assert [file.path for file in client.list_artifacts(tracker.run_id, folder)] == [f"{folder}/note.txt"]
    assert len(list(place.rglob("mlartifacts/**/note.txt"))) == 2
    assert by == "copy" or not run.parent.exists()
    assert by == "move" or received(run, uri) == [(1, 1.0)]


def test_a_run_folder_copied_alone_fills_the_database_beside_it(run, uri, database, tmp_path):
    with Journal(run) as journal, track(journal, None):
        journal.log(1, {"train/loss": 1})
    there = tmp_path / "there"
    there.mkdir()
    shutil.copy(database, there / "mlflow.db")
    shutil.move(run, there / "one")
    shutil.rmtree(run.parent)
    assert sync(there / "one") == f"sqlite:///{there}/mlflow.db"
    assert received(there / "one", f"sqlite:///{there}/mlflow.db") == [(1, 1.0)]
    assert not run.parent.exists()


def test_what_mlflow_refuses_for_good_is_named_and_does_not_dam_up_the_rest(run, uri, capsys, monkeypatch):
    monkeypatch.setattr(shipper, "ROUND_SECONDS", 0.01)
    with Journal(run) as journal, track(journal, uri) as tracker:
        tracker.artifact(run / "gone.png")
        journal.event("params", params={"rate": 1})
        journal.event("params", params={"rate": 2})
        journal.log(1, {"train/loss": 1})
    assert received(run, uri) == [(1, 1.0)]
    said = capsys.readouterr().err
    assert "gone.png" in said and "Changing param" in said


def test_two_senders_of_one_run_are_not_allowed(run, uri):
    with Journal(run) as journal:
        track(journal, uri)
        sender = Sender(run, uri)
        sender.send_all()
        with pytest.raises(InputError, match="another process sends"):
            sync(run)
        sender.close()
        sync(run)


def test_tracking_off_leaves_the_journal_alone(run):
    with Journal(run) as journal, track(journal, "off"):
        journal.log(1, {"train/loss": 1})
    assert not (run / "shipped.json").exists()
    assert len(read_journal(run)) == 4  # status, step, load, status
    with pytest.raises(InputError, match="tracking off"):
        sync(run)


def test_a_rank_that_does_not_write_leaves_nothing(run):
    with Journal(run, write=False) as journal, Tracker(journal, Launch(1, 2, 1), "one", "tests", "off") as tracker:
        tracker.params({"rate": 1})
        tracker.note("x")
        journal.log(1, {"train/loss": 1})
        assert tracker.run_id is None
    assert not run.exists()


def test_another_node_writes_its_load_and_rank_0_sends_it(run, uri, monkeypatch):
    with Journal(run) as journal:
        track(journal, uri)
        monkeypatch.setenv("GROUP_RANK", "1")
        inert = Journal(run, write=False)
        with Tracker(inert, Launch(2, 4, 0), "one", "tests", uri):
            inert.log(3, {"train/loss": 1})
        send_all(run, uri)
    assert [step for step, _ in received(run, uri, "system/1/memory_GB")] == [3]


@pytest.mark.parametrize("content", [None, "{", '{"name": "x"}'])
def test_sync_of_what_is_no_run_is_one_message(tmp_path, content):
    if content is not None:
        (tmp_path / "run.json").write_text(content)
    with pytest.raises(InputError, match="run.json"):
        sync(tmp_path)
