"""Clouds: vectors in the plane of the two leading principal axes of the reference."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from physgen.ensemble import flatten
from physgen.figures.notation import latex_units
from physgen.figures.style import GENERATED, REFERENCE, styled

if TYPE_CHECKING:
    import xarray as xr

MOST = 2000  # vectors that are drawn of each
BINS = 40


@styled
def cloud(reference: xr.Dataset, generated: xr.Dataset, names: tuple[str, str] = ("reference", "generated")) -> Figure:
    """Scatter of reference and generated vectors, side by side, and their distributions along the first axis.

    Axes are the eigenvectors of the covariance of the reference, the largest eigenvalue first; their share of the
    variance stands on them. Vectors of one component have their distribution alone. At most 2000 of each are drawn.
    """
    vectors = [flatten(one).astype(float) for one in (reference, generated)]
    centre = vectors[0].mean(0)
    _, sizes, axes = np.linalg.svd(vectors[0] - centre, full_matrices=False)
    plane = axes[:2] * np.sign(axes[:2][np.arange(len(axes[:2])), np.abs(axes[:2]).argmax(1)])[:, None]
    shares = sizes[:2] ** 2 / np.sum(sizes**2)
    placed = [(v - centre) @ plane.T for v in vectors]
    units = latex_units(reference["field"].attrs.get("units"))
    titles = [
        f"principal axis {i + 1} ({100 * s:.0f} %)" + (f" [{units}]" if units else "") for i, s in enumerate(shares)
    ]
    low, high = (f(np.concatenate(placed), axis=0) for f in (np.min, np.max))
    figure = Figure(figsize=(3.1 * (1 + len(plane)), 3.1), layout="constrained")
    panels = figure.subplots(1, 1 + len(plane), squeeze=False)[0]
    if len(plane) == 2:
        for panel, points, name, colour in zip(panels[:2], placed, names, (REFERENCE, GENERATED), strict=True):
            panel.plot(*points[:MOST].T, ".", ms=2, alpha=0.5, color=colour, rasterized=True)
            panel.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), xlabel=titles[0], ylabel=titles[1], title=name)
    else:
        panels[0].set_visible(False)
    edges = np.linspace(low[0], high[0], BINS + 1)
    for points, name, colour in zip(placed, names, (REFERENCE, GENERATED), strict=True):
        panels[-1].hist(points[:, 0], edges, density=True, histtype="step", color=colour, label=name)
    panels[-1].set(xlabel=titles[0], ylabel="probability density")
    panels[-1].legend()
    return figure
