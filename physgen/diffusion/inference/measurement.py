r"""What an instrument makes of a field: :math:`a = A\,g(x_0) + n` with g the way from encoded to physical values.

A is linear on the physical field: a blur, block averages, or both in turn; n is white. The network lives in the encoded
field x, so g makes the observation curved. It is first compared through a scale T that undoes most of the curvature,

.. math:: h(x) = T\big(A\,g(x)\big), \qquad T'(a) = \frac{1}{\sqrt{g'(g^{-1}(a))^2 + \sigma^2}},

which is the encoded value itself where the noise is small and the physical value, up to a factor, where it is large; to
first order in n the noise of T(a) is :math:`\sigma T'(a)`. As that depends on n, noise that is not small needs another
turn, in physical values (:meth:`Instrument.expand`). Values that were seen without noise and without A need none of
this: they are known in the encoded field.

Shapes: B batch, C channels, \*grid lattice, \*measured that of the observation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from physgen.diffusion.inference.inverse import Expansion, Operator

FWHM = 2 * math.sqrt(2 * math.log(2))  # full width at half maximum of a Gaussian, in standard deviations
SPAN, NODES = 6.0, 257  # encoded values over which T is tabulated
# nodes and weights of a Gaussian mean, exact to the ninth power
HERMITE = (
    (-2.85697001, -1.35562618, 0.0, 1.35562618, 2.85697001),
    (0.01125741, 0.22207592, 8 / 15, 0.22207592, 0.01125741),
)
# nodes of equal weight, exact to the fifth power, for what averages over cells itself: copies of a field along an axis;
# two nodes at one deviation are not enough where peaks rule (coverage of modes .59(2) for .68 beside .66(2))
SCATTER = (-math.sqrt(3), 0.0, 0.0, 0.0, 0.0, math.sqrt(3))
FLAT = 1e-3  # least slope of g, in units of its median: values that are clipped have none


@dataclass(frozen=True)
class Blur:
    r"""Convolution on the torus with a Gaussian beam, :math:`\hat A_k = e^{-k^2 w^2/2}, w = \mathrm{FWHM}/2.355`.

    Args:
        fwhm: full width at half maximum along each axis, in cells.
    """

    fwhm: tuple[float, ...]

    def __call__(self, field: Tensor) -> Tensor:
        axes = tuple(range(2, field.ndim))
        modes = torch.fft.rfftn(field, dim=axes)
        exponent = torch.zeros((), dtype=field.dtype, device=field.device)
        for i, (axis, width) in enumerate(zip(axes, self.fwhm, strict=True)):
            count = field.shape[axis]
            frequency = torch.fft.rfftfreq if axis == axes[-1] else torch.fft.fftfreq
            k = 2 * math.pi * frequency(count, dtype=field.dtype, device=field.device) * (width / FWHM)
            exponent = exponent + (k**2 / 2).reshape(-1, *[1] * (len(axes) - 1 - i))
        return torch.fft.irfftn(modes * torch.exp(-exponent), s=field.shape[2:], dim=axes)

    adjoint = __call__

    def squared(self, variance: Tensor) -> Tensor:
        r"""Variance of what independent cells leave: the convolution with the square of the beam."""
        narrow = Blur(tuple(width / math.sqrt(2) for width in self.fwhm))
        return narrow(variance) * self.energy(variance.shape[2:])

    def energy(self, grid: Sequence[int]) -> float:
        """Sum of the squares of the weights that one cell has."""
        seen = self(_one_cell(grid))
        return float(seen.square().sum())


@dataclass(frozen=True)
class Downsample:
    """Averages of blocks of ``factor`` cells along each axis, which must divide the lattice."""

    factor: int

    def __call__(self, field: Tensor) -> Tensor:
        sizes = [n for side in field.shape[2:] for n in (side // self.factor, self.factor)]
        blocks = field.reshape(*field.shape[:2], *sizes)
        return blocks.mean(dim=tuple(range(3, blocks.ndim, 2)))

    def adjoint(self, measured: Tensor) -> Tensor:
        """A^T: each value to the cells of its block, divided by their number."""
        for axis in range(2, measured.ndim):
            measured = measured.repeat_interleave(self.factor, axis)
        return measured / self.factor ** (measured.ndim - 2)

    def squared(self, variance: Tensor) -> Tensor:
        """Variance of what independent cells leave."""
        return self(variance) / self.factor ** (variance.ndim - 2)


@dataclass(frozen=True)
class Chain:
    """Linear operators one after another; none is the identity."""

    steps: tuple[Blur | Downsample, ...] = ()

    def __call__(self, field: Tensor) -> Tensor:
        for step in self.steps:
            field = step(field)
        return field

    def adjoint(self, measured: Tensor) -> Tensor:
        """A^T, the adjoints in the opposite order."""
        for step in reversed(self.steps):
            measured = step.adjoint(measured)
        return measured

    def squared(self, variance: Tensor) -> Tensor:
        """Variance of what independent cells leave, as if they were so after each step."""
        for step in self.steps:
            variance = step.squared(variance)
        return variance

    def energy(self, grid: Sequence[int]) -> float:
        """Sum of the squares of the weights that one cell has."""
        return float(self(_one_cell(grid)).square().sum()) if self.steps else 1.0


def _one_cell(grid: Sequence[int]) -> Tensor:
    field = torch.zeros((1, 1, *grid), dtype=torch.float64)
    field.view(-1)[0] = 1.0
    return field


def is_elementwise(decode: Callable[[Tensor], Tensor], shape: Sequence[int]) -> bool:
    """Whether each physical value depends on the encoded one in its place alone; ``shape`` (C, \\*grid)."""
    x = torch.zeros((1, *shape), dtype=torch.float64)
    moved = x.clone()
    moved.view(-1)[0] = 1.0
    return int((decode(x) != decode(moved)).sum()) <= 1


@dataclass(frozen=True, eq=False)
class Scale:
    r"""T of the module, tabulated for each channel; linear between the nodes and beyond them.

    Attributes:
        node: physical values (C, K), ascending. value: T there. slope: T' between them (C, K - 1).
    """

    node: Tensor
    value: Tensor
    slope: Tensor

    @classmethod
    def of(cls, decode: Callable[[Tensor], Tensor], shape: Sequence[int], sigma: float) -> Scale:
        r"""The scale of g, for noise of standard deviation ``sigma``; ``shape`` (C, \*grid) is that of x."""
        x = torch.linspace(-SPAN, SPAN, NODES, dtype=torch.float64)
        rows = []
        for part in x.split(max(1, 2**18 // math.prod(shape))):
            fields = part.reshape(-1, *[1] * len(shape)).expand(-1, *shape)
            rows.append(decode(fields).flatten(2).mean(2))
        physical, step = torch.cat(rows).T, float(x[1] - x[0])
        rise = physical.diff(dim=1) / step
        rise = rise.clamp(min=FLAT * float(rise.median()))
        start = physical[:, NODES // 2 :][:, :1] - rise[:, : NODES // 2].sum(1, keepdim=True) * step
        node = torch.cat([start, start + (rise * step).cumsum(1)], dim=1)  # the middle stays, clipped ends are sloped
        slope = (rise.square() + sigma**2).rsqrt()
        value = torch.cat([torch.zeros_like(start), (slope * node.diff(dim=1)).cumsum(1)], dim=1)
        return cls(node, value - value[:, NODES // 2, None], slope)

    def __call__(self, a: Tensor) -> Tensor:
        """T(a), a (B, C, *measured)."""
        return self._at(a)[0]

    def _at(self, a: Tensor) -> tuple[Tensor, Tensor]:
        rows = a.movedim(1, 0).flatten(1).contiguous()
        node, value, slope = (part.to(a) for part in (self.node, self.value, self.slope))
        place = (torch.searchsorted(node, rows.detach(), right=True) - 1).clamp(0, node.shape[1] - 2)
        gain = slope.gather(1, place)
        found = value.gather(1, place) + gain * (rows - node.gather(1, place))
        shape = a.movedim(1, 0).shape
        return found.reshape(shape).movedim(0, 1), gain.reshape(shape).movedim(0, 1)


@dataclass(frozen=True, eq=False)
class Instrument:
    r"""h(x) = T(A g(x)), and the observation in its terms.

    Args:
        decode: g, differentiable, (B, C, \*grid) to the same, each value from the one in its place
            (:func:`is_elementwise`).
        linear: A.
        shift: what is added to all cells of a channel of x before g, (B, C, 1, ...), differentiable, a function of
            averages over cells on a lattice of any size; None: nothing.
        sigma: standard deviation of n, in physical units.
        scale: T, of :meth:`Scale.of`.
    """

    decode: Callable[[Tensor], Tensor]
    linear: Chain
    sigma: float
    scale: Scale
    shift: Callable[[Tensor], Tensor] | None = None

    def __call__(self, x: Tensor) -> Tensor:
        return self.linear(self.decode(x if self.shift is None else x + self.shift(x)))

    def expand(self, x: Tensor, observed: Tensor, marginal: Tensor, turn: int) -> Expansion:
        r"""The observation about x.

        In the scale T at first, and always without noise: :math:`T' A g'`. Then, with noise, in physical values and in
        the mean over :math:`N(x, \tau)`, which is what a Gaussian posterior sees of a curve (statistical linear
        regression): value :math:`A \langle g \rangle`, slope :math:`A \langle g' \rangle`, and as further noise what
        the curve has beside that line; :math:`1/\tau` is 1/marginal and what the value itself tells. The shift is that
        of a field with this scatter in every turn.

        Args:
            x: (B, C, \*grid). observed: a (B, C, \*measured). marginal: variance of a cell before a is known.
            turn: 0, 1, ...
        """
        spread = self._spread(x, observed, marginal)
        x, moved, pulled = self._shifted(x, spread)
        if turn == 0 or self.sigma == 0:
            physical, gain = self._slope(x)
            value, slope = self.scale._at(self.linear(physical))
            seen, noise = self.observed(observed)
            return Expansion(
                value,
                lambda u: slope * self.linear(gain * moved(u)),
                lambda v: pulled(gain * self.linear.adjoint(slope * v)),
                seen,
                noise,
            )
        mean, gain, square = torch.zeros_like(x), torch.zeros_like(x), torch.zeros_like(x)
        for node, weight in zip(*HERMITE, strict=True):
            value, slope = self._slope(x + spread.sqrt() * node)
            mean, gain, square = mean + weight * value, gain + weight * slope, square + weight * value.square()
        beside = (square - mean.square() - gain.square() * spread).clamp(min=0)
        noise = self.sigma**2 + self.linear.squared(beside)
        return Expansion(
            self.linear(mean),
            lambda u: self.linear(gain * moved(u)),
            lambda v: pulled(gain * self.linear.adjoint(v)),
            observed,
            noise,
        )

    def _spread(self, x: Tensor, observed: Tensor, marginal: Tensor) -> Tensor:
        r"""Variance (B, C, \*grid) of each cell about x: 1/marginal and what the observation tells of it, inverted.

        A cell that was seen without noise has none left, one that was not seen keeps its marginal variance.
        """
        seen = torch.isfinite(observed).to(x)
        share = self.linear.adjoint(seen) / self.linear.adjoint(torch.ones_like(seen))
        if self.sigma == 0:
            return torch.where(share > 0.5, 0.0, marginal)
        _, gain = self._slope(x if self.shift is None else x + self.shift(x).detach())
        known = share.clamp(0, 1) * self.linear.energy(x.shape[2:]) * gain.square() / self.sigma**2
        return 1 / (1 / marginal + known)

    def _shifted(self, x: Tensor, spread: Tensor) -> tuple[Tensor, Operator, Operator]:
        """x + c, the slope u + dc/dx u of that, and its adjoint; c(x) with cells that scatter by ``spread`` about x.

        c answers to the mean of a curved g over the cells, and x, a posterior mean, is smoother than any field: c(x)
        itself would be that of a field without peaks.
        """
        if self.shift is None:
            return x, lambda u: u, lambda v: v
        with torch.enable_grad():
            point = x.detach().requires_grad_()
            nodes = [point + spread.sqrt() * node for node in SCATTER]
            shift = self.shift(torch.cat(nodes, dim=2) if bool((spread > 0).any()) else point)
            (slope,) = torch.autograd.grad(shift.sum(), point)
        cells = tuple(range(2, x.ndim))
        return (
            x + shift.detach(),
            lambda u: u + (slope * u).sum(cells, keepdim=True),
            lambda v: v + slope * v.sum(cells, keepdim=True),
        )

    def _slope(self, x: Tensor) -> tuple[Tensor, Tensor]:
        r"""g and g' (B, C, \*grid)."""
        with torch.enable_grad():
            point = x.detach().requires_grad_()
            physical = self.decode(point)
            (gain,) = torch.autograd.grad(physical.sum(), point)
        return physical.detach(), gain

    def observed(self, a: Tensor) -> tuple[Tensor, Tensor]:
        r"""T(a) and the variance :math:`\sigma^2 T'(a)^2` of its noise, of physical values a; NaN stays NaN."""
        seen = torch.isfinite(a)
        filled = torch.where(seen, a, torch.zeros_like(a))
        value, gain = self.scale._at(filled)
        return torch.where(seen, value, torch.full_like(a, math.nan)), (self.sigma * gain).square()
