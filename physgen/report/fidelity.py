"""The verdict in one sentence, and the table of fidelity that it rests on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from physgen.notation import format_value, html_units

VERDICTS = "verdicts"
NAMES = {  # of the metrics of physgen.diagnostics.verdict, for readers
    "distance_tv_over_floor": "total variation / floor",
    "distance_tv_worst": "total variation, worst point",
    "distance_tv": "total variation",
    "distance_w1": "Wasserstein-1",
    "mean_abs_log_ratio": "mean |ln ratio|",
    "max_deviation": "largest |ratio − 1|",
    "max_abs_z": "largest |z|",
    "chi2_per_dof": "χ² / dof",
    "<=": "≤",
}


def verdict_sentence(summary: Mapping[str, Any]) -> str:
    """The verdict in one sentence, which names every failed test."""
    verdicts = summary.get(VERDICTS, ())
    passed = [v for v in verdicts if v["passed"] is True]
    failed = [v for v in verdicts if v["passed"] is False]
    undecided = [words(v["diagnostic"]) for v in verdicts if v["passed"] is None]
    rest = f" Undecided with these data: {', '.join(undecided)}." if undecided else ""
    if not passed and not failed:
        return f"No verdict.{rest or ' No metric was held to a threshold.'}"
    if not failed:
        count = "The one decided test passed" if len(passed) == 1 else f"All {len(passed)} decided tests passed"
        return f"{count}: within the thresholds, generated and reference agree.{rest}"
    names: dict[str, list[str]] = {}
    for verdict in failed:
        diagnostic, metric = verdict["diagnostic"], verdict["metric"]
        entry = summary.get(diagnostic, {}).get(metric, {})
        names.setdefault(words(diagnostic), []).append(entry.get("long_name", words(metric)))
    where = "; ".join(f"{diagnostic} ({', '.join(metrics)})" for diagnostic, metrics in names.items())
    count = f"{len(passed)} of {len(passed) + len(failed)} tests passed"
    return f"{count}: generated and reference differ in {where}.{rest}"


def standing(verdicts: Sequence[Mapping[str, Any]]) -> str:
    """fail if any test failed, pass if any passed and none failed, else open."""
    outcomes = {v["passed"] for v in verdicts}
    return "fail" if False in outcomes else "pass" if True in outcomes else "open"


def fidelity_rows(summary: Mapping[str, Any]) -> list[dict[str, str]]:
    """One row of strings for each metric; ``outcome`` is pass, fail, open (undecided) or none (no threshold).

    Single points of a scalar, which carry a ``reference``, stand in the table of their section instead, unless
    one of them was held to a threshold.
    """
    verdicts = {(v["diagnostic"], v["metric"]): v for v in summary.get(VERDICTS, ())}
    rows = []
    for diagnostic, metrics in summary.items():
        for metric, entry in metrics.items() if diagnostic != VERDICTS else ():
            verdict = verdicts.get((diagnostic, metric))
            if "reference" in entry and verdict is None:
                continue
            floor, null, threshold = entry.get("floor"), entry.get("null"), verdict["threshold"] if verdict else ""
            rows.append({
                "diagnostic": words(diagnostic),
                "metric": entry.get("long_name", words(metric)),
                "value": format_value(entry["value"], entry.get("error")),
                "units": Markup(html_units(entry.get("units"))),
                "floor": "" if floor is None else format_value(floor, entry.get("floor_error")),
                "null": "" if null is None else f"{null:.2g}",
                "strip": Markup(strip(entry)),
                "outcome": {True: "pass", False: "fail", None: "open"}[verdict["passed"]] if verdict else "none",
                "threshold": _threshold(threshold),
            })  # fmt: skip
    return rows


def _threshold(limit: str | float) -> str:
    return words(limit) if isinstance(limit, str) else f"≤ {format_value(limit)}"


def strip(entry: Mapping[str, Any], width: int = 100) -> str:
    """A line from zero with the value (dot and error bar) and its floor (tick), as inline SVG; empty without floor."""
    value, floor, error = (entry.get(name) for name in ("value", "floor", "error"))
    if any(x is None or not math.isfinite(x) or x < 0 for x in (value, floor)):
        return ""
    error = error if error is not None and math.isfinite(error) else 0.0
    scale = (width - 12) / (max(value + error, floor) * 1.05 or 1.0)
    x, low, high, mark = (6 + scale * point for point in (value, max(value - error, 0.0), value + error, floor))
    return (
        f'<svg class="strip" width="{width}" height="16" role="img" aria-label="value against floor">'
        f'<line class="axis" x1="6" x2="{width - 6}" y1="8" y2="8"/><line class="axis" x1="6" x2="6" y1="5" y2="11"/>'
        f'<rect class="floor" x="6" y="4" width="{mark - 6:.1f}" height="8"/>'
        f'<line class="bar" x1="{low:.1f}" x2="{high:.1f}" y1="8" y2="8"/><circle cx="{x:.1f}" cy="8" r="3.2"/></svg>'
    )


def words(name: object) -> str:
    """An identifier, or a sentence with identifiers in it, as words."""
    text = str(name)
    for identifier, name_for_readers in NAMES.items():
        text = text.replace(identifier, name_for_readers)
    return text.replace("_", " ")
