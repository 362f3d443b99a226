"""Killed and resumed equals undisturbed, to the last bit."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from physgen.storage.checkpoint import checkpoint_steps
from physgen.tracking.identity import read_run
from physgen.tracking.journal import read_journal
from physgen.tracking.server import Store

SCRIPT = str(Path(__file__).with_name("tiny_training.py"))
ROOT = str(Path(__file__).parents[2])
STEPS = 12


def start(run, *options, processes=1, steps=STEPS):
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"] if processes > 1 else []
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": ROOT}
    return subprocess.run(
        [sys.executable, *torchrun, SCRIPT, str(run), str(steps), *options],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


def curve(run):
    return [
        (entry["step"], entry["metrics"]["train/loss"].hex())
        for entry in read_journal(run)
        if "train/loss" in entry.get("metrics", {})
    ]


def last_status(run, uri):
    return Store(uri).client.get_run(read_run(run)["run_id"]).info.status


def sent_curve(run, uri):
    return [
        (point.step, point.value)
        for point in Store(uri).client.get_metric_history(read_run(run)["run_id"], "train/loss")
    ]


def test_sigterm_then_a_kill_within_a_save_and_resume_is_bitwise_the_undisturbed_run(tmp_path):
    quiet, run = tmp_path / "quiet", tmp_path / "run"
    assert start(quiet).returncode == 0
    assert [step for step, _ in curve(quiet)] == list(range(1, STEPS + 1))

    ended = start(run, "--signal", "SIGTERM:3")
    assert ended.returncode == 0
    assert json.loads(ended.stdout) == {"status": "KILLED"}
    assert checkpoint_steps(run / "checkpoints") == [3]
    assert [step for step, _ in curve(run)] == [1, 2, 3]

    assert start(run, "--die-while-saving", "10").returncode == -9
    assert checkpoint_steps(run / "checkpoints") == [3, 5]
    assert start(run).returncode == 0
    assert curve(run) == curve(quiet)


def test_two_processes_one_killed_and_resumed_are_bitwise_the_same_and_mlflow_has_each_step_once(tmp_path, database):
    reference, run = tmp_path / "reference", tmp_path / "runs" / "killed"
    run.parent.mkdir()
    shutil.copy(database, run.parent / "mlflow.db")
    uri = f"sqlite:///{run.parent / 'mlflow.db'}"
    assert start(reference, processes=2).returncode == 0
    assert start(run, "--die", "1:8", "--tracking", uri, processes=2).returncode != 0
    assert curve(run)[-1][0] == 7
    assert last_status(run, uri) == "FAILED"
    assert start(run, "--tracking", uri, processes=2).returncode == 0
    assert curve(run) == curve(reference)
    assert [step for step, _ in curve(run)] == list(range(1, STEPS + 1))
    assert sent_curve(run, uri) == [(step, float.fromhex(loss)) for step, loss in curve(reference)]
    assert last_status(run, uri) == "FINISHED"
