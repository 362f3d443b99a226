"""Two results on the same points, unit by unit: covariance, joint test, distances and their null.

Legend: U, V units of the reference and the generated result, P points, *lead the dims before a histogram's bins.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from physgen.diagnostics import hotelling
from physgen.diagnostics.resampling import jackknife_variance, leave_one_out

Metric = Callable[[np.ndarray, np.ndarray], np.ndarray]
NULL_DRAWS = 200


@dataclass(frozen=True)
class Pair:
    """Per-unit estimates of two results on the same points; paired means row i of both is the same condition."""

    reference: np.ndarray  # (U, *points)
    generated: np.ndarray  # (V, *points)
    paired: bool

    def covariance(self, of_reference: float | np.ndarray = 1.0, of_generated: float | np.ndarray = 1.0) -> np.ndarray:
        """Covariance (P, P) of of_generated * mean(generated) - of_reference * mean(reference); factors (P,)."""
        left = (self.generated * of_generated).reshape(len(self.generated), -1)
        right = (self.reference * of_reference).reshape(len(self.reference), -1)
        groups = [left - right] if self.paired else [left, right]
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.sum([np.atleast_2d(np.cov(g, rowvar=False)) / len(g) for g in groups], axis=0)

    def test(self, relative: bool) -> hotelling.JointTest:
        """Joint test of equal means (physgen.diagnostics.hotelling); relative: points merge as ratios."""
        left, right = (x.reshape(len(x), -1) for x in (self.generated, self.reference))
        scale = (np.abs(left).mean(axis=0) + np.abs(right).mean(axis=0)) / 2 if relative else None
        if self.paired:
            difference = left - right
            size = np.abs(left).mean(axis=0) + np.abs(right).mean(axis=0)
            rounding = difference.std(axis=0) <= hotelling.ROUNDING * size  # nothing but the last digits differs
            return hotelling.mean_is_zero(np.where(rounding, 0.0, difference), scale)
        return hotelling.means_are_equal(left, right, scale)

    def distance(self, metric: Metric) -> tuple[np.ndarray, np.ndarray]:
        """metric(mean generated, mean reference) and its jackknife error over units."""
        g, r = self.generated.mean(axis=0), self.reference.mean(axis=0)
        without_g, without_r = leave_one_out(self.generated), leave_one_out(self.reference)
        if self.paired:
            variance = jackknife_variance(metric(without_g, without_r))
        else:
            variance = jackknife_variance(metric(without_g, r)) + jackknife_variance(metric(g, without_r))
        return metric(g, r), np.sqrt(variance)

    def null(self, metric: Metric, rng: np.random.Generator) -> np.ndarray:
        """Mean of the metric if both laws were equal, from the scatter of the units (signs drawn at random)."""
        centred = [self.generated - self.generated.mean(axis=0), self.reference - self.reference.mean(axis=0)]
        common = self.reference.mean(axis=0)
        drawn = [rng.choice([-1.0, 1.0], size=(NULL_DRAWS, len(c))) for c in centred]
        if self.paired:
            drawn[1] = drawn[0]
        g, r = (
            np.tensordot(signs, c, axes=1) / np.sqrt(len(c) * max(len(c) - 1, 1))
            for signs, c in zip(drawn, centred, strict=True)
        )
        return metric(common + g, common + r).mean(axis=0)


def total_variation(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    r"""Total-variation distance :math:`\frac12\sum_j |p_j - q_j|` of bin probabilities along the last axis."""
    return 0.5 * np.abs(p - q).sum(axis=-1)


def wasserstein(p: np.ndarray, q: np.ndarray, position: np.ndarray) -> np.ndarray:
    r"""W1 = :math:`\sum_j |F_p(x_j) - F_q(x_j)| (x_{j+1} - x_j)` of bin probabilities at positions x (last axis)."""
    return (np.abs(np.cumsum(p - q, axis=-1))[..., :-1] * np.diff(position)).sum(axis=-1)


def mean_abs_log_ratio(g: np.ndarray, r: np.ndarray, dims: int) -> np.ndarray:
    r"""Mean over the last ``dims`` axes of :math:`|\ln g/r|`; points where either is not positive are left out."""
    with np.errstate(invalid="ignore", divide="ignore"):
        values = np.abs(np.log(g / r))
        finite = np.isfinite(values)
        axes = tuple(range(-dims, 0))
        return np.where(finite, values, 0.0).sum(axis=axes) / finite.sum(axis=axes)
