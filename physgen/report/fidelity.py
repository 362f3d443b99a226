"""The verdicts in one sentence and as tables, and the metrics beside them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from markupsafe import Markup

from physgen.diagnostics.equivalence import STATUSES, Status
from physgen.diagnostics.verdict import Verdict, amount
from physgen.figures.notation import format_value

NAMES = {  # of the metrics of physgen.diagnostics.metrics, for readers
    "distance_tv_over_floor": "total variation / floor",
    "distance_tv_worst": "total variation, worst point",
    "distance_tv": "total variation",
    "distance_w1": "Wasserstein-1",
    "mean_abs_log_ratio": "mean |ln ratio|",
    "worst_deviation": "largest deviation",
    "max_abs_z": "largest |z|",
    "chi2_per_dof": "χ² / dof",
}


def overall_status(verdicts: Sequence[Verdict]) -> Status:
    """fail if any diagnostic failed, pass if all passed, else open."""
    found = {v.status for v in verdicts}
    return "fail" if "fail" in found else "pass" if found == {"pass"} else "open"


def verdict_sentence(verdicts: Sequence[Verdict]) -> str:
    """The verdict in one sentence, which names every failed diagnostic and every one that stays open."""
    by_status = {status: [words(v.diagnostic) for v in verdicts if v.status == status] for status in STATUSES}
    passed, failed, undecided, left_out = by_status.values()
    rest = f" Open with these data: {', '.join(undecided)}." if undecided else ""
    rest += f" Not computed: {', '.join(left_out)}." if left_out else ""
    if not passed and not failed:
        return f"No verdict.{rest or ' No diagnostic was judged.'}"
    if failed:
        count = f"{len(passed)} of {len(passed) + len(failed)} decided diagnostics agree"
        return f"{count}; generated and reference differ in {', '.join(failed)}.{rest}"
    count = "The one decided diagnostic agrees" if len(passed) == 1 else f"All {len(passed)} decided diagnostics agree"
    return f"{count} with the reference within their tolerances.{rest}"


def verdict_rows(verdicts: Sequence[Verdict]) -> list[dict[str, str]]:
    """One row of strings for each diagnostic: what was found, within which tolerance, and what would have been seen."""
    return [
        {
            "diagnostic": words(v.diagnostic),
            "status": v.status,
            "deviation": _with_error(v),
            "of": v.tolerance_of or "",
            "where": v.where or "",
            "tolerance": "" if v.tolerance is None else amount(v.tolerance, v.percent),
            "seen": "" if v.detectable is None else amount(v.detectable, v.percent),
            "p": "" if v.p_value is None else f"{v.p_value:.2g}",
            "reason": v.reason,
        }
        for v in verdicts
    ]


def _with_error(verdict: Verdict) -> str:
    if verdict.deviation is None:
        return ""
    scale = 100 if verdict.percent else 1
    value = format_value(scale * verdict.deviation, None if verdict.error is None else scale * verdict.error)
    return f"{value} %" if verdict.percent else value


def verdict_table(verdicts: Sequence[Verdict]) -> str:
    """The verdicts as text: a row for each diagnostic, below it the reasons of those that have no deviation."""
    header = ("diagnostic", "verdict", "largest deviation", "at", "tolerance", "would see", "joint p")
    rows, notes = [], []
    for r in verdict_rows(verdicts):
        of = f" of {r['of']}" if r["of"] and r["deviation"] else ""
        mark = "FAIL" if r["status"] == "fail" else r["status"]
        rows.append((r["diagnostic"], mark, f"{r['deviation']}{of}", r["where"], r["tolerance"], r["seen"], r["p"]))
        if r["reason"] and not r["deviation"]:
            notes.append(f"{r['diagnostic']}: {r['reason']}")
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in [header, *rows]]
    return "\n".join([lines[0], "  ".join("-" * w for w in widths), *lines[1:], *notes])


def verdict_html(verdicts: Sequence[Verdict]) -> str:
    """:func:`verdict_table` as a table of HTML, for notebooks."""
    header = ("diagnostic", "verdict", "largest deviation", "at", "tolerance", "would see", "joint p")
    colours = {"pass": "#00714f", "fail": "#b4450a"}
    rows = []
    for r in verdict_rows(verdicts):
        mark = f'<b style="color:{colours[r["status"]]}">{r["status"]}</b>' if r["status"] in colours else r["status"]
        cells = [escape(r[key]) for key in ("deviation", "where", "tolerance", "seen", "p")]
        title = escape(r["reason"])
        rows.append(f'<tr title="{title}">' + "".join(f"<td>{c}</td>" for c in (escape(r["diagnostic"]), mark, *cells)))
    head = "".join(f"<th>{name}</th>" for name in header)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(row + '</tr>' for row in rows)}</tbody></table>"


def metric_rows(metrics: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> list[dict[str, str]]:
    """One row of strings for each metric of each diagnostic.

    Single points of a scalar, which carry a ``reference``, stand in the table of their section instead.
    """
    rows = []
    for diagnostic, found in metrics.items():
        for metric, entry in found.items():
            if "reference" in entry:
                continue
            floor, null = entry.get("floor"), entry.get("null")
            rows.append({
                "diagnostic": words(diagnostic),
                "metric": words(metric),
                "value": format_value(entry["value"], entry.get("error")),
                "floor": "" if floor is None else format_value(floor),
                "null": "" if null is None else f"{null:.2g}",
                "strip": Markup(strip(entry)),
            })  # fmt: skip
    return rows


def strip(entry: Mapping[str, Any], width: int = 100) -> str:
    """A line from zero with the value (dot and error bar) and its floor (tick), as inline SVG; empty without floor."""
    value, floor, error = (_number(entry.get(name)) for name in ("value", "floor", "error"))
    if not (value >= 0 and floor >= 0):
        return ""
    error = 0.0 if math.isnan(error) else error
    scale = (width - 12) / (max(value + error, floor) * 1.05 or 1.0)
    x, low, high, mark = (6 + scale * point for point in (value, max(value - error, 0.0), value + error, floor))
    return (
        f'<svg class="strip" width="{width}" height="16" role="img" aria-label="value against floor">'
        f'<line class="axis" x1="6" x2="{width - 6}" y1="8" y2="8"/><line class="axis" x1="6" x2="6" y1="5" y2="11"/>'
        f'<rect class="floor" x="6" y="4" width="{mark - 6:.1f}" height="8"/>'
        f'<line class="bar" x1="{low:.1f}" x2="{high:.1f}" y1="8" y2="8"/><circle cx="{x:.1f}" cy="8" r="3.2"/></svg>'
    )


def _number(x: float | None) -> float:
    """nan where there is no finite number."""
    return math.nan if x is None or not math.isfinite(x) else float(x)


def words(identifier: object) -> str:
    """An identifier for readers: its name, if it is a metric that has one (with a unit at its end), else its words."""
    text = str(identifier)
    for metric, name in NAMES.items():
        if text == metric or text.startswith(f"{metric}_"):
            return f"{name} {text[len(metric) + 1 :]}".replace("_", " ").strip()
    return text.replace("_", " ")
