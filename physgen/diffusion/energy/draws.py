r"""Random numbers of Markov chains: torch's own, those of a numbered stream, or those that a sampler is given.

Shapes: B chains, C channels, \*grid lattice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from physgen.diffusion.noise import Stream


class ChainDraws(Protocol):
    """Where a move takes its random numbers from; every call gives new ones."""

    def normal(self, like: Tensor) -> Tensor:
        r"""Standard normal numbers like x (B, C, \*grid)."""
        ...

    def uniform(self, like: Tensor) -> Tensor:
        r"""Uniform numbers in (0, 1), one for each chain of x (B, C, \*grid): (B,)."""
        ...


class TorchDraws:
    """Numbers of a generator; None takes torch's own, which a training seeds for every step."""

    def __init__(self, generator: torch.Generator | None = None) -> None:
        self.generator = generator

    def normal(self, like: Tensor) -> Tensor:
        """Standard normal numbers like x."""
        return torch.randn(like.shape, generator=self.generator, device=like.device, dtype=like.dtype)

    def uniform(self, like: Tensor) -> Tensor:
        """Uniform numbers (B,)."""
        drawn = torch.rand(len(like), generator=self.generator, device=like.device, dtype=torch.float64)
        return drawn.clamp(min=1e-16).to(like.dtype)


class StreamDraws:
    """Numbers that belong to a chain: those of chain number j depend on (seed, name, j) and on the call alone.

    Args:
        seed, name: of the :class:`physgen.diffusion.noise.Stream`. index: numbers of the B chains.
    """

    def __init__(self, seed: int, name: str, index: Sequence[int]) -> None:
        self.seed, self.name, self.index, self.calls = seed, name, torch.as_tensor(list(index)), 0

    def normal(self, like: Tensor) -> Tensor:
        """Standard normal numbers like x."""
        return self._next(like).normal(self.index, like.shape[1:], like.dtype)

    def uniform(self, like: Tensor) -> Tensor:
        """Uniform numbers (B,)."""
        return self._next(like).uniform(self.index, (), like.dtype)

    def _next(self, like: Tensor) -> Stream:
        self.calls += 1
        return Stream(self.seed, self.name, self.calls - 1, like.device)


class SolverDraws:
    r"""Numbers of the noise of a sampler, ``noise(i)`` standard normal like y: :math:`u = \Phi(z_1)` is uniform."""

    def __init__(self, noise: Callable[[int], Tensor]) -> None:
        self.noise, self.calls = noise, 0

    def normal(self, like: Tensor) -> Tensor:
        """Standard normal numbers like x."""
        self.calls += 1
        return self.noise(self.calls - 1)

    def uniform(self, like: Tensor) -> Tensor:
        """Uniform numbers (B,), from the first value of a noise of their own."""
        return torch.special.ndtr(self.normal(like).flatten(1)[:, 0])
