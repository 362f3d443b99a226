r"""Energies: :math:`p(x) = e^{-E(x)}/Z` of a network, of the law that an annealing starts from, and between both.

An energy is any callable E(x) -> (B,) of x (B, C, \*grid), in nats, known up to a constant.

Shapes: B batch, C channels, \*grid lattice, d = C x grid values.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from physgen.diffusion.convention import Condition, like
from physgen.diffusion.energy.draws import ChainDraws

Energy = Callable[[Tensor], Tensor]
LOG_2PI = math.log(2 * math.pi)


def value_and_slope(energy: Energy, x: Tensor) -> tuple[Tensor, Tensor]:
    r"""E (B,) and :math:`\nabla E` (B, C, \*grid) at x, without a graph."""
    with torch.enable_grad():
        point = x.detach().requires_grad_()
        value = energy(point)
        (slope,) = torch.autograd.grad(value.sum(), point)
    return value.detach(), slope


def value(energy: Energy, x: Tensor) -> Tensor:
    """E (B,) at x, without a graph."""
    with torch.no_grad():
        return energy(x)


class EnergyAtLevel(nn.Module):
    r"""The energy :math:`E(y, s)` of a denoiser that has one, at one noise level s.

    Args:
        denoiser: module with ``energy(y, s, condition)`` -> (B,), such as
            :class:`physgen.diffusion.learning.denoisers.EnergyDenoiser`.
        level: s > 0.
    """

    def __init__(self, denoiser: nn.Module, level: float) -> None:
        super().__init__()
        if not hasattr(denoiser, "energy"):
            raise ValueError(f"{type(denoiser).__name__} has no energy(y, s, condition): take a head that is an energy")
        if not level > 0:
            raise ValueError(f"an energy has a noise level above 0, got {level}; of values +-1 any will do, such as 1")
        self.denoiser, self.level = denoiser, level

    def forward(self, y: Tensor, condition: Condition = None) -> Tensor:
        """E(y, s), (B,)."""
        s = torch.full((len(y),), self.level, device=y.device, dtype=y.dtype)
        found: Tensor = self.denoiser.energy(y, s, condition)  # type: ignore[operator]
        return found


class StartLaw(Protocol):
    """A law with known normalisation: its energy is minus the logarithm of its density."""

    shape: tuple[int, ...]

    def __call__(self, x: Tensor) -> Tensor: ...

    def sample(self, count: int, draws: ChainDraws) -> Tensor: ...


@dataclass(frozen=True)
class GaussianStart:
    r"""White Gaussian noise: :math:`E_0 = |x|^2/2\sigma^2 + \frac d2 \ln 2\pi\sigma^2`.

    Args:
        shape: (C, \*grid). scale: sigma > 0.
    """

    shape: tuple[int, ...]
    scale: float = 1.0

    def __call__(self, x: Tensor) -> Tensor:
        """E_0 (B,)."""
        size = math.prod(self.shape)
        return 0.5 * (x / self.scale).square().flatten(1).sum(1) + size * (0.5 * LOG_2PI + math.log(self.scale))

    def sample(self, count: int, draws: ChainDraws) -> Tensor:
        r"""Independent draws (count, C, \*grid)."""
        return self.scale * draws.normal(torch.empty(count, *self.shape))


@dataclass(frozen=True, eq=False)
class SpinStart:
    r"""Independent spins +-1 in fields h: :math:`E_0 = \sum_i \ln 2\cosh h_i - h_i x_i`.

    Args:
        shape: (C, \*grid). field: h of that shape, None for 0.
    """

    shape: tuple[int, ...]
    field: Tensor | None = None

    def __call__(self, x: Tensor) -> Tensor:
        """E_0 (B,)."""
        field = self._field(x)
        normalisation = torch.logaddexp(field, -field).sum()
        return normalisation - (field * x).flatten(1).sum(1)

    def sample(self, count: int, draws: ChainDraws) -> Tensor:
        r"""Independent draws (count, C, \*grid)."""
        u = torch.special.ndtr(draws.normal(torch.empty(count, *self.shape)))
        return torch.where(u < torch.sigmoid(2 * self._field(u)), 1.0, -1.0).to(u)

    def _field(self, x: Tensor) -> Tensor:
        return torch.zeros(self.shape).to(x) if self.field is None else self.field.to(x)


def bridge(start: Energy, end: Energy, fraction: float) -> Energy:
    r"""The energy :math:`(1 - b) E_0 + b E` of a path from one law to another; b in [0, 1]."""
    return lambda x: (1 - fraction) * start(x) + fraction * end(x)


def of_condition(energy: Callable[..., Tensor], condition: Condition) -> Energy:
    """The energy E(x) of an energy E(x, condition)."""
    return lambda x: energy(x, condition)


def spread(size: Tensor | float, x: Tensor) -> Tensor:
    """A number for each chain (B,), or one for all, so that it broadcasts against x."""
    return like(torch.as_tensor(size, dtype=x.dtype, device=x.device), x)
