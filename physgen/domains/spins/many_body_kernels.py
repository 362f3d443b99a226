"""Numba kernels of heat-bath sweeps where spins do not interact in pairs, on the state of :mod:`.tempering_kernels`.

Shapes as there; the triples of a spin are a row of the dense symmetric tensor of the couplings.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from physgen.domains.spins.tempering_kernels import REFRESH, Walkers, draw_uniform, exchange, hand_out


class Triples(NamedTuple):
    """Couplings and fields of one instance, and the order in which a sweep visits the spins."""

    tensor: np.ndarray  # (N, N, N) float32, symmetric, zero where two indices are equal
    field: np.ndarray  # (N,) float32
    order: np.ndarray  # (N,) int64
    edges: np.ndarray  # (M, 3) int32, the triples of nonzero coupling


@njit(nogil=True, cache=True, fastmath={"contract", "nsz", "reassoc"}, error_model="numpy")
def sweep(walkers: Walkers, graph: Triples, two_beta: np.ndarray, change: np.ndarray) -> None:
    """One heat-bath sweep of every lane in the order of the graph; the energy change is added to ``change`` (R,)."""
    spins, generators, tensor = walkers.spins, walkers.generators, graph.tensor
    count, lanes = spins.shape
    local, part = np.empty(lanes, np.float32), np.empty(lanes, np.float32)
    for site in graph.order:
        outer = graph.field[site]
        for r in range(lanes):
            local[r] = outer
        for j in range(count - 1):
            if j == site:
                continue
            for r in range(lanes):
                part[r] = 0
            for k in range(j + 1, count):
                strength = tensor[site, j, k]
                for r in range(lanes):
                    part[r] += strength * spins[k, r]
            for r in range(lanes):
                local[r] += part[r] * spins[j, r]
        for r in range(lanes):
            odds = np.exp(-two_beta[r] * local[r])
            new = np.float32(1 if draw_uniform(generators, r) * (1 + odds) < 1 else -1)
            change[r] -= (new - spins[site, r]) * local[r]
            spins[site, r] = new


@njit(nogil=True, cache=True)
def energies(spins: np.ndarray, tensor: np.ndarray, field: np.ndarray, out: np.ndarray) -> None:
    """Total energy of each lane, (R,) float64."""
    out[:] = 0.0
    count, lanes = spins.shape
    part = np.empty(lanes)
    for i in range(count):
        for r in range(lanes):
            out[r] -= field[i] * spins[i, r]
        for j in range(i + 1, count):
            part[:] = 0
            for k in range(j + 1, count):
                strength = np.float64(tensor[i, j, k])
                for r in range(lanes):
                    part[r] += strength * spins[k, r]
            for r in range(lanes):
                out[r] -= part[r] * spins[i, r] * spins[j, r]


@njit(nogil=True, cache=True)
def advance(walkers: Walkers, graph: Triples, beta: np.ndarray, sweeps: int) -> None:
    """``sweeps`` heat-bath sweeps, each followed by swaps of even or of odd pairs, in place; beta (T,) float64."""
    lanes = walkers.spins.shape[1]
    two_beta, change = np.empty(lanes, np.float32), np.empty(lanes, np.float32)
    for _ in range(sweeps):
        hand_out(walkers, beta, two_beta)
        change[:] = 0
        sweep(walkers, graph, two_beta, change)
        if walkers.sweeps[0] % REFRESH:
            walkers.energy[:] += change
        else:  # float32 changes must not add up for ever
            energies(walkers.spins, graph.tensor, graph.field, walkers.energy)
        exchange(walkers, beta)


@njit(nogil=True, cache=True)
def overlaps(walkers: Walkers, pairs: np.ndarray, overlap: np.ndarray, link: np.ndarray) -> None:
    r"""Overlap, and that of all triples, at each temperature between the two ladders of each pair: both (pairs, T).

    With S the sum of N products +-1, :math:`\sum_{i<j<k} q_i q_j q_k = [S^3 - (3N - 2) S]/6`.
    """
    spins, lane_at = walkers.spins, walkers.lane_at
    count = len(spins)
    triples = count * (count - 1) * (count - 2) / 6
    for p in range(len(pairs)):
        for t in range(lane_at.shape[1]):
            a, b = lane_at[pairs[p, 0], t], lane_at[pairs[p, 1], t]
            total = 0.0
            for site in range(count):
                total += spins[site, a] * spins[site, b]
            overlap[p, t] = total / count
            link[p, t] = (total**3 - (3 * count - 2) * total) / 6 / triples


@njit(nogil=True, cache=True)
def sweep_levels(
    states: np.ndarray, levels: np.ndarray, spins: int, two_beta: np.ndarray, generators: np.ndarray
) -> None:
    """One heat-bath sweep, in place, of the numbers (R,) int64 of states with random energies; sites in order."""
    for site in range(spins):
        bit = np.int64(1) << np.int64(site)
        for r in range(len(states)):
            down, up = states[r] & ~bit, states[r] | bit
            odds = np.exp(-two_beta[r] * 0.5 * (levels[down] - levels[up]))
            states[r] = up if draw_uniform(generators, r) * (1 + odds) < 1 else down
