"""Couplings as strangers write them: read as the Hamiltonian that is meant, or refused; judged by numpy alone."""

import gzip
import itertools
import json

import numpy as np
import pytest
import scipy.io
import scipy.sparse

from physgen.domains.spins import Spins
from physgen.domains.spins.couplings import lattice_edges
from physgen.domains.spins.enumeration import enumerate_graph
from physgen.domains.spins.layout import disorder_of, grid_dims
from physgen.errors import InputError

EDGES = [(0, 1), (0, 2), (1, 2), (2, 3), (3, 4), (1, 4)]
BONDS = [1.0, -2.0, 0.5, 1.5, -1.0, 3.0]  # of H = -sum J s s - sum h s
FIELDS = [0.0, 0.25, 0.0, -1.0, 0.0]
MATRIX = np.zeros((5, 5))
for (_i, _j), _bond in zip(EDGES, BONDS, strict=True):
    MATRIX[_i, _j] = MATRIX[_j, _i] = _bond
STATES = np.array(list(itertools.product([-1, 1], repeat=5)))
ENERGIES = -np.einsum("ai,ij,aj->a", STATES, MATRIX, STATES) / 2  # each pair once


def rows(sign=1, first=0, end="\n", gap=" ", form="{:g}"):
    return "".join(
        f"{i + first}{gap}{j + first}{gap}{form.format(sign * bond)}{end}"
        for (i, j), bond in zip(EDGES, BONDS, strict=True)
    )


def dense(matrix, gap=" "):
    return "\n".join(gap.join(f"{value:g}" for value in row) for row in matrix) + "\n"


def hamiltonian(made):
    """J (N, N) and h (N,) of a template; a lattice as the graph of its bonds."""
    disorder, grid = disorder_of(made), tuple(made.sizes[dim] for dim in grid_dims(made))
    edges = lattice_edges(grid) if disorder.edges is None else disorder.edges
    matrix = np.zeros((int(np.prod(grid)),) * 2)
    np.add.at(matrix, tuple(edges.T), disorder.couplings[0].reshape(-1))
    outer = disorder.external_field
    return matrix + matrix.T, np.zeros(len(matrix)) if outer is None else outer[0].reshape(-1)


def read(path, content, **options):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return Spins.load("couplings", [path], **options)


MINUS = {"sign": "minus"}
OUTER = "1 1 {:g}\n3 3 {:g}\n"
TEXTS = {  # content, options
    "byte order mark": (b"\xef\xbb\xbf# H = -sum J s s\r\n" + rows(end="\r\n").encode(), {}),
    "UTF-16": (rows().encode("utf-16"), MINUS),
    "Latin-1": ("# f\xfcr Spins\n".encode("latin-1") + rows().encode(), MINUS),
    "packed": (gzip.compress(rows(first=1).encode()), MINUS | {"first": "1"}),
    "Fortran": (rows(form="{:.3E}").replace("E", "D"), MINUS),
    "comments": ("! a\n; b\nc d\n" + rows(end=" # bond\n"), MINUS),
    "quoted names": ('"i","j","J_ij"\n' + rows(gap=","), MINUS),
    "numbered rows": (",i,j,J\n" + "".join(f"{n},{r}\n" for n, r in enumerate(rows(gap=",").split())), MINUS),
    "unicode": ("# H = −∑_{<ij>} J_ij s_i s_j, first=1\n" + rows(first=1), {}),  # noqa: RUF001
    "DIMACS": ("c E = +sum J s s\r\np edge 5 6\r\n" + "".join(f"e {r}\r\n" for r in rows(-1, 1).splitlines()), {}),
    "semicolons": (dense(-MATRIX, ";"), {"sign": "plus"}),
    "says its sign": ("# H = -sum J s s\n" + dense(MATRIX), {}),
}


@pytest.mark.parametrize("name", TEXTS)
def test_texts_of_strangers_hold_one_hamiltonian(name, tmp_path):
    content, options = TEXTS[name]
    matrix, outer = hamiltonian(read(tmp_path / "J.txt", content, **options))
    np.testing.assert_allclose(matrix, MATRIX, atol=1e-6)
    assert not outer.any()


@pytest.mark.parametrize(
    ("line", "couplings", "fields"),
    [
        ("# H = -sum J s s - sum h s", 1, 1),
        ("# E = sum_{i<j} J_ij s_i s_j + sum_i h_i s_i", -1, -1),
        ("# H = -sum J_ij s_i s_j + \\sum_i h_i s_i", 1, -1),
        ("# vartype=SPIN", -1, -1),
    ],
)
def test_fields_have_the_sign_of_their_own_term(line, couplings, fields, tmp_path):
    content = f"{line}\n{rows(couplings)}" + OUTER.format(fields * 0.25, -fields)
    matrix, outer = hamiltonian(read(tmp_path / "J.txt", content))
    np.testing.assert_allclose(matrix, MATRIX)
    np.testing.assert_allclose(outer, FIELDS)


def test_matrices_in_every_container(tmp_path):
    sparse, upper = scipy.sparse.coo_matrix(MATRIX), np.triu(MATRIX)
    np.save(tmp_path / "dense.npy", MATRIX.astype(np.float32))
    np.save(tmp_path / "rows.npy", np.c_[EDGES, BONDS])
    np.savez(tmp_path / "archive.npz", J=MATRIX)
    (tmp_path / "packed.npy.gz").write_bytes(gzip.compress((tmp_path / "dense.npy").read_bytes()))
    scipy.sparse.save_npz(tmp_path / "coo.npz", sparse)
    scipy.sparse.save_npz(tmp_path / "csc.npz", scipy.sparse.csc_array(upper.T))
    scipy.io.mmwrite(tmp_path / "symmetric.mtx", sparse, symmetry="symmetric")
    scipy.io.mmwrite(tmp_path / "general.mtx", scipy.sparse.coo_matrix(upper))
    np.save(tmp_path / "stack.npy", np.stack([MATRIX, 2 * MATRIX]))  # not bonds on a lattice of 5 x 5
    for path in sorted(tmp_path.iterdir()):
        made = Spins.load("couplings", [path], sign="minus")
        np.testing.assert_allclose(hamiltonian(made)[0], MATRIX, err_msg=path.name)
        assert made.sizes["disorder"] == (2 if path.name == "stack.npy" else 1)
        with pytest.raises(InputError, match="does not say the sign"):
            Spins.load("couplings", [path])


def test_models_of_dimod_of_both_types_have_the_energies_of_dimod(tmp_path):
    dimod = pytest.importorskip("dimod")
    model = dimod.BinaryQuadraticModel(
        {i: -h for i, h in enumerate(FIELDS)}, {e: -b for e, b in zip(EDGES, BONDS, strict=True)}, 7.0, "SPIN"
    )
    binary = model.change_vartype("BINARY", inplace=False)
    for one in (model, binary):
        made = read(tmp_path / "J.json", json.dumps(one.to_serializable()))
        matrix, outer = hamiltonian(made)
        np.testing.assert_allclose(matrix, MATRIX, atol=1e-6)
        np.testing.assert_allclose(outer, FIELDS, atol=1e-6)
        assert ("constant of the energy" in made.attrs["import_notes"]) == (one is binary)
        energies = -np.einsum("ai,ij,aj->a", STATES, matrix, STATES) / 2 - STATES @ outer
        known = model.energies(STATES)
        np.testing.assert_allclose(energies - energies.mean(), known - known.mean(), atol=1e-5)


def test_ln_z_of_an_edge_list_is_that_of_numpy(tmp_path):
    made = read(tmp_path / "J.txt", rows(), sign="minus")
    disorder = disorder_of(made)
    law = enumerate_graph(5, disorder.edges, disorder.couplings[0], 0.7)
    assert law.log_partition == pytest.approx(np.log(np.exp(-ENERGIES / 0.7).sum()), abs=1e-6)


@pytest.mark.parametrize(
    ("shape", "header", "lattice"),
    [
        ((3, 4, 5), "", True),
        ((4, 4, 16), "# shape = (4, 4, 16)\n", True),
        ((5, 3), "", False),
        ((2, 6), "# shape = 2,6\n# parallel = sum\n", True),
    ],
)
@pytest.mark.parametrize("first", [0, 1])
def test_lattices_are_known_by_their_bonds(shape, header, lattice, first, tmp_path):
    edges, spins = lattice_edges(shape), int(np.prod(shape))
    bonds = np.random.default_rng(0).normal(size=len(edges)).round(3)
    bonds[: spins // 2] = 0  # diluted
    there = bonds != 0
    matrix = np.zeros((spins, spins))
    np.add.at(matrix, tuple(edges[there].T), bonds[there])
    body = "".join(f"{i + first} {j + first} {b}\n" for (i, j), b in zip(edges[there], bonds[there], strict=True))
    (tmp_path / "J.txt").write_text(f"# H = -sum J s s\n# first={first}\n{header}{body}")
    made = Spins.load_conditions(tmp_path / "J.txt", len(shape) if lattice else 3)
    assert (grid_dims(made) != ("site",)) == lattice
    np.testing.assert_allclose(hamiltonian(made)[0], matrix + matrix.T, atol=1e-6)


REFUSED = {  # content, options, what is said
    "no sign": (rows(), {}, "does not say the sign"),
    "factor": ("# H = -1/2 sum_ij J s s\n" + rows(), {}, "factor 1/2 before a sum"),
    "sign within": ("# H = sum_{i<j} -J_ij s_i s_j\n" + rows(), {}, "a sign or a number behind a sum"),
    "sign in brackets": ("# H = sum_<ij> (-J_ij) s_i s_j\n" + rows(), {}, "a sign or a number behind a sum"),
    "factor within": ("# H = -sum_{ij} 0.5 J_ij s_i s_j\n" + rows(), {}, "a sign or a number behind a sum"),
    "halved": ("# H = -sum_ij J_ij s_i s_j / 2, N=5\n" + rows(), {}, "a division behind a sum"),
    "both orders": ("# H = -\\sum_{i \\neq j} J_ij s_i s_j\n" + rows(), {}, "pairs in both orders"),
    "field turned within": ("# H = -sum J s s - sum -h s\n" + rows(), {}, "a sign or a number behind a sum"),
    "far apart": ("0 1000000000 1\n", MINUS, "bonds join 2 of them"),
    "two signs": ("# H = -sum J s s\n# sign=plus\n" + rows(), {}, "the other sign than the one before"),
    "fields unsaid": ("# H = -sum J s s\n" + rows() + "1 1 2\n", {}, "fields only where a line says so"),
    "field twice": ("# vartype=SPIN\n" + rows() + "1 1 2\n1 1 2\n", {}, "bond \\[1, 1\\] in 2 rows"),
    "too large": ("0 1 1e40\n1 2 1\n", MINUS, "1e\\+40: couplings are finite"),
    "too small": ("0 1 1e-50\n1 2 1\n", MINUS, "1e-50: couplings are finite"),
    "NaN of DIMACS": ("p edge 3 2\ne 1 2 nan\ne 2 3 1\n", MINUS, "nan: couplings are finite"),
    "half of DIMACS": ("p edge 3 2\ne 1 2 2.5\ne 2 3\n", MINUS, "some edges have a coupling"),
    "three by three": ("0 1 2\n1 0 3\n2 3 0\n", MINUS, "a matrix J \\(3, 3\\) or three edges"),
    "HDF5": (b"\x89HDF\r\n\x1a\n", MINUS, "is HDF5"),
    "binary": (b"\xff\x00\x01", MINUS, "is not a text file"),
    "torn gzip": (gzip.compress(rows().encode())[:30], MINUS, "cannot be read"),
    "no rows": ("# H = -sum J s s\n", {}, "holds no couplings"),
    "NaN": ("0 1 1\n1 2 nan\n", MINUS, "has the row '1 2 nan'"),
    "decimal commas": ("0 1 1,5\n1 2 0,5\n", MINUS, "rows of 4 numbers: .*with a decimal point"),
    "outside": ("0 1 1\n0 99 1\n", MINUS | {"shape": "4,4"}, "names spin 99, there are 16 spins; check shape"),
    "prose": ("dear reader\n" + rows(), MINUS, "'dear reader' is neither numbers"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_two_meanings_is_refused(name, tmp_path):
    content, options, message = REFUSED[name]
    with pytest.raises(InputError, match=message):
        read(tmp_path / "J.txt", content, **options)


@pytest.mark.parametrize(
    "line",
    ["H = -sum_{<ij>} J_ij s_i s_j", "H(s) = - \\sum_{i<j} J_{ij} s_i s_j - \\sum_i h_i s_i", "E = -sum_(i<j) J s s",
     "H = -sum_{i=1}^{N-1} J_i s_i s_{i+1}", "H = -Σ_<i,j> J s s; date = 2024/5", "H = -sum_ij J_ij s_i s_j (2024/05)"],
)  # fmt: skip
def test_sums_as_they_are_written_say_the_sign(line, tmp_path):
    np.testing.assert_allclose(hamiltonian(read(tmp_path / "J.txt", f"# {line}\n{rows()}"))[0], MATRIX)


def test_spins_without_bonds_are_counted_aloud(tmp_path):
    made = read(tmp_path / "J.txt", "0 1 1\n8 9 1\n", sign="minus")
    assert "6 of 10 spins have no bond" in made.attrs["import_notes"]
