r"""The one convention: :math:`y = x_0 + s z` with z standard normal, and a denoiser :math:`D(y, s) = E[x_0 | y]`.

**The way down from s to s' < s.** Given :math:`x_0`, the noisy field is a Brownian bridge in the clock s^2:

.. math:: q(y'|y, x_0) = N\big((1 - \rho)\, y + \rho\, x_0,\; s'^2 \rho\big), \qquad \rho = 1 - s'^2/s^2 .

Source: Ho, Jain, Abbeel, arXiv:2006.11239, eqs. 6 and 7, in (y, s).

Shapes: B batch, C channels, \*grid lattice; y (B, C, \*grid), s (B,). A :data:`Level` is one number for the batch, or
a tensor that broadcasts against y.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Protocol, TypeVar

import torch
from torch import Tensor

Condition = Mapping[str, Tensor] | None
Level = float | Tensor
AnyLevel = TypeVar("AnyLevel", float, Tensor, Level)


class Denoiser(Protocol):
    r"""Any callable D(y, s, condition) -> E[x0 | y], shape of y; the condition's tensors lead with B."""

    def __call__(self, y: Tensor, s: Tensor, condition: Condition = None, /) -> Tensor: ...


def in_dtype(condition: Condition, dtype: torch.dtype) -> Condition:
    """The condition with its floating tensors in one dtype."""
    if condition is None:
        return None
    return {name: value.to(dtype) if value.is_floating_point() else value for name, value in condition.items()}


def like(s: Tensor, x: Tensor) -> Tensor:
    """s of shape (B,) or () with singleton dims appended, so that it broadcasts against x of shape (B, ...)."""
    return s.reshape(s.shape + (1,) * (x.ndim - s.ndim))


def local_field(y: Tensor, s: Tensor, condition: Condition = None) -> Tensor:
    r"""y/s^2 and, where the condition has one, ``field`` (B, C, \*grid): the whole logit of free values +-1."""
    seen, field = y / like(s, y).square(), (condition or {}).get("field")
    return seen if field is None else seen + field.reshape(seen.shape)


def turned(condition: Condition) -> Condition:
    """The condition of all values +-1 turned around: ``field`` changes its sign."""
    if condition is None or "field" not in condition:
        return condition
    return {**condition, "field": -condition["field"]}


def log(level: Level) -> Level:
    """Natural logarithm of a level."""
    return torch.log(level) if isinstance(level, Tensor) else math.log(level)


def sqrt(level: Level) -> Level:
    """Square root of a number made of levels."""
    return torch.sqrt(level) if isinstance(level, Tensor) else math.sqrt(level)


def elapsed(s: AnyLevel, s_next: AnyLevel) -> AnyLevel:
    """s^2 - s_next^2 without cancellation: the variance that noise gains from s_next to s, the time of the SDE."""
    return (s - s_next) * (s + s_next)


def rho(s: AnyLevel, s_next: AnyLevel) -> AnyLevel:
    r""":math:`\rho = 1 - s'^2/s^2` without cancellation: 0 for no step, 1 for the step to :math:`s' = 0`."""
    return elapsed(s, s_next) / (s * s)


def bridge_mean(y: Tensor, x0: Tensor, s: Level, s_next: Level) -> Tensor:
    r"""Mean :math:`(1 - \rho) y + \rho x_0` of :math:`q(y'|y, x_0)`, shape of y."""
    fraction = rho(s, s_next)
    return y * (1 - fraction) + x0 * fraction


def bridge_variance(s: float, s_next: float) -> float:
    r"""Variance :math:`s'^2 \rho` of :math:`q(y'|y, x_0)`."""
    return s_next * s_next * rho(s, s_next)


def bridge_draw(y: Tensor, x0: Tensor, s: Level, s_next: Level, noise: Tensor) -> Tensor:
    r"""A draw of y' from :math:`q(y'|y, x_0)`, from standard normal noise like y."""
    return bridge_mean(y, x0, s, s_next) + noise * (s_next * sqrt(rho(s, s_next)))
