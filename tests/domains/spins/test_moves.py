"""Moves of many spins at once: what they leave as it is, by enumeration, and how they are counted."""

import numpy as np
import pytest
from scipy import stats

from physgen.diffusion.exact.atoms import enumerate_spins
from physgen.domains.spins import monte_carlo, moves
from physgen.domains.spins.couplings import lattice_couplings, lattice_edges
from physgen.domains.spins.energy import graph_energy
from physgen.domains.spins.enumeration import enumerate_graph
from physgen.errors import InputError

SPINS, LADDERS, SIGNIFICANCE = 9, 8000, 1e-3
EDGES = lattice_edges((3, 3))
COUPLINGS = lattice_couplings((3, 3), "gaussian", "periodic", 4, np.arange(1)).reshape(-1)
FIELD = np.random.default_rng(2).normal(size=SPINS) / 2
TEMPERATURES = np.array([1.5, 2.5])
GRAPH = monte_carlo.make_graph(EDGES, COUPLINGS, SPINS, FIELD)
LAWS = [enumerate_graph(SPINS, EDGES, COUPLINGS, t, FIELD).probabilities for t in TEMPERATURES]
STATES = np.asarray(enumerate_spins(SPINS))
WEIGHTS = 1 << np.arange(SPINS)
PLACES = np.argsort((STATES > 0) @ WEIGHTS)  # of the state with each number


def exact_walkers(seed=0):
    """Every ladder at both temperatures in equilibrium, drawn by enumeration."""
    rng = np.random.default_rng(seed)
    walkers = monte_carlo.start(GRAPH, TEMPERATURES, LADDERS, rng)
    for level, law in enumerate(LAWS):
        walkers.spins[:, walkers.lane_at[:, level]] = STATES[rng.choice(len(law), LADDERS, p=law)].T
    walkers.energy[:] = energies(walkers)
    return walkers


def energies(walkers):
    return graph_energy(walkers.spins.T, EDGES, COUPLINGS, FIELD) * SPINS


def p_value(walkers, level):
    """Of the counts of all states at a level, those of fewer than 10 expected taken together."""
    spins = monte_carlo.configurations(walkers, np.array([level]))[0]
    counts = np.bincount(PLACES[(spins > 0) @ WEIGHTS], minlength=1 << SPINS)
    expected = LAWS[level] * LADDERS
    rare = expected < 10
    observed = np.append(counts[~rare], counts[rare].sum())
    return stats.chisquare(observed, np.append(expected[~rare], expected[rare].sum())).pvalue


def of_random_spins(bias):
    """Proposals of spins that are up with probability ``bias``, and their exact ratio."""

    def propose(here, number):
        rng = np.random.default_rng([number, 9])
        new = np.where(rng.random(here.shape) < bias, 1, -1).astype(np.int8)
        return new, log_weight(new) - log_weight(here)

    def log_weight(spins):
        up = (spins > 0).sum(-1)
        made = up * np.log(bias) + (SPINS - up) * np.log1p(-bias)
        return -graph_energy(spins, EDGES, COUPLINGS, FIELD) * SPINS / TEMPERATURES[:, None] - made

    return propose


def test_clusters_leave_the_law_and_the_energy_of_a_pair_as_they_are():
    walkers = exact_walkers()
    for number in range(4):
        walkers.sweeps[0] = number  # who is whose partner
        before = walkers.energy[walkers.lane_at]
        sizes = moves.exchange_clusters(walkers, GRAPH, np.arange(2))
        order = np.roll(np.arange(LADDERS), -number % 2)
        pairs = [e[order].reshape(-1, 2, 2).sum(1) for e in (before, walkers.energy[walkers.lane_at])]
        assert np.allclose(*pairs, atol=1e-4) and sizes.shape == (LADDERS // 2, 2)
        assert 0 < sizes.mean() < SPINS / 2 and sizes.max() <= SPINS
    assert np.allclose(walkers.energy, energies(walkers), atol=1e-4)
    for level in range(2):
        assert p_value(walkers, level) > SIGNIFICANCE
        moved = monte_carlo.configurations(walkers, np.array([level]))[0]
        start = monte_carlo.configurations(exact_walkers(), np.array([level]))[0]
        assert (moved != start).any(axis=1).mean() > 0.5


def test_whole_lattices_leave_the_law_as_it_is_where_the_ratio_is_right():
    walkers = exact_walkers(1)
    taken = np.mean([moves.propose_lattices(walkers, GRAPH, np.arange(2), of_random_spins(0.6), n) for n in range(6)])
    assert 0.1 < taken < 0.9 and np.allclose(walkers.energy, energies(walkers), atol=1e-4)
    assert min(p_value(walkers, level) for level in range(2)) > SIGNIFICANCE


def test_a_ratio_that_is_wrong_is_found_out():
    def always(here, number):
        return of_random_spins(0.6)(here, number)[0], np.zeros(here.shape[:2])

    walkers = exact_walkers(1)
    moves.propose_lattices(walkers, GRAPH, np.arange(2), always, 0)
    assert max(p_value(walkers, level) for level in range(2)) < SIGNIFICANCE**4


def test_moves_between_sweeps_reach_the_law_from_anywhere():
    walkers = monte_carlo.start(GRAPH, TEMPERATURES, LADDERS, np.random.default_rng(3))
    plan = moves.Moves(np.arange(2), of_random_spins(0.5), every=5, clusters=True)
    made, taken = moves.advance(walkers, GRAPH, TEMPERATURES, 30, plan)
    assert (made == 6 * LADDERS).all() and (taken > 0).all() and (taken < made).all()
    assert min(p_value(walkers, level) for level in range(2)) > SIGNIFICANCE


def test_a_run_continued_makes_the_same_moves():
    plan = moves.Moves(np.arange(2), of_random_spins(0.5), every=4)
    whole, parts = (monte_carlo.start(GRAPH, TEMPERATURES, 6, np.random.default_rng(8)) for _ in range(2))
    whole_counts = moves.advance(whole, GRAPH, TEMPERATURES, 21, plan)
    counts = moves.advance(parts, GRAPH, TEMPERATURES, 6, plan) + moves.advance(parts, GRAPH, TEMPERATURES, 15, plan)
    assert np.array_equal(whole.spins, parts.spins) and np.array_equal(whole_counts, counts)


def test_what_cannot_be_done_is_refused():
    walkers = monte_carlo.start(GRAPH, TEMPERATURES, 1, np.random.default_rng(0))
    with pytest.raises(InputError, match="take 2 or more"):
        moves.exchange_clusters(walkers, GRAPH, np.arange(2))
    with pytest.raises(InputError, match="give at least 1"):
        moves.Moves(np.arange(2), every=0)
    with pytest.raises(InputError, match="ratios that are numbers"):
        moves.propose_lattices(walkers, GRAPH, np.arange(2), lambda here, number: (here, np.full((2, 1), np.nan)), 0)
