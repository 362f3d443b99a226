r"""A reverse kernel for :math:`\pm1` that knows what neighbours have in common: two sublattices, one after the other.

With :math:`h = y/s^2` and :math:`\Delta = 1/s'^2 - 1/s^2` a step adds :math:`\delta_i = \Delta x_i + \sqrt\Delta z_i`,
and :class:`physgen.diffusion.inference.reverse_kernels.SpinMixture` draws all of them given the means m alone, as if
the :math:`x_i` were independent given y. What it misses grows with :math:`\sum_{i \ne j} C_{ij}^2`, most of which
nearest neighbours hold. Here the sites of one colour of a chequerboard are drawn first, in the same way, and then the
others with the mean that they have once the increments of their neighbours are known,

.. math:: \mathrm{atanh}\,m_i' = \mathrm{atanh}\,m_i + \sum_{j \in \partial i}
          \bigl[u(c_j + \delta_j) - u(c_j)\bigr], \qquad u(c) = \mathrm{atanh}(\tanh K_{ij} \tanh c),

where :math:`c_j` is the field of j without i in the law :math:`\propto e^{K_{ij} x_i x_j + c_i x_i + c_j x_j}` of the
means :math:`m_i, m_j`, in closed form: belief propagation, exact where the bonds have no loop. At the read-out
:math:`\delta_j \to \pm\infty`, so that :math:`u = K_{ij} x_j`. No evaluation more, and a density as before: paths
keep exact weights whatever the means are. Bonds within one colour (an odd length, periodic) are not used.

In a field, the entry ``field`` of the condition, paths do not begin at mean 0: :math:`|x_0|^2` is the same for all
values, so that :math:`D(0, s)` is the mean of the law itself at any s, and they begin from it. Beginning at 0 would
cost :math:`\sum_i m_i^2 / 2 s^2` nats.

Measured with the exact denoiser of 2-D glasses at T = 1, 32 levels: path divergence .0039(3) nats a site against
.0094(7) of independent sites.

Shapes: B samples, \*grid lattice of dimension d, D = 2d directions (+dim, -dim for each space dim in order).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from physgen.diffusion.convention import Condition
from physgen.diffusion.exact.law import LOG_2PI
from physgen.diffusion.inference.reverse_kernels import PathKernel, SpinMixture, magnetisation
from physgen.diffusion.inference.sublattices import TwoSublattices, even_sites
from physgen.lattice import neighbour

STRONGEST = 100.0  # of |K|: exp(4 K) stays finite
RAREST = 1e-14  # probability of a pair of values, so that its logarithm is finite


@dataclass(frozen=True)
class PairedMixture(TwoSublattices):
    r"""Values :math:`\pm1` whose neighbours are joined by known bonds K.

    Args:
        entry, bonds: of :class:`physgen.diffusion.inference.sublattices.TwoSublattices`.
        field: (B, 1, \*grid) of the condition, or None. origin: means (B, 1, \*grid) that paths begin from, None for 0.
    """

    field: Tensor | None = None
    origin: Tensor | None = None

    def given(self, condition: Condition) -> PathKernel:
        """With the bonds of a condition; independent sites where it has none on a lattice."""
        bonds, field = (condition or {}).get(self.entry), (condition or {}).get("field")
        if bonds is None:
            return SpinMixture().given(condition)
        return replace(self, bonds=bonds.double().clamp(-STRONGEST, STRONGEST), field=field)

    def started(self, denoise: Callable[[Tensor, float], Tensor], s: float) -> PathKernel:
        """In a field, with the means D(0, s) as the origin."""
        if self.field is None:
            return self
        return replace(self, origin=magnetisation(denoise(torch.zeros_like(self.field, dtype=torch.float64), s)))

    def covariance_times(self, mean: Tensor, v: Tensor) -> Tensor:
        r"""What the kernel takes for C times v: :math:`(1 - m_i^2) v_i`, and of pairs of different colour their law's.

        Args:
            mean: m (B, 1, \*grid). v: the same shape.
        """
        bonds, first = self._bonds, even_sites(mean)
        known = (1 - mean.square()) * v
        for direction, strength in enumerate(bonds.unbind(1)):
            across = first != _neighbour(first, direction)
            other = _neighbour(mean, direction)
            shared = _pair_correlation(mean, other, strength[:, None]) - mean * other
            known = known + torch.where(across, shared * _neighbour(v, direction), 0.0)
        return known

    def _origin(self, like: Tensor) -> Tensor:
        return torch.zeros_like(like) if self.origin is None else self.origin.to(like)

    def _laws(self, denoised: Tensor) -> Tensor:
        return magnetisation(denoised)

    def _values(self, laws: Tensor, uniform: Tensor) -> Tensor:
        return torch.where(uniform < 0.5 * (1 + laws), 1.0, -1.0).to(laws)

    def _log_density_of(self, laws: Tensor, added: Tensor, step: float | None) -> Tensor:
        if step is None:
            return torch.log(0.5 * (1 + added * laws)).flatten(1).sum(1)
        even = -0.5 * (added.square() / step + step + math.log(step) + LOG_2PI)
        tilt = _log_cosh(added) + torch.log1p(laws * torch.tanh(added))
        return (even + tilt).flatten(1).sum(1)

    def _updated(self, laws: Tensor, added: Tensor, step: float | None, first: Tensor) -> Tensor:
        """Means of the other colour once the increments of the first one are known; as they were at the first one."""
        mean, shift = laws, torch.zeros_like(laws)
        for direction, strength in enumerate(self._bonds.unbind(1)):
            bond, other = strength[:, None], _neighbour(mean, direction)
            field = _field_without(mean, other, bond)
            seen = _neighbour(added, direction)
            sent = bond * seen if step is None else _message(bond, field + seen)
            joined = _neighbour(first, direction) & ~first
            shift = shift + torch.where(joined, sent - _message(bond, field), 0.0)
        return magnetisation(torch.tanh(torch.atanh(mean) + shift))


def _neighbour(x: Tensor, direction: int) -> Tensor:
    return neighbour(x, direction, x.ndim - 2)


def _pair_correlation(mean: Tensor, other: Tensor, bond: Tensor) -> Tensor:
    r""":math:`\langle x_i x_j \rangle` of two values with these means and the bond K between them.

    The root of :math:`(1 + q)^2 - (m_i + m_j)^2 = e^{4K} [(1 - q)^2 - (m_i - m_j)^2]` in [-1, 1].
    """
    odds = torch.exp(4 * bond)
    linear = 2 * (1 + odds)
    constant = 1 - (mean + other).square() - odds * (1 - (mean - other).square())
    root = (linear.square() - 4 * (1 - odds) * constant).clamp(min=0).sqrt()
    return -2 * constant / (linear + root)


def _field_without(mean: Tensor, other: Tensor, bond: Tensor) -> Tensor:
    """The field of the second of two values in their law, without what the first one sends."""
    both = _pair_correlation(mean, other, bond)
    up = ((1 + mean + other + both) * (1 - mean + other - both)).clamp(min=RAREST)
    down = ((1 + mean - other - both) * (1 - mean - other + both)).clamp(min=RAREST)
    return 0.25 * torch.log(up / down)


def _message(bond: Tensor, field: Tensor) -> Tensor:
    r""":math:`\mathrm{atanh}(\tanh K \tanh c) = \tfrac12 [\ln\cosh(K + c) - \ln\cosh(K - c)]`, all digits kept."""
    return 0.5 * (_log_cosh(bond + field) - _log_cosh(bond - field))


def _log_cosh(x: Tensor) -> Tensor:
    """ln cosh x, up to its constant ln 2 where |x| is large: without overflow."""
    size = x.abs()
    return size + torch.log1p(torch.exp(-2 * size)) - math.log(2)
