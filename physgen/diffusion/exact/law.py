r"""The interface of every exact law.

For :math:`y = x_0 + s z` the density is :math:`p_s(y)` and the denoiser :math:`D = E[x_0|y] = y + s^2 \nabla\log
p_s(y)` (Tweedie).

Shapes: B batch, C channels, \*grid lattice; y (B, C, \*grid), s (B,) or (). A law follows y's device and dtype. It
takes no condition.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor

from physgen.diffusion.convention import Condition, like

LOG_2PI = math.log(2 * math.pi)


class ExactLaw(ABC):
    """A law of x0 with its noisy versions; callable as a denoiser."""

    @abstractmethod
    def __call__(self, y: Tensor, s: Tensor, condition: Condition = None) -> Tensor:
        r"""Denoiser :math:`D(y, s) = E[x_0 | y]`, shape of y."""

    @abstractmethod
    def log_density(self, y: Tensor, s: Tensor) -> Tensor:
        r""":math:`\log p_s(y)` over all C x grid values, natural logarithm, shape (B,)."""

    @abstractmethod
    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        r"""n independent draws of :math:`x_0`, (n, C, \*grid), drawn on the generator's device and returned on that of
        the law."""

    def score(self, y: Tensor, s: Tensor) -> Tensor:
        r""":math:`\nabla_y \log p_s(y) = (D - y)/s^2`, s > 0, shape of y."""
        return (self(y, s) - y) / like(s, y) ** 2
