"""Is a mean vector zero? Hotelling's T^2 with the full covariance and few independent units.

The inverse of a covariance estimated from n units is biased and undefined for n <= p. Two remedies, both
independent of the measured difference, keep the p-value exact for Gaussian units: neighbouring points are merged
until p <= nu / 2, and T^2 is referred to the F law of its degrees of freedom nu instead of to chi-square.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

# directions whose variance is smaller than this part of all variance are constraints (a histogram sums to one)
CONSTRAINT = 1e-9
ROUNDING = 1e-7  # part of its size below which the scatter of a point is that of single precision


class JointTest(NamedTuple):
    """T^2 with the debiased inverse covariance, its points, its p-value, and the scatter that it has by chance."""

    chi2: float
    dof: int
    p_value: float
    chi2_error: float  # standard deviation of chi2 where the means are equal, nan where it has none


NOTHING = JointTest(np.nan, 0, np.nan, np.nan)


def mean_is_zero(per_unit: ArrayLike, scale: ArrayLike | None = None, max_points: int | None = None) -> JointTest:
    r"""Test that the mean of independent units vanishes: :math:`T^2 = n\,\bar d^T S^{-1} \bar d`.

    :math:`F = T^2 (n-p)/(p(n-1))` follows :math:`F_{p,\,n-p}` (Hotelling 1931), exactly for Gaussian units.

    Args:
        per_unit: (units, points), independent along units.
        scale: (points,) typical size of each point, by which it is divided before neighbours are merged; default 1.
        max_points: cap on the number p of merged points; default (n - 1) / 2.

    Returns:
        JointTest. chi2 is T^2 with the inverse covariance debiased by (n-p-2)/(n-1) (Hartlap, Simon and
        Schneider 2007, eq. 17): its mean is dof = p under the null; nan where n < p + 3.
    """
    return _test([np.asarray(per_unit, float)], scale, max_points)


def means_are_equal(
    first: ArrayLike, second: ArrayLike, scale: ArrayLike | None = None, max_points: int | None = None
) -> JointTest:
    r"""Test that two independent groups of units share one mean; their covariances may differ.

    :math:`T^2 = \Delta^T (S_1/n_1 + S_2/n_2)^{-1} \Delta` is referred to
    :math:`\frac{p\nu}{\nu-p+1} F_{p,\,\nu-p+1}` with nu of Krishnamoorthy and Yu (Stat. Probab. Lett. 66, 161, 2004).

    Args:
        first, second: (units, points); the numbers of units may differ.
        scale: as in :func:`mean_is_zero`.
        max_points: cap on the number p of merged points; default (min(n_1, n_2) - 1) / 2.

    Returns:
        JointTest as in :func:`mean_is_zero`.
    """
    return _test([np.asarray(first, float), np.asarray(second, float)], scale, max_points)


def _test(groups: list[np.ndarray], scale: ArrayLike | None, max_points: int | None) -> JointTest:
    freedom = min(len(g) for g in groups) - 1
    if freedom < 1:
        return NOTHING
    # dividing by the measured scatter would favour points that scatter little by chance, and spoil the F law
    scale = np.ones(groups[0].shape[1]) if scale is None else np.asarray(scale, float)
    scatter = np.max([g.std(axis=0) for g in groups], axis=0)
    size = np.max([np.abs(g).max(axis=0) for g in groups], axis=0)
    usable = np.isfinite(scatter) & (scatter > ROUNDING * size) & (scale > 0)  # constant points carry no information
    if not usable.any():
        return NOTHING
    wanted = max(1, freedom // 2) if max_points is None else max(1, min(max_points, freedom))
    groups, covariances, modes = _merged([g[:, usable] / scale[usable] for g in groups], wanted)
    if modes.shape[1] == 0:
        return NOTHING
    difference = groups[0].mean(axis=0) - (groups[1].mean(axis=0) if len(groups) == 2 else 0.0)
    covariances = [modes.T @ c @ modes for c in covariances]
    inverse = np.linalg.inv(sum(covariances))
    projected = modes.T @ difference
    t_squared = projected @ inverse @ projected
    p = len(projected)
    nu = _freedom(covariances, [len(g) for g in groups], inverse)
    p_value = stats.f.sf(t_squared * (nu - p + 1) / (p * nu), p, nu - p + 1)
    debias = (nu - p - 1) / nu
    chi2 = t_squared * debias if debias > 0 else np.nan
    q = nu - p + 1
    # chi2 / p is F_{p, q} (q - 2) / q, and the scatter of F is known
    chi2_error = p * np.sqrt(2 * (p + q - 2) / (p * (q - 4))) if q > 4 else np.nan
    return JointTest(chi2, p, float(p_value), chi2_error)


def _merged(groups: list[np.ndarray], wanted: int) -> tuple[list[np.ndarray], list[np.ndarray], np.ndarray]:
    """Groups with merged points, their covariances, and the ``wanted`` directions (columns) that are no constraint."""
    points = groups[0].shape[1]
    total = sum(g.var(axis=0, ddof=1).sum() / len(g) for g in groups)
    for count in range(min(wanted, points), points + 1):  # each constraint takes a direction away: merge less
        merged = [merge_points(g, count) for g in groups]
        covariances = [np.atleast_2d(np.cov(g, rowvar=False)) / len(g) for g in merged]
        variance, modes = np.linalg.eigh(sum(covariances))
        free = variance > CONSTRAINT * total
        if free.sum() >= wanted:
            break
    return merged, covariances, modes[:, free]


def _freedom(covariances: list[np.ndarray], counts: list[int], inverse: np.ndarray) -> float:
    """Degrees of freedom nu of Krishnamoorthy and Yu (2004), n - 1 for one group."""
    if len(counts) == 1:
        return counts[0] - 1
    p = len(inverse)
    spread = 0.0
    for covariance, n in zip(covariances, counts, strict=True):
        share = covariance @ inverse
        spread += (np.trace(share @ share) + np.trace(share) ** 2) / (n - 1)
    return (p + p**2) / spread


def merge_points(per_unit: np.ndarray, count: int) -> np.ndarray:
    """Sum neighbouring points into at most ``count`` runs of nearly equal length; (units, points) -> (units, count)."""
    points = per_unit.shape[1]
    if points <= count:
        return per_unit
    starts = np.arange(count) * points // count
    return np.add.reduceat(per_unit, starts, axis=1)
