"""A network that comes with physgen, on the couplings of a stranger, from the command line."""

import shlex

import numpy as np
import pytest

from physgen.cli import main
from physgen.domains.spins.enumeration import enumerate_graph
from physgen.domains.spins.exact import log_partition
from physgen.ensemble import load_ensemble


@pytest.fixture(scope="module")
def couplings(tmp_path_factory):
    """An edge list of a lattice 6 x 3 x 3, free along the first dim, and its bonds."""
    file = tmp_path_factory.mktemp("glass") / "my_couplings.txt"
    bonds = np.random.default_rng(4).normal(size=(3, 6, 3, 3))
    bonds[0, -1] = 0
    site = np.arange(54).reshape(6, 3, 3)
    lines = ["# H = -sum J s s", "# shape = 6,3,3"]
    for axis in range(3):
        ahead = np.roll(site, -1, axis)
        lines += [
            f"{i} {j} {J:.17g}" for i, j, J in zip(site.ravel(), ahead.ravel(), bonds[axis].ravel(), strict=True) if J
        ]
    file.write_text("\n".join(lines) + "\n")
    return file, bonds


def test_ln_z_of_couplings_in_a_text_file_is_that_of_the_transfer_matrix(couplings, tmp_path, capsys):
    file, bonds = couplings
    new = tmp_path / "new.h5"
    words = ["--like", str(file), "--condition", "temperature=1.2", "--weights", "-n", "100", "--steps", "32"]
    assert main(["sample", "glass:ea3d", *words, "-o", str(new)]) == 0
    said = capsys.readouterr().out
    law = load_ensemble(new).isel(disorder=0, temperature=0)
    exact = log_partition(bonds, 1.2)[0]
    assert float(law["effective_fraction"]) > 0.3
    assert abs(float(law["log_Z"]) - exact) < 4 * float(law["log_Z_error"]) < 1
    # what it says next is a command that runs: an exact reference for the same couplings
    found = next(line for line in said.splitlines() if line.startswith("next"))
    command = shlex.split(found.split("physgen ", 1)[1])
    assert main([*command, "data.replicas=30", "data.method=transfer_matrix"]) == 0
    capsys.readouterr()
    reference = command[command.index("-o") + 1]
    again = tmp_path / "again.h5"
    words = ["--like", reference, "--weights", "-n", "30", "--steps", "32", "-o", str(again)]
    assert main(["sample", "glass:ea3d", *words]) == 0
    said = capsys.readouterr().out
    assert "both sides of ln Z" in said and "--train" not in said and "--run" not in said
    both = load_ensemble(again).isel(disorder=0, temperature=0)
    assert abs(float(both["log_Z_two_sided"]) - exact) < 5 * float(both["log_Z_two_sided_error"]) < 1


def test_two_dimensions_have_a_network_of_their_own(couplings, tmp_path, capsys):
    file, _ = couplings
    assert (
        main(["sample", "glass:ea2d", "--like", str(file), "--weights", "-n", "30", "-o", str(tmp_path / "x.h5")]) == 2
    )
    assert "has the lattice (6, 3, 3), the run (8, 8)" in capsys.readouterr().err
    assert main(["sample", "glass:ea4d", "--like", str(file), "-o", str(tmp_path / "x.h5")]) == 2
    assert "glass:ea2d" in capsys.readouterr().err


def test_few_strong_bonds_are_drawn_by_a_network_for_sparse_graphs(tmp_path):
    rng = np.random.default_rng(11)
    edges = sorted({(min(i, j), max(i, j)) for i in range(18) for j in ((i + 1) % 18, (5 * i + 7) % 18) if i != j})
    bonds = [round(rng.normal(), 6) for _ in edges]
    file, new = tmp_path / "my_graph.txt", tmp_path / "new.h5"
    rows = (f"{i} {j} {bond}" for (i, j), bond in zip(edges, bonds, strict=True))
    file.write_text("\n".join(["# E = +sum J s s", *rows]) + "\n")  # the other sign
    words = ["--like", str(file), "--condition", "temperature=0.8", "--weights", "-n", "100", "--steps", "32"]
    assert main(["sample", "glass:graph", *words, "-o", str(new)]) == 0
    law = load_ensemble(new).isel(disorder=0, temperature=0)
    exact = enumerate_graph(18, np.array(edges), -np.array(bonds), 0.8).log_partition
    assert float(law["effective_fraction"]) > 0.5
    assert abs(float(law["log_Z"]) - exact) < 4 * float(law["log_Z_error"]) < 0.6


def test_a_complete_graph_of_another_number_of_spins_is_drawn_by_its_network(tmp_path, capsys):
    rng = np.random.default_rng(7)
    edges = [(i, j) for j in range(16) for i in range(j)]
    bonds = [round(rng.normal() / 4, 6) for _ in edges]
    file, new = tmp_path / "my_glass.txt", tmp_path / "new.h5"
    rows = (f"{i} {j} {bond}" for (i, j), bond in zip(edges, bonds, strict=True))
    file.write_text("\n".join(["# H = -sum J s s", *rows]) + "\n")
    words = ["--like", str(file), "--condition", "temperature=1.2", "--weights", "-n", "100", "--steps", "64"]
    assert main(["sample", "glass:sk", *words, "-o", str(new)]) == 0
    law = load_ensemble(new).isel(disorder=0, temperature=0)
    exact = enumerate_graph(16, np.array(edges), np.array(bonds), 1.2).log_partition
    assert float(law["effective_fraction"]) > 0.8
    assert abs(float(law["log_Z"]) - exact) < 4 * float(law["log_Z_error"]) < 0.3
    capsys.readouterr()
    assert main(["sample", "glass:ea3d", *words, "-o", str(tmp_path / "x.h5")]) == 2
    assert "graph_passing" in capsys.readouterr().err
