r"""Exact heat-bath sweeps of configurations, each at its own temperature: local moves that keep Boltzmann's law.

Configurations of the law stay of the law, and weighted ones keep their weights,
:math:`E[w f(s')] = Z \langle f\rangle` where s' comes from s by moves that leave the law unchanged. What a network errs
in at short range they repair; what it errs in at long range they need their own autocorrelation time for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from physgen.domains.spins.couplings import lattice_edges
from physgen.domains.spins.encoding import sample_streams
from physgen.domains.spins.layout import Disorder, check_spins, disorder_of, with_spins
from physgen.domains.spins.many_body import state_numbers, states_of

if TYPE_CHECKING:
    import xarray as xr

SWEEP_STREAM = 19  # of the random numbers of sweeps after drawing


def swept(ensemble: xr.Dataset, sweeps: int, seed: int) -> xr.Dataset:
    """The ensemble with its configurations moved by ``sweeps`` heat-bath sweeps, energies recomputed.

    Random numbers are those of the seed and of the couplings, temperature and number of each configuration, so that it
    moves alike in any company. Weights, where there are some, stay as they are.
    """
    check_spins(ensemble)
    disorder, spins = disorder_of(ensemble), ensemble["field"].values
    streams = sample_streams(ensemble).reshape(spins.shape[0], -1)
    words = [
        np.stack([np.random.SeedSequence([seed, SWEEP_STREAM, int(one)]).generate_state(4) for one in row], axis=1)
        for row in streams
    ]
    return with_spins(ensemble, heat_bath(spins, disorder, ensemble["temperature"].values, sweeps, words))


def heat_bath(
    spins: np.ndarray,
    disorder: Disorder,
    temperatures: np.ndarray,
    sweeps: int,
    randomness: int | list[np.ndarray],
) -> np.ndarray:
    r"""Spins (D, T, R, \*grid) after ``sweeps`` heat-bath sweeps at their own temperatures, sites in order.

    ``randomness`` is a seed, or for each instance the states (4, T R) uint32 of a generator of each configuration.
    """
    from physgen.domains.spins.monte_carlo import make_graph, start, sweep

    instances, levels, replicas = spins.shape[:3]
    count = int(np.prod(spins.shape[3:]))
    edges = lattice_edges(spins.shape[3:]) if disorder.edges is None else disorder.edges
    two_beta = np.repeat(2 / np.asarray(temperatures), replicas).astype(np.float32)
    if disorder.levels is not None:
        return _among_levels(spins, disorder.levels, two_beta, sweeps, randomness)
    found = np.empty_like(spins)
    for i in range(instances):
        outer = None if disorder.external_field is None else disorder.external_field[i]
        graph = make_graph(edges, disorder.couplings[i].reshape(-1), count, outer)
        seed = [randomness, i, sweeps] if isinstance(randomness, int) else 0
        walkers = start(graph, np.ones(1), levels * replicas, np.random.default_rng(seed))
        if not isinstance(randomness, int):
            walkers.generators[:, :-1] = np.maximum(randomness[i], 1)  # a state of zeros would stay
        walkers.spins[:] = spins[i].reshape(-1, count).T
        change = np.zeros(levels * replicas, dtype=np.float32)
        for _ in range(sweeps):
            sweep(walkers, graph, two_beta, change)
        found[i] = walkers.spins.T.reshape(spins.shape[1:])
    return found


def _among_levels(
    spins: np.ndarray, levels: np.ndarray, two_beta: np.ndarray, sweeps: int, randomness: int | list[np.ndarray]
) -> np.ndarray:
    """The same where each state has an energy of its own, levels (D, 2^N)."""
    from physgen.domains.spins.many_body_kernels import sweep_levels

    found = np.empty_like(spins)
    for i, own in enumerate(spins):
        states = state_numbers(own).reshape(-1)
        if isinstance(randomness, int):
            rng = np.random.default_rng([randomness, i, sweeps])
            generators = rng.integers(1, 2**32, (4, len(states)), dtype=np.uint32)
        else:
            generators = np.maximum(randomness[i], 1).astype(np.uint32)
        for _ in range(sweeps):
            sweep_levels(states, levels[i], spins.shape[-1], two_beta, generators)
        found[i] = states_of(states, spins.shape[-1]).reshape(own.shape)
    return found
