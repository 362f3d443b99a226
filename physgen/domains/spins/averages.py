r"""Thermal means of configurations with weights, and of pairs of them, each from one instance and temperature.

Weights are self-normalised, :math:`\sum_r w_r x_r/\sum_r w_r`, which is wrong by :math:`O(1/R)`; a jackknife over the
replicas takes that off. Pairs are of two different replicas, :math:`\sum_{a\ne b} w_a w_b x_{ab}/\sum_{a\ne b} w_a
w_b`, so that a product of two thermal means has no bias but that of the weights, which is taken off as well.
Without weights both are plain means.

Legend: D disorder instances, T temperatures, R replicas.
"""

from __future__ import annotations

import numpy as np

NOTHING = 1e-12  # part of the weight that may be left when one replica is taken away, and still divided by


def normalised(log_weight: np.ndarray) -> np.ndarray:
    """Weights of mean 1 over the last axis from log-weights (..., R)."""
    weights = np.exp(log_weight - log_weight.max(axis=-1, keepdims=True))
    normal: np.ndarray = weights / weights.mean(axis=-1, keepdims=True)
    return normal


def thermal_mean(values: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Mean over the last axis of values (..., R); ``weights`` (..., R) or None."""
    if weights is None:
        return np.asarray(values.mean(axis=-1))
    weighted = weights * values
    return _corrected(weighted.sum(axis=-1), weights.sum(axis=-1), weighted, weights)


def pair_mean(pairs: np.ndarray, weights: np.ndarray | None = None, apart: np.ndarray | None = None) -> np.ndarray:
    """Mean over pairs of different replicas.

    Args:
        pairs: (..., R, R), symmetric.
        weights: (..., R) or None.
        apart: (R, R), 1 for the pairs that count; None for all off the diagonal.
    """
    replicas = pairs.shape[-1]
    kept = 1.0 - np.eye(replicas) if apart is None else apart.astype(float)
    if weights is None:
        return np.asarray((pairs * kept).sum(axis=(-2, -1)) / kept.sum())
    both = weights[..., :, None] * weights[..., None, :] * kept
    weighted = both * pairs
    rows, norms = 2 * weighted.sum(axis=-1), 2 * both.sum(axis=-1)  # what goes when one replica is taken away
    return _corrected(rows.sum(axis=-1) / 2, norms.sum(axis=-1) / 2, rows, norms)


def _corrected(total: np.ndarray, norm: np.ndarray, parts: np.ndarray, norms: np.ndarray) -> np.ndarray:
    """Jackknife of total/norm (...), from which the parts (..., R) of each replica can be taken away."""
    replicas = parts.shape[-1]
    plain = np.asarray(total / norm)
    left = norm[..., None] - norms
    usable = np.all(left > NOTHING * norm[..., None], axis=-1)
    without = (total[..., None] - parts) / np.where(usable[..., None], left, 1.0)
    return np.where(usable, replicas * plain - (replicas - 1) * without.mean(axis=-1), plain)
