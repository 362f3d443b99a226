"""Likelihoods of configurations, and what the bounds of the generative chain are made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from physgen.figures.notation import mathtext_value
from physgen.figures.style import FOURTH, GENERATED, REFERENCE, THIRD, styled

if TYPE_CHECKING:
    import xarray as xr

LINES = (GENERATED, FOURTH, REFERENCE, "#cc79a7", "#e69f00")


@styled
def likelihood_panel(values: xr.Dataset, others: Mapping[str, xr.Dataset] | None = None) -> Figure:
    """Bits per dimension of each configuration, and of the chain what is paid at each level and the growth with paths.

    Args:
        values: ``bits_per_dimension`` and ``bits_error`` over sample dims.
        others: ``steps`` over level and ``growth`` over paths, where there are any, and ``estimates`` over estimate.

    Returns:
        Above: each configuration with its error, in order, and their histogram. Below: nats paid at each level and so
        far, from the prior on the left on, and the reconstruction in words; the path-weight bound less the variational
        one against the number of paths, other estimates as lines, all differences paired, with standard errors over
        independent units.
    """
    further = others or {}
    rows = 2 if "steps" in further else 1
    figure = Figure(figsize=(6.4, 3.1 * rows), layout="constrained")
    axes = np.atleast_2d(figure.subplots(rows, 2, width_ratios=(3, 2 if rows == 2 else 1)))
    _configurations(axes[0], values)
    if rows == 2:
        _paid(axes[1, 0], further["steps"])
        _growth(axes[1, 1], further["growth"], further["estimates"])
    return figure


def _configurations(axes: np.ndarray, values: xr.Dataset) -> None:
    left, right = axes
    right.sharey(left)
    bits, error = (values[name].values.reshape(-1) for name in ("bits_per_dimension", "bits_error"))
    left.errorbar(np.arange(len(bits)), bits, error, fmt="o", ms=2.5, lw=0.8, color=GENERATED)
    left.axhline(bits.mean(), color=REFERENCE, lw=0.8, ls=":")
    what = "encoded field" if values.attrs.get("s_min") else "configuration"
    left.set(xlabel="configuration", ylabel=f"bits per dimension, {what}")
    right.hist(bits, min(30, max(5, len(bits) // 4)), orientation="horizontal", color=GENERATED, alpha=0.5)
    right.tick_params(labelleft=False)
    right.set_xlabel("count")


def _paid(axes: Axes, steps: xr.Dataset) -> None:
    """The rate. Levels stand in their order; the reconstruction, of another size and sign, is said in words."""
    place, level = np.arange(steps.sizes["level"] - 1), steps["level"].values
    paid, error = steps["paid"].values, steps["paid_error"].values
    axes.bar(place, paid[:-1], 0.8, color=GENERATED, alpha=0.6)
    axes.errorbar(place, paid[:-1], error[:-1], fmt="none", elinewidth=0.7, ecolor=REFERENCE)
    axes.set(xlabel="down to level", ylabel="paid at this level, nats")
    shown = np.unique(np.linspace(0, len(place) - 1, 5).round().astype(int))
    axes.set_xticks(place[shown], [f"{level[i]:.2g}" for i in shown])
    total = axes.twinx()
    total.errorbar(
        place, steps["so_far"].values[:-1], steps["so_far_error"].values[:-1], color=THIRD, lw=1.2, elinewidth=0.6
    )
    total.set_ylabel("paid so far, nats", color=THIRD)
    said = f"reconstruction: {mathtext_value(paid[-1], error[-1])} nats"
    axes.text(0.04, 0.94, said, transform=axes.transAxes, va="top", fontsize=9)


def _growth(axes: Axes, growth: xr.Dataset, estimates: xr.Dataset) -> None:
    axes.errorbar(
        growth["paths"].values, growth["gain"].values, growth["gain_error"].values, fmt="o-", ms=3, color=THIRD,
        label="path",
    )  # fmt: skip
    others = [i for i, name in enumerate(estimates["estimate"].values) if name not in ("vlb", "path")]
    for i, colour in zip(others, LINES, strict=False):
        mean, error = float(estimates["less_variational"][i]), float(estimates["less_variational_error"][i])
        axes.axhline(mean, color=colour, lw=1, ls="--", label=str(estimates["estimate"].values[i]))
        if np.isfinite(error):
            axes.axhspan(mean - error, mean + error, color=colour, alpha=0.12, lw=0)
    axes.set_xscale("log", base=2)
    axes.set(xlabel="paths K", ylabel="ln p less the VLB, nats")
    axes.legend(fontsize=8)
