r"""Markov chains of Potts models: Swendsen-Wang clusters for couplings that are not negative, else heat bath.

Every configuration that is kept comes from a chain of its own. Half of the chains start with all sites in one state,
half with independent ones, so that chains forget their start if, and as far as anybody can see only if, both halves
agree at the end.
Source: Swendsen and Wang, PRL 58 (1987), 86, for the moves of clusters.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from physgen.domains.cluster_roots import root_of
from physgen.domains.lattice_bonds import neighbours_up as neighbours_up


@njit(cache=True)
def cluster_sweep(
    colours: np.ndarray, up: np.ndarray, join: np.ndarray, states: int, parent: np.ndarray, rng: np.random.Generator
) -> None:
    r"""One Swendsen-Wang move of all sites, in place.

    Args:
        colours: (N,) int8. up: (d, N) neighbour of each site up each dim. join: (d, N) probability
            :math:`1 - e^{-\beta J}` that equal ends belong to one cluster. states: q. parent: (N,) int64, scratch.
    """
    for site in range(len(colours)):
        parent[site] = site
    for axis in range(len(up)):
        for site in range(len(colours)):
            other = up[axis, site]
            if colours[site] == colours[other] and join[axis, site] > 0 and rng.random() < join[axis, site]:
                a, b = root_of(parent, site), root_of(parent, other)
                if a != b:
                    parent[max(a, b)] = min(a, b)
    for site in range(len(colours)):
        root = root_of(parent, site)  # not above the site, so that it has its new colour already
        colours[site] = int(rng.random() * states) if root == site else colours[root]


@njit(cache=True)
def heat_bath_sweep(
    colours: np.ndarray,
    neighbours: np.ndarray,
    strengths: np.ndarray,
    weights: np.ndarray,
    rng: np.random.Generator,
) -> None:
    """Every site drawn anew given its neighbours, in order: neighbours (N, 2d), strengths beta J, weights (q,)."""
    for site in range(len(colours)):
        weights[:] = 0.0
        for k in range(neighbours.shape[1]):
            weights[colours[neighbours[site, k]]] += strengths[site, k]
        total, top = 0.0, weights.max()
        for a in range(len(weights)):
            total += np.exp(weights[a] - top)
            weights[a] = total
        drawn = rng.random() * total
        colour = 0
        while colour < len(weights) - 1 and weights[colour] < drawn:
            colour += 1
        colours[site] = colour


@njit(cache=True)
def run_clusters(
    colours: np.ndarray, up: np.ndarray, join: np.ndarray, states: int, sweeps: int, rng: np.random.Generator
) -> None:
    """``sweeps`` moves of one chain."""
    parent = np.empty(len(colours), dtype=np.int64)
    for _ in range(sweeps):
        cluster_sweep(colours, up, join, states, parent, rng)


@njit(cache=True)
def run_heat_bath(
    colours: np.ndarray,
    neighbours: np.ndarray,
    strengths: np.ndarray,
    states: int,
    sweeps: int,
    rng: np.random.Generator,
) -> None:
    """``sweeps`` sweeps of one chain."""
    weights = np.empty(states)
    for _ in range(sweeps):
        heat_bath_sweep(colours, neighbours, strengths, weights, rng)


@njit(cache=True)
def mean_bonds(
    colours: np.ndarray, up: np.ndarray, join: np.ndarray, states: int, sweeps: int, rng: np.random.Generator
) -> np.ndarray:
    """Number of equal bonds that exist (``join`` > 0) after each of ``sweeps`` cluster moves, (sweeps,)."""
    parent = np.empty(len(colours), dtype=np.int64)
    found = np.zeros(sweeps)
    for sweep in range(sweeps):
        cluster_sweep(colours, up, join, states, parent, rng)
        for axis in range(len(up)):
            for site in range(len(colours)):
                if join[axis, site] > 0 and colours[site] == colours[up[axis, site]]:
                    found[sweep] += 1
    return found


def chain(
    bonds: np.ndarray, states: int, sweeps: int, cold: bool, clusters: bool, rng: np.random.Generator
) -> np.ndarray:
    r"""The configuration (\*grid) int8 at the end of a chain in bonds :math:`\beta J` (d, \*grid).

    ``cold``: all sites start in one state, drawn at random; else each in its own.
    """
    grid, up = bonds.shape[1:], neighbours_up(bonds.shape[1:])
    count, strengths = up.shape[1], bonds.reshape(len(bonds), -1).astype(np.float64)
    colours: np.ndarray = np.full(count, rng.integers(0, states), dtype=np.int8)
    if not cold:
        colours = rng.integers(0, states, (count,)).astype(np.int8)
    if clusters:
        run_clusters(colours, up, -np.expm1(-strengths), states, sweeps, rng)
    else:
        down = np.argsort(up, axis=1)  # the inverse of a permutation of the sites
        around = np.concatenate([up, down]).T.copy()
        known = np.concatenate([strengths, np.take_along_axis(strengths, down, axis=1)]).T.copy()
        run_heat_bath(colours, around, known, states, sweeps, rng)
    made: np.ndarray = colours.reshape(grid)
    return made
