r"""Ranks of the truth among draws of its posterior: uniform where posteriors are calibrated.

Shapes: U units, S draws of a posterior, n labels.
Source: Talts et al., arXiv:1804.06788.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import binom, kstest

from physgen.errors import InputError

FEWEST = 8  # units below which a test of uniformity says nothing


def ranks(draws: ArrayLike, truth: ArrayLike) -> np.ndarray:
    """Share of the draws (U, S, n) below the truth (U, n): (U, n), each in (0, 1), ties counted by half."""
    drawn, true = np.asarray(draws, dtype=float), np.asarray(truth, dtype=float)
    if drawn.ndim != 3 or true.shape != (len(drawn), drawn.shape[2]):
        raise InputError(f"ranks need draws (U, S, n) and a truth (U, n), got {drawn.shape} and {true.shape}")
    below = (drawn < true[:, None]).sum(1) + 0.5 * (drawn == true[:, None]).sum(1)
    return np.asarray((below + 0.5) / (drawn.shape[1] + 1))


def rank_uniformity(rank: ArrayLike, units: ArrayLike | None = None, seed: int = 0) -> dict[str, Any]:
    r"""Kolmogorov-Smirnov test of ranks (U,) against the uniform law, with its power.

    Args:
        rank: one for each posterior.
        units: (U,) what is independent: of each unit one posterior is taken at random, since those of one unit rank
            alike. None: all are independent.
        seed: of that choice.

    Returns:
        {"p", "distance", "count", "detectable"}: ``detectable`` is the distance that would give p < 0.05 at this
        number of units (1.36/sqrt(count)); p is nan below 8 units.
    """
    values = np.asarray(rank, dtype=float)
    if units is not None:
        shuffled = np.random.default_rng([seed, 11]).permutation(len(values))
        values = values[shuffled[np.unique(np.asarray(units)[shuffled], return_index=True)[1]]]
    found = kstest(values, "uniform")
    count = len(values)
    p = float(found.pvalue) if count >= FEWEST else float("nan")
    return {"p": p, "distance": float(found.statistic), "count": count, "detectable": 1.36 / np.sqrt(count)}


def rank_histogram(rank: ArrayLike, bins: int = 10, level: float = 0.95) -> tuple[np.ndarray, tuple[int, int]]:
    """Counts (bins,) of ranks, and the interval of a count of independent uniform ranks at this level (binomial)."""
    values = np.asarray(rank, dtype=float)
    counts = np.histogram(values, bins, (0, 1))[0]
    low, high = binom.interval(level, len(values), 1 / bins)
    return counts, (int(low), int(high))


def standard_scores(mean: ArrayLike, std: ArrayLike, truth: ArrayLike) -> np.ndarray:
    """(mean - truth)/std, elementwise: of unit scatter where widths are right."""
    return np.asarray((np.asarray(mean) - np.asarray(truth)) / np.asarray(std))
