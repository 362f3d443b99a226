r"""Linear SDEs :math:`dx = f x\,dt + g\,dW` with closed-form marginals :math:`x_t = \alpha(t) x_0 + \sigma(t) z`.

With :math:`y = x/\alpha` and :math:`s = \sigma/\alpha` every one of them is :math:`y = x_0 + s z`: they differ by the
clock alone. The physicist's clock is the Ornstein-Uhlenbeck time :math:`t_{OU} = \tfrac12 \log(1 + s^2)`.

Shapes: B batch, C channels, \*grid lattice. Every function of t takes a float (computed in float64) or a tensor of
any shape (its dtype is kept) and is elementwise.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from physgen.diffusion.convention import Condition, Denoiser, like


def t_OU(s: float | Tensor) -> Tensor:
    r"""Ornstein-Uhlenbeck time :math:`t_{OU} = \tfrac12 \log(1 + s^2)` of a relative noise level s >= 0."""
    return 0.5 * torch.log1p(_tensor(s) ** 2)


def s_of_t_OU(t: float | Tensor) -> Tensor:
    r"""Relative noise level :math:`s = \sqrt{e^{2t} - 1}` at the Ornstein-Uhlenbeck time t >= 0."""
    return torch.sqrt(torch.expm1(2 * _tensor(t)))


def _tensor(t: float | Tensor) -> Tensor:
    return t if isinstance(t, Tensor) else torch.as_tensor(t, dtype=torch.float64)


@dataclass(frozen=True)
class SDE(ABC):
    r"""Base of all schedules; a schedule gives the five functions below and its last time ``t_end``."""

    @property
    def t_end(self) -> float:
        """Last time of the forward process, that of the prior."""
        return 1.0

    @abstractmethod
    def alpha(self, t: float | Tensor) -> Tensor:
        r"""Signal factor :math:`\alpha(t)`."""

    @abstractmethod
    def sigma(self, t: float | Tensor) -> Tensor:
        r"""Noise standard deviation :math:`\sigma(t)`."""

    @abstractmethod
    def drift(self, t: float | Tensor) -> Tensor:
        r"""Coefficient :math:`f(t) = d\log\alpha/dt` of x in the drift."""

    @abstractmethod
    def diffusion(self, t: float | Tensor) -> Tensor:
        r"""Coefficient :math:`g(t) = \sqrt{d\sigma^2/dt - 2 f \sigma^2}` of dW."""

    @abstractmethod
    def t_of_s(self, s: float | Tensor) -> Tensor:
        r"""Time at which :math:`\sigma/\alpha = s`, the inverse of :meth:`s`."""

    def s(self, t: float | Tensor) -> Tensor:
        r"""Relative noise level :math:`s = \sigma/\alpha`."""
        return self.sigma(t) / self.alpha(t)

    def log_snr(self, t: float | Tensor) -> Tensor:
        r"""Logarithm of the signal-to-noise ratio, :math:`\log(\alpha^2/\sigma^2) = -2 \log s`."""
        return -2 * torch.log(self.s(t))

    def t_of_log_snr(self, log_snr: float | Tensor) -> Tensor:
        r"""Time at which the logarithm of the signal-to-noise ratio has the given value."""
        return self.t_of_s(torch.exp(-0.5 * _tensor(log_snr)))

    def prior_std(self) -> float:
        r""":math:`\sigma(t_{end})` of the Gaussian prior, which neglects the signal left at the last time."""
        return float(self.sigma(self.t_end))

    def score(self, denoiser: Denoiser, x: Tensor, t: Tensor, condition: Condition = None) -> Tensor:
        r"""Score :math:`\nabla_x \log p_t(x) = (\alpha D(x/\alpha, s) - x)/\sigma^2` of x (B, C, \*grid) at t (B,)."""
        alpha, sigma = self.alpha(t), self.sigma(t)
        denoised = denoiser(x / like(alpha, x), sigma / alpha, condition)
        return (like(alpha, x) * denoised - x) / like(sigma, x) ** 2


@dataclass(frozen=True)
class OU(SDE):
    r"""Ornstein-Uhlenbeck :math:`dx = -x\,dt + \sqrt2\,dW`: :math:`\alpha = e^{-t}, \sigma^2 = 1 - e^{-2t}`."""

    duration: float = 5.0

    def __post_init__(self) -> None:
        if not self.duration > 0:
            raise ValueError(f"duration of an OU process must be positive, got {self.duration}")

    @property
    def t_end(self) -> float:
        return self.duration

    def alpha(self, t: float | Tensor) -> Tensor:
        return torch.exp(-_tensor(t))

    def sigma(self, t: float | Tensor) -> Tensor:
        return torch.sqrt(-torch.expm1(-2 * _tensor(t)))

    def drift(self, t: float | Tensor) -> Tensor:
        return -torch.ones_like(_tensor(t))

    def diffusion(self, t: float | Tensor) -> Tensor:
        return torch.full_like(_tensor(t), math.sqrt(2))

    def t_of_s(self, s: float | Tensor) -> Tensor:
        return t_OU(s)

    def s(self, t: float | Tensor) -> Tensor:
        return s_of_t_OU(t)


@dataclass(frozen=True)
class _LinearRate(SDE):
    r"""Song's linear noise rate :math:`\beta(t) = \beta_{min} + t (\beta_{max} - \beta_{min})`, t in [0, 1], with
    :math:`f = -\beta/2` and :math:`\alpha = e^{-B/2}, B(t) = \int_0^t \beta = \beta_{min} t + \tfrac12 (\beta_{max} -
    \beta_{min}) t^2`."""

    beta_min: float = 0.1
    beta_max: float = 20.0

    def __post_init__(self) -> None:
        if not 0 < self.beta_min <= self.beta_max:
            raise ValueError(f"noise rates need 0 < beta_min <= beta_max, got {self.beta_min} and {self.beta_max}")

    def noise_rate(self, t: float | Tensor) -> Tensor:
        r"""Song's :math:`\beta(t)`, not an inverse temperature."""
        return self.beta_min + _tensor(t) * (self.beta_max - self.beta_min)

    def integrated_rate(self, t: float | Tensor) -> Tensor:
        r""":math:`B(t) = \int_0^t \beta`."""
        t = _tensor(t)
        return t * (self.beta_min + 0.5 * (self.beta_max - self.beta_min) * t)

    def alpha(self, t: float | Tensor) -> Tensor:
        return torch.exp(-0.5 * self.integrated_rate(t))

    def drift(self, t: float | Tensor) -> Tensor:
        return -0.5 * self.noise_rate(t)

    def _t_of_rate(self, integrated: Tensor) -> Tensor:
        # the form of the quadratic's root that keeps its digits at small t and at beta_min = beta_max
        slope = self.beta_max - self.beta_min
        return 2 * integrated / (self.beta_min + torch.sqrt(self.beta_min**2 + 2 * slope * integrated))


@dataclass(frozen=True)
class VP(_LinearRate):
    r"""Variance-preserving :math:`dx = -\beta x\,dt/2 + \sqrt\beta\,dW`: :math:`\alpha^2 = e^{-B} = 1 - \sigma^2`.

    :math:`\beta(t) = \beta_{min} + t(\beta_{max} - \beta_{min}), B = \int_0^t \beta`, t in [0, 1]; at the defaults
    alpha(1) = 6.6e-3. It is the Ornstein-Uhlenbeck process in the clock :math:`t_{OU} = B/2`.
    Source: Song et al., arXiv:2011.13456, eqs. 11, 29.
    """

    def sigma(self, t: float | Tensor) -> Tensor:
        return torch.sqrt(-torch.expm1(-self.integrated_rate(t)))

    def diffusion(self, t: float | Tensor) -> Tensor:
        return torch.sqrt(self.noise_rate(t))

    def t_of_s(self, s: float | Tensor) -> Tensor:
        return self._t_of_rate(torch.log1p(_tensor(s) ** 2))

    def s(self, t: float | Tensor) -> Tensor:
        return torch.sqrt(torch.expm1(self.integrated_rate(t)))


@dataclass(frozen=True)
class SubVP(_LinearRate):
    r"""Sub-variance-preserving :math:`dx = -\tfrac12\beta x\,dt + \sqrt{\beta (1 - e^{-2B})}\,dW` with the rate of VP.

    :math:`\alpha^2 = e^{-B}, \sigma = 1 - e^{-B}, s = 2 \sinh(B/2)`.
    Source: Song et al., arXiv:2011.13456, eqs. 12, 29.
    """

    def sigma(self, t: float | Tensor) -> Tensor:
        return -torch.expm1(-self.integrated_rate(t))

    def diffusion(self, t: float | Tensor) -> Tensor:
        return torch.sqrt(-self.noise_rate(t) * torch.expm1(-2 * self.integrated_rate(t)))

    def t_of_s(self, s: float | Tensor) -> Tensor:
        return self._t_of_rate(2 * torch.asinh(0.5 * _tensor(s)))

    def s(self, t: float | Tensor) -> Tensor:
        return 2 * torch.sinh(0.5 * self.integrated_rate(t))


@dataclass(frozen=True)
class VE(SDE):
    r"""Variance-exploding: :math:`\alpha = 1, \sigma(t) = \sigma_{min} (\sigma_{max}/\sigma_{min})^t`, t in [0, 1].

    At t = 0 the field already carries sigma_min. Source: Song et al., arXiv:2011.13456, eqs. 9, 29 and appendix C.
    """

    sigma_min: float = 0.01
    sigma_max: float = 50.0

    def __post_init__(self) -> None:
        if not 0 < self.sigma_min < self.sigma_max:
            raise ValueError(f"noise levels need 0 < sigma_min < sigma_max, got {self.sigma_min} and {self.sigma_max}")

    @property
    def _log_ratio(self) -> float:
        return math.log(self.sigma_max / self.sigma_min)

    def alpha(self, t: float | Tensor) -> Tensor:
        return torch.ones_like(_tensor(t))

    def sigma(self, t: float | Tensor) -> Tensor:
        return self.sigma_min * torch.exp(_tensor(t) * self._log_ratio)

    def drift(self, t: float | Tensor) -> Tensor:
        return torch.zeros_like(_tensor(t))

    def diffusion(self, t: float | Tensor) -> Tensor:
        return self.sigma(t) * math.sqrt(2 * self._log_ratio)

    def t_of_s(self, s: float | Tensor) -> Tensor:
        return torch.log(_tensor(s) / self.sigma_min) / self._log_ratio


@dataclass(frozen=True)
class Cosine(SDE):
    r"""Cosine: :math:`\alpha = \cos\theta(t)/\cos\theta(0), \sigma^2 = 1 - \alpha^2, \theta = (\pi/2)(t + o)/(1 + o)`.

    t in [0, 1], o the offset; s is infinite at t = 1. Source: Nichol and Dhariwal, arXiv:2102.09672, eq. 17.
    """

    offset: float = 0.008

    def __post_init__(self) -> None:
        if not self.offset >= 0:
            raise ValueError(f"offset of the cosine schedule must be >= 0, got {self.offset}")

    @property
    def _theta_0(self) -> float:
        return self._speed * self.offset

    @property
    def _speed(self) -> float:
        return 0.5 * math.pi / (1 + self.offset)

    def _theta(self, t: float | Tensor) -> Tensor:
        return self._speed * (_tensor(t) + self.offset)

    def alpha(self, t: float | Tensor) -> Tensor:
        return torch.cos(self._theta(t)) / math.cos(self._theta_0)

    def sigma(self, t: float | Tensor) -> Tensor:
        # cos^2 a - cos^2 b = sin(b - a) sin(b + a) keeps the digits at small t
        step = self._speed * _tensor(t)
        return torch.sqrt(torch.sin(step) * torch.sin(step + 2 * self._theta_0)) / math.cos(self._theta_0)

    def drift(self, t: float | Tensor) -> Tensor:
        return -self._speed * torch.tan(self._theta(t))

    def diffusion(self, t: float | Tensor) -> Tensor:
        return torch.sqrt(-2 * self.drift(t))

    def t_of_s(self, s: float | Tensor) -> Tensor:
        tan2 = math.tan(self._theta_0) ** 2
        return torch.atan(torch.sqrt(tan2 + _tensor(s) ** 2 * (1 + tan2))) / self._speed - self.offset


@dataclass(frozen=True)
class RectifiedFlow(SDE):
    r"""Rectified flow: :math:`\alpha = 1 - t, \sigma = t`, so :math:`f = -1/(1-t), g^2 = 2t/(1-t)`.

    t in [0, 1]; s is infinite at t = 1. The SDE is the one with the flow's marginals.
    Source: Liu, Gong, Liu, arXiv:2209.03003.
    """

    def alpha(self, t: float | Tensor) -> Tensor:
        return 1 - _tensor(t)

    def sigma(self, t: float | Tensor) -> Tensor:
        return _tensor(t).clone()

    def drift(self, t: float | Tensor) -> Tensor:
        return -1 / (1 - _tensor(t))

    def diffusion(self, t: float | Tensor) -> Tensor:
        t = _tensor(t)
        return torch.sqrt(2 * t / (1 - t))

    def t_of_s(self, s: float | Tensor) -> Tensor:
        s = _tensor(s)
        return s / (1 + s)


SDES: dict[str, type[SDE]] = {
    "ou": OU, "vp": VP, "sub_vp": SubVP, "ve": VE, "cosine": Cosine, "rectified_flow": RectifiedFlow,
}  # fmt: skip
