r"""Energies :math:`H = -\sum_{\langle ij\rangle} J_{ij} s_i s_j - \sum_i h_i s_i`, vectorised over configurations."""

from __future__ import annotations

import numpy as np


def lattice_energy(
    spins: np.ndarray, couplings: np.ndarray, dimension: int, external_field: np.ndarray | None = None
) -> np.ndarray:
    r"""Energy per spin of lattice configurations, in the units of J.

    Args:
        spins: (..., \*grid) of +-1.
        couplings: (..., d, \*grid); leading dims broadcast against those of ``spins``.
        dimension: d, the number of space dims.
        external_field: (..., \*grid) or None.

    Returns:
        (...) float64.
    """
    space = tuple(range(-dimension, 0))
    spins = spins.astype(np.float32)
    products = bond_products(spins, dimension) * couplings
    total = np.asarray(-np.sum(products, axis=(-dimension - 1, *space), dtype=np.float64))
    if external_field is not None:
        total = total - np.sum(external_field * spins, axis=space, dtype=np.float64)
    return total / np.prod(spins.shape[-dimension:])


def bond_products(spins: np.ndarray, dimension: int) -> np.ndarray:
    r"""Products :math:`s_i s_j` on the bonds of a lattice, (..., d, \*grid) in the layout of ``couplings``."""
    return np.stack([spins * np.roll(spins, -1, axis) for axis in range(-dimension, 0)], axis=-dimension - 1)


def graph_energy(
    spins: np.ndarray, edges: np.ndarray, couplings: np.ndarray, external_field: np.ndarray | None = None
) -> np.ndarray:
    """Energy per spin on any graph, of pairs or of more spins at a time.

    Args:
        spins: (..., N) of +-1.
        edges: (M, p), p = 2 but for interactions of p spins.
        couplings: (..., M); leading dims broadcast against those of ``spins``.
        external_field: (..., N) or None.

    Returns:
        (...) float64.
    """
    products = edge_products(spins, edges).astype(np.float32)
    total = np.asarray(-np.sum(products * couplings, axis=-1, dtype=np.float64))
    if external_field is not None:
        total = total - np.sum(external_field * spins, axis=-1, dtype=np.float64)
    return total / spins.shape[-1]


def edge_products(spins: np.ndarray, edges: np.ndarray, without: int | None = None) -> np.ndarray:
    """Products (..., M) of the spins (..., N) at the ends (M, p) of each edge, or of all ends but one."""
    ends = [end for place, end in enumerate(np.asarray(edges).T) if place != without]
    found = spins[..., ends[0]]
    for end in ends[1:]:
        found = found * spins[..., end]
    return found
