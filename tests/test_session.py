"""physgen in a session: data in memory in, objects that answer out; a cell run twice is told what to do in Python."""

from pathlib import Path

import numpy as np
import pytest
import torch

import physgen as pg
from physgen.errors import InputError

CONFIGS = Path(__file__).resolve().parents[1] / "configs"


@pytest.fixture(scope="module")
def experiment():
    return pg.load_config(CONFIGS / "cosmology" / "smoke.yaml", ["tracking.uri=off", "training.steps=4", "name=trial"])


@pytest.fixture(scope="module")
def data(experiment):
    return pg.simulate(experiment, progress=False)


@pytest.fixture(scope="module")
def run(experiment, data, tmp_path_factory):
    return pg.train(experiment, data, runs=tmp_path_factory.mktemp("runs"), device="cpu", progress=False)


def test_a_run_says_what_it_is(run):
    shown = repr(run)
    for word in ("trial", "cosmology", "4 of 4 steps", "60 configurations of 16 x 16", "10 independent (simulation)"):
        assert word in shown


def test_a_second_training_of_one_name_is_told_what_to_do_in_python(experiment, data, run):
    with pytest.raises(InputError) as refused:
        pg.train(experiment, data, runs=run.folder.parent, progress=False)
    assert "resume=True" in str(refused.value) and "open_run(" in str(refused.value)
    assert "--" not in str(refused.value)
    again = pg.train(experiment, data, runs=str(run.folder.parent), resume=True, device="cpu", progress=False)
    assert again.metrics.identical(run.metrics)


def test_resume_starts_a_run_that_is_not_there(experiment, data, tmp_path):
    made = pg.train(experiment, data, runs=tmp_path, resume=True, device="cpu", progress=False)
    assert "4 of 4 steps" in repr(made)


def test_a_file_is_data_as_well(experiment, data, run, tmp_path):
    path = pg.save_ensemble(data, tmp_path / "data.h5")
    made = pg.train(experiment, str(path), runs=tmp_path, device="cpu", progress=False)
    assert float(made.metrics["train/loss"].dropna("step")[-1]) == float(run.metrics["train/loss"].dropna("step")[-1])


def test_samples_come_as_an_ensemble_under_the_conditions_asked_for(run):
    drawn = run.sample(4, condition={"Omega_m": 0.3}, steps=4, progress=False)
    assert drawn["field"].sizes == {"sample": 4, "y": 16, "x": 16}
    assert np.allclose(drawn["Omega_m"], 0.3)
    assert np.array_equal(
        run.sample(2, condition={"Omega_m": 0.3}, steps=4, progress=False)["field"], drawn["field"][:2]
    )
    like = run.data("validation").isel(sample=[0, 5])
    assert np.array_equal(run.sample(2, like=like, steps=4, progress=False)["Omega_m"], like["Omega_m"])
    with pytest.raises(InputError, match="Omega_m"):
        run.sample(4, condition={"Omega_m": 99.0}, progress=False)


def test_the_denoiser_of_a_run_takes_what_encode_gives(run):
    """Without noise to remove a denoiser gives back what it gets, and decode undoes encode."""
    test = run.data("test").isel(sample=slice(0, 3))
    x, condition = run.encode(test)
    s = torch.full((3,), run.encoding.s_min)
    assert torch.allclose(run.denoiser(x, s, condition), x, atol=10 * run.encoding.s_min)
    back = run.decode(x, test)
    assert np.allclose(back["field"], test["field"], atol=1e-4)
    with pytest.raises(InputError, match="train, validation, test"):
        run.data("all")


def test_metrics_are_a_dataset_over_steps(run):
    assert run.metrics["validation/ratio_mean"].dropna("step")["step"].values.tolist() == [0, 4]
    assert len(run.journal) >= 2
