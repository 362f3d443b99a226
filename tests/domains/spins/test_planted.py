"""Planted configurations are exact samples of their couplings: against all 2^N states, and in what the keys allow."""

import numpy as np
import pytest

from physgen.domains.spins import Domain
from physgen.domains.spins.couplings import lattice_edges
from physgen.domains.spins.encoding import conditions, encoding_constants, request_spins
from physgen.domains.spins.enumeration import enumerate_graph
from physgen.domains.spins.layout import disorder_of
from physgen.domains.spins.merge import merge_ensembles
from physgen.domains.spins.planted import gauged, nishimori_bonds
from physgen.errors import InputError

PERIODIC = {"boundary": "periodic", "temperatures": (1.3,), "replicas": 1}


@pytest.mark.parametrize("law", ["planted_bimodal", "planted_gaussian"])
def test_the_planted_configuration_is_a_sample_of_the_boltzmann_law(law):
    """Its rank in the cumulated law of all states is uniform: Kolmogorov distance of 300 instances of 9 spins."""
    made = Domain(couplings=law, length=3, instances=300, **PERIODIC).simulate(5)
    ranks = []
    for i, bonds in enumerate(made["couplings"].values):
        exact = enumerate_graph(9, lattice_edges((3, 3)), bonds.reshape(-1), 1.3)
        energy = float(made["energy"][i, 0, 0]) * 9
        below = exact.probabilities[exact.energies < energy - 1e-5].sum()
        level = exact.probabilities[np.abs(exact.energies - energy) <= 1e-5].sum()
        ranks.append(below + level * np.random.default_rng(i).uniform())
    distance = np.abs(np.sort(ranks) - (np.arange(300) + 0.5) / 300).max()
    assert distance < 1.63 / np.sqrt(300)  # 1 % of a true law lies above
    assert np.array_equal(made["field"].values[:, 0, 0], made["planted"].values)


def test_bonds_have_the_law_of_the_line_and_keep_their_seams():
    normal = np.random.default_rng(1).normal(size=200_000)
    signs = nishimori_bonds(normal, 1.0, "bimodal", 1.5)
    chance = 1 / (1 + np.exp(-2 / 1.5))
    assert np.mean(signs > 0) == pytest.approx(chance, abs=4 * np.sqrt(chance * (1 - chance) / len(signs)))
    shifted = nishimori_bonds(0.5 * normal, 0.5, "gaussian", 1.5)
    assert np.mean(shifted) == pytest.approx(0.25 / 1.5, abs=4 * 0.5 / np.sqrt(len(normal)))
    made = Domain(couplings="planted_gaussian", dimension=3, length=4, temperatures=(2.0,), instances=2).simulate(1)
    assert not made["couplings"].values[:, 0, -1].any() and made["couplings"].values[:, 1:].all()


def test_energies_of_planted_configurations_are_those_of_the_line():
    r""":math:`e = -d\tanh(1/T)` of 3-D +-J, 16^3, and :math:`-\frac z2/T` of Gaussian couplings of variance 1."""
    for law, known in (("planted_bimodal", -3 * np.tanh(1 / 1.3)), ("planted_gaussian", -3 / 1.3)):
        made = Domain(couplings=law, dimension=3, length=16, instances=10, **PERIODIC).simulate(2)
        energy = made["energy"].values[:, 0, 0]
        assert abs(energy.mean() - known) < 4 * energy.std(ddof=1) / np.sqrt(10)
        assert energy.std(ddof=1) < 0.02 * abs(known)


def test_others_are_drawn_in_the_same_couplings_and_of_the_complete_graph_too():
    one = Domain(couplings="planted_bimodal", length=4, instances=4, **PERIODIC).simulate(2)
    words = PERIODIC | {"replicas": 5}
    several = Domain(couplings="planted_bimodal", length=4, instances=4, **words).simulate(2)
    assert several.attrs["method"] == "transfer_matrix" and one.attrs["method"] == "planted"
    for name in ("couplings", "planted"):
        assert np.array_equal(one[name].values, several[name].values)
    complete = Domain(
        model="sherrington_kirkpatrick", couplings="planted_gaussian", length=400, instances=3, **PERIODIC
    ).simulate(1)
    bonds = gauged(disorder_of(complete), complete["planted"].values).couplings
    assert bonds.mean() == pytest.approx(1 / (400 * 1.3), abs=4 / np.sqrt(400 * bonds.size))


@pytest.mark.parametrize("law", ["planted_bimodal", "planted_gaussian"])
def test_several_temperatures_are_one_ensemble_of_scaled_bonds(law):
    """Instance i is that of an ensemble at T_(i mod n) alone, to the law of the network: beta J, whatever T is said."""
    words = {"couplings": law, "dimension": 3, "length": 4, "instances": 6, "method": "planted"}
    several = Domain(**words | PERIODIC | {"temperatures": (1.7, 2.0, 2.5)}).simulate(3)
    assert several["temperature"].values.tolist() == [1.7]
    constants = encoding_constants(several)
    seen = conditions(several, constants)
    assert constants["temperatures"] == [1.7, 2.0, 2.5] and np.allclose(seen["labels"], -np.log(1.7))
    for start, temperature in enumerate((1.7, 2.0, 2.5)):
        alone = Domain(**words | PERIODIC | {"temperatures": (temperature,)}).simulate(3)
        own = slice(start, None, 3)
        assert np.array_equal(several["field"].values[own], alone["field"].values[own])
        np.testing.assert_allclose(several["energy"].values[own] * temperature / 1.7, alone["energy"].values[own], 1e-6)
        given = conditions(alone, constants)  # what a user asks for: +-1 at T
        np.testing.assert_allclose(seen["channels"][own], given["channels"][own], rtol=1e-6)
        assert np.array_equal(seen["labels"][own], given["labels"][own])
    assert request_spins(several, 2, {"temperature": 2.2}, constants)["temperature"].values.tolist() == [2.2]
    with pytest.raises(InputError, match="lies outside"):
        request_spins(several, 2, {"temperature": 3.0}, constants)
    part = encoding_constants(several.isel(disorder=[1, 2]))  # is for the same network, up to the couplings it has
    assert part | {"strength": constants["strength"]} == constants
    assert constants["strength"] == pytest.approx(1, abs=0.3)  # of the couplings at the coldest temperature


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"couplings": "planted_bimodal", "temperatures": (1.0, 2.0)}, "one ensemble has one"),
        ({"couplings": "planted_bimodal", "method": "planted", "replicas": 2}, "set replicas=1"),
        (
            {"couplings": "planted_bimodal", "method": "planted", "instances": 1, "temperatures": (1.0, 2.0)},
            "at least as many instances",
        ),
        ({"couplings": "bimodal", "method": "planted", "replicas": 1}, "couplings=planted_bimodal or planted_gaussian"),
        ({"couplings": "planted_bimodal", "model": "ferromagnet"}, "have no effect on model 'ferromagnet'"),
    ],
)
def test_what_is_not_planted_is_refused(words, message):
    with pytest.raises(InputError, match=message):
        Domain(**{"temperatures": (1.0,), **words})


def test_given_couplings_hold_nothing_planted():
    domain = Domain(couplings="planted_bimodal", method="planted", length=4, instances=3, **PERIODIC)
    with pytest.raises(InputError, match="nothing is planted in given couplings"):
        domain.simulate_given(domain.simulate(1).drop_vars(("field", "energy")), 1)


def test_files_that_are_joined_keep_what_is_planted():
    words = PERIODIC | {"temperatures": (1.3,)}
    one, other = (Domain(couplings="planted_bimodal", length=4, instances=3, **words).simulate(i) for i in (1, 2))
    made, _ = merge_ensembles([one, other], ["one", "other"])
    assert np.array_equal(made["planted"].values, np.concatenate([one["planted"].values, other["planted"].values]))
