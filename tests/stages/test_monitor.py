"""The monitor of a training: it changes nothing, resumes as an undisturbed one, and ends a training by its rule."""

import functools
import os
import signal
from pathlib import Path

import numpy as np
import pytest

from physgen.config import check_config, load_config
from physgen.diagnostics.regimes.alarm import MemorizationAlarm
from physgen.domains.contract import list_domains
from physgen.errors import InputError
from physgen.runs.folder import open_run
from physgen.stages import is_complete, simulate, train
from physgen.stages.halves import agreement_of_runs
from physgen.stages.monitor import Monitor, look_steps, why_stopped
from physgen.stages.monitored import monitor_curves, times_of_run
from physgen.stages.regimes_data import Found
from physgen.stages.regimes_journal import measure_journal
from physgen.tracking.journal import read_journal

ROOT = Path(__file__).resolve().parents[2]
DOMAIN = list_domains()[-1]
LOOKS = ["training.monitor.every=4", "training.monitor.samples=8", "training.monitor.levels=[0.3,3]"]
STOP = "training.monitor.stop=before_memorization"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """words -> folder of a run of 12 steps, each made once."""
    folder = tmp_path_factory.mktemp("monitor")
    config = ROOT / "configs" / DOMAIN / "smoke.yaml"
    data = simulate(load_config(config), folder / "data.h5")

    def experiment(*words):
        return load_config(config, [f"dataset={data}", "tracking.uri=off", "training.steps=12", *words])

    @functools.cache
    def make(*words):
        return train(experiment(*words), folder / f"runs{len(list(folder.iterdir()))}", device="cpu")

    make.experiment = experiment
    return make


def weights(run):
    return (run / "model" / "weights.safetensors").read_bytes()


def looks(run):
    """What was measured, without the clock."""
    return [
        {key: value for key, value in entry.items() if key != "time"}
        for entry in read_journal(run)
        if entry.get("event") == "monitor"
    ]


def events(run, kind):
    return [entry for entry in read_journal(run) if entry.get("event") == kind]


def test_looking_changes_nothing_of_the_training(trained):
    """Nor does a rule that does not ring."""
    run = trained(*LOOKS, STOP)
    assert weights(run) == weights(trained())
    assert not looks(trained()) and [look["step"] for look in looks(run)] == [4, 8, 12]
    assert not events(run, "stopped") and why_stopped(run) == ""


def test_what_is_measured_has_errors_and_a_null(trained):
    curves = monitor_curves(trained(*LOOKS, STOP))
    for name in ("loss_train", "loss_test", "order_parameter", "order_parameter_heldout"):
        assert curves[name].dims == ("step", "level") and curves[f"{name}_error"].shape == (3, 2)
        assert (np.isfinite(curves[name]) & (curves[name] >= 0)).all()
    assert (curves["f_mem_error"] > 0).all() and {"f_mem_heldout", "distance", "distance_floor"} <= set(curves)
    assert (np.diff(curves["effective_steps"]) > 0).all() and curves["effective_steps"][-1] <= 12
    metrics = {name for entry in read_journal(trained(*LOOKS, STOP)) for name in entry.get("metrics", {})}
    assert {"regimes/f_mem", "regimes/loss_test_s0p3", "regimes/order_parameter_s3"} <= metrics
    assert np.isnan(times_of_run(trained(*LOOKS, STOP)).tau_mem)  # 12 steps do not memorise
    assert events(trained(*LOOKS, STOP), "learning_times")


def test_the_page_of_regimes_takes_the_curves_and_times_of_the_monitor(trained):
    """One clock for page, table and prediction: effective steps."""
    run, found = trained(*LOOKS, STOP), Found({}, {})
    measure_journal(open_run(run), found)
    curves, shown = monitor_curves(run), found.results["dynamics"]
    assert np.array_equal(shown["effective_steps"], curves["effective_steps"])
    assert np.array_equal(shown["f_mem"], curves["f_mem"])
    for name in ("tau_gen", "tau_mem"):
        assert np.array_equal(found.metrics[name]["value"], float(times_of_run(run)[name]), equal_nan=True)
    plain = Found({}, {})
    measure_journal(open_run(trained()), plain)  # no monitor: nothing is said
    assert not plain.results and not plain.metrics


def test_a_training_that_was_stopped_resumed_and_ended_by_its_rule_is_the_undisturbed_one(
    trained, tmp_path, monkeypatch
):
    """A request to stop, a resume, the end by the rule, which makes it complete, and a resume without the rule."""

    def stop_at_five(step, total, note):
        if step == 4:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(MemorizationAlarm, "rings", lambda self, *counts: run_is_at() > 4)
    asked, run = trained.experiment(*LOOKS, STOP), tmp_path / f"{DOMAIN}-smoke"

    def run_is_at():
        return events(run, "monitor")[-1]["step"]

    train(asked, tmp_path, device="cpu", progress=stop_at_five)
    assert not is_complete(run) and events(run, "status")[-1]["status"] == "KILLED"
    train(asked, tmp_path, resume=True, device="cpu")
    assert is_complete(run) and [look["step"] for look in looks(run)] == [4, 8]
    assert "stopped at step 8" in why_stopped(run) and events(run, "stopped")[0]["step"] == 8
    assert events(run, "status")[-1]["status"] == "FINISHED"
    assert any("physgen.stopped" in entry["tags"] for entry in events(run, "tags"))
    stands = weights(run)
    train(asked, tmp_path, resume=True, device="cpu")
    assert is_complete(run) and weights(run) == stands
    train(trained.experiment(*LOOKS), tmp_path, resume=True, device="cpu")
    assert is_complete(run) and weights(run) == weights(trained()) and why_stopped(run) == ""
    assert looks(run) == looks(trained(*LOOKS, STOP))


def test_other_processes_hear_what_the_first_one_measured(trained):
    """They measure nothing, and end with it."""

    class Other:
        is_main = False

        def broadcast_object(self, value):
            self.sent = value
            return "stopped"

    here = Other()
    run = open_run(trained(*LOOKS, STOP))
    state = type("State", (), {"step": 8})()
    monitor = Monitor(run, state, None, run.encoding(), here, None)
    assert monitor.look() == "stopped" and here.sent == ""
    state.step = 9
    del here.sent
    assert monitor.look() == "" and not hasattr(here, "sent")  # no look, no message: all count alike


def test_steps_of_the_looks():
    def steps(total, **settings):
        content = {"name": "t", "domain": DOMAIN, "training": {"monitor": settings}}
        return look_steps(check_config(content).training.monitor, total)

    assert steps(100) == []
    assert steps(100, every=40) == [40, 80, 100]
    assert steps(100, per_octave=1) == [16, 32, 64, 100]
    assert steps(64, per_octave=2) == [16, 23, 32, 45, 64]
    with pytest.raises(InputError, match="stop='before_memorization' needs looks"):
        steps(10, stop="before_memorization")


def test_a_training_set_of_n_units_is_nested_and_leaves_the_other_parts(trained, tmp_path):
    from physgen.ensemble import load_ensemble
    from physgen.runs.folder import create_run

    asked = trained.experiment()
    whole = load_ensemble(asked.dataset)

    def parts(*words):
        run = create_run(trained.experiment(*words), tmp_path / f"run{len(list(tmp_path.iterdir()))}", whole)
        return [run.part(name) for name in ("train", "validation", "test")]

    def units(part):
        return set(part[asked.data.split_by].values.tolist())

    full, three, next_three = parts(), parts("split.train_units=3"), parts("split.train_units=4", "split.train_from=2")
    assert all(one.equals(other) for one, other in zip(full[1:], three[1:], strict=True))
    assert units(three[0]) < units(full[0]) and len(units(three[0])) == 3 and len(units(next_three[0])) == 4
    assert len(units(three[0]) & units(next_three[0])) == 1  # the last one of the first three
    with pytest.raises(InputError, match="a subset of 3 .* after the first 40"):
        parts("split.train_units=3", "split.train_from=40")
    with pytest.raises(InputError, match="train_from=3 needs train_units"):
        trained.experiment("split.train_from=3")


def test_two_runs_on_disjoint_sets_are_compared_and_others_refused(trained):
    """Hardly trained networks are one map from noise to data."""
    short = ("training.steps=2", "split.train_units=3")
    one, other = trained(*short), trained(*short, "split.train_from=3")
    found = agreement_of_runs(one, other, n=8, device="cpu")
    assert float(found.value) < 0.2 < float(found.null)
    with pytest.raises(InputError, match="on units 0 to 2 and 0 to 2 .*, which overlap"):
        agreement_of_runs(one, one)
    with pytest.raises(InputError, match="which overlap"):
        agreement_of_runs(one, trained())
