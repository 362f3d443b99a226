r"""Averages of a denoiser over a finite group of lattice symmetries.

.. math:: D_G(y, s, c) = \frac{1}{|G|} \sum_{g \in G} g^{-1} D(g y, s, g c)

is equivariant, :math:`D_G(g y, s, g c) = g D_G(y, s, c)`, whatever D. If the law of the data (with its condition) has
the symmetry, the denoising error of D falls by the scatter of D over the group,

.. math:: E|D_G - x_0|^2 = E|D - x_0|^2 - E \frac{1}{|G|} \sum_g |g^{-1} D(g y, s, g c) - D_G(y, s, c)|^2,

and never rises. Nothing is trained; the price is \|G\| evaluations.

Shapes: B batch, C channels, \*grid lattice of d axes; y (B, C, \*grid), s (B,).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from physgen.diffusion.convention import Condition, Denoiser
from physgen.lattice import Symmetry

SPIN_FLIP = (Symmetry(), Symmetry(sign=-1))  # y -> -y, D -> -D
ChannelRule = Callable[[Symmetry, Tensor], Tensor]


class GroupAverage(nn.Module):
    r"""The denoiser :math:`D_G` of the module's head, exact up to the rounding of D, \|G\| evaluations of D.

    The average over two groups is the average of an average: sub-stride translations first, then the point group.

    Args:
        denoiser: D(y, s, condition), any callable.
        group: translations(...), point_group(...) of :mod:`physgen.lattice`, SPIN_FLIP, or other elements that are
            closed under composition.
        channels: how condition["channels"] transforms, (g, channels) -> channels: ``Symmetry.move`` for numbers of a
            site, ``Symmetry.move_bonds`` for bonds around each site, or your own, e.g. with ``g.sign`` for an external
            field. None: shifts move them along, a sign leaves them, and a group that reflects or turns is refused,
            since what they are cannot be seen.

    Raises:
        ValueError: no elements; on the call, channels without a rule, or a condition on pairs of sites (``matrix``,
            more than two axes) under a group that moves sites. ``field`` (B, C, \*grid) moves and turns as y does;
            other entries, (B,) or (B, n), are taken as invariant.
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
                    "channels=Symmetry.move (numbers of a site) or Symmetry.move_bonds (bonds around each site)"
                )
            return g.move(value)
        if name == "field":
            return g(value)
        if value.ndim > 2 and g.moves_sites:
            raise ValueError(
                f"condition {name!r} of shape {tuple(value.shape)} has no rule under translations and turns; only "
                "a sign change (SPIN_FLIP) leaves it as it is"
            )
        return value
