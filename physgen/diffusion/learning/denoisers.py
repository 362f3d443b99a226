r"""Denoisers :math:`D(y, s, c) \approx E[x_0 | y]` made of a network, their loss, and distributions of noise levels.

y = x0 + s * noise. The networks see inputs of unit variance and c_noise = ln(s)/4.
Shapes: B batch, C channels, *grid lattice; y (B, C, *grid), s (B,), condition a dict of tensors (B, ...) or None.
Everything outside the network is computed in the precision of its weights, float64 or else float32, under autocast too.

:class:`FieldDenoiser` and :class:`SpinDenoiser` know the physics of their data;
:mod:`physgen.diffusion.learning.heads` holds those that predict what other codes let a network predict.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from physgen.diffusion.convention import Condition, Denoiser, in_dtype, like, local_field, turned
from physgen.diffusion.learning.calibration import LinearCalibration
from physgen.diffusion.learning.prior_spectrum import Spectrum


def working_dtype(network: Callable[..., Tensor]) -> torch.dtype:
    """float64 where the first weight is float64 (``denoiser.double()``), else float32."""
    first = next(network.parameters(), None) if isinstance(network, nn.Module) else None
    return torch.float64 if first is not None and first.dtype == torch.float64 else torch.float32


class LevelDistribution(Protocol):
    """Distribution of training noise levels, given by its quantile function u in (0, 1) -> s."""

    def __call__(self, u: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class LogNormal:
    r""":math:`\ln s \sim N(\mathrm{mean}, \mathrm{std}^2)`; images: -1.2, 1.2 (Karras et al. 2206.00364, table 1)."""

    mean: float = -1.2
    std: float = 1.2

    def __call__(self, u: Tensor) -> Tensor:
        return torch.exp(self.mean + self.std * torch.special.ndtri(u))


@dataclass(frozen=True)
class LogUniform:
    r""":math:`\ln s` uniform between ``s_min`` and ``s_max``."""

    s_min: float = 0.01
    s_max: float = 100.0

    def __post_init__(self) -> None:
        if not 0 < self.s_min < self.s_max:
            raise ValueError(f"noise levels need 0 < s_min < s_max, got {self.s_min}, {self.s_max}")

    def __call__(self, u: Tensor) -> Tensor:
        return self.s_min * torch.exp(u * math.log(self.s_max / self.s_min))


def denoising_loss(
    denoiser: Denoiser, x0: Tensor, s: Tensor, noise: Tensor, condition: Condition = None, scale: Tensor | None = None
) -> Tensor:
    r"""Denoising score matching :math:`\langle (D(x_0 + s z, s) - x_0)^2 \rangle / \mathrm{scale}(s)`, shape (B,).

    ``scale`` (B,) is the mean squared error expected of a reference at this level, so that every level contributes
    O(1). Default: the denoiser's own ``error_scale(s, condition)`` if it has one, else s^2/(1 + s^2) (unit-variance
    data; then this is the weighting of Karras et al. 2206.00364). A denoiser that has ``relative_error(x0, s, noise,
    condition)`` computes that default itself.
    """
    s = s.float()
    if scale is None and hasattr(denoiser, "relative_error"):
        return denoiser.relative_error(x0, s, noise, condition)
    error = (denoiser(x0 + like(s, x0) * noise, s, condition) - x0).float().square().flatten(1).mean(1)
    if scale is None:
        own = getattr(denoiser, "error_scale", None)
        scale = own(s, condition) if own is not None else s.square() / (1 + s.square())
    return error / scale


class SpectralDenoiser(nn.Module):
    r"""What all denoisers of real numbers know of their data: the power P of each mode, and what follows from it.

    Without a spectrum P = sigma_data^2 (no transform). The linear denoiser :math:`P y_k/(P + s^2)` of the Gaussian law
    with this power is the ``baseline`` that a network is compared with, its error the scale of the loss.

    Args:
        network: module F(x, c_noise, condition).
        spectrum: Spectrum (see fit_spectrum) or None. sigma_data: used without a spectrum.
    """

    def __init__(self, network: nn.Module, spectrum: Spectrum | None = None, sigma_data: float = 1.0) -> None:
        super().__init__()
        self.network, self.spectrum, self.sigma_data = network, spectrum, sigma_data

    @property
    def fixed_operations(self) -> bool:
        """Whether calls of one shape are one sequence of operations: see :mod:`physgen.diffusion.recording`."""
        return bool(getattr(self.network, "fixed_operations", False))

    def baseline(self, y: Tensor, s: Tensor, condition: Condition = None) -> Tensor:
        """The Wiener filter alone: what Gaussian information gives."""
        dtype = working_dtype(self.network)
        y, s, condition = y.to(dtype), s.to(dtype), in_dtype(condition, dtype)
        power, modes = self._power(y, condition), self._modes(y)
        return self._field(power / (power + like(s, modes).square()) * modes)

    def prior_covariance(self, y: Tensor, s: Tensor, condition: Condition = None) -> Callable[[Tensor], Tensor]:
        """Posterior covariance of the Wiener filter, P s^2/(P + s^2) by modes, as a function of x like y."""
        power = self._power(y, in_dtype(condition, y.dtype))
        variance = like(s, y if self.spectrum is None or self.spectrum.grid else power).square()
        kept = power * variance / (power + variance)
        return lambda x: self._field(kept * self._modes(x))

    def linear_trace(self, y: Tensor, s: Tensor, condition: Condition = None) -> Tensor:
        r"""Trace of the linear map :meth:`baseline` at fields like y: sum over modes of :math:`P/(P + s^2)`, (B,)."""
        if self.spectrum is None:
            return y[0].numel() * self.sigma_data**2 / (self.sigma_data**2 + s.square())
        power = self.spectrum(condition).to(s.dtype)
        kept = self.spectrum.mean_over_modes(power / (power + like(s, power).square()))
        return y[0].numel() * kept

    def surrogate_log_density(self, x: Tensor, s: Tensor, condition: Condition = None) -> Tensor:
        r"""Mean over noise z of the log-density of x + s z in the Gaussian field of the spectrum, (B,), nats:

        .. math:: -\tfrac12 \sum_k \frac{|\tilde x_k|^2 + s^2}{P + s^2} + \ln 2\pi(P + s^2) .
        """
        dtype = working_dtype(self.network)
        x, s, condition = x.to(dtype), s.to(dtype), in_dtype(condition, dtype)
        variance = like(s, x).square() + self._power(x, condition)
        modes = self._modes(x)
        sites = 1 if self.spectrum is None else math.prod(x.shape[2:])
        terms = (modes.abs().square() / sites + like(s, x).square()) / variance + torch.log(2 * math.pi * variance)
        if self.spectrum is None:
            return -0.5 * terms.flatten(1).sum(1)
        return -0.5 * x[0].numel() * self.spectrum.mean_over_modes(terms)

    def error_scale(self, s: Tensor, condition: Condition = None) -> Tensor:
        """Expected mean squared error of the Wiener filter, mean over modes of P s^2/(P + s^2), shape (B,)."""
        if self.spectrum is None:
            return s.square() * self.sigma_data**2 / (s.square() + self.sigma_data**2)
        power = self.spectrum(condition)
        variance = like(s, power).square()
        return self.spectrum.mean_over_modes(power * variance / (power + variance))

    def _power(self, y: Tensor, condition: Condition) -> Tensor:
        if self.spectrum is None:
            return torch.full((), self.sigma_data**2, dtype=y.dtype, device=y.device)
        if tuple(y.shape[2:]) != self.spectrum.grid:
            raise ValueError(
                f"this denoiser has a spectrum on the grid {self.spectrum.grid}, got a field on {tuple(y.shape[2:])}; "
                "take fields of the grid it was fitted on"
            )
        return self.spectrum(condition)

    def _modes(self, x: Tensor) -> Tensor:
        return x if self.spectrum is None else self.spectrum.modes(x)

    def _field(self, modes: Tensor) -> Tensor:
        return modes if self.spectrum is None else self.spectrum.field(modes)


class FieldDenoiser(SpectralDenoiser):
    r"""Wiener filter plus network, mode by mode:

    .. math:: D_k = \frac{P}{P + s^2} y_k + \frac{s \sqrt P}{\sqrt{P + s^2}} F_k, \qquad
              F = \mathrm{network}\big(y_k / \sqrt{P + s^2}, \ln(s)/4, c\big).

    The preconditioning of Karras et al. (2206.00364, table 1) with sigma_data^2 replaced by the power P(k; labels) of
    each Fourier mode, for vectors of each principal axis. With F = 0, as a network with a zero last layer starts, it is
    the exact denoiser of the Gaussian field of that spectrum. Without a spectrum P = sigma_data^2 (no transform). The
    loss is the squared error over that of the Wiener filter, which is also, up to a factor of the level, the
    likelihood weighting of modes.

    ``calibration``, None at first, corrects the linear part of a trained network
    (:mod:`physgen.diffusion.learning.calibration`).

    Args:
        network: module F(x, c_noise, condition).
        spectrum: Spectrum (see fit_spectrum) or None. sigma_data: used without a spectrum.
    """

    calibration: LinearCalibration | None

    def __init__(self, network: nn.Module, spectrum: Spectrum | None = None, sigma_data: float = 1.0) -> None:
        super().__init__(network, spectrum, sigma_data)
        self.calibration = None

    def forward(self, y: Tensor, s: Tensor, condition: Condition = None) -> Tensor:
        """D(y, s), shape of y; condition as the network and the spectrum want it."""
        dtype = working_dtype(self.network)
        y, s, condition = y.to(dtype), s.to(dtype), in_dtype(condition, dtype)
        power, modes = self._power(y, condition), self._modes(y)
        variance = like(s, modes).square()
        total = power + variance
        output = self.network(self._field(modes / total.sqrt()), s.log() / 4, condition).to(dtype)
        gain, learned = (power * variance / total).sqrt(), self._modes(output)
        if self.calibration is not None:
            learned = learned + self.calibration(s, condition) * (modes / total.sqrt())
        return self._field(power / total * modes + gain * learned)

    def relative_error(self, x0: Tensor, s: Tensor, noise: Tensor, condition: Condition = None) -> Tensor:
        r"""Squared error of D(x0 + s z, s) over that of the Wiener filter, :func:`denoising_loss`, shape (B,).

        Summed over modes, where D need not be transformed back (nor its gradient forth), P is needed once, and what
        the Wiener filter leaves is not the difference of two large numbers:

        .. math:: D_k - x_k = \frac{s}{\sqrt{P + s^2}} \Big(\frac{P z_k - s x_k}{\sqrt{P + s^2}} + \sqrt P F_k\Big).
        """
        dtype = working_dtype(self.network)
        x0, s, noise, condition = x0.to(dtype), s.to(dtype), noise.to(dtype), in_dtype(condition, dtype)
        if self.spectrum is None:
            error = (self(x0 + like(s, x0) * noise, s, condition) - x0).square().flatten(1).mean(1)
            return (error / self.error_scale(s, condition)).float()
        power, clean, white = self._power(x0, condition), self._modes(x0), self._modes(noise)
        level = like(s, power)
        shrink = (power + level.square()).rsqrt()
        scaled = (clean + level * white) * shrink
        learned = self._modes(self.network(self._field(scaled), s.log() / 4, condition).to(dtype))
        if self.calibration is not None:
            learned = learned + self.calibration(s, condition) * scaled
        missed = (power * white - level * clean) * shrink + power.sqrt() * learned
        weight = (level * shrink).square()
        squares = torch.view_as_real(missed).square().sum(-1) if missed.is_complex() else missed.square()
        error = self.spectrum.mean_over_modes(weight * squares)
        return (error / math.prod(x0.shape[2:]) / self.spectrum.mean_over_modes(weight * power)).float()


class SpinDenoiser(nn.Module):
    r"""Magnetisation of +-1 spins in the field y/s^2: :math:`m = \tanh\big(y/s^2 + F/\sqrt{1 + s^2}\big)`.

    :math:`F = \mathrm{network}(y/\sqrt{1 + s^2}, \ln(s)/4, c)`; F = 0 is exact for free spins. The optimal m is the
    mean spin of the same model in the additional field T y/s^2 (Bayes), hence the logit; the factor of F is its
    size: couplings add O(1) to the logit at small s and O(1/s) at large s. The condition's ``field`` adds to y/s^2.

    Args:
        network: module F(x, c_noise, condition).
        antisymmetric: use (F(x) - F(-x))/2, exact Z2 symmetry for a network that lacks it (twice the cost).
    """

    def __init__(self, network: nn.Module, antisymmetric: bool = False) -> None:
        super().__init__()
        self.network, self.antisymmetric = network, antisymmetric

    @property
    def fixed_operations(self) -> bool:
        """Whether calls of one shape are one sequence of operations: see :mod:`physgen.diffusion.recording`."""
        return bool(getattr(self.network, "fixed_operations", False))

    def forward(self, y: Tensor, s: Tensor, condition: Condition = None) -> Tensor:
        """Magnetisation (B, C, *grid) in (-1, 1)."""
        dtype = working_dtype(self.network)
        y, s, condition = y.to(dtype), s.to(dtype), in_dtype(condition, dtype)
        variance = like(s, y).square()
        x, c_noise = y / (1 + variance).sqrt(), s.log() / 4
        output = self.network(x, c_noise, condition).to(dtype)
        if self.antisymmetric:
            output = (output - self.network(-x, c_noise, turned(condition)).to(dtype)) / 2
        return torch.tanh(local_field(y, s, condition) + output / (1 + variance).sqrt())

    def baseline(self, y: Tensor, s: Tensor, condition: Condition = None) -> Tensor:
        """Free spins, tanh(y/s^2), in their field where there is one."""
        return torch.tanh(local_field(y, s, condition))

    def error_scale(self, s: Tensor, condition: Condition = None) -> Tensor:
        """s^2/(1 + s^2): the error of the best linear denoiser of free spins."""
        return s.square() / (1 + s.square())
