"""Posteriors of fields: what was observed, the truth, draws and their scatter; coverage by cells and by modes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from physgen.figures.stamps import _colour_scale, _scale_bar, origin_of
from physgen.figures.style import FOURTH, GENERATED, REFERENCE, THIRD, label, styled

if TYPE_CHECKING:
    import xarray as xr


@styled
def posterior_panel(posterior: xr.Dataset, truth: xr.Dataset | None = None, number: int = 0, draws: int = 3) -> Figure:
    """Observation, truth (where it is known), draws of the posterior on one scale, and the scatter of all of them.

    Args:
        posterior: an ensemble with the dim ``draw`` and the variable ``observation``. number: which observation.
        draws: how many are shown.
    """
    samples = [d for d in posterior["field"].dims if d in posterior["observation"].dims and d not in ("z", "y", "x")]
    first = samples[:1]
    one = posterior.isel({d: number if d in first else 0 for d in samples if d != "component"})
    one = one.isel(component=0) if "component" in one["field"].dims else one
    seen = one["observation_seen"].values == 1
    shown = [("observation", _slice(np.where(seen, one["observation"].values, np.nan)))]
    if truth is not None:
        field = truth["field"].isel({d: number if d in first else 0 for d in samples if d in truth["field"].dims})
        shown.append(("truth", _slice(field.values)))
    every = np.stack([_slice(field) for field in one["field"].transpose("draw", ...).values])
    shown += [(f"draw {i + 1}", every[i]) for i in range(min(draws, len(every)))]
    name, colours, norm, _ = _colour_scale(posterior, np.stack([every[0], every[-1]]))
    offset = float(posterior["field"].attrs.get("display_offset", 0.0))
    figure = Figure(
        figsize=(1.55 * (len(shown) + 1) + 1.4, 2.2),
        layout=ConstrainedLayoutEngine(h_pad=0.03, w_pad=0.03, hspace=0.0, wspace=0.0),
    )
    grid = figure.subplots(1, len(shown) + 1)
    for axes, (title, values) in zip(grid, shown, strict=False):
        image = axes.imshow(offset + values, cmap=colours, norm=norm, origin=origin_of(posterior))
        axes.set_title(title, fontsize=10)
    scatter = np.log(np.maximum(offset + every, 1e-3)) if offset else every
    spread = grid[-1].imshow(scatter.std(0, ddof=1), cmap="viridis", origin=origin_of(posterior))
    grid[-1].set_title("scatter", fontsize=10)
    for axes in grid:
        axes.set(xticks=[], yticks=[])
        axes.minorticks_off()
        axes.set_facecolor("#c8c8c8")
    figure.colorbar(image, ax=list(grid[:-1]), label=name, shrink=0.85, pad=0.01, aspect=22)
    unit = f"std of ln({offset:g} + {label(posterior['field'], short=True)})" if offset else "std"
    figure.colorbar(spread, ax=grid[-1], label=unit, shrink=0.85, pad=0.02, aspect=22)
    _scale_bar(grid[len(shown) - 1], posterior)
    return figure


@styled
def coverage_panel(found: xr.Dataset) -> Figure:
    """Ranks of cells, coverage of modes by wavenumber, and the correlation with the truth.

    ``found`` is what :func:`physgen.diagnostics.posterior_coverage.posterior_coverage` gave.
    """
    figure = Figure(figsize=(9.6, 2.9), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    left.stairs(found["ranks"].values, np.linspace(0, 1, len(found["ranks"]) + 1), color=GENERATED)
    left.axhline(1, color=REFERENCE, lw=0.8, ls="--")
    left.set(xlabel="rank of the truth", ylabel="density of ranks (cells)", ylim=(0, None), xlim=(0, 1))
    k = found["k"].values
    for i, colour in enumerate((GENERATED, THIRD, FOURTH)):
        nominal = float(found["level"][i])
        line = middle.errorbar(
            k[1:], found["mode_value"][i, 1:], found["mode_error"][i, 1:], fmt="o", color=colour, ms=3, lw=0.9
        )
        middle.axhline(nominal, color=colour, lw=0.8, ls="--")
        line.set_label(f"{100 * nominal:.0f} %")
    middle.set(xlabel=label(found["k"]), ylabel="coverage of modes", ylim=(0, 1.02))
    middle.legend(ncols=3, fontsize=9, loc="lower center")
    for name, colour, text in (("mean", GENERATED, "posterior mean"), ("draw", THIRD, "a draw")):
        value, error = found[f"{name}_correlation"].values[1:], found[f"{name}_correlation_error"].values[1:]
        right.errorbar(k[1:], value, error, color=colour, label=text, lw=1.1)
    right.axhline(0, color=REFERENCE, lw=0.6)
    right.set(xlabel=label(found["k"]), ylabel="correlation with the truth $r(k)$", ylim=(-0.1, 1.05))
    right.legend(fontsize=9)
    return figure


def _slice(values: np.ndarray) -> np.ndarray:
    """The central slice of a 3-D field."""
    values = np.asarray(values, dtype=float)
    while values.ndim > 2:
        values = values[len(values) // 2]
    return np.atleast_2d(values)
