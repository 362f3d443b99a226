r"""The loop of every solver that takes given noise levels one after another; a solver is one step, a rule.

In (y, s) the reverse process knows no schedule. With the score :math:`\nabla \log p_s(y) = (D(y, s) - y)/s^2` the
probability flow is :math:`dy/ds = (y - D)/s`, and in the clock :math:`\tau = -s^2` the reverse SDE is :math:`dy =
\nabla\log p_s\,d\tau + dW`. The step to s = 0 is :math:`x_0 = D(y, s)` for all of them: it leaves the variance of a
mode of variance P too small by a factor :math:`P/(P + s_{min}^2)`, which more levels above :math:`s_{min}` do
not change. Orders are global orders of the law of y (weak orders for stochastic solvers) in the largest step of log s.

Shapes: B batch, C channels, \*grid lattice; y (B, C, \*grid), s (B,). Levels are float64 and so is all arithmetic
with them. Rules take them as floats, or as tensors that broadcast against y: then many sets of levels are done at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import torch
from torch import Tensor

from physgen.diffusion.convention import Condition, Denoiser, Level, elapsed, sqrt
from physgen.diffusion.levels import check_levels

StepNoise = Callable[[int], Tensor]


class Sampler(Protocol):
    r"""(denoiser, levels, y at the first level, condition, noise) -> y at the last level: :math:`x_0` if that is 0.

    ``levels`` descend strictly, the last one may be 0; y (B, C, \*grid) is float32 or float64; the condition's
    tensors lead with B; ``noise(i)``, i = 0, 1, ..., gives independent standard normal noise like y, needed by
    stochastic samplers (ValueError without it).
    """

    def __call__(
        self, denoiser: Denoiser, levels: Tensor, y: Tensor, condition: Condition = None, noise: StepNoise | None = None
    ) -> Tensor: ...


@dataclass(frozen=True)
class Step:
    """What a step from s to s_next > 0 may use: state y, denoised D(y, s), and (level, denoised) before, newest first.

    ``noise()`` gives new standard normal noise like y at every call.
    """

    y: Tensor
    denoised: Tensor
    s: Level
    s_next: Level
    past: tuple[tuple[Level, Tensor], ...]
    evaluate: Callable[[Tensor, Level], Tensor]
    noise: Callable[[], Tensor]


@dataclass(frozen=True)
class Churn:
    """Fresh noise before a step: it takes y from s up to raised(s, steps) >= s, its standard deviation times
    ``inflation``."""

    raised: Callable[[Level, int], Level]
    inflation: float = 1.0


@dataclass(frozen=True)
class Solver:
    """A sampler made of a rule (its docstring says what it does); callable with the signature of :class:`Sampler`.

    Args:
        rule: the step to a level above 0.
        order: global order of the law.
        draws: independent noises that a step takes; 0 for a deterministic solver.
        evaluations: evaluations of the denoiser in a step to a level above 0; the step to 0 takes one.
        memory: pairs (level, denoised) of the past that a step may see.
        churn: fresh noise before the step.
        name: what it is called; that of the rule by default.
    """

    rule: Callable[[Step], Tensor]
    order: int
    draws: int = 0
    evaluations: int = 1
    memory: int = 0
    churn: Churn | None = None
    name: str = ""

    @property
    def __name__(self) -> str:
        return self.name or getattr(self.rule, "__name__", type(self.rule).__name__)

    def __call__(
        self, denoiser: Denoiser, levels: Tensor, y: Tensor, condition: Condition = None, noise: StepNoise | None = None
    ) -> Tensor:
        def evaluate(y: Tensor, s: Level) -> Tensor:
            return denoiser(y, torch.full((y.shape[0],), float(s), dtype=y.dtype, device=y.device), condition)

        return self.integrate(evaluate, check_levels(levels), y, noise)

    def integrate(
        self, evaluate: Callable[[Tensor, Level], Tensor], levels: Sequence[Level], y: Tensor, noise: StepNoise | None
    ) -> Tensor:
        """The loop behind a call, for ``evaluate(y, s)`` in place of a denoiser with its condition.

        Args:
            levels: floats, or tensors that broadcast against y; a last one of 0 is a float.
            y: at the first level. noise: as in :class:`Sampler`.
        """
        steps = len(levels) - 1
        past: tuple[tuple[Level, Tensor], ...] = ()
        source = _Source(noise, steps)
        for i, (s, s_next) in enumerate(pairwise(levels)):
            source.restart(i)
            if self.churn is not None:
                raised = self.churn.raised(s, steps)
                y, s = y + source.draw() * (self.churn.inflation * sqrt(elapsed(raised, s))), raised
            denoised = evaluate(y, s)
            if isinstance(s_next, float) and s_next == 0:
                return denoised
            y = self.rule(Step(y, denoised, s, s_next, past, evaluate, source.draw))
            past = ((s, denoised), *past)[: self.memory]
        return y

    def cost(self, levels: Tensor) -> int:
        """Evaluations of the denoiser on these levels."""
        values = check_levels(levels)
        closing = values[-1] == 0
        return self.evaluations * (len(values) - 1 - closing) + closing


@dataclass
class _Source:
    """Numbers the noises of a solver: the first one of step i is noise(i), whatever the steps before have drawn."""

    noise: StepNoise | None
    steps: int
    index: int = 0

    def restart(self, i: int) -> None:
        self.index = i

    def draw(self) -> Tensor:
        if self.noise is None:
            raise ValueError("a stochastic sampler needs noise, got None; pass a function: step index -> tensor like y")
        drawn = self.noise(self.index)
        self.index += self.steps
        return drawn


def solver(
    order: int, draws: int = 0, evaluations: int = 1, memory: int = 0
) -> Callable[[Callable[[Step], Tensor]], Solver]:
    """Decorator of a rule: the :class:`Solver` with these properties and the rule's docstring."""

    def make(rule: Callable[[Step], Tensor]) -> Solver:
        made = Solver(rule, order, draws, evaluations, memory)
        object.__setattr__(made, "__doc__", rule.__doc__)
        return made

    return make


def toward(denoised: Tensor, now: Step) -> Tensor:
    """Exact probability flow from s to s_next for a constant D."""
    return now.y * (now.s_next / now.s) + denoised * ((now.s - now.s_next) / now.s)
