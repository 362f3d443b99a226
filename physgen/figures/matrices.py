"""Correlation matrices of two ensembles, and their difference in standard errors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.colors import BoundaryNorm
from matplotlib.figure import Figure

from physgen.figures.style import label, styled

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

SIGMAS = (-5, -4, -3, -2, -1, 1, 2, 3, 4, 5)  # edges of the colours of a difference
PANEL, LEFT, BOTTOM, BAR = 2.7, 0.75, 0.75, 0.12  # inches
MOST_TICKS = 6


@styled
def correlation_matrices(
    reference: xr.Dataset,
    generated: xr.Dataset,
    comparison: xr.Dataset,
    names: tuple[str, str] = ("reference", "generated"),
) -> Figure:
    """Correlations of the reference below the diagonal, generated ones above it; beside, the difference in sigma.

    Args:
        reference, generated: results over pairs whose attribute ``matrix`` names the variables of row and column, such
            as :func:`physgen.diagnostics.covariance.power_covariance`.
        comparison: of the two; its ``z`` is the difference over its standard error, drawn on both sides.
        names: of the two ensembles.
    """
    row, column = (reference[name].values for name in str(reference.attrs["matrix"]).split())
    points = np.unique(np.concatenate([row, column]))
    i, j = np.searchsorted(points, row), np.searchsorted(points, column)
    both, pull = np.eye(len(points)), np.full((len(points), len(points)), np.nan)
    both[j, i], both[i, j] = reference["value"].values, generated["value"].values
    pull[j, i] = pull[i, j] = comparison["z"].values
    size = 2 * (LEFT + PANEL + BAR + 0.5), BOTTOM + PANEL + 0.3
    figure = Figure(figsize=size)
    left = _panel(figure, 0, size)
    image = left.imshow(both, cmap="RdBu_r", vmin=-1, vmax=1)
    _bar(figure, left, image, str(label(reference["value"], short=True)))
    left.set_title(f"{names[0]} below, {names[1]} above", fontsize=10.5)
    right = _panel(figure, 1, size)
    image = right.imshow(pull, cmap="RdBu_r", norm=BoundaryNorm(SIGMAS, 256, extend="both"))
    _bar(figure, right, image, r"difference [$\sigma$]")
    right.set_title(f"{names[1]} less {names[0]}", fontsize=10.5)
    for axes in (left, right):
        _name_points(axes, points, label(reference[str(reference.attrs["matrix"]).split()[0]]))
    return figure


def _panel(figure: Figure, place: int, size: tuple[float, float]) -> Axes:
    x = place * size[0] / 2 + LEFT
    return figure.add_axes((x / size[0], BOTTOM / size[1], PANEL / size[0], PANEL / size[1]))


def _bar(figure: Figure, axes: Axes, image: object, title: str) -> None:
    box = axes.get_position()
    width = BAR / figure.get_figwidth()
    side = figure.add_axes((box.x1 + width / 2, box.y0, width, box.height))
    bar = figure.colorbar(image, cax=side, label=title)  # type: ignore[arg-type]
    bar.ax.minorticks_off()


def _name_points(axes: Axes, points: np.ndarray, title: str) -> None:
    axes.minorticks_off()
    axes.tick_params(which="both", length=0)
    chosen = np.unique(np.linspace(0, len(points) - 1, min(MOST_TICKS, len(points))).round().astype(int))
    words = [f"{points[c]:.2g}" for c in chosen]
    axes.set_xticks(chosen, words)
    axes.set_yticks(chosen, words)
    axes.set(xlabel=title, ylabel=title)
