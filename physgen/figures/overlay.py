"""Several ensembles over one reference: the curves of all, with their ratio to it and their pull."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from physgen.figures.curves import (
    LOWER,
    chosen_panels,
    finish_column,
    finish_main_row,
    leave_empty_ends,
    lower_panels,
    ordinate,
)
from physgen.figures.panels import panel_grid
from physgen.figures.style import REFERENCE, abscissa, condition_title, styled

if TYPE_CHECKING:
    import xarray as xr

# Okabe and Ito's colours, and markers, so that grey paper tells them apart too
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
MARKERS = ("o", "s", "^", "D", "v", "P")


@styled
def curve_overlay(
    reference: xr.Dataset,
    generated: Mapping[str, xr.Dataset],
    comparisons: Mapping[str, xr.Dataset],
    *,
    most: int = 4,
) -> Figure:
    """One diagnostic of several ensembles over their common reference; below, ratio and/or pull of each.

    Args:
        reference: its result, drawn as a line with its error band.
        generated: name -> result; points with error bars, or steps for histograms.
        comparisons: name -> comparison with the reference.
        most: panels in a row, for results over more than one dim (a condition).
    """
    kind = reference.attrs.get("kind", "curve")
    lower = lower_panels(reference)
    panels = chosen_panels(reference["value"], most)
    figure, grid = panel_grid(
        [2.75] + [0.95] * len(lower), len(panels), 5.4 if len(panels) == 1 else 2.75,
        label_lines=1 + ordinate(reference).count("\n"), title_lines=int(bool(panels[0])),
    )  # fmt: skip
    for axes, where in zip(grid.T, panels, strict=True):
        _main(axes[0], reference.isel(where), {name: result.isel(where) for name, result in generated.items()})
        axes[0].set_title(condition_title(reference, where))
        for panel, which in zip(axes[1:], lower, strict=True):
            _below(panel, comparisons, where, which)
        finish_column(axes, reference)
    finish_main_row(grid[0], reference, *generated.values())
    if kind == "histogram":
        leave_empty_ends(grid[0], reference, *generated.values())
    for row, which in zip(grid[1:], lower, strict=True):
        row[0].set_ylabel(LOWER[which][0])
    return figure


def _main(axes: Axes, reference: xr.Dataset, generated: Mapping[str, xr.Dataset]) -> None:
    kind, x = reference.attrs.get("kind", "curve"), abscissa(reference["value"])
    logarithmic, count = _is_logarithmic(reference["value"]), len(generated)
    truth, spread = _numbers(reference)
    if len(x) == 1 or kind == "scalar":
        axes.errorbar(x, truth, spread, fmt="o", mfc="white", color=REFERENCE, label="reference")
    else:
        step: Literal["mid"] | None = "mid" if kind == "histogram" else None
        line = "default" if step is None else "steps-mid"
        axes.fill_between(x, truth - spread, truth + spread, step=step, color=REFERENCE, alpha=0.22, lw=0)
        axes.plot(x, truth, color=REFERENCE, drawstyle=line, label="reference", zorder=2)
    for i, (name, result) in enumerate(generated.items()):
        value, error = _numbers(result)
        at = _beside(x, i, count, logarithmic)
        axes.errorbar(at, value, error, fmt=_marker(i), color=_colour(i), elinewidth=1.0, label=name, zorder=3)


def _below(axes: Axes, comparisons: Mapping[str, xr.Dataset], where: Mapping[str, int], which: str) -> None:
    _, variable, error_name, centre, bands, smallest, largest = LOWER[which]
    for width in bands:
        axes.axhspan(centre - width, centre + width, color=REFERENCE, alpha=0.09, lw=0)
    axes.axhline(centre, color=REFERENCE, lw=0.8)
    drawn, logarithmic = [], False
    for comparison in comparisons.values():
        points = comparison[variable].isel(where)
        logarithmic = _is_logarithmic(points)
        bars = None if error_name is None else np.atleast_1d(np.asarray(comparison[error_name].isel(where)))
        drawn.append((abscissa(points), np.atleast_1d(np.asarray(points, dtype=float)), bars))
    reach = [np.abs(y - centre) + (0.0 if bars is None else bars) for _, y, bars in drawn]
    half = max(float(np.max(r, where=np.isfinite(r), initial=0.0)) for r in reach)
    half = float(np.clip(1.15 * half, smallest, largest))
    for i, (x, y, bars) in enumerate(drawn):
        at = _beside(x, i, len(drawn), logarithmic)
        outside = np.abs(y - centre) > 0.97 * half
        axes.errorbar(at, np.where(outside, np.nan, y), bars, fmt=_marker(i), color=_colour(i), elinewidth=1.0)
        for side, marker in ((1, "^"), (-1, "v")):  # a point beyond the panel shows as an arrow on its edge
            beyond = outside & (side * (y - centre) > 0)
            edge = np.full(int(beyond.sum()), centre + side * 0.88 * half)
            axes.plot(at[beyond], edge, marker, color=_colour(i), mfc="white", ms=5.5)
    axes.set_ylim(centre - half, centre + half)


def _numbers(result: xr.Dataset) -> list[np.ndarray]:
    return [np.atleast_1d(np.asarray(result[name], dtype=float)) for name in ("value", "error")]


def _beside(x: np.ndarray, i: int, count: int, logarithmic: bool) -> np.ndarray:
    """Abscissae of the points of ensemble i of several, side by side within a quarter of the distance of two points."""
    place = (i - (count - 1) / 2) / max(count - 1, 1)
    if logarithmic and len(x) > 1 and x.min() > 0:
        return x * np.exp(0.25 * np.diff(np.log(x)).min() * place)
    return x + 0.25 * (float(np.diff(x).min()) if len(x) > 1 else 1.6) * place


def _is_logarithmic(value: xr.DataArray) -> bool:
    return bool(value.ndim and value[value.dims[-1]].attrs.get("scale") == "log")


def _colour(i: int) -> str:
    return COLOURS[i % len(COLOURS)]


def _marker(i: int) -> str:
    return MARKERS[i % len(MARKERS)]
