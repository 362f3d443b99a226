r"""The Gaussian reverse kernel of a trained denoiser: the posterior covariance of its own prior spectrum.

In the modes of the spectrum P(k; labels) that a :class:`physgen.diffusion.learning.denoisers.FieldDenoiser` starts
from (Fourier modes of a field, principal axes of vectors)

.. math:: p(y'|y) = N\big((1 - \rho) y + \rho D,\; s'^2 \rho + \rho^2 P s^2/(P + s^2)\big), \qquad
          p(y_0) = N(0, P + s_0^2),

which is :class:`physgen.diffusion.inference.reverse_kernels.FourierCovariance` with the labels of each sample: exact at
any number of steps for a Gaussian field, and for any data with the mean squared error of the Wiener filter in place of
the posterior covariance of each sample.

Shapes: B batch, C channels, \*grid lattice, \*rfft its half-spectrum.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from physgen.diffusion.convention import Condition, bridge_variance, rho
from physgen.diffusion.exact.law import LOG_2PI
from physgen.diffusion.inference.reverse_kernels import Kernel, PathKernel
from physgen.diffusion.learning.prior_spectrum import Spectrum


@dataclass(frozen=True)
class SpectrumCovariance(Kernel):
    r"""Gaussian steps with the posterior covariance of a fitted spectrum.

    Args:
        spectrum: of the training data. power: P (B or 1, C, \*rfft) under the conditions at hand; made by ``given``.
    """

    spectrum: Spectrum
    power: Tensor | None = None

    def given(self, condition: Condition) -> PathKernel:
        """With the power under these labels."""
        return replace(self, power=self.spectrum(dict(condition) if condition else None).double())

    def variance(self, denoised: Tensor, s: float, s_next: float) -> Tensor:
        power = self._power
        return bridge_variance(s, s_next) + rho(s, s_next) ** 2 * (power / (power / s**2 + 1))

    def start_variance(self, y: Tensor, s: float) -> Tensor:
        return self._power + s**2

    def colour(self, white: Tensor, variance: Tensor) -> Tensor:
        return self.spectrum.field(self.spectrum.modes(white) * variance.sqrt())

    def _log_normal(self, residual: Tensor, variance: Tensor) -> Tensor:
        white = self.colour(residual, 1 / variance).square() + LOG_2PI
        volume = (self.spectrum.multiplicity * variance.log()).flatten(1).sum(1)
        return -0.5 * (white.flatten(1).sum(1) + volume)

    @property
    def _power(self) -> Tensor:
        if self.power is None:
            raise ValueError("a kernel of a spectrum needs labels first, got none: call given(condition)")
        return self.power
