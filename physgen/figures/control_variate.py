"""What surrogates add: estimates over a reference, and the variance that is won."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from physgen.figures.curves import chosen_panels, finish_column
from physgen.figures.style import FOURTH, GENERATED, REFERENCE, THIRD, abscissa, condition_title, styled

if TYPE_CHECKING:
    import xarray as xr


@styled
def combined_estimates(result: xr.Dataset, equal_units: float | None = None, *, most: int = 4) -> Figure:
    """Ratio of the estimates to the reference (to the combined one where there is none); below, gain of mean, variance.

    Args:
        result: of :func:`physgen.diagnostics.combined.combine_results`, or of ``against``.
        equal_units: costly units for the cost of everything; None draws no gain at equal cost.
        most: panels in a row, for results over more than one dim (a condition).
    """
    has_covariance = "covariance_value" in result
    panels = chosen_panels(result["value"], most)
    heights = [2.4, 1.3] + [1.3] * has_covariance
    tight = ConstrainedLayoutEngine(h_pad=0.03, w_pad=0.03, hspace=0, wspace=0.03)
    figure = Figure(figsize=(max(5.4, 2.8 * len(panels) + 0.8), 1.0 + 1.35 * sum(heights) / 1.3), layout=tight)
    grid = figure.subplots(len(heights), len(panels), squeeze=False, sharex="col", sharey="row", height_ratios=heights)
    share = None if equal_units is None else float(result.attrs["n_pairs"]) / equal_units
    for axes, where in zip(grid.T, panels, strict=True):
        _ratios(axes[0], result.isel(where))
        _gain(axes[1], result.isel(where), "", share)
        if has_covariance:
            _gain(axes[2], _diagonal(result).isel(where), "covariance_", share)
        axes[0].set_title(condition_title(result, where))
        finish_column(axes, result)
    grid[0, 0].set_ylabel("ratio")
    grid[0, -1].legend(loc="best")
    grid[1, 0].set_ylabel("gain, mean")
    if has_covariance:
        grid[2, 0].set_ylabel("gain, variance")
    figure.align_ylabels(grid[:, 0])
    return figure


def _ratios(axes: Axes, result: xr.Dataset) -> None:
    x = abscissa(result["value"])
    centre = np.atleast_1d(np.asarray(result["reference" if "reference" in result else "value"], dtype=float))

    def of(name: str) -> tuple[np.ndarray, np.ndarray]:
        value, error = (np.atleast_1d(np.asarray(result[n], dtype=float)) for n in (name, _error_of(name)))
        if "logarithm" in result.attrs:
            return np.exp(value - centre), error * np.exp(value - centre)
        with np.errstate(invalid="ignore", divide="ignore"):
            return value / centre, error / np.abs(centre)

    if "reference" in result:
        _, error = of("reference")
        units = int(result.attrs["n_reference"])
        axes.fill_between(x, 1 - error, 1 + error, color=REFERENCE, alpha=0.25, lw=0, label=f"reference, {units} units")
    axes.axhline(1.0, color=REFERENCE, lw=0.8)
    value, error = of("plain")
    axes.fill_between(x, value - error, value + error, color=THIRD, alpha=0.15, lw=0)
    axes.plot(x, value, color=THIRD, lw=0.9, label=f"{result.attrs['n_pairs']} costly units alone")
    axes.plot(x, of("cheap")[0], color=FOURTH, ls="--", lw=1.1, label="surrogates alone")
    value, error = of("value")
    axes.errorbar(x, value, error, fmt="o", color=GENERATED, elinewidth=1.0, label="combined", zorder=3)


def _error_of(name: str) -> str:
    return "error" if name == "value" else f"{name}_error"


def _gain(axes: Axes, result: xr.Dataset, prefix: str, share: float | None) -> None:
    x = abscissa(result[f"{prefix}gain"])
    gain, low, high = (
        np.atleast_1d(np.asarray(result[f"{prefix}{name}"], dtype=float)) for name in ("gain", "gain_low", "gain_high")
    )
    axes.fill_between(x, low, high, color=GENERATED, alpha=0.2, lw=0)
    axes.plot(x, gain, "o-", color=GENERATED, lw=0.9)
    if share is not None:
        axes.plot(x, share * gain, color=GENERATED, ls="--", lw=0.9)
    axes.axhline(1.0, color=REFERENCE, lw=0.8)
    axes.set_yscale("log")


def _diagonal(result: xr.Dataset) -> xr.Dataset:
    """The gains of the variances over the coordinates of the value."""
    value = result["value"]
    names = [f"covariance_{name}" for name in ("gain", "gain_low", "gain_high")]
    return result.assign({name: (value.dims, np.diag(result[name].values).reshape(value.shape)) for name in names})
