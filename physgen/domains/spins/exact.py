r"""Exact equilibrium of lattices that are narrow in all dims but the first: transfer matrix.

``log_partition`` and ``sample`` take any couplings with any external field. Free along the first dim
(zero seam) the cost is L W 2^W with W the number of spins of a layer; periodic along it, the first layer is
held in each of its 2^W states in turn, so the cost is 2^W times larger.
Source: the row-to-row transfer matrix is textbook; the spin-by-spin backward draw is the forward-filtering
backward-sampling of hidden Markov chains. Tests hold ln Z to enumeration at 1e-12.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from physgen.diffusion.exact.strip import check_width
from physgen.domains.spins import transfer_matrix
from physgen.domains.spins.couplings import lattice_edges
from physgen.errors import InputError

LARGEST_EXPONENT = 600.0  # of e; float64 ends at e^708


class ExactSamples(NamedTuple):
    """Independent configurations, with ln Z and the mean energy of their law."""

    spins: np.ndarray  # (n, *grid) int8
    log_partition: float  # ln Z
    energy: float  # mean energy per spin, units of J


class _Chain(NamedTuple):
    inside: np.ndarray  # (L, W, W)
    links: np.ndarray  # (L, W); the last row closes the ring, zero on a cylinder
    field: np.ndarray  # (L, W)

    @property
    def closed(self) -> bool:
        return bool(np.any(self.links[-1]))


def log_partition(
    couplings: np.ndarray, temperature: float, external_field: np.ndarray | None = None
) -> tuple[float, float]:
    r"""ln Z and the mean energy per spin.

    Args:
        couplings: (d, \*grid) bonds, units of J; the first of the grid's dims is the long one.
        temperature: units of J (k_B = 1).
        external_field: (\*grid), units of J, or None.

    Raises:
        InputError: the layers are too wide or the temperature too low for float64.
    """
    chain = _chain(couplings, temperature, external_field)
    if chain.closed:
        log_weights, exponents = _ring(chain)
        top = log_weights.max()
        weights = np.exp(log_weights - top)
        log_z, exponent = top + np.log(weights.sum()), weights @ exponents / weights.sum()
    else:
        log_z, exponent = transfer_matrix.forward(chain.inside, chain.links[:-1], chain.field, _storage(chain))
    return float(log_z), float(-temperature * exponent / chain.field.size)


def sample(
    couplings: np.ndarray,
    temperature: float,
    n: int,
    rng: np.random.Generator,
    external_field: np.ndarray | None = None,
) -> ExactSamples:
    r"""``n`` independent equilibrium configurations, with ln Z and the mean energy; arguments as ``log_partition``.

    The draw is exact up to the 53 bits of the uniform numbers; it uses n N of them from ``rng``.
    """
    chain = _chain(couplings, temperature, external_field)
    layers, width = chain.field.shape
    spins = np.empty((n, layers, width), dtype=np.int8)
    if chain.closed:
        log_z, exponent = _sample_ring(chain, rng, spins)
    else:
        keep = _storage(chain)
        log_z, exponent = transfer_matrix.forward(chain.inside, chain.links[:-1], chain.field, keep)
        transfer_matrix.backward_samples(keep, chain.links[:-1], rng.random(spins.shape), spins)
    energy = -temperature * exponent / chain.field.size
    return ExactSamples(spins.reshape(n, *couplings.shape[1:]), float(log_z), float(energy))


def _chain(couplings: np.ndarray, temperature: float, external_field: np.ndarray | None) -> _Chain:
    if not temperature > 0:
        raise InputError(f"temperature {temperature} must be positive, in units of J")
    couplings = np.asarray(couplings, dtype=np.float64) / temperature
    shape = couplings.shape[1:]
    layers, width = shape[0], int(np.prod(shape[1:]))
    links = couplings[0].reshape(layers, width)
    check_width(width, ring=bool(np.any(links[-1])))
    exponent = 2 * np.abs(links).sum(axis=1).max()
    if exponent > LARGEST_EXPONENT:
        raise InputError(
            f"temperature {temperature:g} is too low for the transfer matrix in float64 on layers of {width} spins: "
            f"raise it above {temperature * exponent / LARGEST_EXPONENT:.2g}, or use method parallel_tempering"
        )
    inside = np.zeros((layers, width, width))
    if len(shape) > 1:
        edges = lattice_edges(shape[1:])
        bonds = np.moveaxis(couplings[1:], 0, 1).reshape(layers, -1)
        for (i, j), strengths in zip(edges, bonds.T, strict=True):
            inside[:, i, j] += strengths
    field = np.zeros((layers, width))
    if external_field is not None:
        field += np.asarray(external_field, dtype=np.float64).reshape(layers, width) / temperature
    return _Chain(inside + inside.transpose(0, 2, 1), links, field)


def _storage(chain: _Chain) -> np.ndarray:
    layers, width = chain.field.shape
    return np.empty((layers, 1 << width))


def _held(chain: _Chain, state: int) -> tuple[_Chain, float]:
    """The open chain of layers 1 ... L-1 when layer 0 is held in ``state``, and the exponent of layer 0 itself."""
    width = chain.field.shape[1]
    first = ((state >> np.arange(width)) & 1) * 2.0 - 1.0
    field = chain.field[1:].copy()
    field[0] += chain.links[0] * first
    field[-1] += chain.links[-1] * first
    own = first @ chain.inside[0] @ first / 2 + chain.field[0] @ first
    return _Chain(chain.inside[1:], chain.links[1:-1], field), own


def _ring(chain: _Chain) -> tuple[np.ndarray, np.ndarray]:
    """ln weight of each state of layer 0, and the mean exponent given that state: both (2^W,)."""
    width = chain.field.shape[1]
    log_weights, exponents = np.empty(1 << width), np.empty(1 << width)
    even = not np.any(chain.field)  # without a field a state and its mirror image weigh the same
    for state in range(1 << (width - even)):
        rest, own = _held(chain, state)
        log_z, exponent = transfer_matrix.forward(rest.inside, rest.links, rest.field, _storage(rest))
        log_weights[state], exponents[state] = log_z + own, exponent + own
    if even:
        log_weights[1 << (width - 1) :] = log_weights[: 1 << (width - 1)][::-1]
        exponents[1 << (width - 1) :] = exponents[: 1 << (width - 1)][::-1]
    return log_weights, exponents


def _sample_ring(chain: _Chain, rng: np.random.Generator, spins: np.ndarray) -> tuple[float, float]:
    log_weights, exponents = _ring(chain)
    weights = np.exp(log_weights - log_weights.max())
    total = weights.sum()
    drawn = np.sort(rng.choice(len(weights), len(spins), p=weights / total))
    width = chain.field.shape[1]
    for state in np.unique(drawn).tolist():
        rest, _ = _held(chain, state)
        keep = _storage(rest)
        transfer_matrix.forward(rest.inside, rest.links, rest.field, keep)
        low, high = (int(end) for end in np.searchsorted(drawn, [state, state + 1]))
        chosen = np.empty((high - low, *rest.field.shape), dtype=np.int8)
        transfer_matrix.backward_samples(keep, rest.links, np.asarray(rng.random(chosen.shape)), chosen)
        spins[low:high, 0] = ((state >> np.arange(width)) & 1) * 2 - 1
        spins[low:high, 1:] = chosen
    rng.shuffle(spins, axis=0)  # they stand sorted by the first layer
    return float(log_weights.max() + np.log(total)), float(weights @ exponents / total)
