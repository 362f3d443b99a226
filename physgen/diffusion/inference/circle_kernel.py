r"""A reverse kernel for angles: at each site a mixture of Gaussians over the circle, read out as an angle.

Values are unit vectors :math:`e(\theta)`. Given y the law of :math:`\theta_i` is taken to be von Mises's of the vector
:math:`a_i` whose mean is the denoised :math:`D_i`, each site independent of the others. With :math:`h = y/s^2` and
:math:`\Delta = 1/s'^2 - 1/s^2` a step adds :math:`\delta = \Delta e + \sqrt\Delta z` to h, of density

.. math:: p(\delta) = \int \frac{e^{a \cdot e(\theta)}}{2\pi I_0(|a|)}\,
          \frac{e^{-|\delta - \Delta e(\theta)|^2/2\Delta}}{2\pi\Delta}\,d\theta
          = \frac{e^{-|\delta|^2/2\Delta - \Delta/2}}{2\pi\Delta}\,\frac{I_0(|a + \delta|)}{I_0(|a|)}.

At s' = 0 an angle is drawn, of density :math:`e^{a \cdot e}/2\pi I_0(|a|)` per radian. Nothing of D needs to be right
for the weights of paths to be unbiased.

Shapes: B batch, two channels, \*grid lattice.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from physgen.diffusion.exact import von_mises
from physgen.diffusion.exact.law import LOG_2PI
from physgen.diffusion.inference.reverse_kernels import Move, Noise, PathKernel


@dataclass(frozen=True)
class CircleMixture(PathKernel):
    """Independent angles, each with the mean vector of the denoiser."""

    reads_out: ClassVar[bool] = True

    def draw(self, move: Move, noise: Noise) -> Tensor:
        laws, uniform = von_mises.vector_of(move.denoised), noise.uniform()
        values = von_mises.drawn(laws, uniform[:, :1])
        if move.s_next == 0:
            return values
        step = move.s_next**-2 - move.s**-2
        return move.s_next**2 * (move.y / move.s**2 + step * values + math.sqrt(step) * noise.normal())

    def log_density(self, move: Move, y_next: Tensor) -> Tensor:
        """ln of the density (B,) of the mixture at ``y_next``, at s' = 0 of that of its angles, per radian each."""
        laws = von_mises.vector_of(move.denoised)
        if move.s_next == 0:
            return log_density_of(laws, y_next, None)
        added = y_next / move.s_next**2 - move.y / move.s**2
        scale = 2 * math.prod(y_next.shape[1:]) * math.log(move.s_next)
        return log_density_of(laws, added, move.s_next**-2 - move.s**-2) - scale

    def covariance_times(self, mean: Tensor, v: Tensor) -> Tensor:
        """What the kernel takes for C times v."""
        return von_mises.covariance_times(von_mises.vector_of(mean), v)

    def start(self, noise: Noise, s: float) -> Tensor:
        """Uniform angles with noise: what y is where they are independent."""
        uniform = noise.uniform()
        return von_mises.drawn(torch.zeros_like(uniform), uniform[:, :1]) + s * noise.normal()

    def log_start(self, y: Tensor, s: float) -> Tensor:
        scale = 2 * math.prod(y.shape[1:]) * math.log(s)
        return log_density_of(torch.zeros_like(y), y / s**2, s**-2) - scale


def log_density_of(laws: Tensor, added: Tensor, step: float | None) -> Tensor:
    r"""ln of the density (B,) of increments of independent sites, or of angles as vectors where there is no step.

    Args:
        laws: a (B, 2, \*grid). added: :math:`\delta`, the same shape, or e. step: :math:`\Delta`, or None.
    """
    if step is None:
        each = (laws * added).sum(1, keepdim=True) - von_mises.log_bessel(laws) - LOG_2PI
        return each.flatten(1).sum(1)
    even = -0.5 * added.square().sum(1, keepdim=True) / step - 0.5 * step - math.log(step) - LOG_2PI
    return (even + von_mises.log_bessel(laws + added) - von_mises.log_bessel(laws)).flatten(1).sum(1)
