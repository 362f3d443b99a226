"""ln p through the doors: all estimates side by side, the law beside them, and what has no meaning refused."""

import json
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

import physgen as pg
from physgen.cli import main
from physgen.config import load_config
from physgen.diffusion.exact.atoms import enumerate_spins
from physgen.diffusion.inference.masked_orders import masked_bounds
from physgen.diffusion.masked import MaskedDenoiser
from physgen.domains.contract import get_domain
from physgen.stages import simulate, train
from physgen.stages.likelihood import LikelihoodOptions, find_likelihood

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
WORDS = {
    "points": ["data.law=two_gaussians", "data.dimension=3", "data.scaling=none"],
    "spins": ["data.length=3", "data.boundary=cylinder", "data.instances=10", "data.replicas=4",
              "data.temperatures=[1.5 J, 3.0 J]", "network={kind: message_passing, width: 8, depth: 2}"],
}  # fmt: skip


@pytest.fixture(scope="module", params=WORDS)
def run(request, tmp_path_factory):
    """A run of two steps: all bounds are of that network's chain, however bad it is."""
    folder, name = tmp_path_factory.mktemp(request.param), request.param
    words = ["tracking.uri=off", "training.steps=2", "training.warmup=1", f"dataset={folder / 'data.h5'}"]
    asked = load_config(CONFIGS / name / "smoke.yaml", [*words, *WORDS[name]])
    simulate(asked, folder / "data.h5")
    return pg.open_run(train(asked, folder / "runs", device="cpu"))


def test_all_estimates_side_by_side_by_command(run, tmp_path, capsys):
    data = run.data("test")
    file, out = pg.save_ensemble(data, tmp_path / "data.h5"), tmp_path / "out"
    words = ["--steps", "8", "--paths", "4", "--probes", "2", "-o", str(out)]
    assert main(["likelihood", str(run.folder), str(file), *words]) == 0
    printed, discrete = capsys.readouterr().out, "temperature" in data.dims
    wanted = ["vlb", "path", "bound", "law"] if discrete else ["flow", "bound", "vlb", "path", "law"]
    summary = json.loads((out / "summary.json").read_text())
    assert list(summary["estimates"]) == wanted and summary["method"] == wanted[0]
    assert all(f"  {name} " in printed for name in wanted) and "rate" in printed and "reversed paths" in printed
    table = xr.open_dataset(out / "likelihood.nc", group="estimates", engine="h5netcdf").load()
    steps = xr.open_dataset(out / "likelihood.nc", group="steps", engine="h5netcdf").load()
    growth = xr.open_dataset(out / "likelihood.nc", group="growth", engine="h5netcdf").load()
    vlb, path, law = (table.sel(estimate=name) for name in ("vlb", "path", "law"))
    assert bool((path.ln_p >= vlb.ln_p).all())  # for every configuration: the same paths
    assert float(law.less_variational) > -3 * float(law.less_variational_error)
    assert float(steps.paid.sum()) == pytest.approx(-float(vlb["mean"]), abs=1e-9)
    assert steps.attrs["rate"] + steps.attrs["distortion"] == pytest.approx(float(steps.so_far[-1]), abs=1e-9)
    assert growth.paths.values.tolist() == [1, 2, 4] and bool((np.diff(growth.bound) >= 0).all())
    assert float(growth.bound[0]) == pytest.approx(float(vlb["mean"]), abs=1e-9)
    assert float(steps.level[-1]) == (0 if discrete else pytest.approx(summary["s_min"]))
    assert (out / "figures" / "likelihood.svg").exists()
    again = run.log_likelihood(data, method="path", steps=8, paths=4, probes=2, progress=False)
    np.testing.assert_allclose(again.values["ln_p"], path.ln_p, rtol=1e-6)
    assert again.values.attrs["method"] == "path" and "path_error" in again.values


def test_methods_that_mean_nothing_are_refused(run, tmp_path, capsys):
    file = pg.save_ensemble(run.data("test"), tmp_path / "data.h5")

    def said(*words):
        assert main(["likelihood", str(run.folder), str(file), "-o", str(tmp_path / "out"), *words]) == 2
        return capsys.readouterr().err

    if run.run.domain.values.name == "binary":
        assert "have probabilities instead: choose of vlb, path, bound, law, or all" in said("--method", "vlb,flow")
    assert "unknown: choose of flow" in said("--method", "vlb,ellipse")
    assert "paths = 1 give no error" in said("--paths", "1")
    assert "choose one of covariance, ancestral" in said("--kernel", "thin")
    unnamed = run.data("test").drop_attrs(deep=False) if run.run.domain.name == "points" else None
    if unnamed is not None:
        file = pg.save_ensemble(unnamed.assign_attrs(domain="points"), tmp_path / "unnamed.h5")
        assert "not known of these data" in said("--method", "law")


class Blind(torch.nn.Module):
    """Fields of a masked network that sees the mean of the known sites alone."""

    def __init__(self):
        super().__init__()
        self.strength = torch.nn.Parameter(torch.tensor(0.4))

    def forward(self, x, u, condition=None):
        return self.strength * x.mean((1, 2, 3), keepdim=True) + torch.zeros_like(x)


@pytest.mark.parametrize("run", ["spins"], indirect=True)
def test_a_masked_network_is_bounded_over_orders(run):
    data, model = run.data("test"), replace(run.model, denoiser=MaskedDenoiser(Blind()))
    found = find_likelihood(run.run, data, LikelihoodOptions(paths=3), model=model)
    fields, spins = masked_bounds(model.denoiser, *encoded(run, data), 3, 0), found.values["ln_p"].values.reshape(-1)
    np.testing.assert_allclose(spins, fields.variational, rtol=1e-9)
    assert found.others["steps"].level.values[[0, -1]].tolist() == [1, 0] and found.others["steps"].sizes["level"] == 10
    assert found.others["estimates"].estimate.values.tolist() == ["vlb", "path", "law"] and "orders" in found.table


@pytest.mark.parametrize("run", ["spins"], indirect=True)
def test_the_bound_of_an_exact_denoiser_of_spins_is_their_probability(run):
    """The noise that is left has an entropy, which is taken off: 9 ln(2 pi e s_min^2)/2 = -1.7."""
    data = run.data("test")
    exact = run.run.domain.exact_denoiser(data, run.model.encoding.domain)
    model = replace(run.model, denoiser=exact)
    options = LikelihoodOptions("bound,law", probes=24, steps=24)
    table = find_likelihood(run.run, data, options, model=model).others["estimates"]
    away, error = (float(table[name].sel(estimate="law")) for name in ("less_first", "less_first_error"))
    assert abs(away) < 3 * error and error < 0.3


def encoded(run, data):
    return run.run.domain.encode(data, run.model.encoding.domain)[:1]


def lattice(name, **fields):
    asked = load_config(CONFIGS / name / "smoke.yaml", [f"data.{key}={value}" for key, value in fields.items()])
    made = asked.data.simulate(3)
    assert made.sizes["y"] == fields["length"]
    return made, asked.data


@pytest.mark.parametrize("name", ["spins", "potts"])
def test_probabilities_of_all_states_add_up_to_one(name):
    """With bonds, two temperatures and any norm that is wrong, the sum is not one."""
    fields = {"length": 3 if name == "spins" else 2, "instances": 2, "replicas": 1, "boundary": "periodic"}
    template, domain = lattice(name, **fields)
    sites = fields["length"] ** 2
    if name == "spins":
        states = enumerate_spins(sites).double().reshape(-1, 1, 3, 3)
    else:
        kinds = torch.tensor(list(product(range(3), repeat=sites))).reshape(-1, 2, 2)
        states = torch.nn.functional.one_hot(kinds, 3).double().movedim(-1, 1)
    law = domain.log_law(template, {})
    for sample in range(4):
        assert float(law(states, sample, 0.0).logsumexp(0)) == pytest.approx(0, abs=1e-12 * len(states))
    with pytest.raises(ValueError, match="give 0"):
        law(states, 0, 0.2)


def test_probabilities_of_a_graph_and_of_a_lattice_that_is_too_wide():
    spins, edges = get_domain("spins")(), [[0, 1], [1, 2], [0, 2], [2, 3]]
    temperatures = {"temperature": [0.7, 2.0]}
    variables = {"couplings": (("disorder", "edge"), [[1.0, -0.5, 0.8, 1.2]]), "edges": (("edge", "end"), edges)}
    variables["field"] = (("disorder", "temperature", "replica", "site"), np.ones((1, 2, 1, 4), np.int8))
    law = spins.log_law(xr.Dataset(variables, temperatures), {})
    for sample in range(2):
        found = law(enumerate_spins(4).double()[:, None], sample, 0.0)
        assert float(found.logsumexp(0)) == pytest.approx(0, abs=1e-12)
    variables = {"couplings": (("disorder", "direction", "y", "x"), np.ones((1, 2, 12, 12)))}
    variables["field"] = (("disorder", "temperature", "replica", "y", "x"), np.ones((1, 2, 1, 12, 12), np.int8))
    wide = xr.Dataset(variables, temperatures)
    assert bool(spins.log_law(wide, {})(torch.ones(1, 1, 12, 12).double(), 0, 0.0).isnan().all())
    assert get_domain("cosmology")().log_law(wide, {}) is None
