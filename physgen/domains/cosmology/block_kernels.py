"""Loops over the values of a training set: sums, and the counts by which order statistics are narrowed down."""

from __future__ import annotations

import numpy as np
from numba import njit

HALF_WORD = 16  # bits of a digit, see :class:`physgen.domains.cosmology.blocks.OrderStatistics`


@njit(cache=True, nogil=True, fastmath={"reassoc", "nsz"})
def sums(values: np.ndarray, lowest: float) -> tuple[float, float, int]:
    """Sum and sum of squares, float64, and how many values are at most ``lowest``."""
    total, square, empty = 0.0, 0.0, 0
    for value in values:
        wide = np.float64(value)
        total += wide
        square += wide * wide
        empty += 1 if wide <= lowest else 0
    return total, square, empty


@njit(cache=True, nogil=True, fastmath={"reassoc", "nsz"})
def moments(values: np.ndarray) -> tuple[float, float]:
    """Mean, and sum of squared distances from it."""
    total, square = 0.0, 0.0
    for value in values:
        total += value
    mean = total / len(values)
    for value in values:
        square += (value - mean) * (value - mean)
    return mean, square


@njit(cache=True, nogil=True, inline="always")
def _key(raw: np.ndarray, i: int, top: int) -> int:
    """The bits of a number, so that whole numbers without sign come in the order of the values."""
    return ~raw[i] if raw[i] & top else raw[i] | top


@njit(cache=True, nogil=True)
def count_first(raw: np.ndarray, top: int, bits: int, counts: np.ndarray) -> None:
    """Count the first digit of each key; ``raw`` are the bits of the values, of which ``top`` is the sign."""
    for i in range(len(raw)):
        counts[_key(raw, i, top) >> raw.dtype.type(bits - HALF_WORD)] += 1


@njit(cache=True, nogil=True)
def wanted_places(
    raw: np.ndarray, top: int, bits: int, begins: np.ndarray, prefixes: np.ndarray, known: int, out: np.ndarray
) -> int:
    """Places in the table of counts of the values that begin with one of the ``prefixes``; how many there are.

    ``begins``: the first prefix of each first digit (2^16,), -1 where there is none. known: digits of a prefix.
    """
    first, rest = raw.dtype.type(bits - HALF_WORD), np.uint64(bits - HALF_WORD * known)
    next_digit, digit, found = np.uint64(bits - HALF_WORD * (known + 1)), np.uint64(2**HALF_WORD - 1), 0
    for i in range(len(raw)):
        key = _key(raw, i, top)
        row = begins[key >> first]
        if row < 0:
            continue
        prefix = np.uint64(key) >> rest
        while row < len(prefixes) and prefixes[row] < prefix:
            row += 1
        if row < len(prefixes) and prefixes[row] == prefix:
            out[found] = (row << HALF_WORD) + np.int64((np.uint64(key) >> next_digit) & digit)
            found += 1
    return found
