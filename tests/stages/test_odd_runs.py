"""Runs as strangers ask for them: odd options, lattices, conditions. Each is done, or refused with one message."""

import functools
import json
import math
from pathlib import Path

import numpy as np
import pytest

from physgen.cli import main
from physgen.config import load_config
from physgen.ensemble import load_ensemble, sample_count, save_ensemble, space_dims
from physgen.errors import InputError
from physgen.report.sections import diagnostic_section
from physgen.stages import DrawOptions, evaluate, sample, simulate, train
from physgen.stages import training as training_stage
from physgen.stages.evaluation import evaluate_ensembles
from physgen.tracking.journal import read_journal

TESTS = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.usefixtures("toy_domains")
QUICK = ["tracking.uri=off", "training.steps=2", "training.warmup=1", "training.augment=true"]


def experiment(name, *words):
    toy = TESTS / "toy_domains" / name / "smoke.yaml"
    unchecked = [] if name == "spins" else ["sampling.levels=chosen"]  # a check on the network takes seconds
    path = toy if toy.exists() else TESTS.parent / f"configs/{name}/smoke.yaml"
    return load_config(path, [*QUICK, *unchecked, *words])


@pytest.fixture(scope="module")
def trained(toy_domains, tmp_path_factory):
    """(name, words of the data section ...) -> folder of a run of two steps."""

    @functools.cache
    def make(name, *words):
        folder = tmp_path_factory.mktemp(name)
        asked = experiment(name, f"dataset={folder / 'data.h5'}", *words)
        simulate(asked, folder / "data.h5")
        return train(asked, folder / "runs", device="cpu")

    return make


def judge(run, drawn):
    """The evaluation, without figures; every number of its summary is one."""
    found = evaluate_ensembles(*map(load_ensemble, [drawn, run / "data" / "test.h5", run / "data" / "train.h5"]))
    json.dumps(found.summary, allow_nan=False)
    return found


@pytest.mark.parametrize("value", ["", "abc", "3", "[]", "[1,0]", "[1.5,2]", "[1,two]", "true"])
@pytest.mark.parametrize("name", ["cosmology", "spins", "ring"])
def test_wrong_multipliers_are_refused_and_the_name_of_the_run_stays_free(name, value, trained, tmp_path):
    dataset = trained(name).parents[1] / "data.h5"
    with pytest.raises(InputError, match="multipliers must be whole numbers"):
        train(experiment(name, f"dataset={dataset}", f"network.multipliers={value}"), tmp_path, device="cpu")
    assert not (tmp_path / f"{name}-smoke").exists()


@pytest.mark.parametrize("option", ["width=abc", "width=0", "blocks=two", "dropout=much", "attention=maybe"])
def test_wrong_options_of_a_network_are_named(option, trained, tmp_path):
    dataset = trained("ring").parents[1] / "data.h5"
    with pytest.raises(InputError, match=f"network: {option.split('=')[0]}.*got"):
        train(experiment("ring", f"dataset={dataset}", f"network.{option}"), tmp_path, device="cpu")


@pytest.mark.parametrize("failure", [RuntimeError("out of memory"), KeyboardInterrupt(), OSError("disk")])
def test_whatever_stops_a_start_the_name_of_the_run_stays_free(failure, trained, tmp_path, monkeypatch):
    asked = experiment("ring", f"dataset={trained('ring').parents[1] / 'data.h5'}")

    def fail(*arguments):
        raise failure

    with monkeypatch.context() as patch:
        patch.setattr(training_stage, "first_state", fail)
        with pytest.raises(type(failure)):
            train(asked, tmp_path, device="cpu")
    assert (train(asked, tmp_path, device="cpu") / "model").exists()


def test_a_resume_that_fails_leaves_the_run_as_it_was(trained, monkeypatch):
    run = trained("ring", "data.count=30")
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file() and path.suffix != ".jsonl"}

    def fail(*arguments):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(training_stage, "first_state", fail)
    dataset = run.parents[1] / "data.h5"
    with pytest.raises(RuntimeError):
        train(experiment("ring", f"dataset={dataset}", "data.count=30"), run.parent, resume=True, device="cpu")
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.parametrize("name", ["ring", "phi4_chains", "cosmology", "spins"])
def test_the_adaptive_sampler_draws_from_the_command_line(name, trained, tmp_path, capsys):
    words = ["-n", "2", "--sampler", "dopri5", "--steps", "4", "--device", "cpu"]
    assert main(["sample", str(trained(name)), *words, "-o", str(tmp_path / "a.h5")]) == 0, capsys.readouterr().err
    made = load_ensemble(tmp_path / "a.h5")
    assert made.attrs["sampler"] == "dopri5" and float(made.field.std()) > 0


@pytest.mark.parametrize("name", ["ring", "phi4_chains", "cosmology", "spins"])
def test_a_single_configuration_is_drawn_and_too_few_to_judge(name, trained, tmp_path):
    made = sample(trained(name), tmp_path / "a.h5", DrawOptions(n=1), device="cpu")
    kept = load_ensemble(made)
    one = kept.isel({dim: slice(0, 1) for dim in kept.field.dims if dim not in (*space_dims(kept), "component")})
    assert sample_count(one) == 1
    single = save_ensemble(one, tmp_path / "one.h5")
    with pytest.raises(InputError, match="needed for errors|one independent unit"):
        evaluate(single, trained(name) / "data" / "test.h5", output=tmp_path / "judged")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ring", ("data.dimension=2", "data.cells=8")),
        ("ring", ("data.dimension=3", "data.cells=4")),
        ("ring", ("data.components=2",)),
        ("spins", ("data.dimension=1", "data.length=8")),
        ("spins", ("data.dimension=3", "data.length=2", "data.instances=12")),
        ("phi4_chains", ("data.kappa=[0.2, 0.2]",)),
        ("spins", ("data.temperatures=[1.5 J]",)),
        ("spins", ("data.instances=1", "data.replicas=30")),
    ],
)
def test_any_lattice_component_and_single_condition_is_trained_drawn_and_judged(name, words, trained, tmp_path):
    run = trained(name, *words)
    made = sample(run, tmp_path / "a.h5", DrawOptions(n=12), device="cpu")
    reference, drawn = load_ensemble(run / "data" / "test.h5"), load_ensemble(made)
    assert drawn.field.dims == reference.field.dims
    assert sum(verdict["verdict"] != "not computed" for verdict in judge(run, made).summary["verdicts"]) > 1


def test_an_oblong_box_of_equal_labels_is_trained_drawn_and_judged(trained, tmp_path):
    """Half of each map along one axis, all of one cosmology: what an importer may bring."""
    whole = load_ensemble(trained("cosmology").parents[1] / "data.h5").isel(y=slice(0, 8))
    whole["Omega_m"] = whole["Omega_m"] * 0 + 0.3
    dataset = save_ensemble(whole.assign_attrs(periodic=0), tmp_path / "data.h5")
    run = train(experiment("cosmology", f"dataset={dataset}"), tmp_path / "runs", device="cpu")
    made = sample(run, tmp_path / "a.h5", DrawOptions(n=12), device="cpu")
    drawn = load_ensemble(made)
    assert drawn.field.shape[-2:] == (8, 16) and np.allclose(drawn["Omega_m"], 0.3)
    judge(run, made)
    with pytest.raises(InputError, match="Omega_m"):
        sample(run, tmp_path / "b.h5", DrawOptions(n=2, given={"Omega_m": 0.4}), device="cpu")


def test_levels_where_the_baseline_makes_no_error_give_no_nan(trained, tmp_path):
    """Below s = 0.05 free spins are known: the baseline's loss is 0 in float32, and a ratio to it is none."""
    run = trained("spins", "diffusion.s_min=0.01")
    metrics = [entry["metrics"] for entry in read_journal(run) if "metrics" in entry]
    assert all(math.isfinite(value) for one in metrics for value in one.values())
    last = [one for one in metrics if "validation/ratio_mean" in one][-1]
    assert last["validation/loss_s0p01"] == 0 and "validation/ratio_s0p01" not in last
    found = judge(run, sample(run, tmp_path / "a.h5", device="cpu"))
    # 4 units of as many points have no full covariance: a p-value by permutation, and no chi-square beside it
    assert any(not np.isfinite(comparison["chi2"]) for *_, comparison in found.results.values())
    for results in found.results.values():
        section = diagnostic_section(*results, tmp_path / "none.svg")
        assert "nan" not in str(section.pictures[0].caption).lower().split()
