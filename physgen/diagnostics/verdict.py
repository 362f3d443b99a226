"""From a comparison to a verdict, pass, fail or open, by equivalence within a tolerance.

The rule stands in :mod:`physgen.diagnostics.equivalence`; here it is applied to a comparison and put into words. The
numbers beside a verdict are those of :mod:`physgen.diagnostics.metrics`.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from physgen.diagnostics.equivalence import (
    BAND,
    CONFIDENCE,
    FALSE_ALARMS,
    JOINT,
    STATUSES,
    Deviation,
    Status,
    Tolerance,
    decide,
)
from physgen.diagnostics.hotelling import ROUNDING

if TYPE_CHECKING:
    import xarray as xr

MOST = 1e4  # units over the present ones: beyond, "many" is said


@dataclass(frozen=True)
class Verdict:
    """What was decided about one diagnostic; None where a number is unknown or does not apply.

    Attributes:
        diagnostic: its name.
        status: ``pass``: equivalent within the tolerance; ``fail``: different by more; ``open``: these data do not
            decide; ``not computed``: the diagnostic does not apply to these ensembles.
        reason: one sentence: what was found, how small a deviation would have been seen, what would decide.
        tolerance: accepted deviation.
        tolerance_kind: ``ratio``, ``difference`` or ``distribution``, see :mod:`physgen.diagnostics.equivalence`.
        tolerance_of: what deviates, in words: "P(k)".
        percent: whether deviations read as per cent.
        deviation: at the point that decided.
        error: its standard error.
        low: lower end of the simultaneous band at that point.
        high: upper end of it.
        where: that point, in words: "k = 0.3 h/Mpc".
        points: number of points that were judged.
        p_value: of the joint test of equality of all points.
        fail_p: probability of such a deviation at any point where all lie within the tolerance.
        detectable: smallest deviation at one point that would have been seen with 95 % probability.
        needed: so many times the present units would decide, where the verdict is open.
        confidence: of the simultaneous band.
        false_alarms: probability of a fail where the laws are equal.
    """

    diagnostic: str
    status: Status
    reason: str
    tolerance: float | None = None
    tolerance_kind: str | None = None
    tolerance_of: str | None = None
    percent: bool = False
    deviation: float | None = None
    error: float | None = None
    low: float | None = None
    high: float | None = None
    where: str | None = None
    points: int | None = None
    p_value: float | None = None
    fail_p: float | None = None
    detectable: float | None = None
    needed: float | None = None
    confidence: float | None = None
    false_alarms: float | None = None

    def __post_init__(self) -> None:
        if self.status not in STATUSES:
            raise ValueError(f"status {self.status!r} of a verdict: choose one of {', '.join(STATUSES)}")

    def __str__(self) -> str:
        return f"{self.diagnostic}: {self.status}; {self.reason}"

    def flat(self) -> dict[str, Any]:
        """The form of ``summary.json`` and of the MLflow tags: the fields by name, ``status`` as ``verdict``,
        ``reason`` as ``text``."""
        fields = asdict(self)
        named = {"diagnostic": fields.pop("diagnostic"), "verdict": fields.pop("status"), "text": fields.pop("reason")}
        return named | fields


def not_computed(diagnostic: str, reason: object) -> Verdict:
    """The verdict on a diagnostic that does not apply to the ensembles."""
    return Verdict(diagnostic, "not computed", str(reason))


def judge(
    comparison: xr.Dataset,
    tolerance: float | None = None,
    band: tuple[float, float] = BAND,
    confidence: float = CONFIDENCE,
    false_alarms: float = FALSE_ALARMS,
) -> Verdict:
    """The verdict on a comparison.

    Args:
        comparison: of :func:`physgen.diagnostics.compare`.
        tolerance: accepted deviation in the diagnostic's own terms; None for what the diagnostic says of itself.
        band: (low, high) part of the Nyquist wavenumber in which spectra are judged.
        confidence: of the simultaneous band.
        false_alarms: probability of a fail, over all points, where the laws are equal.
    """
    attrs = comparison.attrs
    limit = attrs["tolerance"] if tolerance is None else float(tolerance)
    allowed = Tolerance(limit, attrs["tolerance_kind"], attrs["tolerance_of"])
    judged, judged_where = _judged(comparison, band)
    null = comparison["permuted_log_p"].values.reshape(comparison.sizes["draw"], -1)
    decision = decide(judged, allowed, confidence, false_alarms, null)
    verdict = Verdict(
        str(attrs.get("diagnostic", "")), "open", "", limit, allowed.kind, allowed.quantity,
        bool(attrs.get("tolerance_percent", 0)), p_value=finite_or_none(comparison["p_value"]), confidence=confidence,
        false_alarms=false_alarms,
    )  # fmt: skip
    if decision is None:
        return _nothing_to_judge(verdict, comparison)
    verdict = replace(
        verdict, status=decision.status, deviation=finite_or_none(decision.deviation),
        error=finite_or_none(decision.error), low=finite_or_none(decision.low), high=finite_or_none(decision.high),
        where=_place(comparison, decision.worst), points=decision.points, fail_p=finite_or_none(decision.fail_p),
        detectable=finite_or_none(decision.detectable), needed=finite_or_none(decision.needed),
    )  # fmt: skip
    units = int(attrs["n_reference"]), int(attrs["n_generated"])
    return replace(verdict, reason=_sentence(verdict, units) + judged_where)


def finite_or_none(x: Any) -> float | None:
    """A number for JSON, which has neither NaN nor infinity."""
    x = math.nan if x is None else float(x)
    return x if math.isfinite(x) else None


def _nothing_to_judge(verdict: Verdict, comparison: xr.Dataset) -> Verdict:
    if min(comparison.attrs["n_reference"], comparison.attrs["n_generated"]) < 2:
        return replace(verdict, reason="one independent unit gives no error: add units")
    difference, size = (np.abs(comparison[name].values) for name in ("difference", "reference"))
    if np.any(difference > 0) and np.all(difference <= ROUNDING * size):
        return replace(verdict, status="pass", reason="constant, and equal on both sides within rounding",
                       deviation=0.0, detectable=ROUNDING)  # fmt: skip
    if np.any(difference > 0):
        return replace(verdict, reason="no point has both a deviation and an error")
    return replace(
        verdict, status="open", reason="generated and reference are identical in every point: nothing was tested"
    )


def _judged(comparison: xr.Dataset, band: tuple[float, float]) -> tuple[Deviation, str]:
    """Flat deviations with points outside the band of spectra taken out, and the words that say so."""
    value = comparison["deviation"].values.ravel().copy()
    words = ""
    inside = within_band(comparison, band)
    if inside is not None:
        value[~inside] = np.nan
        words = f"; judged from {band[0]:g} to {band[1]:g} k_Nyquist"
    rest = (comparison[name].values.ravel() for name in ("deviation_error", "deviation_freedom"))
    return Deviation(value, *rest), words


def within_band(comparison: xr.Dataset, band: tuple[float, float]) -> np.ndarray | None:
    """Which points, flat, lie in a part of the Nyquist wavenumber; None for anything but a spectrum that states it."""
    scale = comparison.attrs.get("nyquist", np.nan)
    if comparison.attrs.get("kind") != "spectrum" or not np.isfinite(scale):
        return None
    ratio = comparison["ratio"]
    k = np.broadcast_to(ratio[ratio.dims[-1]].values, ratio.shape).ravel()
    return (k >= band[0] * scale) & (k <= band[1] * scale)


# --- words --------------------------------------------------------------------------------------------


def _sentence(v: Verdict, units: tuple[int, int]) -> str:
    limit, found, low, high, least = (
        amount(x, v.percent) for x in (v.tolerance, v.deviation, v.low, v.high, v.detectable)
    )
    at = f" at {v.where}" if v.where else ""
    measured = f"{found} [{low}, {high}] in {v.tolerance_of}{at}, tolerance {limit}"
    seen = f"would have seen {least}"
    joint = ""
    if v.p_value is not None and v.p_value < JOINT:
        joint = f"; the joint test of all points rejects equality (p = {v.p_value:.1g})"
        joint += ": the difference is real, though smaller than the tolerance" if v.status == "pass" else ""
    if v.status == "pass":
        return f"{measured}; {seen}{joint}"
    if v.status == "fail":
        return f"{measured}; outside with p = {v.fail_p:.1g}{joint}"
    return f"{measured}; {seen}; {_wanted(v.needed, units)}{joint}"


def _wanted(factor: float | None, units: tuple[int, int]) -> str:
    if not factor or not math.isfinite(factor) or factor > MOST:
        return "a deviation near the tolerance, or too large a scatter: no affordable number of units would decide"
    now = max(min(units), 1)
    return f"about {math.ceil(factor * now)} independent units a side instead of {now} would decide"


def amount(x: float | None, percent: bool) -> str:
    """A deviation with two digits, as per cent or as a plain number."""
    if x is None:
        return "?"
    rounded = float(f"{100 * x if percent else x:.2g}")
    text = f"{rounded:.0f}" if 10 <= abs(rounded) < 1e5 else f"{rounded:g}"
    return f"{text} %" if percent else text


def _place(comparison: xr.Dataset, index: int) -> str | None:
    """Where the judged point lies: coordinates with their units."""
    deviation = comparison["deviation"]
    if not deviation.ndim:
        return None
    where = dict(zip(deviation.dims, np.unravel_index(index, deviation.shape), strict=True))
    return ", ".join(_point(deviation, str(dim), int(i)) for dim, i in where.items())


def _point(values: xr.DataArray, dim: str, i: int) -> str:
    attrs = values[dim].attrs if dim in values.coords else {}
    if "flag_meanings" in attrs:
        return str(attrs["flag_meanings"]).split()[i]
    point = values[dim].values[i] if dim in values.coords else i
    unit = attrs.get("units", "1")
    if isinstance(point, str):
        return str(point)
    symbol = str(attrs.get("symbol", dim))
    symbol = dim if "\\" in symbol else symbol  # LaTeX is for figures
    return f"{symbol} = {point:.3g}{'' if unit == '1' else ' ' + unit}"
