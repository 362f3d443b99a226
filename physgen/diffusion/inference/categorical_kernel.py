r"""A reverse kernel for values of one of q kinds: at each site a mixture of q Gaussians, read out as a kind.

Values are vectors :math:`e_a` of zeros with a single one, so that given y with denoised D(y)

.. math:: p(y'_i|y) = \sum_a D_{ia}\, N\bigl(y'_i;\ (1 - \rho) y_i + \rho e_a,\ s'^2 \rho\, 1_q\bigr),

each site with its own posterior and independent of the others; with two kinds it is
:class:`physgen.diffusion.inference.reverse_kernels.SpinMixture`. At s' = 0 the kind a is drawn with probability
:math:`D_{ia}`. Nothing of D needs to be right for the weights of paths to be unbiased.

Shapes: B batch, q kinds, which are the channels, \*grid lattice.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from physgen.diffusion.convention import bridge_variance, rho
from physgen.diffusion.exact.law import LOG_2PI
from physgen.diffusion.inference.reverse_kernels import Move, Noise, PathKernel

RAREST = 1e-9  # probability of a kind, so that none is impossible when the denoiser is rounded


@dataclass(frozen=True)
class CategoricalMixture(PathKernel):
    """Independent sites, each of one of q kinds with the probabilities of the denoiser."""

    reads_out: ClassVar[bool] = True

    def draw(self, move: Move, noise: Noise) -> Tensor:
        kinds = drawn_kinds(probabilities(move.denoised), noise.uniform())
        if move.s_next == 0:
            return kinds
        return move.toward(kinds) + bridge_variance(move.s, move.s_next) ** 0.5 * noise.normal()

    def log_density(self, move: Move, y_next: Tensor) -> Tensor:
        """ln of the density (B,) of the mixture at ``y_next``, at s' = 0 of the probability of its kinds."""
        log_p = probabilities(move.denoised).log()
        if move.s_next == 0:
            return (log_p * y_next).flatten(1).sum(1)
        variance, moved = bridge_variance(move.s, move.s_next), move.toward(torch.zeros_like(y_next))
        return _log_mixture(log_p, y_next - moved, rho(move.s, move.s_next), variance)

    def covariance_times(self, mean: Tensor, v: Tensor) -> Tensor:
        r"""What the kernel takes for C times v: :math:`D_a v_a - D_a \sum_b D_b v_b` at each site."""
        return mean * (v - (mean * v).sum(1, keepdim=True))

    def start(self, noise: Noise, s: float) -> Tensor:
        """Kinds that are equally likely, with noise: what y is where sites are independent."""
        like = noise.uniform()
        return drawn_kinds(torch.full_like(like, 1 / like.shape[1]), like) + s * noise.normal()

    def log_start(self, y: Tensor, s: float) -> Tensor:
        return _log_mixture(torch.full_like(y, -math.log(y.shape[1])), y, 1.0, s**2)


def probabilities(denoised: Tensor) -> Tensor:
    """The denoised, no kind impossible, with a sum of 1 at each site."""
    kept = denoised.clamp(min=RAREST)
    return kept / kept.sum(1, keepdim=True)


def drawn_kinds(p: Tensor, uniform: Tensor) -> Tensor:
    r"""Kinds as vectors, like p: the largest of :math:`\ln p_a - \ln(-\ln u_a)` is a with probability p_a (Gumbel)."""
    chosen = (p.log() - (-uniform.log()).log()).argmax(1, keepdim=True)
    return torch.zeros_like(p).scatter_(1, chosen, 1.0)


def _log_mixture(log_p: Tensor, residual: Tensor, shift: float, variance: float) -> Tensor:
    r"""ln of :math:`\prod_i \sum_a p_{ia} N(r_i; \mathrm{shift}\, e_a, \mathrm{variance})`, (B,)."""
    even = -0.5 * (residual.square() / variance + LOG_2PI + math.log(variance))
    tilt = (log_p + (shift * residual - 0.5 * shift**2) / variance).logsumexp(1)
    return even.flatten(1).sum(1) + tilt.flatten(1).sum(1)
