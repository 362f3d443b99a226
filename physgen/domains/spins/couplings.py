r"""Bonds of disordered spin models, and the graphs that they span.

Convention everywhere: :math:`H = -\sum_{\langle ij\rangle} J_{ij} s_i s_j - \sum_i h_i s_i`, k_B = 1, s = +-1.

On a lattice the bonds are an array ``couplings[d, *site]`` that joins ``site`` and its neighbour one step up along
space dim d, taken modulo the length: a free boundary is a zero bond across the seam. Any other graph is a list
``edges`` of shape (M, 2) with one coupling each.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from physgen.errors import InputError

BOUNDARIES = ("cylinder", "periodic", "free")


def disorder_rng(seed: int, disorder: int, stream: int = 0) -> np.random.Generator:
    """Generator of one disorder instance: a pure function of (seed, disorder id, stream)."""
    return np.random.default_rng([int(seed), int(disorder), int(stream)])


def open_axes(dimension: int, boundary: str) -> tuple[int, ...]:
    """Space dims without bonds across the seam: none, all, or (cylinder) the first one alone."""
    if boundary not in BOUNDARIES:
        raise InputError(f"boundary {boundary!r} is unknown; choose one of {', '.join(BOUNDARIES)}")
    return {"periodic": (), "free": tuple(range(dimension)), "cylinder": (0,)}[boundary]


def cut_seams(couplings: np.ndarray, boundary: str) -> np.ndarray:
    """Set the bonds across the seam of every open dim of ``couplings`` (d, \\*grid) to zero, in place."""
    for axis in open_axes(len(couplings), boundary):
        seam = [slice(None)] * (couplings.ndim - 1)
        seam[axis] = slice(-1, None)
        couplings[axis][tuple(seam)] = 0
    return couplings


def lattice_couplings(
    shape: tuple[int, ...], law: str, boundary: str, seed: int, disorder_ids: np.ndarray
) -> np.ndarray:
    r"""Bonds of Edwards-Anderson models or of the ferromagnet, (len(disorder_ids), d, \*shape) float32.

    Args:
        shape: lengths of the lattice, each at least 2 (a length of 2 has two bonds between the same spins).
        law: ``gaussian`` (mean 0, variance 1), ``bimodal`` (+-1 with equal probability) or ``ferromagnet`` (all 1).
        boundary: ``cylinder`` (free along the first dim, periodic along the others), ``periodic`` or ``free``.
        seed: instance i depends on (seed, disorder id) alone, not on the other instances.
    """
    if min(shape) < 2:
        raise InputError(f"lattice lengths {shape} must be at least 2: a shorter one joins a spin to itself")
    couplings = np.empty((len(disorder_ids), len(shape), *shape), dtype=np.float32)
    for bonds, disorder in zip(couplings, disorder_ids, strict=True):
        bonds[...] = draw_couplings(law, bonds.shape, disorder_rng(seed, disorder))
        cut_seams(bonds, boundary)
    return couplings


def complete_graph(spins: int) -> np.ndarray:
    """Edges (N(N-1)/2, 2) int32 of the complete graph, i < j, in lexicographic order."""
    return np.stack(np.triu_indices(spins, 1), axis=1).astype(np.int32)


def complete_graph_couplings(spins: int, law: str, seed: int, disorder_ids: np.ndarray) -> np.ndarray:
    """Sherrington-Kirkpatrick bonds of mean 0 and variance 1/N, (len(disorder_ids), N(N-1)/2) float32."""
    count = spins * (spins - 1) // 2
    drawn = [draw_couplings(law, (count,), disorder_rng(seed, disorder)) for disorder in disorder_ids]
    return (np.stack(drawn) / np.sqrt(spins)).astype(np.float32)


def draw_couplings(law: str, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Couplings of variance 1 (or all 1) of a law: ``gaussian``, ``bimodal`` or ``ferromagnet``."""
    if law == "gaussian":
        return rng.standard_normal(shape)
    if law == "bimodal":
        return rng.integers(0, 2, shape) * 2.0 - 1.0
    if law == "ferromagnet":
        return np.ones(shape)
    raise InputError(f"law of couplings {law!r} is unknown; choose gaussian, bimodal or ferromagnet")


def lattice_edges(shape: tuple[int, ...]) -> np.ndarray:
    r"""Endpoints (d \* N, 2) int32 of the bonds in the order of ``couplings.reshape(-1)``, spins in C order."""
    site = np.arange(np.prod(shape, dtype=np.int64), dtype=np.int32).reshape(shape)
    up = [np.roll(site, -1, axis) for axis in range(len(shape))]
    return np.stack([np.tile(site.reshape(-1), len(shape)), np.stack(up).reshape(-1)], axis=1)


def neighbour_lists(edges: np.ndarray, couplings: np.ndarray, spins: int) -> tuple[np.ndarray, np.ndarray]:
    """Padded neighbour lists of any graph; zero couplings are left out, parallel edges are added up.

    Args:
        edges: (M, 2) endpoints.
        couplings: (M,).
        spins: number of spins N.

    Returns:
        ``neighbours`` (N, z) int32 and ``strengths`` (N, z) float32, z = the largest degree; padding has strength 0.
    """
    edges = np.asarray(edges, dtype=np.int64)
    couplings = np.asarray(couplings, dtype=np.float64)
    ends = np.concatenate([edges, edges[:, ::-1]])
    keys, where = np.unique(ends[:, 0] * spins + ends[:, 1], return_inverse=True)
    total = np.bincount(where, weights=np.concatenate([couplings, couplings]), minlength=len(keys))
    keys, total = keys[total != 0], total[total != 0]
    origin, target = keys // spins, keys % spins
    degree = np.bincount(origin, minlength=spins)
    rank = np.arange(len(keys)) - np.repeat(np.cumsum(degree) - degree, degree)
    neighbours = np.zeros((spins, max(int(degree.max(initial=0)), 1)), dtype=np.int32)
    strengths = np.zeros(neighbours.shape, dtype=np.float32)
    neighbours[origin, rank] = target
    strengths[origin, rank] = total
    return neighbours, strengths


def bonds_of_instances(
    edges: np.ndarray, couplings: np.ndarray, spins: int, least: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """The bonds that are there, instance by instance: parallel edges added up, zero couplings left out.

    Args:
        edges: (M, 2) endpoints, of all instances together.
        couplings: (D, M).
        spins: number of spins N.
        least: of the columns.

    Returns:
        Ends (D, M', 2) int32, i < j, and their couplings (D, M') float64, M' the most bonds of an instance, or
        ``least``; the rest of an instance that has fewer is the edge (0, 0) with coupling 0.
    """
    found = list(_bonds_that_are(edges, couplings, spins))
    most = max([least, *[len(total) for _, total in found]])
    bonds, strengths = np.zeros((len(found), most, 2), dtype=np.int32), np.zeros((len(found), most))
    for instance, (pairs, total) in enumerate(found):
        bonds[instance, : len(pairs)] = np.stack([pairs // spins, pairs % spins], axis=1)
        strengths[instance, : len(total)] = total
    return bonds, strengths


def bond_counts(edges: np.ndarray, couplings: np.ndarray, spins: int) -> np.ndarray:
    """Number (D,) of the bonds of each instance, as :func:`bonds_of_instances` lists them."""
    return np.array([len(total) for _, total in _bonds_that_are(edges, couplings, spins)])


def _bonds_that_are(edges: np.ndarray, couplings: np.ndarray, spins: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Of each instance the pairs i N + j of its bonds, ascending, and their couplings."""
    ends = np.sort(np.asarray(edges, dtype=np.int64), axis=1)
    keys, where = np.unique(ends[:, 0] * spins + ends[:, 1], return_inverse=True)
    apart = keys // spins != keys % spins  # a spin joined to itself is a constant of the energy
    for row in couplings:
        total = np.bincount(where, weights=row, minlength=len(keys))
        there = np.flatnonzero((total != 0) & apart)
        yield keys[there], total[there]


def coupling_matrix(edges: np.ndarray, couplings: np.ndarray, spins: int) -> np.ndarray:
    """Dense symmetric matrix J (N, N) float64 of a graph, zero on the diagonal; parallel edges are added up."""
    matrix = np.zeros((spins, spins))
    np.add.at(matrix, (edges[:, 0], edges[:, 1]), couplings)
    return matrix + matrix.T
