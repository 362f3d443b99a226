r"""Posterior means of ferromagnets seen through noise, averaged over cluster moves: lattices of any size and boundary.

Sites have one of q states :math:`\sigma_i`, bonds :math:`K_{ij} \ge 0` and local fields :math:`f_i(a)`,

.. math:: p(\sigma) \propto \exp\Bigl(\sum_{\langle ij\rangle} K_{ij}\,\delta(\sigma_i, \sigma_j)
          + \sum_i f_i(\sigma_i)\Bigr),

the law of :math:`x_0` given y where :math:`f_i(a) = y_{ia}/s^2`. Spins +-1 of couplings :math:`\beta J` are q = 2 with
:math:`K = 2 \beta J` and :math:`f = \pm y/s^2`. A sweep joins equal ends of bonds into clusters with probability
:math:`1 - e^{-K}`, whatever the fields. Given the clusters their states are independent, with

.. math:: P(\sigma_c = a) \propto \exp \sum_{i \in c} f_i(a),

so that one such expression is the mean of a site over all states of its cluster: of the whole lattice at once where
it orders. Then every site is drawn anew from :math:`P(a) \propto \exp(f_i(a) + \sum_j K_{ij}\delta(a, \sigma_j))`, its
mean over itself. Both moves leave p unchanged. So, from a first configuration of p, the mean of all these expressions
has expectation :math:`E[x_0|y]` after any number of sweeps, and less scatter the more there are.
Source: Swendsen and Wang, PRL 58 (1987), 86; improved estimators, Wolff, PRL 62 (1989), 361; the mean over a cluster in
fields was derived here. Tests hold it to enumeration.

Shapes: B batch, N sites, d dimension, q states.
"""

from __future__ import annotations

import numpy as np
import torch
from numba import njit
from torch import Tensor

from physgen.domains.cluster_roots import root_of
from physgen.domains.lattice_bonds import neighbours_up
from physgen.errors import InputError

CLUSTER_SWEEPS = 16  # of a target: a tenth of the time of a step of message passing, in 2-D


def cluster_means(states: Tensor, field: Tensor, bonds: Tensor, sweeps: int) -> Tensor:
    r"""Means over ``sweeps`` pairs of moves, :math:`E = E[x_0|y]`, shape and type of ``field``.

    Args:
        states: (B, \*grid) whole numbers below q, each a draw of the law of its row.
        field: f (B, q, \*grid). bonds: K (B, d, \*grid), one step up each dim, on lattices closed to a torus (0: none).
        sweeps: at least 1.

    Random numbers are those of torch's own generator, which a training seeds for every step.

    Raises:
        InputError: a negative bond.
    """
    if bool((bonds < 0).any()):
        raise InputError(f"clusters need bonds that are not negative, got {float(bonds.min()):g}: take another target")
    grid = tuple(states.shape[1:])
    rng = np.random.default_rng(int(torch.randint(2**62, ())))
    found = _means(
        states.flatten(1).cpu().numpy().astype(np.int64),
        field.flatten(2).transpose(1, 2).double().cpu().contiguous().numpy(),
        bonds.flatten(2).double().cpu().contiguous().numpy(),
        neighbours_up(grid),
        sweeps,
        rng,
    )
    return torch.from_numpy(found).transpose(1, 2).reshape(field.shape).to(field)


@njit(cache=True)
def _softmax(logits: np.ndarray) -> None:
    top, total = logits[0], 0.0
    for a in range(1, len(logits)):
        top = max(top, logits[a])
    for a in range(len(logits)):
        logits[a] = np.exp(logits[a] - top)
        total += logits[a]
    for a in range(len(logits)):
        logits[a] /= total


@njit(cache=True)
def _drawn(probabilities: np.ndarray, rng: np.random.Generator) -> int:
    left, state = rng.random(), 0
    while state < len(probabilities) - 1 and left >= probabilities[state]:
        left -= probabilities[state]
        state += 1
    return state


@njit(cache=True)
def _cluster_move(
    states: np.ndarray, field: np.ndarray, joins: np.ndarray, up: np.ndarray, found: np.ndarray,
    parent: np.ndarray, summed: np.ndarray, rng: np.random.Generator,
) -> None:  # fmt: skip
    """All clusters drawn anew; their means are added to ``found`` (N, q). ``summed`` (N, q) and parent are scratch."""
    count = len(states)
    for site in range(count):
        parent[site] = site
        summed[site] = 0.0
    for axis in range(len(up)):
        for site in range(count):
            other = up[axis, site]
            if states[site] == states[other] and rng.random() < joins[axis, site]:
                a, b = root_of(parent, site), root_of(parent, other)
                parent[max(a, b)] = min(a, b)
    for site in range(count):
        parent[site] = root_of(parent, site)
        summed[parent[site]] += field[site]
    for site in range(count):
        root = parent[site]  # not above the site, so that it has its new state already
        if root == site:
            _softmax(summed[site])
            states[site] = _drawn(summed[site], rng)
        else:
            states[site] = states[root]
        found[site] += summed[root]


@njit(cache=True)
def _heat_bath_move(
    states: np.ndarray, field: np.ndarray, bonds: np.ndarray, up: np.ndarray, down: np.ndarray, found: np.ndarray,
    weights: np.ndarray, rng: np.random.Generator,
) -> None:  # fmt: skip
    """All sites drawn anew in order; their means are added to ``found`` (N, q). ``weights`` (q,) is scratch."""
    for site in range(len(states)):
        weights[:] = field[site]
        for axis in range(len(up)):
            weights[states[up[axis, site]]] += bonds[axis, site]
            weights[states[down[axis, site]]] += bonds[axis, down[axis, site]]
        _softmax(weights)
        states[site] = _drawn(weights, rng)
        found[site] += weights


@njit(cache=True)
def _means(
    states: np.ndarray, field: np.ndarray, bonds: np.ndarray, up: np.ndarray, sweeps: int, rng: np.random.Generator
) -> np.ndarray:
    """Means (B, N, q); states (B, N), field (B, N, q), bonds (B, d, N), up (d, N)."""
    found = np.zeros_like(field)
    down = np.empty_like(up)
    for axis in range(len(up)):
        for site in range(up.shape[1]):
            down[axis, up[axis, site]] = site
    parent, summed, weights = np.empty(up.shape[1], np.int64), np.empty(field.shape[1:]), np.empty(field.shape[2])
    for b in range(len(states)):
        joins = -np.expm1(-bonds[b])
        for _ in range(sweeps):
            _cluster_move(states[b], field[b], joins, up, found[b], parent, summed, rng)
            _heat_bath_move(states[b], field[b], bonds[b], up, down, found[b], weights, rng)
    return found / (2 * sweeps)
