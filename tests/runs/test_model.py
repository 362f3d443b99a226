"""The model folder is all that a sampler needs, and what it draws depends on seed, index and condition alone."""

import functools
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import xarray as xr

from physgen.config import load_config
from physgen.domains.contract import list_domains
from physgen.ensemble import load_ensemble, sample_dims, save_ensemble
from physgen.errors import InputError
from physgen.processes.launch import Launch
from physgen.runs.folder import open_run
from physgen.runs.levels import choose_levels
from physgen.runs.model import draw, load_model
from physgen.stages import DrawOptions, evaluate, sample, simulate, train
from physgen.storage.checkpoint import load_checkpoint

pytestmark = pytest.mark.usefixtures("blank_figures")

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
every_domain = pytest.mark.parametrize("domain", list_domains())


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """domain -> a run of a few steps, its model and a template of 8 or more configurations."""
    folder = tmp_path_factory.mktemp("trained")

    @functools.cache
    def make(domain):
        data = folder / f"{domain}.h5"
        words = [f"dataset={data}", "tracking.uri=off", "training.steps=10"]
        experiment = load_config(CONFIGS / domain / "smoke.yaml", words)
        simulate(experiment, data)
        run = open_run(train(experiment, folder / "runs", device="cpu"))
        template = run.domain.request(run.part("test"), 8, {})
        return SimpleNamespace(run=run, model=load_model(run.folder / "model", "cpu"), template=template)

    return make


def drawn(case, template=None, seed=0):
    template = case.template if template is None else template
    levels = choose_levels(case.model, "dpmpp_2m", 6)
    return draw(case.model, template, seed=seed, sampler="dpmpp_2m", levels=levels)


@every_domain
def test_a_draw_is_repeatable_to_the_last_bit_and_another_seed_is_another_draw(domain, trained):
    case = trained(domain)
    first = drawn(case)
    xr.testing.assert_identical(first, drawn(case))
    assert not np.array_equal(first.field, drawn(case, seed=1).field)


@every_domain
def test_a_sample_does_not_depend_on_how_many_follow_it(domain, trained):
    """The same sample index under the same condition, in a short and in a long draw: bit for bit."""
    case = trained(domain)
    outer = sample_dims(drawn(case))[0]
    few = case.template.isel({outer: slice(0, 2)})
    assert np.array_equal(drawn(case, few).field, drawn(case).field.isel({outer: slice(0, 2)}))


@every_domain
def test_the_stage_draws_the_first_n_under_equal_conditions(domain, trained, tmp_path):
    case = trained(domain)
    few = load_ensemble(sample(case.run, tmp_path / "few.h5", DrawOptions(n=2, steps=6, seed=3), "cpu"))
    again = load_ensemble(sample(case.run.folder, tmp_path / "again.h5", DrawOptions(n=2, steps=6, seed=3), "cpu"))
    assert np.array_equal(few.field, again.field)
    assert few.attrs["seed"] == 3 and few.attrs["sampler_steps"] == 6 and few.attrs["run"] == case.run.experiment.name
    if sample_dims(few) == ("sample",):  # elsewhere n multiplies the conditions, which moves the sample index
        more = load_ensemble(sample(case.run, tmp_path / "more.h5", DrawOptions(n=5, steps=6, seed=3), "cpu"))
        assert np.array_equal(few.field, more.field[:2])


@every_domain
@pytest.mark.parametrize("rule", ["checked", "chosen", "log-uniform"])
def test_levels_descend_to_zero_within_what_was_trained(domain, rule, trained):
    model = trained(domain).model
    for sampler in ("euler", "dpmpp_2m"):
        levels = choose_levels(model, sampler, 7, rule).values
        assert len(levels) == 8 and levels[-1] == 0 and (levels.diff() < 0).all()
        s_min, s_max = model.encoding.s_min, model.encoding.s_max
        assert s_min * (1 - 1e-6) <= levels[-2] and levels[0] <= s_max * (1 + 1e-6)


@every_domain
def test_the_weights_are_those_of_the_moving_average(domain, trained):
    case = trained(domain)
    state, _ = load_checkpoint(case.run.folder / "checkpoints", Launch())
    kept = case.model.denoiser.state_dict()
    assert kept.keys() == state["ema"].keys()
    assert all(torch.equal(kept[name], value) for name, value in state["ema"].items())
    assert any(not torch.equal(kept[name], value) for name, value in state["model"].items())


@every_domain
def test_nothing_in_the_model_folder_is_a_pickle(domain, trained):
    files = list((trained(domain).run.folder / "model").iterdir())
    assert {path.name for path in files} - {"levels.json", "conditions.safetensors"} == {
        "model.json",
        "weights.safetensors",
        "template.h5",
        "conditions.json",
    }
    json.loads((trained(domain).run.folder / "model" / "model.json").read_text())
    head = (trained(domain).run.folder / "model" / "weights.safetensors").read_bytes()
    json.loads(head[8 : 8 + int.from_bytes(head[:8], "little")])  # the header of the format, then plain numbers


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove", "no json"])
def test_damaged_weights_are_refused(damage, trained, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(trained(list_domains()[0]).run.folder / "model", folder)
    weights = folder / "weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    if damage == "remove":
        weights.unlink()
    elif damage == "no json":
        (folder / "model.json").write_text("{")
    else:
        weights.write_bytes(content if damage == "flip" else content[:-5])
    with pytest.raises(InputError, match="sha256|no readable model"):
        load_model(folder, "cpu")


# --- layouts that files come in -----------------------------------------------------------------------


def fields(dims, sizes, coords=None, **attrs):
    """60 fields of small white noise with a label and a simulation number, cells of 1 Mpc/h."""
    noise = 0.1 * np.random.default_rng(0).normal(size=(60, *sizes))
    centres = {d: (d, np.arange(n) + 0.5, {"units": "Mpc/h"}) for d, n in zip(dims, sizes, strict=True) if d in "zyx"}
    variables = {
        "field": (("sample", *dims), noise.astype(np.float32)),
        "simulation": ("sample", np.arange(60) // 2),
        "Omega_m": ("sample", np.linspace(0.1, 0.5, 60)),
        "source": ("sample", [f"{i}.npy" for i in range(60)]),
    }
    return xr.Dataset(variables, centres | (coords or {}), {"domain": "cosmology", "field_kind": "delta"} | attrs)


@pytest.mark.parametrize(
    "data",
    [
        fields(("component", "y", "x"), (2, 16, 16), {"component": ["matter", "gas"]}),
        fields(("redshift", "y", "x"), (2, 16, 16)),
        fields(("y", "x"), (16, 8), {"y": ("y", 2.0 * np.arange(16), {"units": "Mpc/h"})}, periodic=0),
    ],
    ids=["components", "redshifts without numbers", "a rectangle of oblong cells that is not periodic"],
)
def test_fields_of_every_layout_train_draw_and_are_judged(data, tmp_path):
    path = save_ensemble(data, tmp_path / "data.h5")
    words = [f"dataset={path}", "tracking.uri=off", "training.steps=4"]
    folder = train(load_config(CONFIGS / "cosmology" / "smoke.yaml", words), tmp_path, device="cpu")
    reference = load_ensemble(folder / "data" / "test.h5")
    made = sample(folder, tmp_path / "made.h5", DrawOptions(n=12, steps=4, levels="log-uniform"), "cpu")
    drawn = load_ensemble(made)
    assert drawn.field.dims == data.field.dims and "source" not in drawn and "part" not in drawn.attrs
    assert sorted(drawn.Omega_m.values) == sorted(reference.Omega_m.values)
    domain = load_config(CONFIGS / "cosmology" / "smoke.yaml", words).data
    generated = domain.confront(reference, drawn, "generated")
    for name in ("power_spectrum", "one_point"):
        diagnostic = domain.diagnostics()[name]
        assert diagnostic(generated).value.dims == diagnostic(reference).value.dims
    found = domain.memorization(generated, load_ensemble(folder / "data" / "train.h5"), reference)
    assert np.isfinite(found.auc)


def test_fields_of_several_components_are_judged_and_shown(tmp_path):
    """The whole evaluation, figures and report too, of two halves of one set."""
    data = fields(("component", "y", "x"), (2, 16, 16), {"component": ["matter", "gas"]})
    files = [save_ensemble(data.isel(sample=s), tmp_path / n) for s, n in ((slice(30), "a"), (slice(30, None), "b"))]
    judged = evaluate(*files, None, tmp_path / "judged")
    assert {"power_spectrum", "correlation"} <= set(judged.summary)
    assert (judged.folder / "report.html").exists()
