"""peapods as an oracle: the law of the overlap of one instance, by another code's tempering, by this one, and exact.

Its conventions, held by the exact law: couplings (*grid, d) one step up, J > 0 for a ferromagnet; the histogram of q
counts the values -1, -1 + 2/N, ..., 1 after a quarter of the sweeps. Its random numbers have one seed, 42, unless
``_sim.reset`` gives another one.
"""

from importlib import import_module

import numpy as np
from scipy import stats

from physgen.domains.spins import monte_carlo
from physgen.domains.spins.couplings import lattice_edges
from physgen.domains.spins.enumeration import enumerate_graph, overlap_law

TEMPERATURES, SHAPE, SPINS, RUNS = np.array([0.5, 0.9, 1.5, 2.5]), (4, 4), 16, 16
COUPLINGS = np.random.default_rng(3).normal(size=(2, *SHAPE)).astype(np.float32)
EDGES = lattice_edges(SHAPE)
# |z| of any of 4 x 9 probabilities, each a mean of 16 runs, that a thousandth of all right pairs of codes would exceed
LIMIT = stats.t.isf(1e-3 / (2 * len(TEMPERATURES) * (SPINS // 2 + 1)), RUNS - 1)


def theirs(sweeps):
    """P(q) (runs, T, N + 1) of runs of peapods with seeds of their own."""
    bonds = np.ascontiguousarray(np.moveaxis(COUPLINGS, 0, -1))
    model = import_module("peapods").Ising(SHAPE, bonds, TEMPERATURES, n_replicas=2)
    found = []
    for seed in range(RUNS):
        model._sim.reset(seed)
        model.sample(sweeps, sweep_mode="gibbs", pt_interval=1, sequential=True)
        found.append(np.array(model.overlap_histogram, dtype=float))
    return np.array(found) / np.sum(found, axis=-1, keepdims=True)


def ours(sweeps):
    """P(q) (pairs, T, N + 1) of disjoint pairs of ladders."""
    graph = monte_carlo.make_graph(EDGES, COUPLINGS.reshape(-1), SPINS)
    walkers = monte_carlo.start(graph, TEMPERATURES, 2 * RUNS, np.random.default_rng(3))
    monte_carlo.advance(walkers, graph, TEMPERATURES, sweeps // 4)
    found = np.zeros((RUNS, len(TEMPERATURES), SPINS + 1))
    level, pair = np.indices((len(TEMPERATURES), RUNS))
    for _ in range(sweeps // 8):
        monte_carlo.advance(walkers, graph, TEMPERATURES, 8)
        spins = monte_carlo.configurations(walkers, np.arange(len(TEMPERATURES))).astype(int)
        agreeing = ((spins[:, ::2] * spins[:, 1::2]).sum(axis=-1) + SPINS) // 2
        np.add.at(found, (pair, level, agreeing), 1)
    return found / found.sum(axis=-1, keepdims=True)


def worst(first, second):
    """Largest |z| of the folded laws P(|q|) of runs (runs, T, N + 1), or of one exact law (1, T, N + 1)."""
    means, variances = [], []
    for one in (first, second):
        folded = (one + one[..., ::-1])[..., : SPINS // 2 + 1]
        means.append(folded.mean(axis=0))
        variances.append(folded.var(axis=0, ddof=1) / len(one) if len(one) > 1 else 0)
    return np.abs((means[0] - means[1]) / np.sqrt(variances[0] + variances[1])).max()


def test_both_codes_give_the_law_of_the_overlap_and_so_does_enumeration():
    laws = [enumerate_graph(SPINS, EDGES, COUPLINGS.reshape(-1), t).probabilities for t in TEMPERATURES]
    exact = np.array([[overlap_law(law) for law in laws]])
    peapods, physgen = theirs(8000), ours(8000)
    assert worst(peapods, physgen) < LIMIT
    assert worst(peapods, exact) < LIMIT and worst(physgen, exact) < LIMIT
    assert worst(peapods[:, 1:], physgen[:, :-1]) > 2 * LIMIT  # the temperatures moved by one: it would have been seen
