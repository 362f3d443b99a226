r"""Probability flow in the angles of the Fourier modes: exact for a Gaussian field at any number of steps.

A field of real numbers is, at large scales above all, nearly a Gaussian one of known spectrum P(k; labels), and its
denoiser (:class:`physgen.diffusion.learning.denoisers.FieldDenoiser`) a Wiener filter plus a small rest,
:math:`D_k = \frac{P}{P + s^2} y_k + \frac{s \sqrt P}{\sqrt{P + s^2}} F_k`. Other solvers take D as it comes, and spend
their steps on the Wiener filter, whose flow is known: with

.. math:: y_k = \sqrt{P + s^2}\, u_k, \qquad \tan\theta_k = s/\sqrt P, \qquad \frac{du_k}{d\theta_k} = -F_k,

where the flow dy/ds = (y - D)/s was used. With F = 0 the modes u stand still: the variance of every mode is exact from
the first level to s = 0, however few levels lie between, the start :math:`u = z` included. What is left to integrate is
the rest F, along an angle of its own for each mode, by the rule of Adams and Bashforth.

Sources: exponential integrators (Hochbruck & Ostermann, Acta Numerica 19 (2010) 209) with the linear part that the data
have; the angle of signal and noise of one variance for all modes: Salimans & Ho, 2202.00512.

Shapes: B batch, C channels, \*grid lattice; y (B, C, \*grid), s (B,).
"""

from __future__ import annotations

from collections.abc import Callable
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
    """Adams-Bashforth of order 2 in the angles of the modes, one evaluation a step; deterministic.

    Order 2 on any levels, the step to s = 0 is one like the others; on Gaussian data of the denoiser's prior spectrum
    it makes no error at all. The modes are those of ``denoiser.spectrum``; a denoiser that has none is taken in the
    frame of unit variance.
    """

    order: int = 2
    __name__ = "modal_2m"

    def of(self, denoiser: Denoiser) -> BoundModalFlow:
        """The sampler in the modes of one denoiser."""
        spectrum = getattr(denoiser, "spectrum", None)
        if not hasattr(spectrum, "modes"):
            return BoundModalFlow(White())
        return BoundModalFlow(cast(Modes, spectrum))

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
        past: tuple[Tensor, Tensor] | None = None
        for s, s_next in pairwise(values):
            total = (power + s**2).sqrt()
            at = self.spectrum.field(total * u)
            level = torch.full((len(y),), s, dtype=y.dtype, device=y.device)
            rest = (self.spectrum.modes(denoiser(at, level, condition)) - power / total * u) * (total / (s * root))
            turned = torch.atan2(torch.full_like(root, s), root) - torch.atan2(torch.full_like(root, s_next), root)
            slope = rest if past is None else rest + (rest - past[0]) * (turned / (2 * past[1]))
            u, past = u + turned * slope, (rest, turned)
        return self.spectrum.field((power + values[-1] ** 2).sqrt() * u)
