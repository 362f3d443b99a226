"""The verdict in one sentence, and the table of fidelity that it rests on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from physgen.diagnostics.verdict import amount
from physgen.figures.notation import format_value, html_units

VERDICTS = "verdicts"
NAMES = {  # of the metrics of physgen.diagnostics.verdict, for readers
    "distance_tv_over_floor": "total variation / floor",
    "distance_tv_worst": "total variation, worst point",
    "distance_tv": "total variation",
    "distance_w1": "Wasserstein-1",
    "mean_abs_log_ratio": "mean |ln ratio|",
    "worst_deviation": "largest deviation",
    "max_abs_z": "largest |z|",
    "chi2_per_dof": "χ² / dof",
    "<=": "≤",
}


MARKS = {"pass": "pass", "fail": "FAIL", "open": "open", "skipped": "skipped"}


def verdict_sentence(summary: Mapping[str, Any]) -> str:
    """The verdict in one sentence, which names every failed diagnostic and every one that stays open."""
    by_word: dict[str, list[str]] = {word: [] for word in MARKS}
    for verdict in summary.get(VERDICTS, ()):
        by_word[verdict["verdict"]].append(words(verdict["diagnostic"]))
    passed, failed, undecided, left_out = by_word.values()
    rest = f" Open with these data: {', '.join(undecided)}." if undecided else ""
    rest += f" Not computed: {', '.join(left_out)}." if left_out else ""
    if not passed and not failed:
        return f"No verdict.{rest or ' No diagnostic was judged.'}"
    if failed:
        count = f"{len(passed)} of {len(passed) + len(failed)} decided diagnostics agree"
        return f"{count}; generated and reference differ in {', '.join(failed)}.{rest}"
    count = "The one decided diagnostic agrees" if len(passed) == 1 else f"All {len(passed)} decided diagnostics agree"
    return f"{count} with the reference within their tolerances.{rest}"


def standing(verdicts: Sequence[Mapping[str, Any]]) -> str:
    """fail if any diagnostic failed, open if any is open or none was decided, else pass."""
    outcomes = {v["verdict"] for v in verdicts}
    return "fail" if "fail" in outcomes else "pass" if outcomes == {"pass"} else "open"


def verdict_rows(summary: Mapping[str, Any]) -> list[dict[str, str]]:
    """One row of strings for each diagnostic: what was found, within which tolerance, and what would have been seen."""
    rows = []
    for v in summary.get(VERDICTS, ()):
        percent = bool(v.get("percent"))
        p = [v.get("p_value"), v.get("fail_p") if v["verdict"] == "fail" else None]
        rows.append({
            "diagnostic": words(v["diagnostic"]),
            "outcome": v["verdict"],
            "deviation": _with_error(v, percent),
            "band": "" if v.get("low") is None else f"[{amount(v['low'], percent)}, {amount(v['high'], percent)}]",
            "of": v.get("tolerance_of") or "",
            "where": v.get("where") or "",
            "tolerance": "" if v.get("tolerance") is None else amount(v["tolerance"], percent),
            "seen": "" if v.get("detectable") is None else amount(v["detectable"], percent),
            "p": "" if p[0] is None else f"{p[0]:.2g}",
            "fail_p": "" if p[1] is None else f"{p[1]:.1g}",
            "text": v.get("text", ""),
        })  # fmt: skip
    return rows


def _with_error(verdict: Mapping[str, Any], percent: bool) -> str:
    if verdict.get("deviation") is None:
        return ""
    scale = 100 if percent else 1
    error = verdict.get("error")
    value = format_value(scale * verdict["deviation"], None if error is None else scale * error)
    return f"{value} %" if percent else value


def verdict_table(summary: Mapping[str, Any]) -> str:
    """The verdicts as text: a row for each diagnostic, reasons of skipped and copied ones below."""
    header = ("diagnostic", "verdict", "largest deviation", "at", "tolerance", "would see", "joint p")
    rows, notes = [], []
    for r in verdict_rows(summary):
        of = f" of {r['of']}" if r["of"] and r["deviation"] else ""
        found = f"{r['deviation']}{of}"
        rows.append((r["diagnostic"], MARKS[r["outcome"]], found, r["where"], r["tolerance"], r["seen"], r["p"]))
        if r["text"] and not r["deviation"]:
            notes.append(f"{r['diagnostic']}: {r['text']}")
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in [header, *rows]]
    return "\n".join([lines[0], "  ".join("-" * w for w in widths), *lines[1:], *notes])


def fidelity_rows(summary: Mapping[str, Any]) -> list[dict[str, str]]:
    """One row of strings for each metric.

    Single points of a scalar, which carry a ``reference``, stand in the table of their section instead.
    """
    rows = []
    for diagnostic, metrics in summary.items():
        for metric, entry in metrics.items() if diagnostic != VERDICTS else ():
            if "reference" in entry:
                continue
            floor, null = entry.get("floor"), entry.get("null")
            rows.append({
                "diagnostic": words(diagnostic),
                "metric": entry.get("long_name", words(metric)),
                "value": format_value(entry["value"], entry.get("error")),
                "units": Markup(html_units(entry.get("units"))),
                "floor": "" if floor is None else format_value(floor, entry.get("floor_error")),
                "null": "" if null is None else f"{null:.2g}",
                "strip": Markup(strip(entry)),
            })  # fmt: skip
    return rows


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
