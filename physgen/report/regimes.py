"""The regimes of the backward process as they were found on one object, and the folder that is written of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from physgen import figures
from physgen.errors import InputError
from physgen.figures import regimes as drawn
from physgen.figures.notation import format_value
from physgen.figures.value import Value
from physgen.provenance import git_commit
from physgen.report.evaluation import write_groups
from physgen.report.page import facts_of, write_page, write_summary
from physgen.report.regimes_prose import CAPTIONS, MEANINGS, TITLES
from physgen.report.sections import Picture, Section

if TYPE_CHECKING:
    import xarray as xr

    from physgen.figures.style import Figure

TEMPLATE = Path(__file__).with_name("regimes.html.j2")
Outcome = Literal["pass", "fail", "open"]


@dataclass(frozen=True)
class Finding:
    """One line of the table.

    Attributes:
        name: what was asked: ``speciation``.
        word: what was found, in a word or two: ``two classes``.
        outcome: how it is marked: ``pass`` and ``fail`` are decided, ``open`` is not, or needs no decision.
        reason: one sentence with the numbers, their errors and what would decide.
    """

    name: str
    word: str
    outcome: Outcome
    reason: str

    def flat(self) -> dict[str, str]:
        """As it stands in ``summary.json``."""
        return {"name": self.name, "verdict": self.word, "outcome": self.outcome, "reason": self.reason}


@dataclass(frozen=True, repr=False)
class Regimes:
    """When classes and when single data are decided, and what a model adds to it.

    Attributes:
        subject: what was looked at, in words.
        results: name -> Dataset, the groups of ``regimes.nc``; each known one has a figure.
        metrics: name -> {"value", "error"}; NaN where one is not known.
        findings: the table.
        facts: of the data, for the provenance.
        not_tested: sentences: what must not be concluded.
        folder: where it was written; None before.
    """

    subject: str
    results: Mapping[str, xr.Dataset]
    metrics: Mapping[str, Mapping[str, float]]
    findings: tuple[Finding, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)
    not_tested: Sequence[str] = ()
    folder: Path | None = None

    @property
    def summary(self) -> dict[str, Any]:
        """The content of ``summary.json``: name -> {"value", "error"}, and the table under ``findings``."""
        return {name: dict(entry) for name, entry in self.metrics.items()} | {
            "findings": [finding.flat() for finding in self.findings]
        }

    @property
    def values(self) -> dict[str, Value]:
        """Name -> number with its error, which prints as 1.41(2)."""
        return {name: Value.of(entry) for name, entry in self.metrics.items()}

    @property
    def table(self) -> str:
        """The findings as text, a line each with its reason below."""
        width = max(len(f.name) for f in self.findings)
        lines = [f"{f.name.ljust(width)}  {f.word}\n{' ' * width}  {f.reason}" for f in self.findings]
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"{self.subject}\n{self.table}"

    __str__ = __repr__

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{escape(f.name)}</td><td><b>{escape(f.word)}</b></td>"
            f'<td style="text-align:left">{escape(f.reason)}</td></tr>'
            for f in self.findings
        )
        return f"<table><caption>{escape(self.subject)}</caption><tbody>{rows}</tbody></table>"

    def drawings(self) -> dict[str, Callable[[], Figure]]:
        """Name -> function that makes the figure, of those that the results hold."""
        return {
            name: partial(draw, self.results)
            for name, (draw, needed) in drawn.DRAWINGS.items()
            if all(part in self.results for part in needed)
        }

    def figure(self, name: str = "phase_diagram") -> Figure:
        """One figure: ``phase_diagram``, ``collapse``, ``cloning``, ``information``, ``film_strip``, ...

        Raises InputError, with those that there are, where there is none of this name.
        """
        known = self.drawings()
        if name not in known:
            raise InputError(f"there is no figure {name!r}: choose one of {', '.join(known)}")
        return known[name]()

    def write(self, folder: str | Path, sources: Mapping[str, str] | None = None, processes: int = 1) -> Regimes:
        """Write ``summary.json``, ``regimes.nc``, ``figures/`` (png and svg) and ``regimes.html``.

        Args:
            folder: made if absent; files of an earlier call are replaced.
            sources: name -> where the data came from, for the provenance.
            processes: how many draw the figures.

        Returns:
            The same with its ``folder``.

        Raises:
            OSError: the disk has no room, or no right to write there.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        svg = figures.save_figures(self.drawings(), folder / "figures", processes)
        write_summary(folder, self.summary)
        write_groups({name: _plain(result) for name, result in self.results.items()}, folder / "regimes.nc")
        sections = [Section(TITLES[name], pictures=[Picture(svg[name], CAPTIONS[name])]) for name in svg]
        write_page(
            folder / "regimes.html",
            TEMPLATE,
            title=f"Dynamical regimes of {self.subject}",
            headline=self.headline,
            findings=self.findings,
            rows=self.metric_rows(),
            sections=sections,
            not_tested=list(self.not_tested),
            facts=facts_of({"physgen commit": git_commit(), **(sources or {}), **self.facts}),
        )
        return replace(self, folder=folder)

    @property
    def headline(self) -> str:
        """The three times in one sentence."""
        t_s, t_c = (self.values.get(name) for name in ("t_S", "t_C"))
        parts = []
        if t_s is not None and t_s.is_known:
            parts.append(f"going back from noise, the largest direction of the data is decided at t_S = {t_s}")
        if t_c is not None and math.isfinite(t_c.value):
            parts.append(f"the exact score of these samples collapses onto single ones below t_C = {t_c}")
        text = "; ".join(parts) + "." if parts else "No time could be found."
        return text[0].upper() + text[1:]

    def metric_rows(self) -> list[dict[str, str]]:
        """One row of strings for each metric: its symbol or words, its number with error, what it means."""
        return [
            {"name": name, "value": format_value(entry["value"], entry.get("error")), "meaning": MEANINGS.get(name, "")}
            for name, entry in self.metrics.items()
        ]


def _plain(result: xr.Dataset) -> xr.Dataset:
    """With the attributes alone that a file holds."""
    return result.assign_attrs({k: v for k, v in result.attrs.items() if isinstance(v, str | int | float)})
