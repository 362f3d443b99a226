"""Parallel tempering against enumeration, Kaufman and its own conventions."""

import numpy as np
import pytest
from scipy import stats

from physgen.domains.spins import monte_carlo
from physgen.domains.spins.couplings import lattice_couplings, lattice_edges
from physgen.domains.spins.energy import graph_energy
from physgen.domains.spins.enumeration import enumerate_graph, kaufman
from physgen.errors import InputError


def run(graph, temperatures, ladders, seed=0, warm_up=500):
    walkers = monte_carlo.start(graph, temperatures, ladders, np.random.default_rng(seed))
    monte_carlo.advance(walkers, graph, temperatures, warm_up)
    return walkers


def random_graph(spins, seed):
    rng = np.random.default_rng(seed)
    edges = np.stack(np.triu_indices(spins, 1), axis=1)
    edges = edges[rng.random(len(edges)) < 0.5].astype(np.int32)
    return edges, rng.normal(size=len(edges)), rng.normal(size=spins) / 2


@pytest.mark.parametrize("case", ["random graph with fields", "odd torus", "checkerboard"])
def test_every_state_has_its_boltzmann_probability(case):
    if case == "random graph with fields":
        edges, couplings, field = random_graph(9, 1)
        order = None
    else:
        shape, field = ((3, 3), None) if case == "odd torus" else ((4, 2), None)
        edges = lattice_edges(shape)
        couplings = lattice_couplings(shape, "gaussian", "periodic", 2, [0]).reshape(-1)
        order = monte_carlo.checkerboard_order(shape, (True, True)) if case == "checkerboard" else None
    spins = int(edges.max()) + 1
    temperatures = np.array([0.7, 1.2, 2.0])
    graph = monte_carlo.make_graph(edges, couplings, spins, field, order)
    walkers = run(graph, temperatures, ladders=16)
    found = []
    for _ in range(1500):
        monte_carlo.advance(walkers, graph, temperatures, 20)
        found.append(monte_carlo.configurations(walkers, np.arange(3)))
    found = np.stack(found, axis=1).reshape(3, -1, spins)
    for level, temperature in enumerate(temperatures):
        law = enumerate_graph(spins, edges, couplings, temperature, field)
        expected = law.probabilities * found.shape[1]
        counts = np.bincount((found[level] > 0) @ (1 << np.arange(spins)), minlength=1 << spins)
        rare = expected < 10
        observed = np.append(counts[~rare], counts[rare].sum())
        assert stats.chisquare(observed, np.append(expected[~rare], expected[rare].sum())).pvalue > 1e-4


def test_energies_of_the_ferromagnet_on_the_torus_are_kaufmans():
    """The standard error comes from 16 ladders that share nothing."""
    graph = monte_carlo.make_graph(lattice_edges((16, 16)), np.ones(512), 256)
    critical = 2 / np.log(1 + np.sqrt(2))
    temperatures = np.array([1 / 0.6, 1.8, 1.95, 2.1, critical, 2.5, 2.9, 1 / 0.28])
    walkers = run(graph, temperatures, ladders=16, warm_up=3000)
    energies = []
    for _ in range(1500):
        monte_carlo.advance(walkers, graph, temperatures, 5)
        energies.append(monte_carlo.measure(walkers, graph).energy)
    means = np.mean(energies, axis=0)  # (ladders, T)
    exact = [kaufman(16, 1 / t)[1] for t in temperatures]
    z = (means.mean(axis=0) - exact) / (means.std(axis=0, ddof=1) / 4)
    assert np.all(np.abs(z) < 4), z


def test_a_run_continued_from_a_stored_state_is_the_uninterrupted_run():
    edges, couplings, field = random_graph(12, 3)
    graph = monte_carlo.make_graph(edges, couplings, 12, field)
    temperatures = np.array([0.5, 1.0, 2.0])
    whole = run(graph, temperatures, 4, warm_up=300)
    parts = run(graph, temperatures, 4, warm_up=137)
    stored = {name: array.copy() for name, array in monte_carlo.copy_walkers(parts)._asdict().items()}
    monte_carlo.advance(parts, graph, temperatures, 50)  # goes on, the stored state does not
    again = monte_carlo.Walkers(**stored)
    monte_carlo.advance(again, graph, temperatures, 163)
    for one, other in zip(whole, again, strict=True):
        assert np.array_equal(one, other)


def test_configurations_stand_at_their_temperatures_with_their_energies():
    edges, couplings, field = random_graph(30, 5)
    graph = monte_carlo.make_graph(edges, couplings, 30, field)
    temperatures = np.array([0.4, 0.7, 1.1, 1.8])
    walkers = run(graph, temperatures, 3, warm_up=333)  # not a multiple of the refresh of energies
    spins = monte_carlo.configurations(walkers, np.arange(4))  # (T, ladders, N)
    measured = monte_carlo.measure(walkers, graph)
    energies = graph_energy(spins, edges, couplings, field)
    np.testing.assert_allclose(measured.energy.T, energies, atol=1e-5)
    flat = spins.astype(float)
    np.testing.assert_allclose(measured.overlap[0], (flat[:, 0] * flat[:, 1]).mean(axis=-1), atol=1e-12)
    assert np.all(np.sort(walkers.lane_at, axis=1) == np.arange(12).reshape(3, 4))
    assert walkers.trips.min() > 0 and np.all(walkers.accepted <= walkers.attempts)


def test_lanes_are_independent_of_each_other():
    """Where couplings do not count, overlaps of lanes have mean 0, variance 1/N and no memory of the last sweep."""
    graph = monte_carlo.make_graph(lattice_edges((8, 8)), np.ones(128), 64)
    hot = np.array([1e6])
    walkers = run(graph, hot, 64, warm_up=20)
    first = monte_carlo.configurations(walkers, np.array([0]))[0].astype(float)
    monte_carlo.advance(walkers, graph, hot, 1)
    second = monte_carlo.configurations(walkers, np.array([0]))[0].astype(float)
    between, along = first @ first.T / 64, first @ second.T / 64
    overlaps = np.concatenate([between[np.triu_indices(64, 1)], along.reshape(-1)]) * 8  # unit variance
    assert abs(overlaps.mean()) < 4 / np.sqrt(len(overlaps))
    assert abs((overlaps**2).mean() - 1) < 4 * np.sqrt(2 / len(overlaps))


@pytest.mark.parametrize("shape", [(3, 4), (4, 5), (4, 4, 3)])
def test_checkerboard_on_an_odd_periodic_lattice_is_refused(shape):
    odd = next(n for n in shape if n % 2)
    with pytest.raises(InputError, match=f"even length, got {odd}"):
        monte_carlo.checkerboard_order(shape, (True,) * len(shape))
    order = monte_carlo.checkerboard_order(shape, tuple(n % 2 == 0 for n in shape))  # odd but free is fine
    assert sorted(order) == list(range(np.prod(shape)))


def test_a_ladder_holds_every_wanted_temperature_in_small_steps():
    wanted = np.array([0.31, 1.0, 1.7])
    ladder = monte_carlo.temperature_ladder(wanted, hottest=2.2, spins=512)
    assert np.isin(wanted, ladder).all() and ladder[0] == 0.31 and ladder[-1] == 2.2
    assert np.all(np.diff(ladder) > 0) and (ladder[1:] / ladder[:-1]).max() <= 1 + 1.5 / np.sqrt(512) + 1e-12
    graph = monte_carlo.make_graph(lattice_edges((2, 2)), np.ones(8), 4)
    with pytest.raises(InputError, match="must be positive and increase"):
        monte_carlo.start(graph, wanted[::-1], 2, np.random.default_rng(0))
