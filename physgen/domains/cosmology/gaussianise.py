r"""Gaussianisation of the one-point law: z = Phi^-1(F(v)) with F the cumulative distribution of the training values.

F is kept as knots (value, score) at equal steps of the normal score, so dense where values are rare, joined by monotone
rational quadratics: smooth, and with an exact inverse. Beyond the last knots the map is linear.
Sources: Neyrinck, Szapudi & Szalay 2009 (0903.4693), the idea; Gregory & Delbourgo 1982, the interpolant; Durkan et al.
2019 (1906.04032), its inverse.
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr, ndtri

# 48 knots reach 4.2 standard deviations, one cell in 75 000; small training sets get fewer
LAST_SCORE, KNOTS = 4.2, 48
# values that must lie beyond the outermost knots: with fewer a quantile is noise
TAIL_COUNT = 10
# segments over which the slope of a tail is taken
TAIL_SEGMENTS = 4
# knots closer than this fraction of their mean distance for one unit of score are one atom of the law, at its middle
ATOM = 1e-4


def fit_knots(values: np.ndarray) -> dict[str, list[float]]:
    """{"value": ascending, "score": ascending}: quantiles of ``values`` and the normal scores they are sent to."""
    score, share = knot_scores(values.size)
    return place_knots(np.quantile(values, share), score, float(values.min()), float(values.max()))


def knot_scores(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Normal scores of the knots of a law that is known by ``count`` values, and the shares of these below them."""
    limit = ndtri(max(1 - TAIL_COUNT / count, 0.75))
    score = np.linspace(-LAST_SCORE, LAST_SCORE, KNOTS)
    score = score[np.abs(score) <= limit]
    return score, ndtr(score)


def place_knots(value: np.ndarray, score: np.ndarray, low: float, high: float) -> dict[str, list[float]]:
    """Knots of quantiles ``value`` at normal scores; those that coincide are one atom of the law, at its middle score.

    ``low``, ``high``: the least and the largest value.
    """
    spread = (value[-1] - value[0]) / (score[-1] - score[0])
    atom = np.cumsum(np.diff(value, prepend=value[0]) > ATOM * spread)
    members = np.bincount(atom)
    value, score = (np.bincount(atom, weights=knots) / members for knots in (value, score))
    if len(value) < 2:
        # nearly every cell holds one value: shift and scale
        value, score = value[0] + (high - low) * np.array([-1.0, 1.0]), np.array([-1.0, 1.0])
    return {"value": value.tolist(), "score": score.tolist()}


def to_scores(values: np.ndarray, knots: dict[str, list[float]]) -> np.ndarray:
    """Normal scores z of ``values``, float64."""
    from physgen.domains.cosmology.score_kernels import scores

    flat = np.ascontiguousarray(values, dtype=np.float64).reshape(-1)
    found = np.empty_like(flat)
    scores(flat, *_segments(knots), found)
    return found.reshape(np.shape(values))


def score_slopes(values: np.ndarray, knots: dict[str, list[float]]) -> np.ndarray:
    """dz/dv of :func:`to_scores` at ``values``, float64; positive."""
    x, y, secant, slope = _segments(knots)
    k, inside, below = _locate(values, x)
    part = np.clip((values - x[k]) / (x[k + 1] - x[k]), 0.0, 1.0)
    bend = part * (1 - part)
    top = secant[k] ** 2 * (slope[k + 1] * part**2 + 2 * secant[k] * bend + slope[k] * (1 - part) ** 2)
    curve = top / (secant[k] + (slope[k] + slope[k + 1] - 2 * secant[k]) * bend) ** 2
    return np.where(inside, curve, np.where(below, slope[0], slope[-1]))


def from_scores(scores: np.ndarray, knots: dict[str, list[float]]) -> np.ndarray:
    """Inverse of ``to_scores``: the values of normal scores, float64."""
    x, y, secant, slope = _segments(knots)
    k, inside, below = _locate(scores, y)
    rise = y[k + 1] - y[k]
    height = np.clip(scores - y[k], 0.0, rise)
    curve = height * (slope[k] + slope[k + 1] - 2 * secant[k])
    # a part^2 + b part + c = 0, in the form of its root that never cancels
    a, b, c = rise * (secant[k] - slope[k]) + curve, rise * slope[k] - curve, -secant[k] * height
    part = 2 * c / (-b - np.sqrt(np.maximum(b**2 - 4 * a * c, 0.0)))
    tail = np.where(below, x[0] + (scores - y[0]) / slope[0], x[-1] + (scores - y[-1]) / slope[-1])
    return np.where(inside, x[k] + (x[k + 1] - x[k]) * part, tail)


def _locate(at: np.ndarray, edges: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    # index of the segment, whether the point is in it, whether it is below all
    k = np.clip(np.searchsorted(edges, at, side="right") - 1, 0, len(edges) - 2)
    below = at < edges[0]
    return k, ~below & (at <= edges[-1]), below


def _segments(knots: dict[str, list[float]]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    # knots, secants of the segments, and slopes at the knots: harmonic means of the secants, monotone
    x, y = np.asarray(knots["value"]), np.asarray(knots["score"])
    width, secant = np.diff(x), np.diff(y) / np.diff(x)
    near, far = width[1:] + 2 * width[:-1], 2 * width[1:] + width[:-1]
    slope = np.empty_like(x)
    slope[1:-1] = 3 * (width[1:] + width[:-1]) / (far / secant[:-1] + near / secant[1:])
    reach = min(TAIL_SEGMENTS, len(secant))
    slope[0] = (y[reach] - y[0]) / (x[reach] - x[0])
    slope[-1] = (y[-1] - y[-1 - reach]) / (x[-1] - x[-1 - reach])
    return x, y, secant, slope
