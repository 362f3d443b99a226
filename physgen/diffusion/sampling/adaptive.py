r"""The probability flow by an adaptive solver of another package: steps from a tolerance instead of noise levels.

In :math:`u = -\log s` the flow is :math:`dy/du = D(y, e^{-u}) - y`, smooth over all levels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from physgen.diffusion.convention import Condition, Denoiser
from physgen.diffusion.levels import check_levels
from physgen.diffusion.sampling.solver import StepNoise

State = TypeVar("State", Tensor, tuple[Tensor, ...])


def dormand_prince(
    slope: Callable[[Tensor, State], State], state: State, clock: tuple[float, float], rtol: float, atol: float
) -> State:
    """The state at ``clock[1]`` of dstate/du = slope(u, state) from ``clock[0]`` on, by torchdiffeq's Dormand-Prince
    5(4).

    Args:
        slope: u is a float64 tensor (). state: a tensor, or a tuple of them.
        rtol, atol: the estimated local error stays below atol + rtol |state| in the root mean square over all values.

    Source: Dormand and Prince, J. Comp. Appl. Math. 6 (1980), 19.
    """
    from torchdiffeq import odeint  # the core imports without it

    device = state.device if isinstance(state, Tensor) else state[0].device
    ends = torch.tensor(clock, dtype=torch.float64, device=device)
    options = {"dtype": torch.float64}
    solution = odeint(slope, state, ends, rtol=rtol, atol=atol, method="dopri5", options=options)
    return solution[-1] if isinstance(state, Tensor) else tuple(part[-1] for part in solution)


@dataclass(frozen=True)
class AdaptiveFlow:
    r"""Dormand-Prince 5(4) of torchdiffeq from the first level to the last one above 0, then :math:`x_0 = D`.

    Order 5, the steps chosen so that the estimated local error stays below atol + rtol |y|, in the root mean square
    over the samples of a tile. So a sample depends on the others of its tile, within that tolerance; no other solver
    here has this. The levels between the two ends are ignored. Deterministic; the number of evaluations is not known
    beforehand (about 140 at a tolerance of 1e-5).

    Args:
        rtol, atol: tolerances, relative and in units of y.

    Raises:
        ValueError: a tolerance is not positive.

    Source: Song et al., arXiv:2011.13456, section 4.3.
    """

    rtol: float = 1e-5
    atol: float = 1e-5

    def __post_init__(self) -> None:
        if not (self.rtol > 0 and self.atol > 0):
            raise ValueError(
                f"tolerances must be positive, got rtol = {self.rtol} and atol = {self.atol}; 1e-5 is the default"
            )

    def __call__(
        self, denoiser: Denoiser, levels: Tensor, y: Tensor, condition: Condition = None, noise: StepNoise | None = None
    ) -> Tensor:
        """y at the last level; arguments of :class:`physgen.diffusion.sampling.solver.Sampler`, ``noise`` unused."""
        values = check_levels(levels)
        above = [s for s in values if s > 0]

        def evaluate(y: Tensor, s: Tensor | float) -> Tensor:
            level = torch.as_tensor(s, dtype=y.dtype, device=y.device)
            return denoiser(y, level.expand(y.shape[0]), condition)

        def slope(u: Tensor, y: Tensor) -> Tensor:
            return evaluate(y, torch.exp(-u)) - y

        if len(above) > 1:
            first, last = (-torch.tensor([above[0], above[-1]], dtype=torch.float64).log()).tolist()
            y = dormand_prince(slope, y, (first, last), self.rtol, self.atol)
        return evaluate(y, above[-1]) if values[-1] == 0 else y
