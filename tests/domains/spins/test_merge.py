"""Several files, one ensemble; and what counts as independent in a single instance."""

import json
import shlex
from importlib import import_module
from pathlib import Path

import h5py
import numpy as np
import pytest

from physgen.cli import main
from physgen.diagnostics.comparison import measure
from physgen.diagnostics.resampling import halves
from physgen.diagnostics.result import units
from physgen.domains.spins import Domain
from physgen.domains.spins.layout import instance_digests
from physgen.domains.spins.merge import blocks_of_chain
from physgen.ensemble import load_ensemble, save_ensemble, split, splitting_label, units_of_samples
from physgen.errors import InputError
from physgen.tracking.journal import read_journal

pytestmark = pytest.mark.usefixtures("blank_figures")

SMOKE = Path(__file__).resolve().parents[3] / "configs" / "spins" / "smoke.yaml"
FIELDS = {"length": 4, "temperatures": (2.0, 3.0), "boundary": "periodic"}


def write_mcising(path, made):
    """The canonical layout (schema 3) of mcising 1.x, with energies per site."""
    with h5py.File(path, "w") as file:
        lattice = {"lattice_type": "square", "size": 4, "j1": 1.0, "j2": 0.0, "j3": 0.0, "h": 0.0}
        meta = file.create_group("metadata")
        meta.attrs.update(schema_version=3, kind="canonical", config_json=json.dumps({"lattice": lattice}))
        for level, temperature in enumerate(made.temperature.values):
            group = file.create_group(f"T={temperature:.6f}")
            group.attrs["temperature"] = temperature
            group["configurations"] = made.field.values[0, level]
            group["energy"] = made.energy.values[0, level]
    return path


def glass(seed, **fields):
    return Domain(**FIELDS | {"instances": 2, "replicas": 6} | fields).simulate(seed)


def saved(folder, *ensembles):
    return [save_ensemble(ensemble, folder / f"{i}.h5") for i, ensemble in enumerate(ensembles)]


def test_files_of_other_couplings_become_instances_and_of_the_same_replicas(tmp_path):
    one, other = glass(0), glass(1)
    joined = Domain.load("spin_ensembles", saved(tmp_path, one, other.isel(temperature=[1, 0])))
    assert joined.sizes["disorder"] == 4
    assert np.array_equal(joined.field[2:], other.field) and np.array_equal(joined.field[:2], one.field)
    halves = [one.isel(replica=slice(0, 3)), one.isel(replica=slice(3, 6), disorder=[1, 0])]
    again = Domain.load("spin_ensembles", saved(tmp_path, *halves))
    assert np.array_equal(again.field, one.field) and "chain" not in again.variables


def test_equal_couplings_under_two_numbers_are_one_instance(tmp_path):
    one = glass(0)
    np.save(tmp_path / "s.npy", np.concatenate([one.field.values, one.field.values]))
    np.save(tmp_path / "j.npy", np.concatenate([one.couplings.values, one.couplings.values]))
    paths = [tmp_path / "s.npy", tmp_path / "j.npy"]
    made = Domain.load("spins_npy", paths, temperatures="2,3")
    assert made.sizes["disorder"] == 2 and made.sizes["replica"] == 12
    assert "4 disorder numbers hold 2 different Hamiltonians" in made.attrs["import_notes"]
    np.save(tmp_path / "s.npy", one.field.values[[0, 1, 0]])
    np.save(tmp_path / "j.npy", one.couplings.values[[0, 1, 0]])
    with pytest.raises(InputError, match=r"instances \[0, 2\] have the same couplings"):
        Domain.load("spins_npy", paths, temperatures="2,3")


def test_files_that_are_no_one_ensemble_are_refused(tmp_path):
    one = glass(0)
    for other, message in (
        (glass(0, length=6), "lattice of 4 x 4, .* a lattice of 6 x 6"),
        (glass(0, temperatures=(2.0, 4.0)), r"\[2, 3\] J, .* \[2, 4\] J"),
        (one.assign_attrs(domain="cosmology"), "domain 'cosmology'"),
    ):
        with pytest.raises(InputError, match=message):
            Domain.load("spin_ensembles", saved(tmp_path, one, other))


def test_blocks_of_a_chain_are_longer_than_its_memory():
    rng = np.random.default_rng(0)
    memory, series = 0.9, np.zeros((1, 20_000))
    for i in range(1, series.shape[1]):
        series[0, i] = memory * series[0, i - 1] + rng.normal()
    blocks, tau = blocks_of_chain(series)
    exact = 0.5 * (1 + memory) / (1 - memory)
    assert tau == pytest.approx(exact, rel=0.25)  # error of tau: sqrt(4 (6 tau)/n) = 11 %
    assert np.bincount(blocks).min() >= 9 * tau
    means = np.array([series[0, blocks == b].mean() for b in np.unique(blocks)])
    assert abs(np.corrcoef(means[1:], means[:-1])[0, 1]) < 4 / np.sqrt(len(means)) + 0.05
    free, tau = blocks_of_chain(rng.normal(size=(2, 400)))
    assert len(np.unique(free)) == 400 and tau < 0.7


def test_the_unit_of_a_single_instance_is_the_replica_or_the_named_chain(tmp_path):
    one = glass(0, instances=1)
    assert len(set(units_of_samples(one))) == 6 and units(one).count == 6 and units(one).ids is None
    assert units(one).mean(units_of_samples(one))[:, 0].tolist() == list(range(6))
    np.save(tmp_path / "s.npy", one.field.values)
    np.save(tmp_path / "j.npy", one.couplings.values)
    chains = Domain.load("spins_npy", [tmp_path / "s.npy", tmp_path / "j.npy"], temperatures="2,3", chains="3")
    assert chains.chain.values.tolist() == [0, 0, 1, 1, 2, 2] and units(chains).count == 3
    assert splitting_label(chains, "disorder", 3) == "chain" and splitting_label(one, "disorder", 3) == "replica"
    assert splitting_label(glass(0, instances=3), "disorder", 3) == "disorder"
    parts = split(chains, "chain", {"train": 0.5, "test": 0.5}, seed=0)
    assert not set(parts["train"].chain.values) & set(parts["test"].chain.values)


def test_mcising_files_of_one_model_join(tmp_path):
    made = Domain(model="ferromagnet", **FIELDS | {"instances": 1, "replicas": 40}).simulate(seed=0)
    halves = [made.isel(replica=slice(0, 20)), made.isel(replica=slice(20, 40))]
    paths = [write_mcising(tmp_path / f"{i}.h5", half) for i, half in enumerate(halves)]
    joined = Domain.load("mcising", paths)
    assert np.array_equal(joined.field, made.field)
    assert not set(joined.chain.values[:20]) & set(joined.chain.values[20:])
    with h5py.File(paths[1], "r+") as file:
        for temperature in ("T=2.000000", "T=3.000000"):  # in all, not per site
            file[f"{temperature}/energy"][...] *= -2 * 16
    with pytest.raises(InputError, match="agree with couplings that count each pair twice, with the other sign"):
        Domain.load("mcising", paths)


@pytest.fixture(scope="module")
def peapods_runs(tmp_path_factory):
    """Two runs of peapods, each with its archive and its couplings."""
    peapods = import_module("peapods")
    from peapods.sweep import _save_data

    temperatures, pairs = np.array([1.0, 1.6]), []
    for run in range(2):
        folder = tmp_path_factory.mktemp(f"run{run}")
        couplings = np.random.default_rng(run).normal(size=(4, 4, 2)).astype(np.float32)
        model = peapods.Ising((4, 4), couplings, temperatures, n_replicas=2)
        model.sample(
            3000, sweep_mode="gibbs", pt_interval=1, overlap_cluster_update_interval=20, snapshot_interval=20,
            sequential=True,
        )  # fmt: skip
        _save_data({"4x4": model}, "gaussian", temperatures, folder)
        np.save(folder / "couplings.npy", couplings)
        pairs.append([next(folder.glob("*.npz")), folder / "couplings.npy"])
    return pairs


def test_peapods_runs_join_as_instances(peapods_runs):
    joined = Domain.load("peapods", [path for pair in peapods_runs for path in pair])
    assert joined.sizes["disorder"] == 2 and len(set(instance_digests(joined))) == 2
    assert joined.chain.values[0] == joined.chain.values[1]  # the two replicas of a snapshot


def test_peapods_energies_convict_the_couplings_of_another_run(peapods_runs, tmp_path):
    (first, own), (_, other) = peapods_runs
    with pytest.raises(InputError, match="mean energies .* are not those .*another run"):
        Domain.load("peapods", [first, other], check="off")
    np.save(tmp_path / "negative.npy", -np.load(own))
    with pytest.raises(InputError, match="agree with the other sign"):
        Domain.load("peapods", [first, tmp_path / "negative.npy"], check="off")
    with pytest.raises(InputError, match="are not those of .*save Ising.couplings"):
        np.save(tmp_path / "small.npy", np.load(own)[:3])
        Domain.load("peapods", [first, tmp_path / "small.npy"])


def test_a_single_instance_is_imported_trained_drawn_and_judged(tmp_path, capsys):
    made = Domain(model="ferromagnet", **FIELDS | {"instances": 1, "replicas": 60}).simulate(seed=0)
    paths = [write_mcising(tmp_path / f"{i}.h5", made.isel(replica=slice(30 * i, 30 * i + 30))) for i in range(2)]
    data, runs = tmp_path / "d.h5", tmp_path / "runs"
    assert main(["import", "mcising", *map(str, paths), "-o", str(data)]) == 0
    said = capsys.readouterr().out
    assert "Callen's identity" in said and f" name=d dataset={data}\n" in said
    words = [str(SMOKE), "name=one", f"dataset={data}", "tracking.uri=off", "training.steps=3", "--runs", str(runs)]
    assert main(["train", *words]) == 0
    parts = {name: load_ensemble(runs / "one" / "data" / f"{name}.h5") for name in ("train", "validation", "test")}
    assert sum(part.sizes["replica"] for part in parts.values()) == 60
    headlines = [r["metrics"] for r in read_journal(runs / "one") if "validation/ratio_mean" in r.get("metrics", {})]
    assert headlines and all(np.isfinite(list(metrics.values())).all() for metrics in headlines)
    assert headlines[0]["validation/ratio_mean"] == pytest.approx(1, abs=0.01)  # an untrained network is its baseline
    assert main(["sample", str(runs / "one"), "-n", "8", "--steps", "4", "-o", str(tmp_path / "g.h5")]) == 0
    judged = ["evaluate", str(tmp_path / "g.h5"), "--reference", str(runs / "one/data/test.h5")]
    assert main([*judged, "--train", str(runs / "one/data/train.h5"), "-o", str(tmp_path / "e")]) == 0
    assert (tmp_path / "e" / "summary.json").is_file()


def test_the_printed_next_command_is_true_of_a_graph(tmp_path, capsys):
    (tmp_path / "e.txt").write_text("0 1 1.0\n1 2 1.0\n")
    np.save(tmp_path / "s.npy", np.ones((1, 4, 3), np.int8))
    words = ["import", "edge_list", str(tmp_path / "e.txt"), str(tmp_path / "s.npy"), "temperatures=1"]
    assert main([*words, "-o", str(tmp_path / "o.h5")]) == 0
    said = capsys.readouterr().out
    command = shlex.split(said.split("next: physgen ", 1)[1])
    quick = ["tracking.uri=off", "training.steps=1", "training.warmup=1", "--runs", str(tmp_path / "runs")]
    assert command[-1].startswith("network=") and main([*command, *quick]) == 0


def test_two_replicas_of_an_instance_can_be_judged():
    """The classical set-up: the floor of an overlap then comes from halves of the instances."""
    fields = {"length": 4, "instances": 12, "replicas": 2, "temperatures": (1.0,)}
    one, same = Domain(**fields).simulate(1), Domain(**fields).simulate(1)
    first, second = halves(one, seed=0, within=True)
    assert first.sizes["disorder"] == second.sizes["disorder"] == 6 and first.sizes["replica"] == 2
    compared = measure(one, same, Domain().diagnostics()["overlap"])[2]
    assert np.isfinite(float(compared["distance_tv_floor"].max()))
