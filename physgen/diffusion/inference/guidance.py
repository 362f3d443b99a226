r"""Guidance: denoisers made of denoisers, and the Feynman-Kac weights that make the guided law exact.

A guided denoiser belongs to the path of laws :math:`q_s \propto \prod_i p_{i,s}^{g_i}`, whose score :math:`\bar S =
\sum_i g_i S_i` is known but which no noising of a law :math:`q_0` makes: a plain sampler that is handed
:math:`\bar D = y + s^2 \bar S` draws from another law (for classifier-free guidance too narrow and too far out).

**Weights.** Let u = s^2 and :math:`\tau = -u`. Each :math:`p_i` obeys the heat equation, so :math:`\partial_\tau \log
p_i = -\tfrac12 (\nabla\cdot S_i + |S_i|^2)` and

.. math:: \partial_\tau \log q = -\tfrac12 \nabla\cdot\bar S - \tfrac12 \sum_i g_i |S_i|^2 - \partial_\tau \log Z.

Particles that follow :math:`dy = \tfrac{1+\nu}{2} \bar S\,d\tau + \sqrt\nu\,dW` and carry :math:`d\log w = r\,d\tau`
have the weighted density that solves :math:`\partial_\tau \log q = -\tfrac12 \nabla\cdot\bar S - \tfrac12 |\bar S|^2 +
r - \langle r \rangle`, whatever :math:`\nu`. Hence

.. math:: r = \tfrac12 \Big( |\bar S|^2 - \sum_i g_i |S_i|^2 \Big), \qquad
          \partial_\tau \log Z = \langle r \rangle, \quad Z_s = \int \prod_i p_{i,s}^{g_i}\,dy.

In the Ornstein-Uhlenbeck clock the score of x is :math:`e^t` times that of y and :math:`du = 2 e^{2t} dt`: there r
loses its factor 1/2, as in Skreta et al., arXiv:2503.02819, propositions 3.1 to 3.3; in y no term of the dimension is
left in log Z. With g = (1 + w, -w) it is classifier-free guidance, :math:`r = \tfrac12 w (1+w) |S_c - S_u|^2`; with
one :math:`g = \omega` it is tempering to :math:`p^\omega`. "Exact" means: as exact as the denoisers, and up to the
order of the steps.

Shapes: B batch, N particles, C channels, \*grid lattice; y (B, C, \*grid), s (B,), rates and weights (B,).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from physgen.diffusion.convention import Condition, Denoiser, bridge_draw, like
from physgen.diffusion.inference.weight_statistics import effective_fraction, log_mean_exp, resample
from physgen.diffusion.levels import check_levels


class Guided(ABC):
    """A guided denoiser: a plain call gives the uncorrected one, :meth:`evaluate` the rate of its weights too."""

    @property
    @abstractmethod
    def power(self) -> float:
        r""":math:`\sum_i g_i`: at large s the law is :math:`N(0, s^2/\mathrm{power})`."""

    @abstractmethod
    def evaluate(self, y: Tensor, s: Tensor, condition: Condition = None) -> tuple[Tensor, Tensor]:
        r"""Guided denoiser :math:`\bar D`, shape of y, and :math:`s^2 r`, the rate of log w per unit of -log s^2."""

    def __call__(self, y: Tensor, s: Tensor, condition: Condition = None) -> Tensor:
        return self.evaluate(y, s, condition)[0]


@dataclass(frozen=True, eq=False)
class Product(Guided):
    r"""The law :math:`\prod_i p_i^{g_i}`: :math:`\bar D = y + \sum_i g_i (D_i - y)`.

    Args:
        denoisers: D_i, all called with the same condition.
        exponents: g_i, of any sign, with a positive sum.
    """

    denoisers: Sequence[Denoiser]
    exponents: Sequence[float]

    def __post_init__(self) -> None:
        if len(self.denoisers) != len(self.exponents) or not sum(self.exponents) > 0:
            raise ValueError(
                f"a product needs one exponent a denoiser and a positive sum, got {len(self.denoisers)} denoisers and "
                f"exponents {list(self.exponents)}"
            )

    @property
    def power(self) -> float:
        r"""The sum of the exponents, :math:`\sum_i g_i`."""
        return sum(self.exponents)

    def evaluate(self, y: Tensor, s: Tensor, condition: Condition = None) -> tuple[Tensor, Tensor]:
        r""":math:`\bar D` and the rate, the common part of the squares cancelled exactly."""
        first, *others = [denoiser(y, s, condition) - y for denoiser in self.denoisers]
        # relative to the first, the large common part of the squares cancels by hand and not by rounding
        apart = [other - first for other in others]
        spread = sum((g * a for g, a in zip(self.exponents[1:], apart, strict=True)), torch.zeros_like(y))
        excess = self.power - 1
        rate = excess * (self.power * _dot(first, first) + 2 * _dot(first, spread)) + _dot(spread, spread)
        for g, a in zip(self.exponents[1:], apart, strict=True):
            rate = rate - g * _dot(a, a)
        return y + self.power * first + spread, 0.5 * rate / like(s, rate).square()


def classifier_free(conditional: Denoiser, unconditional: Denoiser, strength: float) -> Product:
    r"""Classifier-free guidance :math:`\bar D = (1 + w) D_c - w D_u`, law :math:`p_c^{1+w} p_u^{-w}`; w = 0 is none.

    Source: Ho and Salimans, arXiv:2207.12598, eq. 6.
    """
    return Product((conditional, unconditional), (1 + strength, -strength))


def tempered(denoiser: Denoiser, power: float) -> Product:
    r"""Tempering: :math:`\bar D = y + \omega (D - y)` for the law :math:`p^\omega` (temperature divided by omega).

    The weights grow with the square of the score and have heavy tails: expect an effective fraction that falls
    exponentially with the dimension, and a bias of order 1/N that shrinks slowly with the number N of particles (2
    modes at omega = 1.5, 80 steps: variance -5(1) % at N = 2000, -1(1) % at 8000).
    """
    return Product((denoiser,), (power,))


@dataclass(frozen=True, eq=False)
class ClassifierGuided(Guided):
    r"""Classifier guidance :math:`\bar D = D + w s^2 \nabla_y \log p(c|y, s)`, law :math:`p(x)\,p(c|x)^w`.

    As :math:`p(c|y, s) p_s(y) \propto p_s(y|c)`, it is the product with exponents (w, 1 - w), and :math:`r =
    \tfrac12 w (w - 1) |\nabla_y \log p(c|y, s)|^2`: with an exact classifier w = 1 needs no weights.
    Source: Dhariwal and Nichol, arXiv:2105.05233, section 4.

    Args:
        denoiser: D of the law p.
        classifier: (y, s, condition) -> log p(c | y, s) of the wanted class (B,), differentiable in y.
        strength: w.
    """

    denoiser: Denoiser
    classifier: Callable[[Tensor, Tensor, Condition], Tensor]
    strength: float = 1.0

    @property
    def power(self) -> float:
        """1: the guidance fades at large s."""
        return 1.0

    def evaluate(self, y: Tensor, s: Tensor, condition: Condition = None) -> tuple[Tensor, Tensor]:
        r""":math:`\bar D` and the rate; one backward pass through the classifier."""
        with torch.enable_grad():  # samplers run without gradients
            point = y.detach().requires_grad_()
            (slope,) = torch.autograd.grad(self.classifier(point, s, condition).sum(), point)
        variance = like(s, y).square()
        rate = 0.5 * self.strength * (self.strength - 1) * _dot(slope, slope)
        return self.denoiser(y, s, condition) + self.strength * variance * slope, rate * s.square()


def with_condition(denoiser: Denoiser, fixed: dict[str, Tensor]) -> Denoiser:
    """The denoiser with these entries of its condition fixed (each of one row), e.g. a network's null labels."""

    def evaluate(y: Tensor, s: Tensor, condition: Condition = None) -> Tensor:
        rows = {name: value.to(y).expand(len(y), *value.shape[1:]) for name, value in fixed.items()}
        return denoiser(y, s, {**(condition or {}), **rows})

    return evaluate


@dataclass(frozen=True)
class Particles:
    r"""Weighted draws of a guided law: :math:`\langle f \rangle = \sum_j w_j f(x_j)`.

    Attributes:
        x: (N, C, \*grid). weights: (N,), sum 1, float64.
        log_normalizer: estimate of :math:`\ln \int \prod_i p_i^{g_i}`, natural logarithm; its exponential is unbiased
            up to the order of the steps.
        least_ess: smallest effective fraction of the particles at any level. resamplings: how often they were
            resampled. ancestors: number of first particles that still have descendants.
    """

    x: Tensor
    weights: Tensor
    log_normalizer: float
    least_ess: float
    resamplings: int
    ancestors: int


def sample_guided(
    guided: Guided,
    levels: Tensor,
    shape: Sequence[int],
    generator: torch.Generator,
    condition: Condition = None,
    threshold: float = 0.5,
    batch: int = 2**16,
) -> Particles:
    r"""Sequential Monte Carlo for a guided law, weak order 2 in the steps of log s, two evaluations a step.

    A stochastic Heun step that is exact for constant :math:`\bar D`: with :math:`\rho = 1 - s'^2/s^2`, :math:`y' = (1
    - \rho) y + \rho (\bar D + \bar D')/2 + s' \sqrt\rho z`, where :math:`\bar D'` is evaluated after the step with
    :math:`\bar D` alone and the same z; log w by the trapezoidal rule in log s. The last step, to s = 0, returns
    :math:`\bar D`; end the levels above 0 for the law :math:`q_s` itself. Systematic resampling whenever the effective
    fraction falls below the threshold. The particles are one population: for an error bar run several generators.

    Args:
        levels: noise levels, descending. shape: (N, C, \*grid), one law for all N.
        generator: of all random numbers; its device is where the particles live (float64).
        condition: tensors of one row, the condition of the law.
        threshold: 0 never resamples (importance sampling), 1 always does.
        batch: most particles in one call of the denoisers.

    Raises:
        ValueError: levels that do not descend, threshold outside [0, 1].
    """
    if not 0 <= threshold <= 1:
        raise ValueError(f"threshold is an effective fraction between 0 and 1, got {threshold}; 0.5 is usual")
    values = check_levels(levels)

    def evaluate(y: Tensor, s: float) -> tuple[Tensor, Tensor]:
        pairs = [_evaluate_part(guided, part, s, condition) for part in y.split(batch)]
        return torch.cat([denoised for denoised, _ in pairs]), torch.cat([rate for _, rate in pairs])

    y = _normal(shape, generator) * (values[0] / math.sqrt(guided.power))
    log_weights, family = y.new_zeros(len(y)), torch.arange(len(y), device=y.device)
    log_normalizer, least_ess, resamplings = _log_start(guided.power, values[0], y[0].numel()), 1.0, 0
    with torch.no_grad():
        for s, s_next in pairwise(values):
            white = _normal(shape, generator)
            y, gain = guided_step(evaluate, y, s, s_next, white)
            log_weights = log_weights + gain
            ess = effective_fraction(log_weights)
            least_ess = min(least_ess, ess)
            if ess < threshold:
                chosen = resample(log_weights, len(y), seed=int(torch.randint(2**62, (), generator=generator)))
                log_normalizer += log_mean_exp(log_weights)
                y, family, log_weights = y[chosen], family[chosen], torch.zeros_like(log_weights)
                resamplings += 1
    log_normalizer += log_mean_exp(log_weights)
    weights = torch.softmax(log_weights, 0)
    return Particles(y, weights, log_normalizer, least_ess, resamplings, len(torch.unique(family)))


def guided_step(
    evaluate: Callable[[Tensor, float], tuple[Tensor, Tensor]], y: Tensor, s: float, s_next: float, white: Tensor
) -> tuple[Tensor, Tensor]:
    """The step of :func:`sample_guided`: y at s_next (B, C, *grid) and what log w gains (B,), from unit noise."""
    denoised, rate = evaluate(y, s)
    if s_next == 0:
        return denoised, rate
    ahead, rate_ahead = evaluate(bridge_draw(y, denoised, s, s_next, white), s_next)
    moved = bridge_draw(y, (denoised + ahead) / 2, s, s_next, white)
    return moved, (rate + rate_ahead) * math.log(s / s_next)


def _evaluate_part(guided: Guided, y: Tensor, s: float, condition: Condition) -> tuple[Tensor, Tensor]:
    rows = {name: value.expand(len(y), *value.shape[1:]) for name, value in (condition or {}).items()}
    return guided.evaluate(y, y.new_full((len(y),), s), rows or None)


def _normal(shape: Sequence[int], generator: torch.Generator) -> Tensor:
    return torch.randn(tuple(shape), generator=generator, device=generator.device, dtype=torch.float64)


def _log_start(power: float, s: float, dimension: int) -> float:
    r""":math:`\ln \int N(y; 0, s^2)^{\mathrm{power}} dy`, the normaliser where the data are lost in the noise."""
    return 0.5 * dimension * ((1 - power) * math.log(2 * math.pi * s**2) - math.log(power))


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).flatten(1).sum(1)
