"""Importers on files as their writers make them, and files that must be refused."""

import json
from importlib import import_module

import h5py
import numpy as np
import pytest

from physgen.domains.spins import Domain
from physgen.domains.spins.couplings import lattice_edges
from physgen.errors import InputError


@pytest.fixture
def made():
    return Domain(length=4, instances=2, replicas=5, temperatures=(0.7, 1.4), boundary="periodic").simulate(seed=0)


def write_npy(folder, **arrays):
    paths = []
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
        paths.append(folder / f"{name}.npy")
    return paths


def write_edge_list(path, couplings, flip=False):
    """The layout of the Global Annealing data: one line 'spin1 spin2 J' per edge, spins in C order from 0."""
    rows = np.c_[lattice_edges(couplings.shape[1:]), couplings.reshape(-1)]
    np.savetxt(path, rows[:, [1, 0, 2]] if flip else rows, fmt="%d %d %.6f")
    return path


def test_arrays_come_back_with_their_energies(made, tmp_path):
    paths = write_npy(tmp_path, spins=made.field.values, couplings=made.couplings.values)
    loaded = Domain.load("spins_npy", paths, temperatures="0.7, 1.4 J")
    np.testing.assert_allclose(loaded.energy, made.energy)
    assert np.array_equal(loaded.field, made.field) and loaded.temperature.values.tolist() == [0.7, 1.4]


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("shape", ["4,4", ""])
def test_edge_lists_come_back_as_lattice_or_graph(made, tmp_path, shape, flip):
    paths = []
    for d in range(2):
        paths.append(write_edge_list(tmp_path / f"couplings_L4_{d}.txt", made.couplings.values[d], flip))
        paths += write_npy(tmp_path, **{f"spins{d}": made.field.values[d].reshape(2, 5, 16)})
    options = {"temperatures": "0.7,1.4"} | ({"shape": shape} if shape else {})
    loaded = Domain.load("edge_list", paths, **options)
    np.testing.assert_allclose(loaded.energy, made.energy, atol=3e-6)  # six decimals in the text
    assert loaded.field.dims[3:] == (("y", "x") if shape else ("site",))
    assert ("edges" in loaded) == (not shape)
    if shape:
        np.testing.assert_allclose(loaded.couplings, made.couplings, atol=1e-6)


def test_peapods_configurations_have_the_exact_energies_of_their_temperatures(tmp_path):
    """peapods as an oracle: its snapshots, read with its couplings, against the exact energies of this package."""
    peapods = import_module("peapods")
    from peapods.sweep import _save_data

    from physgen.domains.spins.exact import log_partition

    temperatures = np.array([0.8, 1.4, 2.2])
    couplings = np.random.default_rng(3).normal(size=(6, 6, 2)).astype(np.float32)
    model = peapods.Ising((6, 6), couplings, temperatures, n_replicas=2)
    model.sample(
        24_000, sweep_mode="gibbs", pt_interval=1, overlap_cluster_update_interval=40, snapshot_interval=40,
        sequential=True,
    )  # fmt: skip
    _save_data({"6x6": model}, "gaussian", temperatures, tmp_path)
    archive = next(tmp_path.glob("*.npz"))
    made = Domain.load("peapods", [archive, *write_npy(tmp_path, couplings=couplings)])
    bonds = made.couplings.values[0]
    for level, temperature in enumerate(made.temperature.values):
        exact = log_partition(bonds, temperature)[1]
        pairs = made.energy.values[0, level].reshape(-1, 2).mean(axis=1)  # the two replicas of one snapshot
        blocks = pairs[: len(pairs) // 20 * 20].reshape(20, -1).mean(axis=1)
        assert abs(blocks.mean() - exact) < 4 * blocks.std(ddof=1) / np.sqrt(20)


def write_mcising(path, made, sign=1, **lattice):
    """The canonical layout (schema 3) of mcising 1.x, with energies per site."""
    with h5py.File(path, "w") as file:
        config = {"lattice": {"lattice_type": "square", "size": 4, "j1": 1.0, "j2": 0.0, "j3": 0.0, "h": 0.0} | lattice}
        meta = file.create_group("metadata")
        meta.attrs.update(schema_version=3, kind="canonical", config_json=json.dumps(config))
        for level, temperature in reversed(list(enumerate(made.temperature.values))):
            group = file.create_group(f"T={temperature:.6f}")
            group.attrs["temperature"] = temperature
            group["configurations"] = made.field.values[0, level]
            group["energy"] = sign * made.energy.values[0, level]
    return path


def test_mcising_files_are_read_and_their_energies_checked(tmp_path):
    fields = {"length": 4, "instances": 1, "replicas": 7, "temperatures": (2.0, 3.0), "boundary": "periodic"}
    magnet = Domain(model="ferromagnet", **fields)
    made = magnet.simulate(seed=0)
    loaded = Domain.load("mcising", [write_mcising(tmp_path / "good.h5", made)])
    assert np.array_equal(loaded.field, made.field) and loaded.temperature.values.tolist() == [2.0, 3.0]
    with pytest.raises(InputError, match="check sign and lattice"):
        Domain.load("mcising", [write_mcising(tmp_path / "sign.h5", made, sign=-1)])
    with pytest.raises(InputError, match="only j1"):
        Domain.load("mcising", [write_mcising(tmp_path / "j2.h5", made, j2=0.5)])
    (tmp_path / "cut.h5").write_bytes((tmp_path / "good.h5").read_bytes()[:900])
    with pytest.raises(InputError, match="not an mcising file"):
        Domain.load("mcising", [tmp_path / "cut.h5"])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda s, c: (s.astype(object), c), "no Python objects"),
        (lambda s, c: (np.where(s > 0, s, 0), c), "map 0 to -1"),
        (lambda s, c: (np.where(s > 0, np.nan, -1.0), c), "every spin is"),
        (lambda s, c: (s * 2, c), "spin 2|spin -2"),
        (lambda s, c: (s, np.where(c > 1, np.nan, c)), "finite numbers"),
        (lambda s, c: (s, c[:, :1]), "must have shape"),
        (lambda s, c: (s, c[:1]), "must have shape"),
        (lambda s, c: (s[:, :1], c), "1 in the file"),
        (lambda s, c: (s[0, 0, 0], c), "need dims"),
        (lambda s, c: (s.astype(str), c), "no Python objects|dtype"),
    ],
)
def test_bad_arrays_are_refused(made, tmp_path, spoil, message):
    spins, couplings = spoil(made.field.values, made.couplings.values)
    with pytest.raises(InputError, match=message):
        Domain.load("spins_npy", write_npy(tmp_path, spins=spins, couplings=couplings), temperatures="0.7,1.4")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0 1 0.5\n1 0 0.7\n", "symmetric"),
        ("0 1\n", "three finite numbers"),
        ("0 1 nan\n", "three finite numbers"),
        ("0 0 1.0\n", "itself"),
        ("0 99 1.0\n", "names spin 99"),
        ("0 1 J\n", "not a table"),
        ("0 5 1.0\n", "not a bond of the lattice"),
    ],
)
def test_bad_edge_lists_are_refused(made, tmp_path, text, message):
    (tmp_path / "edges.txt").write_text(text)
    spins = write_npy(tmp_path, spins=made.field.values[0].reshape(2, 5, 16))
    with pytest.raises(InputError, match=message):
        Domain.load("edge_list", [tmp_path / "edges.txt", *spins], temperatures="0.7,1.4", shape="4,4")


def test_wrong_words_are_refused(made, tmp_path):
    paths = write_npy(tmp_path, spins=made.field.values, couplings=made.couplings.values)
    for format, given, options, message in (
        ("npz", paths, {}, "unknown format"),
        ("spins_npy", paths, {"temperature": "1"}, "unknown option 'temperature'.*it takes temperatures"),
        ("spins_npy", paths[:1], {}, "two files"),
        ("spins_npy", paths, {"temperatures": "cold"}, "separated by commas"),
        ("spins_npy", paths, {"temperatures": "0.7,-1"}, "positive"),
        ("spins_npy", [], {}, "at least one file"),
        ("edge_list", paths, {"temperatures": "1"}, "one of each"),
    ):
        with pytest.raises(InputError, match=message):
            Domain.load(format, given, **options)
