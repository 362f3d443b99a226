r"""The probability flow by an adaptive solver of another package: steps from a tolerance instead of a grid.

In :math:`u = -\log s` the flow is :math:`dy/du = D(y, e^{-u}) - y`, smooth over all levels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from physgen.diffusion.convention import Condition, Denoiser
from physgen.diffusion.levels import check_levels
from physgen.diffusion.sampling.solver import StepNoise


@dataclass(frozen=True)
class AdaptiveFlow:
    r"""Dormand-Prince 5(4) of torchdiffeq from the first level to the last one above 0, then :math:`x_0 = D`.

    Order 5, the steps chosen so that the estimated local error stays below atol + rtol |y|, in the root mean square
    over the block of samples. So a sample depends on the others of its block, within that tolerance; no other solver
    here has this. The levels between the two ends are ignored. Deterministic; the number of evaluations is not known
    beforehand (about 140 at a tolerance of 1e-5).

    Args:
        rtol, atol: tolerances, relative and in units of y.

    Raises:
        ValueError: torchdiffeq is not installed, or a tolerance is not positive.

    Source: Dormand and Prince, J. Comp. Appl. Math. 6 (1980), 19; Song et al., arXiv:2011.13456, section 4.3.
    """

    rtol: float = 1e-5
    atol: float = 1e-5

    def __post_init__(self) -> None:
        if not (self.rtol > 0 and self.atol > 0):
            raise ValueError(f"tolerances must be positive, got rtol = {self.rtol} and atol = {self.atol}")

    def __call__(
        self, denoiser: Denoiser, levels: Tensor, y: Tensor, condition: Condition = None, noise: StepNoise | None = None
    ) -> Tensor:
        try:
            from torchdiffeq import odeint
        except ImportError as missing:
            message = "the adaptive solver is torchdiffeq's: pip install torchdiffeq, or use a sampler on a grid"
            raise ValueError(message) from missing
        values = check_levels(levels)
        above = [s for s in values if s > 0]

        def evaluate(y: Tensor, s: Tensor | float) -> Tensor:
            level = torch.as_tensor(s, dtype=y.dtype, device=y.device)
            return denoiser(y, level.expand(y.shape[0]), condition)

        def slope(u: Tensor, y: Tensor) -> Tensor:
            return evaluate(y, torch.exp(-u)) - y

        if len(above) > 1:
            ends = -torch.tensor([above[0], above[-1]], dtype=torch.float64, device=y.device).log()
            options = {"dtype": torch.float64}
            y = odeint(slope, y, ends, rtol=self.rtol, atol=self.atol, method="dopri5", options=options)[-1]
        return evaluate(y, above[-1]) if values[-1] == 0 else y
