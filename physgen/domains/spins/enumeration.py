"""Exact laws of tiny systems: every one of the 2^N states, and Kaufman's torus.

States stand in the order of :func:`physgen.diffusion.exact.atoms.enumerate_spins`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from physgen.diffusion.exact.atoms import enumerate_spins


class Enumeration(NamedTuple):
    """The Boltzmann law of a tiny system."""

    energies: np.ndarray  # (2^N,) total energy of each state, units of J
    probabilities: np.ndarray  # (2^N,)
    log_partition: float  # ln Z
    energy: float  # mean energy per spin


def enumerate_graph(
    spins: int,
    edges: np.ndarray,
    couplings: np.ndarray,
    temperature: float,
    external_field: np.ndarray | None = None,
) -> Enumeration:
    """Boltzmann law of ``spins`` <= 20 spins on any graph: edges (M, 2), couplings (M,), external_field (N,).

    Of three spins at a time edges are (M, 3). Energies in units of J, the temperature too (k_B = 1). InputError for
    more spins.
    """
    all_states = enumerate_spins(spins).numpy().astype(np.float64)
    if np.shape(edges)[1] == 2:
        energies = np.zeros(len(all_states))
        for (i, j), coupling in zip(edges, couplings, strict=True):
            energies -= coupling * all_states[:, i] * all_states[:, j]
    else:
        energies = triple_energies(spins, edges, couplings)
    if external_field is not None:
        energies -= all_states @ np.asarray(external_field, dtype=np.float64).reshape(-1)
    return enumerate_levels(energies, temperature)


def triple_energies(spins: int, edges: np.ndarray, couplings: np.ndarray) -> np.ndarray:
    r"""Total energies (2^N,) of all states of couplings (M,) of three spins, edges (M, 3): :math:`-\sum J s s s`.

    A product of spins is a character of :math:`(Z_2)^N`, so a Walsh-Hadamard transform sums all of them at once.
    """
    by_sites = np.zeros(1 << spins)
    np.add.at(by_sites, (1 << np.asarray(edges, dtype=np.int64)).sum(axis=1), np.asarray(couplings, dtype=np.float64))
    return _walsh_hadamard(by_sites)  # of signs -s, for bit 1 is up: the product of three has the sign of the energy


def enumerate_levels(energies: np.ndarray, temperature: float) -> Enumeration:
    """Boltzmann law of total energies (2^N,) of all states, units of J."""
    energies = np.asarray(energies, dtype=np.float64)
    spins = len(energies).bit_length() - 1
    weights = np.exp(-(energies - energies.min()) / temperature)
    total = weights.sum()
    probabilities = weights / total
    log_z = np.log(total) - energies.min() / temperature
    return Enumeration(energies, probabilities, float(log_z), float(probabilities @ energies / spins))


def overlap_law(probabilities: np.ndarray) -> np.ndarray:
    r"""Exact P(q) of two independent replicas, (N + 1,), at q = -1, -1 + 2/N, ..., 1.

    The law of the product of two replicas is a convolution on :math:`(Z_2)^N`: a Walsh-Hadamard transform,
    squared, transformed back; P(q) collects the states of equal magnetization. O(N 2^N).
    """
    spins = len(probabilities).bit_length() - 1
    product = _walsh_hadamard(_walsh_hadamard(probabilities) ** 2) / len(probabilities)
    # bit = 1 in the exclusive-or of two states means that the spins differ
    differing = np.zeros(len(probabilities), dtype=np.int64)
    for i in range(spins):
        differing += (np.arange(len(probabilities)) >> i) & 1
    return np.bincount(spins - differing, weights=product, minlength=spins + 1)


def _walsh_hadamard(values: np.ndarray) -> np.ndarray:
    values = values.astype(np.float64).copy()
    half = 1
    while half < len(values):
        pairs = values.reshape(-1, 2, half)
        values = np.stack([pairs[:, 0] + pairs[:, 1], pairs[:, 0] - pairs[:, 1]], axis=1).reshape(-1)
        half *= 2
    return values


def kaufman(length: int, beta: float) -> tuple[float, float]:
    r"""ln Z and energy, both per spin, of the 2-D ferromagnet J = 1 on the L x L torus.

    :math:`Z = \frac12 (2\sinh 2K)^{N/2}\sum_{i=1}^4 Z_i`, where the Z_i are products of
    :math:`2\cosh` and of :math:`2\sinh` of :math:`L\gamma_l/2` over odd and over even l,
    :math:`\cosh\gamma_l = \cosh 2K\coth 2K - \cos(\pi l/L)` and the signed :math:`\gamma_0 = 2K + \ln\tanh K`.
    Source: Kaufman, Phys. Rev. 76 (1949) 1232; checked against the transfer matrix.
    """
    order = np.arange(2 * length)
    sinh, cosh = np.sinh(2 * beta), np.cosh(2 * beta)
    gamma = np.arccosh(np.maximum(cosh**2 / sinh - np.cos(np.pi * order / length), 1))
    gamma[0] = 2 * beta + np.log(np.tanh(beta))
    slope = np.empty_like(gamma)  # d gamma / dK
    slope[1:] = 2 * cosh * (1 - 1 / sinh**2) / np.sinh(gamma[1:])
    slope[0] = 2 + 2 / sinh
    x, dx = length * gamma / 2, length * slope / 2
    parts = []  # of each product: ln of its size without the factor l = 0, that factor, and both derivatives
    for start, sign in ((1, 1), (1, -1), (2, 1), (2, -1)):
        rest, drest = x[start::2], dx[start::2]
        log_rest = np.sum(rest + np.log1p(sign * np.exp(-2 * rest)))
        dlog_rest = np.sum(drest * (np.tanh(rest) if sign > 0 else 1 / np.tanh(rest)))
        first, dfirst = 1.0, 0.0
        if start == 2:  # the factor l = 0 of the even products may vanish or be negative
            pair = (np.cosh(x[0]), np.sinh(x[0]))
            first, dfirst = (2 * pair[0], 2 * dx[0] * pair[1]) if sign > 0 else (2 * pair[1], 2 * dx[0] * pair[0])
        parts.append((log_rest, first, dfirst + first * dlog_rest))
    top = max(part[0] for part in parts)
    total = sum(np.exp(log_rest - top) * first for log_rest, first, _ in parts)
    derivative = sum(np.exp(log_rest - top) * change for log_rest, _, change in parts)
    spins = length**2
    log_z = np.log(total) + top - np.log(2) + spins / 2 * np.log(2 * sinh)
    return float(log_z / spins), float(-(derivative / total + spins * cosh / sinh) / spins)
