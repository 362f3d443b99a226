r"""Symmetries of a hypercubic lattice, and how they move fields and bonds.

A symmetry permutes the axes, then reflects, then shifts. Bonds around each site are channels (B, 2d, \*grid): for each
axis in order the bond up, then the bond down. A move carries them along and lets them change places, so that each
stays with its pair of sites: a move of field and bonds leaves :math:`\sum_{\langle ij\rangle} J_{ij} s_i s_j` as it is.

Shapes: B batch, C channels, \*grid lattice of d axes; x (B, C, \*grid).
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

MOST = 2**31  # whole numbers are drawn below it
ROUNDING = 1e-6  # relative; cell sizes that differ by less are equal


def equal_axes(grid: Sequence[int], spacing: Sequence[float] | None = None) -> list[tuple[int, ...]]:
    """Orders of the axes that leave the box as it is: those that exchange axes of equal lengths and equal cells.

    Args:
        grid: cells along each axis.
        spacing: cell size along each axis; None where all are equal.
    """
    steps = [1.0] * len(grid) if spacing is None else list(spacing)

    def same(i: int, j: int) -> bool:
        return grid[i] == grid[j] and abs(steps[i] - steps[j]) <= ROUNDING * abs(steps[j])

    return [order for order in itertools.permutations(range(len(grid))) if all(same(i, j) for i, j in enumerate(order))]


def neighbour(x: Tensor, direction: int, dimension: int) -> Tensor:
    """x (..., *grid) at the neighbour in a direction (0: +first dim, 1: -first dim, 2: +second dim, ...)."""
    return x.roll(-1 if direction % 2 == 0 else 1, dims=direction // 2 - dimension)


def _check_bonds(channels: Tensor) -> int:
    """The dimension d of channels that are the 2d bonds around each site."""
    dimension = channels.ndim - 2
    if channels.shape[1] != 2 * dimension:
        raise ValueError(
            f"bonds of {dimension} axes are {2 * dimension} channels, up and down, got {channels.shape[1]}"
        )
    return dimension


# --- one symmetry for all samples -----------------------------------------------------------------------


@dataclass(frozen=True)
class Symmetry:
    r"""An element g: permute the axes, then reflect, then shift, then multiply by the sign.

    Attributes:
        axes: new axis i is the old axis ``axes[i]``. mirrored: new axes that are reflected, n -> L - 1 - n.
        shift: sites along each axis, :math:`(g y)(n) = y(n - \mathrm{shift})`. Empty tuples do nothing.
        sign: of the field, +1 or -1.
    """

    axes: tuple[int, ...] = ()
    mirrored: tuple[int, ...] = ()
    shift: tuple[int, ...] = ()
    sign: int = 1

    @property
    def moves_sites(self) -> bool:
        """Whether any site changes its place."""
        return self.turns or any(self.shift)

    @property
    def turns(self) -> bool:
        """Whether directions change, not positions alone."""
        return bool(self.mirrored) or self.axes != tuple(range(len(self.axes)))

    def __call__(self, y: Tensor) -> Tensor:
        """g y, for a field."""
        return self.sign * self.move(y)

    def move(self, x: Tensor) -> Tensor:
        r"""x (B, C, \*grid) at its new sites, its values as they are: what g does to numbers of a site."""
        if self.axes:
            moved = x.permute(0, 1, *[2 + axis for axis in self.axes])
            if moved.shape != x.shape:
                raise ValueError(f"axes {self.axes} of a grid {tuple(x.shape[2:])} cannot change places: sizes differ")
            x = moved
        x = x.flip([2 + axis for axis in self.mirrored]) if self.mirrored else x
        return x.roll(self.shift, list(range(2, 2 + len(self.shift)))) if any(self.shift) else x

    def move_bonds(self, channels: Tensor) -> Tensor:
        r"""The bonds around each site (B, 2d, \*grid), up and down each axis in order, with their sites."""
        dimension = _check_bonds(channels)
        axes = self.axes or tuple(range(dimension))
        source = [2 * axes[new] + (way ^ (new in self.mirrored)) for new in range(dimension) for way in (0, 1)]
        return self.move(channels)[:, source]

    def undo(self, y: Tensor) -> Tensor:
        r""":math:`g^{-1} y`, for a field."""
        y = self.sign * y
        if any(self.shift):
            y = y.roll([-n for n in self.shift], list(range(2, 2 + len(self.shift))))
        y = y.flip([2 + axis for axis in self.mirrored]) if self.mirrored else y
        return y.permute(0, 1, *[2 + self.axes.index(axis) for axis in range(len(self.axes))]) if self.axes else y


def translations(sizes: Sequence[int]) -> tuple[Symmetry, ...]:
    r"""The :math:`\prod_i` ``sizes[i]`` shifts by 0 to ``sizes[i]`` - 1 sites along each axis.

    With the sizes of the grid it is the whole group. With the stride of a network it stands for all of them: D commutes
    with the rest already, if the stride divides the grid, and the average commutes with every shift.
    """
    if not sizes or min(sizes) < 1:
        raise ValueError(f"translations need a number of shifts >= 1 for each axis, got {tuple(sizes)}")
    return tuple(Symmetry(shift=shift) for shift in itertools.product(*(range(size) for size in sizes)))


def point_group(grid: Sequence[int], spacing: Sequence[float] | None = None) -> tuple[Symmetry, ...]:
    """Reflections of every axis and permutations of equal axes: 2, 8, 48 elements of a cubic grid, 4 of a rectangle.

    They fix the centre of the grid, (L - 1)/2. Axes of unequal length, or with ``spacing`` of unequal cells, are not
    exchanged.
    """
    if not 1 <= len(grid) <= 3:
        raise ValueError(f"a lattice has 1 to 3 axes, got the grid {tuple(grid)}")
    axes = range(len(grid))
    mirrors = [chosen for count in range(len(grid) + 1) for chosen in itertools.combinations(axes, count)]
    return tuple(Symmetry(order, mirrored) for order in equal_axes(grid, spacing) for mirrored in mirrors)


# --- one symmetry for each sample -----------------------------------------------------------------------


@dataclass(frozen=True)
class Moves:
    r"""A symmetry of its own for each of B samples, by the convention of :class:`Symmetry`; cells are only reordered.

    Attributes:
        order: (B, d) integers, new axis i of sample b is the old axis ``order[b, i]``.
        mirrored: (B, d) bool, new axes that are reflected.
        shift: (B, d) integers, sites along each new axis; any size and sign, taken modulo the length.
    """

    order: Tensor
    mirrored: Tensor
    shift: Tensor

    def sources(self, grid: Sequence[int]) -> Tensor:
        """Old site (C order) of each new site, (B, N), on the device of the moves, which is not waited for.

        Exchanged axes must have equal lengths (RuntimeError on the CPU, an assertion of the device elsewhere).
        """
        device, sides = self.order.device, tuple(grid)
        strides = _constant(tuple(math.prod(sides[axis + 1 :]) for axis in range(len(sides))), device)
        if len(set(sides)) > 1:
            lengths = _constant(sides, device)
            torch._assert_async(
                (lengths[self.order] == lengths).all(),
                f"axes of a grid {sides} cannot change places where their sizes differ",
            )
        sites = torch.zeros(len(self.order), *[1] * len(sides), dtype=torch.long, device=device)
        for axis, side in enumerate(sides):
            cells = (torch.arange(side, device=device) - self.shift[:, axis, None]) % side
            cells = torch.where(self.mirrored[:, axis, None], side - 1 - cells, cells)
            cells = cells * strides[self.order[:, axis], None]
            sites = sites + cells.reshape(-1, *[side if i == axis else 1 for i in range(len(sides))])
        return sites.flatten(1)

    def move(self, x: Tensor) -> Tensor:
        r"""x (B, C, \*grid) at its new sites, its values as they are."""
        sites = self.sources(tuple(x.shape[2:])).to(x.device)
        return x.flatten(2).gather(2, sites[:, None].expand(-1, x.shape[1], -1)).reshape(x.shape)

    def move_bonds(self, channels: Tensor) -> Tensor:
        r"""The bonds around each site (B, 2d, \*grid), up and down each axis in order, with their sites."""
        _check_bonds(channels)
        down = torch.arange(2, device=self.mirrored.device) ^ self.mirrored[:, :, None].long()
        source = (2 * self.order[:, :, None] + down).flatten(1).to(channels.device)
        return self.move(channels)[torch.arange(len(channels), device=channels.device)[:, None], source]


@functools.lru_cache(maxsize=64)
def _constant(numbers: tuple[Any, ...], device: torch.device) -> Tensor:
    """Whole numbers on a device: copied there once, since each copy from the host waits for the device."""
    return torch.tensor(numbers, device=device)


class Draws(Protocol):
    r"""Random numbers for each of B samples; successive calls are independent.

    :class:`physgen.diffusion.draws.SampleDraws` is one: its row b belongs to the sample, whatever the batch.
    """

    def integers(self, high: int, shape: Sequence[int] = ()) -> Tensor:
        r"""Whole numbers (B, \*shape) int64, uniform in 0 ... high - 1."""
        ...

    def uniform(self, shape: Sequence[int] = ()) -> Tensor:
        r"""Uniform numbers (B, \*shape) in (0, 1)."""
        ...

    def normal(self, shape: Sequence[int] = ()) -> Tensor:
        r"""Standard normal numbers (B, \*shape)."""
        ...


def random_moves(
    grid: Sequence[int], draws: Draws, spacing: Sequence[float] | None = None, periodic: bool = True
) -> Moves:
    """Uniformly drawn symmetries of a box, one for each sample: 8 point operations in a square, 48 in a cube.

    A box of unequal sides, or of unequal cells, has fewer (4 in a rectangle); one that is not periodic is not
    translated.

    Args:
        grid: cells along each axis.
        draws: random numbers of the samples, on whose device the moves lie.
        spacing: cell size along each axis; None where they are equal.
        periodic: whether opposite sides touch.
    """
    dimension, orders = len(grid), equal_axes(grid, spacing)
    shifts = grid if periodic else [1] * dimension
    chosen, *found = whole_numbers(draws, [len(orders), *shifts, *[2] * dimension])
    numbers = torch.stack(found, dim=1)
    order = _constant(tuple(orders), numbers.device)[chosen]
    return Moves(order, numbers[:, dimension:].bool(), numbers[:, :dimension])


def whole_numbers(draws: Draws, highs: Sequence[int]) -> list[Tensor]:
    """Independent uniform whole numbers (B,) below each of ``highs``: the digits of as few draws as hold them."""
    found: list[Tensor] = []
    while len(found) < len(highs):
        group: list[int] = []
        for high in highs[len(found) :]:
            if group and math.prod(group) * high > MOST:
                break
            group.append(high)
        number = draws.integers(math.prod(group))
        for high in group:
            found.append(number % high)
            number = number // high
    return found
