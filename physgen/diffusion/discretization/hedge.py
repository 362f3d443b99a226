r"""What a deterministic solver makes of two laws that are not Gaussian, as a hedge in the choice of noise levels.

On a Gaussian mode the errors of large and of small levels have opposite signs, and chosen levels make them cancel. On
other laws they cancel differently. Two extremes of unit variance, each a mixture of two Gaussians, represent them at
every scale :math:`\sqrt P` of the data: two narrow peaks, and a narrow peak with wide tails. Their error is that of the
variance of the samples, by quantiles of the start followed one by one.

Shapes: G sets of noise levels, K scales, Q quantiles.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from physgen.diffusion.convention import Level
from physgen.diffusion.levels import log_uniform
from physgen.diffusion.sampling.deterministic import dpmpp_2m
from physgen.diffusion.sampling.solver import Solver

QUANTILES, SCALES = 16, 7  # of the upper half: both laws are even
PEAKS = ((-1.0, 1.0), (0.05, 0.05), (0.5, 0.5))  # means, variances, weights
TAILS = ((0.0, 0.0), (0.05, 2.0), (0.7, 0.3))
FINE, FAR, NEAR = 500, 1000.0, 1e-4  # levels of the reference, in standard deviations of the law


@dataclass(frozen=True)
class Pairs:
    """Laws, each two Gaussians (means, variances, weights), brought to mean 0 and variance 1: tensors (2, laws, ...).

    Their y (laws, ..., Q) at levels (..., 1) are followed together.
    """

    means: Tensor
    variances: Tensor
    weights: Tensor

    @classmethod
    def standard(cls, *laws: tuple[tuple[float, float], ...], axes: int) -> Pairs:
        """The laws of these (means, variances, weights) after a shift and a scaling, for y of 1 + ``axes`` axes."""
        means, variances, weights = torch.tensor(laws, dtype=torch.float64).permute(1, 2, 0)
        centre = (weights * means).sum(0)
        scale = (weights * (variances + (means - centre) ** 2)).sum(0)
        shape = (2, len(laws), *[1] * axes)
        standardised = ((means - centre) / scale.sqrt(), variances / scale, weights)
        return cls(*(parameter.reshape(shape) for parameter in standardised))

    def denoised(self, y: Tensor, s: Level) -> Tensor:
        r"""D(y, s), shape of y: :math:`D_1 + p\,(D_2 - D_1)`, with p the probability that y is of the second Gaussian.

        Its logit is quadratic in y and each :math:`D_i` linear, with coefficients that depend on s alone.
        """
        noisy = self.variances + torch.as_tensor(s, dtype=torch.float64) ** 2
        precision = 1 / noisy
        pull = self.means * precision
        log_weight = self.weights.log() - 0.5 * (self.means * pull + noisy.log())
        curve, slope, constant = (a[1] - a[0] for a in (-0.5 * precision, pull, log_weight))
        probability = torch.addcmul(constant, y, torch.addcmul(slope, curve, y)).sigmoid_()
        gain = self.variances * precision
        shift = (1 - gain) * self.means
        apart = torch.addcmul(shift[1] - shift[0], gain[1] - gain[0], y)
        return torch.addcmul(shift[0], gain[0], y).addcmul_(probability, apart)


@cache
def _reference() -> Tensor:
    """Variances (laws, 1, 1) over the quantiles, by the flow in steps too fine to matter."""
    levels = log_uniform(FAR, NEAR, FINE).tolist()
    start = FAR * _quantiles().expand(2, 1, 1, QUANTILES)
    return dpmpp_2m.integrate(_laws().denoised, levels, start, None).square().mean(-1)


@cache
def _laws() -> Pairs:
    return Pairs.standard(PEAKS, TAILS, axes=3)


@cache
def _quantiles() -> Tensor:
    return torch.special.ndtri(0.5 + (torch.arange(QUANTILES, dtype=torch.float64) + 0.5) / (2 * QUANTILES))


def hedge_errors(solver: Solver, levels: Tensor, band: Tensor) -> Tensor:
    r"""Relative errors of the variance on the two laws at scales that span ``band``, (G, 2 K) or (2 K,).

    Args:
        solver: deterministic. levels: (G, steps + 1) or (steps + 1,), the last one 0. band: mode variances P.

    Raises:
        ValueError: a stochastic solver.
    """
    if solver.draws:
        raise ValueError(
            f"only deterministic solvers can be hedged, {solver.__name__} draws noise and has no quantiles to follow: "
            "take hedge=0"
        )
    sets, ln = torch.atleast_2d(levels), band.log()
    scales = torch.exp(torch.linspace(0.5 * float(ln.min()), 0.5 * float(ln.max()), SCALES, dtype=torch.float64))
    columns: list[Level] = [sets[:, i, None, None] / scales[:, None] for i in range(sets.shape[1] - 1)]
    start = (columns[0] * _quantiles()).expand(2, -1, -1, -1)
    x = solver.integrate(_laws().denoised, [*columns, 0.0], start, None)
    errors = (x.square().mean(-1) / _reference() - 1).movedim(0, 1).flatten(1)
    return errors if levels.ndim == 2 else errors[0]
