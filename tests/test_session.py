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


def test_anything_is_judged_against_anything_of_its_physics(data, tmp_path):
    """Datasets, arrays and files give the same numbers; an array takes its box and its kind from the reference."""
    one, other = data.isel(sample=slice(0, 30)), data.isel(sample=slice(30, 60))
    found = pg.evaluate(one, other)
    assert repr(found) == found.table and "<table>" in found._repr_html_()
    ratio = found.values["power_spectrum"]["mean_ratio"]
    assert isinstance(ratio, pg.Value) and 0.3 < float(ratio) < 3
    assert found.results["power_spectrum"][0]["value"].attrs["units"] == "(Mpc/h)^2"
    paths = [pg.save_ensemble(e, tmp_path / f"{n}.h5") for n, e in (("one", one), ("other", other))]
    assert pg.evaluate(str(paths[0]), paths[1]).metrics == found.metrics
    bare = pg.evaluate(one["field"].values, other)  # every map its own unit, no labels
    same = bare.results["power_spectrum"][1]["value"]
    assert np.allclose(same, found.results["power_spectrum"][1]["value"], rtol=0.3)
    with pytest.raises(InputError, match="gallery, "):
        found.figure("spectrum")
    assert found.figure("power_spectrum").axes
    assert pg.evaluate(one, other, tolerances={"power_spectrum": 50.0}).verdicts[2].tolerance == 50.0


def test_arrays_of_no_named_physics_are_judged_as_fields():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 60, 16, 16))
    found = pg.evaluate(a, b, box_size="10 m")
    assert {v.status for v in found.verdicts} <= {"pass", "open"}
    assert "1/m" in found.table
    assert {v.status for v in pg.evaluate(2 * a, b).verdicts if v.diagnostic == "power_spectrum"} == {"fail"}
    with pytest.raises(InputError, match="lattice"):
        pg.evaluate(a[:, :8, :8], b)
    with pytest.raises(InputError, match="the generated ensemble: .*contrast"):
        pg.evaluate(1e3 + a, pg.from_array(b, "25 Mpc/h"), domain="cosmology")


def test_a_run_judges_what_it_draws_and_keeps_its_report(run):
    found = run.evaluate(run.sample(12, steps=4, progress=False), progress=False)
    assert found.memorization is not None
    assert {"power_spectrum", "memorization"} <= {v.diagnostic for v in found.verdicts}
    report = run.report
    assert report == run.folder / "evaluation" / "report.html" and report.is_file()
    written = report.stat().st_mtime_ns
    assert run.report.stat().st_mtime_ns == written
    assert any(event.get("folder") == "evaluation" for event in run.journal)


def test_own_maps_train_a_run(tmp_path):
    rng = np.random.default_rng(0)
    maps = np.exp(rng.standard_normal((24, 16, 16)))
    data = pg.from_array(maps, "25 Mpc/h", simulation=np.arange(24) // 2, labels={"T": np.arange(24) // 2},
                         attrs={"field_kind": "density"})  # fmt: skip
    settings = {"training": pg.TrainingConfig(steps=2, batch_size=4), "tracking": pg.TrackingConfig(uri="off")}
    experiment = pg.Experiment(name="own", domain="cosmology", network=pg.NetworkConfig(width=8), **settings)
    run = pg.train(experiment, data, runs=tmp_path, device="cpu", progress=False)
    assert "12 independent (simulation)" in repr(run)
    drawn = run.sample(3, condition={"T": 5.0}, steps=2, levels="log-uniform", progress=False)
    assert (drawn["field"].values > 0).all() and np.allclose(drawn["T"], 5.0)
