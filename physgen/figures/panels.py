"""Rows and columns of panels at fixed places.

Margins are lengths in inches that hold the labels of every figure, so that no text is measured before it is drawn: an
engine that does (constrained layout) takes as long as the drawing itself, and a column of figures has no common edge.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

TICKS = 0.55  # inches for the tick labels of the ordinate
LINE = 0.2  # of a line of a label
RIGHT, TOP, BOTTOM = 0.14, 0.09, 0.5
GAP = 0.075  # between panels


def panel_grid(
    heights: Sequence[float],
    columns: int,
    width: float,
    label_lines: int = 1,
    title_lines: int = 0,
    gap: float = GAP,
    share_ordinate: bool = True,
) -> tuple[Figure, np.ndarray]:
    """A figure and its axes (rows, columns): columns share their abscissa, rows their ordinate.

    Args:
        heights: of the rows, inches.
        columns: how many.
        width: of each column, inches.
        label_lines: lines of the longest label of an ordinate.
        title_lines: lines above the first row.
        gap: between columns, inches.
        share_ordinate: else each panel has its own.
    """
    left, top = TICKS + LINE * label_lines + 0.04, TOP + LINE * title_lines
    size = left + columns * width + (columns - 1) * gap + RIGHT, BOTTOM + sum(heights) + (len(heights) - 1) * GAP + top
    figure = Figure(figsize=size)
    place = {
        "left": left / size[0],
        "right": 1 - RIGHT / size[0],
        "bottom": BOTTOM / size[1],
        "top": 1 - top / size[1],
        "hspace": GAP * len(heights) / sum(heights),
        "wspace": gap / width,
    }
    grid = figure.subplots(
        len(heights), columns, squeeze=False, sharex="col", sharey="row" if share_ordinate else False,
        height_ratios=list(heights), gridspec_kw=place,
    )  # fmt: skip
    for axes in grid[:, 0]:
        axes.yaxis.set_label_coords(-TICKS / width, 0.5)
    return figure, grid
