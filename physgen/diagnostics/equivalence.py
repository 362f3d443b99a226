r"""Deviations of a generated from a reference measurement in the diagnostic's own terms, and what they decide.

A result says of itself how far a generated one may lie from it, in root attributes:

- ``tolerance``: the accepted deviation;
- ``tolerance_kind``: what a deviation is. ``ratio``: :math:`g/r - 1` (of positive quantities); ``difference``:
  :math:`(g - r)/Y` with the variable ``yardstick`` Y of the reference (1 where there is none); ``distribution``: the
  difference of the cumulative distributions of a histogram over its last dim;
- ``tolerance_of``: of what, in words: "P(k)", "energy".

Equivalence: with a simultaneous confidence band over all P points, :math:`\hat\delta_i \pm c\,\sigma_i`, c the quantile
of Student's law at :math:`1 - \alpha/2P` (Bonferroni), a verdict is *pass* where the whole band lies within the
tolerance (and a deviation as large as the tolerance would have been seen), *fail* where some point lies outside by more
than its error at a family-wise rate of false alarms, else *open*.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from scipy import stats

from physgen.diagnostics.hotelling import ROUNDING

if TYPE_CHECKING:
    import xarray as xr

    from physgen.diagnostics.pair import Pair

Status = Literal["pass", "fail", "open", "not computed"]  # of a verdict; the last where nothing could be compared
STATUSES: tuple[Status, ...] = get_args(Status)
KINDS = ("ratio", "difference", "distribution")
DEFAULTS = {  # kind of the result -> tolerance, kind, of what: for results that say nothing of themselves
    "spectrum": (0.1, "ratio", "the spectrum"),
    "histogram": (0.05, "distribution", "probability"),
}
ANYTHING_ELSE = (0.1, "difference", "the largest value")
CONFIDENCE = 0.95
FALSE_ALARMS = 0.01
BAND = (0.05, 0.7)  # part of the Nyquist wavenumber in which spectra are judged
DRAWS, FEWEST_DRAWS, WORK = 999, 199, 6e7  # permutations, and numbers that they may handle in all
TAIL = 0.1  # part of the permutations to which the tail of ln p is fitted
JOINT = 1e-3  # a joint test of equality that rejects at this level is named beside a pass


@dataclass(frozen=True)
class Tolerance:
    """How far a generated measurement may lie from the reference."""

    limit: float
    kind: str
    quantity: str

    @classmethod
    def of(cls, result: xr.Dataset, limit: float | None = None) -> Tolerance:
        """What a result says of itself, with another limit if one is given."""
        default = DEFAULTS.get(result.attrs.get("kind", ""), ANYTHING_ELSE)
        named = (result.attrs.get(f"tolerance{part}", d) for part, d in zip(("", "_kind", "_of"), default, strict=True))
        found = cls(*named)
        if found.kind not in KINDS:
            raise ValueError(f"tolerance_kind = {found.kind!r}: choose one of {', '.join(KINDS)}")
        return found if limit is None else replace(found, limit=float(limit))


@dataclass(frozen=True)
class Deviation:
    """Deviations of P points with standard errors and Student degrees of freedom; flat arrays (P,)."""

    value: np.ndarray
    error: np.ndarray
    freedom: np.ndarray

    def row(self, i: int) -> Deviation:
        """One of many."""
        return Deviation(self.value[i], self.error[i], self.freedom[i])


def deviations(pair: Pair, tolerance: Tolerance, result: xr.Dataset) -> Deviation:
    r"""Deviations of all points of a pair of results.

    ``ratio`` is handled as :math:`\ln(\bar g/\bar r)` with the jackknife's error over units, the others are linear in
    the units. Student's degrees of freedom are n - 1 for pairs, those of Welch and Satterthwaite else.

    Args:
        pair: :class:`physgen.diagnostics.comparison.Pair`.
        tolerance: says the kind.
        result: of the reference; holds ``yardstick``.

    Returns:
        :class:`Deviation`, with nan where there is no deviation to speak of (constant points, no positive mean).
    """
    reference, generated = linear(pair, tolerance, result)
    return _deviation(reference[None], generated[None], pair.paired, tolerance.kind == "ratio").row(0)


def linear(pair: Pair, tolerance: Tolerance, result: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """What the deviations are means of, per unit: (U, P) of the reference and (V, P) of the generated."""
    r, g = (x.reshape(len(x), -1) for x in (pair.reference, pair.generated))
    if tolerance.kind == "distribution":
        width = result["width"].values if "width" in result else 1.0
        shape = pair.reference.shape[1:]
        r, g = (_cumulative(x.reshape(len(x), *shape) * width).reshape(len(x), -1) for x in (r, g))
        return r, g
    if tolerance.kind == "difference":
        scale = _yardstick(result, pair)
        return r / scale, g / scale
    return r, g


def _cumulative(probability: np.ndarray) -> np.ndarray:
    """Cumulative probability per unit, normalised, without the last bin, where it is one."""
    total = probability.sum(axis=-1, keepdims=True)
    return (np.cumsum(probability, axis=-1) / np.where(total > 0, total, 1.0))[..., :-1]


def _yardstick(result: xr.Dataset, pair: Pair) -> np.ndarray:
    shape = pair.reference.shape[1:]
    if "yardstick" in result:
        dims = [d for d in result["value"].dims if d in result["yardstick"].dims]
        values = result["yardstick"].transpose(*dims).broadcast_like(result["value"]).transpose(*result["value"].dims)
        return values.values.reshape(-1).astype(float)
    if "tolerance" in result.attrs:
        return np.ones(int(np.prod(shape)))
    return np.full(int(np.prod(shape)), np.abs(pair.reference.mean(axis=0)).max() or 1.0)


def _deviation(r: np.ndarray, g: np.ndarray, paired: bool, logarithm: bool) -> Deviation:
    """Deviations of many pairs at once: (B, U, P) and (B, V, P) -> :class:`Deviation` of (B, P)."""
    counts = [g.shape[1]] if paired else [g.shape[1], r.shape[1]]
    if min(counts) < 2:
        shape = (len(r), r.shape[2])
        return Deviation(g.mean(axis=1) - r.mean(axis=1), np.full(shape, np.nan), np.ones(shape))
    if logarithm:
        with np.errstate(invalid="ignore", divide="ignore"):
            value = np.log(g.mean(axis=1)) - np.log(r.mean(axis=1))
            value[~np.isfinite(value)] = np.nan
            without = [np.log((x.sum(axis=1, keepdims=True) - x) / (x.shape[1] - 1)) for x in (g, r)]
            without = [without[0] - without[1]] if paired else without
            variances = [(n - 1) * w.var(axis=1) for n, w in zip(counts, without, strict=True)]
        return _finished(value, variances, counts, np.ones_like(value))
    value = g.mean(axis=1) - r.mean(axis=1)
    groups = [g - r] if paired else [g, r]
    variances = [x.var(axis=1, ddof=1) / n for n, x in zip(counts, groups, strict=True)]
    return _finished(value, variances, counts, np.abs(r).mean(axis=1) + np.abs(g).mean(axis=1))


def _finished(value: np.ndarray, variances: list[np.ndarray], counts: list[int], size: np.ndarray) -> Deviation:
    variance = sum(variances)
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = sum(v**2 / (n - 1) for v, n in zip(variances, counts, strict=True))
        freedom = np.where(spread > 0, variance**2 / spread, min(counts) - 1)
        error = np.sqrt(variance)
        constant = ~(error > ROUNDING * size)
        same = constant & (np.abs(value) <= ROUNDING * size)
    # units that agree to the last digit and yet differ: certain to no more than one unit in n
    error = np.where(constant & ~same & np.isfinite(error), np.abs(value) / np.sqrt(min(counts)), error)
    return Deviation(np.where(same, np.nan, value), error, np.maximum(freedom, 1.0))


def permuted_log_p(
    pair: Pair, tolerance: Tolerance, result: xr.Dataset, rng: np.random.Generator, draws: int = DRAWS
) -> np.ndarray:
    r"""How improbable Student's law calls deviations of equal laws: :math:`\ln p` of every point under permutation.

    Units are dealt out anew (of pairs: swapped), which leaves the joint law unchanged where both laws are equal,
    whatever its tails and however many units either side has. Student's law is exact for Gaussian units alone.

    Returns:
        (draws, P) float32, two-sided ln p of each point; fewer draws for many units, nan for constant points.
    """
    reference, generated = linear(pair, tolerance, result)
    n, m = len(reference), len(generated)
    if min(n, m) < 2:
        return np.full((0, reference.shape[1]), np.nan, np.float32)
    pooled = np.concatenate([reference, generated])
    draws = int(np.clip(WORK / max(pooled.size, 1), FEWEST_DRAWS, draws))
    step = max(1, int(2**22 / pooled.size))
    found = []
    for start in range(0, draws, step):
        count = min(step, draws - start)
        if pair.paired:
            swap = rng.integers(2, size=(count, n, 1)).astype(bool)
            r, g = np.where(swap, generated, reference), np.where(swap, reference, generated)
        else:
            order = rng.permuted(np.tile(np.arange(n + m), (count, 1)), axis=1)
            r, g = pooled[order[:, :n]], pooled[order[:, n:]]
        dealt = _deviation(r, g, pair.paired, tolerance.kind == "ratio")
        with np.errstate(invalid="ignore", divide="ignore"):
            found.append(np.log(2.0) + stats.t.logsf(np.abs(dealt.value) / dealt.error, dealt.freedom))
    return np.concatenate(found).astype(np.float32)


# --- what they decide ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Decision:
    """Pass, fail or open with the figures that it rests on; ``worst`` is the index of the point that decided."""

    status: Status
    worst: int
    deviation: float
    error: float
    low: float  # of the simultaneous band at that point
    high: float
    detectable: float  # smallest deviation, at any one point, that is seen with 95 % probability
    fail_p: float  # p value, over all points, of a deviation within the tolerance
    needed: float  # units over the present ones that would decide, 1 where decided
    points: int


def decide(
    found: Deviation,
    tolerance: Tolerance,
    confidence: float = CONFIDENCE,
    false_alarms: float = FALSE_ALARMS,
    null: np.ndarray | None = None,
) -> Decision | None:
    r"""Decide by equivalence; see the head of this module.

    Student's law calls deviations of heavy-tailed units, and of unequal numbers of them, too improbable. ``null``
    corrects that: the band widens until it holds in ``confidence`` of the permutations, and the tail of the smallest p
    of each permutation, exponential in :math:`-\ln p` with mean excess e > 1 where Student errs, gives the p value
    of a fail: :math:`-\ln p \to -\ln p_t + \ldots` by :func:`calibrated`.

    Args:
        found: deviations of the judged points.
        tolerance: Tolerance.
        confidence: of the simultaneous band.
        false_alarms: probability of a fail, over all points, where the law is right.
        null: (draws, P) of :func:`permuted_log_p`; None trusts Student's law.

    Returns:
        :class:`Decision`, None where no point has both a deviation and an error.
    """
    usable = np.flatnonzero(np.isfinite(found.value) & np.isfinite(found.error) & (found.error > 0))
    if not usable.size:
        return None
    value, error, freedom = (x[usable] for x in (found.value, found.error, found.freedom))
    logarithmic = tolerance.kind == "ratio"
    limit = np.log1p(tolerance.limit) if logarithmic else tolerance.limit
    points = len(usable)
    smallest = np.zeros(0) if null is None else np.fmin.reduce(null[:, usable], axis=1)
    smallest = smallest[np.isfinite(smallest)]
    level = (1 - confidence) / points
    if smallest.size:
        level = min(level, np.exp(np.quantile(smallest, 1 - confidence)))
    half = stats.t.ppf(1 - level / 2, freedom) * error
    seen = half + stats.t.ppf(0.95, freedom) * error
    excess = (np.abs(value) - limit) / error
    log_p = np.minimum(np.log(2 * points) + stats.t.logsf(excess, freedom), 0.0)
    fail_p = np.exp(log_p if not smallest.size else calibrated(log_p, smallest, points))
    failed = fail_p < false_alarms
    inside = (np.abs(value) + half <= limit) & (seen <= limit)
    status: Status = "fail" if failed.any() else "pass" if inside.all() else "open"
    # a failed point is named by its significance, else the point whose band reaches farthest
    worst = int(np.argmin(log_p) if failed.any() else np.argmax(np.abs(value) + half))
    needed = 1.0 if status != "open" else _needed(value, error, half, seen, limit, freedom, false_alarms / points)
    decision = Decision(
        status, int(usable[worst]), value[worst], error[worst], value[worst] - half[worst], value[worst] + half[worst],
        seen.max(), fail_p.min(), needed, points,
    )  # fmt: skip
    return _as_ratio(decision) if logarithmic else decision


def _as_ratio(found: Decision) -> Decision:
    """A decision about ln(g/r) in terms of g/r - 1."""
    log = ("deviation", "low", "high", "detectable")
    ratios = {name: np.expm1(getattr(found, name)) for name in log}
    return replace(found, error=found.error * np.exp(found.deviation), **ratios)


def calibrated(log_p: np.ndarray, smallest: np.ndarray, points: int) -> np.ndarray:
    r"""ln p over all points, by the tail of the permutations.

    With x = -ln p of the smallest of P points, :math:`P(X > x) = a\,e^{-(x - x_a)/e}` beyond the quantile
    :math:`x_a` that a = 10 % of the permutations exceed, e their mean excess. Never smaller than Bonferroni's.

    Args:
        log_p: ln of Bonferroni-adjusted p values.
        smallest: (draws,) smallest ln p, not adjusted, of each permutation.
    """
    x, dealt = np.log(points) - log_p, -smallest
    if len(dealt) < FEWEST_DRAWS:
        return log_p
    start = np.quantile(dealt, 1 - TAIL)
    excess = dealt[dealt > start] - start
    slope = max(excess.mean(), 1.0) if excess.size else 1.0
    tail = np.log(TAIL) - (x - start) / slope
    rank = np.log((1 + (dealt[None] >= x[:, None]).sum(axis=1)) / (1 + len(dealt)))
    return np.maximum(log_p, np.where(x > start, tail, rank))


def _needed(
    value: np.ndarray,
    error: np.ndarray,
    half: np.ndarray,
    seen: np.ndarray,
    limit: float,
    freedom: np.ndarray,
    rate: float,
) -> float:
    """Factor in the number of units that would decide.

    Points that differ beyond their band keep their deviation; the others are taken for equal, so that their
    scatter shrinks with more units.
    """
    size = np.abs(value)
    real = size > half
    outside = real & (size > limit)
    if outside.any():
        critical = stats.t.ppf(1 - rate / 2, freedom) * error
        return np.min((critical[outside] / (size[outside] - limit)) ** 2)
    with np.errstate(divide="ignore"):
        kept = np.where(real, half / np.maximum(limit - size, 0.0), np.maximum(size + half, seen) / limit)
    return np.max(np.maximum(kept, seen / limit) ** 2)
