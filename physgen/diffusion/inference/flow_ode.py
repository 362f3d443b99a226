r"""The probability flow in u = log s, :math:`dy/du = y - D(y, s)`, and how it is integrated.

Shapes: B batch, C channels, \*grid lattice.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from physgen.diffusion.convention import Condition, Denoiser
from physgen.diffusion.traces import Map


@dataclass(frozen=True)
class Tableau:
    """An explicit Runge-Kutta method."""

    order: int
    nodes: tuple[float, ...]
    rows: tuple[tuple[float, ...], ...]
    weights: tuple[float, ...]


METHODS = {
    "euler": Tableau(1, (0.0,), ((),), (1.0,)),
    "heun": Tableau(2, (0.0, 1.0), ((), (1.0,)), (0.5, 0.5)),
    "rk4": Tableau(4, (0.0, 0.5, 0.5, 1.0), ((), (0.5,), (0.0, 0.5), (0.0, 0.0, 1.0)), (1 / 6, 1 / 3, 1 / 3, 1 / 6)),
}


class Flow:
    """The probability flow y - D(y, s) in u = log s of a denoiser with its condition, counting evaluations."""

    def __init__(self, denoiser: Denoiser, condition: Condition, dtype: torch.dtype) -> None:
        self.denoiser, self.dtype = denoiser, dtype
        self.condition = condition and {
            name: value.to(dtype) if value.is_floating_point() else value for name, value in condition.items()
        }
        self.evaluations = 0

    def velocity(self, u: float) -> Map:
        def at(y: Tensor) -> Tensor:
            self.evaluations += 1
            s = torch.full((len(y),), math.exp(u), dtype=self.dtype, device=y.device)
            return y - self.denoiser(y.to(self.dtype), s, self.condition).to(y.dtype)

        return at


def stepper(flow: Flow, u: float, h: float, method: str) -> Callable[[Tensor], Tensor]:
    def step(y: Tensor) -> Tensor:
        return runge_kutta(lambda v, x: (flow.velocity(v)(x), x.new_zeros(())), u, h, (y, y.new_zeros(())), method)[0]

    return step


def runge_kutta(
    slope: Callable[[float, Tensor], tuple[Tensor, Tensor]],
    u: float,
    h: float,
    state: tuple[Tensor, Tensor],
    method: str,
) -> tuple[Tensor, Tensor]:
    """One step of y and of the integral of the divergence, which does not act back on y."""
    tableau = METHODS[method]
    y, gain = state
    slopes: list[tuple[Tensor, Tensor]] = []
    for node, row in zip(tableau.nodes, tableau.rows, strict=True):
        moved = y + sum((h * a * k for a, (k, _) in zip(row, slopes, strict=True)), torch.zeros_like(y))
        slopes.append(slope(u + node * h, moved))
    for weight, (k, trace) in zip(tableau.weights, slopes, strict=True):
        y, gain = y + h * weight * k, gain + h * weight * trace
    return y, gain


def adaptive(
    slope: Callable[[float, Tensor], tuple[Tensor, Tensor]],
    state: tuple[Tensor, Tensor],
    clock: list[float],
    tolerance: float,
) -> tuple[Tensor, Tensor]:
    try:
        from torchdiffeq import odeint
    except ImportError as missing:
        raise ImportError('the adaptive method needs torchdiffeq: install it, or choose method="rk4"') from missing
    ends = torch.tensor([clock[0], clock[-1]], dtype=torch.float64, device=state[0].device)
    y, gain = odeint(lambda u, at: slope(float(u), at[0]), state, ends, rtol=tolerance, atol=tolerance, method="dopri5")
    return y[-1], gain[-1]
