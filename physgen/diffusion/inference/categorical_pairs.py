r"""A reverse kernel for one of q kinds that knows what neighbours have in common: two sublattices, one after the other.

What :class:`physgen.diffusion.inference.paired_kernel.PairedMixture` does for values +-1. With :math:`h = y/s^2` and
:math:`\Delta = 1/s'^2 - 1/s^2` a step adds :math:`\delta_i = \Delta x_i + \sqrt\Delta z_i`. The sites of one colour of
a chequerboard are drawn first, each from its own probabilities :math:`p_i = D_i`, then the others with those that they
have once the increments of their neighbours are known,

.. math:: \ln p'_i(a) = \ln p_i(a) + \sum_{j \in \partial i}
          \ln\frac{\sum_b Y_j(b)\,e^{\delta_j(b)}\,(1 + w\,\delta_{ab})}{\sum_b Y_j(b)\,(1 + w\,\delta_{ab})}
          + \mathrm{const}, \qquad w = e^{K_{ij}} - 1,

where :math:`X_i(a)\,Y_j(b)\,(1 + w\,\delta_{ab})` is the law of the pair whose margins are :math:`p_i, p_j`, found by
rescaling rows and columns in turn (Sinkhorn), a fixed number of times: what is left of the margins costs no exactness.
At the read-out :math:`\delta_j \to \infty` at the kind of j. No evaluation more, and a density as before.

Shapes: B samples, q kinds, which are the channels, \*grid lattice of dimension d, D = 2d directions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from physgen.diffusion.convention import Condition
from physgen.diffusion.exact.law import LOG_2PI
from physgen.diffusion.inference.categorical_kernel import CategoricalMixture, drawn_kinds, probabilities
from physgen.diffusion.inference.reverse_kernels import PathKernel
from physgen.diffusion.inference.sublattices import TwoSublattices, even_sites
from physgen.lattice import neighbour

STRONGEST = 50.0  # of |K|: exp(K) and the sums of it stay finite
SCALINGS = 5  # of the rows and the columns of a pair
SMALLEST = 1e-300  # sum whose logarithm is taken


@dataclass(frozen=True)
class CategoricalPairs(TwoSublattices):
    r"""Values of one of q kinds whose neighbours are joined by known bonds K, the weight :math:`e^K` of equal kinds.

    Args:
        entry, bonds: of :class:`physgen.diffusion.inference.sublattices.TwoSublattices`.
    """

    def given(self, condition: Condition) -> PathKernel:
        """With the bonds of a condition; independent sites where it has none."""
        bonds = (condition or {}).get(self.entry)
        if bonds is None:
            return CategoricalMixture()
        return replace(self, bonds=bonds.double().clamp(-STRONGEST, STRONGEST))

    def covariance_times(self, mean: Tensor, v: Tensor) -> Tensor:
        r"""What the kernel takes for C times v: of each site alone, and of pairs of different colour that of their law.

        Args:
            mean: probabilities (B, q, \*grid). v: the same shape.
        """
        mean = probabilities(mean)
        known, first = mean * (v - (mean * v).sum(1, keepdim=True)), even_sites(mean)
        for direction, strength in enumerate(self._bonds.unbind(1)):
            excess = torch.expm1(strength)[:, None].to(mean)
            other, seen, across = (neighbour(x, direction, mean.ndim - 2) for x in (mean, v, first))
            x, y = _pair(mean, other, excess)
            together = x * ((y * seen).sum(1, keepdim=True) + excess * y * seen)
            apart = mean * (other * seen).sum(1, keepdim=True)
            known = known + torch.where(first != across, together - apart, 0.0)
        return known

    def _laws(self, denoised: Tensor) -> Tensor:
        return probabilities(denoised)

    def _origin(self, like: Tensor) -> Tensor:
        """All kinds are equally likely."""
        return torch.full_like(like, 1 / like.shape[1])

    def _values(self, laws: Tensor, uniform: Tensor) -> Tensor:
        return drawn_kinds(laws, uniform)

    def _log_density_of(self, laws: Tensor, added: Tensor, step: float | None) -> Tensor:
        log_p = laws.log()
        if step is None:
            return (log_p * added).flatten(1).sum(1)
        even = -0.5 * (added.square() / step + math.log(step) + LOG_2PI)
        return even.flatten(1).sum(1) + ((log_p + added).logsumexp(1) - 0.5 * step).flatten(1).sum(1)

    def _updated(self, laws: Tensor, added: Tensor, step: float | None, first: Tensor) -> Tensor:
        """Probabilities of the other colour once the increments of the first one are known; of that as they were."""
        p, shift = laws, torch.zeros_like(laws)
        for direction, strength in enumerate(self._bonds.unbind(1)):
            excess, dimension = torch.expm1(strength)[:, None], p.ndim - 2
            _, y = _pair(p, neighbour(p, direction, dimension), excess)
            seen = neighbour(added, direction, dimension)
            if step is None:
                after = torch.log1p(excess * seen)
            else:
                tilted = y * (seen - seen.amax(1, keepdim=True)).exp()
                after = (tilted.sum(1, keepdim=True) + excess * tilted).clamp(min=SMALLEST).log()
            sent = after - (y.sum(1, keepdim=True) + excess * y).clamp(min=SMALLEST).log()
            shift = shift + torch.where(neighbour(first, direction, dimension) & ~first, sent, 0.0)
        return probabilities((p.log() + shift).softmax(1))


def _pair(p: Tensor, other: Tensor, excess: Tensor) -> tuple[Tensor, Tensor]:
    r"""X and Y with :math:`X_a Y_b (1 + w\,\delta_{ab})` of margins about p and ``other``, all like p; sum of Y = 1."""
    y = other
    for _ in range(SCALINGS):
        x = p / (y.sum(1, keepdim=True) + excess * y).clamp(min=SMALLEST)
        y = other / (x.sum(1, keepdim=True) + excess * x).clamp(min=SMALLEST)
    y = y / y.sum(1, keepdim=True)
    return p / (1 + excess * y).clamp(min=SMALLEST), y
