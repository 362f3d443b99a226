"""Numba kernels of moves that change many spins at once, on the state of :mod:`.tempering_kernels`."""

from __future__ import annotations

import numpy as np
from numba import njit

from physgen.domains.spins.tempering_kernels import Graph, Walkers, draw_uniform


@njit(nogil=True, cache=True)
def lane_energy(spins: np.ndarray, graph: Graph, lane: int) -> float:
    """Total energy of one lane of ``spins`` (N, R)."""
    total = 0.0
    for site in range(len(spins)):
        local = 0.0
        for k in range(graph.neighbours.shape[1]):
            local += graph.strengths[site, k] * spins[graph.neighbours[site, k], lane]
        total -= spins[site, lane] * (0.5 * local + graph.field[site])
    return total


@njit(nogil=True, cache=True)
def take_proposals(
    walkers: Walkers, graph: Graph, lanes: np.ndarray, proposed: np.ndarray, log_ratio: np.ndarray, taken: np.ndarray
) -> None:
    r"""Put proposed configurations in the place of lanes with probability :math:`\min(1, e^{log\_ratio})`, in place.

    Args:
        lanes: (M,) int64, all different.
        proposed: (M, N) int8.
        log_ratio: (M,).
        taken: (M,) bool, filled with what was accepted.
    """
    scalar = walkers.generators.shape[1] - 1
    for m in range(len(lanes)):
        taken[m] = log_ratio[m] >= 0 or draw_uniform(walkers.generators, scalar) < np.exp(log_ratio[m])
        if taken[m]:
            for site in range(len(walkers.spins)):
                walkers.spins[site, lanes[m]] = proposed[m, site]
            walkers.energy[lanes[m]] = lane_energy(walkers.spins, graph, lanes[m])


@njit(nogil=True, cache=True)
def exchange_clusters(walkers: Walkers, graph: Graph, levels: np.ndarray, pairs: np.ndarray, sizes: np.ndarray) -> None:
    """One isoenergetic cluster move for each pair of ladders (P, 2) at each level; ``sizes`` (P, levels) of clusters.

    The first site is drawn until the two differ there, N times at most: 0 where that failed.
    """
    spins, count, scalar = walkers.spins, len(walkers.spins), walkers.generators.shape[1] - 1
    waiting = np.empty(count, np.int64)
    inside = np.zeros(count, np.bool_)
    for p in range(len(pairs)):
        for number, level in enumerate(levels):
            a, b = walkers.lane_at[pairs[p, 0], level], walkers.lane_at[pairs[p, 1], level]
            first = -1
            for _ in range(count):  # the number of tries that fail depends on the overlaps alone, which stay
                site = min(int(draw_uniform(walkers.generators, scalar) * count), count - 1)
                if spins[site, a] != spins[site, b]:
                    first = site
                    break
            sizes[p, number] = 0
            if first < 0:
                continue
            waiting[0], inside[first] = first, True
            found, done, change = 1, 0, 0.0
            while done < found:
                site = waiting[done]
                done += 1
                change += 2 * graph.field[site] * spins[site, a]
                for k in range(graph.neighbours.shape[1]):
                    other, strength = graph.neighbours[site, k], graph.strengths[site, k]
                    if strength == 0 or inside[other]:
                        continue
                    if spins[other, a] != spins[other, b]:
                        inside[other] = True
                        waiting[found] = other
                        found += 1
                    else:  # a bond across the surface
                        change += 2 * strength * spins[site, a] * spins[other, a]
            for m in range(found):
                site = waiting[m]
                spins[site, a], spins[site, b] = spins[site, b], spins[site, a]
                inside[site] = False
            walkers.energy[a] += change
            walkers.energy[b] -= change
            sizes[p, number] = found
