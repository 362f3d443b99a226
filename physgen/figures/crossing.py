"""Curves of several sizes of one system, and where they cross."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from physgen.figures.notation import format_value
from physgen.figures.style import FOURTH, GENERATED, REFERENCE, THIRD, label, styled

if TYPE_CHECKING:
    import xarray as xr

COLOURS = (GENERATED, THIRD, FOURTH, REFERENCE)


@styled
def size_crossings(*results: xr.Dataset) -> Figure:
    """A panel for each result: a curve with error bars for each size; crossings as vertical bands of one error.

    Args:
        results: Datasets over ``size`` and one dim more, with ``value``, ``error`` and, over ``pair``, ``crossing``,
            ``crossing_error``, ``small`` and ``large``. Names, symbols and units come from the attrs.
    """
    figure = Figure(figsize=(1.0 + 4.4 * len(results), 3.7), layout="constrained")
    for axes, result in zip(figure.subplots(1, len(results), squeeze=False)[0], results, strict=True):
        along = next(str(dim) for dim in result["value"].dims if dim != "size")
        x, symbol = result[along].values, result["size"].attrs.get("symbol", "size")
        for place, size in enumerate(result["size"].values):
            one, colour = result.isel(size=place), COLOURS[place % len(COLOURS)]
            axes.errorbar(
                x, one["value"], one["error"], fmt="o-", ms=3.2, lw=1.0, color=colour, label=f"${symbol} = {size:g}$"
            )
        unit = result[along].attrs.get("units", "1")
        for place in range(result.sizes["pair"]):
            pair = result.isel(pair=place)
            at, error = float(pair["crossing"]), float(pair["crossing_error"])
            if not np.isfinite(at):
                continue
            sizes = f"{int(pair['small'])}, {int(pair['large'])}"
            words = f"{sizes}: {format_value(at, error)} {'' if unit == '1' else unit}".rstrip()
            axes.axvline(at, color=REFERENCE, lw=0.8, ls=(0, (4, 3)), label=words)
            if np.isfinite(error):
                axes.axvspan(at - error, at + error, color=REFERENCE, alpha=0.12, lw=0)
        axes.set(xlabel=label(result[along]), ylabel=label(result["value"]))
        axes.legend(fontsize=8.5)
    return figure
