"""A student is a run as any: it is trained, resumed, drawn from, judged; what it cannot do it refuses with a reason."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from physgen.cli import main
from physgen.config import load_config
from physgen.domains.contract import get_domain
from physgen.ensemble import open_ensemble
from physgen.errors import InputError
from physgen.runs.folder import open_run
from physgen.runs.model import load_model
from physgen.stages import (
    DistillOptions,
    DrawOptions,
    distill,
    evaluate_ensembles,
    is_complete,
    pack_run,
    simulate,
    train,
)
from physgen.stages.distillation import student_experiment
from physgen.stages.sampling import draw_ensemble, sample
from physgen.storage.checkpoint import checkpoint_steps
from physgen.tracking.journal import read_journal

CONFIG = Path(__file__).resolve().parents[2] / "configs" / "points" / "smoke.yaml"
METHODS = ("progressive", "consistency", "consistency_training", "mean_flow")


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    folder = tmp_path_factory.mktemp("teacher")
    words = ["name=teacher", f"dataset={folder / 'data.h5'}", "tracking.uri=off", "training.steps=24"]
    experiment = load_config(CONFIG, words)
    simulate(experiment, folder / "data.h5")
    return open_run(train(experiment, folder, device="cpu"))


@pytest.mark.parametrize("method", METHODS)
def test_a_student_is_a_run_as_any(teacher, tmp_path, method):
    assert main(["distill", str(teacher.folder), "--method", method, "-o", str(tmp_path / "s"), "seed=3"]) == 0
    run = open_run(tmp_path / "s")
    assert is_complete(run.folder) and run.experiment.seed == 3 and run.experiment.name == "s"
    assert run.encoding() == teacher.encoding()
    drawn = draw_ensemble(run, DrawOptions(n=16), device="cpu")
    assert drawn.attrs["sampler_steps"] == 4 and drawn.attrs["levels"] == "along the way of the teacher"
    assert drawn.attrs["sampler"] == ("flow_map" if method in ("progressive", "mean_flow") else "consistency")
    if method == "progressive":
        again = draw_ensemble(open_run(pack_run(run, tmp_path / "packed")), DrawOptions(n=16), device="cpu")
        assert drawn["field"].equals(again["field"])
        with pytest.raises(InputError, match="taught the 4 steps"):
            draw_ensemble(run, DrawOptions(n=2, steps=1), device="cpu")
    else:
        assert draw_ensemble(run, DrawOptions(n=2, steps=1), device="cpu").attrs["sampler_steps"] == 1
    with pytest.raises(InputError, match="sampler = heun is none of a student"):
        draw_ensemble(run, DrawOptions(n=2, sampler="heun"), device="cpu")
    with pytest.raises(InputError, match="where the flow ends, not the mean"):
        load_model(run.folder / "model")  # likelihood, posteriors, regimes and weights ask for a denoiser
    with pytest.raises(InputError, match="not the mean"):
        distill(run.folder, tmp_path / "of-a-student")


def test_a_student_is_judged_and_its_training_is_on_record(teacher, tmp_path):
    folder = distill(teacher.folder, tmp_path / "s", DistillOptions("mean_flow", 2), device="cpu")
    drawn = open_ensemble(sample(folder, tmp_path / "drawn.h5", DrawOptions(n=64), device="cpu"))
    assert evaluate_ensembles(drawn, open_run(folder).part("test")).verdicts
    events = [entry.get("event") for entry in read_journal(folder)]
    assert {"validation", "levels"} <= set(events)
    taught = json.loads((folder / "distillation.json").read_text())
    assert (taught["method"], taught["evaluations"]) == ("mean_flow", 2) and len(taught["teacher_weights"]) == 64


def test_a_resumed_student_is_the_same(teacher, tmp_path):
    options = DistillOptions("progressive", 2, ("training.steps=6", "training.checkpoint_every=4"))
    whole = distill(teacher.folder, tmp_path / "a", options, device="cpu")
    part = distill(teacher.folder, tmp_path / "b", options, device="cpu")
    assert checkpoint_steps(part / "checkpoints") == [4, 6]
    shutil.rmtree(part / "checkpoints" / "step-00000006")
    distill(teacher.folder, part, options, resume=True, device="cpu")
    one, other = (load_model(folder / "model", "cpu", few_steps=True).denoiser.state_dict() for folder in (whole, part))
    assert all(torch.equal(one[name], other[name]) for name in one)
    with pytest.raises(InputError, match="no student by mean_flow"):
        distill(teacher.folder, part, DistillOptions("mean_flow", 2), resume=True)


def test_a_student_takes_a_quarter_of_the_cost(teacher):
    # 24 steps of 3 evaluations (one and its gradient) each: 18 evaluations; a progressive step takes 7
    for method, cost in (("progressive", 7), ("consistency", 6), ("consistency_training", 4), ("mean_flow", 10)):
        experiment = student_experiment(teacher, "s", DistillOptions(method))
        assert experiment.training.steps == round(18 / cost)
        assert experiment.training.precision == "float32"


def test_what_cannot_be_distilled_says_why(teacher, tmp_path):
    spins = SimpleNamespace(domain=get_domain("spins")(), folder=Path("runs/glass"))
    from physgen.stages.distillation import _check

    with pytest.raises(InputError, match="binary values"):
        _check(spins, DistillOptions())
    for options, message in (
        (DistillOptions("halving"), "unknown: choose one of"),
        (DistillOptions(evaluations=0), "give 1 to 64"),
        (DistillOptions(overrides=("network.width=8",)), "cannot be set for a student"),
        (DistillOptions(overrides=("training.monitor={every: 2}",)), "leave training.monitor"),
    ):
        with pytest.raises(InputError, match=message):
            distill(teacher.folder, tmp_path / "refused", options, device="cpu")
    assert not (tmp_path / "refused" / "experiment.yaml").exists()  # the name is free again
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").touch()
    with pytest.raises(InputError, match="exists already"):
        distill(teacher.folder, tmp_path / "taken")
    with pytest.raises(InputError, match="draws with a student"):
        draw_ensemble(teacher, DrawOptions(sampler="flow_map"), device="cpu")
    with pytest.raises(InputError, match="too few"):
        draw_ensemble(teacher, DrawOptions(steps=1), device="cpu")
    assert main(["distill", str(tmp_path / "nowhere")]) == 2
