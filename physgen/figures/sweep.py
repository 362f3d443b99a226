"""Times of a training against the number of training data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from physgen.figures.style import FOURTH, GENERATED, REFERENCE, THIRD, plain_log_ticks, styled

if TYPE_CHECKING:
    import xarray as xr

COLOURS = (GENERATED, THIRD, FOURTH, REFERENCE)


@styled
def times_against_n(times: Mapping[str, xr.Dataset]) -> Figure:
    r"""When networks memorise (full points) and when they generalise (open ones) against n, with the laws of theory.

    Args:
        times: group -> Dataset over ``run`` with ``n``, ``tau_mem``, ``tau_gen`` and their ``_error``; where a law was
            fitted, ``law``, ``low`` and ``high`` over ``at``, and ``exponent``.

    Returns:
        One panel: the fitted :math:`\tau_{mem} = a n^b` as a line, the interval of one further run as a band, the slope
        1 of theory dashed through the middle of the points, the mean :math:`\tau_{gen}`, which theory has independent
        of n, dotted.
    """
    figure = Figure(figsize=(5.4, 3.9), layout="constrained")
    axes = figure.subplots()
    axes.set(xscale="log", yscale="log", xlabel="training configurations $n$", ylabel=r"training time $\tau$ [steps]")
    sizes = np.concatenate([one[name].values for one in times.values() for name in ("n", "at") if name in one])
    axes.set_xlim(sizes.min() / 1.5, 1.5 * sizes.max())  # a single n has no range of its own
    for (group, one), colour in zip(times.items(), COLOURS * len(times), strict=False):
        words = f" ({group})" if group else ""
        for name, filled, symbol in (("tau_mem", True, "mem"), ("tau_gen", False, "gen")):
            n, value, error = one["n"].values, one[name].values, one[f"{name}_error"].values
            axes.errorbar(
                n, value, np.nan_to_num(error), fmt="o", ms=4, color=colour, mfc=colour if filled else "white",
                label=rf"$\tau_\mathrm{{{symbol}}}${words}",
            )  # fmt: skip
        if np.isfinite(one["tau_gen"]).any():
            axes.axhline(float(np.exp(np.log(one["tau_gen"]).mean())), color=colour, lw=0.8, ls=":")
        if "law" in one:
            _law(axes, one, colour)
    for axis in (axes.xaxis, axes.yaxis):
        plain_log_ticks(axis)
    axes.legend(fontsize=9)
    return figure


def _law(axes: Axes, one: xr.Dataset, colour: str) -> None:
    at, law = one["at"].values, one["law"].values
    label = f"$n^{{{float(one['exponent']):.2f}}}$"
    if np.isfinite(one["exponent_error"]):
        label = rf"$n^{{{float(one['exponent']):.2f} \pm {float(one['exponent_error']):.2f}}}$"
    axes.plot(at, law, color=colour, lw=1.2, label=label)
    if np.isfinite(one["low"]).all():
        axes.fill_between(at, one["low"], one["high"], color=colour, alpha=0.12, lw=0)
    known = np.isfinite(one["tau_mem"].values)
    centre = np.exp(np.log(one["n"].values[known]).mean()), np.exp(np.log(one["tau_mem"].values[known]).mean())
    axes.plot(at, centre[1] * at / centre[0], color=REFERENCE, lw=0.8, ls=(0, (4, 3)))
