r"""Reverse kernels :math:`p(y'|y)` from level s to s' < s: Gaussians of one mean, and a mixture for spins.

Given :math:`x_0`, :math:`q(y'|y, x_0) = N((1 - \rho) y + \rho x_0, s'^2 \rho)` with :math:`\rho = 1 - s'^2/s^2`
(:mod:`physgen.diffusion.convention`). Given y alone, :math:`x_0` has mean D and covariance C, so that the first two
moments of :math:`q(y'|y)` are

.. math:: (1 - \rho) y + \rho D, \qquad s'^2 \rho + \rho^2 C.

A Gaussian kernel states what it takes for C, diagonal in the sites or in the Fourier modes. Nothing of it needs to be
right for path weights to be unbiased; the better it is, the less they scatter.

:class:`physgen.diffusion.inference.kernel_sampler.KernelSampler` draws each step from such a Gaussian. DDPM's step is
a draw from :math:`q(y'|y, x_0 = D)`, as if
:math:`x_0` were known: it misses the posterior covariance C of :math:`x_0` given y, and with it variance. A kernel
includes it, at the step to s' = 0 too, which is then N(D, C). With the Fourier-diagonal :math:`C = P s^2/(P + s^2)` of
a stationary Gaussian field every step and the start are exact, and so is the law of the samples with a single step.

Shapes: B batch, C channels, \*grid lattice; variances broadcast against (B, C, \*grid).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import ClassVar

import torch
from torch import Tensor

from physgen.diffusion.convention import Condition, bridge_mean, bridge_variance, elapsed, rho
from physgen.diffusion.discretization.dissipation import independent
from physgen.diffusion.exact.field import GaussianField
from physgen.diffusion.exact.law import LOG_2PI
from physgen.diffusion.noise import Stream

CLOSEST = 1e-9  # of |m| to 1, so that no state has probability zero when the denoiser is rounded


@dataclass(frozen=True)
class Noise:
    """Random numbers of a block of samples, (B, C, *grid) float64; every call takes the next step of the stream.

    Attributes:
        stream: at step 0. numbers: (B,) of the samples. shape: (C, *grid). steps: what the calls count.
    """

    stream: Stream
    numbers: Sequence[int] | Tensor
    shape: tuple[int, ...]
    steps: Iterator[int] = field(default_factory=count)

    def normal(self) -> Tensor:
        """Standard normal numbers (B, C, *grid), float64."""
        return self._next().normal(self.numbers, self.shape, torch.float64)

    def uniform(self) -> Tensor:
        """Uniform numbers in (0, 1), (B, C, *grid), float64."""
        return self._next().uniform(self.numbers, self.shape, torch.float64)

    def _next(self) -> Stream:
        return replace(self.stream, step=next(self.steps))


@dataclass(frozen=True)
class Move:
    """From y with denoised D(y, s) at level s to level s_next < s, which may be 0."""

    y: Tensor
    denoised: Tensor
    s: float
    s_next: float

    def toward(self, x0: Tensor) -> Tensor:
        r"""Mean :math:`(1 - \rho) y + \rho x_0` of :math:`q(y'|y, x_0)`."""
        return bridge_mean(self.y, x0, self.s, self.s_next)


class PathKernel(ABC):
    """Law of y' given y, and of the first y.

    ``reads_out``: whether its step to s' = 0 draws values of +-1.
    """

    reads_out: ClassVar[bool] = False

    def given(self, condition: Condition) -> PathKernel:
        """The kernel of samples with these conditions, tensors (B, ...); the same one unless it depends on them."""
        return self

    def started(self, denoise: Callable[[Tensor, float], Tensor], s: float) -> PathKernel:
        """The kernel of paths that begin at level s, where D(y, s) is ``denoise``; the same one unless it asks D."""
        return self

    @abstractmethod
    def draw(self, move: Move, noise: Noise) -> Tensor:
        """y' (B, C, *grid)."""

    @abstractmethod
    def log_density(self, move: Move, y_next: Tensor) -> Tensor:
        """log p(y'|y), (B,)."""

    @abstractmethod
    def start(self, noise: Noise, s: float) -> Tensor:
        """The first y."""

    @abstractmethod
    def log_start(self, y: Tensor, s: float) -> Tensor:
        """Its log-density, (B,)."""


class Kernel(PathKernel):
    """Gaussian: mean (1 - rho) y + rho D, variances diagonal in an orthonormal basis."""

    @abstractmethod
    def variance(self, denoised: Tensor, s: float, s_next: float) -> Tensor:
        """Variances of y' given y; for s_next = 0 those of x0, positive there too."""

    def mean(self, y: Tensor, denoised: Tensor, s: float, s_next: float) -> Tensor:
        r""":math:`(1 - \rho) y + \rho D`."""
        return Move(y, denoised, s, s_next).toward(denoised)

    def start_mean(self, y: Tensor) -> Tensor:
        """Mean of the first y, shape of y; 0 unless a kernel knows better."""
        return torch.zeros_like(y)

    def start_variance(self, y: Tensor, s: float) -> Tensor:
        """Variances of the first y in the kernel's basis; s^2 unless a kernel knows better."""
        return torch.full_like(y, s**2)

    def colour(self, white: Tensor, variance: Tensor) -> Tensor:
        """White noise (B, C, *grid) given these variances."""
        return white * variance.sqrt()

    def draw(self, move: Move, noise: Noise) -> Tensor:
        mean, variance = self._moments(move)
        return mean + self.colour(noise.normal(), variance)

    def log_density(self, move: Move, y_next: Tensor) -> Tensor:
        mean, variance = self._moments(move)
        return self._log_normal(y_next - mean, variance)

    def start(self, noise: Noise, s: float) -> Tensor:
        white = noise.normal()
        return self.start_mean(white) + self.colour(white, self.start_variance(white, s))

    def log_start(self, y: Tensor, s: float) -> Tensor:
        return self._log_normal(y - self.start_mean(y), self.start_variance(y, s))

    def _moments(self, move: Move) -> tuple[Tensor, Tensor]:
        variance = self.variance(move.denoised, move.s, move.s_next)
        return self.mean(move.y, move.denoised, move.s, move.s_next), variance

    def _log_normal(self, residual: Tensor, variance: Tensor) -> Tensor:
        return log_normal(self.colour(residual, 1 / variance), variance)


def log_normal(white: Tensor, variance: Tensor) -> Tensor:
    """Log-density (B,), at the coloured point, of white noise coloured with these variances."""
    return -0.5 * (white.square() + torch.log(variance) + LOG_2PI).flatten(1).sum(1)


@dataclass(frozen=True)
class Ancestral(Kernel):
    r"""DDPM's kernel, C = 0: variance :math:`s'^2 \rho`; the read-out at s' = 0, where this vanishes, takes s^2.

    Source: Ho, Jain, Abbeel, arXiv:2006.11239, eqs. 6 and 7, in (y, s).
    """

    def variance(self, denoised: Tensor, s: float, s_next: float) -> Tensor:
        return torch.full_like(denoised, bridge_variance(s, s_next) if s_next > 0 else s**2)


@dataclass(frozen=True)
class EulerMaruyama(Kernel):
    r"""Euler-Maruyama in the clock s^2: variance :math:`s^2 - s'^2`. Source: arXiv:2011.13456, eq. 6."""

    def variance(self, denoised: Tensor, s: float, s_next: float) -> Tensor:
        return torch.full_like(denoised, elapsed(s, s_next))


@dataclass(frozen=True)
class LocalCovariance(Kernel):
    r"""Spins :math:`\pm1`: :math:`C_{ii} = 1 - m_i^2` with m = D, the exact posterior variance of each spin.

    Correlations of the posterior between spins are left out. The start has variance 1 + s^2.

    Args:
        averaged: take the mean of 1 - m^2 over the sites in every one of them.
    """

    averaged: bool = False

    def variance(self, denoised: Tensor, s: float, s_next: float) -> Tensor:
        spread = 1 - magnetisation(denoised).square()
        if self.averaged:
            spread = spread.mean(dim=tuple(range(1, spread.ndim)), keepdim=True).expand_as(spread)
        return bridge_variance(s, s_next) + rho(s, s_next) ** 2 * spread

    def start_variance(self, y: Tensor, s: float) -> Tensor:
        return torch.full_like(y, 1 + s**2)


@dataclass(frozen=True)
class FourierCovariance(Kernel):
    r"""Stationary fields: :math:`C_k = P s^2/(P + s^2)` in the Fourier modes, from a Gaussian surrogate.

    Exact for the Gaussian field itself, read-out and start (variance P + s^2) included, at any number of steps.

    Args:
        surrogate: Gaussian field with the mean and the spectrum P of the data, e.g. ``GaussianField.fit(x)``.
    """

    surrogate: GaussianField

    def variance(self, denoised: Tensor, s: float, s_next: float) -> Tensor:
        power = self._power(denoised)
        return bridge_variance(s, s_next) + rho(s, s_next) ** 2 * (power / (power / s**2 + 1))

    def start_mean(self, y: Tensor) -> Tensor:
        mean = torch.as_tensor(self.surrogate.mean).to(y).expand(y.shape[1])
        return mean.reshape(-1, *[1] * (y.ndim - 2)).expand_as(y)

    def start_variance(self, y: Tensor, s: float) -> Tensor:
        return self._power(y) + s**2

    def colour(self, white: Tensor, variance: Tensor) -> Tensor:
        axes = tuple(range(2, white.ndim))
        return torch.fft.ifftn(torch.fft.fftn(white, dim=axes) * variance.sqrt(), dim=axes).real

    def _power(self, y: Tensor) -> Tensor:
        return self.surrogate.spectrum.to(y).expand_as(y)


@dataclass(frozen=True)
class SpinMixture(PathKernel):
    r"""Spins :math:`\pm1`, every one with its exact posterior and independent of the others:
    :math:`p(y'_i|y) = \sum_\pm \tfrac12 (1 \pm D_i)\, N(y'_i; (1 - \rho) y_i \pm \rho, s'^2 \rho)`.

    Two Gaussians a spin where :class:`LocalCovariance` takes one of the same mean and variance: a spin that is nearly
    sure may still turn, so that weights keep no heavy tail at small s. At s' = 0 it is the Bernoulli read-out.

    In a field, the entry ``field`` of the condition, paths begin from spins of the means D(0, s), those of the law
    itself, seen at the first level (:mod:`physgen.diffusion.inference.paired_kernel` says why).

    Args:
        field: (B, C, \*grid) of the condition, or None. origin: means (B, C, \*grid) that paths begin from, or None.
    """

    reads_out: ClassVar[bool] = True

    field: Tensor | None = None
    origin: Tensor | None = None

    def given(self, condition: Condition) -> PathKernel:
        """With the field of a condition, where it has one."""
        return replace(self, field=(condition or {}).get("field"))

    def started(self, denoise: Callable[[Tensor, float], Tensor], s: float) -> PathKernel:
        """In a field, with the means D(0, s) as the origin."""
        if self.field is None:
            return self
        return replace(self, origin=magnetisation(denoise(torch.zeros_like(self.field, dtype=torch.float64), s)))

    def draw(self, move: Move, noise: Noise) -> Tensor:
        up = 0.5 * (1 + magnetisation(move.denoised))
        spins = torch.where(noise.uniform() < up, 1.0, -1.0).to(move.y)
        if move.s_next == 0:
            return spins
        return move.toward(spins) + bridge_variance(move.s, move.s_next) ** 0.5 * noise.normal()

    def log_density(self, move: Move, y_next: Tensor) -> Tensor:
        """ln of the density (B,) of the mixture at ``y_next``, at s' = 0 of the probability of its spins."""
        m = magnetisation(move.denoised)
        if move.s_next == 0:
            return torch.log(0.5 * (1 + y_next * m)).flatten(1).sum(1)
        up, down = (move.toward(torch.full_like(y_next, sign)) for sign in (1, -1))
        return _log_mixture(y_next, (up, down), m, bridge_variance(move.s, move.s_next))

    def covariance_times(self, mean: Tensor, v: Tensor) -> Tensor:
        """What the kernel takes for C times v."""
        return independent(mean, v)

    def start(self, noise: Noise, s: float) -> Tensor:
        if self.origin is None:
            return LocalCovariance().start(noise, s)
        uniform = noise.uniform()
        return torch.where(uniform < 0.5 * (1 + self.origin), 1.0, -1.0).to(uniform) + s * noise.normal()

    def log_start(self, y: Tensor, s: float) -> Tensor:
        if self.origin is None:
            return LocalCovariance().log_start(y, s)
        return _log_mixture(y, (torch.ones_like(y), -torch.ones_like(y)), self.origin, s**2)


def _log_mixture(y: Tensor, centres: tuple[Tensor, Tensor], mean: Tensor, variance: float) -> Tensor:
    r""":math:`\ln \prod_i \sum_\pm \tfrac12 (1 \pm m_i) N(y_i; c_{\pm,i}, variance)`, (B,)."""
    ends = [
        torch.log(0.5 * (1 + sign * mean)) - 0.5 * (y - centre).square() / variance
        for sign, centre in zip((1, -1), centres, strict=True)
    ]
    return (torch.logaddexp(*ends) - 0.5 * (LOG_2PI + math.log(variance))).flatten(1).sum(1)


def magnetisation(denoised: Tensor) -> Tensor:
    """The denoised, kept away from certainty."""
    return denoised.clamp(-1 + CLOSEST, 1 - CLOSEST)
