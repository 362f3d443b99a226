"""Do two groups of numbers follow one law? Kolmogorov-Smirnov and AUC, with units that are not single numbers.

Numbers of one independent unit depend on each other, so whole units are permuted and
resampled.
"""

from __future__ import annotations

import numpy as np
from scipy import stats


def auc(first: np.ndarray, second: np.ndarray) -> float:
    r"""Probability that a number of ``first`` exceeds one of ``second``, ties counted half; 1/2 for equal laws."""
    ranks = stats.rankdata(np.concatenate([first, second]))[: len(first)]
    return (ranks.sum() / len(first) - (len(first) + 1) / 2) / len(second)


def ks_statistic(first: np.ndarray, second: np.ndarray) -> float:
    r"""Kolmogorov-Smirnov distance :math:`\max_x |F_1(x) - F_2(x)|`."""
    return float(_ks(*_pooled(first, second))[0])


def ks_p_value(
    first: np.ndarray,
    second: np.ndarray,
    first_unit: np.ndarray | None = None,
    second_unit: np.ndarray | None = None,
    draws: int = 999,
    rng: np.random.Generator | int = 0,
) -> float:
    """Permutation p-value of the Kolmogorov-Smirnov distance, exact with ties and with dependent numbers in a unit.

    Where both groups hold the same units, the two sides of each unit are swapped at random (the condition of the unit
    stays on both sides); else whole units are dealt out anew.

    Args:
        first, second: (n,) and (m,) numbers.
        first_unit, second_unit: unit of each; None for independent numbers.
        draws: permutations; the smallest p-value is 1 / (draws + 1).
        rng: numpy Generator, or its seed.

    Returns:
        p-value in [1 / (draws + 1), 1].
    """
    rng = np.random.default_rng(rng)
    values, is_first = _pooled(first, second)
    order = np.argsort(np.concatenate([first, second]), kind="stable")
    block, sides = _blocks(first_unit, second_unit, len(first), len(second))
    block = block[order]
    observed = _ks(values, is_first)[0]
    exceeding = 0
    step = max(1, 2**22 // len(values))
    for start in range(0, draws, step):
        count = min(step, draws - start)
        labels = _relabelled(block, sides, is_first, count, rng)
        exceeding += int((_ks(values, labels) >= observed - 1e-12).sum())
    return (1 + exceeding) / (1 + draws)


def relabelled(
    first_unit: np.ndarray | None, second_unit: np.ndarray | None, n: int, m: int, draws: int, rng: np.random.Generator
) -> np.ndarray:
    """Which of the n + m pooled numbers count as first in each permutation of whole units, (draws, n + m) bool.

    Where both groups hold the same units, the two sides of each are swapped at random, as in :func:`ks_p_value`.
    """
    block, sides = _blocks(first_unit, second_unit, n, m)
    return _relabelled(block, sides, np.arange(n + m) < n, draws, rng)


def _relabelled(
    block: np.ndarray, sides: np.ndarray | None, is_first: np.ndarray, draws: int, rng: np.random.Generator
) -> np.ndarray:
    if sides is None:  # paired: swap the sides of a unit
        return is_first ^ rng.integers(2, size=(draws, block.max() + 1)).astype(bool)[:, block]
    return rng.permuted(np.tile(sides, (draws, 1)), axis=1)[:, block]


def _pooled(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    values = np.concatenate([first, second])
    order = np.argsort(values, kind="stable")
    return values[order], (np.arange(len(values)) < len(first))[order]


def _ks(values: np.ndarray, is_first: np.ndarray) -> np.ndarray:
    """KS distance of sorted values (n,) labelled by (..., n)."""
    labels = np.atleast_2d(is_first)
    first = np.cumsum(labels, axis=1)
    second = np.arange(1, len(values) + 1) - first
    last = np.append(values[1:] != values[:-1], True)  # a step of F ends at the last of equal values
    with np.errstate(invalid="ignore", divide="ignore"):
        gap = np.abs(first / first[:, -1:] - second / second[:, -1:])
    return np.nan_to_num(gap[:, last]).max(axis=1)


def _blocks(
    first_unit: np.ndarray | None, second_unit: np.ndarray | None, n: int, m: int
) -> tuple[np.ndarray, np.ndarray | None]:
    """Block number of each pooled number, and the side of each block (None if the groups share their units)."""
    if first_unit is None or second_unit is None:
        return np.arange(n + m), np.arange(n + m) < n
    if set(np.unique(first_unit).tolist()) == set(np.unique(second_unit).tolist()):
        return np.unique(np.concatenate([first_unit, second_unit]), return_inverse=True)[1], None
    one, two = (np.unique(u, return_inverse=True)[1] for u in (first_unit, second_unit))
    count = one.max() + 1
    return np.concatenate([one, two + count]), np.arange(count + two.max() + 1) < count


def resample(
    first_unit: np.ndarray | None, second_unit: np.ndarray | None, n: int, m: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Rows of a bootstrap draw of whole units for both groups, jointly where they share their units."""
    block, sides = _blocks(first_unit, second_unit, n, m)
    first, second = block[:n], block[n:]
    if sides is None:
        drawn = rng.integers(block.max() + 1, size=block.max() + 1)
        return _rows(first, drawn), _rows(second, drawn)
    count = int(sides.sum())
    total = len(sides) - count
    return _rows(first, rng.integers(count, size=count)), _rows(second - count, rng.integers(total, size=total))


def _rows(block: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """Positions of all members of the drawn blocks, repeated as often as drawn."""
    times = np.bincount(drawn, minlength=block.max() + 1)[block]
    return np.repeat(np.arange(len(block)), times)
