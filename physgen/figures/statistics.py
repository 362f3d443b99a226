"""The panel that looks for memorization."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from physgen.figures.notation import mathtext_value
from physgen.figures.style import GENERATED, REFERENCE, abscissa, label, styled

if TYPE_CHECKING:
    import xarray as xr


@styled
def memorization_panel(found: xr.Dataset, names: tuple[str, str] = ("held-out data", "generated")) -> Figure:
    """Similarity to the nearest training configuration, and the gap d1/d2 to the second nearest.

    Held-out configurations, against the same training set, are the null: a copying model stands to the right of them
    on the left panel and near 0 on the right one.

    Args:
        found: Dataset of :func:`physgen.diagnostics.memorization`.
        names: of the held-out and of the generated configurations.
    """
    figure = Figure(figsize=(7.6, 3.3), layout="constrained")
    left, right = figure.subplots(1, 2)
    x = abscissa(found["value"])
    for value, error, colour, name in (
        (found["heldout"], found["heldout_error"], REFERENCE, names[0]),
        (found["value"], found["error"], GENERATED, names[1]),
    ):
        left.fill_between(x, value - error, value + error, step="mid", color=colour, alpha=0.2, lw=0)
        left.plot(x, value, drawstyle="steps-mid", color=colour, label=name)
    left.axvline(float(found["null_quantile"]), color="#777777", lw=0.9, ls=(0, (4, 3)))
    top = float(np.maximum(found["value"], found["heldout"]).max())
    left.set(xlabel=label(found[found["value"].dims[0]]), ylabel=label(found["value"]), ylim=(0, 1.45 * top))
    auc = mathtext_value(float(found["auc"]), float(found["auc_error"]))
    left.text(0.04, 0.95, f"AUC = {auc}\nequal laws: 0.5", transform=left.transAxes, va="top", fontsize=10)
    left.legend(loc="upper right")
    edges = np.linspace(0, 1, 26)
    for source, colour in (("held_out_gap", REFERENCE), ("generated_gap", GENERATED)):
        share = np.histogram(found[source].values, edges)[0] / found.sizes[found[source].dims[0]]
        right.stairs(share, edges, color=colour, lw=1.3)
    right.set(xlabel="gap $d_1/d_2$, nearest over second nearest", ylabel="share of configurations", xlim=(0, 1))
    return figure
