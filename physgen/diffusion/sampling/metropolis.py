r"""Metropolis-adjusted Langevin steps along the noise levels, for denoisers whose :math:`\ln p_s(y)` is known.

Shapes: B batch, C channels, \*grid lattice; y (B, C, \*grid), s (B,).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from physgen.diffusion.convention import Condition, Denoiser, bridge_draw
from physgen.diffusion.energy.chains import ADAPTATION
from physgen.diffusion.energy.draws import SolverDraws
from physgen.diffusion.energy.moves import Langevin
from physgen.diffusion.levels import check_levels
from physgen.errors import InputError

Seen = Callable[[float, Tensor], None]
EnergyOfLevel = Callable[[Tensor, Tensor, Condition], Tensor]
FIRST_SIZE = 0.5  # of a Langevin step, in units of s^2
SENSIBLE = (0.3, 0.9)  # acceptances between which Langevin steps mix; .574 is the best in many dimensions


class Acceptance:
    """What part of the proposals was accepted, once the sizes of the steps are fixed: told of every step, by levels."""

    def __init__(self) -> None:
        self._of_level: dict[float, list[float]] = {}

    def __call__(self, s: float, probability: Tensor) -> None:
        """One step at level s, with the acceptance probability of each sample (B,)."""
        self._of_level.setdefault(s, []).append(float(probability.mean()))

    def facts(self) -> dict[str, float]:
        """``mala_acceptance``, mean over levels, with ``_least`` and ``_largest`` of one; empty if none was seen."""
        means = [sum(values) / len(values) for values in self._of_level.values()]
        if not means:
            return {}
        found = {
            "mala_acceptance": sum(means) / len(means),
            "mala_acceptance_least": min(means),
            "mala_acceptance_largest": max(means),
        }
        return {name: round(value, 4) for name, value in found.items()}


@dataclass(frozen=True)
class AnnealedMetropolis:
    r"""A step of :data:`physgen.diffusion.sampling.stochastic.ancestral` to the next level, then Langevin steps there,
    accepted exactly for its law :math:`e^{-E(y, s)}`; D at the last level above 0.

    A model of the score alone could take these steps only unadjusted, with a bias that no number of them removes. With
    an energy the law at every level is that of the model, once the steps have mixed, whatever came before; so the order
    in the levels is that of the mixing, and what is left is the error of the energy. The step size of each sample, in
    units of s^2, follows its own acceptance in the first half of the steps of a level and is fixed in the second, from
    where it is taken to the next level: the kernel of the second half is exact, and a sample depends on itself alone.

    Args:
        inner: Langevin steps at each level, one gradient of E each. move: with the acceptance that is aimed at.
        seen: called as seen(s, acceptance probability (B,)) after each step of fixed size, such as an
            :class:`Acceptance`; None for nobody.

    Raises:
        InputError: a denoiser without ``energy(y, s, condition)`` or ``log_density(y, s)``.
    """

    inner: int = 20
    move: Langevin = Langevin()
    seen: Seen | None = None

    def __post_init__(self) -> None:
        if self.inner < 2:
            raise ValueError(
                f"at each level there are steps that adapt and steps that do not: inner >= 2, got {self.inner}"
            )

    @property
    def __name__(self) -> str:
        return "mala"

    def of(self, denoiser: Denoiser) -> BoundMetropolis:
        """The sampler with the energy of one denoiser."""
        return BoundMetropolis(energy_of(denoiser), self.inner, self.move, self.seen)

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
class BoundMetropolis:
    """:class:`AnnealedMetropolis` of an energy, a :class:`physgen.diffusion.sampling.solver.Sampler`."""

    energy: EnergyOfLevel
    inner: int
    move: Langevin
    seen: Seen | None = None

    def __call__(
        self,
        denoiser: Denoiser,
        levels: Tensor,
        y: Tensor,
        condition: Condition = None,
        noise: Callable[[int], Tensor] | None = None,
    ) -> Tensor:
        draws = SolverDraws(_missing if noise is None else noise)
        size = torch.full((len(y),), FIRST_SIZE, dtype=y.dtype, device=y.device)
        for s, s_next in pairwise(check_levels(levels)):
            denoised = denoiser(y, torch.full((len(y),), s, dtype=y.dtype, device=y.device), condition)
            if s_next == 0:
                return denoised
            y, size = self._relaxed(
                bridge_draw(y, denoised, s, s_next, draws.normal(y)), s_next, size, condition, draws
            )
        return y

    def _relaxed(
        self, y: Tensor, s: float, size: Tensor, condition: Condition, draws: SolverDraws
    ) -> tuple[Tensor, Tensor]:
        """y after the steps of one level, and the sizes (B,) in units of s^2."""
        level = torch.full((len(y),), s, dtype=y.dtype, device=y.device)

        def energy(at: Tensor) -> Tensor:
            return self.energy(at, level, condition)

        state, target = self.move.start(energy, y), self.move.target or 0.0
        for step in range(self.inner):
            state, probability = self.move(energy, state, size * s**2, draws)
            if step < self.inner // 2 and self.move.target is not None:
                size = size * torch.exp((probability - target) * (step + 1) ** -ADAPTATION)
            elif self.seen is not None:
                self.seen(s, probability)
        return state.x, size


def energy_of(denoiser: Denoiser) -> EnergyOfLevel:
    r"""E(y, s, condition) -> (B,) of a denoiser: its own, or :math:`-\ln p_s(y)` of an exact law. InputError if it has
    none."""
    own = getattr(denoiser, "energy", None)
    if own is not None:
        return lambda y, s, condition: own(y, s, condition)
    density = getattr(denoiser, "log_density", None)
    if density is None:
        raise InputError(
            f"the sampler 'mala' accepts by the energy of the model, and {type(denoiser).__name__} has a score alone: "
            "train with an energy head, or take another sampler, such as predictor_corrector"
        )
    return lambda y, s, condition: -density(y, s)


def _missing(number: int) -> Tensor:
    raise ValueError(f"mala is stochastic: pass noise(i), standard normal like y, {number} and on")
