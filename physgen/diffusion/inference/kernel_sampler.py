r"""A sampler that draws each step from a Gaussian reverse kernel, posterior covariance included.

Shapes: B batch, C channels, \*grid lattice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from physgen.diffusion.convention import Condition, Denoiser
from physgen.diffusion.inference.reverse_kernels import Kernel
from physgen.diffusion.levels import check_levels
from physgen.diffusion.sampling.solver import StepNoise


@dataclass(frozen=True)
class KernelSampler:
    r"""Sampler of a kernel, e.g. ``KernelSampler(FourierCovariance(GaussianField.fit(x)))`` for stationary fields.

    One evaluation a step, stochastic, every step to 0 included. :func:`physgen.diffusion.sampling.samplers.sample`
    begins with :meth:`start`, which gives white noise the mean and the variance of the kernel's start. Weak order 1 in
    general, like :data:`physgen.diffusion.sampling.stochastic.ancestral`, with a much smaller error; no error at all
    for Gaussian fields of the kernel's spectrum. The last step draws noise: the spread of :math:`x_0` that D does not
    resolve is that of the surrogate there, right in variance, Gaussian in shape.

    Source: Bao et al., arXiv:2201.06503 (scalar covariance).
    """

    kernel: Kernel

    def step(
        self, denoiser: Denoiser, y: Tensor, s: float, s_next: float, condition: Condition = None
    ) -> tuple[Tensor, Tensor]:
        r"""Mean (B, C, \*grid) of y' given y, and standard deviations in the kernel's basis (sites or modes)."""
        denoised = denoiser(y, torch.full((y.shape[0],), s, dtype=y.dtype, device=y.device), condition)
        return self.kernel.mean(y, denoised, s, s_next), self.kernel.variance(denoised, s, s_next).sqrt()

    def start(self, white: Tensor, s: float, condition: Condition = None) -> Tensor:
        """y at the first level from white noise of unit variance."""
        return self.kernel.start_mean(white) + self.kernel.colour(white, self.kernel.start_variance(white, s))

    def __call__(
        self, denoiser: Denoiser, levels: Tensor, y: Tensor, condition: Condition = None, noise: StepNoise | None = None
    ) -> Tensor:
        """y at the last level from y at the first; arguments of :class:`physgen.diffusion.sampling.solver.Sampler`."""
        draw = _source(noise)
        for i, (s, s_next) in enumerate(pairwise(check_levels(levels))):
            mean, std = self.step(denoiser, y, s, s_next, condition)
            y = mean + self.kernel.colour(draw(i), std.square())
        return y


def _source(noise: StepNoise | None) -> Callable[[int], Tensor]:
    if noise is None:
        raise ValueError("a stochastic sampler needs noise, got None; pass a function: step index -> tensor like y")
    return noise
