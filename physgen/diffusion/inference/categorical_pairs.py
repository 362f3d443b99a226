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
from typing import ClassVar

import torch
from torch import Tensor

from physgen.diffusion.convention import Condition
from physgen.diffusion.exact.law import LOG_2PI
from physgen.diffusion.inference.categorical_kernel import CategoricalMixture, drawn_kinds, probabilities
from physgen.diffusion.inference.reverse_kernels import Move, Noise, PathKernel
from physgen.lattice import neighbour

STRONGEST = 50.0  # of |K|: exp(K) and the sums of it stay finite
SCALINGS = 5  # of the rows and the columns of a pair
SMALLEST = 1e-300  # sum whose logarithm is taken


@dataclass(frozen=True)
class CategoricalPairs(PathKernel):
    r"""Values of one of q kinds whose neighbours are joined by known bonds K, the weight :math:`e^K` of equal kinds.

    Args:
        entry: of the condition, from which :meth:`given` takes the bonds.
        bonds: K (1 or B, D, \*grid); None before that.
    """

    reads_out: ClassVar[bool] = True

    entry: str = "channels"
    bonds: Tensor | None = None

    def given(self, condition: Condition) -> PathKernel:
        """With the bonds of a condition; independent sites where it has none."""
        bonds = (condition or {}).get(self.entry)
        return (
            CategoricalMixture() if bonds is None else replace(self, bonds=bonds.double().clamp(-STRONGEST, STRONGEST))
        )

    def draw(self, move: Move, noise: Noise) -> Tensor:
        step = None if move.s_next == 0 else move.s_next**-2 - move.s**-2
        drawn = self._draw(probabilities(move.denoised), step, noise)
        return drawn if step is None else move.s_next**2 * (move.y / move.s**2 + drawn)

    def log_density(self, move: Move, y_next: Tensor) -> Tensor:
        p = probabilities(move.denoised)
        if move.s_next == 0:
            return self._log_density(p, None, y_next)
        added = y_next / move.s_next**2 - move.y / move.s**2
        numbers = y_next[0].numel()
        return self._log_density(p, move.s_next**-2 - move.s**-2, added) - 2 * numbers * math.log(move.s_next)

    def start(self, noise: Noise, s: float) -> Tensor:
        """From no field at all, where all kinds are equally likely."""
        like = noise.uniform()
        return s**2 * self._draw(torch.full_like(like, 1 / like.shape[1]), s**-2, noise)

    def log_start(self, y: Tensor, s: float) -> Tensor:
        even = torch.full_like(y, 1 / y.shape[1])
        return self._log_density(even, s**-2, y / s**2) - 2 * y[0].numel() * math.log(s)

    def covariance_times(self, mean: Tensor, v: Tensor) -> Tensor:
        r"""What the kernel takes for C times v: of each site alone, and of pairs of different colour that of their law.

        Args:
            mean: probabilities (B, q, \*grid). v: the same shape.
        """
        mean = probabilities(mean)
        known, first = mean * (v - (mean * v).sum(1, keepdim=True)), _colour(mean)
        for direction, strength in enumerate(self._bonds.unbind(1)):
            excess, other, seen = (
                torch.expm1(strength)[:, None].to(mean),
                *(neighbour(x, direction, mean.ndim - 2) for x in (mean, v)),
            )
            x, y = _pair(mean, other, excess)
            shared = x * ((y * seen).sum(1, keepdim=True) + excess * y * seen) - mean * (other * seen).sum(
                1, keepdim=True
            )
            known = known + torch.where(first != neighbour(first, direction, mean.ndim - 2), shared, 0.0)
        return known

    @property
    def _bonds(self) -> Tensor:
        if self.bonds is None:
            raise ValueError("the kernel has no bonds yet: give it the condition of its samples, .given(condition)")
        return self.bonds

    def _draw(self, p: Tensor, step: float | None, noise: Noise) -> Tensor:
        r"""Increments :math:`\delta` of a step, or kinds where it is None."""
        uniform, first = noise.uniform(), _colour(p)
        white = None if step is None else noise.normal()
        early = _increments(p, step, uniform, white)
        late = _increments(self._updated(p, early, step, first), step, uniform, white)
        return torch.where(first, early, late)

    def _log_density(self, p: Tensor, step: float | None, added: Tensor) -> Tensor:
        """ln of the density (B,) of increments, of the probability of kinds where ``step`` is None."""
        first = _colour(p)
        log_p = torch.where(first, p, self._updated(p, added, step, first)).log()
        if step is None:
            return (log_p * added).flatten(1).sum(1)
        even = -0.5 * (added.square() / step + math.log(step) + LOG_2PI)
        return even.flatten(1).sum(1) + ((log_p + added).logsumexp(1) - 0.5 * step).flatten(1).sum(1)

    def _updated(self, p: Tensor, added: Tensor, step: float | None, first: Tensor) -> Tensor:
        """Probabilities of the other colour once the increments of the first one are known; of that as they were."""
        shift = torch.zeros_like(p)
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
    total = y.sum(1, keepdim=True)
    y = y / total
    return p / (1 + excess * y).clamp(min=SMALLEST), y


def _colour(x: Tensor) -> Tensor:
    r"""Where the sum of the indices is even, (B, 1, \*grid)."""
    places = torch.meshgrid(*[torch.arange(size, device=x.device) for size in x.shape[2:]], indexing="ij")
    return (torch.stack(places).sum(0) % 2 == 0).expand(len(x), 1, *x.shape[2:])


def _increments(p: Tensor, step: float | None, uniform: Tensor, white: Tensor | None) -> Tensor:
    kinds = drawn_kinds(p, uniform)
    return kinds if step is None or white is None else step * kinds + math.sqrt(step) * white
