"""Sections of the report: captions and tables that are made from the attrs of results and comparisons."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup

from physgen.figures.notation import format_value, html_units
from physgen.report.fidelity import words

if TYPE_CHECKING:
    import xarray as xr


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


def diagnostic_section(
    reference: xr.Dataset, generated: xr.Dataset, comparison: xr.Dataset, picture: Path, title: str | None = None
) -> Section:
    """Figure, caption and table of distances of one diagnostic; all words come from the attrs of its results.

    ``title`` defaults to the attr ``diagnostic``. Attr ``convention`` of the reference, if there, opens the section.
    """
    name = words(title or reference.attrs.get("diagnostic", "diagnostic"))
    said = f"{quantity(reference)} {_errors_meaning(reference, generated, comparison)}{_joint_test(comparison)}"
    caption = Markup(said)
    tables = [table for table in (distance_table(comparison), point_table(comparison)) if table.rows]
    return Section(name, reference.attrs.get("convention", ""), [Picture(picture, caption)], tables)


def group_section(title: str, results: Sequence[tuple[xr.Dataset, xr.Dataset, xr.Dataset]], picture: Path) -> Section:
    """Several diagnostics that one figure shows side by side: what each is, its joint test, and the meaning of errors.

    Args:
        title: of the section.
        results: (of the reference, of the generated, comparison) of each, in the order of the figure.
        picture: the figure.
    """
    reference, generated, comparison = results[0]
    each = " ".join(quantity(truth) + Markup(_joint_test(compared)) for truth, _, compared in results)
    caption = Markup(f"{each} {_errors_meaning(reference, generated, comparison)}")
    return Section(title, reference.attrs.get("convention", ""), [Picture(picture, caption)])


def quantity(result: xr.Dataset) -> Markup:
    """What a result measures and over what, in words of its attrs."""
    value = result["value"]
    over = [_described(value[dim]) for dim in reversed(value.dims) if dim in value.coords]
    text = _described(value)
    text = f"<b>{text[0].upper()}{text[1:]}</b>" + (f" against {over[0]}" if over else "")
    return Markup(text + (f", at fixed {', '.join(over[1:])}." if over[1:] else "."))


def _described(variable: xr.DataArray) -> str:
    name = html.escape(str(variable.attrs.get("long_name", words(variable.name))))
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
    return text


def _joint_test(comparison: xr.Dataset) -> str:
    """The joint test of all points in words; empty where there is none."""
    p_value = float(comparison["p_value"]) if "p_value" in comparison else math.nan
    if not math.isfinite(p_value):
        return ""
    chi2 = f"χ² = {float(comparison['chi2']):.1f} for {int(comparison['dof'])} degrees of freedom, "
    if not math.isfinite(float(comparison["chi2"])):  # too few units for a covariance; permutations still give p
        chi2 = ""
    return f" All points together, with their full covariance: {chi2}<i>p</i> = {format_value(p_value)}."


def distance_table(comparison: xr.Dataset) -> Table:
    """Each distance of a comparison with error and floor, at every point of the dims that it keeps."""
    rows = []
    for name in map(str, comparison.data_vars):
        if f"{name}_floor" not in comparison:
            continue
        distance = comparison[name]
        title = str(distance.attrs.get("long_name", words(name)))
        for index in np.ndindex(*distance.shape):
            numbers = [
                float(comparison[name + end].values[index]) if name + end in comparison else None
                for end in ("", "_error", "_floor", "_floor_error", "_null")
            ]
            value, floor = format_value(*numbers[:2]), format_value(*numbers[2:4])
            equal = "" if numbers[4] is None else f"{numbers[4]:.2g}"
            rows.append((_place(distance, title, index), value, floor, equal))
    return Table(("distance", "value", "floor", "null"), rows)


def point_table(comparison: xr.Dataset, most: int = 16) -> Table:
    """Both values and the pull at every point of a short scalar result; no rows for any other."""
    rows = []
    if comparison.attrs.get("kind") == "scalar" and comparison["z"].size <= most:
        title = str(comparison["generated"].attrs.get("long_name", "value"))
        for index in np.ndindex(*comparison["z"].shape):
            truth, spread, drawn, error, pull = (
                float(comparison[name].values[index])
                for name in ("reference", "reference_error", "generated", "generated_error", "z")
            )
            place = _place(comparison["z"], "" if index else title, index)
            sign = f"{pull:+.1f}".replace("-", "−")
            rows.append((place, format_value(truth, spread), format_value(drawn, error), sign))
    return Table(("point", "reference", "generated", "pull"), rows)


def _place(variable: xr.DataArray, title: str, index: tuple[int, ...]) -> str:
    """``title, field 0.5 J``; a point that has a name (``flag_meanings``) goes by it."""
    parts = [html.escape(title)] if title else []
    for dim, i in zip(map(str, variable.dims), index, strict=True):
        if dim in variable.coords and "flag_meanings" in variable[dim].attrs:
            parts.append(html.escape(words(str(variable[dim].attrs["flag_meanings"]).split()[i])))
        elif dim in variable.coords:
            point, units = variable[dim].values[i], html_units(variable[dim].attrs.get("units"))
            number = f"{point:.4g}" if isinstance(point, (float, np.floating)) else html.escape(str(point))
            parts.append(f"{words(dim)} {number} {units}".strip())
    return Markup(", ".join(parts))
