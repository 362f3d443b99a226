"""Figures: the only place that imports matplotlib.

One function draws every curve. Labels, symbols, units and log scales come from the attrs of the results,
conditions and the scale bar from the coordinates of the ensembles: nothing here knows which physics it
draws. Every function returns a matplotlib ``Figure`` of its own, without pyplot and its global state.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from physgen.lazy import attach

if TYPE_CHECKING:
    from physgen.figures.clouds import cloud as cloud
    from physgen.figures.control_variate import combined_estimates as combined_estimates
    from physgen.figures.crossing import size_crossings as size_crossings
    from physgen.figures.curves import curve_comparison as curve_comparison
    from physgen.figures.drawing import save_figures as save_figures
    from physgen.figures.laws import densities as densities
    from physgen.figures.laws import paths as paths
    from physgen.figures.laws import planes as planes
    from physgen.figures.matrices import correlation_matrices as correlation_matrices
    from physgen.figures.measured import measured_and_true as measured_and_true
    from physgen.figures.notation import format_value as format_value
    from physgen.figures.overlay import curve_overlay as curve_overlay
    from physgen.figures.pairs import nearest_pairs as nearest_pairs
    from physgen.figures.posterior import coverage_panel as coverage_panel
    from physgen.figures.posterior import posterior_panel as posterior_panel
    from physgen.figures.result import result_figure as result_figure
    from physgen.figures.row import curve_row as curve_row
    from physgen.figures.stamps import differing_conditions as differing_conditions
    from physgen.figures.stamps import gallery as gallery
    from physgen.figures.statistics import memorization_panel as memorization_panel
    from physgen.figures.style import label as label
    from physgen.figures.style import save_figure as save_figure
    from physgen.figures.training import loss_by_noise_level as loss_by_noise_level
    from physgen.figures.training import loss_curves as loss_curves
    from physgen.figures.value import Value as Value

__getattr__, __dir__, __all__ = attach(__name__, __file__)
