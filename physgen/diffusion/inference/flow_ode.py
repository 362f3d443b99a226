r"""The probability flow in u = log s, :math:`dy/du = y - D(y, s)`, and how it is integrated.

Shapes: B batch, C channels, \*grid lattice.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from physgen.diffusion.convention import Condition, Denoiser, in_dtype
from physgen.diffusion.sampling.adaptive import dormand_prince
from physgen.diffusion.traces import Map, for_copies


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
        self.condition = in_dtype(condition, dtype)
        self.evaluations = 0

    def velocity(self, u: float) -> Map:
        """The map y -> y - D(y, e^u), in y's dtype; y may be several copies of the batch."""

        def at(y: Tensor) -> Tensor:
            self.evaluations += 1
            s = torch.full((len(y),), math.exp(u), dtype=self.dtype, device=y.device)
            return y - self.denoiser(y.to(self.dtype), s, for_copies(self.condition, len(y))).to(y.dtype)

        return at

    def surprise(self, u: float, probes: Tensor) -> Tensor | None:
        r"""What probes v (K, B, C, \*grid) get wrong of the linear part W of the denoiser: tr W - v^T W v, (K, B).

        Taken off Hutchinson's estimate of tr D it leaves the scatter of D - W alone: none at all for a Gaussian field.
        None for a denoiser without such a part (``FieldDenoiser.linear_trace``).
        """
        denoiser: Any = self.denoiser
        if not hasattr(denoiser, "linear_trace"):
            return None
        rows = probes.flatten(0, 1).to(self.dtype)
        s = torch.full((len(rows),), math.exp(u), dtype=self.dtype, device=rows.device)
        with torch.no_grad():
            condition = for_copies(self.condition, len(rows))
            seen = (rows * denoiser.baseline(rows, s, condition)).flatten(1).sum(1)
            return (denoiser.linear_trace(rows, s, condition) - seen).to(probes.dtype).reshape(probes.shape[:2])


def stepper(flow: Flow, u: float, h: float, method: str) -> Callable[[Tensor], Tensor]:
    """The map y(u) -> y(u + h) of one step of a method of ``METHODS``."""

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
    clock: tuple[float, float],
    tolerance: float,
) -> tuple[Tensor, Tensor]:
    """y and the integral of the divergence at ``clock[1]``, by Dormand-Prince 5(4) with rtol = atol = tolerance."""

    def derivative(u: Tensor, at: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return slope(float(u), at[0])

    y, gain = dormand_prince(derivative, state, clock, tolerance, tolerance)
    return y, gain
