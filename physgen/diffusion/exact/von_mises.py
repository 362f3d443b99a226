r"""The law :math:`p(\theta) = e^{a \cdot e(\theta)} / 2\pi I_0(|a|)` of an angle, von Mises's, by its vector a.

:math:`e(\theta) = (\cos\theta, \sin\theta)`. Its mean is :math:`\langle e \rangle = A(|a|)\,a/|a|` with
:math:`A = I_1/I_0`; vectors are two numbers at dim 1. Bessel functions are scaled, so that no size of a overflows.
Source: Mardia and Jupp, Directional Statistics (2000), section 3.5.4; Amos, Math. Comp. 28 (1974), 239, for the
inequality that starts the inverse of A.

Shapes: any; vectors (B, 2, \*grid), their sizes (B, 1, \*grid).
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

LN_2PI = math.log(2 * math.pi)
SHARPEST = 1e-7  # what the length of a mean is kept away from 1: sizes up to 5e6
SMALLEST = 1e-12  # size of a vector that is divided by
NEWTON_STEPS = 4
NODES = 20  # of Gauss's rule: relative errors of the integral below 1e-14
QUANTILE_STEPS = 3  # Halley's, which leave 3e-12 of probability
FARTHEST = 8.6  # standard deviations that 52 bits of a uniform number reach


def size(vector: Tensor) -> Tensor:
    r"""Length (B, 1, \*grid), at least 1e-12 so that it can be divided by and has a slope."""
    return (vector.square().sum(1, keepdim=True) + SMALLEST**2).sqrt()


def mean_length(concentration: Tensor) -> Tensor:
    r""":math:`A(\kappa) = I_1(\kappa)/I_0(\kappa)`, odd."""
    return torch.special.i1e(concentration) / torch.special.i0e(concentration)


def mean_slope(concentration: Tensor) -> Tensor:
    r""":math:`A'(\kappa) = 1 - A/\kappa - A^2`, the variance of :math:`e \cdot a/|a|`; 1/2 at 0."""
    held = concentration.abs().clamp(min=1e-4)
    length = mean_length(held)
    return 1 - length / held - length.square()


def mean_of(vector: Tensor) -> Tensor:
    r"""Mean of e under the laws of vectors a, (B, 2, \*grid), inside the unit disc."""
    length = size(vector)
    return vector * (mean_length(length) / length)


def concentration_of(length: Tensor) -> Tensor:
    r"""The inverse of :math:`A`: :math:`\kappa \ge 0` of a mean of this length in [0, 1 - 1e-7].

    Within 1e-9, relative, up to 1000; beyond, where A' loses its digits, within :math:`1.5/\kappa`.
    """
    kept = length.clamp(0, 1 - SHARPEST)
    found = algebraic_concentration(kept)
    refined = found.clamp(max=1e3)
    for _ in range(NEWTON_STEPS):
        refined = (refined - (mean_length(refined) - kept) / mean_slope(refined)).clamp(min=0)
    return torch.where(found < 1e3, refined, found)


def vector_of(mean: Tensor) -> Tensor:
    r"""The inverse of :func:`mean_of`: a of means (B, 2, \*grid), those on or outside the circle drawn inside it."""
    length = size(mean)
    return mean * (concentration_of(length) / length)


def algebraic_length(concentration: Tensor) -> Tensor:
    r""":math:`\kappa / (\tfrac12 + \sqrt{\kappa^2 + 9/4})`: A from below, within 5 %, right at both ends."""
    return concentration / (0.5 + (concentration.square() + 2.25).sqrt())


def algebraic_concentration(length: Tensor) -> Tensor:
    """The exact inverse of :func:`algebraic_length`, odd like it."""
    square = length.square()
    rest = 1 - square
    return length * (0.5 + 0.5 * (square + (square.square() + rest * (square + 9)).sqrt()) / rest)


def log_bessel(vector: Tensor) -> Tensor:
    r""":math:`\ln I_0(|a|)`, (B, 1, \*grid)."""
    length = size(vector)
    return torch.special.i0e(length).log() + length


def covariance_times(vector: Tensor, v: Tensor) -> Tensor:
    r"""Covariance of e under the law of a, times v: A' along a and :math:`A/\kappa` across it."""
    length = size(vector)
    along = vector / length
    part = along * (along * v).sum(1, keepdim=True)
    return mean_slope(length) * part + mean_length(length) / length * (v - part)


def drawn(vector: Tensor, uniform: Tensor) -> Tensor:
    r"""Unit vectors (B, 2, \*grid) of the laws of a, by uniform numbers (B, 1, \*grid) through the quantile."""
    angle = quantile(uniform, size(vector)) + torch.atan2(vector[:, 1:], vector[:, :1])
    return torch.cat([angle.cos(), angle.sin()], dim=1)


def quantile(uniform: Tensor, concentration: Tensor) -> Tensor:
    r"""The angle :math:`\theta` in :math:`(-\pi, \pi)` below which a law about 0 has the probability u; float64.

    :math:`\int_0^\theta e^{\kappa(\cos t - 1)} dt = 2\pi (u - \tfrac12) e^{-\kappa} I_0(\kappa)` by Gauss's rule and
    three of Halley's steps, kept between bounds. The error is below 4e-12 of probability.

    Args:
        uniform: u in (0, 1). concentration: :math:`\kappa \ge 0`, the same shape.
    """
    kappa, share = concentration.double(), uniform.double() - 0.5
    scaled = torch.special.i0e(kappa)
    part = share.abs()
    goal = 2 * math.pi * scaled * part
    normal = 2 * torch.asin((torch.special.ndtri(0.5 + part) * scaled * math.sqrt(math.pi / 2)).clamp(max=1))
    low, high = torch.zeros_like(part), 2 * torch.asin((0.5 * FARTHEST * kappa.rsqrt()).clamp(max=1))
    angle = torch.minimum(torch.minimum(normal, 2 * math.pi * part), high)
    for _ in range(QUANTILE_STEPS):
        excess = _integral(angle, kappa) - goal
        low, high = torch.where(excess < 0, angle, low), torch.where(excess >= 0, angle, high)
        newton = excess / torch.exp(-2 * kappa * (angle / 2).sin().square())
        new = angle - newton / (1 + 0.5 * newton * kappa * angle.sin())
        angle = torch.where((new >= low) & (new <= high), new, (low + high) / 2)
    return torch.where(share < 0, -angle, angle)


def _integral(angle: Tensor, kappa: Tensor) -> Tensor:
    r""":math:`\int_0^\theta e^{-2\kappa\sin^2(t/2)} dt`."""
    total = torch.zeros_like(angle)
    for place, weight in zip(*np.polynomial.legendre.leggauss(NODES), strict=True):
        total += weight * torch.exp(-2 * kappa * (angle * (0.25 * (1 + place))).sin().square())
    return 0.5 * angle * total
