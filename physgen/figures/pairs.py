"""Configurations beside the training configuration that is nearest, after the move that brings them together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from physgen.figures.style import label, styled

if TYPE_CHECKING:
    import xarray as xr

STAMP, GAP, LEFT, TOP = 1.15, 0.05, 0.75, 0.5  # inches
COLUMNS = ("configuration", "nearest in training,\nmoved", "difference")


@styled
def nearest_pairs(found: xr.Dataset) -> Figure:
    r"""Rows of (configuration, its nearest training configuration after the best move, difference) of each kind.

    All stamps have one colour scale, in standard deviations of each map about its own mean. A copy has an empty
    difference; two maps of equal law that are unrelated have one of :math:`\sqrt 2` times their scatter.

    Args:
        found: Dataset of :func:`physgen.diagnostics.memorization`: ``pair_field`` (kind, pair, side, \*grid),
            ``pair_similarity`` (kind, pair), names of the kinds in the coordinate ``kind``.
    """
    kinds, count = [str(kind) for kind in found["kind"].values], found.sizes["pair"]
    stamps = found["pair_field"].values
    while stamps.ndim > 5:  # a box shows its central slice
        stamps = stamps[..., stamps.shape[-3] // 2, :, :]
    columns = 3 * len(kinds)
    between = 3 * GAP
    size = LEFT + columns * (STAMP + GAP) + between * (len(kinds) - 1), TOP + count * (STAMP + GAP) + 0.08
    figure = Figure(figsize=size)
    for k, kind in enumerate(kinds):
        for row in range(count):
            one, other = stamps[k, row]
            for c, values in enumerate((one, other, one - other)):
                x = LEFT + (3 * k + c) * (STAMP + GAP) + k * between
                y = size[1] - TOP - (row + 1) * (STAMP + GAP) + GAP
                axes = figure.add_axes((x / size[0], y / size[1], STAMP / size[0], STAMP / size[1]))
                axes.imshow(np.atleast_2d(values), cmap="RdBu_r", vmin=-3, vmax=3, origin="lower")
                axes.set(xticks=[], yticks=[])
                axes.minorticks_off()
                if row == 0:
                    axes.set_title(kind if c == 0 else COLUMNS[c], fontsize=9.5)
                if c == 1:
                    said = f"{float(found['pair_similarity'][k, row]):.3f}"
                    axes.text(0.03, 0.04, said, transform=axes.transAxes, fontsize=8.5, bbox=BOX)
    figure.text(0.02, 0.5, label(found["pair_field"]), rotation=90, va="center", fontsize=9.5)
    return figure


BOX = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none", "alpha": 0.8}
