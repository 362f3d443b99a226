"""Paths with weights of one law of a request, as the network draws them and back: through noise, or by unmasking."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
import torch

from physgen.diffusion.inference.path_weights import noising_log_weight, weighted_sample
from physgen.diffusion.masked import MaskedDenoiser, log_probability, random_orders, sample_masked
from physgen.runs.levels import Levels
from physgen.runs.model import Model
from physgen.stages.laws import Weighed

if TYPE_CHECKING:
    from physgen.diffusion.values import PathMaking


@dataclass(frozen=True)
class Paths:
    """Draws of a model against the laws that they are weighed with.

    Attributes:
        model: the denoiser. weighed: the laws. levels: noise levels, or masked fractions. seed: of all draws.
    """

    model: Model
    weighed: Weighed
    levels: Levels
    seed: int

    @property
    def kind(self) -> str:
        """How they are drawn, in a word."""
        return "unmasking" if self.model.is_masked else type(self._how[0]).__name__

    def drawn(
        self, rows: np.ndarray, progress: Callable[[int, int], None] | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        r"""Configurations x (B, C, \*grid) of the law of these rows and their log-weights (B,), on the CPU.

        ``progress`` is called with (configurations done, B).
        """
        count, streams = len(rows), self.weighed.streams_of(rows)
        target, condition = self.weighed.target_of(rows), self.weighed.condition_of(rows, count)
        shape, device = (count, *self.model.encoding.shape), self.model.device
        if self.model.is_masked:
            found = sample_masked(
                self._masked, shape, self.seed, condition or None, self._groups, device=device, streams=streams,
                progress=progress,
            )  # fmt: skip
            return found.x.float().cpu(), (target(found.x) - found.log_probability).cpu()
        made = weighted_sample(
            self.model.denoiser, self._how[0], self.levels.values, shape, self.seed, target, readout=self._how[1],
            condition=condition, device=device, streams=streams, progress=progress,
        )  # fmt: skip
        return made.x.cpu(), made.log_weight.cpu()

    def reversed(self, rows: np.ndarray, x: torch.Tensor) -> torch.Tensor:
        r"""Log-weights (B,) of paths that end at given x (B, C, \*grid) of the law of these rows, on the CPU.

        For masked diffusion the path of a configuration is the order in which its sites are unmasked: a random one.
        """
        streams, target = self.weighed.streams_of(rows[: len(x)]), self.weighed.target_of(rows)
        condition, device = self.weighed.condition_of(rows, len(x)), self.model.device
        if self.model.is_masked:
            x = x.to(device).double()
            orders = random_orders(self.seed, streams, x[0].numel(), device, "reverse order")
            given = {name: value.to(device) for name, value in condition.items()}
            with torch.no_grad():
                return (target(x) - log_probability(self._masked, x, orders, given or None, self._groups)).cpu()
        return noising_log_weight(
            self.model.denoiser, self._how[0], self.levels.values, x, self.seed, target, readout=self._how[1],
            condition=condition, device=device, streams=streams,
        ).cpu()  # fmt: skip

    @property
    def _how(self) -> PathMaking:
        return cast("PathMaking", self.weighed.how)

    @property
    def _masked(self) -> MaskedDenoiser:
        return cast(MaskedDenoiser, self.model.denoiser)

    @property
    def _groups(self) -> int:
        return len(self.levels.values) - 1
