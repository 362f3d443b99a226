"""The evaluation report: one self-contained HTML page, and the same numbers as summary.json.

A summary is flat: diagnostic -> {metric: {"value", "error", "floor", "floor_error", "units"}}, and under
``"verdicts"`` a list of {"diagnostic", "metric", "passed": True | False | None, "threshold": text or number}.
No number stands in the report without its error, no distance without its floor.
"""

from __future__ import annotations

import base64
import html
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from physgen.notation import format_value, html_units

if TYPE_CHECKING:
    import xarray as xr

VERDICTS = "verdicts"
TEMPLATE = Path(__file__).with_name("report.html.j2")


@dataclass(frozen=True)
class Picture:
    """An SVG file and its caption. Text is escaped; a ``markupsafe.Markup`` stands as it is."""

    path: Path
    caption: str = ""


@dataclass(frozen=True)
class Table:
    """Rows of strings under a header; the first column holds words, the others numbers."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""


@dataclass(frozen=True)
class Section:
    """A part of the report: a title, a paragraph of text, pictures and tables."""

    title: str
    text: str = ""
    pictures: Sequence[Picture] = ()
    tables: Sequence[Table] = ()


def write_report(
    folder: str | Path,
    title: str,
    summary: Mapping[str, Any],
    sections: Sequence[Section],
    *,
    provenance: Mapping[str, Any],
    not_tested: Sequence[str],
    headline: str | None = None,
) -> Path:
    """Write ``report.html`` into ``folder``: no request leaves the page, pictures are embedded.

    Args:
        folder: created if missing.
        title: what was judged.
        summary: see the head of this file; it makes the table of fidelity.
        sections: in the order of the page; those of diagnostics from :func:`diagnostic_section`.
        provenance: name -> text, number or a nested mapping (shown folded), e.g. the config.
        not_tested: sentences; what a reader must not conclude from this page.
        headline: the verdict in one sentence; None for :func:`verdict_sentence`.
    """
    page = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    page.filters["picture"] = _data_uri
    text = page.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        title=title,
        headline=headline or verdict_sentence(summary),
        standing=_standing(summary.get(VERDICTS, ())),
        rows=fidelity_rows(summary),
        sections=sections,
        not_tested=list(not_tested),
        facts=[(name, *_fact(value)) for name, value in provenance.items()],
    )
    return _write(Path(folder) / "report.html", text)


def write_summary(folder: str | Path, summary: Mapping[str, Any]) -> Path:
    """Write ``summary.json``; what is not a finite number becomes null, as JSON has neither NaN nor infinity."""
    return _write(Path(folder) / "summary.json", json.dumps(_json_safe(summary), indent=2, allow_nan=False) + "\n")


def _json_safe(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _json_safe(item) for key, item in value.items()}
    if hasattr(value, "tolist"):  # numpy and xarray scalars and arrays
        return _json_safe(value.tolist())
    if isinstance(value, (list, tuple)):
        return [_json_safe(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, (str, int, bool, type(None))) else str(value)


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)  # a reader sees the whole page or the one before
    finally:
        temporary.unlink(missing_ok=True)
    return path


# --- the verdict and its table --------------------------------------------------------------------


def verdict_sentence(summary: Mapping[str, Any]) -> str:
    """The verdict in one sentence, which names every failed test."""
    verdicts = summary.get(VERDICTS, ())
    passed = [v for v in verdicts if v["passed"] is True]
    failed = [v for v in verdicts if v["passed"] is False]
    if not passed and not failed:
        return "No verdict: no metric was held against a threshold."
    undecided = len(verdicts) - len(passed) - len(failed)
    rest = f" {undecided} could not be decided." if undecided else ""
    if not failed:
        return f"All {len(passed)} decided tests passed: within their thresholds, generated and reference agree.{rest}"
    names: dict[str, list[str]] = {}
    for verdict in failed:
        diagnostic, metric = verdict["diagnostic"], verdict["metric"]
        entry = summary.get(diagnostic, {}).get(metric, {})
        names.setdefault(_words(diagnostic), []).append(entry.get("long_name", _words(metric)))
    where = "; ".join(f"{diagnostic} ({', '.join(metrics)})" for diagnostic, metrics in names.items())
    count = f"{len(passed)} of {len(passed) + len(failed)} tests passed"
    return f"{count}: generated and reference differ in {where}.{rest}"


def _standing(verdicts: Sequence[Mapping[str, Any]]) -> str:
    outcomes = {v["passed"] for v in verdicts}
    return "fail" if False in outcomes else "pass" if True in outcomes else "open"


def fidelity_rows(summary: Mapping[str, Any]) -> list[dict[str, str]]:
    """One row of strings for each metric: diagnostic, metric, value(error), units, floor(error), verdict, threshold."""
    verdicts = {(v["diagnostic"], v["metric"]): v for v in summary.get(VERDICTS, ())}
    rows = []
    for diagnostic, metrics in summary.items():
        if diagnostic == VERDICTS:
            continue
        for metric, entry in metrics.items():
            verdict = verdicts.get((diagnostic, metric), {"passed": None, "threshold": ""})
            outcome = {True: "pass", False: "fail"}.get(verdict["passed"], "open" if verdict["threshold"] else "none")
            threshold = verdict["threshold"]
            rows.append({
                "diagnostic": _words(diagnostic),
                "metric": entry.get("long_name", _words(metric)),
                "value": format_value(entry["value"], entry.get("error")),
                "units": Markup(html_units(entry.get("units"))),
                "floor": format_value(entry["floor"], entry.get("floor_error")) if "floor" in entry else "",
                "strip": Markup(strip(entry)),
                "outcome": outcome,
                "threshold": threshold if isinstance(threshold, str) else f"≤ {format_value(threshold)}",
            })  # fmt: skip
    return rows


def strip(entry: Mapping[str, Any], width: int = 110) -> str:
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


def _words(name: str) -> str:
    return str(name).replace("_", " ")


# --- sections -----------------------------------------------------------------------------------


def diagnostic_section(reference: xr.Dataset, generated: xr.Dataset, comparison: xr.Dataset, picture: Path) -> Section:
    """Figure, caption and table of distances of one diagnostic; all words come from the attrs of its results.

    Attr ``convention`` of the reference, if there, opens the section.
    """
    name = _words(reference.attrs.get("diagnostic", reference["value"].attrs.get("long_name", "diagnostic")))
    caption = Markup(" ".join([_quantity(reference), _errors_meaning(reference, generated, comparison)]))
    table = distance_table(comparison)
    tables = [table] if table.rows else []
    return Section(name, reference.attrs.get("convention", ""), [Picture(picture, caption)], tables)


def _quantity(result: xr.Dataset) -> str:
    value = result["value"]
    over = [_described(value[dim]) for dim in reversed(value.dims) if dim in value.coords]
    text = _described(value)
    text = f"<b>{text[0].upper()}{text[1:]}</b>" + (f" against {over[0]}" if over else "")
    return text + (f", at fixed {', '.join(over[1:])}." if over[1:] else ".")


def _described(variable: xr.DataArray) -> str:
    name = html.escape(str(variable.attrs.get("long_name", _words(str(variable.name)))))
    units = html_units(variable.attrs.get("units"))
    return f"{name} [{units}]" if units else f"{name} (dimensionless)"


def _errors_meaning(reference: xr.Dataset, generated: xr.Dataset, comparison: xr.Dataset) -> str:
    unit = html.escape(str(reference.attrs.get("unit", "unit")))
    counts = [int(result.attrs.get("n_independent", result.sizes.get("unit", 0))) for result in (reference, generated)]
    text = (
        f"Grey: reference, {counts[0]} independent units (unit: {unit}); blue: generated, {counts[1]}. "
        "Band and bars: standard error of the mean over these units."
    )
    if comparison.attrs.get("paired"):
        text += f" Both have the same conditions, so ratio and pull are taken {unit} by {unit}; its scatter drops out."
    p_value = float(comparison["p_value"]) if "p_value" in comparison else math.nan
    if math.isfinite(p_value):
        chi2 = f"χ² = {float(comparison['chi2']):.1f} for {int(comparison['dof'])} degrees of freedom"
        text += f" All points together, with their full covariance: {chi2}, <i>p</i> = {p_value:.2g}."
    return text


def distance_table(comparison: xr.Dataset) -> Table:
    """Each distance of a comparison with error and floor, at every point of the dims that it keeps."""
    rows = []
    for name in map(str, comparison.data_vars):
        if f"{name}_floor" not in comparison:
            continue
        distance = comparison[name]
        title = str(distance.attrs.get("long_name", _words(name)))
        for index in np.ndindex(*distance.shape):
            numbers = [
                float(comparison[name + end].values[index]) if name + end in comparison else None
                for end in ("", "_error", "_floor", "_floor_error", "_null")
            ]
            value, floor = format_value(*numbers[:2]), format_value(*numbers[2:4])
            equal = "" if numbers[4] is None else f"{numbers[4]:.2g}"
            rows.append((_place(distance, title, index), value, floor, equal))
    return Table(("distance", "value", "floor", "expected if equal"), rows)


def _place(variable: xr.DataArray, title: str, index: tuple[int, ...]) -> str:
    """``title, temperature 0.5 J``."""
    parts = [title]
    for dim, i in zip(map(str, variable.dims), index, strict=True):
        if dim in variable.coords:
            point, units = variable[dim].values[i], html_units(variable[dim].attrs.get("units"))
            number = f"{point:.4g}" if isinstance(point, (float, np.floating)) else str(point)
            parts.append(f"{_words(dim)} {number} {units}".strip())
    return Markup(", ".join(parts))


def _data_uri(path: str | Path) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(Path(path).read_bytes()).decode("ascii")


def _fact(value: Any) -> tuple[str, bool]:
    """Text of a fact of provenance, and whether it is long and shown folded."""
    if isinstance(value, (Mapping, list, tuple)):
        return json.dumps(_json_safe(value), indent=2, ensure_ascii=False), True
    return str(value), "\n" in str(value)
