r"""Drawing with a flow map X(y, s -> r), a student of few steps: each step is one evaluation, and none is a solver's.

``flow_map`` goes down the levels, :math:`y_{i+1} = X(y_i, s_i \to s_{i+1})`: deterministic, like the flow itself.
``consistency`` goes to the end and back, :math:`y_{i+1} = X(y_i, s_i \to 0) + s_{i+1} z`: what a step left wrong in the
modes that the noise then drowns is drawn anew (Song et al., arXiv:2303.01469, algorithm 1). Both start from
:math:`\sqrt{P + s^2} z_k`, with none of the variance of the data missing.

A denoiser that has ``maps_between_levels`` is such a map: called as D(y, s, condition), with the level r in
``condition["next_level"]``, 0 where it is left out (:class:`physgen.diffusion.distillation.FlowMap`).

Shapes: B batch, C channels, \*grid lattice; y (B, C, \*grid), s (B,).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor

from physgen.diffusion.convention import Condition, Denoiser
from physgen.diffusion.levels import check_levels
from physgen.diffusion.sampling.modal import BoundModalFlow, Modes
from physgen.networks.layers import NEXT_LEVEL


@dataclass(frozen=True)
class MapSteps:
    """The samplers of flow maps: ``renoised`` is that of consistency models. One evaluation a step; no error of a
    solver. ``of`` refuses (ValueError) a denoiser that is no flow map."""

    renoised: bool = False

    @property
    def __name__(self) -> str:
        return "consistency" if self.renoised else "flow_map"

    def of(self, denoiser: Denoiser) -> BoundMapSteps:
        """The sampler of one flow map."""
        if not getattr(denoiser, "maps_between_levels", False):
            raise ValueError(
                f"the sampler {self.__name__} draws with a flow map, this is a denoiser: distill it (physgen distill), "
                "or take a solver"
            )
        return BoundMapSteps(cast(Modes, getattr(denoiser, "frame")), self.renoised)  # noqa: B009

    def __call__(
        self,
        denoiser: Denoiser,
        levels: Tensor,
        y: Tensor,
        condition: Condition = None,
        noise: Callable[[int], Tensor] | None = None,
    ) -> Tensor:
        return self.of(denoiser)(denoiser, levels, y, condition, noise)


@dataclass(frozen=True)
class BoundMapSteps:
    """:class:`MapSteps` in the modes of one flow map."""

    frame: Modes
    renoised: bool

    def start(self, white: Tensor, s: float, condition: Condition = None) -> Tensor:
        r"""y at the first level from white noise: :math:`\sqrt{P + s^2} z_k`."""
        return BoundModalFlow(self.frame).start(white, s, condition)

    def __call__(
        self,
        denoiser: Denoiser,
        levels: Tensor,
        y: Tensor,
        condition: Condition = None,
        noise: Callable[[int], Tensor] | None = None,
    ) -> Tensor:
        for i, (s, r) in enumerate(pairwise(check_levels(levels))):
            end = 0.0 if self.renoised else r
            s_now, s_next = (torch.full((len(y),), level, dtype=y.dtype, device=y.device) for level in (s, end))
            y = denoiser(y, s_now, {**(condition or {}), NEXT_LEVEL: s_next})
            if self.renoised and r > 0:
                if noise is None:
                    raise ValueError("the sampler consistency adds noise between its steps: pass noise(i)")
                y = y + r * noise(i)
        return y
