"""A film strip: one sample on its way from noise to data, with the nearest training sample beside its end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from physgen.figures.style import GENERATED, THIRD, styled

if TYPE_CHECKING:
    import xarray as xr

COLOURS = {"trivial": "#6b6862", "speciated": "#0072b2", "collapsed": "#b4450a", "below $t_C$": "#b4450a"}


@styled
def film_strip(results: Mapping[str, xr.Dataset]) -> Figure:
    """Frames of one trajectory: noisy states above, what they may still become below; the end and its neighbour right.

    Args:
        results: ``film_strip``: ``state``, ``mean`` (frame, d0, d1), ``t`` (frame,), ``regime`` (frame,) in words,
            ``last``, ``nearest`` (d0, d1), all encoded. Of points: (frame, 1, 2), their first two principal axes, with
            ``cloud`` (samples, 2).
    """
    found = results["film_strip"]
    count = found.sizes["frame"]
    scatter = "cloud" in found
    figure = Figure(
        figsize=(1.22 * (count + 1) + 0.6, 3.2),
        layout=ConstrainedLayoutEngine(h_pad=0.03, w_pad=0.03, hspace=0.0, wspace=0.0),
    )
    grid = figure.subplots(2, count + 1, squeeze=False)
    norm = _norm(found)
    for column in range(count):
        frame = found.isel(frame=column)
        regime = str(frame["regime"].values)
        grid[0, column].set_title(
            f"$t$ = {float(frame['t']):.2g}\n{regime}", fontsize=9.5, color=COLOURS.get(regime, "k")
        )
        for axes, name in zip(grid[:, column], ("state", "mean"), strict=True):
            _frame(axes, frame[name].values, found, norm)
    grid[0, count].set_title("end", fontsize=9.5)
    _frame(grid[0, count], found["last"].values, found, norm)
    _frame(grid[1, count], found["nearest"].values, found, norm, THIRD if scatter else None)
    grid[1, count].set_xlabel("nearest\ntraining sample", fontsize=9.5)
    for axes, name in zip(grid[:, 0], (r"state $x_t$", r"$\mathrm{E}[x_0|x_t]$"), strict=True):
        axes.set_ylabel(name)
    return figure


def _norm(found: xr.Dataset) -> Normalize | None:
    if "cloud" in found:
        return None
    half = float(np.quantile(np.abs(found["nearest"].values), 0.995)) or 1.0
    return Normalize(-half, half)


def _frame(axes: Axes, values: np.ndarray, found: xr.Dataset, norm: Any, colour: str | None = None) -> None:
    axes.set(xticks=[], yticks=[])
    axes.minorticks_off()
    if norm is not None:
        axes.imshow(np.atleast_2d(values), cmap="RdBu_r", norm=norm, origin="lower")
        return
    cloud = found["cloud"].values
    axes.plot(cloud[:, 0], cloud[:, 1], ".", color="#bbbbbb", ms=1.5, zorder=1)
    axes.plot(*np.reshape(values, (-1, 2)).T, "o", color=colour or GENERATED, ms=5, zorder=2)
    reach = 1.25 * float(np.abs(cloud).max())
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
