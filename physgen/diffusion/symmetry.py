r"""Averages of a denoiser over a finite group of lattice symmetries.

.. math:: D_G(y, s, c) = \frac{1}{|G|} \sum_{g \in G} g^{-1} D(g y, s, g c)

is equivariant, :math:`D_G(g y, s, g c) = g D_G(y, s, c)`, whatever D. If the law of the data (with its condition) has
the symmetry, the denoising error of D falls by the scatter of D over the group,

.. math:: E|D_G - x_0|^2 = E|D - x_0|^2 - E \frac{1}{|G|} \sum_g |g^{-1} D(g y, s, g c) - D_G(y, s, c)|^2,

and never rises. Nothing is trained; the price is \|G\| evaluations.

Shapes: B batch, C channels, \*grid lattice of d axes; y (B, C, \*grid), s (B,).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from physgen.diffusion.convention import Condition, Denoiser


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
        return self.turns or any(self.shift)

    @property
    def turns(self) -> bool:
        """Whether directions change, not positions alone."""
        return bool(self.mirrored) or self.axes != tuple(range(len(self.axes)))

    def __call__(self, y: Tensor) -> Tensor:
        """g y, for a field."""
        return self.sign * self.move(y)

    def move(self, x: Tensor) -> Tensor:
        r"""x (B, C, \*grid) at its new sites, its values as they are: what g does to a condition without sign."""
        if self.axes:
            moved = x.permute(0, 1, *[2 + axis for axis in self.axes])
            if moved.shape != x.shape:
                raise ValueError(f"axes {self.axes} of a grid {tuple(x.shape[2:])} cannot change places: sizes differ")
            x = moved
        x = x.flip([2 + axis for axis in self.mirrored]) if self.mirrored else x
        return x.roll(self.shift, list(range(2, 2 + len(self.shift)))) if any(self.shift) else x

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


def point_group(grid: Sequence[int]) -> tuple[Symmetry, ...]:
    """Reflections of every axis and permutations of axes of equal size: 2, 8, 48 elements of a cubic grid.

    Equal sizes are taken for equal spacings. They fix the centre of the grid, (L - 1)/2.
    """
    if not 1 <= len(grid) <= 3:
        raise ValueError(f"a lattice has 1 to 3 axes, got the grid {tuple(grid)}")
    axes = range(len(grid))
    orders = [order for order in itertools.permutations(axes) if all(grid[i] == grid[order[i]] for i in axes)]
    mirrors = [chosen for count in range(len(grid) + 1) for chosen in itertools.combinations(axes, count)]
    return tuple(Symmetry(order, mirrored) for order in orders for mirrored in mirrors)


SPIN_FLIP = (Symmetry(), Symmetry(sign=-1))  # y -> -y, D -> -D
ChannelRule = Callable[[Symmetry, Tensor], Tensor]


def scalars(g: Symmetry, channels: Tensor) -> Tensor:
    """The rule of channels that are numbers of a site: they move along."""
    return g.move(channels)


def bonds(g: Symmetry, channels: Tensor) -> Tensor:
    r"""The rule of the bonds around each site (B, 2d, \*grid), up and down each axis in order.

    They move along and change places, so that each stays with its pair of sites.
    """
    dimension = channels.ndim - 2
    if channels.shape[1] != 2 * dimension:
        raise ValueError(
            f"bonds of {dimension} axes are {2 * dimension} channels, up and down, got {channels.shape[1]}"
        )
    axes = g.axes or tuple(range(dimension))
    source = [2 * axes[new] + (way ^ (new in g.mirrored)) for new in range(dimension) for way in (0, 1)]
    return g.move(channels)[:, source]


class GroupAverage(nn.Module):
    r"""The denoiser :math:`D_G` of the module's head, exact up to the rounding of D, \|G\| evaluations of D.

    The average over two groups is the average of an average: sub-stride translations first, then the point group.

    Args:
        denoiser: D(y, s, condition), any callable.
        group: translations(...), point_group(...), SPIN_FLIP, or other elements that are closed under composition.
        channels: how condition["channels"] transforms, (g, channels) -> channels: ``scalars``, ``bonds`` or your own,
            e.g. with ``g.sign`` for an external field. None: shifts move them along, a sign leaves them, and a group
            that reflects or turns is refused, since what they are cannot be seen.

    Raises:
        ValueError: no elements; on the call, channels without a rule, or a condition on pairs of sites (``matrix``,
            more than two axes) under a group that moves sites. Other entries, (B,) or (B, n), are taken as invariant.
    """

    def __init__(self, denoiser: Denoiser, group: Sequence[Symmetry], channels: ChannelRule | None = None) -> None:
        super().__init__()
        if not group:
            raise ValueError("a group has at least one element, got none")
        self.denoiser, self.group, self.channels = denoiser, tuple(group), channels
        if hasattr(denoiser, "error_scale"):  # the loss then has the same units as that of D
            self.error_scale = denoiser.error_scale

    def forward(self, y: Tensor, s: Tensor, condition: Condition = None) -> Tensor:
        first, *others = self.group
        total = self._turned(first, y, s, condition)
        for g in others:
            total = total + self._turned(g, y, s, condition)
        return total / len(self.group)

    def _turned(self, g: Symmetry, y: Tensor, s: Tensor, condition: Condition) -> Tensor:
        moved = condition and {name: self._condition(g, name, value) for name, value in condition.items()}
        return g.undo(self.denoiser(g(y), s, moved))

    def _condition(self, g: Symmetry, name: str, value: Tensor) -> Tensor:
        if name == "channels":
            if self.channels is not None:
                return self.channels(g, value)
            if g.turns:
                raise ValueError(
                    'condition["channels"] under reflections and turns of the lattice needs a rule: give '
                    "channels=scalars (numbers of a site) or channels=bonds (bonds around each site)"
                )
            return g.move(value)
        if value.ndim > 2 and g.moves_sites:
            raise ValueError(
                f"condition {name!r} of shape {tuple(value.shape)} has no rule under translations and turns; only "
                "a sign change (SPIN_FLIP) leaves it as it is"
            )
        return value
