"""From a comparison to a few flat figures and a verdict: pass, fail or undecided, with the threshold that decided.

A verdict needs two standard errors: pass if the whole interval value +- 2 errors keeps the threshold, fail if none of
it does, undecided in between (more configurations would decide).
"""

import math

import numpy as np


def judge(comparison, tolerance=0.1, band=(0.05, 0.7), floor_factor=3.0, p_limits=(0.001, 0.01)):
    r"""Metrics and verdict of a comparison, fit for JSON.

    Spectra: ``mean_ratio`` over bins with ``band`` in units of the Nyquist wavenumber, and its distance from 1 against
    ``tolerance``. Histograms: total variation, averaged over leading dims, against ``floor_factor`` times its floor
    (the larger of half against half and of the null from the scatter of the units). Everything else: p-value of the
    joint test of all points; fail below ``p_limits[0]``, pass above ``p_limits[1]``.

    Args:
        comparison: of :func:`physgen.diagnostics.compare`.
        tolerance: accepted deviation of the mean ratio from 1.
        band: (low, high) part of the Nyquist wavenumber.
        floor_factor: accepted multiple of the floor.
        p_limits: (fail below, pass above).

    Returns:
        dict: metric -> {"value", "error"[, "floor"]}, None where unknown; "verdict", "threshold" and
        "judged", the metric that was held against it, are strings.
    """
    kind = comparison.attrs.get("kind")
    if kind == "spectrum":
        metrics, verdict, threshold = _spectrum(comparison, tolerance, band)
    elif kind == "histogram":
        metrics, verdict, threshold = _histogram(comparison, floor_factor)
    else:
        metrics, verdict, threshold = _points(comparison, p_limits)
    metrics["p_value"] = _metric(comparison["p_value"], None)
    dof = float(comparison["dof"])
    if dof > 0:
        metrics["chi2_per_dof"] = _metric(comparison["chi2"] / dof, math.sqrt(2 / dof))
    judged = {"spectrum": "mean_ratio", "histogram": "distance_tv"}.get(kind, "p_value")
    return metrics | {"verdict": verdict, "threshold": threshold, "judged": judged}


def _metric(value, error, **more):
    return {name: _number(x) for name, x in ({"value": value, "error": error} | more).items()}


def _number(x):
    x = math.nan if x is None else float(x)
    return x if math.isfinite(x) else None  # JSON has no NaN


def decide(value, error, limit):
    """pass, fail or undecided for a value that should not exceed a limit, at two standard errors."""
    if not math.isfinite(value):
        return "undecided"
    error = error if math.isfinite(error) else math.inf
    if value + 2 * error <= limit:
        return "pass"
    return "fail" if value - 2 * error > limit else "undecided"


def _spectrum(comparison, tolerance, band):
    ratio = comparison["ratio"]
    k = np.broadcast_to(ratio[ratio.dims[-1]].values, ratio.shape).ravel()
    scale = comparison.attrs.get("nyquist", np.nan)
    inside = (k >= band[0] * scale) & (k <= band[1] * scale) if np.isfinite(scale) else np.ones(k.size, bool)
    inside &= np.isfinite(ratio.values.ravel())
    values, error = ratio.values.ravel()[inside], comparison["ratio_error"].values.ravel()[inside]
    if not values.size:
        return {}, "undecided", "no bin lies in the band"
    covariance = comparison["ratio_covariance"].values[np.ix_(inside, inside)]
    mean, mean_error = values.mean(), math.sqrt(max(covariance.sum(), 0.0)) / values.size
    worst = int(np.argmax(np.abs(values - 1)))
    metrics = {
        "mean_ratio": _metric(mean, mean_error),
        "max_deviation": _metric(abs(values[worst] - 1), error[worst]),
        "mean_abs_log_ratio": _with_floor(comparison, "mean_abs_log_ratio"),
    }
    threshold = f"|mean_ratio - 1| <= {tolerance:g} for {band[0]:g} to {band[1]:g} k_Nyquist"
    return metrics, decide(abs(mean - 1), mean_error, tolerance), threshold


def _with_floor(comparison, name):
    """A distance averaged over its leading dims; errors add as if fully correlated."""
    floor = comparison.get(f"{name}_floor")
    found = {"floor": None if floor is None else floor.mean(), "null": comparison[f"{name}_null"].mean()}
    return _metric(comparison[name].mean(), comparison[f"{name}_error"].mean(), **found)


def _histogram(comparison, factor):
    metrics = {}
    for name in ("distance_tv", "distance_w1"):
        units = str(comparison[name].attrs.get("units", "1"))
        metrics[name if units == "1" else f"{name}_{units}"] = _with_floor(comparison, name)
    tv = metrics["distance_tv"]
    floors = [f for f in (tv["floor"], tv["null"]) if f is not None]
    threshold = f"distance_tv <= {factor:g} floors"
    if tv["value"] is None or not floors or max(floors) == 0:
        return metrics, "undecided", threshold
    error = math.nan if tv["error"] is None else tv["error"]
    metrics["distance_tv_over_floor"] = _metric(tv["value"] / max(floors), error / max(floors))
    if comparison["distance_tv"].ndim:
        worst = comparison["distance_tv"].argmax(...)
        found = (comparison[name].isel(worst) for name in ("distance_tv", "distance_tv_error"))
        metrics["distance_tv_worst"] = _metric(*found)
    return metrics, decide(tv["value"], error, factor * max(floors)), threshold


def _points(comparison, p_limits):
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
        metrics["max_abs_z"] = _metric(finite.max(), 1.0)
    p = float(comparison["p_value"])
    low, high = p_limits
    threshold = f"p_value of all points together: pass above {high:g}, fail below {low:g}"
    if not math.isfinite(p):
        equal = not np.any(comparison["difference"].values)
        return metrics, "pass" if equal else "undecided", threshold
    return metrics, "fail" if p < low else "pass" if p > high else "undecided", threshold


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
            words.append(f"{dim}_{point:g}{'' if unit == '1' else '_' + unit}")
        yield "_".join(words) or "estimate", where
