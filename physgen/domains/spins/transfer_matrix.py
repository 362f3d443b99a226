r"""Numba kernels of the transfer matrix for a chain of layers with 2^W states each.

A layer holds W spins that may be coupled in any way; spin x of layer l is coupled to spin x of layer l+1 by
``links[l, x]``. All strengths are already multiplied by beta. Bit x of a state is 1 where spin x is +1.

The state vector passes one bond at a time, so a layer costs W 2^W operations, and a configuration is drawn
backwards one spin at a time from two numbers of the stored vectors: O(1) work per spin and sample.
Within a layer numbers are linear, between layers logarithmic: only a ratio of weights beyond e^-700
inside one set of links, 2 sum_x |links|, is lost (exact.py refuses it).
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def _layer_weights(inside: np.ndarray, field: np.ndarray, out: np.ndarray) -> None:
    """ln of the Boltzmann weight of every state of one layer; doubles the table spin by spin."""
    width = len(field)
    out[0] = inside.sum() / 2 - field.sum()
    for b in range(width):
        size = 1 << b
        gain = 2 * field[b]
        for c in range(b + 1, width):
            gain -= 2 * inside[b, c]
        for r in range(size):
            out[size + r] = out[r] + gain
        for c in range(b):
            k = 2 * inside[b, c]
            if k != 0:
                for r in range(size):
                    out[size + r] += k if (r >> c) & 1 else -k


@njit(nogil=True, cache=True)
def _pass_link(source: np.ndarray, target: np.ndarray, bit: int, strength: float) -> None:
    """target(s) = sum over old spin o of exp(K o s - |K|) source(o), on one bit."""
    size = 1 << bit
    other = np.exp(-2 * abs(strength))
    same, flip = (1.0, other) if strength >= 0 else (other, 1.0)
    for block in range(0, len(source), 2 * size):
        for r in range(block, block + size):
            down, up = source[r], source[r + size]
            target[r] = same * down + flip * up
            target[r + size] = flip * down + same * up


@njit(nogil=True, cache=True)
def _pass_link_with_energy(vector: np.ndarray, moment: np.ndarray, bit: int, strength: float) -> None:
    """As _pass_link in place, and the first moment of the exponent: moment(s) = sum_o weight (moment + K o s)."""
    size = 1 << bit
    other = np.exp(-2 * abs(strength))
    same, flip = (1.0, other) if strength >= 0 else (other, 1.0)
    for block in range(0, len(vector), 2 * size):
        for r in range(block, block + size):
            down, up = same * vector[r], flip * vector[r + size]
            moment_down, moment_up = same * moment[r], flip * moment[r + size]
            down2, up2 = flip * vector[r], same * vector[r + size]
            moment_down2, moment_up2 = flip * moment[r], same * moment[r + size]
            vector[r], vector[r + size] = down + up, down2 + up2
            moment[r] = moment_down + moment_up + strength * (down - up)
            moment[r + size] = moment_down2 + moment_up2 + strength * (up2 - down2)


@njit(nogil=True, cache=True)
def forward(inside: np.ndarray, links: np.ndarray, field: np.ndarray, keep: np.ndarray) -> tuple[float, float]:
    r"""ln Z and the mean of the exponent, :math:`\langle -\beta H\rangle`, of one chain of layers.

    Args:
        inside: (L, W, W) symmetric couplings inside the layers, zero diagonal.
        links: (L - 1, W) couplings between layers.
        field: (L, W).
        keep: (L, 2^W) float64, filled with the vectors after each layer, scaled to maximum 1.
    """
    layers, width = field.shape
    size = 1 << width
    weights, vector, moment = np.empty(size), np.empty(size), np.empty(size)
    log_scale = 0.0
    for layer in range(layers):
        _layer_weights(inside[layer], field[layer], weights)
        if layer > 0:
            for x in range(width):
                _pass_link_with_energy(vector, moment, x, links[layer - 1, x])
                log_scale += abs(links[layer - 1, x])
            for r in range(size):
                # the mean exponent so far, given the state, then the log of the weight
                moment[r] = moment[r] / vector[r] + weights[r] if vector[r] > 0 else 0.0
                weights[r] += np.log(vector[r])
        else:
            moment[:] = weights
        shift = weights.max()
        log_scale += shift
        for r in range(size):
            vector[r] = np.exp(weights[r] - shift)
            moment[r] *= vector[r]
        keep[layer] = vector
    total = vector.sum()
    return log_scale + np.log(total), moment.sum() / total


@njit(nogil=True, cache=True)
def backward_samples(keep: np.ndarray, links: np.ndarray, uniforms: np.ndarray, out: np.ndarray) -> None:
    """Independent configurations of the chain whose ``forward`` vectors are ``keep``.

    Args:
        keep: (L, 2^W) from ``forward``.
        links: (L - 1, W).
        uniforms: (n, L, W) in [0, 1); of the last layer only the first is used.
        out: (n, L, W) int8, filled with +-1.
    """
    layers, size = keep.shape
    width = links.shape[1]
    count = len(uniforms)
    cumulative = np.cumsum(keep[layers - 1])
    states = np.empty(count, dtype=np.int64)
    for n in range(count):
        drawn = np.searchsorted(cumulative, uniforms[n, layers - 1, 0] * cumulative[-1], side="right")
        states[n] = min(drawn, size - 1)
    stages = np.empty((width, size))
    for layer in range(layers - 1, -1, -1):
        if layer < layers - 1:
            stages[0] = keep[layer]
            for x in range(width - 1):
                _pass_link(stages[x], stages[x + 1], x, links[layer, x])
            for x in range(width - 1, -1, -1):
                other = np.exp(-2 * abs(links[layer, x]))
                same, flip = (1.0, other) if links[layer, x] >= 0 else (other, 1.0)
                bit = 1 << x
                for n in range(count):
                    state = states[n]
                    up, down = stages[x, state | bit], stages[x, state & ~bit]
                    if state & bit:
                        up, down = up * same, down * flip
                    else:
                        up, down = up * flip, down * same
                    states[n] = (state | bit) if uniforms[n, layer, x] * (up + down) < up else (state & ~bit)
        for n in range(count):
            for x in range(width):
                out[n, layer, x] = 1 if (states[n] >> x) & 1 else -1
