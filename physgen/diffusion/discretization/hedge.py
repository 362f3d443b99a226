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
FINE, FAR, NEAR = 1000, 1000.0, 1e-4  # levels of the reference, in standard deviations of the law


@dataclass(frozen=True)
class Pair:
    """Two Gaussians (means, variances, weights), brought to mean 0 and variance 1; y (..., Q) at levels (..., 1)."""

    means: Tensor
    variances: Tensor
    weights: Tensor

    @classmethod
    def standard(cls, *parameters: tuple[float, float]) -> Pair:
        """The pair of these (means, variances, weights) after a shift and a scaling."""
        means, variances, weights = torch.tensor(parameters, dtype=torch.float64)
        centre = (weights * means).sum()
        scale = (weights * (variances + (means - centre) ** 2)).sum()
        return cls((means - centre) / scale.sqrt(), variances / scale, weights)

    def denoised(self, y: Tensor, s: Level) -> Tensor:
        """D(y, s), shape of y."""
        noisy = self.variances + torch.as_tensor(s, dtype=torch.float64)[..., None] ** 2
        offset = y[..., None] - self.means
        weight = torch.softmax(self.weights.log() - 0.5 * (offset**2 / noisy + noisy.log()), dim=-1)
        return (weight * (self.means + offset * self.variances / noisy)).sum(-1)


@cache
def _references() -> tuple[tuple[Pair, Tensor], ...]:
    """The laws with their variance over the quantiles, by the flow in steps too fine to matter."""
    levels = log_uniform(FAR, NEAR, FINE).tolist()
    pairs = [Pair.standard(*PEAKS), Pair.standard(*TAILS)]
    return tuple(
        (pair, dpmpp_2m.integrate(pair.denoised, levels, FAR * _quantiles(), None).square().mean(-1)) for pair in pairs
    )


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
    parts = []
    for pair, expected in _references():
        x = solver.integrate(pair.denoised, [*columns, 0.0], columns[0] * _quantiles(), None)
        parts.append(x.square().mean(-1) / expected - 1)
    errors = torch.cat(parts, dim=-1)
    return errors if levels.ndim == 2 else errors[0]
