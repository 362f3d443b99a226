"""Noise levels are chosen once, at the end of a training; a request for the configured sampler finds them in store."""

import json
import os
import signal
from pathlib import Path

import pytest

from physgen.config import load_config
from physgen.runs.folder import open_run
from physgen.stages import DrawOptions, simulate, train
from physgen.stages.sampling import draw_ensemble
from physgen.tracking.journal import read_journal

CONFIG = Path(__file__).resolve().parents[2] / "configs" / "cosmology" / "smoke.yaml"
SEARCHES = ("candidate_levels", "convergence", "optimal_levels", "best_log_uniform")


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    data = tmp_path_factory.mktemp("data") / "data.h5"
    experiment = load_config(CONFIG, [f"dataset={data}", "tracking.uri=off", "training.steps=6"])
    simulate(experiment, data)
    return experiment


def test_a_request_for_the_configured_sampler_searches_nothing(experiment, tmp_path, monkeypatch):
    run = open_run(train(experiment, tmp_path, device="cpu"))
    settings = experiment.sampling
    (event,) = (entry for entry in read_journal(run.folder) if entry.get("event") == "levels")
    assert (event["sampler"], event["steps"]) == (settings.sampler, settings.steps)
    assert event["cpu_seconds"] > 0 and event["levels_power_error"] >= 0
    with monkeypatch.context() as patched:
        for name in SEARCHES:
            patched.delattr(f"physgen.runs.levels.{name}")
        drawn = draw_ensemble(run, DrawOptions(n=2), device="cpu")
        with pytest.raises(NameError):  # other steps have levels of their own
            draw_ensemble(run, DrawOptions(n=2, steps=5), device="cpu")
    assert drawn.attrs["levels"] == event["levels"]
    assert drawn.attrs["levels_power"] == event["levels_power"]
    draw_ensemble(run, DrawOptions(n=2, steps=5), device="cpu")
    assert len(json.loads((run.folder / "model" / "levels.json").read_text())) == 2


def test_a_training_that_was_stopped_has_none_yet(experiment, tmp_path):
    def stop(step, steps, note=""):
        if step == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    run = open_run(train(experiment, tmp_path, device="cpu", progress=stop))
    assert (run.folder / "model" / "weights.safetensors").exists()
    assert not (run.folder / "model" / "levels.json").exists()
