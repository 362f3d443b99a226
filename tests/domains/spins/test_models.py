"""Dilution, random regular graphs and external fields: laws of the disorder, and configurations against enumeration."""

import dataclasses

import numpy as np
import pytest

from physgen.domains.spins import Spins
from physgen.domains.spins.couplings import lattice_couplings
from physgen.domains.spins.enumeration import enumerate_graph
from physgen.domains.spins.layout import disorder_of
from physgen.domains.spins.models import diluted, draw_disorder, external_fields, regular_graph
from physgen.domains.spins.simulate import drawn_couplings
from physgen.errors import InputError

TEMPERED = Spins(
    length=3, boundary="periodic", temperatures=(0.8, 1.6), instances=8, replicas=48, method="parallel_tempering",
    sweeps=2048, hottest=2.4,
)  # fmt: skip
MODELS = {
    "random field Ising": {"model": "ferromagnet", "random_field": 1.0},
    "glass in a field": {"uniform_field": 0.5, "random_field": 0.3},
    "diluted": {"bond_fraction": 0.6},
    "random regular": {"model": "random_regular", "length": 10},
    "random regular in a field": {"model": "random_regular", "length": 8, "degree": 4, "couplings": "bimodal",
                                  "uniform_field": 0.3},
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_tempering_draws_the_law_of_enumeration(name):
    """Energy and magnetization of every instance and temperature, in their exact standard errors."""
    domain = dataclasses.replace(TEMPERED, **MODELS[name])
    made = domain.simulate(seed=4)
    couplings = drawn_couplings(domain, 4)
    z = []
    for i in range(domain.instances):
        bonds, outer = couplings.disorder.couplings[i].reshape(-1), couplings.external_field(i)
        for t, temperature in enumerate(domain.temperatures):
            law = enumerate_graph(domain.spins, couplings.edges, bonds, temperature, outer)
            exact = law.energies / domain.spins
            spread = np.sqrt(law.probabilities @ (exact - law.energy) ** 2 / domain.replicas)
            drawn = made["energy"].values[i, t].mean()
            z.append((drawn - law.energy) / spread)
    z = np.array(z)
    assert abs(z.mean()) * np.sqrt(z.size) < 3.5, z  # 5 models: a good engine fails one in 400 times
    assert (z**2).mean() < 2.5, z  # chi square of 16
    assert ("equilibration_katzgraber_young_p" in made.attrs) == (domain.model != "ferromagnet" and
        domain.couplings == "gaussian" or domain.random_field > 0)  # fmt: skip


def test_exact_methods_take_fields_and_graphs():
    """Magnetization of free spins, whose law is known: tanh(h/T)."""
    domain = dataclasses.replace(TEMPERED, method="enumeration", uniform_field=0.7, couplings="gaussian", instances=20)
    found = draw_disorder(domain, 3)
    np.testing.assert_array_equal(found.external_field, np.float32(0.7))
    plain = draw_disorder(dataclasses.replace(domain, uniform_field=0.0), 3)
    np.testing.assert_array_equal(found.couplings, plain.couplings)
    assert plain.external_field is None
    cold = dataclasses.replace(domain, bond_fraction=0.01, replicas=400, temperatures=(1.0,), boundary="free")
    made = cold.simulate(seed=0)
    bound = np.abs(disorder_of(made).couplings).sum(axis=(1, 2, 3)) > 0
    spins = made["field"].values[~bound]
    assert len(spins) >= 10
    np.testing.assert_allclose(spins.mean(), np.tanh(0.7), atol=4 * np.sqrt((1 - np.tanh(0.7) ** 2) / spins.size))


def test_dilution_keeps_the_couplings_that_it_keeps():
    shape, ids = (16, 16), np.arange(20)
    full = lattice_couplings(shape, "gaussian", "periodic", 1, ids)
    sparse = diluted(full, 0.4, 1, ids)
    kept = sparse != 0
    np.testing.assert_array_equal(sparse[kept], full[kept])
    count = kept.size
    assert abs(kept.mean() - 0.4) < 4 * np.sqrt(0.4 * 0.6 / count)
    np.testing.assert_array_equal(diluted(full[7:8], 0.4, 1, ids[7:8])[0], sparse[7])  # instance 7 is instance 7


def test_fields_have_the_moments_that_were_asked_for():
    fields = external_fields((40, 40), 0.5, 0.8, 3, np.arange(25)).astype(np.float64)
    assert abs(fields.mean() - 0.5) < 4 * 0.8 / 200
    assert abs(fields.std() - 0.8) < 4 * 0.8 / np.sqrt(2 * fields.size)
    np.testing.assert_array_equal(external_fields((40, 40), 0.5, 0.8, 3, np.array([9]))[0], fields[9].astype("f4"))


def test_regular_graphs_are_regular_and_uniform():
    """Of the 70 labelled cubic graphs on six spins 10 have no triangle: K_{3,3}; the other 60 are prisms."""
    bipartite, draws = 0, 400
    for seed in range(draws):
        edges = regular_graph(6, 3, np.random.default_rng(seed))
        matrix = np.zeros((6, 6), dtype=int)
        np.add.at(matrix, (edges[:, 0], edges[:, 1]), 1)
        matrix += matrix.T
        assert matrix.max() == 1 and (matrix.sum(axis=0) == 3).all()
        bipartite += np.trace(np.linalg.matrix_power(matrix, 3)) == 0
    share = 1 / 7
    assert abs(bipartite / draws - share) < 4 * np.sqrt(share * (1 - share) / draws)
    for spins, degree in ((9, 4), (12, 5), (50, 2)):
        edges = regular_graph(spins, degree, np.random.default_rng(1))
        assert (np.bincount(edges.reshape(-1)) == degree).all() and len(np.unique(edges, axis=0)) == len(edges)


def test_large_random_regular_glasses_are_those_of_the_bethe_lattice():
    """Above T_c, (k-1) [tanh^2 J/T] = 1, the energy is that of a tree: -(k/2) [J tanh J/T]. k = 3, +-J: T_c = 1.135."""
    domain = Spins(model="random_regular", length=128, couplings="bimodal", temperatures=(2.0, 2.5), instances=8,
                   replicas=16, method="parallel_tempering", sweeps=2048, hottest=3.0)  # fmt: skip
    energy = domain.simulate(seed=2)["energy"].values.mean(axis=2)
    expected = -1.5 * np.tanh(1 / np.array(domain.temperatures))
    error = energy.std(axis=0, ddof=1) / np.sqrt(domain.instances)
    # short loops: an expected (k-1)^3/6 triangles and so on shift the energy by a part of 1/N
    assert (np.abs(energy.mean(axis=0) - expected) < 4 * error + 1 / 128).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model": "random_regular", "length": 9}, "even"),
        ({"model": "random_regular", "length": 3}, "degree < length"),
        ({"model": "sherrington_kirkpatrick", "bond_fraction": 0.5}, "dilutes a lattice"),
        ({"random_field": -1.0}, "standard deviation"),
        ({"model": "random_regular", "length": 8, "method": "transfer_matrix"}, "needs a lattice"),
    ],
)
def test_impossible_models_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        Spins(**settings)


def test_words_take_no_field():
    domain = dataclasses.replace(TEMPERED, couplings="bimodal", uniform_field=0.1, kernel="multispin")
    with pytest.raises(InputError, match="multispin.*no external field"):
        domain.simulate(seed=0)
    with pytest.raises(InputError, match="no regular graph"):
        regular_graph(5, 3, np.random.default_rng(0))
