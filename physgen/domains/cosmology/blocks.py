"""Data that are gone through in blocks: moments and order statistics, exact, in little memory.

``values`` are arrays (b, \\*grid) of one component, one block after the other; work on them is done in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import DTypeLike

from physgen.threads import shared_out

BLOCK = 2**17  # values that are held in float64 at once
DIGIT = 16  # bits by which order statistics are narrowed down in one pass

Transform = Callable[[np.ndarray], np.ndarray]


def flat_blocks(values: np.ndarray) -> Iterator[np.ndarray]:
    """The values in float64, at most BLOCK at a time, in C order."""
    flat = np.ascontiguousarray(values).reshape(-1)
    return (flat[start : start + BLOCK].astype(np.float64, copy=False) for start in range(0, flat.size, BLOCK))


def map_blocks(values: np.ndarray, of: Transform, dtype: DTypeLike = np.float64) -> np.ndarray:
    """``of(values)``, elementwise, computed in float64; what it takes beside is that of BLOCK values a thread."""
    flat, result = np.ascontiguousarray(values).reshape(-1), np.empty(values.size, dtype)

    def some(start: int) -> None:
        result[start : start + BLOCK] = of(flat[start : start + BLOCK].astype(np.float64))

    shared_out(some, range(0, flat.size, BLOCK))
    return result.reshape(values.shape)


class Moments:
    """Mean and standard deviation of numbers that come block by block (Chan, Golub & LeVeque 1979)."""

    def __init__(self) -> None:
        self.count, self.mean, self._square = 0, 0.0, 0.0

    def add(self, numbers: np.ndarray) -> None:
        """Count further float64 numbers in, of any shape."""
        from physgen.domains.cosmology.block_kernels import moments

        for part in flat_blocks(numbers):
            self._merge(len(part), *moments(part))

    def merge(self, other: Moments) -> None:
        """Count in what another one has seen."""
        if other.count:
            self._merge(other.count, other.mean, other._square)

    def _merge(self, count: int, mean: float, square: float) -> None:
        total, step = self.count + count, mean - self.mean
        self._square += square + step**2 * (self.count * count / total)
        self.mean += step * (count / total)
        self.count = total

    @property
    def std(self) -> float:
        """Standard deviation of all numbers."""
        return float(np.sqrt(self._square / self.count))


class OrderStatistics:
    """The values of given ranks, to the last bit, of data of any size: radix selection.

    ::

        order = OrderStatistics(dtype, ranks)
        while order.is_open:
            for values in blocks():
                order.add(values)
            order.narrow()
        order.value(rank)

    Each pass counts the next 16 bits of the values that begin as a wanted one does: two passes for single precision,
    four for what it cannot hold. The first pass can be made before the ranks are known (``ask``).
    """

    def __init__(self, dtype: np.dtype, ranks: np.ndarray | None = None) -> None:
        small = np.dtype(dtype).kind == "f" or np.dtype(dtype).itemsize < 4  # whole numbers of 32 bits have more digits
        self._dtype = np.dtype(np.float32 if small and np.dtype(dtype).itemsize <= 4 else np.float64)
        self._rounds, self._done = 8 * self._dtype.itemsize // DIGIT, 0
        self._counts = np.zeros((1, 2**DIGIT), np.int64)
        self._prefixes = np.zeros(1, np.uint64)
        self._begins = np.zeros(2**DIGIT, np.int64)  # the first prefix of each first digit, -1 where there is none
        self.ask(np.empty(0) if ranks is None else ranks)

    def ask(self, ranks: np.ndarray) -> None:
        """Say which ranks are wanted, before the first pass is ended."""
        self._ranks = np.unique(np.asarray(ranks, dtype=np.int64))
        self._rest = self._ranks.copy()  # rank among the values that begin alike
        self._begin = np.zeros(len(self._ranks), np.uint64)  # the digits that are known, of each rank

    @property
    def is_open(self) -> bool:
        """Whether a further pass is needed."""
        return self._done < self._rounds and len(self._ranks) > 0

    def add(self, values: np.ndarray) -> None:
        """Count the values of a block."""
        from physgen.domains.cosmology.block_kernels import count_first, wanted_places

        flat, bits = np.ascontiguousarray(values).reshape(-1), 8 * self._dtype.itemsize
        unsigned = np.dtype(f"u{self._dtype.itemsize}")
        top = unsigned.type(1 << (bits - 1))

        def raw(start: int) -> np.ndarray:
            return flat[start : start + BLOCK].astype(self._dtype, copy=False).view(unsigned)

        def first(start: int) -> np.ndarray:
            counts = np.zeros(2**DIGIT, np.int32)
            count_first(raw(start), top, bits, counts)
            return counts

        def later(start: int) -> np.ndarray:
            some = raw(start)
            places = np.empty(len(some), np.int64)
            return places[: wanted_places(some, top, bits, self._begins, self._prefixes, self._done, places)]

        starts = range(0, flat.size, BLOCK)
        if self._done == 0:
            for counts in shared_out(first, starts):
                self._counts[0] += counts
            return
        for places in shared_out(later, starts):
            # few are wanted, in places far apart: a count of all places would cost more than they do
            np.add.at(self._counts.reshape(-1), places, 1)

    def narrow(self) -> None:
        """End a pass."""
        cumulative = self._counts.cumsum(axis=1)
        row = np.searchsorted(self._prefixes, self._begin)
        for i, r in enumerate(row):
            digit = int(np.searchsorted(cumulative[r], self._rest[i], side="right"))
            self._rest[i] -= cumulative[r, digit - 1] if digit else 0
            self._begin[i] = (int(self._begin[i]) << DIGIT) + digit
        self._done += 1
        self._prefixes = np.unique(self._begin)
        self._counts = np.zeros((len(self._prefixes), 2**DIGIT), np.int64)
        first = (self._prefixes >> np.uint64(DIGIT * (self._done - 1))).astype(np.int64)
        self._begins = np.full(2**DIGIT, -1, np.int64)
        self._begins[first[::-1]] = np.arange(len(first))[::-1]  # the least of those that begin alike stays

    def value(self, rank: np.ndarray) -> np.ndarray:
        """The values of ranks that were asked for, float64."""
        bits = 8 * self._dtype.itemsize
        keys = self._begin[np.searchsorted(self._ranks, rank)]
        top = np.uint64(1 << (bits - 1))
        raw = np.where(keys & top, keys ^ top, ~keys & np.uint64(2**bits - 1))
        return raw.astype(f"u{bits // 8}").view(self._dtype).astype(np.float64)


class Quantiles:
    """Quantiles as ``numpy.quantile`` has them (linear), of an increasing function, from order statistics.

    Args:
        count: values among which the quantiles are taken. shares: in (0, 1). skipped: values below these.
    """

    def __init__(self, count: int, shares: np.ndarray, skipped: int = 0) -> None:
        place = (count - 1) * np.asarray(shares, dtype=np.float64)
        left = np.floor(place).astype(np.int64)
        self.ranks = skipped + np.minimum(np.stack([left, left + 1]), count - 1)
        self._part = place - left

    def of(self, order: OrderStatistics, function: Transform) -> np.ndarray:
        """The quantiles of ``function`` of the values."""
        low, high = (function(order.value(ranks)) for ranks in self.ranks)
        part, step = self._part, high - low
        return np.where(part < 0.5, low + step * part, high - step * (1 - part))
