r"""Independent sites in any smooth confining potential, by quadrature; one-site phi^4 is the case of interest.

The posterior of :math:`x_0` given y has the exponent :math:`-S(x_0) - (y - x_0)^2/2s^2`. Its support, down to
:math:`e^{-45}` of its peak, is bracketed on coarse nodes and integrated by the trapezoidal rule, which converges
faster than any power for smooth functions that vanish at both ends.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from physgen.diffusion.convention import Condition, like
from physgen.diffusion.exact.law import LOG_2PI, ExactLaw

DEPTH = 45.0  # e^-45 of the peak is left out
COARSE, FINE = 97, 193
TABLE = 2**16 + 1


@dataclass(frozen=True, eq=False)
class SiteLaw(ExactLaw):
    r"""Independent sites, each with the density :math:`e^{-S(x_0)}/Z_1`.

    Args:
        action: S, elementwise on float64 tensors, smooth, growing at least linearly.
        reach: the weight :math:`e^{-S}` beyond +-reach is negligible.
        shape: (C, \*grid) of one configuration.
    """

    action: Callable[[Tensor], Tensor]
    reach: float
    shape: tuple[int, ...] = (1, 1)

    def __call__(self, y: Tensor, s: Tensor, condition: Condition = None) -> Tensor:
        nodes, log_joint = self._posterior(y, s)
        return (torch.softmax(log_joint, dim=-1) * nodes).sum(-1).to(y.dtype)

    def log_density(self, y: Tensor, s: Tensor) -> Tensor:
        nodes, log_joint = self._posterior(y, s)
        spacing = nodes[..., 1] - nodes[..., 0]
        log_p = torch.logsumexp(log_joint, dim=-1) + torch.log(spacing) - self.log_Z - 0.5 * LOG_2PI
        return (log_p - torch.log(like(s.double(), log_p))).flatten(1).sum(1).to(y.dtype)

    @property
    def log_Z(self) -> float:
        r""":math:`\log Z_1 = \log \int dx_0\, e^{-S}` of one site."""
        nodes, logs = self._table
        return float(torch.logsumexp(logs, 0) + torch.log(nodes[1] - nodes[0]))

    @cached_property
    def _table(self) -> tuple[Tensor, Tensor]:
        nodes = torch.linspace(-self.reach, self.reach, TABLE, dtype=torch.float64)
        return nodes, -self.action(nodes)

    def moment(self, power: int) -> float:
        r""":math:`\langle x_0^n \rangle` of one site."""
        nodes, logs = self._table
        return float((torch.softmax(logs, 0) * nodes**power).sum())

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """By the inverse of the distribution function, tabulated on 2^16 cells and linear within."""
        nodes, logs = (value.to(generator.device) for value in self._table)
        weight = torch.exp(logs - logs.max())
        rise = torch.cat([weight.new_zeros(1), (0.5 * (weight[1:] + weight[:-1])).cumsum(0)])
        uniform = torch.rand((n, *self.shape), generator=generator, device=generator.device, dtype=torch.float64)
        target = uniform * rise[-1]
        cell = torch.searchsorted(rise, target, right=True).clamp(1, TABLE - 1)
        part = (target - rise[cell - 1]) / (rise[cell] - rise[cell - 1])
        return nodes[cell - 1] + part * (nodes[1] - nodes[0])

    def _posterior(self, y: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
        r"""Nodes (B, C, \*grid, K), uniform for each site, and the exponents of the posterior on them."""
        wide = y.double()[..., None]
        level = like(s.double(), wide)

        def exponent(x0: Tensor) -> Tensor:
            return -self.action(x0) - 0.5 * ((wide - x0) / level) ** 2

        with torch.no_grad():
            ramp = torch.linspace(-1, 1, COARSE, dtype=torch.float64, device=y.device)
            span = torch.maximum(wide.abs(), torch.full_like(wide, self.reach))
            near = wide + 10 * level * ramp  # a narrow noise peak, which the wide nodes would step over
            coarse = torch.cat([span * ramp, near], dim=-1).sort(dim=-1).values
            logs = exponent(coarse)
            inside = logs > logs.amax(dim=-1, keepdim=True) - DEPTH
            first = inside.int().argmax(dim=-1, keepdim=True)
            last = coarse.shape[-1] - 1 - inside.flip(-1).int().argmax(dim=-1, keepdim=True)
            low = coarse.gather(-1, (first - 1).clamp(min=0))
            high = coarse.gather(-1, (last + 1).clamp(max=coarse.shape[-1] - 1))
            nodes = low + (high - low) * torch.linspace(0, 1, FINE, dtype=torch.float64, device=y.device)
        return nodes, exponent(nodes)


def phi4_site(quartic: float, quadratic: float | None = None, shape: tuple[int, ...] = (1, 1)) -> SiteLaw:
    r"""One-site phi^4: :math:`S = a \varphi^2 + \lambda \varphi^4` (``quadratic``, ``quartic``).

    The default a = 1 - 2 lambda is the lattice action's at vanishing hopping; a < 0 has two wells at
    :math:`\pm\sqrt{-a/2\lambda}`.
    """
    if not quartic > 0:
        raise ValueError(f"the quartic coupling must be positive, got {quartic}")
    a = 1 - 2 * quartic if quadratic is None else quadratic
    # S - S_min > 60 beyond: lambda u^2 - |a| u > 60 in u = phi^2, a shift by a^2/4 lambda included
    u = (abs(a) + (a * a + 4 * quartic * (60 + a * a / (4 * quartic))) ** 0.5) / (2 * quartic)
    return SiteLaw(lambda x: a * x**2 + quartic * x**4, u**0.5, shape)
