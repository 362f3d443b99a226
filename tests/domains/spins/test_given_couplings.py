"""Couplings without configurations: imported, simulated, drawn for, and refused where configurations are needed."""

import re
import shlex

import numpy as np
import pytest
import yaml

import physgen as pg
from physgen.cli.commands import main
from physgen.domains.spins import Domain, from_arrays
from physgen.domains.spins.couplings import complete_graph, cut_seams, lattice_edges
from physgen.domains.spins.enumeration import enumerate_graph
from physgen.ensemble import load_conditions
from physgen.errors import InputError

pytestmark = pytest.mark.usefixtures("blank_figures")

FAR = 4.5  # standard errors: by chance in 1 of 1e5


def bonds(shape, count=2, boundary="periodic", seed=3):
    drawn = np.random.default_rng(seed).normal(size=(count, len(shape), *shape)).astype(np.float32)
    return np.stack([cut_seams(one, boundary) for one in drawn])


def exact_moments(couplings, edges, temperature, spins, outer=None):
    law = enumerate_graph(spins, edges, couplings.reshape(-1), temperature, outer)
    energy = law.energies / spins
    return law.probabilities @ energy, np.sqrt(law.probabilities @ energy**2 - (law.probabilities @ energy) ** 2)


def write_edges(path, rows, header=""):
    np.savetxt(path, rows, fmt="%d %d %.9g", header=header)
    return path


def check_energies(made, couplings, edges, spins, outer=None):
    for i, one in enumerate(couplings):
        for t, temperature in enumerate(made.temperature.values.tolist()):
            mean, spread = exact_moments(one, edges, temperature, spins, None if outer is None else outer[i])
            found = made.energy.values[i, t]
            independent = len(found)
            assert abs(found.mean() - mean) < FAR * spread / np.sqrt(independent)


@pytest.mark.parametrize(
    ("method", "shape", "boundary"),
    [
        ("auto", (3, 3), "periodic"),
        ("auto", (4, 4), "free"),
        ("auto", (5, 2, 2), "cylinder"),
        ("enumeration", (3, 3), "cylinder"),
    ],
)
def test_exact_methods_draw_from_the_law_of_the_given_couplings(method, shape, boundary):
    given, spins = bonds(shape, boundary=boundary), int(np.prod(shape))
    domain = Domain(length=3, temperatures=(0.8, 1.6), replicas=400, instances=7, method=method)
    made = domain.simulate_given(from_arrays(None, given), seed=1)
    assert np.array_equal(made.couplings, given) and made.sizes["disorder"] == 2
    check_energies(made, given, lattice_edges(shape), spins)
    assert made.exact_energy.values[0, 0] == pytest.approx(
        exact_moments(given[0], lattice_edges(shape), 0.8, spins)[0], abs=1e-9
    )


def test_an_external_field_acts():
    given, outer = bonds((3, 3), boundary="cylinder"), np.random.default_rng(0).normal(size=(2, 9)).astype(np.float32)
    template = from_arrays(None, given, external_field=outer.reshape(2, 3, 3))
    made = Domain(temperatures=(1.0,), replicas=400).simulate_given(template, seed=2)
    check_energies(made, given, lattice_edges((3, 3)), 9, outer)
    tempered = Domain(temperatures=(1.0,), replicas=200, method="parallel_tempering", sweeps=4096, hottest=2.0)
    made = tempered.simulate_given(template, seed=2)
    check_energies(made, given, lattice_edges((3, 3)), 9, outer)
    assert "equilibration_katzgraber_young_p" not in made.attrs  # nothing is known of the law of given fields


@pytest.mark.parametrize("graph", [False, True])
def test_parallel_tempering_reaches_the_law_of_the_given_couplings(graph):
    """The error counts the independent configurations that the run measured, at most the replicas."""
    edges = complete_graph(9) if graph else lattice_edges((3, 3))
    given = np.random.default_rng(5).normal(size=(2, len(edges))).astype(np.float32) * (0.3 if graph else 1)
    template = from_arrays(None, given, edges=edges) if graph else from_arrays(None, given.reshape(2, 2, 3, 3))
    domain = Domain(temperatures=(1.0,), replicas=400, method="parallel_tempering", sweeps=8000, hottest=2.0)
    made = domain.simulate_given(template, seed=1)
    assert float(made.independent_samples.min()) > 400  # so the 400 that are kept count as independent
    check_energies(made, given, edges, 9)
    again = domain.simulate_given(template, seed=1, processes=2)
    assert again.identical(made)
    assert not domain.simulate_given(template, seed=2).field.equals(made.field)


def test_a_seed_and_not_the_number_of_processes_makes_exact_samples():
    template = from_arrays(None, bonds((4, 4), count=3))
    domain = Domain(temperatures=(1.0,), replicas=8)
    assert domain.simulate_given(template, 4, processes=3).identical(domain.simulate_given(template, 4))


def test_couplings_that_a_method_cannot_take_are_refused():
    graph = from_arrays(None, np.ones((1, 3)), edges=np.array([[0, 1], [1, 2], [0, 2]]))
    with pytest.raises(InputError, match="needs a lattice.*general graph of 3 spins"):
        Domain(method="transfer_matrix").simulate_given(graph, 0)
    with pytest.raises(InputError, match="at most 20 spins, the given couplings join 25"):
        Domain(length=3, method="enumeration").simulate_given(from_arrays(None, bonds((5, 5))), 0)
    with pytest.raises(InputError, match="no-file.txt does not exist"):
        pg.simulate(pg.Experiment(name="none", domain="spins", data=Domain()), "no-file.txt")
    with pytest.raises(InputError, match=r"\[1.0, 1.5, 2.0\] J.*\[0.5\] J.*data.temperatures=\[0.5J\]"):
        Domain().simulate_given(from_arrays(None, bonds((3, 3)), 0.5), 0)


# --- the importer ------------------------------------------------------------------------------------


def test_edge_lists_become_a_lattice_with_the_sign_that_was_said(tmp_path):
    given = bonds((4, 4))
    paths = []
    for i, one in enumerate(given):
        rows = np.c_[lattice_edges((4, 4)) + 1, -one.reshape(-1)]
        paths.append(write_edges(tmp_path / f"J{i}.txt", rows))
    read = Domain.load("couplings", paths, shape="4,4", sign="plus", first="1", temperatures="2,1")
    np.testing.assert_array_equal(read.couplings, given)
    assert "field" not in read and read.temperature.values.tolist() == [1, 2]
    assert read.attrs["template"] == "couplings" and "not_trainable" not in read.attrs


def test_edge_lists_of_different_graphs_stand_on_the_union_of_their_edges(tmp_path):
    paths = [
        write_edges(tmp_path / "a.txt", [[0, 1, 1.5], [1, 2, -1]]),
        write_edges(tmp_path / "b.txt", [[2, 3, 2.0], [0, 1, 0.5]]),
    ]
    read = Domain.load("couplings", paths, sign="minus")
    assert read.edges.values.tolist() == [[0, 1], [1, 2], [2, 3]]
    assert read.couplings.values.tolist() == [[1.5, -1, 0], [0.5, 0, 2]]
    assert "not_trainable" not in read.attrs


@pytest.mark.parametrize("last", [False, True])
def test_arrays_of_bonds_are_read_in_either_order_of_their_axes(tmp_path, last):
    given = bonds((4, 5))
    np.save(tmp_path / "J.npy", np.moveaxis(given, 1, -1) if last else given)
    read = Domain.load("couplings", [tmp_path / "J.npy"])
    np.testing.assert_array_equal(read.couplings, given)
    np.save(tmp_path / "one.npy", given[0])
    both = Domain.load("couplings", [tmp_path / "one.npy", tmp_path / "one.npy"])
    np.testing.assert_array_equal(both.couplings, given[:1])
    assert "2 instances 1 are different" in both.attrs["import_notes"]


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        ([[1, 2, 1.0], [2, 3, 1.0]], {}, "first=1 for 3 spins counted from 1, first=0 for 4"),
        ([[0, 1, 1.0], [1, 0, 1.0]], {}, "parallel=sum"),
        ([[0, 5, 1.0]], {"shape": "3,3"}, "a bond of the lattice"),
        ([[0, 1, 1.0]], {"shape": "3,3", "spins": "4"}, "correct one"),
        ([[0, 1, 1.0]], {"sign": ""}, "sign=minus for H = -sum J s s, or sign=plus"),
        ([[0, 1, 1.0]], {"bonds": "down"}, "'bonds' is one of .npy arrays"),
        ([[0, 1, 1.0]], {"chains": "2"}, "unknown option 'chains'"),
        ([[0, 1, 1.0]], {"temperatures": "1,1"}, "one twice"),
    ],
)
def test_bad_couplings_are_refused(tmp_path, rows, options, message):
    path = write_edges(tmp_path / "J.txt", rows)
    with pytest.raises(InputError, match=message):
        Domain.load("couplings", [path], **({"sign": "minus"} | options))


# --- the road of the command line --------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A tiny run of 4 x 4 spins."""
    folder = tmp_path_factory.mktemp("given")
    config = {
        "schema_version": 1, "name": "tiny", "domain": "spins",
        "data": {"length": 4, "temperatures": ["1 J", "2 J"], "instances": 20, "replicas": 8},
        "split": {"train": 0.6, "validation": 0.2, "test": 0.2},
        "network": {"kind": "message_passing", "width": 8, "depth": 2},
        "training": {"steps": 4, "batch_size": 16, "warmup": 1, "validate_every": 4, "checkpoint_every": 4},
        "sampling": {"sampler": "dpmpp_2m", "steps": 4, "n": 8},
    }  # fmt: skip
    (folder / "tiny.yaml").write_text(yaml.safe_dump(config))
    assert main(["simulate", str(folder / "tiny.yaml"), "-o", str(folder / "tiny.h5")]) == 0
    words = ["train", str(folder / "tiny.yaml"), f"dataset={folder / 'tiny.h5'}", "--runs", str(folder / "runs")]
    assert main(words) == 0
    return folder / "runs" / "tiny"


def command_of(text, start):
    return shlex.split(re.search(rf"{start}: physgen (.+)", text)[1])


def test_the_printed_commands_lead_from_couplings_to_a_verdict(run, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for i, one in enumerate(bonds((4, 4), count=3, boundary="cylinder")):
        write_edges(tmp_path / f"J{i}.txt", np.c_[lattice_edges((4, 4)), one.reshape(-1)])
    words = [
        "import",
        "couplings",
        "J0.txt",
        "J1.txt",
        "J2.txt",
        "shape=4,4",
        "sign=minus",
        "temperatures=1,2",
        "-o",
        "J.h5",
    ]
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert "train" not in shown and "or, from a run: physgen sample RUN --like J.h5 -o NEW.h5" in shown
    assert main([*command_of(shown, "next"), "data.replicas=16"]) == 0
    assert "next: physgen train" in capsys.readouterr().out
    assert main(["sample", str(run), "--like", "J.h5", "-n", "16", "-o", "new.h5"]) == 0
    reference = command_of(capsys.readouterr().out, "judge it by")
    assert main([*reference, "data.replicas=16"]) == 0
    drawn, truth = pg.load_ensemble("new.h5"), pg.load_ensemble("new-reference.h5")
    assert np.array_equal(drawn.couplings, truth.couplings) and drawn.field.shape == (3, 2, 16, 4, 4)
    assert "template" not in drawn.attrs and "J.h5 (sha256" in truth.attrs["given"]
    assert main(["evaluate", "new.h5", "--reference", "new-reference.h5", "-o", "judged"]) == 0


def test_couplings_without_temperatures_are_drawn_at_the_trained_or_given_ones(run):
    given = from_arrays(None, bonds((4, 4), boundary="cylinder"))
    opened = pg.open_run(run)
    assert opened.sample(2, like=given).temperature.values.tolist() == [1.0, 2.0]
    drawn = opened.sample(2, like=given, condition={"temperature": 1.5})
    assert drawn.temperature.values.tolist() == [1.5] and drawn.attrs["settings"] == "data.temperatures=[1.5J]"


def test_a_template_is_refused_where_configurations_are_needed(run, tmp_path, capsys):
    path = tmp_path / "J.h5"
    pg.save_ensemble(from_arrays(None, bonds((4, 4)), 1.0), path)
    assert load_conditions(path).couplings.shape == (2, 2, 4, 4)
    for words in (
        ["train", str(run / "experiment.yaml"), f"dataset={path}", "name=other", "--runs", str(tmp_path)],
        ["evaluate", str(path), "--reference", str(run / "data" / "test.h5")],
        ["evaluate", str(run / "data" / "test.h5"), "--reference", str(path)],
    ):
        assert main(words) == 2
        assert f"{path} holds couplings and no configurations" in capsys.readouterr().err
    with pytest.raises(InputError, match="holds couplings and no configurations"):
        pg.train(pg.open_run(run).experiment.model_copy(update={"name": "new"}), load_conditions(path), runs=tmp_path)


def test_couplings_of_a_file_are_finite():
    given = from_arrays(None, bonds((3, 3)))
    given["couplings"].values[1, 0, 2, 2] = np.nan
    for take in (lambda: Domain().simulate_given(given, 0), lambda: Domain().request(given, 2, {"temperature": 1.0})):
        with pytest.raises(InputError, match=r"couplings nan at index \(1, 0, 2, 2\)"):
            take()


def test_a_forgotten_field_is_no_template(tmp_path):
    ensemble = Domain(length=3, instances=3, replicas=2).simulate(0).drop_vars("field")
    with pytest.raises(InputError, match="needs a variable 'field'"):
        pg.save_ensemble(ensemble, tmp_path / "J.h5")


def test_a_general_graph_is_simulated_and_refused_by_a_network_of_a_lattice(run, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_edges(tmp_path / "J.txt", np.c_[complete_graph(8), np.linspace(-1, 1, 28)])
    assert main(["import", "couplings", "J.txt", "sign=-", "-o", "J.h5"]) == 0
    shown = capsys.readouterr().out
    assert "or, from a run: physgen sample RUN --like J.h5" in shown
    assert main([*command_of(shown, "next"), "data.replicas=64"]) == 0
    assert "next: physgen train" in capsys.readouterr().out
    assert main(["sample", str(run), "--like", "J.h5", "-o", "new.h5"]) == 2
    assert "general graph" in capsys.readouterr().err
