r"""Probability flow in the angles of the Fourier modes: exact for a Gaussian field at any number of steps.

A field of real numbers is, at large scales above all, nearly a Gaussian one of known spectrum P(k; labels), and its
denoiser (:class:`physgen.diffusion.learning.denoisers.FieldDenoiser`) a Wiener filter plus a small rest,
:math:`D_k = \frac{P}{P + s^2} y_k + \frac{s \sqrt P}{\sqrt{P + s^2}} F_k`. Other solvers take D as it comes, and spend
their steps on the Wiener filter, whose flow is known: with

.. math:: y_k = \sqrt{P + s^2}\, u_k, \qquad \tan\theta_k = s/\sqrt P, \qquad \frac{du_k}{d\theta_k} = -F_k,

where the flow dy/ds = (y - D)/s was used. With F = 0 the modes u stand still: the variance of every mode is exact from
the first level to s = 0, however few levels lie between, the start :math:`u = z` included. What is left to integrate is
the rest F, along an angle of its own for each mode: of the polynomial in the angle through F at the last levels over
the next step (Adams and Bashforth), and, where corrected, of the one that knows F at the end of that step too (Adams
and Moulton): the next evaluation is one of F there, so that it costs none of its own.

Sources: exponential integrators (Hochbruck & Ostermann, Acta Numerica 19 (2010) 209) with the linear part that the data
have; the angle of signal and noise of one variance for all modes: Salimans & Ho, 2202.00512.

Shapes: B batch, C channels, \*grid lattice; y (B, C, \*grid), s (B,).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol, cast

import torch
from torch import Tensor

from physgen.diffusion.convention import Condition, Denoiser
from physgen.diffusion.levels import check_levels


class Modes(Protocol):
    """What the flow asks of a prior spectrum: power of the modes, the way to them and back."""

    def __call__(self, condition: Condition) -> Tensor: ...

    def modes(self, x: Tensor) -> Tensor: ...

    def field(self, modes: Tensor) -> Tensor: ...


class White:
    """Unit variance of every value: the frame of a denoiser without a prior spectrum."""

    def __call__(self, condition: Condition = None) -> Tensor:
        return torch.ones(())

    def modes(self, x: Tensor) -> Tensor:
        return x

    def field(self, modes: Tensor) -> Tensor:
        return modes


@dataclass(frozen=True)
class ModalFlow:
    """Multistep rules in the angles of the modes, one evaluation a step; deterministic.

    ``order`` 2: Adams-Bashforth through two values of F. 4: predicted through three, then corrected by the next one;
    the step to the last level has no next one and is predicted. Of that order on any levels (the first steps of lower
    ones, as far as there are levels behind them, where F is small if they begin above the data); on Gaussian data of
    the denoiser's prior spectrum there is no error at all. The modes are those of ``denoiser.spectrum``; a denoiser
    that has none is taken in the frame of unit variance.
    """

    order: int = 2

    def __post_init__(self) -> None:
        if self.order not in (2, 4):
            raise ValueError(f"the flow in the angles of the modes is of order 2 or 4, got {self.order}")

    @property
    def __name__(self) -> str:
        return f"modal_{self.order}m"

    def of(self, denoiser: Denoiser) -> BoundModalFlow:
        """The sampler in the modes of one denoiser."""
        spectrum = getattr(denoiser, "spectrum", None)
        if not hasattr(spectrum, "modes"):
            return BoundModalFlow(White(), self.order)
        return BoundModalFlow(cast(Modes, spectrum), self.order)

    def __call__(
        self,
        denoiser: Denoiser,
        levels: Tensor,
        y: Tensor,
        condition: Condition = None,
        noise: Callable[[int], Tensor] | None = None,
    ) -> Tensor:
        return self.of(denoiser)(denoiser, levels, y, condition, noise)


@dataclass(frozen=True)
class BoundModalFlow:
    """:class:`ModalFlow` in given modes; with the signature of :class:`physgen.diffusion.sampling.solver.Sampler`."""

    spectrum: Modes
    order: int = 2

    def start(self, white: Tensor, s: float, condition: Condition = None) -> Tensor:
        r"""y at the first level from white noise: :math:`\sqrt{P + s^2} z_k`, none of the data's variance missing."""
        power = self.spectrum(condition).to(white)
        return self.spectrum.field((power + s**2).sqrt() * self.spectrum.modes(white))

    def __call__(
        self,
        denoiser: Denoiser,
        levels: Tensor,
        y: Tensor,
        condition: Condition = None,
        noise: Callable[[int], Tensor] | None = None,
    ) -> Tensor:
        power = self.spectrum(condition).to(y)
        root, values = power.sqrt(), check_levels(levels)
        u = self.spectrum.modes(y) / (power + values[0] ** 2).sqrt()
        corrected, known = self.order > 2, 2 if self.order == 2 else 3
        past: list[tuple[Tensor, Tensor]] = []  # F and the angle of the step after it, latest first
        step: Step | None = None
        for s, s_next in pairwise(values):
            total = (power + s**2).sqrt()
            at = self.spectrum.field(total * u)
            level = torch.full((len(y),), s, dtype=y.dtype, device=y.device)
            rest = (self.spectrum.modes(denoiser(at, level, condition)) - power / total * u) * (total / (s * root))
            if corrected and step is not None:
                u = u + step.gain * (rest - step.expected)
            turned = torch.atan2(torch.full_like(root, s), root) - torch.atan2(torch.full_like(root, s_next), root)
            step = extrapolate(rest, turned, past)
            u, past = u + step.integral, [(rest, turned), *past][: known - 1]
        return self.spectrum.field((power + values[-1] ** 2).sqrt() * u)


@dataclass(frozen=True)
class Step:
    """A polynomial over the next step: its integral, its value at the end, and what a unit more there would add."""

    integral: Tensor
    expected: Tensor
    gain: Tensor


def extrapolate(value: Tensor, h: Tensor, past: Sequence[tuple[Tensor, Tensor]]) -> Step:
    r"""The polynomial through ``value`` and those of up to two steps before, over the next step h.

    ``past``: values and the steps :math:`h_1, h_2` that followed them, latest first. In Newton's divided differences,
    :math:`f + t f_{01} + t (t + h_1) f_{012}`; the polynomial that takes a value v at t = h too is this one plus
    :math:`(v - f(h))\, \omega(t)/\omega(h)` with :math:`\omega = t (t + h_1) (t + h_1 + h_2)`, so its integral is
    larger by (v - expected) gain.
    """
    if not past:
        return Step(h * value, value, h / 2)
    (before, h1), *further = past
    slope = (value - before) / h1
    integral, expected = value + slope * (h / 2), value + h * slope
    if not further:
        return Step(h * integral, expected, h * (h / 3 + h1 / 2) / (h + h1))
    first, h2 = further[0]
    bend, both = (slope - (before - first) / h2) / (h1 + h2), h1 + h2
    gain = h * (h.square() / 4 + (h1 + both) * h / 3 + h1 * both / 2) / ((h + h1) * (h + both))
    return Step(h * (integral + bend * h * (h / 3 + h1 / 2)), expected + h * (h + h1) * bend, gain)
