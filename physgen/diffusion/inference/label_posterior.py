r"""Posteriors of labels from a function that draws log-likelihoods, with a uniform prior over [-1, 1]^n.

ln p(x | l) is smooth in the labels l where its draws share their noise. It is measured at a design of points, a
polynomial is fitted to it, the design moves to where the posterior is, and the posterior is the polynomial's, averaged
over the noise of the draws: for one or two labels on a grid, for more on a Sobol sequence. The scatter of posteriors
without one of the draws (jackknife) is the Monte Carlo error of the mean, which the width holds already. Steps that are
far off, by hundreds of nats, weigh little in the fit; what it misses near the peak is stated.

Shapes: U units (what has a posterior of its own), n labels, R draws, T points of a design, Q points of a quadrature, K
terms of a polynomial, S draws from a posterior.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import logsumexp
from scipy.stats import qmc

Design = Callable[[np.ndarray, np.ndarray, bool], np.ndarray]  # units (T,), labels (T, n), last round -> (R, T)

DEPTH = 12.0  # nats below the peak that the box of a design must reach
NEAR = 4.0  # within so many nats of the peak the misfit of the polynomial is stated
WIDE = 20.0  # nats below the peak from which points weigh less
ROUNDS = 5  # at most: to find the peak, to cover it, to measure it
GRID = {1: 257, 2: 65}  # points of the quadrature along each label; else SOBOL points in all
SOBOL = 2**13
DEGREE = {1: 4, 2: 4}  # of the polynomial, in all labels together
SIDE = {1: (9, 7), 2: (6, 5)}  # points of the first and of further designs along each label; else three a term


@dataclass(frozen=True)
class LabelPosterior:
    """Posteriors of U units on [-1, 1]^n.

    Attributes:
        points: (U, Q, n) of the quadrature. weight: (U, Q), sum 1. ln_weight: (U, Q), its logarithm.
        mean, std: (U, n). covariance: (U, n, n).
        mean_error: (U, n), Monte Carlo error of the mean by the jackknife over draws.
        misfit: (U,) rms in nats of what the polynomial misses near the peak.
        outside: (U,) posterior weight at the edges of the box that are no edges of the prior: what may be cut off.
        box: (U, 2, n) lower and upper corner. evaluations: log-likelihoods (of one draw) that were computed.
        ln_evidence: (U,) ln of the mean of exp(ln p) over the prior, nats.
        fits: of each unit, labels (K, n) -> ln of the weight there; none where the weights are not those measured.
    """

    points: np.ndarray
    weight: np.ndarray
    ln_weight: np.ndarray
    mean: np.ndarray
    std: np.ndarray
    covariance: np.ndarray
    mean_error: np.ndarray
    misfit: np.ndarray
    outside: np.ndarray
    box: np.ndarray
    ln_evidence: np.ndarray
    evaluations: int
    fits: tuple[Callable[[np.ndarray], np.ndarray], ...] = ()

    def ln_weight_at(self, labels: np.ndarray) -> np.ndarray:
        """ln of the weight (U,) at labels (U, n), between points of the quadrature; outside the box at its edge."""
        inside = np.clip(labels, self.box[:, 0], self.box[:, 1])
        return np.array([fit(point[None])[0] for fit, point in zip(self.fits, inside, strict=True)])

    def of(self, units: np.ndarray) -> LabelPosterior:
        """Posteriors of some units alone."""
        arrays = {name: value[units] for name, value in vars(self).items() if isinstance(value, np.ndarray)}
        return replace(self, **arrays, fits=tuple(self.fits[u] for u in units))

    def reweighted(self, weight: np.ndarray) -> LabelPosterior:
        """Posteriors of other weights (U, Q), sum 1, on the same points: evidence and fits are those of none.

        ``mean_error`` stays: a factor of ln p takes from the scatter of its slope what it gives to the variance.
        """
        moments = [_moments(grid, one) for grid, one in zip(self.points, weight, strict=True)]
        mean, covariance = (np.stack(part) for part in zip(*moments, strict=True))
        outside = [_outside(*unit) for unit in zip(self.points, weight, self.box, strict=True)]
        std = np.sqrt(np.einsum("unn->un", covariance))
        with np.errstate(divide="ignore"):
            ln_weight = np.log(weight)
        return replace(
            self, weight=weight, ln_weight=ln_weight, mean=mean, std=std, covariance=covariance,
            outside=np.array(outside), ln_evidence=np.full(len(weight), np.nan), fits=(),
        )  # fmt: skip

    def draw(self, count: int, seed: int) -> np.ndarray:
        """(U, S, n) draws: systematic resampling of the quadrature, spread over its cells."""
        units, size, labels = self.points.shape
        rng = np.random.default_rng([seed, 7])
        found = np.empty((units, count, labels))
        cell = (self.box[:, 1] - self.box[:, 0]) / _spacings(labels)
        for u in range(units):
            comb = (np.arange(count) + rng.random()) / count
            index = np.searchsorted(np.cumsum(self.weight[u])[:-1], comb)
            jitter = (rng.random((count, labels)) - 0.5) * cell[u]
            found[u] = np.clip(self.points[u, rng.permutation(index)] + jitter, -1, 1)
        return found


def label_posterior(measure: Design, units: int, labels: int) -> LabelPosterior:
    """Posteriors of ``units`` units over ``labels`` labels.

    Args:
        measure: (units (T,), labels (T, n) in [-1, 1], whether this is the last round) -> ln p (R, T). Points of one
            unit must share their noise. Before the last round fewer draws do; R >= 2 in the last one.
    """
    box = np.tile(np.array([-np.ones(labels), np.ones(labels)]), (units, 1, 1))
    spent, last = 0, False
    seen = [(np.empty((0, labels)), np.empty(0)) for _ in range(units)]
    for number in range(ROUNDS):
        design = [_design(corners, number) for corners in box]
        at = np.concatenate(design)
        which = np.repeat(np.arange(units), [len(points) for points in design])
        last = number == ROUNDS - 1 or last
        drawn = np.asarray(measure(which, at, last), dtype=float)
        spent += drawn.size
        if last:
            break
        moved = box.copy()
        for u in range(units):
            here = which == u
            points = np.concatenate([seen[u][0], at[here]])
            values = np.concatenate([seen[u][1], drawn[:, here].mean(0)])
            seen[u] = points, values
            moved[u] = _new_box(points, values, box[u])
        shrunk = np.prod((moved[:, 1] - moved[:, 0]) / (box[:, 1] - box[:, 0]), axis=1)
        box, last = moved, bool((shrunk > 0.5).all())
    return posterior_from_draws(box, which, at, drawn, spent)


def posterior_from_draws(
    box: np.ndarray, which: np.ndarray, at: np.ndarray, drawn: np.ndarray, spent: int = 0
) -> LabelPosterior:
    """Posteriors of what was drawn, (R, T), at the last design: points (T, n) of units (T,), in boxes (U, 2, n)."""
    units, _, labels = box.shape
    draws = len(drawn)
    shape = (units, labels)
    mean, error, covariance = np.empty(shape), np.empty(shape), np.empty((*shape, labels))
    misfit, outside, evidence = np.empty(units), np.empty(units), np.empty(units)
    points, weights, logarithms, fits = [], [], [], []
    for u in range(units):
        here = which == u
        values = drawn[:, here]
        grid = _quadrature(box[u])
        fit = _Polynomial(at[here], values.mean(0), box[u])
        ln_p, over_noise = fit(grid), _OverNoise(fit, values, grid)
        weight = over_noise.weight
        left_out = (values.sum(0) - values) / (draws - 1)
        others = np.stack([_softmax(fit.of(row)(grid)) @ grid for row in left_out])
        mean[u], covariance[u] = _moments(grid, weight)
        error[u] = np.sqrt((draws - 1) / draws * ((others - others.mean(0)) ** 2).sum(0))
        misfit[u], outside[u] = fit.misfit, _outside(grid, weight, box[u])
        volume = np.prod((box[u, 1] - box[u, 0]) / 2)
        evidence[u] = float(logsumexp(ln_p)) - math.log(len(grid)) + math.log(volume)
        points.append(grid)
        weights.append(weight)
        logarithms.append(over_noise(grid))
        fits.append(over_noise)
    std = np.sqrt(np.einsum("unn->un", covariance))
    return LabelPosterior(
        np.stack(points), np.stack(weights), np.stack(logarithms), mean, std, covariance, error, misfit, outside, box,
        evidence, spent, tuple(fits),
    )  # fmt: skip


class _OverNoise:
    r"""ln of a posterior averaged over the noise of ln p, a callable.

    The noise of the mean of R draws is near to a slope in the labels: it moves the posterior and leaves its width, so
    that one of them is too sure. The average is over the 2R points :math:`m \pm (d_r - m)/\sqrt{R - 1}`, whose mean and
    covariance are those of the mean m.
    """

    def __init__(self, fit: _Polynomial, values: np.ndarray, grid: np.ndarray) -> None:
        middle = values.mean(0)
        away = (values - middle) / math.sqrt(len(values) - 1)
        moved = [middle] if not away.any() else [*(middle + away), *(middle - away)]
        self.fits = [fit.of(one) for one in moved]
        found = [one(grid) for one in self.fits]
        self.totals = [float(logsumexp(one)) for one in found]
        self.weight = np.mean([np.exp(one - total) for one, total in zip(found, self.totals, strict=True)], axis=0)

    def __call__(self, points: np.ndarray) -> np.ndarray:
        values = [fit(points) - total for fit, total in zip(self.fits, self.totals, strict=True)]
        return np.asarray(logsumexp(values, axis=0) - math.log(len(values)))


def _moments(grid: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean (n,) and covariance (n, n)."""
    mean = weight @ grid
    centred = grid - mean
    return mean, (weight[:, None] * centred).T @ centred


class _Polynomial:
    """Least squares in all monomials up to a total degree, of values (T,) at points (T, n) in a box."""

    def __init__(self, points: np.ndarray, values: np.ndarray, box: np.ndarray) -> None:
        self.box, labels = box, points.shape[1]
        degree = DEGREE.get(labels, 3 if labels < 5 else 2)
        while degree > 1 and math.comb(labels + degree, degree) > 0.8 * len(points):
            degree -= 1
        self.powers = np.array([p for p in itertools.product(range(degree + 1), repeat=labels) if sum(p) <= degree])
        self.features = self._features(points)
        below = values.max() - values
        self.root_weight = np.minimum(1.0, WIDE / np.maximum(below, 1e-9))
        self.coefficients = self._solve(values)
        missed, near = values - self.features @ self.coefficients, below < NEAR
        freedom = max(len(points) - len(self.powers), 1) / len(points)
        some = missed[near] if near.any() else missed[np.argmin(below)][None]
        self.misfit = float(np.sqrt((some**2).mean() / freedom))

    def of(self, values: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        """The fit to other values at the same points, with the same weights."""
        coefficients = self._solve(values)
        return lambda points: self._features(points) @ coefficients

    def __call__(self, points: np.ndarray) -> np.ndarray:
        return self._features(points) @ self.coefficients

    def _solve(self, values: np.ndarray) -> np.ndarray:
        top = values.max()
        rows = self.features * self.root_weight[:, None]
        found = np.linalg.lstsq(rows, (values - top) * self.root_weight, rcond=None)[0]
        found[0] += top  # the first monomial is the constant
        return found

    def _features(self, points: np.ndarray) -> np.ndarray:
        scaled = (2 * points - self.box[1] - self.box[0]) / (self.box[1] - self.box[0])
        return np.prod(scaled[:, None, :] ** self.powers, axis=2)


def _new_box(points: np.ndarray, values: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Where ln p may come within DEPTH nats of its peak: by a fit inside the box, and by the points themselves."""
    inside = np.all((points >= box[0] - 1e-9) & (points <= box[1] + 1e-9), axis=1)
    fit = _Polynomial(points[inside], values[inside], box)
    grid = _quadrature(box)
    ln_p = fit(grid)
    slack = DEPTH + 3 * min(fit.misfit, 10 * DEPTH)
    kept = grid[ln_p > ln_p.max() - slack]
    best = points[inside][np.argsort(values[inside])[-2:]]  # a poor fit must not lose sight of the best points
    kept = np.concatenate([kept, best])
    width = box[1] - box[0]
    low, high = kept.min(0), kept.max(0)
    margin = np.maximum(0.1 * (high - low), 0.02 * width)
    # where the posterior runs into an edge of the box that is none of the prior, the box moves outwards
    low = np.where(low <= box[0] + 0.02 * width, low - 0.3 * width, low)
    high = np.where(high >= box[1] - 0.02 * width, high + 0.3 * width, high)
    return np.stack([np.maximum(low - margin, -1), np.minimum(high + margin, 1)])


def _design(box: np.ndarray, number: int) -> np.ndarray:
    """Points of one round (T, n): Chebyshev nodes for one or two labels, else a Sobol sequence."""
    labels = box.shape[1]
    if labels in SIDE:
        side = SIDE[labels][min(number, 1)]
        nodes = -np.cos((np.arange(side) + 0.5) * math.pi / side)
        unit = np.stack(np.meshgrid(*[nodes] * labels, indexing="ij"), axis=-1).reshape(-1, labels)
    else:
        terms = math.comb(labels + (3 if labels < 5 else 2), labels)
        unit = 2 * _sobol(3 * terms, labels, number) - 1
    return (box[0] + box[1]) / 2 + unit * (box[1] - box[0]) / 2


def _quadrature(box: np.ndarray) -> np.ndarray:
    """Points (Q, n) of equal weight in the box: midpoints of cells, or a Sobol sequence."""
    labels = box.shape[1]
    if labels in GRID:
        middles = (np.arange(GRID[labels]) + 0.5) / GRID[labels]
        unit = np.stack(np.meshgrid(*[middles] * labels, indexing="ij"), axis=-1).reshape(-1, labels)
    else:
        unit = _sobol(SOBOL, labels, 99)
    return box[0] + unit * (box[1] - box[0])


def _spacings(labels: int) -> float:
    """Cells of the quadrature along each label."""
    return GRID[labels] if labels in GRID else SOBOL ** (1 / labels)


def _sobol(count: int, labels: int, seed: int) -> np.ndarray:
    return qmc.Sobol(labels, seed=seed).random(2 ** math.ceil(math.log2(count)))[:count]


def _outside(grid: np.ndarray, weight: np.ndarray, box: np.ndarray) -> float:
    """Weight in the outer 2 % of the box along any label, where the prior goes on."""
    edge = 0.02 * (box[1] - box[0])
    low = (grid < box[0] + edge) & (box[0] > -1 + 1e-9)
    high = (grid > box[1] - edge) & (box[1] < 1 - 1e-9)
    return float(weight[(low | high).any(axis=1)].sum())


def _softmax(ln_p: np.ndarray) -> np.ndarray:
    weight = np.exp(ln_p - ln_p.max())
    return weight / weight.sum()
