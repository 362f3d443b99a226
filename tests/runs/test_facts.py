"""What a run says of its data are facts of the data, never the defaults of a simulator that did not make them."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from physgen.config import load_config
from physgen.domains.contract import get_domain, list_domains
from physgen.ensemble import load_ensemble, save_ensemble
from physgen.provenance import file_digest
from physgen.runs.facts import data_facts, is_made_from
from physgen.runs.folder import open_run
from physgen.stages import evaluate, import_files, simulate, train
from physgen.tracking.journal import read_journal

pytestmark = pytest.mark.usefixtures("blank_figures")

ROOT = Path(__file__).resolve().parents[2]
FEW = ("tracking.uri=off", "training.steps=1", "training.batch_size=4")


def params(run):
    found = {}
    for entry in read_journal(run):
        found |= entry.get("params", {})
    return {key: value for key, value in found.items() if key.startswith("data.")}


def smoke(domain, dataset, *more):
    return load_config(ROOT / "configs" / domain / "smoke.yaml", [f"dataset={dataset}", *FEW, *more])


def fields(folder):
    """40 maps of 25 Mpc/h at redshift 2, as of the cosmology case ``mlflow params``."""
    np.save(folder / "m.npy", np.exp(0.5 * np.random.default_rng(0).normal(size=(40, 16, 16))) - 1)
    options = {"box_size": "25 Mpc/h", "redshift": "2"}
    return import_files("npy", [folder / "m.npy"], folder / "m.h5", options)


def ferromagnet(folder):
    """A 6 x 6 ferromagnet at T = 2.27 and 3; arrays of equal couplings are one instance."""
    spins = np.random.default_rng(0).choice(np.array([-1, 1], dtype=np.int8), (10, 2, 8, 6, 6))
    np.save(folder / "spins.npy", spins)
    np.save(folder / "couplings.npy", np.ones((10, 2, 6, 6)))
    made = get_domain("spins").load(
        "spins_npy", [folder / "spins.npy", folder / "couplings.npy"], temperatures="2.27,3", check="off"
    )
    attrs = {"domain": "spins", "format": "spins_npy", "source": f"{folder}/spins.npy"}
    return save_ensemble(made.assign_attrs(attrs), folder / "s.h5")


@pytest.mark.parametrize(
    ("domain", "make", "facts"),
    [
        ("cosmology", fields, {"data.box_size_Mpc_h": 25.0, "data.redshift": 2.0, "data.simulations": 40,
                               "data.lattice": "16 x 16", "data.format": "npy"}),
        ("spins", ferromagnet, {"data.temperatures_J": "[2.27, 3.0]", "data.couplings_J": "[1.0]", "data.instances": 1,
                                "data.replicas": 80, "data.lattice": "6 x 6", "data.format": "spins_npy",
                                "data.boundary_by_dim.y": "periodic", "data.boundary_by_dim.x": "periodic"}),
    ],
)  # fmt: skip
def test_of_imported_data_the_facts_are_shown_and_nothing_of_the_simulator(domain, make, facts, tmp_path, monkeypatch):
    dataset = make(tmp_path)
    run = train(smoke(domain, dataset), tmp_path / "runs", device="cpu")
    shown = params(run)
    assert shown | facts == shown
    assert shown["data.made_from_this_section"] is False
    assert shown["data.sha256"] == file_digest(dataset)
    domain = get_domain(domain)
    units = {field.name: field.metadata.get("unit", "") for field in dataclasses.fields(domain)}
    keys = {name: f"{name}_{unit.replace('/', '_')}".strip("_") for name, unit in units.items()}
    own = {*domain.facts(load_ensemble(dataset)), *getattr(domain, "learning_settings", ())}
    silent = {name for name, key in keys.items() if key not in own}
    assert len(silent) > 5
    assert not {f"data.{keys[name]}" for name in silent} & set(shown)
    text = (run / "experiment.yaml").read_text()
    assert "not simulated from this section" in text
    assert json.dumps(open_run(run).facts()["lattice"]) in text
    assert yaml.safe_load(text) == open_run(run).experiment.resolved()
    one = dict(list(domain().diagnostics().items())[:1])  # what the page says of the data stands beside any diagnostic
    monkeypatch.setattr(domain, "diagnostics_of", lambda self, reference: one)
    written = evaluate(run / "data" / "test.h5", run / "data" / "train.h5", None, tmp_path / "judged", run)
    report = (written.folder / "report.html").read_text()
    assert facts["data.lattice"] in report and file_digest(dataset) in report
    assert not [name for name in silent if len(name) > 3 and (f"&#x27;{name}&#x27;" in report or f">{name}<" in report)]


@pytest.mark.parametrize("domain", list_domains())
def test_of_simulated_data_their_own_section_is_shown_too(domain, tmp_path):
    dataset = simulate(load_config(ROOT / "configs" / domain / "smoke.yaml"), tmp_path / "d.h5")
    asked = smoke(domain, dataset)
    shown = params(train(asked, tmp_path / "runs", device="cpu"))
    settings = {field.name for field in dataclasses.fields(asked.data)}
    assert shown["data.made_from_this_section"] is True
    assert all(any(key.startswith(f"data.{name}") for key in shown) for name in settings)
    first = next(iter(dataclasses.fields(asked.data)))
    assert not is_made_from(dataclasses_changed(asked, first), load_ensemble(dataset))


def dataclasses_changed(experiment, field):
    """The experiment with another value of one field of its data section, checked by no one."""
    changed = object.__new__(type(experiment.data))
    for item in dataclasses.fields(experiment.data):
        object.__setattr__(changed, item.name, getattr(experiment.data, item.name))
    object.__setattr__(changed, field.name, "other")
    return experiment.model_copy(update={"data": changed})


def test_the_facts_of_a_glass_are_its_moments_and_its_free_sides(tmp_path):
    asked = load_config(ROOT / "configs" / "spins" / "smoke.yaml", ["data.instances=6"])
    facts = data_facts(asked.data.simulate(1))
    assert facts["boundary_by_dim"] == {"y": "free", "x": "periodic"}
    assert facts["bonds"] == 4 * 4 + 3 * 4
    # 168 Gaussian couplings of unit variance: five standard errors
    assert abs(facts["couplings_std_J"] - 1) < 5 / np.sqrt(2 * 6 * 28)
    assert facts["independent_units"] == 6 and facts["unit"] == "disorder"
