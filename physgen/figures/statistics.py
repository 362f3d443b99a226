"""Correlation matrices of the bins, and the panel that looks for memorization."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from physgen.figures.style import abscissa, label, plain_log_ticks, styled

if TYPE_CHECKING:
    import xarray as xr


@styled
def correlation_matrices(
    reference: xr.Dataset, generated: xr.Dataset, names: tuple[str, str] = ("reference", "generated")
) -> Figure:
    """Correlation of the bins between independent units, reference beside generated, one scale from -1 to 1.

    Both come from ``per_unit`` (pseudo-values for non-linear estimators); of further dims the first entry is shown.
    """
    figure = Figure(figsize=(7.2, 3.4), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    name_of_bins = label(reference[reference["value"].dims[-1]])
    for axes, result, name in zip(panels, (reference, generated), names, strict=True):
        per_unit = result["per_unit"].isel({d: 0 for d in result["value"].dims[:-1]})
        with np.errstate(invalid="ignore", divide="ignore"):
            matrix = np.corrcoef(per_unit.transpose("unit", ...).values, rowvar=False)
        x = abscissa(per_unit)
        image = axes.pcolormesh(x, x, matrix, cmap="RdBu_r", vmin=-1, vmax=1, shading="nearest", rasterized=True)
        axes.set(xlabel=name_of_bins, aspect="equal", title=f"{name}, {result.sizes['unit']} units")
        if result[result["value"].dims[-1]].attrs.get("scale") == "log":
            axes.set(xscale="log", yscale="log")
            plain_log_ticks(axes.xaxis)
            plain_log_ticks(axes.yaxis)
        axes.tick_params(which="both", direction="out", top=False, right=False)
    panels[0].set_ylabel(name_of_bins)
    figure.colorbar(image, ax=panels, label="correlation coefficient", shrink=0.9, pad=0.02)
    return figure
