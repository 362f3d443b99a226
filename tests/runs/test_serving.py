"""A served model draws what `physgen sample` draws: conditions by name, physical units, and nothing without a word."""

import functools
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from physgen.config import load_config
from physgen.domains.contract import list_domains
from physgen.ensemble import flatten, load_ensemble
from physgen.errors import InputError
from physgen.runs.folder import open_run
from physgen.runs.serving import load_sampler
from physgen.stages import DrawOptions, sample, simulate, train
from physgen.tracking.registry import save_sampler

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
every_domain = pytest.mark.parametrize("domain", list_domains())


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """domain -> a run of a few steps and the sampler of its model folder, which lies somewhere else."""
    folder = tmp_path_factory.mktemp("served")

    @functools.cache
    def make(domain):
        data = folder / f"{domain}.h5"
        words = [f"dataset={data}", "tracking.uri=off", "training.steps=10"]
        simulate(experiment := load_config(CONFIGS / domain / "smoke.yaml", words), data)
        run = open_run(train(experiment, folder / "runs", device="cpu"))
        away = folder / "far" / domain
        shutil.copytree(run.folder / "model", away)
        return SimpleNamespace(run=run, folder=away, sampler=load_sampler(away))

    return make


@every_domain
def test_the_model_folder_is_enough_and_each_sample_depends_on_its_own_seed(domain, served):
    sampler = served(domain).sampler
    made = sampler(np.array([5, 2, 5]), 6)
    encoding = sampler.model.encoding
    components = flatten(load_ensemble(served(domain).run.folder / "data" / "test.h5")).shape[
        1
    ]  # of the field, not encoded
    assert made.dtype == np.float32 and made.shape == (3, components, *encoding.grid)
    assert np.array_equal(made[0], made[2]) and not np.array_equal(made[0], made[1])
    assert np.array_equal(sampler([2], 6)[0], made[1])


@every_domain
def test_every_default_can_be_given_and_changes_nothing(domain, served):
    """The conditions that a model states are accepted, all at once, and each acts when it is changed."""
    sampler = served(domain).sampler
    assert bool(sampler.conditions) == bool(sampler.model.encoding.condition_shapes)
    assert np.array_equal(sampler([1], 6, sampler.conditions), sampler([1], 6))


def test_labels_act_together_and_equal_what_the_command_draws(served, tmp_path):
    case = served("cosmology")
    both = {"Omega_m": 0.3, "sigma_8": 0.8}
    made = case.sampler([0, 1, 2], 6, both)
    for other in ({}, {"Omega_m": 0.3}, {"sigma_8": 0.8}, both | {"Omega_m": 0.25}):
        assert not np.array_equal(case.sampler([0, 1, 2], 6, other), made)
    drawn = load_ensemble(sample(case.run, tmp_path / "a.h5", DrawOptions(n=3, steps=6, given=both), "cpu"))
    # the same noise and weights; float32 rounding of another tile grows through 6 steps of a network, to ~1e-5
    scale = np.abs(flatten(drawn)).max()
    np.testing.assert_allclose(made, flatten(drawn), rtol=0, atol=1e-4 * scale)
    assert drawn.field.attrs["units"] == json.loads((case.folder / "conditions.json").read_text())["output"]["units"]


@pytest.mark.parametrize(
    ("domain", "condition", "message"),
    [
        ("cosmology", {"Omega_m": 99}, "Omega_m = 99 lies outside the range of the training data"),
        ("cosmology", {"Omega_m": float("nan")}, "finite"),
        ("cosmology", {"omega": 0.3}, "'omega'.*Omega_m, sigma_8"),
        ("cosmology", {"Omega_m": [0.3]}, "is a number, got a list"),
        ("spins", {"temperature": 99}, "99 lies outside those of the training data"),
        ("spins", {"beta": 1.0}, "'beta'.*temperature"),
        ("spins", {"couplings": [[1.0, 1.0]]}, r"shape \(1, 2\); give finite numbers of shape \(2, 4, 4\)"),
        ("spins", {"bonds": [1.0]}, "'bonds' is not a condition.*couplings"),
    ],
)
def test_what_was_not_learned_is_refused(domain, condition, message, served):
    with pytest.raises(InputError, match=message):
        served(domain).sampler([0], 6, condition)


def test_spins_come_as_spins_under_the_couplings_that_are_given(served):
    sampler = served("spins").sampler
    made = sampler(np.arange(4), 6)
    assert set(np.unique(made)) == {-1.0, 1.0}
    couplings = np.array(sampler.conditions["couplings"])
    assert np.array_equal(sampler(np.arange(4), 6, {"couplings": couplings.tolist()}), made)
    other = sampler(np.arange(4), 6, {"couplings": (-1 * couplings).tolist(), "temperature": 1.0})
    assert not np.array_equal(other, made)


def test_a_folder_without_its_template_says_so(served, tmp_path):
    shutil.copytree(served("spins").folder, tmp_path / "model")
    (tmp_path / "model" / "template.h5").unlink()
    with pytest.raises(InputError, match=r"no template\.h5"):
        load_sampler(tmp_path / "model")


@pytest.mark.parametrize(("domain", "asked"), [("cosmology", {"sigma_8": 0.8, "Omega_m": 0.3}), ("spins", {})])
def test_the_registered_model_draws_the_same_through_mlflow(domain, asked, served, tmp_path):
    import mlflow

    case = served(domain)
    asked = asked or {"couplings": case.sampler.conditions["couplings"], "temperature": 1.0}
    shape = case.sampler([0], 6).shape[1:]
    save_sampler(tmp_path / "saved", case.folder, "physgen.runs.serving:load_sampler", shape)
    model = mlflow.pyfunc.load_model(str(tmp_path / "saved"))
    drawn = model.predict(np.arange(2), params={"n_steps": 6, "condition": json.dumps(asked)})
    assert np.array_equal(drawn, case.sampler([0, 1], 6, asked))
    described = model.metadata.metadata
    assert described["conditions"] == case.sampler.conditions and described["output"]["units"]
    example = next(name for name, value in case.sampler.conditions.items() if np.ndim(value) == 0)
    with pytest.raises(Exception, match="99 lies outside"):
        model.predict(np.arange(2), params={"condition": json.dumps({example: 99})})
    with pytest.raises(Exception, match=f'e.g. {{"{example}": '):
        model.predict(np.arange(2), params={"condition": "warm"})
