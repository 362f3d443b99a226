r"""Linear inverse problems: samples of x0 given :math:`a = A x_0 + n, n \sim N(0, \sigma_a^2)`, from a denoiser.

The denoiser of the posterior is (Tweedie) :math:`D_a = D + s^2 \nabla_y \log p(a|y)` with :math:`p(a|y) = \int
p(a|x_0) p(x_0|y)`. Replacing :math:`p(x_0|y)` by a Gaussian of mean D(y, s) and covariance C gives, with J =
dD/dy,

.. math:: D_a = D + s^2 J^T A^T (\sigma_a^2 + A C A^T)^{-1} (a - A D).

The methods differ in C alone, and only one of them is exact for a Gaussian law:

============  =============================  ===================================================================
``dps``       C = 0                          too narrow, takes D for certain; variance -17 % in the test's problem
``pigdm``     :math:`C = v s^2/(v + s^2)`    exact for white x0 of variance v alone; variance -7 % in that problem
``mmps``      :math:`C = s^2 J`              exact for every Gaussian law, as this is the posterior covariance
============  =============================  ===================================================================

:func:`repaint` changes the sampler and not the denoiser; it is biased even for Gaussian laws. Numbers for all four on
one problem, variance included, are in tests/diffusion/inference/test_inverse.py. The covariance of a non-Gaussian law
depends on y, and there none is exact.

Shapes: B batch, C channels, \*grid lattice; y (B, C, \*grid), s (B,), observations (B or 1, \*measured).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

from physgen.diffusion.convention import Condition, Denoiser, bridge_draw, elapsed, like
from physgen.diffusion.levels import check_levels

Operator = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Observation:
    r""":math:`a = A x_0 + n`.

    Args:
        operator: A, linear, (B, C, \*grid) -> (B, \*measured), in differentiable torch operations, e.g. ``lambda x:
            x[..., mask]``.
        value: a (B or 1, \*measured).
        noise_variance: :math:`\sigma_a^2 \ge 0`, the same for all measured values.
    """

    operator: Operator
    value: Tensor
    noise_variance: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.noise_variance < math.inf:
            raise ValueError(f"noise_variance must be finite and not negative, got {self.noise_variance}")


@dataclass(frozen=True, eq=False)
class PosteriorDenoiser:
    r""":math:`D_a(y, s)`, a denoiser for any sampler.

    Args:
        denoiser: D, differentiable in y. observation: what is known.
        covariance: C of the table above. prior_variance: v, of "pigdm".
        iterations: of the conjugate gradients for :math:`(\sigma_a^2 + A C A^T)^{-1}`; exact once it reaches the number
            of distinct eigenvalues. Each costs a backward pass through D with "mmps", none otherwise.
    """

    denoiser: Denoiser
    observation: Observation
    covariance: Literal["dps", "pigdm", "mmps"]
    prior_variance: float = 1.0
    iterations: int = 10

    def __post_init__(self) -> None:
        if self.covariance not in ("dps", "pigdm", "mmps"):
            raise ValueError(f'covariance is "dps", "pigdm" or "mmps", got {self.covariance!r}')
        if self.covariance == "dps" and self.observation.noise_variance == 0:
            raise ValueError("dps divides by the noise variance of the observation, got 0; use pigdm or mmps")
        if self.iterations < 1 or not self.prior_variance > 0:
            raise ValueError(
                f"need iterations >= 1 and prior_variance > 0, got {self.iterations}, {self.prior_variance}"
            )

    def __call__(self, y: Tensor, s: Tensor, condition: Condition = None) -> Tensor:
        operator, noise = self.observation.operator, self.observation.noise_variance
        variance = like(s, y).square()
        with torch.enable_grad():  # samplers run without gradients
            point = y.detach().requires_grad_()
            denoised = self.denoiser(point, s, condition)
            predicted = operator(denoised)

        def adjoint(v: Tensor) -> Tensor:
            return torch.autograd.grad(predicted, denoised, v, retain_graph=True)[0]

        def spread(x: Tensor) -> Tensor:  # C x
            if self.covariance == "mmps":
                return variance * torch.autograd.grad(denoised, point, x, retain_graph=True)[0]
            return x * (self.prior_variance * variance / (self.prior_variance + variance))

        def total(v: Tensor) -> Tensor:
            return noise * v + operator(spread(adjoint(v)))

        residual = self.observation.value.to(y) - predicted.detach()
        with torch.no_grad():
            solved = residual / noise if self.covariance == "dps" else _solve(total, residual, self.iterations)
        return denoised.detach() + variance * torch.autograd.grad(predicted, point, solved)[0]


def dps(denoiser: Denoiser, observation: Observation) -> PosteriorDenoiser:
    r"""Diffusion posterior sampling, C = 0, with the likelihood's own variance :math:`\sigma_a^2`.

    Stiff: solvers need steps of log s below :math:`\sigma_a^2/\Lambda`, with :math:`\Lambda` the largest variance of a
    mode. Source: Chung et al., arXiv:2209.14687, eq. 16, whose algorithm 1 divides the step by the residual's
    norm instead, which makes the law depend on the number of steps.
    """
    return PosteriorDenoiser(denoiser, observation, "dps")


def pigdm(denoiser: Denoiser, observation: Observation, prior_variance: float = 1.0) -> PosteriorDenoiser:
    """Pseudo-inverse guidance. Source: Song et al., ICLR 2023, eqs. 7 and 8 (openreview 9_gsMA8MRKQ)."""
    return PosteriorDenoiser(denoiser, observation, "pigdm", prior_variance)


def mmps(denoiser: Denoiser, observation: Observation, iterations: int = 10) -> PosteriorDenoiser:
    """Moment matching. Source: Rozet et al., arXiv:2405.13712, section 4.2."""
    return PosteriorDenoiser(denoiser, observation, "mmps", iterations=iterations)


def repaint(
    known: Tensor, value: Tensor, resamplings: int = 10
) -> Callable[[Denoiser, Tensor, Tensor, Condition, Callable[[int], Tensor] | None], Tensor]:
    r"""A sampler for inpainting without noise: ancestral steps, the known values replaced by their noisy selves.

    Each step is taken ``resamplings`` times, going back up by adding noise in between; 1 is the replacement of Song et
    al., arXiv:2011.13456, appendix I.2. Biased: the unknown values follow the reverse kernel of the whole field and
    not of the field given the known ones (40 steps in the test's problem: mean off by .84 standard deviations and
    variance by -4 % at 1, .27 and -14 % at 10). Source: Lugmayr et al., arXiv:2201.09865, algorithm 1.

    Args:
        known: bool, broadcasts against (B, C, \*grid), True where the value is known.
        value: like the field; read where ``known``.

    Returns:
        A sampler (denoiser, levels, y, condition, noise) -> x0, for :func:`physgen.diffusion.sampling.samplers.sample`.
    """
    if resamplings < 1:
        raise ValueError(f"resamplings must be at least 1, got {resamplings}")

    def integrate(
        denoiser: Denoiser,
        levels: Tensor,
        y: Tensor,
        condition: Condition = None,
        noise: Callable[[int], Tensor] | None = None,
    ) -> Tensor:
        """Ancestral steps with the known values replaced."""
        if noise is None:
            raise ValueError("repaint is stochastic: pass noise, a function: number -> tensor like y")
        inside, truth = known.to(y.device), value.to(y)
        draws = 0
        for s, s_next in pairwise(check_levels(levels)):
            for again in range(resamplings if s_next > 0 else 1):
                if again:
                    y = y + math.sqrt(elapsed(s, s_next)) * noise(draws)
                denoised = denoiser(y, torch.full((len(y),), s, dtype=y.dtype, device=y.device), condition)
                y = bridge_draw(y, denoised, s, s_next, noise(draws + 1))
                y = torch.where(inside, truth + s_next * noise(draws + 2), y)
                draws += 3
        return y

    return integrate


def _solve(matrix: Operator, right: Tensor, iterations: int) -> Tensor:
    """Conjugate gradients for a positive symmetric matrix, row by row of (B, \\*measured)."""
    tiny = torch.finfo(right.dtype).tiny
    solution, residual = torch.zeros_like(right), right
    direction, square = residual, _dot(residual, residual)
    goal = square * torch.finfo(right.dtype).eps ** 2
    for _ in range(iterations):
        if bool((square <= goal).all()):
            break
        image = matrix(direction)
        step = square / _dot(direction, image).clamp(min=tiny)
        step = torch.where(square > goal, step, torch.zeros_like(step))  # converged rows stay
        solution, residual = solution + step * direction, residual - step * image
        square, before = _dot(residual, residual), square
        direction = residual + square / before.clamp(min=tiny) * direction
    return solution


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return like((a * b).flatten(1).sum(1), a)
