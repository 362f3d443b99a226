r"""Random numbers for the samples of one batch, drawn call by call like those of a generator.

What a random symmetry takes (:class:`physgen.lattice.Draws`). Row b of every call depends on its sample and on the
number of calls before, not on the batch: one sample is moved alike on one process and on many, on any device.

Shapes: B samples, \*shape of one sample.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from physgen.diffusion.noise import Stream


class SampleDraws:
    """Successive, independent draws for B samples.

    Args:
        seed: the user's seed, any whole number.
        stream: what the numbers are for; different names give independent numbers.
        index: (B,) numbers of the samples; a tensor keeps the draws on its device.

    Example:
        >>> draws = SampleDraws(1, "my symmetry", range(8))
        >>> signs = 2 * draws.integers(2, (1, 1, 1)) - 1  # (8, 1, 1, 1)
    """

    def __init__(self, seed: int, stream: str, index: Iterable[int] | Tensor) -> None:
        self.seed, self.stream = seed, stream
        self.index = index if isinstance(index, Tensor) else torch.tensor(list(index), dtype=torch.int64)
        self.calls = 0

    def integers(self, high: int, shape: Sequence[int] = ()) -> Tensor:
        r"""Whole numbers (B, \*shape) int64, uniform in 0 ... high - 1."""
        return self._next().integers(high, self.index, shape)

    def uniform(self, shape: Sequence[int] = (), dtype: torch.dtype = torch.float32) -> Tensor:
        r"""Uniform numbers (B, \*shape) in (0, 1)."""
        return self._next().uniform(self.index, shape, dtype)

    def normal(self, shape: Sequence[int] = (), dtype: torch.dtype = torch.float32) -> Tensor:
        r"""Standard normal numbers (B, \*shape)."""
        return self._next().normal(self.index, shape, dtype)

    def _next(self) -> Stream:
        stream = Stream(self.seed, self.stream, self.calls, self.index.device)
        self.calls += 1
        return stream
