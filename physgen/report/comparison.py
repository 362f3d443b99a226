"""A page that lays several evaluations over one another: verdicts and numbers side by side, curves in one figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from physgen import figures
from physgen.figures.notation import format_value
from physgen.provenance import git_commit
from physgen.report.fidelity import words
from physgen.report.page import write_page
from physgen.report.sections import Picture, quantity

if TYPE_CHECKING:
    import xarray as xr

    from physgen.figures.style import Figure

TEMPLATE = Path(__file__).with_name("comparison.html.j2")
MARKS = {"pass": "✓ pass", "fail": "✗ fail", "open": "open"}


@dataclass(frozen=True)
class Judged:
    """One evaluation, as it was read.

    Attributes:
        name: what it is called on the page.
        source: the folder that was given: of a run, or of the evaluation.
        folder: of the evaluation.
        verdicts: of ``summary.json``, one for each diagnostic.
        metrics: diagnostic -> metric -> {"value", "error", "floor", ...}.
        results: diagnostic -> (result of the reference, of the generated ensemble, their comparison).
        digest: sha256 of ``summary.json``.
    """

    name: str
    source: Path
    folder: Path
    verdicts: tuple[Mapping[str, Any], ...]
    metrics: Mapping[str, Mapping[str, Mapping[str, Any]]]
    results: Mapping[str, tuple[xr.Dataset, xr.Dataset, xr.Dataset]]
    digest: str = ""


@dataclass(frozen=True, repr=False)
class Comparison:
    """Several evaluations over one reference.

    Attributes:
        judged: the evaluations, in the order that was asked for.
        settings: key of the configuration -> run -> value, of the keys in which the runs differ.
        folder: where the page was written; None before.
    """

    judged: tuple[Judged, ...]
    settings: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    folder: Path | None = None

    @property
    def names(self) -> list[str]:
        """Of the runs."""
        return [one.name for one in self.judged]

    @property
    def diagnostics(self) -> list[str]:
        """Those that at least two runs share."""
        counted = [name for one in self.judged for name in one.results]
        return [name for name in dict.fromkeys(counted) if counted.count(name) > 1]

    @property
    def table(self) -> str:
        """The verdicts as text: a row for each diagnostic, a column for each run."""
        rows = [("diagnostic", *self.names), *((words(d), *cells) for d, cells in self._verdict_texts().items())]
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows]
        return "\n".join([lines[0], "  ".join("-" * w for w in widths), *lines[1:]])

    def __repr__(self) -> str:
        return self.table

    def _verdict_texts(self) -> dict[str, list[str]]:
        rows = {}
        for diagnostic in _judged_diagnostics(self.judged):
            cells = (verdict_cell(one, diagnostic) for one in self.judged)
            rows[diagnostic] = [f"{cell['mark']} {cell['deviation']}".strip() for cell in cells]
        return rows

    def figure(self, diagnostic: str) -> Figure:
        """One diagnostic of all runs over the reference."""
        from physgen.errors import InputError

        if diagnostic not in self.diagnostics:
            raise InputError(f"{diagnostic!r} is not shared by two runs: choose one of {', '.join(self.diagnostics)}")
        held = {one.name: one.results[diagnostic] for one in self.judged if diagnostic in one.results}
        reference = next(iter(held.values()))[0]
        return figures.curve_overlay(
            reference, {name: r[1] for name, r in held.items()}, {name: r[2] for name, r in held.items()}
        )

    def write(self, folder: str | Path) -> Comparison:
        """Write ``report.html``, with every picture inside it, and ``figures/`` (png and svg).

        Returns:
            This comparison with its ``folder``.
        """
        folder = Path(folder)
        sections = []
        for diagnostic in self.diagnostics:
            _, svg = figures.save_figure(self.figure(diagnostic), folder / "figures", diagnostic)
            reference = next(one.results[diagnostic][0] for one in self.judged if diagnostic in one.results)
            sections.append(
                {
                    "title": words(diagnostic),
                    "text": reference.attrs.get("convention", ""),
                    "picture": Picture(svg, quantity(reference)),
                    "rows": (rows := metric_table(self.judged, diagnostic)),
                    "has_floor": any(floor for *_, floor in rows),
                }
            )
        write_page(
            folder / "report.html",
            TEMPLATE,
            title=f"{len(self.judged)} runs over one reference",
            names=self.names,
            headlines=[(one.name, headline(one.verdicts)) for one in self.judged],
            verdicts=[
                (words(d), [verdict_cell(one, d) for one in self.judged]) for d in _judged_diagnostics(self.judged)
            ],
            settings=[(key, [row.get(name, "") for name in self.names]) for key, row in self.settings.items()],
            sections=sections,
            facts=[(one.name, f"{one.folder} (summary.json, sha256 {one.digest[:16]})") for one in self.judged]
            + [("physgen commit", git_commit())],
        )
        return replace(self, folder=folder)


def _judged_diagnostics(judged: Sequence[Judged]) -> list[str]:
    return list(dict.fromkeys(verdict["diagnostic"] for one in judged for verdict in one.verdicts))


def headline(verdicts: Sequence[Mapping[str, Any]]) -> str:
    """How many diagnostics pass, and which do not."""
    by_word: dict[str, list[str]] = {}
    for verdict in verdicts:
        by_word.setdefault(verdict["verdict"], []).append(words(verdict["diagnostic"]))
    passed = len(by_word.get("pass", []))
    decided = passed + len(by_word.get("fail", []))
    parts = [f"{passed} of {decided} decided diagnostics pass" if decided else "no diagnostic is decided"]
    parts += [f"{word}: {', '.join(by_word[word])}" for word in ("fail", "open") if word in by_word]
    return "; ".join(parts)


def verdict_cell(one: Judged, diagnostic: str) -> dict[str, str]:
    """What stands in the table of verdicts: the word, and the deviation that decided."""
    verdict = next((v for v in one.verdicts if v["diagnostic"] == diagnostic), None)
    if verdict is None or verdict["verdict"] not in MARKS:
        return {"outcome": "none", "mark": "not computed", "deviation": "", "text": (verdict or {}).get("text", "")}
    deviation, error = verdict.get("deviation"), verdict.get("error")
    shown = ""
    if deviation is not None:
        scale, unit = (100, " %") if verdict.get("percent") else (1, "")
        shown = format_value(scale * deviation, None if error is None else scale * error) + unit
    text = verdict.get("text", "")
    return {"outcome": verdict["verdict"], "mark": MARKS[verdict["verdict"]], "deviation": shown, "text": text}


def metric_table(judged: Sequence[Judged], diagnostic: str) -> list[tuple[str, list[str], str]]:
    """Rows (metric, value of each run, floor) of one diagnostic."""
    named = dict.fromkeys(
        metric
        for one in judged
        for metric, entry in one.metrics.get(diagnostic, {}).items()
        if "reference" not in entry
    )
    rows = []
    for metric in named:
        entries = [one.metrics.get(diagnostic, {}).get(metric) for one in judged]
        values = ["" if e is None else format_value(e["value"], e.get("error")) for e in entries]
        floor = next((e["floor"] for e in entries if e and e.get("floor") is not None), None)
        rows.append((words(metric), values, "" if floor is None else format_value(floor)))
    return rows
