"""The few numbers that stand for a whole comparison: each with its error, a distance beside its floor."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats

from physgen.diagnostics.equivalence import BAND
from physgen.diagnostics.verdict import Verdict, finite_or_none, within_band

if TYPE_CHECKING:
    import xarray as xr

    Metric = dict[str, float | None]


def metrics_of(
    comparison: xr.Dataset, verdict: Verdict | None = None, band: tuple[float, float] = BAND
) -> dict[str, Metric]:
    """Metrics of a comparison, fit for JSON.

    Args:
        comparison: of :func:`physgen.diagnostics.compare`.
        verdict: that of :func:`physgen.diagnostics.judge` on it; the deviation that decided becomes
            ``worst_deviation``.
        band: (low, high) part of the Nyquist wavenumber over which spectra are averaged.

    Returns:
        dict: metric -> {"value", "error"[, "floor", "null", "reference", "reference_error", "z"]}, None where unknown.
        ``floor``: a distance between equal laws; ``null``: 95 % of equal laws stay below.
    """
    kind = comparison.attrs.get("kind")
    found = _spectrum(comparison, band) if kind == "spectrum" else {}
    found |= _histogram(comparison) if kind == "histogram" else {}
    found |= _points(comparison) if kind not in ("spectrum", "histogram") else {}
    found["p_value"] = _metric(comparison["p_value"], None)
    dof = float(comparison["dof"])
    if dof > 0:
        found["chi2_per_dof"] = _metric(comparison["chi2"] / dof, comparison["chi2_error"] / dof)
    if verdict is not None and verdict.points is not None:
        found["worst_deviation"] = _metric(verdict.deviation, verdict.error)
    return found


def _metric(value: Any, error: Any, **more: Any) -> Metric:
    return {name: finite_or_none(x) for name, x in ({"value": value, "error": error} | more).items()}


def _spectrum(comparison: xr.Dataset, band: tuple[float, float]) -> dict[str, Metric]:
    ratio = comparison["ratio"].values.ravel()
    inside = within_band(comparison, band)
    inside = np.isfinite(ratio) if inside is None else inside & np.isfinite(ratio)
    if not inside.any():
        return {}
    covariance = comparison["ratio_covariance"].values[np.ix_(inside, inside)]
    mean_error = math.sqrt(max(covariance.sum(), 0.0)) / inside.sum()
    return {
        "mean_ratio": _metric(ratio[inside].mean(), mean_error),
        "mean_abs_log_ratio": _with_floor(comparison, "mean_abs_log_ratio"),
    }


def _with_floor(comparison: xr.Dataset, name: str) -> Metric:
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


def _histogram(comparison: xr.Dataset) -> dict[str, Metric]:
    found: dict[str, Metric] = {}
    for name in ("distance_tv", "distance_w1"):
        units = str(comparison[name].attrs.get("units", "1"))
        found[name if units == "1" else f"{name}_{units}"] = _with_floor(comparison, name)
    tv = found["distance_tv"]
    if tv["value"] is not None and tv["floor"]:
        error = math.nan if tv["error"] is None else tv["error"]
        found["distance_tv_over_floor"] = _metric(tv["value"] / tv["floor"], error / tv["floor"])
    if comparison["distance_tv"].ndim:
        worst = comparison["distance_tv"].argmax(...)
        worst_tv = (comparison[name].isel(worst) for name in ("distance_tv", "distance_tv_error"))
        found["distance_tv_worst"] = _metric(*worst_tv)
    return found


def _points(comparison: xr.Dataset) -> dict[str, Metric]:
    z = comparison["z"]
    found: dict[str, Metric] = {}
    if comparison.attrs.get("kind") == "scalar" and z.size <= 16:
        for name, where in _point_names(z):
            found[name] = _metric(
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
        found["max_abs_z"] = _metric(finite.max(), None, null=stats.t.ppf(1 - 0.025 / finite.size, freedom))
    return found


def _point_names(value: xr.DataArray) -> Iterator[tuple[str, dict[str, int]]]:
    """(name, place) of each point of a small result, from flag_meanings or coordinate values with their units."""
    for index in np.ndindex(*value.shape):
        where = dict(zip(map(str, value.dims), index, strict=True))
        words: list[str] = []
        for dim, i in where.items():
            attrs = value[dim].attrs if dim in value.coords else {}
            if "flag_meanings" in attrs:
                words.append(str(attrs["flag_meanings"]).split()[i])
                continue
            point = value[dim].values[i] if dim in value.coords else i
            unit = attrs.get("units", "1")
            shown = point if isinstance(point, str) else f"{point:g}"
            words.append(f"{dim}_{shown}{'' if unit == '1' else '_' + unit}")
        yield "_".join(words) or "estimate", where
