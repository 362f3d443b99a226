"""Curves beside theory, in the style of the house: points with error bars, theory as lines."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from physgen.figures.style import FOURTH, GENERATED, REFERENCE, STYLE, THIRD, plain_log_ticks, styled

COLOURS = (GENERATED, THIRD, FOURTH, REFERENCE, "#cc79a7", "#56b4e9", "#e69f00")
DOTS_PER_INCH = 110


@dataclass(frozen=True)
class Curve:
    """One set of points: measured (with ``error``, drawn as points) or theory (a line).

    Attributes:
        x, y: (K,); error: (K,) standard errors, or None.
        name: entry of the legend, "" for none.
        colour: place in the row of colours: what belongs together has the same one.
        line: drawn as a line ("-", "--", ":"), "" for points.
    """

    x: Sequence[float] | np.ndarray
    y: Sequence[float] | np.ndarray
    error: Sequence[float] | np.ndarray | None = None
    name: str = ""
    colour: int = 0
    line: str = ""


@styled
def draw_curves(
    panels: Mapping[str, Sequence[Curve]], xlabel: str, ylabel: str, *, verticals: Mapping[str, float] | None = None,
    **axes_options,
) -> Figure:  # fmt: skip
    """One row of panels, title -> curves; ``verticals`` name -> place of a dashed line; options go to ``Axes.set``."""
    figure = Figure(figsize=(1.2 + 3.6 * len(panels), 3.3), layout="constrained")
    many = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (title, curves) in zip(many, panels.items(), strict=True):
        for curve in curves:
            colour = COLOURS[curve.colour % len(COLOURS)]
            if curve.line:
                axes.plot(curve.x, curve.y, curve.line, color=colour, lw=1.2, label=curve.name or None)
            else:
                axes.errorbar(curve.x, curve.y, curve.error, fmt="o", ms=3.4, color=colour, label=curve.name or None)
        for name, place in (verticals or {}).items():
            axes.axvline(place, color=REFERENCE, lw=0.8, ls=(0, (4, 3)))
            axes.annotate(
                name, (place, 1), xycoords=("data", "axes fraction"), xytext=(3, -11), textcoords="offset points"
            )
        axes.set(xlabel=xlabel, title=title, **axes_options)
        for axis, scale in ((axes.xaxis, axes.get_xscale()), (axes.yaxis, axes.get_yscale())):
            if scale == "log":
                plain_log_ticks(axis)
        if any(curve.name for curve in curves):
            axes.legend(fontsize=8.5)
    many[0].set_ylabel(ylabel)
    return figure


def save(figure: Figure, folder: Path, name: str) -> str:
    """Write ``name.png``, small enough for the repository; returns the file's name."""
    with matplotlib.rc_context(STYLE):
        figure.savefig(Path(folder) / f"{name}.png", dpi=DOTS_PER_INCH, metadata={"Software": None})
    return f"{name}.png"
