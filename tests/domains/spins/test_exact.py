"""The transfer matrix and enumeration, against each other, closed forms, published values and another code."""

from importlib import import_module

import numpy as np
import pytest
import torch
from scipy import stats

from physgen.diffusion.exact.atoms import EnumeratedIsing, enumerate_spins
from physgen.domains.spins import exact
from physgen.domains.spins.couplings import coupling_matrix, cut_seams, lattice_couplings, lattice_edges
from physgen.domains.spins.energy import lattice_energy
from physgen.domains.spins.enumeration import enumerate_graph, kaufman, overlap_law
from physgen.errors import InputError

CRITICAL = np.log(1 + np.sqrt(2)) / 2


def glass(shape, boundary, seed=0):
    rng = np.random.default_rng(seed)
    return cut_seams(rng.normal(size=(len(shape), *shape)), boundary), rng.normal(size=shape) / 2


@pytest.mark.parametrize("boundary", ["cylinder", "periodic", "free"])
@pytest.mark.parametrize("shape", [(4, 4), (3, 5), (2, 7), (6, 2), (9,), (4, 2, 2), (2, 3, 2)])
@pytest.mark.parametrize("temperature", [0.15, 1.0, 4.0])
def test_partition_function_and_energy_equal_enumeration(shape, boundary, temperature):
    couplings, field = glass(shape, boundary)
    for external in (None, field):
        law = enumerate_graph(np.prod(shape), lattice_edges(shape), couplings.reshape(-1), temperature, external)
        log_z, energy = exact.log_partition(couplings, temperature, external)
        assert log_z == pytest.approx(law.log_partition, rel=1e-12)
        assert energy == pytest.approx(law.energy, rel=1e-11)


@pytest.mark.parametrize(
    ("temperature", "log_z", "energy"),
    [(0.5, 3.13279520, -1.533941), (1.0, 1.62440829, -1.445009), (2.0, 0.97642195, -1.041646)],
)
def test_three_dimensions_equal_the_published_values_of_one_instance(temperature, log_z, energy):
    couplings = cut_seams(np.random.default_rng(0).normal(size=(3, 4, 4, 4)), "cylinder")
    found = exact.log_partition(couplings, temperature)
    assert found[0] / 64 == pytest.approx(log_z, abs=5e-9)
    assert found[1] == pytest.approx(energy, abs=5e-7)


@pytest.mark.parametrize(
    ("length", "beta", "log_z", "energy"),
    [
        (8, CRITICAL, 0.939715324829, -1.4915891074),
        (16, 0.28, 0.77709148055, -0.64294014222),
        (16, 0.6, 1.21283999449, -1.9090861749),
        (24, 0.4407, 0.930825623213, -1.4402492758),
        (128, CRITICAL, 0.92973445577, -1.4190762721),
    ],
)
def test_kaufman_equals_the_published_values(length, beta, log_z, energy):
    found = kaufman(length, beta)
    assert found[0] == pytest.approx(log_z, abs=6e-12)  # as many digits as were published
    assert found[1] == pytest.approx(energy, abs=6e-11)


@pytest.mark.parametrize("beta", [0.2, CRITICAL, 0.7])
def test_the_torus_of_the_ferromagnet_equals_kaufman(beta):
    log_z, energy = exact.log_partition(np.ones((2, 6, 6)), 1 / beta)
    assert (log_z / 36, energy) == pytest.approx(kaufman(6, beta), rel=1e-12)


@pytest.mark.parametrize("boundary", ["cylinder", "periodic"])
def test_samples_follow_the_boltzmann_law_of_every_state(boundary):
    couplings, field = glass((3, 3), boundary)
    law = enumerate_graph(9, lattice_edges((3, 3)), couplings.reshape(-1), 1.5, field)
    drawn = exact.sample(couplings, 1.5, 40_000, np.random.default_rng(1), field).spins.reshape(-1, 9)
    counts = np.bincount((drawn > 0) @ (1 << np.arange(9)), minlength=512)
    expected = law.probabilities * len(drawn)
    rare = expected < 10
    observed = np.append(counts[~rare], counts[rare].sum())
    expected = np.append(expected[~rare], expected[rare].sum())
    assert stats.chisquare(observed, expected).pvalue > 1e-4


@pytest.mark.parametrize(("shape", "boundary"), [((10, 10), "cylinder"), ((6, 6), "periodic"), ((5, 3, 3), "cylinder")])
def test_mean_energy_of_samples_is_the_exact_one(shape, boundary):
    couplings = lattice_couplings(shape, "gaussian", boundary, 3, np.arange(8))
    rng = np.random.default_rng(2)
    off, variance = 0.0, 0.0
    for bonds in couplings:
        drawn = exact.sample(bonds, 0.8, 500, rng)
        energies = lattice_energy(drawn.spins, bonds, len(shape))
        off += energies.mean() - drawn.energy
        variance += energies.var(ddof=1) / 500
    assert abs(off) < 4 * np.sqrt(variance)


def test_tree_decomposition_of_another_code_agrees():
    samplers = import_module("dwave.samplers")
    couplings, field = glass((6, 6), "cylinder", seed=4)
    edges = lattice_edges((6, 6))
    interactions = {(int(i), int(j)): -c for (i, j), c in zip(edges, couplings.reshape(-1), strict=True) if c}
    temperature = 0.9
    result = samplers.TreeDecompositionSampler().sample_ising(
        {i: -h for i, h in enumerate(field.reshape(-1))}, interactions, num_reads=400, beta=1 / temperature, seed=1
    )
    log_z, energy = exact.log_partition(couplings, temperature, field)
    assert result.info["log_partition_function"] == pytest.approx(log_z, rel=1e-9)
    energies = result.record.energy / 36
    assert abs(energies.mean() - energy) < 4 * energies.std(ddof=1) / 20


def test_enumeration_here_and_in_the_core_number_the_states_alike():
    couplings, field = glass((2, 3), "cylinder")
    law = enumerate_graph(6, lattice_edges((2, 3)), couplings.reshape(-1), 0.7, field)
    matrix = coupling_matrix(lattice_edges((2, 3)), couplings.reshape(-1), 6)
    core = EnumeratedIsing.from_couplings(torch.from_numpy(matrix), 1 / 0.7, (1, 6), torch.from_numpy(field.ravel()))
    np.testing.assert_allclose(law.energies, -0.7 * core.log_weights.numpy(), rtol=1e-13)


def test_overlap_law_equals_the_sum_over_all_pairs():
    couplings, field = glass((2, 4), "cylinder")
    law = enumerate_graph(8, lattice_edges((2, 4)), couplings.reshape(-1), 0.7, field)
    every = enumerate_spins(8).numpy().astype(int)
    agreeing = (every @ every.T + 8) // 2
    pairs = np.bincount(agreeing.reshape(-1), weights=np.outer(law.probabilities, law.probabilities).reshape(-1))
    np.testing.assert_allclose(overlap_law(law.probabilities), pairs, atol=1e-14)


def test_nishimori_line_has_its_exact_energy_and_equal_moments():
    """+-J with P(+) = 1/(1 + e^(-2/T)): [<E>] = -M tanh(1/T) and [<m^2>] = [<q^2>]."""
    temperature, count = 1.3, 300
    rng = np.random.default_rng(8)
    plus = rng.random((count, 2, 6, 6)) < 1 / (1 + np.exp(-2 / temperature))
    energies, moments = [], []
    for bonds in np.where(plus, 1.0, -1.0):
        cut_seams(bonds, "cylinder")
        drawn = exact.sample(bonds, temperature, 40, rng)
        flat = drawn.spins.reshape(40, 36).astype(float)
        overlap = (flat @ flat.T / 36)[np.triu_indices(40, 1)]
        energies.append(drawn.energy * 36)
        moments.append((flat.mean(axis=1) ** 2).mean() - (overlap**2).mean())
    bond_count = 2 * 36 - 6
    for found, wanted in ((energies, -bond_count * np.tanh(1 / temperature)), (moments, 0.0)):
        assert abs(np.mean(found) - wanted) < 4 * np.std(found, ddof=1) / np.sqrt(count)


def test_what_the_transfer_matrix_cannot_do_is_refused():
    with pytest.raises(InputError, match="too wide.*parallel_tempering"):
        exact.sample(np.ones((2, 11, 11)), 1.0, 1, np.random.default_rng(0))
    with pytest.raises(InputError, match="too low.*raise it above"):
        exact.log_partition(cut_seams(np.ones((2, 8, 8)), "cylinder"), 0.01)
    with pytest.raises(InputError, match="must be positive"):
        exact.log_partition(np.ones((2, 4, 4)), 0.0)
