r"""Numba kernels of parallel tempering: heat bath on R configurations of one graph at once.

Shapes: N spins, z neighbours, R lanes; a lane is one configuration that keeps its place in memory while its
temperature wanders. ``spins`` (N, R) float32: the inner loops run over lanes and vectorise.
Each lane has its own xoshiro128+ generator (Blackman and Vigna, ACM TOMS 47, 36, 2021); the upper 24 bits count.
The heat-bath probability is computed in float32 to a relative 1e-6.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

LOG2_E = np.float32(1.4426950408889634)
ULP24 = np.float32(2.0**-24)
HALF = np.float32(0.5)
ONE = np.float32(1.0)
# 2^f on [-1/2, 1/2]: Taylor in f ln 2, relative error below 2e-7
C1, C2, C3, C4, C5, C6 = (np.float32(np.log(2.0) ** n / np.prod(np.arange(1.0, n + 1))) for n in range(1, 7))
RANGE = np.float32(60.0)  # 2^-60 is below the resolution of the random numbers
BIAS = np.int32(127)
REFRESH = 64  # sweeps between exact energies


class Graph(NamedTuple):
    """Couplings and fields of one disorder instance, and the order in which a sweep visits the spins."""

    neighbours: np.ndarray  # (N, z) int32
    strengths: np.ndarray  # (N, z) float32
    field: np.ndarray  # (N,) float32
    order: np.ndarray  # (N,) int64
    edges: np.ndarray  # (M, 2) int32, the edges of nonzero coupling


class Walkers(NamedTuple):
    """The state of a run: all arrays, changed in place. R = ladders * T lanes."""

    spins: np.ndarray  # (N, R) float32
    generators: np.ndarray  # (4, R + 1) uint32, the last one for swaps
    lane_at: np.ndarray  # (ladders, T) int64, the lane that stands at each temperature
    energy: np.ndarray  # (R,) float64, total
    heading: np.ndarray  # (R,) int8
    attempts: np.ndarray  # (T - 1,) int64
    accepted: np.ndarray  # (T - 1,) int64
    trips: np.ndarray  # (ladders,) int64, round trips
    sweeps: np.ndarray  # (1,) int64, done so far


@njit(nogil=True, cache=True, inline="always")
def draw_uniform(state: np.ndarray, lane: int) -> np.float32:
    s0, s1, s2, s3 = state[0, lane], state[1, lane], state[2, lane], state[3, lane]
    drawn = np.uint32(s0 + s3)
    shifted = np.uint32(s1 << np.uint32(9))
    s2 = np.uint32(s2 ^ s0)
    s3 = np.uint32(s3 ^ s1)
    state[1, lane] = np.uint32(s1 ^ s2)
    state[0, lane] = np.uint32(s0 ^ s3)
    state[2, lane] = np.uint32(s2 ^ shifted)
    state[3, lane] = np.uint32((s3 << np.uint32(11)) | np.uint32(s3 >> np.uint32(21)))
    return np.float32(np.int32(drawn >> np.uint32(8))) * ULP24


@njit(nogil=True, cache=True, fastmath={"contract", "nsz"}, error_model="numpy")
def sweep(walkers: Walkers, graph: Graph, two_beta: np.ndarray, change: np.ndarray) -> None:
    """One heat-bath sweep of every lane in the order of the graph; the energy change is added to ``change`` (R,)."""
    spins, generators = walkers.spins, walkers.generators
    neighbours, strengths = graph.neighbours, graph.strengths
    lanes = spins.shape[1]
    local = np.empty(lanes, np.float32)
    fraction = np.empty(lanes, np.float32)
    bits = np.empty(lanes, np.int32)
    power = bits.view(np.float32)
    for site in graph.order:
        outer = graph.field[site]
        for r in range(lanes):
            local[r] = outer
        for k in range(neighbours.shape[1]):
            strength = strengths[site, k]
            if strength != 0:
                other = neighbours[site, k]
                for r in range(lanes):
                    local[r] += strength * spins[other, r]
        for r in range(lanes):
            # exp(-2 beta h) = 2^whole 2^fraction
            exponent = min(max(-two_beta[r] * local[r] * LOG2_E, -RANGE), RANGE)
            whole = np.floor(exponent + HALF)
            fraction[r] = exponent - whole
            bits[r] = (np.int32(whole) + BIAS) << np.int32(23)
        for r in range(lanes):
            f = fraction[r]
            odds = power[r] * (ONE + f * (C1 + f * (C2 + f * (C3 + f * (C4 + f * (C5 + f * C6))))))
            new = ONE if draw_uniform(generators, r) * (ONE + odds) < ONE else -ONE
            change[r] -= (new - spins[site, r]) * local[r]
            spins[site, r] = new


@njit(nogil=True, cache=True)
def energies(
    spins: np.ndarray, neighbours: np.ndarray, strengths: np.ndarray, field: np.ndarray, out: np.ndarray
) -> None:
    """Total energy of each lane, (R,) float64."""
    out[:] = 0.0
    for site in range(spins.shape[0]):
        for r in range(spins.shape[1]):
            local = 0.0
            for k in range(neighbours.shape[1]):
                local += strengths[site, k] * spins[neighbours[site, k], r]
            out[r] -= spins[site, r] * (0.5 * local + field[site])


@njit(nogil=True, cache=True)
def swap(walkers: Walkers, beta: np.ndarray, parity: int) -> None:
    r"""Exchange neighbouring temperatures of each ladder with probability :math:`\min(1, e^{\Delta\beta \Delta E})`."""
    lane_at, energy = walkers.lane_at, walkers.energy
    scalar = walkers.generators.shape[1] - 1
    for ladder in range(lane_at.shape[0]):
        for t in range(parity, lane_at.shape[1] - 1, 2):
            a, b = lane_at[ladder, t], lane_at[ladder, t + 1]
            gain = (beta[t] - beta[t + 1]) * (energy[a] - energy[b])
            walkers.attempts[t] += 1
            if gain >= 0 or draw_uniform(walkers.generators, scalar) < np.exp(gain):
                lane_at[ladder, t], lane_at[ladder, t + 1] = b, a
                walkers.accepted[t] += 1


@njit(nogil=True, cache=True)
def count_trips(walkers: Walkers) -> None:
    """A round trip ends at the coldest temperature for a lane that was at the hottest since it was last there."""
    lane_at, heading = walkers.lane_at, walkers.heading
    last = lane_at.shape[1] - 1
    for ladder in range(lane_at.shape[0]):
        heading[lane_at[ladder, last]] = 1
        coldest = lane_at[ladder, 0]
        if heading[coldest] == 1:
            walkers.trips[ladder] += 1
            heading[coldest] = 0


@njit(nogil=True, cache=True)
def hand_out(walkers: Walkers, beta: np.ndarray, two_beta: np.ndarray) -> None:
    """2 beta of the temperature at which each lane stands, into ``two_beta`` (R,)."""
    for ladder in range(walkers.lane_at.shape[0]):
        for t in range(len(beta)):
            two_beta[walkers.lane_at[ladder, t]] = 2 * beta[t]


@njit(nogil=True, cache=True)
def exchange(walkers: Walkers, beta: np.ndarray) -> None:
    """What follows a sweep once the energies are known: swaps of even or of odd pairs, trips, the count of sweeps."""
    swap(walkers, beta, walkers.sweeps[0] % 2)
    count_trips(walkers)
    walkers.sweeps[0] += 1


# stands once more beside the sweep of triples: numba keeps no closure over its functions from one process to the next,
# and renews what it keeps when the file of the caller changes, not that of a sweep that an overload finds elsewhere
@njit(nogil=True, cache=True)
def advance(walkers: Walkers, graph: Graph, beta: np.ndarray, sweeps: int) -> None:
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
            energies(walkers.spins, graph.neighbours, graph.strengths, graph.field, walkers.energy)
        exchange(walkers, beta)


@njit(nogil=True, cache=True)
def overlaps(walkers: Walkers, edges: np.ndarray, pairs: np.ndarray, overlap: np.ndarray, link: np.ndarray) -> None:
    """Overlap and link overlap at each temperature between the two ladders of each pair: both (pairs, T)."""
    spins, lane_at = walkers.spins, walkers.lane_at
    for p in range(len(pairs)):
        for t in range(lane_at.shape[1]):
            a, b = lane_at[pairs[p, 0], t], lane_at[pairs[p, 1], t]
            total = 0.0
            for site in range(len(spins)):
                total += spins[site, a] * spins[site, b]
            overlap[p, t] = total / len(spins)
            total = 0.0
            for m in range(len(edges)):
                i, j = edges[m, 0], edges[m, 1]
                total += spins[i, a] * spins[i, b] * spins[j, a] * spins[j, b]
            link[p, t] = total / max(len(edges), 1)
