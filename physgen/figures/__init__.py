"""Figures: the only place that imports matplotlib.

One function draws every curve. Labels, symbols, units and log scales come from the attrs of the results,
conditions and the scale bar from the coordinates of the ensembles: nothing here knows which physics it
draws. Every function returns a matplotlib ``Figure`` of its own, without pyplot and its global state.
"""

from physgen.figures.curves import curve_comparison
from physgen.figures.stamps import differing_conditions, gallery
from physgen.figures.statistics import memorization_panel
from physgen.figures.style import label, save_figure
from physgen.figures.training import loss_by_noise_level, loss_curves

__all__ = [
    "curve_comparison", "differing_conditions", "gallery", "label",
    "loss_by_noise_level", "loss_curves", "memorization_panel", "save_figure",
]  # fmt: skip
