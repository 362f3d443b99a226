"""Killed and resumed equals undisturbed, to the last bit."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from physgen.engine.checkpoint import checkpoint_steps
from physgen.engine.journal import read_journal

SCRIPT = str(Path(__file__).with_name("tiny_training.py"))
ROOT = str(Path(__file__).parents[2])
STEPS = 12


def start(run, *options, processes=1, steps=STEPS):
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"] if processes > 1 else []
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": ROOT, "MLFLOW_TRACKING_URI": ""}
    return subprocess.run([sys.executable, *torchrun, SCRIPT, str(run), str(steps), *options],
                          env=environment, capture_output=True, text=True, timeout=120)


def curve(run):
    return [(entry["step"], entry["metrics"]["train/loss"].hex()) for entry in read_journal(run)
            if "train/loss" in entry.get("metrics", {})]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Loss curve of one process, in hexadecimal."""
    run = tmp_path_factory.mktemp("undisturbed")
    assert start(run).returncode == 0
    assert [step for step, _ in curve(run)] == list(range(1, STEPS + 1))
    return curve(run)


@pytest.mark.parametrize("kill", [("--die", "0:8"), ("--die-while-saving", "10")])
def test_kill_in_a_step_or_in_a_save_and_resume_is_bitwise_the_same(tmp_path, undisturbed, kill):
    assert start(tmp_path, *kill).returncode == -9
    assert checkpoint_steps(tmp_path / "checkpoints") == [5]
    assert start(tmp_path).returncode == 0
    assert curve(tmp_path) == undisturbed


def test_sigterm_saves_stops_and_resumes_bitwise(tmp_path, undisturbed):
    ended = start(tmp_path, "--signal", "SIGTERM:7")
    assert ended.returncode == 0
    assert json.loads(ended.stdout) == {"reached": False, "reason": "SIGTERM"}
    assert checkpoint_steps(tmp_path / "checkpoints") == [5, 7]
    assert [step for step, _ in curve(tmp_path)] == list(range(1, 8))
    assert start(tmp_path).returncode == 0
    assert curve(tmp_path) == undisturbed
