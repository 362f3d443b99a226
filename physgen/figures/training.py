"""Losses against training step and against noise level."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from physgen.figures.style import FOURTH, GENERATED, REFERENCE, THIRD, plain_log_ticks, styled


@styled
def loss_curves(
    records: Sequence[Mapping[str, Any]], names: Sequence[str] = ("train/loss",), ylabel: str = "denoising loss"
) -> Figure:
    """Losses against the training step from the records of a journal: ``{"step": ..., "metrics": {name: value}}``.

    Records without a step or without any of ``names`` are passed over.
    """
    figure = Figure(figsize=(5.2, 3.4), layout="constrained")
    axes = figure.subplots()
    for name, colour in zip(names, (GENERATED, THIRD, FOURTH, REFERENCE), strict=False):
        points = [(r["step"], r["metrics"][name]) for r in records if name in r.get("metrics", ())]
        if points:
            step, loss = np.asarray(points, dtype=float).T
            many = len(step) > 80
            axes.plot(step, loss, "-" if many else ".-", color=colour, lw=0.8 if many else 1.2, label=name)
    axes.set(xlabel="training step", ylabel=ylabel, yscale="log")
    plain_log_ticks(axes.yaxis)
    axes.legend()
    return figure


@styled
def loss_by_noise_level(
    s: np.ndarray, losses: Mapping[str, np.ndarray], ylabel: str = "denoising loss", level: float | None = None
) -> Figure:
    r"""Losses over the relative noise level s, with the clock :math:`t_{OU} = \frac12 \ln(1 + s^2)` on the upper axis.

    Args:
        s: (K,) noise levels; losses: name -> (K,) or (K, 2) with the standard error; level: a line to compare with.
    """
    figure = Figure(figsize=(5.2, 3.6), layout="constrained")
    axes = figure.subplots()
    if level is not None:
        axes.axhline(level, color=REFERENCE, lw=0.8, ls=(0, (4, 3)))
    for (name, loss), colour in zip(losses.items(), (GENERATED, THIRD, FOURTH, REFERENCE), strict=False):
        value, error = (loss[:, 0], loss[:, 1]) if np.ndim(loss) == 2 else (loss, None)
        axes.plot(s, value, "o-", color=colour, lw=1.1, label=name)
        axes.errorbar(s, value, error, fmt="none", ecolor=colour)
    axes.set(xlabel=r"relative noise level $s = \sigma/\alpha$", ylabel=ylabel, xscale="log")
    axes.margins(y=0.2)
    axes.tick_params(which="both", top=False)
    clock = axes.secondary_xaxis("top", functions=(_clock, _level_at))
    last = int(_clock(np.max(s)))
    whole = list(range(1, last + 1, 1 + last // 6))  # powers of ten where t ~ s^2/2, whole numbers where t ~ ln s
    powers = [p for p in range(-8, 0) if 10.0**p >= _clock(np.min(s))]
    clock.set_xticks([10.0**p for p in powers] + whole, labels=[f"$10^{{{p}}}$" for p in powers] + [*map(str, whole)])
    clock.tick_params(which="minor", top=False)
    clock.set_xlabel(r"$t_\mathrm{OU} = \ln(1 + s^2)\,/\,2$")
    axes.legend(frameon=True, facecolor="white", edgecolor="none", framealpha=0.85)
    return figure


def _clock(s: ArrayLike) -> np.ndarray:
    return 0.5 * np.log1p(np.square(s))


def _level_at(t_ou: ArrayLike) -> np.ndarray:
    return np.sqrt(np.expm1(2 * np.asarray(t_ou, dtype=float)))
