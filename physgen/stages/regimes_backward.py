"""The backward process of a denoiser, as U-turns and clones ask for it: from a level to a lower one, or to the end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from physgen.diffusion.convention import Denoiser
from physgen.diffusion.levels import levels_from
from physgen.diffusion.sampling.samplers import sample

SAMPLER = "dpmpp_2m_sde"  # who comes back must draw from the posterior: a stochastic sampler, of second order


@dataclass(frozen=True)
class Backward:
    """The backward process under the conditions of some samples.

    Attributes:
        denoiser: D(y, s, condition), a network or an exact law.
        levels: (steps + 1,) of a whole descent. condition: rows of the samples that go. device: where it computes.
    """

    denoiser: Denoiser
    levels: Tensor
    condition: Mapping[str, Tensor] = field(default_factory=dict)
    device: torch.device | str = "cpu"

    def finish(self, y: Tensor, s: float, seed: int) -> Tensor:
        r"""x0 (B, C, \*grid) from y at the level s."""
        return self._go(y, levels_from(self.levels, s), seed)

    def descend(self, y: Tensor, s: float, below: float, seed: int) -> Tensor:
        r"""y at the level ``below`` < s from y at the level s."""
        kept = levels_from(self.levels, s)
        kept = torch.cat([kept[kept > below * (1 + 1e-9)], torch.tensor([below], dtype=kept.dtype)])
        return self._go(y, kept, seed)

    def _go(self, y: Tensor, levels: Tensor, seed: int) -> Tensor:
        return sample(
            self.denoiser, levels, y.shape, seed, dict(self.condition) or None, SAMPLER, start=y,
            from_level=float(levels[0]), device=self.device, home="cpu",
        )  # fmt: skip
