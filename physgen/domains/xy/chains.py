r"""Markov chains of XY models: clusters, over-relaxation and heat bath in turn, for any bonds.

A sweep is one Swendsen-Wang move of the Ising spins that a random axis r cuts out, two over-relaxation sweeps, which
reflect each vector in its local field, and a heat-bath sweep by Best and Fisher's rejection. Each leaves the law as it
is for bonds of any sign; clusters are of use where bonds are not frustrated. Every configuration that is kept comes
from a chain of its own, half of them from aligned sites, half from independent ones.
Source: Wolff, PRL 62 (1989), 361 (clusters of reflections); Creutz, PRD 36 (1987), 515 (over-relaxation); Best and
Fisher, Applied Statistics 28 (1979), 152.

Shapes: N sites, d dims, 2d neighbours.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from physgen.domains.cluster_roots import root_of
from physgen.domains.lattice_bonds import neighbours_up

OVER_RELAXATIONS = 2


@njit(cache=True)
def cluster_sweep(
    vectors: np.ndarray, up: np.ndarray, strengths: np.ndarray, parent: np.ndarray, rng: np.random.Generator
) -> None:
    r"""Reflect clusters in the line across a random axis r, each with probability 1/2, in place.

    A bond joins with probability :math:`1 - e^{-2 K (e_i \cdot r)(e_j \cdot r)}`.

    Args:
        vectors: (N, 2). up: (d, N) neighbour of each site up each dim. strengths: (d, N) beta J. parent: (N,) scratch.
    """
    turn = 2 * math.pi * rng.random()
    axis = (math.cos(turn), math.sin(turn))
    for site in range(len(vectors)):
        parent[site] = site
    for dim in range(len(up)):
        for site in range(len(vectors)):
            other = up[dim, site]
            mine = vectors[site, 0] * axis[0] + vectors[site, 1] * axis[1]
            its = vectors[other, 0] * axis[0] + vectors[other, 1] * axis[1]
            gain = 2 * strengths[dim, site] * mine * its
            if gain > 0 and rng.random() < 1 - math.exp(-gain):
                a, b = root_of(parent, site), root_of(parent, other)
                if a != b:
                    parent[max(a, b)] = min(a, b)
    flipped = np.zeros(len(vectors), dtype=np.bool_)
    for site in range(len(vectors)):
        root = root_of(parent, site)  # not above the site, so that it is decided already
        flipped[site] = rng.random() < 0.5 if root == site else flipped[root]
        if flipped[site]:
            part = 2 * (vectors[site, 0] * axis[0] + vectors[site, 1] * axis[1])
            vectors[site, 0] -= part * axis[0]
            vectors[site, 1] -= part * axis[1]


@njit(cache=True)
def von_mises_angle(kappa: float, rng: np.random.Generator) -> float:
    """An angle about 0 of density proportional to exp(kappa cos)."""
    if kappa < 1e-6:
        return 2 * math.pi * rng.random()
    tau = 1 + math.sqrt(1 + 4 * kappa * kappa)
    # (tau - sqrt(2 tau)) / (2 kappa), without the loss of digits at small kappa
    rho = (tau - 2) / (2 * kappa) * tau / (tau + math.sqrt(2 * tau))
    r = (1 + rho * rho) / (2 * rho)
    while True:
        z = math.cos(math.pi * rng.random())
        f = (1 + r * z) / (r + z)
        c = kappa * (r - f)
        u = rng.random()
        if c * (2 - c) > u or math.log(c / max(u, 1e-300)) + 1 >= c:
            angle = math.acos(min(1.0, max(-1.0, f)))
            return angle if rng.random() < 0.5 else -angle


@njit(cache=True)
def local_sweep(
    vectors: np.ndarray, neighbours: np.ndarray, strengths: np.ndarray, reflect: bool, rng: np.random.Generator
) -> None:
    """Every site reflected in its local field, or drawn anew in it: neighbours (N, 2d), strengths (N, 2d)."""
    for site in range(len(vectors)):
        x, y = 0.0, 0.0
        for k in range(neighbours.shape[1]):
            x += strengths[site, k] * vectors[neighbours[site, k], 0]
            y += strengths[site, k] * vectors[neighbours[site, k], 1]
        square = x * x + y * y
        if reflect:
            if square > 1e-20:
                part = 2 * (vectors[site, 0] * x + vectors[site, 1] * y) / square
                vectors[site, 0] = part * x - vectors[site, 0]
                vectors[site, 1] = part * y - vectors[site, 1]
        else:
            angle = von_mises_angle(math.sqrt(square), rng) + math.atan2(y, x)
            vectors[site, 0], vectors[site, 1] = math.cos(angle), math.sin(angle)


@njit(cache=True)
def run(
    vectors: np.ndarray,
    bonds: tuple[np.ndarray, np.ndarray],
    around: tuple[np.ndarray, np.ndarray],
    sweeps: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """``sweeps`` sweeps of one chain, in place; :math:`\\sum K e_i \\cdot e_j` after each of them (sweeps,)."""
    (up, strengths), (neighbours, known) = bonds, around
    parent, found = np.empty(len(vectors), dtype=np.int64), np.zeros(sweeps)
    for sweep in range(sweeps):
        cluster_sweep(vectors, up, strengths, parent, rng)
        for _ in range(OVER_RELAXATIONS):
            local_sweep(vectors, neighbours, known, True, rng)
        local_sweep(vectors, neighbours, known, False, rng)
        for dim in range(len(up)):
            for site in range(len(vectors)):
                other = up[dim, site]
                aligned = vectors[site, 0] * vectors[other, 0] + vectors[site, 1] * vectors[other, 1]
                found[sweep] += strengths[dim, site] * aligned
    return found


Tables = tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def tables_of(bonds: np.ndarray) -> Tables:
    r"""What :func:`run` takes of bonds :math:`\beta J` (d, \*grid): those up each dim, and those around each site."""
    grid, up = bonds.shape[1:], neighbours_up(bonds.shape[1:])
    strengths = bonds.reshape(len(grid), -1).astype(np.float64)
    down = np.argsort(up, axis=1)  # the inverse of a permutation of the sites
    around = np.concatenate([up, down]).T.copy()
    known = np.concatenate([strengths, np.take_along_axis(strengths, down, axis=1)]).T.copy()
    return (up, strengths), (around, known)


def start(sites: int, cold: bool, rng: np.random.Generator) -> np.ndarray:
    """Vectors (N, 2), all in one random direction where ``cold``, else each in its own."""
    angles = 2 * np.pi * rng.random(1 if cold else sites)
    vectors: np.ndarray = np.empty((sites, 2))
    vectors[:, 0], vectors[:, 1] = np.cos(angles), np.sin(angles)
    return vectors


def chain(bonds: np.ndarray, sweeps: int, cold: bool, rng: np.random.Generator) -> np.ndarray:
    r"""The angles (\*grid) float64 at the end of a chain in bonds :math:`\beta J` (d, \*grid)."""
    vectors = start(int(np.prod(bonds.shape[1:])), cold, rng)
    run(vectors, *tables_of(bonds), sweeps, rng)
    made: np.ndarray = np.arctan2(vectors[:, 1], vectors[:, 0]).reshape(bonds.shape[1:])
    return made
