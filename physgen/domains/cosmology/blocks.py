"""Large arrays in blocks: sums and quantiles of a function of float32 values, taken in float64, in little memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

BLOCK = 2**17  # values that are held in float64 at once
# beyond this number quantiles are those of a random part: the 4.2 sigma knots then still rest on 1800 values each
QUANTILE_VALUES = 2**27

Transform = Callable[[np.ndarray], np.ndarray]


def sum_in_blocks(values: np.ndarray, of: Transform) -> float:
    """Sum of ``of(values)`` over a contiguous array, float64, in the order of numpy's pairwise sum of the whole."""
    return _pairwise(values.reshape(-1), of)


def _pairwise(values: np.ndarray, of: Transform) -> float:
    if len(values) <= BLOCK:
        return float(np.add.reduce(of(values.astype(np.float64))))
    half = len(values) // 2
    half -= half % 8  # numpy halves at multiples of its 8 running sums
    return _pairwise(values[:half], of) + _pairwise(values[half:], of)


def moments(values: np.ndarray, of: Transform) -> tuple[float, float]:
    """Mean and standard deviation of ``of(values)``."""
    mean = sum_in_blocks(values, of) / values.size
    return mean, float(np.sqrt(sum_in_blocks(values, lambda v: np.square(of(v) - mean)) / values.size))


def sorted_values(values: np.ndarray, seed: int = 0) -> np.ndarray:
    r"""The values (B, \*grid) in ascending order; beyond QUANTILE_VALUES a random part, equally of each sample."""
    if values.size <= QUANTILE_VALUES:
        return np.sort(values, axis=None)
    rng = np.random.default_rng(seed)
    each = max(1, QUANTILE_VALUES // len(values))
    return np.sort(np.concatenate([one.reshape(-1)[rng.integers(one.size, size=each)] for one in values]))


def quantile_of_sorted(ascending: np.ndarray, share: np.ndarray, of: Transform) -> np.ndarray:
    """``np.quantile(of(ascending), share)`` for an increasing function, which is taken of the neighbours alone."""
    place = (len(ascending) - 1) * np.asarray(share, dtype=np.float64)
    left = np.floor(place).astype(np.intp)
    low, high = (of(ascending[np.minimum(left + i, len(ascending) - 1)].astype(np.float64)) for i in (0, 1))
    part, step = place - left, high - low
    return np.where(part < 0.5, low + step * part, high - step * (1 - part))


def sample_blocks(count: int, cells: int) -> Iterator[slice]:
    """Slices of samples of ``cells`` values each, at most BLOCK values (but one sample) at a time."""
    rows = max(1, BLOCK // cells)
    return (slice(start, start + rows) for start in range(0, count, rows))
