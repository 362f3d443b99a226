"""The files of a report, each written whole or not at all: report.html from its template, summary.json."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from physgen.diagnostics.verdict import Verdict
from physgen.report.fidelity import metric_rows, overall_status, verdict_rows, verdict_sentence
from physgen.report.sections import Section
from physgen.storage.disk import write_atomically

Metrics = Mapping[str, Mapping[str, Mapping[str, Any]]]  # diagnostic -> metric -> value, error and the like
TEMPLATE = Path(__file__).with_name("report.html.j2")
STYLE = Path(__file__).with_name("page.css")


def write_report(
    folder: str | Path,
    title: str,
    verdicts: Sequence[Verdict],
    metrics: Metrics,
    sections: Sequence[Section],
    *,
    provenance: Mapping[str, Any],
    not_tested: Sequence[str],
    banner: str = "",
) -> Path:
    """Write ``report.html`` into ``folder``: no request leaves the page, pictures are embedded.

    Args:
        folder: created if missing.
        title: what was judged.
        verdicts: they make the headline and the first table.
        metrics: diagnostic -> metric -> numbers; the second table.
        sections: in the order of the page; those of diagnostics from :func:`diagnostic_section`.
        provenance: name -> text, number or a nested mapping (shown folded), e.g. the config.
        not_tested: sentences; what a reader must not conclude from this page.
        banner: a sentence above all else, where there is one.
    """
    return write_page(
        Path(folder) / "report.html",
        TEMPLATE,
        title=title,
        headline=verdict_sentence(verdicts),
        banner=banner,
        overall=overall_status(verdicts),
        verdicts=verdict_rows(verdicts),
        rows=metric_rows(metrics),
        sections=sections,
        not_tested=list(not_tested),
        facts=facts_of(provenance),
    )


def write_page(path: Path, template: Path, **content: Any) -> Path:
    """Fill a template of this room and write it whole; the style and every ``| picture`` are embedded."""
    page = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    page.filters["picture"] = _data_uri
    style = Markup(STYLE.read_text(encoding="utf-8").strip())
    return _write(path, page.from_string(template.read_text(encoding="utf-8")).render(style=style, **content))


def flat_summary(verdicts: Sequence[Verdict], metrics: Metrics) -> dict[str, Any]:
    """The content of ``summary.json``.

    Flat: diagnostic -> {metric: {"value", "error"[, "floor", "null", "reference", "reference_error", "z"]}}, numbers or
    null; and under ``"verdicts"`` a list of :meth:`physgen.diagnostics.verdict.Verdict.flat`.
    """
    return {name: dict(found) for name, found in metrics.items()} | {"verdicts": [v.flat() for v in verdicts]}


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
    write_atomically(path, text)  # a reader sees the whole page or the one before
    return path


def _data_uri(path: str | Path) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(Path(path).read_bytes()).decode("ascii")


def facts_of(provenance: Mapping[str, Any]) -> list[tuple[str, str, bool]]:
    """Name, text and whether it is long and shown folded, of each fact that is known."""
    return [(name, *_fact(value)) for name, value in provenance.items() if value not in ("", None)]


def _fact(value: Any) -> tuple[str, bool]:
    """Text of a fact of provenance, and whether it is long and shown folded."""
    if isinstance(value, (Mapping, list, tuple)):
        return json.dumps(_json_safe(value), indent=2, ensure_ascii=False), True
    return str(value), "\n" in str(value)
