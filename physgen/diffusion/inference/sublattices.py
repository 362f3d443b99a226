r"""Reverse kernels that draw the two colours of a chequerboard one after the other, the second knowing the first.

With :math:`h = y/s^2` and :math:`\Delta = 1/s'^2 - 1/s^2` a step adds increments
:math:`\delta_i = \Delta x_i + \sqrt\Delta z_i`. Those of one colour are drawn from what the denoised says of each site,
the others from what it says once the increments of their neighbours are known. What a site's law is, and what a
neighbour tells, is the matter of the kinds of value: ``paired_kernel.py`` for +-1, ``categorical_pairs.py`` for one
of q kinds, ``circle_pairs.py`` for angles. Paths keep exact weights whatever is told. Bonds within one colour (an odd
length, periodic) are not used.

Shapes: B samples, C channels, \*grid lattice of dimension d, D = 2d directions (+dim, -dim for each dim in order).
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from physgen.diffusion.inference.reverse_kernels import Move, Noise, PathKernel


@dataclass(frozen=True)
class TwoSublattices(PathKernel):
    r"""The way of a step; each subclass says what a site's law is, by parameters (B, C, \*grid).

    Args:
        entry: of the condition, from which ``given`` takes the bonds.
        bonds: K (1 or B, D, \*grid); None before that.
    """

    reads_out: ClassVar[bool] = True

    entry: str = "channels"
    bonds: Tensor | None = None

    @abstractmethod
    def _laws(self, denoised: Tensor) -> Tensor:
        """The parameters of all sites, from the denoised."""

    @abstractmethod
    def _origin(self, like: Tensor) -> Tensor:
        """Those that paths begin from."""

    @abstractmethod
    def _values(self, laws: Tensor, uniform: Tensor) -> Tensor:
        """Values of independent sites, by uniform numbers."""

    @abstractmethod
    def _updated(self, laws: Tensor, added: Tensor, step: float | None, first: Tensor) -> Tensor:
        """Parameters of the other colour once the increments of the first one are known; of that as they were."""

    @abstractmethod
    def _log_density_of(self, laws: Tensor, added: Tensor, step: float | None) -> Tensor:
        """ln of the density (B,) of increments of independent sites, of the probability of values."""

    def draw(self, move: Move, noise: Noise) -> Tensor:
        step = None if move.s_next == 0 else move.s_next**-2 - move.s**-2
        drawn = self._draw(self._laws(move.denoised), step, noise)
        return drawn if step is None else move.s_next**2 * (move.y / move.s**2 + drawn)

    def log_density(self, move: Move, y_next: Tensor) -> Tensor:
        laws = self._laws(move.denoised)
        if move.s_next == 0:
            return self._log_density(laws, None, y_next)
        added = y_next / move.s_next**2 - move.y / move.s**2
        numbers = math.prod(y_next.shape[1:])
        return self._log_density(laws, move.s_next**-2 - move.s**-2, added) - 2 * numbers * math.log(move.s_next)

    def start(self, noise: Noise, s: float) -> Tensor:
        """From the origin."""
        return s**2 * self._draw(self._origin(noise.uniform()), s**-2, noise)

    def log_start(self, y: Tensor, s: float) -> Tensor:
        return self._log_density(self._origin(y), s**-2, y / s**2) - 2 * math.prod(y.shape[1:]) * math.log(s)

    @property
    def _bonds(self) -> Tensor:
        if self.bonds is None:
            raise ValueError("the kernel has no bonds yet: give it the condition of its samples, .given(condition)")
        return self.bonds

    def _draw(self, laws: Tensor, step: float | None, noise: Noise) -> Tensor:
        uniform, first = noise.uniform(), even_sites(laws)
        white = None if step is None else noise.normal()
        early = self._increments(laws, step, uniform, white)
        late = self._increments(self._updated(laws, early, step, first), step, uniform, white)
        return torch.where(first, early, late)

    def _increments(self, laws: Tensor, step: float | None, uniform: Tensor, white: Tensor | None) -> Tensor:
        r"""Increments :math:`\delta` of a step :math:`\Delta`, or values where it is None."""
        values = self._values(laws, uniform)
        return values if step is None or white is None else step * values + math.sqrt(step) * white

    def _log_density(self, laws: Tensor, step: float | None, added: Tensor) -> Tensor:
        first = even_sites(laws)
        known = torch.where(first, laws, self._updated(laws, added, step, first))
        return self._log_density_of(known, added, step)


def even_sites(x: Tensor) -> Tensor:
    r"""Where the sum of the indices is even, (B, 1, \*grid) for x (B, C, \*grid)."""
    places = torch.meshgrid(*[torch.arange(size, device=x.device) for size in x.shape[2:]], indexing="ij")
    return (torch.stack(places).sum(0) % 2 == 0).expand(len(x), 1, *x.shape[2:])
