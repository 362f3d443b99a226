r"""Curie-Weiss ferromagnet at any N: a mixture of independent spins over one number.

:math:`e^{\beta M^2/2N} = \sqrt{N/2\pi\beta} \int dz\, e^{-N z^2/2\beta + zM}`, so given z the spins are independent in
the fields z + h. The integrand is a sum of Gaussians of variance beta/N with positive weights, for which the
trapezoidal rule of spacing w/1.5 is exact to :math:`2 e^{-2 \pi^2 1.5^2} < 10^{-18}`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from physgen.diffusion.exact.spins import SpinLaw, draw_spins, log_cosh

NODES_PER_WIDTH = 1.5
TAIL = 9.0  # widths beyond the outermost Gaussian, e^-40
BLOCK = 2**22


@dataclass(frozen=True, eq=False)
class CurieWeiss(SpinLaw):
    r"""Weights :math:`e^{-\beta H}, H = -M^2/2N - \sum_i h_i S_i, M = \sum_i S_i`; critical at beta = 1.

    Args:
        beta: inverse temperature in the units of the coupling, > 0.
        shape: (C, \*grid) with N sites.
        external_field: h (N,), None is no field.
    """

    beta: float
    shape: tuple[int, ...]
    external_field: Tensor | None = None

    def __post_init__(self) -> None:
        if not self.beta > 0:
            raise ValueError(f"beta must be positive, got {self.beta}")
        if self.external_field is not None and self.external_field.shape != (self.sites,):
            raise ValueError(f"external_field must be ({self.sites},), got {tuple(self.external_field.shape)}")

    @property
    def sites(self) -> int:
        return math.prod(self.shape)

    @cached_property
    def _nodes(self) -> tuple[Tensor, Tensor]:
        """Nodes z and logarithms of their weights, (K,)."""
        width = math.sqrt(self.beta / self.sites)
        reach, spacing = self.beta + TAIL * width, width / NODES_PER_WIDTH
        half = math.ceil(reach / spacing)
        z = spacing * torch.arange(-half, half + 1, dtype=torch.float64)
        return z, -0.5 * (z / width) ** 2 + math.log(spacing / (width * math.sqrt(2 * math.pi)))

    def _log_joint(self, field: Tensor) -> Tensor:
        """log weight (B, K) of node and field."""
        z, log_weight = (value.to(field.device) for value in self._nodes)
        local = self._local(field)
        return torch.cat([(log_weight + log_cosh(part[:, None] + z[:, None]).sum(2)) for part in self._parts(local)])

    def _local(self, field: Tensor) -> Tensor:
        return field if self.external_field is None else field + self.beta * self.external_field.to(field)

    def _parts(self, field: Tensor) -> tuple[Tensor, ...]:
        return field.split(max(1, BLOCK // (field.shape[1] * len(self._nodes[0]))))

    def log_partition(self, field: Tensor) -> Tensor:
        return torch.logsumexp(self._log_joint(field), dim=1)

    def magnetisation(self, field: Tensor) -> Tensor:
        z, probability = self._nodes[0].to(field.device), torch.softmax(self._log_joint(field), dim=1)
        parts = self._parts(self._local(field))
        weights = probability.split([len(part) for part in parts])
        means = [
            torch.einsum("bk,bkn->bn", weight, torch.tanh(part[:, None] + z[:, None]))
            for weight, part in zip(weights, parts, strict=True)
        ]
        return torch.cat(means)

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        zero = torch.zeros(1, self.sites, dtype=torch.float64, device=generator.device)
        probability = torch.softmax(self._log_joint(zero)[0], dim=0)
        node = torch.multinomial(probability, n, replacement=True, generator=generator)
        fields = self._local(zero) + self._nodes[0].to(zero.device)[node][:, None]
        return draw_spins(fields, generator).reshape(n, *self.shape).float()
