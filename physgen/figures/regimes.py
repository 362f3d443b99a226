"""Figures of the dynamical regimes: each takes the results by name and draws those that it needs.

The vertical or horizontal axis of time is that of the Ornstein-Uhlenbeck process throughout.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from physgen.figures.film import film_strip
from physgen.figures.notation import mathtext_value
from physgen.figures.statistics import memorization_panel
from physgen.figures.style import FOURTH, GENERATED, REFERENCE, THIRD, styled

if TYPE_CHECKING:
    import xarray as xr

Results = Mapping[str, "xr.Dataset"]
SHORT = {
    "f_mem": "$d_1/d_2 < 1/3$", "f_mem_half": "$d_1/d_2 < 1/2$", "f_mem_quarter": "$d_1/d_2 < 1/4$",
    "authenticity": "authenticity", "Y2": "$Y_2$", "auc": "AUC of $d_1$", "ks": "KS of $d_1$",
}  # fmt: skip
TIME = r"time $t$ (Ornstein-Uhlenbeck)"
SHADES = {"trivial": "#f3f1ec", "speciated": "#dcebf5", "collapsed": "#f6ddcf"}
DASHED = (0, (5, 3))


@styled
def phase_diagram(results: Results) -> Figure:
    """t against alpha = ln n / d: the lines t_S and t_C(alpha) of the Gaussian law, and t_C on nested subsets.

    Args:
        results: ``subsets`` over ``samples`` (alpha, value = t_C, error), ``boundary`` over ``alpha`` (value = t_C of
            the Gaussian law with the symmetries of the data), ``speciation`` (t_S, t_S_error, t_S_exact).
    """
    points, line, speciation = results["subsets"], results["boundary"], results["speciation"]
    t_s, t_s_error = (float(speciation[name]) for name in ("t_S", "t_S_error"))
    figure = Figure(figsize=(6.6, 4.5), layout="constrained")
    axes = figure.subplots()
    alpha, t_c = line["alpha"].values, line["value"].values
    measured, error = points["value"].values, points["error"].values
    top = 1.25 * float(
        np.nanmax([t_s, np.nanmax(measured, initial=0.1), np.nanmax(t_c[alpha >= alpha[0]], initial=0.1)])
    )
    ceiling = np.full_like(alpha, max(t_s, 0.0))
    axes.fill_between(alpha, np.maximum(t_c, ceiling), top, color=SHADES["trivial"], lw=0)
    axes.fill_between(alpha, t_c, ceiling, where=t_c < ceiling, color=SHADES["speciated"], lw=0)
    axes.fill_between(alpha, 0, t_c, color=SHADES["collapsed"], lw=0)
    axes.plot(alpha, t_c, color=THIRD, label=r"$t_C$ of the Gaussian law")
    axes.axhline(t_s, color=GENERATED, label=r"$t_S = \frac{1}{2}\ln\Lambda$ = " + mathtext_value(t_s, t_s_error))
    axes.axhline(
        float(speciation["t_S_exact"]), color=GENERATED, lw=0.9, ls=DASHED, label=r"$\frac{1}{2}\ln(1+\Lambda)$"
    )
    axes.errorbar(
        points["alpha"], measured, np.nan_to_num(error), fmt="o", color=REFERENCE, mfc="white", ms=5,
        label="$t_C$ measured on subsets",
    )  # fmt: skip
    axes.plot(
        points["alpha"][-1],
        measured[-1],
        "o",
        color=REFERENCE,
        ms=6,
        zorder=4,
        label=f"all {int(points['samples'][-1])} samples",
    )
    for name, height in (("trivial", 0.5 * (max(t_s, np.nanmax(t_c)) + top)), ("collapsed", 0.06 * top)):
        axes.text(0.985, height / top, name, transform=axes.transAxes, ha="right", va="center", style="italic")
    place = float(np.nanmean([t_s, np.nanmin(t_c)]))
    if t_s > 1.15 * np.nanmin(t_c):
        axes.text(0.985, place / top, "speciated", transform=axes.transAxes, ha="right", va="center", style="italic")
    axes.set(xlabel=r"excess exponent $\alpha = \ln n\,/\,d$", ylabel=TIME, xlim=(alpha[0], alpha[-1]), ylim=(0, top))
    count = axes.secondary_xaxis("top")
    shown = _powers(points, line)
    count.set_xticks([np.log(n) / float(points.attrs["d"]) for n in shown], labels=[f"{n:g}" for n in shown])
    count.tick_params(which="minor", top=False)
    count.set_xlabel("samples $n$")
    axes.tick_params(which="both", top=False)
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0.0)
    return figure


def _powers(points: xr.Dataset, line: xr.Dataset) -> list[int]:
    """Powers of two or ten that the axis of alpha spans."""
    low, high = (np.exp(float(line["alpha"][i]) * float(points.attrs["d"])) for i in (0, -1))
    base = 2 if high / low < 300 else 10
    return [base**k for k in range(0, 60) if low <= base**k <= high]


@styled
def collapse(results: Results) -> Figure:
    """Excess entropy f(t) and participation Y2(t) of the samples, each with its theory where that is known."""
    found = results["collapse"]
    figure = Figure(figsize=(8.2, 3.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    t, t_c, error = found["t"].values, float(found["t_C_crossing"]), float(found["t_C_crossing_error"])
    left.axhline(0, color="#999999", lw=0.8)
    _points(left, t, found["held_out"], found["held_out_error"], REFERENCE, "samples")
    if found.attrs["value_from"] == "known density":
        _points(left, t, found["value"], found["error"], GENERATED, "law")
    if "theory" in found:
        left.plot(t, found["theory"], color=THIRD, label="Gaussian law")
    total = float(found.attrs.get("alpha_orbit", found.attrs.get("alpha", np.nan)))
    if np.isfinite(total):
        left.axhline(total, color="#777777", lw=0.8, ls=DASHED)
    left.set(xlabel=TIME, ylabel=r"excess entropy $f(t)$, per dimension")
    for name, text, colour in (
        ("order_parameter", "samples", REFERENCE),
        ("order_parameter_images", "their images", FOURTH),
    ):
        if name == "order_parameter" or int(found.attrs["orbit_size"]) > 1:
            _points(right, t, found[name], found[f"{name}_error"], colour, text)
    right.set(xlabel=TIME, ylabel=r"participation $Y_2(t)$", ylim=(-0.03, 1.05))
    for axes in (left, right):
        _mark(axes, t_c, error, THIRD, "$t_C$ = " + mathtext_value(t_c, error))
        axes.legend()
    return figure


@styled
def cloning(results: Results) -> Figure:
    """Probability phi(t) to stay in the class: U-turns and clones of a model, and what two laws would show."""
    found = results["cloning"]
    figure = Figure(figsize=(5.6, 3.8), layout="constrained")
    axes = figure.subplots()
    t = found["t"].values
    for name, text, colour, style in (
        ("mixture", "two Gaussian classes", THIRD, "-"),
        ("gaussian", "one Gaussian, cut in two", FOURTH, DASHED),
    ):
        if name in found:
            axes.plot(found["t_line"], found[name], color=colour, ls=style, label=text)
    for name, text, colour in (
        ("samples", "posterior of the samples", "#999999"),
        ("exact", "U-turn, exact score", REFERENCE),
        ("u_turn", "U-turn, model", GENERATED),
        ("clone", "clones, model", "#cc79a7"),
    ):
        if name in found:
            at = found["t_exact"].values if name == "exact" else t
            _points(axes, at, found[name], found[f"{name}_error"], colour, text)
    if "t_S" in found:
        _mark(axes, float(found["t_S"]), np.nan, GENERATED, "$t_S$")
    axes.set(xlabel=TIME, ylabel=r"same class again, $\phi(t)$", ylim=(0.42, 1.03))
    axes.legend()
    return figure


@styled
def information(results: Results) -> Figure:
    """Information on the class that the noisy state holds, in nats."""
    found = results["information"]
    figure = Figure(figsize=(5.6, 3.6), layout="constrained")
    axes = figure.subplots()
    t = found["t"].values
    _points(axes, t, found["value"], found["error"], REFERENCE, "samples")
    if "theory" in found:
        axes.plot(found["t_line"], found["theory"], color=THIRD, label="two Gaussian classes")
    axes.set(xlabel=TIME, ylabel="information on the class [nats]")
    if "t_S" in results["speciation"]:
        _mark(axes, float(results["speciation"]["t_S"]), np.nan, GENERATED, "$t_S$")
    axes.legend()
    return figure


@styled
def loss_gap(results: Results) -> Figure:
    """Loss of training and of unseen samples by time; below, their relative difference."""
    found = results["loss_gap"]
    figure = Figure(figsize=(5.6, 4.4), layout="constrained")
    main, below = figure.subplots(2, 1, sharex=True, height_ratios=[2, 1])
    t = found["t"].values
    for name, text, colour in (("train", "training samples", THIRD), ("heldout", "unseen samples", REFERENCE)):
        _points(main, t, found[name], found[f"{name}_error"], colour, text)
    main.set(ylabel="loss per number", yscale="log", xscale="log")
    main.legend()
    below.axhline(0, color="#999999", lw=0.8)
    _points(below, t, found["value"], found["error"], GENERATED, "")
    below.set(xlabel=TIME, ylabel="unseen / training − 1", xscale="log")
    figure.align_ylabels()
    return figure


@styled
def dynamics(results: Results) -> Figure:
    """What the monitor of the training saw, against effective steps, with tau_gen and tau_mem where they were found."""
    found = results["dynamics"]
    curves = [
        str(name) for name in found.data_vars if found[name].dims == ("step",) and not str(name).endswith("_error")
    ]
    figure = Figure(figsize=(5.8, 1.2 + 1.35 * max(len(curves), 1)), layout="constrained")
    panels = figure.subplots(len(curves), 1, sharex=True, squeeze=False)[:, 0]
    for axes, name in zip(panels, curves, strict=True):
        error = found[f"{name}_error"] if f"{name}_error" in found else found[name] * np.nan
        _points(axes, found["effective_steps"].values, found[name], error, REFERENCE, "")
        axes.set_ylabel(str(found[name].attrs.get("long_name", name.replace("_", " "))), fontsize=10)
        for mark, colour in (("tau_gen", FOURTH), ("tau_mem", THIRD)):
            if mark in found and np.isfinite(float(found[mark])):
                _mark(axes, float(found[mark]), np.nan, colour, rf"$\tau_\mathrm{{{mark[4:]}}}$")
    if curves:
        panels[-1].set(xlabel=r"training time $\tau$ [effective steps]", xscale="log")
        panels[0].legend()
    return figure


@styled
def copies(results: Results) -> Figure:
    """Each measure of copying on the drawn samples beside held-out ones, and where it would call the model memorizing.

    The z score C_T, which has another scale, is left to the table.
    """
    found = results["copies"]
    found = found.sel(metric=[name for name in found["metric"].values if name != "C_T"])
    names = [str(name) for name in found["metric"].values]
    figure = Figure(figsize=(6.4, 1.0 + 0.36 * len(names)), layout="constrained")
    axes = figure.subplots()
    place = np.arange(len(names))[::-1]
    axes.plot(found["heldout"], place, "D", color=REFERENCE, mfc="white", ms=5, label="held-out data")
    bars = np.nan_to_num(found["error"].values)
    axes.errorbar(found["value"], place, xerr=bars, fmt="o", color=GENERATED, label="drawn")
    inside = np.where((found["threshold"] >= 0) & (found["threshold"] <= 1), found["threshold"], np.nan)
    axes.plot(inside, place, "|", color=THIRD, ms=13, mew=1.6, label="beyond: called memorizing")
    axes.set_yticks(place, labels=[SHORT.get(name, name) for name in names])
    axes.tick_params(axis="y", which="minor", left=False, right=False)
    axes.set(xlabel="part of the samples, or probability", xlim=(-0.03, 1.03), ylim=(-0.6, len(names) - 0.4))
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0.0)
    return figure


def memorization(results: Results) -> Figure:
    """Similarity to the nearest training sample, of drawn and of held-out samples."""
    return memorization_panel(results["memorization"])


def _points(axes: Axes, t: np.ndarray, value: xr.DataArray, error: xr.DataArray, colour: str, text: str) -> None:
    axes.plot(t, value, color=colour, lw=0.8, alpha=0.5)
    axes.errorbar(t, value, np.nan_to_num(np.asarray(error)), fmt="o", color=colour, elinewidth=1.0, label=text or None)


def _mark(axes: Axes, place: float, error: float, colour: str, text: str) -> None:
    """A vertical line at a time, with a band of its standard error."""
    if not np.isfinite(place):
        return
    axes.axvline(place, color=colour, lw=1.0, ls=DASHED, label=text)
    if np.isfinite(error):
        axes.axvspan(place - error, place + error, color=colour, alpha=0.12, lw=0)


DRAWINGS: dict[str, tuple[Callable[[Results], Figure], tuple[str, ...]]] = {
    "phase_diagram": (phase_diagram, ("subsets", "boundary", "speciation")),
    "film_strip": (film_strip, ("film_strip",)),
    "collapse": (collapse, ("collapse",)),
    "cloning": (cloning, ("cloning",)),
    "information": (information, ("information", "speciation")),
    "loss_gap": (loss_gap, ("loss_gap",)),
    "memorization": (memorization, ("memorization",)),
    "copies": (copies, ("copies",)),
    "dynamics": (dynamics, ("dynamics",)),
}
