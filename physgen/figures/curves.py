"""One function for every curve: reference with its band, generated with its errors, ratio and pull below."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import wrap
from typing import TYPE_CHECKING, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from physgen.figures.notation import mathtext_value
from physgen.figures.panels import panel_grid
from physgen.figures.style import GENERATED, REFERENCE, THIRD, abscissa, condition_title, label, plain_log_ticks, styled

if TYPE_CHECKING:
    import xarray as xr

# lower panel -> label, variable and error in the comparison, centre, shaded half-widths, smallest and largest half-axis
LOWER = {
    "ratio": ("ratio", "ratio", "ratio_error", 1.0, (0.05, 0.02, 0.01), 0.075, 0.6),
    "pull": ("pull $z$", "z", None, 0.0, (2.0, 1.0), 3.4, 9.0),
}


@styled
def curve_comparison(
    reference: xr.Dataset,
    generated: xr.Dataset,
    comparison: xr.Dataset,
    *,
    lower: Sequence[str] | None = None,
    names: tuple[str, str] = ("reference", "generated"),
    most: int = 4,
) -> Figure:
    """Reference with its error band, generated with error bars; below them the ratio and/or the pull.

    The last dim of ``value`` is the abscissa. Further dims (a condition) give a row of at most ``most``
    panels, evenly chosen with both ends. Histograms are drawn as steps, with the total-variation distance
    and its floor written in. ``lower`` chooses from ``"ratio"`` (bands at 1, 2 and 5 %) and ``"pull"``
    (difference over its standard error); by default both for spectra and histograms, else the pull.
    Error bars are standard errors over independent units; the wide band and the dashed lines hold 16 to 84 % of single
    configurations, where the results know them (``sample_low``, ``sample_high``). A vertical line marks the attr
    ``nyquist``.
    """
    kind = reference.attrs.get("kind", "curve")
    lower = lower_panels(reference) if lower is None else tuple(lower)
    panels = chosen_panels(reference["value"], most)
    bare = reference["value"].size == 1
    figure, grid = panel_grid(
        [1.5 if bare else 2.35] + [0.8] * len(lower), len(panels), 4.05 if len(panels) == 1 else 2.6,
        label_lines=1 + ordinate(reference).count("\n"), title_lines=int(bool(panels[0])),
    )  # fmt: skip
    for axes, where in zip(grid.T, panels, strict=True):
        draw_main(axes[0], reference.isel(where), generated.isel(where), names)
        axes[0].set_title(condition_title(reference, where))
        if kind == "histogram":
            _write_distance(axes[0], comparison, where)
        for panel, which in zip(axes[1:], lower, strict=True):
            draw_lower(panel, comparison, where, which)
        finish_column(axes, reference)
    finish_main_row(grid[0], reference, generated)
    if kind == "histogram":
        leave_empty_ends(grid[0], reference, generated)
    for row, which in zip(grid[1:], lower, strict=True):
        row[0].set_ylabel(LOWER[which][0])
    return figure


def lower_panels(reference: xr.Dataset) -> tuple[str, ...]:
    """The panels below the curves: the ratio where it is of positive numbers, the pull; none below a bare number."""
    if reference["value"].size == 1:
        return ()
    return ("ratio", "pull") if reference.attrs.get("kind") in ("spectrum", "histogram") else ("pull",)


def chosen_panels(value: xr.DataArray, most: int) -> list[dict[str, int]]:
    """At most so many places (dim -> index) of all dims but the last, evenly chosen with both ends."""
    dims = [str(d) for d in value.dims[:-1]]
    places = [dict(zip(dims, index, strict=True)) for index in np.ndindex(*(value.sizes[d] for d in dims))]
    chosen = np.unique(np.linspace(0, len(places) - 1, min(most, len(places))).round().astype(int))
    return [places[i] for i in chosen]


def draw_main(axes: Axes, reference: xr.Dataset, generated: xr.Dataset, names: tuple[str, str]) -> None:
    """Both results over the last dim: line and band of the reference, points with error bars of the generated."""
    kind, x = reference.attrs.get("kind", "curve"), abscissa(reference["value"])
    truth, spread, drawn, error = (
        np.atleast_1d(np.asarray(result[name], dtype=float))
        for result in (reference, generated) for name in ("value", "error")
    )  # fmt: skip
    if len(x) == 1 or kind == "scalar":
        shift = 0.008 * (np.ptp(x) or 25.0)  # side by side, so that neither hides the other
        axes.errorbar(x - shift, truth, spread, fmt="o", mfc="white", color=REFERENCE, label=names[0])
        axes.errorbar(x + shift, drawn, error, fmt="o", color=GENERATED, label=names[1])
        return
    step: Literal["mid"] | None = "mid" if kind == "histogram" else None
    line = "steps-mid" if step else "default"
    axes.fill_between(x, truth - spread, truth + spread, step=step, color=REFERENCE, alpha=0.22, lw=0)
    _of_samples(axes, x, reference, generated)
    axes.plot(x, truth, color=REFERENCE, drawstyle=line, label=names[0], zorder=2)
    if step:
        axes.plot(x, drawn, color=GENERATED, drawstyle=line, lw=0.9, alpha=0.7)
    axes.errorbar(x, drawn, error, fmt="o", color=GENERATED, elinewidth=1.0, label=names[1], zorder=3)


def _of_samples(axes: Axes, x: np.ndarray, reference: xr.Dataset, generated: xr.Dataset) -> None:
    """Where 16 to 84 % of single configurations lie: a band of the reference, dashed lines of the generated ones."""
    if "sample_low" not in reference or "sample_low" not in generated:
        return
    low, high = (np.atleast_1d(reference[name].values) for name in ("sample_low", "sample_high"))
    axes.fill_between(x, low, high, color=REFERENCE, alpha=0.1, lw=0, label="16–84 % of samples")
    for name in ("sample_low", "sample_high"):
        axes.plot(x, np.atleast_1d(generated[name].values), color=GENERATED, lw=0.8, ls=(0, (4, 2)), zorder=2)


def finish_main_row(row: Sequence[Axes], *results: xr.Dataset) -> None:
    """Label, legend and scale of the ordinate, which all panels of the row share."""
    reference = results[0]
    values = np.concatenate([np.ravel(result["value"]) for result in results])
    positive = values[values > 0]
    kind, scale = reference.attrs.get("kind"), reference["value"].attrs.get("scale", reference.attrs.get("scale"))
    wide = kind == "spectrum" and positive.size == values.size and positive.max() > 10 * positive.min()
    if positive.size and (scale == "log" or wide):
        row[0].set_yscale("log")
        low = max(positive.min() / 2, 1e-6 * positive.max())
        row[0].set_ylim(low, positive.max() * (20 if kind == "histogram" else 2))
    elif kind == "histogram":
        row[0].set_ylim(0, 1.35 * np.nanmax(values, initial=1e-12))  # room for the distance and the legend
    row[0].set_ylabel(ordinate(reference))
    row[-1].legend(loc="upper right" if kind == "histogram" else "best")


def ordinate(reference: xr.Dataset) -> str:
    """Label of the ordinate; a name that is too long for the panel gives way to its symbol, or is wrapped."""
    full, room = label(reference["value"]), 26 if reference["value"].size == 1 else 48
    return full if len(full) <= room else "\n".join(wrap(label(reference["value"], short=True), room * 3 // 4))


def leave_empty_ends(row: Sequence[Axes], reference: xr.Dataset, *generated: xr.Dataset) -> None:
    """Show the bins between the first and the last that hold anything, in any panel."""
    x, points = abscissa(reference["value"]), reference["value"].sizes[reference["value"].dims[-1]]
    filled = [(np.asarray(result["value"]).reshape(-1, points) > 0).any(axis=0) for result in (reference, *generated)]
    inside = x[np.any(filled, axis=0)]
    if len(inside) and points > 1:
        margin = 1.5 * np.diff(x).max()
        for axes in row:
            axes.set_xlim(inside[0] - margin, inside[-1] + margin)


def _write_distance(axes: Axes, comparison: xr.Dataset, where: Mapping[str, int]) -> None:
    if "distance_tv" not in comparison:
        return
    numbers = []
    for name in ("distance_tv", "distance_tv_error", "distance_tv_floor", "distance_tv_floor_error"):
        found = comparison.get(name)
        numbers.append(None if found is None else float(found.isel(where, missing_dims="ignore")))
    text = f"TV = {mathtext_value(*numbers[:2])}\nfloor {mathtext_value(*numbers[2:])}"
    axes.text(0.04, 0.96, text, transform=axes.transAxes, va="top", fontsize=10, linespacing=1.35)


def draw_lower(axes: Axes, comparison: xr.Dataset, where: Mapping[str, int], which: str) -> None:
    """The panel below: ``ratio`` or ``pull`` of a comparison at one place."""
    _, name, error_name, centre, bands, smallest, largest = LOWER[which]
    errors = comparison[error_name] if error_name else None
    reach = np.asarray(np.abs(comparison[name] - centre) + (0.0 if errors is None else errors))
    half = float(np.clip(1.15 * np.max(reach, where=np.isfinite(reach), initial=0.0), smallest, largest))
    for width in bands:
        axes.axhspan(centre - width, centre + width, color=REFERENCE, alpha=0.09, lw=0)
        if which == "ratio":
            axes.hlines([centre - width, centre + width], 0, 1, "#777777", lw=0.4, transform=axes.get_yaxis_transform())
    axes.axhline(centre, color=REFERENCE, lw=0.8)
    points = comparison[name].isel(where)
    x, values = abscissa(points), np.atleast_1d(np.asarray(points, dtype=float))
    bars = None if errors is None else np.atleast_1d(errors.isel(where))
    outside = np.abs(values - centre) > 0.97 * half
    axes.errorbar(x, np.where(outside, np.nan, values), bars, fmt="o", color=GENERATED, elinewidth=1.0)
    for side, marker in ((1, "^"), (-1, "v")):  # a point beyond the panel shows as an arrow on its edge
        beyond = outside & (side * (values - centre) > 0)
        axes.plot(x[beyond], np.full(int(beyond.sum()), centre + side * 0.88 * half), marker, color=THIRD, ms=5)
    axes.set_ylim(centre - half, centre + half)


def finish_column(axes: Sequence[Axes], reference: xr.Dataset) -> None:
    """Label and scale of the abscissa, and the Nyquist line where the result has one."""
    value = reference["value"]
    if value.ndim and value.dims[-1] in value.coords:
        coordinate = value[value.dims[-1]]
        axes[-1].set_xlabel(label(coordinate))
        if coordinate.attrs.get("scale") == "log":
            axes[-1].set_xscale("log")
            plain_log_ticks(axes[-1].xaxis)
        if "flag_meanings" in coordinate.attrs:  # the names of the points, as in the CF conventions
            axes[-1].set_xticks(coordinate.values, labels=str(coordinate.attrs["flag_meanings"]).split())
            axes[-1].set_xlabel("")
            axes[-1].tick_params(axis="x", which="minor", bottom=False, top=False)
    else:
        axes[-1].set(xticks=[], xlim=(-1, 1))
        axes[-1].tick_params(axis="x", which="both", bottom=False, top=False)
    if "nyquist" in reference.attrs:
        nyquist = float(reference.attrs["nyquist"])
        for panel in axes:
            panel.axvline(nyquist, color="#777777", lw=0.9, ls=(0, (4, 3)))
        axes[0].text(
            nyquist, 0.04, "Nyquist ", transform=axes[0].get_xaxis_transform(), color="#555555", ha="right", size=9.5
        )
