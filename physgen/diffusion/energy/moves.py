r"""Moves of Markov chains of real values whose law is :math:`e^{-E}/Z`: Langevin steps, accepted exactly or not at all.

A proposal is one Euler step of :math:`dx = -\nabla E\,dt + \sqrt2\,dW` over the time :math:`\epsilon`,

.. math:: x' = x - \epsilon \nabla E(x) + \sqrt{2\epsilon}\,z, \qquad
          \ln q(x'|x) = -\frac{|x' - x + \epsilon \nabla E(x)|^2}{4 \epsilon} + \mathrm{const},

and is accepted with probability :math:`\min(1, e^{E(x) - E(x')} q(x|x')/q(x'|x))`, which makes :math:`e^{-E}` exactly
stationary at any step, by detailed balance (MALA; Roberts and Tweedie, Bernoulli 2 (1996), 341). Without the test the
law is wrong by O(:math:`\epsilon`).

Shapes: B chains, C channels, \*grid lattice; sizes and probabilities (B,).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from physgen.diffusion.energy.draws import ChainDraws
from physgen.diffusion.energy.laws import Energy, spread, value_and_slope


@dataclass(frozen=True, eq=False)
class ChainState:
    r"""Where B chains are, with what a move must know there.

    Attributes:
        x: (B, C, \*grid). energy: E (B,). slope: gradient of E like x, None where the move takes none.
    """

    x: Tensor
    energy: Tensor
    slope: Tensor | None = None

    def where(self, accepted: Tensor, new: ChainState) -> ChainState:
        """The new state in the chains where ``accepted`` (B,), this one elsewhere."""
        keep = accepted.reshape(-1, *[1] * (self.x.ndim - 1))
        slope = None
        if self.slope is not None and new.slope is not None:
            slope = torch.where(keep, new.slope, self.slope)
        return ChainState(torch.where(keep, new.x, self.x), torch.where(accepted, new.energy, self.energy), slope)


class Move(Protocol):
    """A Markov kernel that leaves :math:`e^{-E}/Z` stationary."""

    @property
    def target(self) -> float | None:
        """Acceptance that a step size is adapted to; None for a move without a step size."""
        ...

    def start(self, energy: Energy, x: Tensor) -> ChainState:
        """The state at x."""
        ...

    def __call__(
        self, energy: Energy, state: ChainState, size: Tensor | float, draws: ChainDraws
    ) -> tuple[ChainState, Tensor]:
        """The next state and the mean acceptance probability (B,) of the step."""
        ...


@dataclass(frozen=True)
class Langevin:
    r"""Langevin steps of size :math:`\epsilon`; see the module.

    Args:
        adjusted: accept exactly (MALA), or always (the unadjusted algorithm, whose law is not :math:`e^{-E}`).
        target: acceptance probability to adapt the size to; 0.574 is the best in many dimensions (Roberts and
            Rosenthal, J. R. Stat. Soc. B 60 (1998), 255).
    """

    adjusted: bool = True
    target: float | None = 0.574

    def start(self, energy: Energy, x: Tensor) -> ChainState:
        """The state at x, with its gradient."""
        return ChainState(x, *value_and_slope(energy, x))

    def __call__(
        self, energy: Energy, state: ChainState, size: Tensor | float, draws: ChainDraws
    ) -> tuple[ChainState, Tensor]:
        """One step: one gradient of E."""
        assert state.slope is not None
        epsilon = spread(size, state.x)
        moved = state.x - epsilon * state.slope + (2 * epsilon).sqrt() * draws.normal(state.x)
        new = ChainState(moved, *value_and_slope(energy, moved))
        if not self.adjusted:
            return new, torch.ones_like(state.energy)
        log_ratio = state.energy - new.energy + _log_proposal(new, state, epsilon) - _log_proposal(state, new, epsilon)
        probability = acceptance(log_ratio)
        return state.where(draws.uniform(state.x) < probability, new), probability


def acceptance(log_ratio: Tensor) -> Tensor:
    r""":math:`\min(1, e^r)`; 0 where r is not a number, as where an energy overflows."""
    return torch.exp(torch.nan_to_num(log_ratio, nan=-math.inf, posinf=0.0).clamp(max=0))


def _log_proposal(here: ChainState, there: ChainState, epsilon: Tensor) -> Tensor:
    """ln q(there | here), (B,), without its constant."""
    assert here.slope is not None
    missed = there.x - here.x + epsilon * here.slope
    return -(missed.square() / (4 * epsilon)).flatten(1).sum(1)
