r"""Data with all their images under the symmetries of their law: n |G| atoms of the posterior instead of n.

A law that translations, the point group of the lattice or a change of sign leave alone gives |G| data for one, and a
network that commutes with G memorizes orbits (Kamb, Ganguli, arXiv:2412.20292). Exponents over all shifts come from two
inverse FFTs of a draw with each datum, one with the clean field and one with the noise, which serve every noise level:

.. math:: \ell_{\mu,g} = -\frac{|a_\nu - g a_\mu|^2}{2s^2} - \frac{z\cdot(a_\nu - g a_\mu)}{s},
          \qquad a_\nu\cdot g a_\mu,\ z\cdot g a_\mu\ \text{from}\ \mathrm{IFFT}(F F_\mu^*).

Neighbouring shifts of a smooth field are hardly different, so images are fewer than |G| independent data: ln(n|G|)/d
is right for :math:`h(t)` of the symmetric law, and an upper bound of what has to be told apart.

Pruning: where the largest exponent of a pair (draw and datum, at one g) lies more than ``ln(n |G|) + MARGIN`` below the
largest of all pairs of other data so far, its sum over shifts is replaced by its largest term. What is lost is below
:math:`e^{-\mathrm{MARGIN}} = 10^{-6}` of the sum over other data; without the group of units that holds that largest
pair, a pruned term may be too small by up to the number of shifts, which touches errors only.

Shapes: b draws, n data, S shifts, T noise levels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from physgen.errors import InputError
from physgen.lattice import Symmetry, point_group
from physgen.threads import shared_out

MARGIN = 14.0  # e^-14 = 8e-7
ROW = 2**16  # numbers transformed at once, which stay in the cache of a core
DRAWS = 16  # of a block
WIDE = 3e3  # |a|^2/s^2 above which single precision would round exponents by more than about 1e-3


@dataclass(frozen=True)
class Orbit:
    """The symmetries that make images of a datum.

    Attributes:
        translations: all shifts of the periodic grid.
        point_group: reflections of every axis and exchanges of equal ones.
        flip: the change of sign of all values.
        spacing: cell size along each axis; axes of unequal cells are not exchanged. None where all are equal.
    """

    translations: bool = False
    point_group: bool = False
    flip: bool = False
    spacing: tuple[float, ...] | None = None

    @classmethod
    def named(cls, name: str) -> Orbit:
        """One of ``NAMES``."""
        if name not in NAMES:
            raise InputError(f"orbit must be one of {sorted(NAMES)}, or an Orbit of your own, got {name!r}")
        return NAMES[name]

    def symmetries(self, grid: Sequence[int]) -> tuple[Symmetry, ...]:
        """Those besides shifts and the change of sign."""
        return point_group(grid, self.spacing) if self.point_group and grid else (Symmetry(),)

    def size(self, grid: Sequence[int]) -> int:
        """The number of images, \\|G|."""
        if not grid and (self.translations or self.point_group):
            raise InputError(f"data without a grid cannot be moved by orbit={self.name!r}: use 'none' or 'flip'")
        shifts = math.prod(grid) if self.translations else 1
        return shifts * len(self.symmetries(grid)) * (2 if self.flip else 1)

    @property
    def name(self) -> str:
        """Its parts, joined by "+"."""
        parts = [part for part in ("translations", "point_group", "flip") if getattr(self, part)]
        return "+".join(parts) or "none"


NAMES = {
    "none": Orbit(),
    "translations": Orbit(translations=True),
    "point_group": Orbit(translations=True, point_group=True),
    "flip": Orbit(flip=True),
}


class Images:
    """Exponents of draws with all images of the data, summed datum by datum."""

    def __init__(self, x: Tensor, orbit: Orbit, smallest_s: float) -> None:
        r"""Keep the spectra of data (n, C, \*grid), in double precision where the smallest noise level asks for it."""
        axes = tuple(range(2, x.ndim))
        x = x.double()
        if not orbit.flip and axes:  # a constant moves with nothing: distances stay, rounding shrinks
            x = x - x.mean(dim=(0, *axes), keepdim=True)
        self.norms = x.square().flatten(1).sum(1)
        single = float(self.norms.max()) < WIDE * smallest_s**2
        self.x, self.grid = x.float() if single else x, tuple(x.shape[2:])
        self.signs = (1, -1) if orbit.flip else (1,)
        self.symmetries, self.orbit_size = orbit.symmetries(self.grid), orbit.size(self.grid)
        self.shifts = math.prod(self.grid) if orbit.translations else 1
        self.rows, self.axes = max(1, ROW // self.shifts), tuple(range(1, 1 + len(self.grid)))
        self.data = self._modes(self.x).conj().resolve_conj() if orbit.translations else self.x.flatten(1)

    def at_once(self) -> int:
        """Draws of a block."""
        return DRAWS

    def _modes(self, x: Tensor) -> Tensor:
        return torch.fft.rfftn(x, dim=tuple(range(2, x.ndim)))

    def log_sums(self, own: Tensor, noise: Tensor, s: np.ndarray) -> Iterator[tuple[Tensor, Tensor]]:
        r"""For each s, over images: :math:`\ln \sum e^\ell` and :math:`\ln \sum e^{2\ell}` of each datum, (b, n)."""
        rows = shared_out(lambda b: self._one(int(own[b]), noise[b], s), list(range(len(own))))
        sums, squares = (torch.stack(parts, dim=1) for parts in zip(*rows, strict=True))
        yield from zip(sums, squares, strict=True)

    def _one(self, own: int, noise: Tensor, s: np.ndarray) -> tuple[Tensor, Tensor]:
        """The sums of one draw at all noise levels, (T, n) each."""
        start, z = self.x[own : own + 1], noise[None].to(self.x.dtype)
        along = (start * z).double().sum()
        levels = torch.as_tensor(s)[:, None]
        offset = -0.5 * (self.norms + self.norms[own]) / levels**2 - along / levels  # (T, n)
        logs = torch.full((2, *offset.shape), -math.inf, dtype=torch.float64)
        best = torch.full((len(s),), -math.inf, dtype=torch.float64)
        scratch = torch.empty((self.rows, self.shifts), dtype=self.x.dtype)
        for g in self.symmetries:
            clean, rough = self._query(g.move(start)), self._query(g.move(z))
            for sign in self.signs:
                found = torch.empty_like(logs)
                for block in self._blocks(own):
                    a, b = self._products(sign * clean, block), self._products(sign * rough, block)
                    mine = block.stop - block.start == 1 and block.start == own
                    if mine and sign == 1 and not g.moves_sites:  # the image it started from, without rounding
                        a[0, 0], b[0, 0] = self.norms[own], along
                    floor = best - (math.inf if mine else math.log(len(self.x) * self.orbit_size) + MARGIN)
                    top = self._sum_rows(a, b, offset[:, block], found[:, :, block], s, floor, scratch)
                    best = best if mine else torch.maximum(best, top)
                logs = torch.logaddexp(logs, found)
        return logs[0], logs[1]

    def _blocks(self, own: int) -> list[slice]:
        """Rows of data: the own one first, alone, then the others a few at a time."""
        parts = ((0, own), (own + 1, len(self.x)))
        others = [slice(i, min(i + self.rows, last)) for first, last in parts for i in range(first, last, self.rows)]
        return [slice(own, own + 1), *others]

    def _sum_rows(
        self, a: Tensor, b: Tensor, offset: Tensor, found: Tensor, s: np.ndarray, floor: Tensor, scratch: Tensor
    ) -> Tensor:
        r"""Write :math:`\ln \sum e^\ell, \ln \sum e^{2\ell}` of rows :math:`\ell = a/s^2 + b/s +` offset to ``found``.

        Rows whose largest exponent is below the floor count by that one alone.

        Args:
            a, b: (r, S). offset: (T, r). found: (2, T, r). floor: (T,). scratch: (>= r, S).

        Returns:
            the largest exponent at each noise level, (T,).
        """
        buffer, tops = scratch[: len(a)], torch.empty(offset.shape, dtype=self.x.dtype)
        sums = torch.ones((2, *offset.shape), dtype=self.x.dtype)
        limit = floor[:, None] - offset
        for i, level in enumerate(s.tolist()):
            torch.mul(a, 1 / level**2, out=buffer).add_(b, alpha=1 / level)
            torch.amax(buffer, dim=1, out=tops[i])
            kept = tops[i] > limit[i]
            count = int(kept.sum())
            if count == 0:
                continue
            rows = slice(None) if count == len(a) else kept
            weights = (buffer if count == len(a) else buffer[kept]).sub_(tops[i][rows, None]).exp_()
            sums[0, i, rows] = weights.sum(1)
            sums[1, i, rows] = weights.square_().sum(1)
        wide = tops.double() + offset
        found[0], found[1] = wide + torch.log(sums[0]), 2 * wide + torch.log(sums[1])
        return wide.amax(dim=1)

    def _query(self, moved: Tensor) -> Tensor:
        return self._modes(moved) if self.shifts > 1 else moved.flatten(1)

    def _products(self, query: Tensor, block: slice) -> Tensor:
        """Scalar products of a moved query with every shift of some data, (data, S)."""
        if self.shifts == 1:
            return self.data[block] @ query.T
        cross = (query * self.data[block]).sum(1)
        return torch.fft.irfftn(cross, s=self.grid, dim=self.axes).flatten(1)
