"""Measured points with their errors over the truth, any number of series in one panel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from physgen.figures.overlay import COLOURS, MARKERS
from physgen.figures.style import REFERENCE, plain_log_ticks, styled

Series = Sequence[ArrayLike]


@styled
def measured_and_true(
    measured: Mapping[str, Series],
    truth: Mapping[str, Series] | None = None,
    *,
    labels: tuple[str, str] = ("x", "y"),
    scales: tuple[str, str] = ("linear", "linear"),
    level: float | None = None,
) -> Figure:
    """Points with error bars, and lines for what they should be; a line and points of one name share their colour.

    Args:
        measured: name -> (x, values) or (x, values, standard errors), each (K,).
        truth: name -> (x, values). A name that no points have is drawn in grey and listed by itself.
        labels: of abscissa and ordinate, units included.
        scales: of both, ``"linear"``, ``"log"`` or ``"symlog"`` (linear within one).
        level: a dashed horizontal line to compare with.

    Example:
        >>> measured_and_true({"Langevin": (steps, variance, error)}, {"Langevin": (steps, stationary)})
    """
    figure = Figure(figsize=(5.6, 3.7), layout="constrained")
    axes = figure.subplots()
    truth = truth or {}
    if level is not None:
        axes.axhline(level, color=REFERENCE, lw=0.8, ls=(0, (4, 3)))
    colours = dict(zip(measured, cycle(COLOURS), strict=False))
    grey = cycle(("-", (0, (5, 2)), (0, (1, 1.5))))
    for name, (x, line) in truth.items():
        own = name in colours
        style: Any = "-" if own else next(grey)
        axes.plot(x, line, color=colours.get(name, REFERENCE), ls=style, lw=1.2, label=None if own else name)
    for (name, series), marker in zip(measured.items(), cycle(MARKERS), strict=False):
        x, value, *error = (np.asarray(part, dtype=float) for part in series)
        bars = error[0] if error else None
        axes.errorbar(x, value, bars, fmt=marker, color=colours[name], elinewidth=1.0, label=name, ms=4.2)
    axes.set(xlabel=labels[0], ylabel=labels[1], xscale=scales[0], yscale=scales[1])
    for axis, scale in ((axes.xaxis, scales[0]), (axes.yaxis, scales[1])):
        if scale == "log":
            plain_log_ticks(axis)
    axes.legend(frameon=True, facecolor="white", edgecolor="none", framealpha=0.85)
    return figure
