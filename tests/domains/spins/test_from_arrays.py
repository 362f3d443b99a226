"""Spins in memory: the same ensemble as from files, with few axes where there is one of a kind."""

import numpy as np
import pytest

import physgen as pg
from physgen.domains.spins import Spins, from_arrays
from physgen.errors import InputError

RNG = np.random.default_rng(2)
SPINS = RNG.choice([-1, 1], size=(3, 2, 5, 4, 4))
BONDS = RNG.normal(size=(3, 2, 4, 4))


def test_energies_are_those_of_the_hamiltonian():
    made = from_arrays(SPINS, BONDS, [1.0, 2.0])
    i, t, r = 1, 0, 3
    s, J = SPINS[i, t, r], BONDS[i]
    energy = -sum(J[d] * s * np.roll(s, -1, axis=d) for d in (0, 1)).sum() / 16
    assert float(made["energy"][i, t, r]) == pytest.approx(energy, rel=1e-5)
    assert made.attrs["domain"] == Spins.name


def test_files_and_arrays_give_the_same(tmp_path):
    np.save(tmp_path / "spins.npy", SPINS)
    np.save(tmp_path / "couplings.npy", BONDS)
    files = [tmp_path / "spins.npy", tmp_path / "couplings.npy"]
    read = pg.import_files("spins_npy", files, temperatures="1.0,2.0", check="off")
    made = from_arrays(SPINS, BONDS, [1.0, 2.0])
    assert np.array_equal(made["field"], read["field"]) and np.array_equal(made["couplings"], read["couplings"])


def test_axes_of_length_one_may_be_left_out():
    whole = from_arrays(SPINS[:1, :1], BONDS[:1], [1.5])
    assert from_arrays(SPINS[0, 0], BONDS[0], 1.5).equals(whole)
    assert from_arrays(SPINS[:, 0], BONDS, 1.5)["field"].shape == (3, 1, 5, 4, 4)
    edges = [[0, 1], [1, 2], [0, 2]]
    graph = from_arrays(np.ones((7, 3)), [1.0, -1.0, 2.0], 1.0, edges=edges, external_field=[0.1, 0, 0])
    assert np.allclose(graph["energy"], -(1 - 1 + 2 + 0.1) / 3)


@pytest.mark.parametrize(
    "words, message",
    [
        ((SPINS, BONDS, [1.0]), "temperatures"),
        ((SPINS, BONDS[:2], [1.0, 2.0]), "do not fit"),
        ((SPINS, BONDS[:, :, :3], [1.0, 2.0]), "do not fit the lattice"),
        ((SPINS * 2, BONDS, [1.0, 2.0]), r"\+1 or -1"),
        ((SPINS, BONDS * np.nan, [1.0, 2.0]), "finite"),
        ((SPINS, BONDS, [-1.0, 2.0]), "positive"),
    ],
)
def test_what_does_not_fit_is_refused(words, message):
    with pytest.raises(InputError, match=message):
        from_arrays(*words)


def test_an_ensemble_without_couplings_is_told_how_to_get_them():
    with pytest.raises(InputError, match=r"from_arrays\(spins, couplings, temperatures\)"):
        Spins.adopt(pg.from_array(SPINS[0, 0]))
