"""Foreign spins in other conventions: read or asked for where two readings are possible, never guessed."""

import numpy as np
import pytest

from physgen.domains.spins import Domain
from physgen.domains.spins.couplings import lattice_edges
from physgen.errors import InputError


@pytest.fixture(scope="module")
def made():
    fields = {"boundary": "periodic", "temperatures": (0.8, 1.5), "method": "transfer_matrix"}
    return Domain(length=6, instances=20, replicas=16, **fields).simulate(seed=2)


def import_arrays(folder, spins, couplings, **options):
    paths = [folder / "s.npy", folder / "j.npy"]
    np.save(paths[0], spins.astype(np.int8)), np.save(paths[1], couplings)
    return Domain.load("spins_npy", paths, **({"temperatures": "0.8,1.5"} | options))


def parts(made):
    return made.field.values, made.couplings.values


def down(couplings):
    return np.stack([np.roll(couplings[:, a], 1, 1 + a) for a in range(2)], 1)


WRONG = {  # name -> (what the file holds, its options, words that name the convention, the option that mends it)
    "sign": (lambda s, j: (s, -j), {}, "sign=plus", {"sign": "plus"}),
    "pairs twice": (lambda s, j: (s, 2 * j), {}, "scale=0.5", {"scale": "0.5"}),
    "beta": (lambda s, j: (s, j), {"temperatures": "1.25,0.6666667"}, "betas=", {"betas": "1.25,0.6666667"}),
    "reversed": (lambda s, j: (s, j), {"temperatures": "1.5,0.8"}, "reverse order", {"temperatures": "0.8,1.5"}),
    "directions": (lambda s, j: (s, j[:, ::-1]), {}, "directions=x,y", {"directions": "x,y"}),
    "transposed": (
        lambda s, j: (s.swapaxes(3, 4), j), {}, "in the order x,y", {"axes": "disorder,temperature,replica,x,y"},
    ),
    "shifted": (lambda s, j: (s, np.roll(j, 1, 0)), {}, "shifted by one instance", None),
    "down": (lambda s, j: (s, down(j)), {}, "bonds=down", {"bonds": "down"}),
    "sign and down": (lambda s, j: (s, -down(j)), {}, "bonds=down.*sign=plus", {"bonds": "down", "sign": "plus"}),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_callens_identity_stops_a_wrong_convention_and_names_the_right_one(name, made, tmp_path):
    spoil, options, words, remedy = WRONG[name]
    spins, couplings = spoil(*parts(made))
    with pytest.raises(InputError, match=f"(?s)beyond 5: .*It holds with .*{words}.*check=off"):
        import_arrays(tmp_path, spins, couplings, **options)
    if remedy is not None:
        if "betas" in remedy:
            remedy = remedy | {"temperatures": ""}
        loaded = import_arrays(tmp_path, spins, couplings, **remedy)
        np.testing.assert_allclose(loaded.energy, made.energy, atol=1e-6)
        assert np.array_equal(loaded.couplings, made.couplings)


def test_the_identity_is_said_at_every_import_and_can_be_put_aside(made, tmp_path):
    right = import_arrays(tmp_path, *parts(made))
    assert "Callen's identity" in right.attrs["import_notes"] and "z = " in right.attrs["equilibration"]
    wrong = import_arrays(tmp_path, made.field.values, -made.couplings.values, check="off")
    assert "not in equilibrium" in wrong.attrs["equilibration"]
    assert "not_trainable" not in right.attrs
    with pytest.raises(InputError, match="temperatures that would fit"):
        import_arrays(tmp_path, *parts(made), temperatures="3,4")


def test_few_data_say_what_they_cannot_exclude(tmp_path):
    notes = import_list(tmp_path, "0 1 1.0\n2 3 1.0\n", FOUR).attrs["import_notes"]
    assert "too few to exclude" in notes and "sign=plus" in notes


def test_cold_spins_that_never_flip_are_no_contradiction(tmp_path):
    """At T = 0.6 one spin in 10^6 of a ferromagnet is turned: 2880 spins without one have no scatter, and are right."""
    spins = np.ones((1, 1, 20, 12, 12))
    loaded = import_arrays(tmp_path, spins, np.ones((1, 2, 12, 12)), temperatures="0.6")
    assert loaded.sizes["replica"] == 20


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"betas": "1,2"}, "both say it"),
        ({"temperatures": "", "betas": "0,1"}, "positive, in 1/J"),
        ({"sign": "maybe"}, "sign=minus"),
        ({"scale": "-1"}, "sign=plus"),
        ({"check": "perhaps"}, "check=off"),
        ({"chains": "3"}, "not 3 chains"),
        ({"bonds": "left"}, "give up"),
        ({"axes": "disorder,temperature,replica,y"}, "name the 5 axes"),
        ({"axes": "disorder,temperature,replica,y,z"}, "y and x"),
        ({"directions": "x,x"}, "each once"),
        ({"coupling_axes": "disorder,y,x,z"}, "out of disorder, direction, y, x"),
        ({"temperatures": "0.8,0.8"}, "hold one twice"),
        ({"temperatures": "1"}, "1 temperatures were given for 2"),
    ],
)
def test_options_that_make_no_sense_are_refused(made, tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        import_arrays(tmp_path, *parts(made), **options)


def test_named_axes_and_the_one_reading_of_a_shape(made, tmp_path):
    spins, couplings = parts(made)
    moved = spins.transpose(2, 1, 0, 4, 3)
    loaded = import_arrays(
        tmp_path, moved, couplings.transpose(1, 0, 3, 2),
        axes="replica,temperature,disorder,x,y", coupling_axes="direction,disorder,x,y",
    )  # fmt: skip
    assert np.array_equal(loaded.field, spins) and np.array_equal(loaded.couplings, couplings)
    last = import_arrays(tmp_path, spins, np.moveaxis(couplings, 1, -1))  # only one reading fits the shape
    assert np.array_equal(last.couplings, couplings)
    alone = import_arrays(tmp_path, spins[3, 0], couplings[3], axes="replica,y,x", temperatures="0.8")
    assert alone.field.shape == (1, 1, 16, 6, 6) and np.array_equal(alone.couplings[0], couplings[3])


def test_a_shape_with_two_readings_is_asked_about(tmp_path):
    made = Domain(dimension=3, length=3, instances=2, replicas=4, temperatures=(1.5,), boundary="cylinder").simulate(0)
    spins, couplings = parts(made)
    with pytest.raises(InputError, match="before or after the grid.*coupling_axes=disorder,direction,z,y,x or"):
        import_arrays(tmp_path, spins, couplings, temperatures="1.5")
    said = import_arrays(tmp_path, spins, couplings, temperatures="1.5", coupling_axes="disorder,direction,z,y,x")
    np.testing.assert_allclose(said.energy, made.energy, atol=1e-6)


# --- edge lists -------------------------------------------------------------------------------------


def import_list(folder, text, spins, **options):
    (folder / "e.txt").write_text(text)
    np.save(folder / "s.npy", np.asarray(spins, dtype=np.int8))
    return Domain.load("edge_list", [folder / "e.txt", folder / "s.npy"], **({"temperatures": "1"} | options))


DILUTED = "1 2 1.0\n2 3 1.0\n"
FOUR = [[[1, 1, 1, -1]]]


def test_the_first_spin_is_asked_for_where_both_readings_are_possible(tmp_path):
    with pytest.raises(InputError, match="first=0 or first=1"):
        import_list(tmp_path, DILUTED, FOUR)
    one = import_list(tmp_path, DILUTED, FOUR, first="1")
    assert one.edges.values.tolist() == [[0, 1], [1, 2]] and one.energy.values.ravel() == pytest.approx(-0.5)
    zero = import_list(tmp_path, DILUTED, FOUR, first="0")
    assert zero.edges.values.tolist() == [[1, 2], [2, 3]] and zero.energy.values.ravel() == pytest.approx(0)
    header = import_list(tmp_path, f"# first=1\n{DILUTED}", FOUR)
    assert np.array_equal(header.edges, one.edges)


@pytest.mark.parametrize(
    ("text", "first"), [("0 1 1.0\n1 2 1.0\n", ""), ("1 2 1\n3 4 1\n", ""), ("1 2 1\n2 4 1\n", "1"), ("0 3 1\n", "0")]
)
def test_the_first_spin_is_read_where_one_reading_is_possible(tmp_path, text, first):
    loaded = import_list(tmp_path, text, FOUR, **({"first": first} if first else {}))
    assert loaded.edges.values.min() == int(text[0]) - (text[0] == "1")


def test_a_lattice_decides_which_spin_is_the_first(made, tmp_path):
    """The rows of a diluted lattice without its last site, counted from 1: only so are all of them bonds."""
    rows = np.c_[lattice_edges((6, 6)) + 1, np.ones(72)]
    kept = rows[(rows[:, :2] != 36).all(1) & (rows[:, :2] != 1).all(1)]
    text = "\n".join(f"{int(i)} {int(j)} {v}" for i, j, v in kept)
    spins = np.ones((1, 3, 36))
    lattice = import_list(tmp_path, text, spins, shape="6,6", temperatures="0.5")
    assert (lattice.couplings.values != 0).sum() == len(kept)
    with pytest.raises(InputError, match="first=0 or first=1"):
        import_list(tmp_path, text, spins, temperatures="0.5")


@pytest.mark.parametrize(("first", "message"), [("0", "names spin 4, there are 4 spins"), ("2", "from 0 or")])
def test_a_first_spin_that_does_not_fit_is_refused(tmp_path, first, message):
    with pytest.raises(InputError, match=message):
        import_list(tmp_path, "1 4 1.0\n", FOUR, first=first)


def test_a_dimod_header_is_understood(tmp_path):
    """dimod as an oracle: E = +sum J s s + sum h s, rows i i h are fields; its own writer and its own energies."""
    dimod = pytest.importorskip("dimod")
    coordinate = pytest.importorskip("dimod.serialization.coo")
    model = dimod.BinaryQuadraticModel({0: 0.5, 3: -0.25}, {(0, 1): -1.0, (1, 2): 2.0, (0, 3): 0.75}, "SPIN")
    spins = np.array([[1, 1, 1, -1], [1, -1, 1, 1]])
    text = coordinate.dumps(model, vartype_header=True)
    loaded = import_list(tmp_path, text, spins[None], temperatures="3")
    energies = [model.energy(dict(enumerate(row))) / 4 for row in spins.tolist()]
    np.testing.assert_allclose(loaded.energy.values.ravel(), energies, atol=1e-6)
    np.testing.assert_allclose(loaded.external_field.values.ravel(), [-0.5, 0, 0, 0.25])
    assert "at least 3 instances" in loaded.attrs["not_trainable"]
    text_of_binary = coordinate.dumps(model.change_vartype("BINARY", inplace=False), vartype_header=True)
    of_binary = import_list(tmp_path, text_of_binary, spins[None], temperatures="3")  # but for the constant left out
    differences = np.diff(of_binary.energy.values.ravel())
    np.testing.assert_allclose(differences, np.diff(energies), atol=1e-6)
    with pytest.raises(InputError, match="vartype=REAL is unknown"):
        import_list(tmp_path, text.replace("SPIN", "REAL"), spins[None])
    with pytest.raises(InputError, match="sign: the header"):
        import_list(tmp_path, text, spins[None], sign="minus")


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("0 1 1.0\n1 0 1.0\n", {}, "parallel=sum.*parallel=once"),
        ("0 1 1.0\n0 1 0.5\n", {"parallel": "once"}, "not a symmetric matrix"),
        ("0 1 1.0\n", {"parallel": "mean"}, "parallel=sum or"),
        ("# T = 2\n0 1 1.0\n", {}, "temperatures: the options say 1, the header.*2"),
        ("# N = 5\n0 1 1.0\n", {}, "number of spins"),
        ("4 3\n0 1 1.0\n", {}, "first row '4 3'"),
        ("# sign = odd\n0 1 1.0\n", {}, "minus or plus"),
        ("alpha beta gamma\n0 1 1.0\n", {}, "neither numbers, nor a comment"),
    ],
)
def test_lists_that_contradict_themselves_or_the_options_are_refused(tmp_path, text, options, message):
    with pytest.raises(InputError, match=message):
        import_list(tmp_path, text, FOUR, **options)


@pytest.mark.parametrize(
    ("text", "options", "energy"),
    [
        ("0 1 1.0\n1 0 1.0\n", {"parallel": "sum"}, -0.5),
        ("0 1 1.0\n1 0 1.0\n", {"parallel": "once"}, -0.25),
        ("# E = +sum J s s\n0 1 1.0\n", {}, 0.25),
        ("# H = -sum J s s\n0 1 1.0\n", {}, -0.25),
        ("J,i,j\n1.0,0,1\n", {}, -0.25),
        ("# i j J\n0 1 1.0\n", {}, -0.25),
        ("4 1\n0 1 1.0\n", {}, -0.25),
        ("% beta: 0.5\n0 1 1.0\n", {"temperatures": ""}, -0.25),
        ("0 1 2.0\n", {"scale": "0.5"}, -0.25),
    ],
)
def test_headers_and_parallel_bonds_are_read_as_they_say(tmp_path, text, options, energy):
    loaded = import_list(tmp_path, text, FOUR, **options)
    assert loaded.energy.values.ravel() == pytest.approx(energy)
    assert loaded.temperature.values == pytest.approx(2 if "beta" in text else 1)


def test_a_comment_that_says_nothing_understood_is_told(tmp_path):
    assert "'my couplings'" in import_list(tmp_path, "# my couplings\n0 1 1\n", FOUR).attrs["import_notes"]
