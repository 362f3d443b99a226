"""Stamps: configurations of the reference above generated ones, at equal conditions where there are any."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import AsinhNorm, ListedColormap, LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from physgen.diagnostics.conditions import condition_names, entry_conditions
from physgen.ensemble import independent_units, sample_dims, space_dims, spacing
from physgen.figures.clouds import cloud
from physgen.figures.notation import latex_units
from physgen.figures.style import condition_title, label, styled, symbol_of

if TYPE_CHECKING:
    import xarray as xr


MOST_KINDS = 12  # whole numbers that get a colour each


@styled
def gallery(
    reference: xr.Dataset, generated: xr.Dataset, count: int = 5, names: tuple[str, str] = ("reference", "generated")
) -> Figure:
    """Stamps: reference above generated, one colour scale for all; each column at equal conditions.

    Where the two share no condition (:func:`differing_conditions`), a column says nothing of it.

    Fields on a 3-D lattice show their central slice. Two values give two tones, a few whole numbers one each; a
    positive skewed field a logarithmic scale (``display_offset`` of the field is added first: 1 where values start at
    -1); other fields a scale that diverges around 0; any field the linear scale of ``display_colours``, where that
    attribute names one, and a cyclic scale where it has a ``period``. The bar has the length and units of the
    coordinates. Vectors, which have no space, are drawn as :func:`physgen.figures.cloud`.
    """
    if not space_dims(reference):
        return cloud(reference, generated, names)
    columns = _equal_conditions(reference, generated, count)
    truth = [_stamp(reference, where) for where, _, _ in columns]
    drawn = [_stamp(generated, where) for _, where, _ in columns]
    title, colours, norm, stamps = _colour_scale(reference, np.asarray([truth, drawn]))
    figure = Figure(
        figsize=(1.43 * len(columns) + 1.1, 3.55),
        layout=ConstrainedLayoutEngine(h_pad=0.03, w_pad=0.03, hspace=0.0, wspace=0.0),
    )
    grid = figure.subplots(2, len(columns), squeeze=False)
    for (row, column), axes in np.ndenumerate(grid):
        image = axes.imshow(stamps[row][column], cmap=colours, norm=norm, origin=origin_of(reference))
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
        middles = np.linspace(*bar.ax.get_ylim(), 2 * colours.N + 1)[1::2].tolist()  # of the colours in the bar
        values, form = (np.unique(stamps)[[0, -1]], "+g") if colours.N == 2 else (middles, "g")
        bar.set_ticks(middles, labels=[f"{value:{form}}".replace("-", "−") for value in values])
        bar.ax.minorticks_off()
    return figure


def differing_conditions(reference: xr.Dataset, generated: xr.Dataset) -> list[str]:
    """Names of the conditions of which reference and generated have no value in common.

    Empty where each has at least one; a gallery then shows columns at equal conditions.
    """
    differ: list[str] = []
    for dim in sample_dims(reference):
        if not _shared(reference, generated, dim)[2].size:
            differ += condition_names(reference, dim) or [dim]
    return differ


def _shared(reference: xr.Dataset, generated: xr.Dataset, dim: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Keys of the entries of a sample dim on both sides, and the keys that both have."""
    if dim not in generated.sizes:
        return np.arange(reference.sizes[dim]), np.zeros(0, int), np.zeros(0, int)
    ours, theirs = (entry_conditions(e, dim) for e in (reference, generated))
    kept = all(dim in e.coords and dim in independent_units(e).kept for e in (reference, generated))
    if ours is None and theirs is None and kept:
        ours, theirs = (np.round(e[dim].values.astype(float), 9) for e in (reference, generated))
    elif ours is None and theirs is None and not _is_condition(reference, dim):  # nothing is known to differ
        ours, theirs = (np.arange(e.sizes[dim]) for e in (reference, generated))
    elif ours is None or theirs is None:
        ours, theirs = np.arange(reference.sizes[dim]), -1 - np.arange(generated.sizes[dim])
    return ours, theirs, np.intersect1d(ours, theirs)


def _is_condition(ensemble: xr.Dataset, dim: str) -> bool:
    """Whether entries of a sample dim are conditions (labels, quenched units) and not draws under one."""
    units = independent_units(ensemble)
    return dim in units.kept or (units.within is not None and dim == units.condition_dim != units.within)


def _equal_conditions(reference: xr.Dataset, generated: xr.Dataset, count: int) -> list[tuple[dict, dict, str]]:
    """(place in the reference, place in the generated, title) of each column."""
    places: list[tuple[dict[str, int], dict[str, int]]] = [({}, {}) for _ in range(count)]
    equal = []
    for dim in sample_dims(reference):
        ours, theirs, shared = _shared(reference, generated, dim)
        if dim not in generated.sizes:
            continue
        if not shared.size:
            for column, (left, right) in enumerate(places):
                left[dim], right[dim] = column % len(ours), column % len(theirs)
            continue
        equal.append(dim)
        chosen = _spread(ours, shared, count)
        for column, (left, right) in enumerate(places):
            again = int((chosen[:column] == chosen[column]).sum())  # the next configuration of the same condition
            for place, keys in ((left, ours), (right, theirs)):
                same = np.flatnonzero(keys == chosen[column])
                place[dim] = int(same[again % len(same)])
    return [(left, right, _stamp_title(reference, {d: left[d] for d in equal})) for left, right in places]


def _spread(keys: np.ndarray, shared: np.ndarray, count: int) -> np.ndarray:
    """``count`` of the shared keys, evenly over those in the order in which they first stand in ``keys``."""
    _, first = np.unique(keys, return_index=True)
    ordered = keys[np.sort(first)]
    ordered = ordered[np.isin(ordered, shared)]
    return ordered[np.linspace(0, len(ordered) - 1, count).round().astype(int)]


def _stamp_title(ensemble: xr.Dataset, where: Mapping[str, int]) -> str:
    """The coordinates and labels of one configuration, one a line."""
    lines = []
    for dim, i in where.items():
        if dim in ensemble.coords and _is_condition(ensemble, dim):
            lines.append(condition_title(ensemble, {dim: i}))
        for name in condition_names(ensemble, dim):
            variable = ensemble[name]
            if variable.dims == (dim,):
                units = latex_units(variable.attrs.get("units"))
                lines.append(f"{symbol_of(variable) or name} = {float(variable[i]):.3g} {units}".strip())
    return "\n".join(lines[:3])


def _stamp(ensemble: xr.Dataset, where: Mapping[str, int]) -> np.ndarray:
    field = ensemble["field"].isel(where)
    values = np.asarray(field.isel({"component": 0}) if "component" in field.dims else field, dtype=float)
    while values.ndim > 2:
        values = values[len(values) // 2]
    return np.atleast_2d(values)


def origin_of(ensemble: xr.Dataset) -> Literal["lower", "upper"]:
    """Where row 0 of a map is drawn: at the top where the coordinate of the rows says ``positive`` = "down" (CF)."""
    rows = space_dims(ensemble)[-2:][0]
    down = rows in ensemble.coords and ensemble[rows].attrs.get("positive") == "down"
    return "upper" if down else "lower"


def _colour_scale(reference: xr.Dataset, stamps: np.ndarray) -> tuple[str, Any, Normalize, np.ndarray]:
    name, truth = label(reference["field"]), stamps[0]
    kinds = np.unique(stamps)
    if np.issubdtype(reference["field"].dtype, np.integer) and 2 < len(kinds) <= MOST_KINDS:
        count = int(kinds[-1] - kinds[0]) + 1
        return name, colormaps["cividis"].resampled(count), Normalize(kinds[0] - 0.5, kinds[-1] + 0.5), stamps
    if len(np.unique(truth)) <= 2:
        return name, ListedColormap(["#24364b", "#f1e9da"]), Normalize(truth.min(), truth.max()), stamps
    if period := float(reference["field"].attrs.get("period", 0.0)):
        return name, "twilight", Normalize(-period / 2, period / 2), stamps
    if own := str(reference["field"].attrs.get("display_colours", "")):
        return name, own, Normalize(truth.min(), truth.max()), stamps
    offset = float(reference["field"].attrs.get("display_offset", 0.0))
    if offset:
        name, stamps = f"{offset:g} + " + label(reference["field"], short=True), offset + stamps
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
