r"""Moves of Markov chains of spins +-1 whose law is :math:`e^{-E}/Z`, for any energy: an update flips one spin or none.

With :math:`\Delta = E(x') - E(x)` of the flipped spin, heat bath (Gibbs) accepts with probability :math:`1/(1 +
e^\Delta)`, Metropolis with :math:`\min(1, e^{-\Delta})`. The site is drawn anew for every update, so that any number of
updates together is a reversible kernel (a sweep through the sites in their order is not).

Shapes: B chains, C channels, \*grid lattice, d = C x grid spins.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from physgen.diffusion.energy.draws import ChainDraws
from physgen.diffusion.energy.laws import Energy, value, value_and_slope
from physgen.diffusion.energy.moves import ChainState, acceptance

RULES = ("heat bath", "metropolis")


@dataclass(frozen=True)
class SiteFlips:
    r"""Updates at random sites, one evaluation of E each: at least N of them for a sweep.

    Args:
        rule: ``"heat bath"`` (Gibbs sampling) or ``"metropolis"``. updates: in a step; None for d, a sweep.
    """

    rule: str = "heat bath"
    updates: int | None = None
    target: ClassVar[float | None] = None

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise ValueError(f"unknown rule {self.rule!r} of flips; choose one of {', '.join(RULES)}")

    def start(self, energy: Energy, x: Tensor) -> ChainState:
        """The state at x."""
        return ChainState(x, value(energy, x))

    def __call__(
        self, energy: Energy, state: ChainState, size: Tensor | float, draws: ChainDraws
    ) -> tuple[ChainState, Tensor]:
        """One step of ``updates``; the size is of no effect."""
        count = state.x[0].numel()
        updates, total = self.updates or count, torch.zeros_like(state.energy)
        for _ in range(updates):
            site = (draws.uniform(state.x) * count).long().clamp(max=count - 1)
            x = flipped(state.x, site)
            new = ChainState(x, value(energy, x))
            drop = state.energy - new.energy
            probability = torch.sigmoid(drop) if self.rule == RULES[0] else acceptance(drop)
            state = state.where(draws.uniform(state.x) < probability, new)
            total = total + probability
        return state, total / updates


@dataclass(frozen=True)
class GradientFlips:
    r"""Updates at sites that the gradient of E proposes, accepted exactly: :math:`q(i|x) \propto e^{x_i \partial_i E}`.

    :math:`2 x_i \partial_i E` is the drop of E at the flip of spin i, to first order in it; half of it makes the
    proposal a locally balanced one. Accepted with :math:`\min(1, e^{E(x) - E(x')} q(i|x')/q(i|x))`: detailed balance
    is exact however bad the estimate. An update takes one gradient. Source: Grathwohl et al., arXiv:2102.04509,
    algorithm 1 (Gibbs with gradients).

    Args:
        updates: in a step.
    """

    updates: int = 1
    target: ClassVar[float | None] = None

    def start(self, energy: Energy, x: Tensor) -> ChainState:
        """The state at x, with its gradient."""
        return ChainState(x, *value_and_slope(energy, x))

    def __call__(
        self, energy: Energy, state: ChainState, size: Tensor | float, draws: ChainDraws
    ) -> tuple[ChainState, Tensor]:
        """One step of ``updates``; the size is of no effect."""
        total = torch.zeros_like(state.energy)
        for _ in range(self.updates):
            forward = _log_sites(state)
            cumulative = forward.exp().cumsum(1)
            u = draws.uniform(state.x)[:, None] * cumulative[:, -1:]
            site = torch.searchsorted(cumulative, u, right=True)[:, 0].clamp(max=forward.shape[1] - 1)
            x = flipped(state.x, site)
            new = ChainState(x, *value_and_slope(energy, x))
            back = _log_sites(new).gather(1, site[:, None])[:, 0] - forward.gather(1, site[:, None])[:, 0]
            probability = acceptance(state.energy - new.energy + back)
            state = state.where(draws.uniform(state.x) < probability, new)
            total = total + probability
        return state, total / self.updates


def flipped(x: Tensor, site: Tensor) -> Tensor:
    """x with the spin number ``site`` (B,) of each chain turned around."""
    signs = torch.ones_like(x).flatten(1).scatter_(1, site[:, None], -1.0)
    return x * signs.reshape(x.shape)


def _log_sites(state: ChainState) -> Tensor:
    """ln q(i|x), (B, d)."""
    assert state.slope is not None
    return torch.log_softmax((state.x * state.slope).flatten(1), dim=1)
