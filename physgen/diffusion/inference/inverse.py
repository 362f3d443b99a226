r"""Inverse problems: samples of x0 given :math:`a = h(x_0) + n, n \sim N(0, R)`, from a denoiser.

The denoiser of the posterior is (Tweedie) :math:`D_a = D + s^2 \nabla_y \log p(a|y)` with :math:`p(a|y) = \int
p(a|x_0) p(x_0|y)`. Replacing :math:`p(x_0|y)` by a Gaussian of mean D(y, s) and covariance C gives, with J = dD/dy and
H = dh/dx,

.. math:: D_a = D + s^2 J^T H^T (R + H C H^T)^{-1} \big(a - h(m) - H (D - m)\big).

A linear h is its own expansion, m = D. A curved one is expanded about :math:`m = D + C H^T (\ldots)^{-1} (\ldots)`,
found by Gauss-Newton steps from D. The methods differ in C alone:

============  =============================  ===================================================================
``dps``       C = 0                          too narrow, takes D for certain; variance -17 % in the test's problem
``pigdm``     :math:`C = v s^2/(v + s^2)`    exact for white x0 of variance v alone; variance -7 % in that problem
``mmps``      :math:`C = s^2 J`              exact for every Gaussian law, as this is the posterior covariance
``wiener``    :math:`P s^2/(P + s^2)`        by Fourier modes, P that of the denoiser's Gaussian surrogate: exact for
                                             Gaussian fields of that spectrum; no backward pass in the solution
============  =============================  ===================================================================

:func:`repaint` changes the sampler and not the denoiser; it is biased even for Gaussian laws. Numbers on one problem,
variance included, are in tests/diffusion/inference/test_inverse.py. The covariance of a non-Gaussian law depends on y,
and there none is exact without :func:`physgen.diffusion.inference.posterior_weights.weighted_posterior`.

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
OBSERVED, VARIANCE = "observed", "observed_variance"  # entries of a condition: an observation for each sample
METHODS = ("dps", "pigdm", "mmps", "wiener")
WIENER_ITERATIONS = 60  # of conjugate gradients that cost Fourier transforms alone
REACH = 8.0  # encoded values beyond which no curved observation is expanded


@dataclass(frozen=True, eq=False)
class Observation:
    r""":math:`a = h(x_0) + n`.

    Args:
        operator: h, (B, C, \*grid) -> (B, \*measured), in differentiable torch operations, e.g. ``lambda x:
            x[..., mask]``.
        value: a (B or 1, \*measured); NaN marks what was not measured. None: of each sample its own, the entry
            ``observed`` of the condition (N, \*measured).
        noise_variance: of n, >= 0: the same for all measured values, or a tensor like a. Where the value comes with
            the condition, the entry ``observed_variance`` of it takes its place.
        expansions: of a curved operator: Gauss-Newton steps to the point it is expanded about. 0: the operator is
            linear, up to a constant.
    """

    operator: Operator
    value: Tensor | None = None
    noise_variance: float | Tensor = 0.0
    expansions: int = 0

    def __post_init__(self) -> None:
        least, most = (float(f(torch.as_tensor(self.noise_variance))) for f in (torch.min, torch.max))
        if not 0 <= least <= most < math.inf:
            raise ValueError(f"noise_variance must be finite and not negative, got {self.noise_variance}")

    def of(self, condition: Condition, y: Tensor) -> tuple[Tensor, Tensor]:
        """Value and noise variance of the samples that go with a condition, like y."""
        given = condition or {}
        if self.value is None and OBSERVED not in given:
            raise ValueError(f"an observation without a value needs the condition {OBSERVED!r}, got {list(given)}")
        value = given[OBSERVED] if self.value is None else self.value
        variance = given.get(VARIANCE, self.noise_variance) if self.value is None else self.noise_variance
        return value.to(y), torch.as_tensor(variance).to(y)


@dataclass(frozen=True, eq=False)
class PosteriorDenoiser:
    r""":math:`D_a(y, s)`, a denoiser for any sampler.

    Args:
        denoiser: D, differentiable in y. observation: what is known.
        covariance: C of the table above; "wiener" needs a denoiser with a method ``prior_covariance(y, s, condition)``,
            which gives :math:`P s^2/(P + s^2)` by Fourier modes; where there is one "mmps" starts from its solution.
        prior_variance: v, of "pigdm".
        iterations: of the conjugate gradients for :math:`(R + H C H^T)^{-1}`; exact once it reaches the number
            of distinct eigenvalues. Each costs a backward pass through D with "mmps", none otherwise.
        tolerance: residual at which they end, in units of the first one; 0 for that of the precision.

    Raises:
        ValueError: a call whose result is not finite: the denoiser failed, or the iterations diverged.
    """

    denoiser: Denoiser
    observation: Observation
    covariance: Literal["dps", "pigdm", "mmps", "wiener"]
    prior_variance: float = 1.0
    iterations: int = 10
    tolerance: float = 0.0

    def __post_init__(self) -> None:
        if self.covariance not in METHODS:
            raise ValueError(f"covariance is one of {', '.join(METHODS)}, got {self.covariance!r}")
        exact = float(torch.as_tensor(self.observation.noise_variance).min()) == 0
        if self.covariance == "dps" and exact and self.observation.value is not None:
            raise ValueError("dps divides by the noise variance of the observation, got 0; use pigdm or mmps")
        if self.covariance == "wiener" and self._surrogate is None:
            raise ValueError("wiener needs a denoiser with a Gaussian surrogate (prior_covariance); use mmps")
        if self.iterations < 1 or not self.prior_variance > 0:
            raise ValueError(
                f"need iterations >= 1 and prior_variance > 0, got {self.iterations}, {self.prior_variance}"
            )

    @property
    def spectrum(self) -> object:
        """The prior spectrum of the denoiser, in whose modes a sampler may integrate; None where it has none."""
        return getattr(self.denoiser, "spectrum", None)

    @property
    def _surrogate(self) -> Callable[..., Operator] | None:
        return getattr(self.denoiser, "prior_covariance", None)

    def __call__(self, y: Tensor, s: Tensor, condition: Condition = None) -> Tensor:
        value, noise = self.observation.of(condition, y)
        given = {k: v for k, v in (condition or {}).items() if k not in (OBSERVED, VARIANCE)} or None
        variance = like(s, y).square()
        with torch.enable_grad():  # samplers run without gradients
            point = y.detach().requires_grad_()
            denoised = self.denoiser(point, s, given)

        surrogate = None if self._surrogate is None else self._surrogate(y, s, given)

        def spread(x: Tensor) -> Tensor:  # C x
            if self.covariance == "mmps":
                return variance * torch.autograd.grad(denoised, point, x, retain_graph=True)[0]
            if self.covariance == "wiener" and surrogate is not None:
                return surrogate(x)
            return x * (self.prior_variance * variance / (self.prior_variance + variance))

        centre, measured = denoised.detach(), torch.isfinite(value)
        middle, pulled = centre, torch.zeros_like(centre)
        marginal = variance if surrogate is None else _of_a_cell(surrogate, centre)
        for turn in range(self.observation.expansions + 1):
            further = turn < self.observation.expansions
            seen = expand(self.observation.operator, middle, value, marginal, turn)
            there, noise = (ours if own is None else own for ours, own in ((value, seen.observed), (noise, seen.noise)))
            residual = kept(there - seen.value - seen.slope(centre - middle), measured)
            if self.covariance == "dps":
                solved = residual / noise
            elif surrogate is None or self.covariance == "pigdm":
                solved = self._solve(seen.total(spread, noise, measured), residual, self.iterations)
            else:
                solved = self._solve(seen.total(surrogate, noise, measured), residual, WIENER_ITERATIONS)
                if self.covariance == "mmps" and not further:  # the point of expansion need not be known so well
                    solved = self._solve(seen.total(spread, noise, measured), residual, self.iterations, solved)
            pulled = seen.adjoint(solved)
            if further:
                moved = centre + (surrogate or spread)(pulled)
                middle = moved.clamp(-REACH, REACH)
        found = centre + variance * torch.autograd.grad(denoised, point, pulled)[0]
        if not bool(torch.isfinite(found).all()):
            raise ValueError(
                f"the posterior denoiser {self.covariance} is not finite at s = {float(s.max()):.3g}: "
                + ("dps is stiff, take smaller steps or mmps" if self.covariance == "dps" else "is the denoiser?")
            )
        return found

    def _solve(self, matrix: Operator, right: Tensor, iterations: int, start: Tensor | None = None) -> Tensor:
        return _solve(matrix, right, iterations, start, self.tolerance)


@dataclass(frozen=True, eq=False)
class Expansion:
    """An operator about a point: its value there, its slope H and the adjoint of that.

    ``observed`` and ``noise`` are the observation and the variance of its noise where the expansion has its own.
    """

    value: Tensor
    slope: Operator
    adjoint: Operator
    observed: Tensor | None = None
    noise: Tensor | None = None

    def total(self, spread: Operator, noise: Tensor, measured: Tensor) -> Operator:
        """R + H C H^T on the measured values; v must be zero elsewhere."""
        return lambda v: noise * v + kept(self.slope(spread(self.adjoint(v))), measured)


def _of_a_cell(covariance: Operator, like_x: Tensor) -> Tensor:
    """Variance (B, C, 1, ...) of one value under a covariance that is the same everywhere."""
    one = torch.zeros_like(like_x)
    first = (slice(None), slice(None), *[slice(0, 1)] * (one.ndim - 2))
    one[first] = 1.0
    return covariance(one)[first]


def kept(v: Tensor, measured: Tensor) -> Tensor:
    """v where it was measured, zero elsewhere."""
    return torch.where(measured, v, torch.zeros_like(v))


def expand(operator: Operator, point: Tensor, observed: Tensor, marginal: Tensor, turn: int) -> Expansion:
    """The operator about a point, by its own method ``expand`` or by two passes of automatic differentiation.

    Args:
        observed: a. marginal: variance of a value of x before a is known, broadcasts against x. turn: 0, 1, ...
    """
    if hasattr(operator, "expand"):
        return operator.expand(point, observed, marginal, turn)
    with torch.enable_grad():
        point = point.detach().requires_grad_()
        value = operator(point)
        weight = torch.zeros_like(value, requires_grad=True)
        # linear in the weight: the gradient of it is H, without forward mode
        (pulled,) = torch.autograd.grad(value, point, weight, create_graph=True, materialize_grads=True)
    return Expansion(
        value.detach(),
        lambda x: torch.autograd.grad(pulled, weight, x, retain_graph=True)[0],
        lambda v: torch.autograd.grad(value, point, v, retain_graph=True)[0],
    )


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


def wiener(denoiser: Denoiser, observation: Observation) -> PosteriorDenoiser:
    """Moment matching with the covariance of the denoiser's Gaussian surrogate in place of its Jacobian."""
    return PosteriorDenoiser(denoiser, observation, "wiener")


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


def _solve(
    matrix: Operator, right: Tensor, iterations: int, start: Tensor | None = None, tolerance: float = 0.0
) -> Tensor:
    """Conjugate gradients for a positive symmetric matrix, row by row of (B, \\*measured).

    A row stops where it has converged, and where its direction has no positive curvature: a learned Jacobian need not
    be a covariance.
    """
    solution = torch.zeros_like(right) if start is None else start
    residual = right if start is None else right - matrix(start)
    direction, square = residual, _dot(residual, residual)
    goal = _dot(right, right) * max(tolerance, torch.finfo(right.dtype).eps) ** 2
    open_rows = square > goal
    for _ in range(iterations):
        if not bool(open_rows.any()):
            break
        image = matrix(direction)
        curvature = _dot(direction, image)
        open_rows = open_rows & (curvature > 0)
        step = torch.where(open_rows, square / torch.where(open_rows, curvature, 1.0), 0.0)
        solution, residual = solution + step * direction, residual - step * image
        square, before = _dot(residual, residual), square
        open_rows = open_rows & (square > goal)
        direction = residual + torch.where(open_rows, square / torch.where(open_rows, before, 1.0), 0.0) * direction
    return solution


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return like((a * b).flatten(1).sum(1), a)
