"""Files of couplings of other programs: one system, written in every format, is read as the same Hamiltonian."""

import json

import numpy as np
import pytest

from physgen.domains.spins import Spins
from physgen.domains.spins.couplings import lattice_edges
from physgen.domains.spins.layout import disorder_of, instance_digests
from physgen.errors import InputError

EDGES = np.array([[0, 1], [0, 2], [1, 2], [2, 3], [3, 4], [1, 4]])
BONDS = np.array([1.0, -2.0, 0.5, 1.5, -1.0, 3.0])  # of H = -sum J s s
FIELDS = np.array([0.0, 0.25, 0.0, -1.0, 0.0])


def matrix(triangle=False):
    full = np.zeros((5, 5))
    full[EDGES[:, 0], EDGES[:, 1]] = BONDS
    return full if triangle else full + full.T


def rows(matrix):
    return "\n".join(" ".join(f"{v:g}" for v in row) for row in matrix)


def listed(sign=1.0, first=1, lead=""):
    return "\n".join(f"{lead}{i + first} {j + first} {sign * v:g}" for (i, j), v in zip(EDGES, BONDS, strict=True))


def dimod(sign=-1.0, **changed):
    return json.dumps({
        "type": "BinaryQuadraticModel", "use_bytes": False, "variable_type": "SPIN", "offset": 0.0,
        "variable_labels": list(range(5)), "num_variables": 5, "linear_biases": (sign * FIELDS).tolist(),
        "quadratic_biases": (sign * BONDS).tolist(), "quadratic_head": EDGES[:, 0].tolist(),
        "quadratic_tail": EDGES[:, 1].tolist(),
    } | changed)  # fmt: skip


FILES = {  # name -> content, options
    "plain.txt": (listed(), {"sign": "minus", "first": "1"}),
    "gset.rud": ("5 6\n" + listed(-1.0), {"sign": "plus"}),
    "glass.dimacs": ("c a glass\np sg 5 6\n" + listed(lead="e "), {"sign": "minus"}),
    "dense.txt": ("# J\n" + rows(matrix()), {"sign": "minus"}),
    "dense.csv": (rows(-matrix()).replace(" ", ","), {"sign": "+"}),
    "triangle.txt": (rows(matrix(triangle=True)), {"sign": "minus"}),
    "lower.txt": (rows(matrix(triangle=True).T), {"sign": "minus"}),
    "headed.txt": ("# E = +sum J s s, first=1\n# N=5\n" + listed(-1.0), {"first": "1"}),
}


@pytest.mark.parametrize("name", FILES)
def test_one_hamiltonian_in_every_format(name, tmp_path):
    content, options = FILES[name]
    path = tmp_path / name
    path.write_text(content)
    made = Spins.load("couplings", [path], **options)
    assert made.sizes["site"] == 5
    np.testing.assert_array_equal(disorder_of(made).edges, sorted(EDGES.tolist()))
    np.testing.assert_allclose(made.couplings.values[0], BONDS[np.lexsort(EDGES.T[::-1])])


def test_arrays_of_a_matrix_and_json_of_dimod(tmp_path):
    np.save(tmp_path / "J.npy", matrix())
    (tmp_path / "J.json").write_text(dimod())
    np.savetxt(tmp_path / "J.txt", matrix())
    array, text = (Spins.load("couplings", [tmp_path / f"J.{end}"], sign="minus") for end in ("npy", "txt"))
    model = Spins.load("couplings", [tmp_path / "J.json"])
    np.testing.assert_allclose(model.external_field.values[0], FIELDS)  # dimod says its sign itself
    digests = [
        str(instance_digests(made.drop_vars("external_field", errors="ignore"))[0]) for made in (array, text, model)
    ]
    assert len(set(digests)) == 1
    with pytest.raises(InputError, match="an option or another file the other sign"):
        Spins.load("couplings", [tmp_path / "J.json"], sign="minus")
    both = Spins.load("couplings", [tmp_path / "J.npy", tmp_path / "J.txt"], sign="minus")
    assert both.sizes["disorder"] == 1 and "taken once" in both.attrs["import_notes"]


WRONG = {  # content -> what the one message says
    "asymmetric.txt": (rows(matrix() + np.eye(5, k=1)), "J\\[0,1\\] = 2 and J\\[1,0\\] = 1.*symmetric"),
    "diagonal.txt": (rows(matrix() + np.diag([0, 0, 3, 0, 0])), "diagonal entry 2 is 3"),
    "letters.txt": (rows(matrix()).replace("-2", "x"), "does not hold numbers"),
    "infinite.txt": (rows(matrix()).replace("-2", "inf"), "not finite"),
    "short.dimacs": ("p sg 5 7\n" + listed(lead="e "), "counts 7 edges, there are 6"),
    "other.dimacs": ("p sg 5 6\nq 1 2\n" + listed(lead="e "), "'q 1 2' is none of DIMACS"),
    "outside.dimacs": ("p sg 4 6\n" + listed(lead="e "), "different spins of 1 to 4"),
    "other_type.json": (dimod(variable_type="REAL"), "variables of type REAL"),
    "other.json": ('{"J": 1}', "no binary quadratic model of dimod"),
    "broken.json": ('{"J": ', "no binary quadratic model of dimod"),
    "bytes.json": (dimod(linear_biases="AAAA"), "use_bytes=False"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_file_is_refused_in_one_message(name, tmp_path):
    content, message = WRONG[name]
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=message):
        Spins.load("couplings", [tmp_path / name])


@pytest.mark.parametrize("name", ["glass.dimacs", "dense.txt"])
def test_the_sign_is_asked_for(name, tmp_path):
    (tmp_path / name).write_text(FILES[name][0])
    with pytest.raises(InputError, match="sign=minus for H = -sum J s s, or sign=plus"):
        Spins.load("couplings", [tmp_path / name])


def test_conditions_from_text_become_the_lattice_that_they_are(tmp_path):
    edges = lattice_edges((4, 4))
    bonds = np.random.default_rng(0).normal(size=len(edges)).astype(np.float32)
    body = "\n".join(f"{i} {j} {v!r}" for (i, j), v in zip(edges.tolist(), bonds.tolist(), strict=True))
    (tmp_path / "J.txt").write_text(f"# H = -sum J s s\n{body}\n")
    made = Spins.load_conditions(tmp_path / "J.txt", 2)
    np.testing.assert_array_equal(made.couplings.values[0], bonds.reshape(2, 4, 4))
    (tmp_path / "other.txt").write_text("# E = +sum J s s\n" + "\n".join(body.splitlines()[1:] + ["0 10 1.0"]))
    assert Spins.load_conditions(tmp_path / "other.txt", 2).sizes["site"] == 16  # not a lattice: a graph
    (tmp_path / "bare.txt").write_text(body)
    with pytest.raises(InputError, match="add the line '# H = -sum J s s'"):
        Spins.load_conditions(tmp_path / "bare.txt", 2)
    made = Spins(temperatures=(1.0,), replicas=3, method="transfer_matrix").simulate_given(
        Spins.load_conditions(tmp_path / "J.txt", 2), seed=0
    )
    assert made["field"].shape == (1, 1, 3, 4, 4)
