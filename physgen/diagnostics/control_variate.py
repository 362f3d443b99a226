r"""Means and covariances of few costly measurements, made precise by many cheap ones: control variates.

A costly measurement x and a cheap one c of the same random start are correlated, so what c misses of its own mean says
what x misses of its mean: :math:`\hat\mu = \bar x - \beta (\bar c - \bar c')`, c' further cheap measurements of
other starts. For any fixed beta its mean is that of x, whatever the bias of the cheap measurement.
A beta that is fitted to the same pairs spoils that; here each pair gets the beta of the *other* pairs (and no c'), so
that the two factors of every correction are independent: the estimate is unbiased, exactly, for any law of (x, c).

Legend: N pairs, M further cheap draws, P points of the measurement, G groups of pairs that share a beta, D deletions of
a group (the first row deletes none). Source: Chartier et al. 2021 (2009.08970, CARPool), Chartier and Wandelt 2022
(2106.11718, covariances); cross-fitting: Avramidis and Wilson 1993.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from physgen.errors import InputError

GROUPS = 24  # of pairs: more leave the fit as it is and cost time
FEWEST_PAIRS = 5  # of a fitted mean: a jackknife then fits three of them
FEWEST_FOR_COVARIANCE = 7  # four are left of a pair of pairs in a jackknife
SMALL = 1e-12  # of the largest square: a cheap point that does not vary controls nothing


@dataclass(frozen=True)
class Controlled:
    """A combined estimate beside what it is made of; each array has the shape of what is estimated, (P,) or (P, P).

    Attributes:
        value, error: the combined estimate and its standard error: jackknife over groups of pairs, and the error of
            the mean of the cheap draws.
        plain, plain_error: the costly measurements alone.
        cheap, cheap_error: the further cheap draws alone, whose bias against ``value`` is that of the surrogate.
        slope: weighted mean of the betas that were used, the finite number of cheap draws included.
        correlation, correlation_error: rho of the pairs; :math:`(1-\\rho^2)/\\sqrt{N-3}`.
        gain, gain_low, gain_high: of a mean :func:`expected_gain` at rho, and one error of Fisher's z below and above;
            of a covariance the ratio of the squares of the two errors, within a factor exp(2/sqrt(G-1)), since its
            slopes are not those that rho of the products would allow.
        freedom: degrees of freedom of the errors, G - 1.
    """

    value: np.ndarray
    error: np.ndarray
    plain: np.ndarray
    plain_error: np.ndarray
    cheap: np.ndarray
    cheap_error: np.ndarray
    slope: np.ndarray
    correlation: np.ndarray
    correlation_error: np.ndarray
    gain: np.ndarray
    gain_low: np.ndarray
    gain_high: np.ndarray
    freedom: int


def controlled_mean(
    costly: ArrayLike,
    paired: ArrayLike,
    cheap: ArrayLike,
    slope: ArrayLike | None = None,
    multivariate: bool = False,
) -> Controlled:
    r"""Mean of a costly measurement, :math:`\frac1N\sum_i [x_i - f \beta_{-i} (c_i - \bar c')]`, exactly unbiased.

    :math:`f = M/(M+N)` is the optimal share for a finite number of cheap draws. :math:`\beta_{-i}` is the regression of
    x on c without the group of i: point by point, or with all points of c where ``multivariate`` (shrunk towards point
    by point, see :func:`shrinkage`).

    Args:
        costly, paired: (N, P), row i of both from one random start.
        cheap: (M, P), of other starts than those of the pairs.
        slope: beta where it is known from elsewhere, a number or (P,); None fits it.
        multivariate: let every point of c control every point of x.

    Raises:
        InputError: fewer pairs than a fit needs (5; 2 with a given slope), or fewer than 2 cheap draws.
    """
    pairs = _Pairs(costly, paired, cheap, FEWEST_PAIRS if slope is None else 2)
    given = None if slope is None else np.broadcast_to(np.asarray(slope, float), (pairs.points,))
    weights = pairs.count / (pairs.keep @ pairs.count)[:, None] * pairs.keep  # (D, G), rows sum to one
    share = pairs.draws / (pairs.draws + pairs.keep @ pairs.count)  # (D,)
    x, c = (total / pairs.count[:, None] for total in (pairs.sum_x, pairs.sum_c))
    corrections, used = [], []
    for row, weight, f in zip(pairs.keep, weights, share, strict=True):
        slopes = (
            pairs.matrices(row) if multivariate and given is None else pairs.slopes(row[None] & pairs.others, given)
        )
        apply = np.einsum("gpq,gq->gp", slopes, c) if slopes.ndim == 3 else slopes * c
        corrections.append(f * weight @ apply)
        used.append(f * np.tensordot(weight, slopes, 1))
    estimates = weights @ x - np.array(corrections)  # (D, P)
    beta, spread = used[0], np.atleast_2d(np.cov(pairs.cheap, rowvar=False)) / pairs.draws
    of_cheap = np.einsum("pq,qr,pr->p", beta, spread, beta) if beta.ndim == 2 else beta**2 * np.diag(spread)
    correlation = _correlation(pairs.x, pairs.c)
    return Controlled(
        value=estimates[0] + pairs.offset,
        error=np.sqrt(pairs.jackknife_variance(estimates) + of_cheap),
        plain=pairs.x.mean(axis=0) + pairs.offset,
        plain_error=pairs.x.std(axis=0, ddof=1) / np.sqrt(len(pairs.x)),
        cheap=pairs.cheap_offset,
        cheap_error=np.sqrt(np.diag(spread)),
        slope=np.diag(beta) if beta.ndim == 2 else beta,
        **_gains(correlation, len(pairs.x), pairs.draws, slope is None),
        freedom=pairs.groups - 1,
    )


def controlled_covariance(
    costly: ArrayLike, paired: ArrayLike, cheap: ArrayLike, slope: ArrayLike | None = None
) -> Controlled:
    r"""Covariance matrix of a costly measurement, entry by entry exactly unbiased.

    The sample covariance is the mean over pairs of rows of :math:`\frac12 (x_i - x_j)(x_i - x_j)^T`. From each of these
    is taken :math:`f \beta\beta^T \circ [\frac12 (c_i - c_j)(c_i - c_j)^T - S_{c'}]`, with the slopes beta (P,) of the
    groups that hold neither i nor j: :math:`\beta_a\beta_b` is the optimal slope of entry (a, b) where x - beta c is
    independent of c. :math:`f = (M-1)/(M+N-2)`. Nothing makes the estimate positive definite.

    Args and errors as in :func:`controlled_mean`, from 7 pairs on (3 with a given slope).
    """
    pairs = _Pairs(costly, paired, cheap, FEWEST_FOR_COVARIANCE if slope is None else 3)
    given = None if slope is None else np.broadcast_to(np.asarray(slope, float), (pairs.points,))
    of_x, of_c = (_pair_products(pairs, values) for values in (pairs.x, pairs.c))  # (K, P, P) of pairs of groups
    first, second, number = _pairs_of_groups(pairs)
    known = np.cov(pairs.cheap, rowvar=False).reshape(pairs.points, pairs.points)
    controls = of_c - number[:, None, None] * known
    plain, corrections = [], []
    for row in pairs.keep:
        kept = (row[first] & row[second]).astype(float)
        total, rows = kept @ number, int(row @ pairs.count)
        fit = row[None] & pairs.others[first] & pairs.others[second]
        slopes = pairs.slopes(fit, given) * np.sqrt(kept * (pairs.draws - 1) / (pairs.draws + rows - 2))[:, None]
        plain.append(np.tensordot(kept, of_x, 1) / total)
        corrections.append(np.einsum("kp,kq,kpq->pq", slopes, slopes, controls, optimize=True) / total)
        if len(plain) == 1:
            used = np.einsum("kp,kq,k->pq", slopes, slopes, number) / total
    estimates = np.array(plain) - np.array(corrections)
    of_known = np.maximum((pairs.cheap**2).T @ pairs.cheap**2 / pairs.draws - known**2, 0) / pairs.draws
    error = np.sqrt(pairs.jackknife_variance(estimates) + used**2 * of_known)
    alone = pairs.jackknife_variance(np.array(plain))
    products = [_products(values - values.mean(axis=0)) for values in (pairs.x, pairs.c)]
    found = _gains(_correlation(*products).reshape(known.shape), len(pairs.x), pairs.draws, slope is None)
    with np.errstate(invalid="ignore", divide="ignore"):
        gain, factor = alone / error**2, np.exp(2 / np.sqrt(pairs.groups - 1))
    return Controlled(
        value=estimates[0],
        error=error,
        plain=plain[0],
        plain_error=np.sqrt(alone),
        cheap=known,
        cheap_error=np.sqrt(of_known),
        slope=used,
        **found | {"gain": gain, "gain_low": gain / factor, "gain_high": gain * factor},
        freedom=pairs.groups - 1,
    )


def expected_gain(correlation: ArrayLike, pairs: int, draws: int, fitted: bool = True) -> np.ndarray:
    r"""Variance of the mean of N costly measurements over that of the combined mean.

    :math:`1/[(1-\rho^2)\,(1 + 1/(N-3)) + \rho^2 N/(M+N)]`: :math:`1/(1-\rho^2)` for a known beta and mean of c, less
    what a beta fitted to N pairs and a mean from M draws cost.
    """
    square = np.square(np.asarray(correlation, float))
    noise = 1 + 1 / (pairs - 3) if fitted and pairs > 3 else 1.0
    return 1 / ((1 - square) * noise + square * pairs / (draws + pairs))


def shrinkage(correlations: np.ndarray, count: int) -> float:
    r"""Share by which correlations between points are shrunk to zero: :math:`\sum \mathrm{Var}(r) / \sum r^2` up to 1.

    Var(r) = (1 - r^2)^2/(count - 1). Schaefer and Strimmer 2005 (Stat. Appl. Genet. Mol. Biol. 4, 32), eq. 10 with the
    large-sample variance.
    """
    off = correlations[~np.eye(len(correlations), dtype=bool)]
    if not off.size or not (off**2).sum() > 0:
        return 1.0
    return float(min(1.0, ((1 - off**2) ** 2).sum() / (count - 1) / (off**2).sum()))


# --- pairs in groups ------------------------------------------------------------------------------------


class _Pairs:
    """Centred measurements, their sums over each group, and which groups each deletion keeps (D, G)."""

    def __init__(self, costly: ArrayLike, paired: ArrayLike, cheap: ArrayLike, fewest: int) -> None:
        x, c, more = (np.asarray(values, float) for values in (costly, paired, cheap))
        if x.ndim != 2 or x.shape != c.shape or more.ndim != 2 or more.shape[1] != x.shape[1]:
            raise ValueError(
                f"needed are pairs (N, P), (N, P) and draws (M, P), not {x.shape}, {c.shape}, {more.shape}"
            )
        if len(x) < fewest:
            raise InputError(f"{len(x)} pairs are too few: give at least {fewest}, or a slope known from elsewhere")
        if len(more) < 2:
            raise InputError(f"{len(more)} cheap draws of other starts than those of the pairs: give at least 2")
        # differences of sums of squares lose digits where means are large
        self.offset, self.cheap_offset = x.mean(axis=0), more.mean(axis=0)
        self.x, self.c, self.cheap = x - self.offset, c - self.cheap_offset, more - self.cheap_offset
        self.points, self.draws, self.groups = x.shape[1], len(more), min(len(x), GROUPS)
        self.group = np.arange(len(x)) % self.groups
        self.count = np.bincount(self.group).astype(float)
        self.others = ~np.eye(self.groups, dtype=bool)
        self.keep = np.concatenate([np.ones((1, self.groups), bool), self.others])
        self.sum_x, self.sum_c = self.sums(self.x), self.sums(self.c)
        self._sum_cc, self._sum_xc = self.sums(self.c**2), self.sums(self.x * self.c)

    def sums(self, values: np.ndarray) -> np.ndarray:
        """(G, ...) sums of (N, ...) over each group."""
        total = np.zeros((self.groups, *values.shape[1:]))
        np.add.at(total, self.group, values)
        return total

    def slopes(self, fit: np.ndarray, given: np.ndarray | None) -> np.ndarray:
        """Regression of x on c, point by point, over the groups in each row of ``fit`` (K, G): (K, P)."""
        if given is not None:
            return np.broadcast_to(given, (len(fit), self.points))
        number, rows = (fit @ self.count)[:, None], fit.astype(float)
        x, c, cc, xc = (rows @ total for total in (self.sum_x, self.sum_c, self._sum_cc, self._sum_xc))
        spread = cc - c**2 / number
        varies = spread > SMALL * cc
        return np.where(varies, (xc - x * c / number) / np.where(varies, spread, 1.0), 0.0)

    def matrices(self, row: np.ndarray) -> np.ndarray:
        """Shrunk regression of all points of x on all of c without each group in turn, of those kept: (G, P, P)."""
        found = np.zeros((self.groups, self.points, self.points))
        for one in np.flatnonzero(row):
            rows = row[self.group] & (self.group != one)
            found[one] = _shrunk_regression(self.x[rows], self.c[rows])
        return found

    def jackknife_variance(self, estimates: np.ndarray) -> np.ndarray:
        """Variance of estimates (D, ...) by deletion of groups of unequal sizes (Busing et al. 1999, eq. 10)."""
        total = self.count.sum()
        ratio = (total / self.count).reshape(-1, *[1] * (estimates.ndim - 1))
        pseudo = ratio * estimates[0] - (ratio - 1) * estimates[1:]
        centre = (pseudo / ratio).sum(axis=0)  # weighted by the sizes of the groups
        return ((pseudo - centre) ** 2 / (ratio - 1)).mean(axis=0)


def _shrunk_regression(x: np.ndarray, c: np.ndarray) -> np.ndarray:
    """(P, P) slopes of centred x on c with correlations between points shrunk; a point that does not vary has none."""
    x, c = x - x.mean(axis=0), c - c.mean(axis=0)
    scale_x, scale_c = (np.sqrt((values**2).mean(axis=0)) for values in (x, c))
    varies = scale_c > 0
    unit_c = c / np.where(varies, scale_c, 1.0)
    unit_x = x / np.where(scale_x > 0, scale_x, 1.0)
    within, between = unit_c.T @ unit_c / len(c), unit_x.T @ unit_c / len(c)
    kept = 1 - shrinkage(within[np.ix_(varies, varies)], len(c))
    mask = np.where(np.eye(len(within), dtype=bool), 1.0, kept)
    within = within * mask + np.diag(~varies).astype(float)
    slopes = np.linalg.solve(within.T, (between * mask).T).T
    return slopes * scale_x[:, None] / np.where(varies, scale_c, 1.0)


def _pairs_of_groups(pairs: _Pairs) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Groups (K,), (K,) of each pair of them, one with itself included, and the number of pairs of rows in it."""
    first, second = np.triu_indices(pairs.groups)
    n = pairs.count
    number = np.where(first == second, n[first] * (n[first] - 1) / 2, n[first] * n[second])
    return first, second, number


def _pair_products(pairs: _Pairs, values: np.ndarray) -> np.ndarray:
    """Sums of (v_i - v_j)(v_i - v_j)^T / 2 over the pairs of rows of each pair of groups: (K, P, P)."""
    first, second, _ = _pairs_of_groups(pairs)
    total, square = pairs.sums(values), pairs.sums(values[:, :, None] * values[:, None, :])
    n = pairs.count[:, None, None]
    mixed = total[first][:, :, None] * total[second][:, None, :]
    found = (n[second] * square[first] + n[first] * square[second] - mixed - mixed.transpose(0, 2, 1)) / 2
    found[first == second] /= 2  # each pair of one group was counted twice
    return found


def _products(centred: np.ndarray) -> np.ndarray:
    """(N, P^2) products of the deviations of each row."""
    return (centred[:, :, None] * centred[:, None, :]).reshape(len(centred), -1)


def _correlation(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    one, two = first - first.mean(axis=0), second - second.mean(axis=0)
    norm = np.sqrt((one**2).sum(axis=0) * (two**2).sum(axis=0))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(norm > 0, (one * two).sum(axis=0) / norm, np.nan)


def _gains(correlation: np.ndarray, pairs: int, draws: int, fitted: bool) -> dict[str, np.ndarray]:
    """Correlation with its error and the gains that follow from it; Fisher's z has the error 1/sqrt(N - 3)."""
    step = 1 / np.sqrt(pairs - 3) if pairs > 3 else np.inf
    sure = np.clip(np.abs(correlation), 0, 1 - 1e-12)
    z = np.arctanh(sure)
    low, high = np.tanh(np.maximum(z - step, 0)), np.tanh(z + step)
    gains = [expected_gain(rho, pairs, draws, fitted) for rho in (sure, low, high)]
    names = ("gain", "gain_low", "gain_high")
    error = (1 - sure**2) * step
    return {"correlation": correlation, "correlation_error": error} | dict(zip(names, gains, strict=True))
