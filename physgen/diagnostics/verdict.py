"""From a comparison to a few flat figures and a verdict: pass, fail or open, by equivalence within a tolerance.

The rule stands in :mod:`physgen.diagnostics.equivalence`; here it is applied to a comparison and put into words.
"""

import math
from dataclasses import asdict, dataclass, replace

import numpy as np
from scipy import stats

from physgen.diagnostics.equivalence import (
    BAND,
    CONFIDENCE,
    FALSE_ALARMS,
    JOINT,
    Deviation,
    Tolerance,
    decide,
)
from physgen.diagnostics.hotelling import ROUNDING

MOST = 1e4  # units over the present ones: beyond, "many" is said


@dataclass(frozen=True)
class Verdict:
    """What was decided about one diagnostic, flat and fit for JSON (None where unknown)."""

    diagnostic: str
    verdict: str  # pass, fail, open, skipped
    text: str  # one sentence: what was found, how small a deviation would have been seen, what would decide
    tolerance: float | None = None
    tolerance_kind: str | None = None
    tolerance_of: str | None = None
    percent: bool = False  # deviations read as per cent
    deviation: float | None = None  # at the point that decided
    error: float | None = None
    low: float | None = None  # of the simultaneous band at that point
    high: float | None = None
    where: str | None = None
    points: int | None = None
    p_value: float | None = None  # joint test of equality of all points
    fail_p: float | None = None  # of a deviation within the tolerance, over all points of the diagnostic
    detectable: float | None = None  # smallest deviation at one point that would be seen with 95 % probability
    needed: float | None = None  # so many times the units would decide, where open
    confidence: float | None = None
    false_alarms: float | None = None

    def as_dict(self):
        """Plain data, as in summary.json."""
        return asdict(self)


def skipped(diagnostic, reason):
    """The verdict on a diagnostic that could not be computed."""
    return Verdict(diagnostic, "skipped", str(reason))


def judge(comparison, **rules):
    """Metrics and verdict of a comparison in one flat dict, fit for JSON.

    Args:
        comparison: of :func:`physgen.diagnostics.compare`.
        **rules: those of :func:`judgement`.

    Returns:
        dict: metric -> {"value", "error"[, "floor"]}; "verdict" is pass, fail or open, "text" says why in one sentence,
        "judged" names the metric, "threshold" its tolerance.
    """
    metrics, verdict = judgement(comparison, **rules)
    threshold = f"{amount(verdict.tolerance, verdict.percent)} in {verdict.tolerance_of}"
    words = {"verdict": verdict.verdict, "text": verdict.text, "threshold": threshold, "judged": "worst_deviation"}
    return metrics | words


def judgement(comparison, tolerance=None, band=BAND, confidence=CONFIDENCE, false_alarms=FALSE_ALARMS):
    """Metrics and verdict of a comparison.

    Args:
        comparison: of :func:`physgen.diagnostics.compare`.
        tolerance: accepted deviation in the diagnostic's own terms; None for what the diagnostic says of itself.
        band: (low, high) part of the Nyquist wavenumber in which spectra are judged.
        confidence: of the simultaneous band.
        false_alarms: probability of a fail, over all points, where the laws are equal.

    Returns:
        dict: metric -> {"value", "error"[, "floor"]}, None where unknown; and the :class:`Verdict`.
    """
    attrs = comparison.attrs
    limit = attrs["tolerance"] if tolerance is None else float(tolerance)
    allowed = Tolerance(limit, attrs["tolerance_kind"], attrs["tolerance_of"])
    judged, where = _judged(comparison, band)
    null = comparison["permuted_log_p"].values.reshape(comparison.sizes["draw"], -1)
    decision = decide(judged, allowed, confidence, false_alarms, null)
    metrics = _metrics(comparison, band)
    p = _number(comparison["p_value"])
    verdict = Verdict(
        str(attrs.get("diagnostic", "")), "open", "", limit, allowed.kind, allowed.quantity,
        bool(attrs.get("tolerance_percent", 0)), p_value=p, confidence=confidence, false_alarms=false_alarms,
    )  # fmt: skip
    if decision is None:
        return metrics, _nothing_to_judge(verdict, comparison)
    metrics["worst_deviation"] = _metric(decision.deviation, decision.error)
    place = _place(comparison, decision.worst)
    verdict = replace(
        verdict, verdict=decision.verdict, deviation=_number(decision.deviation), error=_number(decision.error),
        low=_number(decision.low), high=_number(decision.high), where=place, points=decision.points,
        fail_p=_number(decision.fail_p), detectable=_number(decision.detectable), needed=_number(decision.needed),
    )  # fmt: skip
    units = int(attrs["n_reference"]), int(attrs["n_generated"])
    return metrics, replace(verdict, text=_sentence(verdict, units) + where)


def _nothing_to_judge(verdict, comparison):
    if min(comparison.attrs["n_reference"], comparison.attrs["n_generated"]) < 2:
        return replace(verdict, text="no error can be had from one independent unit: add units")
    difference, size = (np.abs(comparison[name].values) for name in ("difference", "reference"))
    if np.any(difference > 0) and np.all(difference <= ROUNDING * size):
        return replace(verdict, verdict="pass", text="constant, and equal on both sides within rounding",
                       deviation=0.0, detectable=ROUNDING)  # fmt: skip
    if np.any(difference > 0):
        return replace(verdict, text="no point has both a deviation and an error")
    return replace(
        verdict, verdict="open", text="generated and reference are identical in every point: nothing was tested"
    )


def _judged(comparison, band):
    """Flat deviations with points outside the band of spectra taken out, and the words that say so."""
    value = comparison["deviation"].values.ravel().copy()
    words = ""
    inside = _inside(comparison, band)
    if inside is not None:
        value[~inside] = np.nan
        words = f"; judged from {band[0]:g} to {band[1]:g} k_Nyquist"
    rest = (comparison[name].values.ravel() for name in ("deviation_error", "deviation_freedom"))
    return Deviation(value, *rest), words


def _inside(comparison, band):
    scale = comparison.attrs.get("nyquist", np.nan)
    if comparison.attrs.get("kind") != "spectrum" or not np.isfinite(scale):
        return None
    ratio = comparison["ratio"]
    k = np.broadcast_to(ratio[ratio.dims[-1]].values, ratio.shape).ravel()
    return (k >= band[0] * scale) & (k <= band[1] * scale)


# --- words --------------------------------------------------------------------------------------------


def _sentence(v, units):
    limit, found, low, high, least = (
        amount(x, v.percent) for x in (v.tolerance, v.deviation, v.low, v.high, v.detectable)
    )
    at = f" at {v.where}" if v.where else ""
    measured = f"{found} [{low}, {high}] in {v.tolerance_of}{at}, tolerance {limit}"
    seen = f"would have seen {least}"
    joint = ""
    if v.p_value is not None and v.p_value < JOINT:
        joint = f"; the joint test of all points rejects equality (p = {v.p_value:.1g})"
        joint += ": the difference is real, though smaller than the tolerance" if v.verdict == "pass" else ""
    if v.verdict == "pass":
        return f"{measured}; {seen}{joint}"
    if v.verdict == "fail":
        return f"{measured}; outside with p = {v.fail_p:.1g}{joint}"
    return f"{measured}; {seen}; {_wanted(v.needed, units)}{joint}"


def _wanted(factor, units):
    if not factor or not math.isfinite(factor) or factor > MOST:
        return "the deviation lies at the tolerance: no number of units that can be had would decide"
    now = max(min(units), 1)
    return f"about {math.ceil(factor * now)} independent units a side instead of {now} would decide"


def amount(x, percent):
    """A deviation with two digits, as per cent or as a plain number."""
    if x is None:
        return "?"
    rounded = float(f"{100 * x if percent else x:.2g}")
    text = f"{rounded:.0f}" if 10 <= abs(rounded) < 1e5 else f"{rounded:g}"
    return f"{text} %" if percent else text


def _place(comparison, index):
    """Where the judged point lies: coordinates with their units."""
    deviation = comparison["deviation"]
    if not deviation.ndim:
        return None
    where = dict(zip(deviation.dims, np.unravel_index(index, deviation.shape), strict=True))
    return ", ".join(_point(deviation, dim, int(i)) for dim, i in where.items())


def _point(values, dim, i):
    attrs = values[dim].attrs if dim in values.coords else {}
    if "flag_meanings" in attrs:
        return attrs["flag_meanings"].split()[i]
    point = values[dim].values[i] if dim in values.coords else i
    unit = attrs.get("units", "1")
    if isinstance(point, str):
        return str(point)
    symbol = str(attrs.get("symbol", dim))
    symbol = dim if "\\" in symbol else symbol  # LaTeX is for figures
    return f"{symbol} = {point:.3g}{'' if unit == '1' else ' ' + unit}"


# --- metrics ------------------------------------------------------------------------------------------


def _metrics(comparison, band):
    kind = comparison.attrs.get("kind")
    metrics = _spectrum(comparison, band) if kind == "spectrum" else {}
    metrics |= _histogram(comparison) if kind == "histogram" else {}
    metrics |= _points(comparison) if kind not in ("spectrum", "histogram") else {}
    metrics["p_value"] = _metric(comparison["p_value"], None)
    dof = float(comparison["dof"])
    if dof > 0:
        metrics["chi2_per_dof"] = _metric(comparison["chi2"] / dof, comparison["chi2_error"] / dof)
    return metrics


def _metric(value, error, **more):
    return {name: _number(x) for name, x in ({"value": value, "error": error} | more).items()}


def _number(x):
    x = math.nan if x is None else float(x)
    return x if math.isfinite(x) else None  # JSON has no NaN


def _spectrum(comparison, band):
    ratio = comparison["ratio"].values.ravel()
    inside = _inside(comparison, band)
    inside = np.isfinite(ratio) if inside is None else inside & np.isfinite(ratio)
    if not inside.any():
        return {}
    covariance = comparison["ratio_covariance"].values[np.ix_(inside, inside)]
    mean_error = math.sqrt(max(covariance.sum(), 0.0)) / inside.sum()
    return {
        "mean_ratio": _metric(ratio[inside].mean(), mean_error),
        "mean_abs_log_ratio": _with_floor(comparison, "mean_abs_log_ratio"),
    }


def _with_floor(comparison, name):
    """A distance averaged over its leading dims (errors add as if fully correlated) beside its floor.

    The floor is the larger of half against half of the reference and of the mean for equal laws from the scatter of
    the units, which also knows of samples that are correlated within a unit.
    """
    known = [float(comparison[f"{name}_null"].mean())]
    if f"{name}_floor" in comparison:
        known.append(float(comparison[f"{name}_floor"].mean()))
    known = [x for x in known if math.isfinite(x)]
    floor = max(known) if known else None
    return _metric(comparison[name].mean(), comparison[f"{name}_error"].mean(), floor=floor)


def _histogram(comparison):
    metrics = {}
    for name in ("distance_tv", "distance_w1"):
        units = str(comparison[name].attrs.get("units", "1"))
        metrics[name if units == "1" else f"{name}_{units}"] = _with_floor(comparison, name)
    tv = metrics["distance_tv"]
    if tv["value"] is not None and tv["floor"]:
        error = math.nan if tv["error"] is None else tv["error"]
        metrics["distance_tv_over_floor"] = _metric(tv["value"] / tv["floor"], error / tv["floor"])
    if comparison["distance_tv"].ndim:
        worst = comparison["distance_tv"].argmax(...)
        found = (comparison[name].isel(worst) for name in ("distance_tv", "distance_tv_error"))
        metrics["distance_tv_worst"] = _metric(*found)
    return metrics


def _points(comparison):
    z = comparison["z"]
    metrics = {}
    if comparison.attrs.get("kind") == "scalar" and z.size <= 16:
        for name, where in _point_names(z):
            metrics[name] = _metric(
                comparison["generated"].isel(where),
                comparison["generated_error"].isel(where),
                reference=comparison["reference"].isel(where),
                reference_error=comparison["reference_error"].isel(where),
                z=z.isel(where),
            )
    finite = np.abs(z.values[np.isfinite(z.values)])
    if finite.size:
        freedom = float(np.nanmin(comparison["deviation_freedom"])) if "deviation_freedom" in comparison else np.inf
        # the largest of many z is large by chance: 95 % of equal laws stay below this
        metrics["max_abs_z"] = _metric(finite.max(), None, null=stats.t.ppf(1 - 0.025 / finite.size, freedom))
    return metrics


def _point_names(value):
    """(name, place) of each point of a small result, from flag_meanings or coordinate values with their units."""
    for index in np.ndindex(*value.shape):
        where = dict(zip(value.dims, index, strict=True))
        words = []
        for dim, i in where.items():
            attrs = value[dim].attrs if dim in value.coords else {}
            if "flag_meanings" in attrs:
                words.append(attrs["flag_meanings"].split()[i])
                continue
            point = value[dim].values[i] if dim in value.coords else i
            unit = attrs.get("units", "1")
            shown = point if isinstance(point, str) else f"{point:g}"
            words.append(f"{dim}_{shown}{'' if unit == '1' else '_' + unit}")
        yield "_".join(words) or "estimate", where
