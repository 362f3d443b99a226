"""Data that are gone through in blocks: moments and order statistics, exact, in little memory.

``values`` are arrays (b, \\*grid) of one component, one block after the other; work on them is done in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

BLOCK = 2**17  # values that are held in float64 at once
DIGIT = 16  # bits by which order statistics are narrowed down in one pass

Transform = Callable[[np.ndarray], np.ndarray]


def flat_blocks(values: np.ndarray) -> Iterator[np.ndarray]:
    """The values in float64, at most BLOCK at a time, in C order."""
    flat = np.ascontiguousarray(values).reshape(-1)
    return (flat[start : start + BLOCK].astype(np.float64) for start in range(0, flat.size, BLOCK))


def map_blocks(values: np.ndarray, of: Transform) -> np.ndarray:
    """``of(values)``, elementwise, float64; what it takes beside is that of BLOCK values."""
    result = np.empty(values.size)
    for i, block in enumerate(flat_blocks(values)):
        result[i * BLOCK : i * BLOCK + block.size] = of(block)
    return result.reshape(values.shape)


class Moments:
    """Mean and standard deviation of numbers that come block by block (Chan, Golub & LeVeque 1979)."""

    def __init__(self) -> None:
        self.count, self.mean, self._square = 0, 0.0, 0.0

    def add(self, numbers: np.ndarray) -> None:
        """Count further float64 numbers in, of any shape."""
        for start in range(0, numbers.size, BLOCK):
            part = numbers.reshape(-1)[start : start + BLOCK]
            centre, total = float(part.mean()), self.count + part.size
            step = centre - self.mean
            spread = float(np.square(part - centre).sum())
            self._square += spread + step**2 * (self.count * part.size / total)
            self.mean += step * (part.size / total)
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
    four for what it cannot hold.
    """

    def __init__(self, dtype: np.dtype, ranks: np.ndarray) -> None:
        small = np.dtype(dtype).kind == "f" or np.dtype(dtype).itemsize < 4  # whole numbers of 32 bits have more digits
        self._dtype = np.dtype(np.float32 if small and np.dtype(dtype).itemsize <= 4 else np.float64)
        self._rounds, self._done = 8 * self._dtype.itemsize // DIGIT, 0
        self._ranks = np.unique(np.asarray(ranks, dtype=np.int64))
        self._rest = self._ranks.copy()  # rank among the values that begin alike
        self._begin = np.zeros(len(self._ranks), np.uint64)  # the digits that are known, of each rank
        self._open()

    def _open(self) -> None:
        self._prefixes = np.unique(self._begin).astype(f"u{self._dtype.itemsize}")
        self._counts = np.zeros((len(self._prefixes), 2**DIGIT), np.int64)
        self._begins = np.zeros(2**DIGIT, bool)  # whether a wanted value begins with these 16 bits
        self._begins[self._prefixes >> self._prefixes.dtype.type(DIGIT * max(0, self._done - 1))] = True

    @property
    def is_open(self) -> bool:
        """Whether a further pass is needed."""
        return self._done < self._rounds and len(self._ranks) > 0

    def add(self, values: np.ndarray) -> None:
        """Count the values of a block."""
        flat = np.ascontiguousarray(values).reshape(-1)
        for start in range(0, flat.size, BLOCK):
            keys = self._keys(flat[start : start + BLOCK])
            digits = keys >> keys.dtype.type(DIGIT * (self._rounds - self._done - 1))
            digit = (digits & digits.dtype.type(2**DIGIT - 1)).astype(np.int64)
            if self._done == 0:
                self._counts[0] += np.bincount(digit, minlength=2**DIGIT)
                continue
            slot = digits >> digits.dtype.type(DIGIT)
            wanted = np.flatnonzero(self._begins[keys >> keys.dtype.type(DIGIT * (self._rounds - 1))])
            slot, digit = slot[wanted], digit[wanted]
            row = np.searchsorted(self._prefixes, slot).clip(max=len(self._prefixes) - 1)
            place = (row * 2**DIGIT + digit)[self._prefixes[row] == slot]
            # few are wanted, in places far apart: a count of all places would cost more than they do
            np.add.at(self._counts.reshape(-1), place, 1)

    def narrow(self) -> None:
        """End a pass."""
        cumulative = self._counts.cumsum(axis=1)
        row = np.searchsorted(self._prefixes.astype(np.uint64), self._begin)
        for i, r in enumerate(row):
            digit = int(np.searchsorted(cumulative[r], self._rest[i], side="right"))
            self._rest[i] -= cumulative[r, digit - 1] if digit else 0
            self._begin[i] = (int(self._begin[i]) << DIGIT) + digit
        self._done += 1
        self._open()

    def value(self, rank: np.ndarray) -> np.ndarray:
        """The values of ranks that were asked for, float64."""
        bits = 8 * self._dtype.itemsize
        keys = self._begin[np.searchsorted(self._ranks, rank)]
        top = np.uint64(1 << (bits - 1))
        raw = np.where(keys & top, keys ^ top, ~keys & np.uint64(2**bits - 1))
        return raw.astype(f"u{bits // 8}").view(self._dtype).astype(np.float64)

    def _keys(self, values: np.ndarray) -> np.ndarray:
        """Whole numbers without sign in the order of the values."""
        bits = 8 * self._dtype.itemsize
        raw = values.astype(self._dtype).view(f"u{bits // 8}")
        top = raw.dtype.type(1 << (bits - 1))
        return np.where(raw & top, ~raw, raw | top)


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
