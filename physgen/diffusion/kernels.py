r"""Gaussian reverse kernels :math:`p(y'|y)` from level s to s' < s: one mean, and the variance that each of them takes.

Given :math:`x_0`, :math:`q(y'|y, x_0) = N((1 - \rho) y + \rho x_0, s'^2 \rho)` with :math:`\rho = 1 - s'^2/s^2`. Given
y alone, :math:`x_0` has mean D and covariance C, so that the first two moments of :math:`q(y'|y)` are

.. math:: (1 - \rho) y + \rho D, \qquad s'^2 \rho + \rho^2 C.

A kernel states what it takes for C, diagonal in the sites or in the Fourier modes. Nothing of it needs to be right for
path weights to be unbiased; the better it is, the less they scatter.
Shapes: B batch, C channels, \*grid lattice; variances broadcast against (B, C, \*grid).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from physgen.diffusion.exact.field import GaussianField

CLOSEST = 1e-9  # of |m| to 1, so that a rounded denoiser gives no state probability zero


def share(s: float, s_next: float) -> float:
    r""":math:`\rho = 1 - s'^2/s^2` without cancellation."""
    return (s - s_next) * (s + s_next) / s**2


class Kernel(ABC):
    """Variances of the steps and of the start, in an orthonormal basis."""

    @abstractmethod
    def variance(self, denoised: Tensor, s: float, s_next: float) -> Tensor:
        """Variances of y' given y; for s_next = 0 those of x0, positive there too."""

    def start_mean(self, like: Tensor) -> Tensor:
        """Mean of the law that the first y is drawn from, broadcasting against (B, C, *grid)."""
        return torch.zeros_like(like)

    def start_variance(self, like: Tensor, s: float) -> Tensor:
        """Variances of the law that the first y is drawn from."""
        return torch.full_like(like, s**2)

    def mean(self, y: Tensor, denoised: Tensor, s: float, s_next: float) -> Tensor:
        r""":math:`(1 - \rho) y + \rho D`."""
        rho = share(s, s_next)
        return y * (1 - rho) + denoised * rho

    def colour(self, white: Tensor, variance: Tensor) -> Tensor:
        """White noise (B, C, *grid) given these variances."""
        return white * variance.sqrt()

    def whiten(self, noise: Tensor, variance: Tensor) -> Tensor:
        """The inverse of :meth:`colour`."""
        return noise / variance.sqrt()


@dataclass(frozen=True)
class Ancestral(Kernel):
    r"""DDPM's kernel, C = 0: variance :math:`s'^2 \rho`; the read-out at s' = 0, where this vanishes, takes s^2.

    Source: Ho, Jain, Abbeel, arXiv:2006.11239, eqs. 6 and 7, in (y, s).
    """

    def variance(self, denoised: Tensor, s: float, s_next: float) -> Tensor:
        return torch.full_like(denoised, s_next**2 * share(s, s_next) if s_next > 0 else s**2)


@dataclass(frozen=True)
class EulerMaruyama(Kernel):
    r"""Euler-Maruyama in the clock s^2: variance :math:`s^2 - s'^2`. Source: arXiv:2011.13456, eq. 6."""

    def variance(self, denoised: Tensor, s: float, s_next: float) -> Tensor:
        return torch.full_like(denoised, s**2 * share(s, s_next))


@dataclass(frozen=True)
class LocalCovariance(Kernel):
    r"""Spins :math:`\pm1`: :math:`C_{ii} = 1 - m_i^2` with m = D, the exact posterior variance of each spin.

    Correlations of the posterior between spins are left out. The start has variance 1 + s^2.

    Args:
        averaged: take the mean of 1 - m^2 over the sites in every one of them.
    """

    averaged: bool = False

    def variance(self, denoised: Tensor, s: float, s_next: float) -> Tensor:
        spread = 1 - denoised.clamp(-1 + CLOSEST, 1 - CLOSEST).square()
        if self.averaged:
            spread = spread.mean(dim=tuple(range(1, spread.ndim)), keepdim=True).expand_as(spread)
        rho = share(s, s_next)
        return s_next**2 * rho + rho**2 * spread

    def start_variance(self, like: Tensor, s: float) -> Tensor:
        return torch.full_like(like, 1 + s**2)


@dataclass(frozen=True)
class FourierCovariance(Kernel):
    r"""Stationary fields: :math:`C_k = P s^2/(P + s^2)` in the Fourier modes, from a Gaussian surrogate.

    Exact for the Gaussian field itself, read-out and start (variance P + s^2) included, at any number of steps.

    Args:
        surrogate: Gaussian field with the mean and the spectrum P of the data, e.g. ``GaussianField.fit(x)``.
    """

    surrogate: GaussianField

    def variance(self, denoised: Tensor, s: float, s_next: float) -> Tensor:
        power, rho = self._power(denoised), share(s, s_next)
        return s_next**2 * rho + rho**2 * (power / (power / s**2 + 1))

    def start_mean(self, like: Tensor) -> Tensor:
        mean = torch.as_tensor(self.surrogate.mean).to(like).expand(like.shape[1])
        return mean.reshape(-1, *[1] * (like.ndim - 2)).expand_as(like)

    def start_variance(self, like: Tensor, s: float) -> Tensor:
        return self._power(like) + s**2

    def colour(self, white: Tensor, variance: Tensor) -> Tensor:
        axes = tuple(range(2, white.ndim))
        return torch.fft.ifftn(torch.fft.fftn(white, dim=axes) * variance.sqrt(), dim=axes).real

    def whiten(self, noise: Tensor, variance: Tensor) -> Tensor:
        return self.colour(noise, 1 / variance)

    def _power(self, like: Tensor) -> Tensor:
        return self.surrogate.spectrum.to(like).expand_as(like)
