r"""The stochastic sampler that draws each step from a Gaussian kernel with a posterior covariance.

DDPM's step is a draw from :math:`q(y'|y, x_0 = D)`, as if :math:`x_0` were known: it misses the posterior covariance C
of :math:`x_0` given y, and with it variance. A kernel of :mod:`physgen.diffusion.kernels` puts it in:

.. math:: y' \sim N\big((1 - \rho) y + \rho D,\; s'^2 \rho + \rho^2 C\big), \qquad \rho = 1 - s'^2/s^2,

the step to s' = 0, where it is N(D, C), included. With the Fourier-diagonal :math:`C = P s^2/(P + s^2)` of a stationary
Gaussian field every step and the start are exact: so is the law of the samples, from a single step on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from physgen.diffusion.convention import Condition, Denoiser
from physgen.diffusion.grid import check_levels
from physgen.diffusion.kernels import Kernel
from physgen.diffusion.solver import StepNoise


@dataclass(frozen=True)
class KernelSampler:
    r"""Sampler of a kernel, e.g. ``KernelSampler(FourierCovariance(GaussianField.fit(x)))`` for stationary fields.

    One evaluation a step, stochastic, every step to 0 included. It takes y as white noise of variance
    :math:`s_{max}^2` and gives it the mean and the variance of the kernel's start. Weak order 1 in general, like
    :data:`physgen.diffusion.stochastic.ancestral`, with a much smaller error; no error at all for Gaussian fields of
    the kernel's spectrum. The last step draws noise: the spread of :math:`x_0` that D does not resolve is that of the
    surrogate there, right in variance, Gaussian in shape.

    Source: Bao et al., arXiv:2201.06503 (scalar covariance).
    """

    kernel: Kernel

    def step(
        self, denoiser: Denoiser, y: Tensor, s: float, s_next: float, condition: Condition = None
    ) -> tuple[Tensor, Tensor]:
        r"""Mean (B, C, \*grid) of y' given y, and standard deviations in the kernel's basis (sites or modes)."""
        denoised = denoiser(y, torch.full((y.shape[0],), s, dtype=y.dtype, device=y.device), condition)
        return self.kernel.mean(y, denoised, s, s_next), self.kernel.variance(denoised, s, s_next).sqrt()

    def start(self, white: Tensor, s: float) -> Tensor:
        """y at the first level from white noise of unit variance."""
        return self.kernel.start_mean(white) + self.kernel.colour(white, self.kernel.start_variance(white, s))

    def __call__(
        self, denoiser: Denoiser, levels: Tensor, y: Tensor, condition: Condition = None, noise: StepNoise | None = None
    ) -> Tensor:
        draw = _source(noise)
        values = check_levels(levels)
        y = self.start(y / values[0], values[0])
        for i, (s, s_next) in enumerate(pairwise(values)):
            mean, std = self.step(denoiser, y, s, s_next, condition)
            y = mean + self.kernel.colour(draw(i), std.square())
        return y


def _source(noise: StepNoise | None) -> Callable[[int], Tensor]:
    if noise is None:
        raise ValueError("a stochastic sampler needs noise, got None; pass a function: step index -> tensor like y")
    return noise
