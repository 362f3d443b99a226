"""Stamps: configurations of the reference above generated ones, at equal conditions, on one colour scale."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import AsinhNorm, ListedColormap, LogNorm, Normalize
from matplotlib.figure import Figure

from physgen.ensemble import sample_dims, space_dims, spacing
from physgen.figures.style import condition_title, label, styled, symbol_of
from physgen.notation import latex_units

if TYPE_CHECKING:
    import xarray as xr


@styled
def gallery(
    reference: xr.Dataset, generated: xr.Dataset, count: int = 5, names: tuple[str, str] = ("reference", "generated")
) -> Figure:
    """Stamps: reference above generated, each column at equal conditions, one colour scale for all.

    Fields on a 3-D lattice show their central slice. Two values give two tones; a positive skewed field a
    logarithmic scale (an overdensity, ``field_kind`` ``delta``, is drawn as 1 + field); other fields a scale
    that diverges around 0. The bar has the length and units of the coordinates.
    """
    columns = _equal_conditions(reference, generated, count)
    truth = [_stamp(reference, where) for where, _, _ in columns]
    drawn = [_stamp(generated, where) for _, where, _ in columns]
    title, colours, norm, stamps = _colour_scale(reference, np.asarray([truth, drawn]))
    figure = Figure(figsize=(1.43 * len(columns) + 1.1, 3.55), layout="constrained")
    figure.get_layout_engine().set(h_pad=0.03, w_pad=0.03, hspace=0.0, wspace=0.0)
    grid = figure.subplots(2, len(columns), squeeze=False)
    for (row, column), axes in np.ndenumerate(grid):
        image = axes.imshow(stamps[row][column], cmap=colours, norm=norm, origin="lower")
        axes.set(xticks=[], yticks=[])
        axes.minorticks_off()
        if row == 0:
            axes.set_title(columns[column][2], fontsize=9.5, linespacing=1.25)
    for axes, name in zip(grid[:, 0], names, strict=True):
        axes.set_ylabel(name)
    _scale_bar(grid[1, 0], reference)
    bar = figure.colorbar(image, ax=grid, label=title, shrink=0.92, pad=0.015, aspect=30)
    bar.ax.tick_params(which="both", direction="out")
    if isinstance(colours, ListedColormap):
        values = np.unique(stamps)
        names_of_values = [f"{value:+g}".replace("-", "−") for value in values[[0, -1]]]
        bar.set_ticks(np.linspace(values[0], values[-1], 5)[[1, 3]], labels=names_of_values)
        bar.ax.minorticks_off()
    return figure


def _equal_conditions(reference: xr.Dataset, generated: xr.Dataset, count: int) -> list[tuple[dict, dict, str]]:
    """(place in the reference, place in the generated, title) of each column."""
    places: list[tuple[dict[str, int], dict[str, int]]] = [({}, {}) for _ in range(count)]
    for dim in sample_dims(reference):
        key = _condition_key(reference, dim)
        ours = reference[key].values if key else np.arange(reference.sizes[dim])
        theirs = generated[key].values if key else np.arange(generated.sizes[dim])
        shared = np.intersect1d(ours, theirs)
        chosen = shared[np.linspace(0, len(shared) - 1, count).round().astype(int)]
        for column, (left, right) in enumerate(places):
            again = int((chosen[:column] == chosen[column]).sum())  # the next configuration of the same condition
            for place, keys in ((left, ours), (right, theirs)):
                same = np.flatnonzero(keys == chosen[column])
                place[dim] = int(same[again % len(same)])
    return [(left, right, _stamp_title(reference, left)) for left, right in places]


def _condition_key(ensemble: xr.Dataset, dim: str) -> str | None:
    if "simulation" in ensemble and ensemble["simulation"].dims == (dim,):
        return "simulation"
    return dim if dim in ensemble.coords and dim not in ("sample", "replica") else None


def _stamp_title(ensemble: xr.Dataset, where: Mapping[str, int]) -> str:
    """The coordinates and labels of one configuration, one a line."""
    lines = []
    for dim, i in where.items():
        key = _condition_key(ensemble, dim)
        lines += [condition_title(ensemble, {dim: i})] if key == dim else []
        for name, variable in ensemble.data_vars.items():
            if variable.dims == (dim,) and np.issubdtype(variable.dtype, np.floating):
                units = latex_units(variable.attrs.get("units"))
                lines.append(f"{symbol_of(variable) or name} = {float(variable[i]):.3g} {units}".strip())
    return "\n".join(lines[:3])


def _stamp(ensemble: xr.Dataset, where: Mapping[str, int]) -> np.ndarray:
    field = ensemble["field"].isel(where)
    values = np.asarray(field.isel({"component": 0}) if "component" in field.dims else field, dtype=float)
    while values.ndim > 2:
        values = values[len(values) // 2]
    return np.atleast_2d(values)


def _colour_scale(reference: xr.Dataset, stamps: np.ndarray) -> tuple[str, Any, Normalize, np.ndarray]:
    name, truth = label(reference["field"]), stamps[0]
    if len(np.unique(truth)) <= 2:
        return name, ListedColormap(["#24364b", "#f1e9da"]), Normalize(truth.min(), truth.max()), stamps
    if reference.attrs.get("field_kind") == "delta":
        name, stamps = "1 + " + label(reference["field"], short=True), 1 + stamps
        truth = stamps[0]
    low, high = np.percentile(truth, [1, 99.7])
    skewness = float(((truth - truth.mean()) ** 3).mean() / (truth.std() ** 3 + 1e-300))
    if low > 0 and skewness > 0.5:
        return name, "inferno", LogNorm(low, high, clip=True), stamps
    if low < 0 < high and abs(skewness) <= 1:
        half = max(-low, high)
        return name, "RdBu_r", Normalize(-half, half), stamps
    return name, "inferno", AsinhNorm(truth.std() / 2, low, high), stamps


def _scale_bar(axes: Axes, ensemble: xr.Dataset) -> None:
    """A bar of a round length near a quarter of the box, in the units of the coordinates."""
    dim, cell = space_dims(ensemble)[-1], spacing(ensemble)[-1]
    wanted = 0.3 * ensemble.sizes[dim] * cell
    power = 10.0 ** np.floor(np.log10(wanted))
    length = max(step * power for step in (1, 2, 5) if step * power <= wanted)
    units = ensemble[dim].attrs.get("units", "cells") if dim in ensemble.coords else "cells"
    if " " in units and length != 1:
        units = f"{units}s"  # a phrase, not a symbol: 2 lattice spacings
    place = axes.get_xaxis_transform()
    axes.plot([-0.5, -0.5 + length / cell], [-0.06] * 2, color="#1a1a1a", lw=2, transform=place, clip_on=False)
    axes.text(-0.5, -0.15, f"{length:g} {latex_units(units)}", transform=place, fontsize=9.5, va="center")
