"""Combined means and covariances as they were found, and the folder that is written of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from physgen import figures
from physgen.errors import InputError
from physgen.figures.notation import format_value
from physgen.figures.value import Value
from physgen.provenance import git_commit
from physgen.report.evaluation import write_groups
from physgen.report.fidelity import words
from physgen.report.page import facts_of, write_page, write_summary
from physgen.report.sections import Picture, Section, quantity

if TYPE_CHECKING:
    import xarray as xr

    from physgen.figures.style import Figure

TEMPLATE = Path(__file__).with_name("combination.html.j2")
MEANINGS = {
    "error": "median over points of the error relative to the value (of a mean logarithm: the error)",
    "error_alone": "the same of the costly units alone",
    "largest_error": "largest of these relative errors",
    "gain": "median over points of the variance of the costly mean over that of the combined one",
    "gain_at_equal_cost": "the same against as many more costly units as the surrogates cost",
    "covariance_gain": "median over the diagonal of the covariance of (error alone / error)^2",
    "covariance_gain_at_equal_cost": "the same at equal cost",
    "largest_z": "largest difference from the reference over its error",
    "bias_p_value": "chance of a larger one where nothing is biased, for all points together",
    "covariance_largest_z": "the same of the entries of the covariance",
    "covariance_bias_p_value": "chance of a larger one",
}


@dataclass(frozen=True)
class Cost:
    """What a unit costs: ``costly`` and ``surrogate`` in one currency, and who says so."""

    costly: float
    surrogate: float
    source: str

    def equal_units(self, pairs: int, draws: int) -> float:
        """Costly units for what ``pairs`` with their surrogates and ``draws`` further surrogates cost."""
        return pairs + (pairs + draws) * self.surrogate / self.costly


@dataclass(frozen=True, repr=False)
class Combination:
    """Diagnostics of few costly units made precise by surrogates.

    Attributes:
        results: diagnostic -> Dataset of :func:`physgen.diagnostics.combined.combine_results`.
        cost: of the two kinds of units; None where it is not known.
        notes: sentences: what must be known to read the numbers.
        facts: for the provenance.
        folder: where it was written; None before.
    """

    results: Mapping[str, xr.Dataset]
    cost: Cost | None = None
    notes: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    folder: Path | None = None

    @property
    def metrics(self) -> dict[str, dict[str, dict[str, float]]]:
        """diagnostic -> metric -> {"value", "error"}; see ``MEANINGS``."""
        return {name: _metrics(result, self.cost) for name, result in self.results.items()}

    @property
    def summary(self) -> dict[str, Any]:
        """The content of ``summary.json``: the metrics, and ``notes``."""
        return {**self.metrics, "notes": list(self.all_notes)}

    @property
    def values(self) -> dict[str, dict[str, Value]]:
        """diagnostic -> metric -> number with its error."""
        return {name: {key: Value.of(entry) for key, entry in found.items()} for name, found in self.metrics.items()}

    @property
    def all_notes(self) -> tuple[str, ...]:
        """The notes, with those of single diagnostics."""
        found = list(self.notes)
        for name, result in self.results.items():
            if not result.attrs["is_average"]:
                found.append(
                    f"{words(name)} of a unit depends on the other units, so that the combined value is not exactly "
                    "unbiased, no more than it is without surrogates"
                )
            if result.attrs.get("covariance_note"):
                found.append(f"{words(name)}: {result.attrs['covariance_note']}")
        if self.cost is None:
            found.append("what a unit costs is not known, so that no gain at equal cost is stated (give a price)")
        return tuple(found)

    @property
    def table(self) -> str:
        """A line for each diagnostic and kind of estimate, then the notes."""
        return "\n".join([*map(_line, self.rows()), *(f"note: {note}" for note in self.all_notes)])

    def rows(self) -> list[tuple[str, str, str, str, str, str]]:
        """(what, pairs and surrogates, error alone, error combined, gain, at equal cost), a header first."""
        found = [("estimate", "pairs + surrogates", "error alone", "combined", "gain", "at equal cost")]
        for name, entry in self.values.items():
            counts = f"{self.results[name].attrs['n_pairs']} + {self.results[name].attrs['n_cheap']}"
            percent = [f"{100 * entry[key].value:.2g} %" for key in ("error_alone", "error")]
            gains = [str(entry[key]) if key in entry else "" for key in ("gain", "gain_at_equal_cost")]
            name = f"ln {name}" if "logarithm" in self.results[name].attrs else name
            found.append((words(name), counts, percent[0], percent[1], gains[0], gains[1]))
            if "covariance_gain" in entry:
                keys = ("covariance_gain", "covariance_gain_at_equal_cost")
                gains = [str(entry[key]) if key in entry else "" for key in keys]
                percent = [f"{100 * entry[f'covariance_{key}'].value:.2g} %" for key in ("error_alone", "error")]
                found.append((f"its variances, {words(name)}", counts, percent[0], percent[1], gains[0], gains[1]))
        return found

    def __repr__(self) -> str:
        return self.table

    def _repr_html_(self) -> str:
        head, *rest = self.rows()
        cells = "".join("<tr>" + "".join(f"<td>{escape(c)}</td>" for c in row) + "</tr>" for row in rest)
        return f"<table><thead><tr>{''.join(f'<th>{escape(c)}</th>' for c in head)}</tr></thead>{cells}</table>"

    def figure(self, diagnostic: str | None = None) -> Figure:
        """Combined and costly estimates over the reference (or the combined one), and the gains.

        Raises InputError where no diagnostic of this name was combined.
        """
        name = diagnostic or next(iter(self.results))
        if name not in self.results:
            raise InputError(f"{name!r} was not combined: choose one of {', '.join(self.results)}")
        result = self.results[name]
        return figures.combined_estimates(result, self._units_for_the_cost(result))

    def _units_for_the_cost(self, result: xr.Dataset) -> float | None:
        pairs, draws = int(result.attrs["n_pairs"]), int(result.attrs["n_cheap"])
        return None if self.cost is None else self.cost.equal_units(pairs, draws)

    def write(self, folder: str | Path) -> Combination:
        """Write ``summary.json``, ``combined.nc`` (a group for each diagnostic), ``figures/`` and ``report.html``.

        Returns:
            The same with its ``folder``.

        Raises:
            OSError: the disk has no room, or no right to write there.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        svg = figures.save_figures({name: partial(self.figure, name) for name in self.results}, folder / "figures")
        write_summary(folder, self.summary)
        write_groups(dict(self.results), folder / "combined.nc")
        head, *rest = self.rows()
        write_page(
            folder / "report.html",
            TEMPLATE,
            title="Costly units combined with surrogates of the same random starts",
            header=head,
            rows=rest,
            notes=self.all_notes,
            sections=[
                Section(words(name), result.attrs.get("convention", ""), [Picture(svg[name], quantity(result))])
                for name, result in self.results.items()
            ],
            numbers=[
                (words(name), words(key), format_value(entry["value"], entry.get("error")), MEANINGS.get(key, ""))
                for name, found in self.metrics.items()
                for key, entry in found.items()
            ],
            facts=facts_of({"physgen commit": git_commit(), **_cost_facts(self.cost), **self.facts}),
        )
        return replace(self, folder=folder)


def _metrics(result: xr.Dataset, cost: Cost | None) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    units = None
    if cost is not None:
        units = cost.equal_units(int(result.attrs["n_pairs"]), int(result.attrs["n_cheap"]))
    for prefix in ("", "covariance_"):
        if f"{prefix}value" not in result:
            continue
        part = {key: _diagonal(result, f"{prefix}{key}", bool(prefix)) for key in PARTS}
        with np.errstate(invalid="ignore", divide="ignore"):
            scale = 1.0 if not prefix and "logarithm" in result.attrs else np.abs(part["value"])
            relative, alone = (part[key] / scale for key in ("error", "plain_error"))
        for key, value in (
            ("error", _finite(relative, np.median)),
            ("error_alone", _finite(alone, np.median)),
            ("largest_error", _finite(relative, np.max)),
        ):
            found[f"{prefix}{key}"] = {"value": value, "error": math.nan}
        gain, low, high = (float(np.nanmedian(part[key])) for key in ("gain", "gain_low", "gain_high"))
        found[f"{prefix}gain"] = {"value": gain, "error": (min(high, 1e9) - low) / 2}
        if units is not None:
            share = int(result.attrs["n_pairs"]) / units
            found[f"{prefix}gain_at_equal_cost"] = {k: share * v for k, v in found[f"{prefix}gain"].items()}
        for key in ("largest_z", "bias_p_value"):
            if f"{prefix}{key}" in result.attrs:
                found[f"{prefix}{key}"] = {"value": float(result.attrs[f"{prefix}{key}"]), "error": math.nan}
    return found


PARTS = ("value", "error", "plain_error", "gain", "gain_low", "gain_high")


def _diagonal(result: xr.Dataset, name: str, is_matrix: bool) -> np.ndarray:
    values = np.asarray(result[name], dtype=float)
    return np.diag(values) if is_matrix else values.reshape(-1)


def _finite(values: np.ndarray, of: Callable[[np.ndarray], Any]) -> float:
    finite = values[np.isfinite(values)]
    return float(of(finite)) if finite.size else math.nan


def _line(row: Sequence[str]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(row, (36, 18, 11, 9, 12, 13), strict=True)).rstrip()


def _cost_facts(cost: Cost | None) -> dict[str, str]:
    if cost is None:
        return {}
    return {"cost": f"a costly unit costs {cost.costly / cost.surrogate:.3g} surrogates ({cost.source})"}
