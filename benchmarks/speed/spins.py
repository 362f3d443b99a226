"""Monte Carlo of spin glasses: heat bath of every spin and exchanges of neighbouring temperatures after each sweep."""

import numpy as np

from benchmarks.speed.row import growth, race
from physgen.domains.spins import Domain, monte_carlo, multispin
from physgen.domains.spins.couplings import lattice_couplings, lattice_edges
from physgen.domains.spins.simulate import drawn_couplings
from physgen.domains.spins.tempering import tempering_ensemble

LADDERS = 4
TEMPERATURES = np.geomspace(0.9, 2.2, 16)


def rows():
    """Couplings +-J in words and any couplings against peapods, the whole simulation, and growth over N."""
    for shape in ((8, 8, 8), (32, 32)):
        yield _against_peapods(shape, "bimodal", 200)
    yield _against_peapods((8, 8, 8), "gaussian", 200)
    yield _simulation()
    yield growth(
        "+-J in words, 64 instances x 64 lanes of L x L x L spins, 20 sweeps",
        "N",
        {length**3: _words((length,) * 3, 20) for length in (4, 6, 8, 12, 16)},
        "1",
    )


def _words(shape, sweeps):
    """Sweeps of 64 instances in words."""
    edges, spins = lattice_edges(shape), int(np.prod(shape))
    couplings = lattice_couplings(shape, "bimodal", "periodic", 1, np.arange(64)).reshape(64, -1)
    bonds = multispin.make_bonds(edges, couplings, spins)
    walkers = multispin.start(bonds, TEMPERATURES, LADDERS, np.random.default_rng(1))
    tables = multispin.tables(bonds, 1.0, TEMPERATURES, LADDERS)
    return lambda: multispin.advance(walkers, bonds, tables, sweeps)


def _general(shape, law, sweeps):
    """Sweeps of one instance by the kernel for any couplings."""
    edges, spins = lattice_edges(shape), int(np.prod(shape))
    couplings = lattice_couplings(shape, law, "periodic", 1, np.arange(1)).reshape(-1)
    graph = monte_carlo.make_graph(edges, couplings, spins)
    walkers = monte_carlo.start(graph, TEMPERATURES, LADDERS, np.random.default_rng(1))
    return lambda: monte_carlo.advance(walkers, graph, TEMPERATURES, sweeps)


def _peapods(shape, law, sweeps):
    """Sweeps of one instance by peapods, without its measurements but in the last hundredth; None if it is missing."""
    try:
        import peapods
    except ImportError:
        return None
    np.random.seed(1)  # where peapods takes its couplings from
    glass = peapods.Ising(shape, couplings=law, temperatures=TEMPERATURES, n_replicas=LADDERS, n_disorder=1)
    return lambda: glass.sample(sweeps, sweep_mode="gibbs", pt_interval=1, warmup_ratio=0.99, sequential=True)


def _against_peapods(shape, law, sweeps):
    lattice = " x ".join(map(str, shape))
    one = {"physgen, any couplings": _general(shape, law, sweeps), "peapods": _peapods(shape, law, sweeps)}
    updates = (
        f"{len(TEMPERATURES)} temperatures x {LADDERS} replicas of {lattice} spins, {sweeps} sweeps with exchanges"
    )
    if law != "bimodal":
        return race(f"{law} couplings, {updates}", one, "kept: 1 / 15")
    runs = {"physgen, words": _words(shape, sweeps), **one}
    return race(f"+-J, 64 instances, {updates}", runs, "1 / 50", share=dict.fromkeys(one, 1 / 64))


def _simulation():
    """All that ``physgen simulate`` does, measurements and tests of equilibrium included."""

    def run(kernel):
        domain = Domain(
            couplings="bimodal", dimension=3, length=6, boundary="periodic", method="parallel_tempering", instances=64,
            replicas=16, temperatures=(1.6, 2.0), sweeps=4096, kernel=kernel,
        )  # fmt: skip
        couplings = drawn_couplings(domain, 1)
        return lambda: tempering_ensemble(domain, couplings, 1)

    return race(
        "the whole simulation of 64 instances of 6 x 6 x 6 spins +-J, 4096 sweeps, 16 replicas at 2 temperatures",
        {"physgen, words": run("multispin"), "physgen, any couplings": run("general")},
        repeats=3,
    )
