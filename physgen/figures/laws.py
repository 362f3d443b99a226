"""Samples beside the density of their law: histograms of one value, paths in time, points in a plane."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from physgen.figures.style import GENERATED, REFERENCE, THIRD, styled

MOST = 3000  # points that are drawn in a plane
PANEL = 2.5  # inches


@styled
def densities(
    samples: Mapping[str, ArrayLike | tuple[ArrayLike, ArrayLike]],
    x: ArrayLike,
    truth: ArrayLike | Mapping[str, ArrayLike],
    *,
    bins: int = 40,
    symbol: str = "x",
) -> Figure:
    r"""A panel for each set of samples: their histogram with its errors, and the exact density as a line.

    The sum of :math:`z^2` of the bins, z the difference from the integral of the density over a bin in its standard
    error, stands beside the number of bins that hold 10 samples or more in expectation: it is :math:`n \pm \sqrt{2n}`
    where the law is right. Errors are those of the expected counts, of weights their own.

    Args:
        samples: name -> values (N,), or (values, weights), each (N,); weights sum to 1.
        x: (M,) points of the densities, ascending and equally spaced; the bins share their range.
        truth: density on x, (M,), of all panels or name -> (M,).
        bins: equal bins between the ends of x.
        symbol: of the abscissa, mathtext.
    """
    points = np.asarray(x, dtype=float)
    figure = Figure(figsize=(PANEL * len(samples) + 0.5, 2.75), layout="constrained")
    row = figure.subplots(1, len(samples), squeeze=False, sharex=True, sharey=True)[0]
    edges = np.linspace(points[0], points[-1], bins + 1)
    for axes, (name, drawn) in zip(row, samples.items(), strict=True):
        density = np.asarray(truth[name] if isinstance(truth, Mapping) else truth, dtype=float)
        values, weights = drawn if isinstance(drawn, tuple) else (drawn, None)
        _histogram(axes, np.ravel(values), None if weights is None else np.ravel(weights), edges, (points, density))
        axes.set(xlabel=f"${symbol}$", title=name, xlim=(points[0], points[-1]))
    row[0].set(ylabel="probability density")
    row[0].set_ylim(0, 1.3 * row[0].get_ylim()[1])
    row[-1].legend(loc="upper right", fontsize=9, handlelength=1.2)
    return figure


def _histogram(
    axes: Axes, values: np.ndarray, weights: np.ndarray | None, edges: np.ndarray, truth: tuple[np.ndarray, np.ndarray]
) -> None:
    width, count = edges[1] - edges[0], len(values)
    mass = np.histogram(values, edges, weights=np.full(count, 1 / count) if weights is None else weights)[0]
    expected = expected_mass(*truth, edges)
    if weights is None:
        error = np.sqrt(expected * (1 - expected).clip(0) / count)
    else:
        error = np.sqrt(np.histogram(values, edges, weights=weights**2)[0])
    axes.plot(*truth, color=REFERENCE, label="exact", zorder=3)
    middle = (edges[1:] + edges[:-1]) / 2
    axes.errorbar(middle, mass / width, error / width, fmt="o", ms=2.4, color=GENERATED, elinewidth=0.9, label="drawn")
    enough = (expected * count >= 10) & (error > 0)
    square = float((((mass - expected)[enough] / error[enough]) ** 2).sum())
    text = rf"$\sum z^2 = {square:.4g}$" + f"\n{int(enough.sum())} bins"
    axes.text(0.04, 0.97, text, transform=axes.transAxes, va="top", fontsize=9)


def expected_mass(x: np.ndarray, density: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Probability of each bin, by the trapezoidal rule on x and linear interpolation of its sum."""
    rise = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2 * np.diff(x))])
    return np.diff(np.interp(edges, x, rise))


@styled
def paths(
    time: ArrayLike,
    drawn: Mapping[str, ArrayLike],
    x: ArrayLike,
    density: ArrayLike,
    *,
    labels: tuple[str, str] = ("t", "x"),
    most: int = 24,
) -> Figure:
    """Paths of one value in time, a panel for each set, over the density of the exact law at each time.

    Args:
        time: (K,), ascending or descending; the abscissa is drawn as it runs.
        drawn: name -> paths (K, N); at most ``most`` of them are drawn.
        x: (M,) points of the density. density: (K, M).
        labels: of both axes, units included.
    """
    times, points, shade = (np.asarray(value, dtype=float) for value in (time, x, density))
    figure = Figure(figsize=(3.6 * len(drawn) + 0.6, 3.0), layout="constrained")
    row = figure.subplots(1, len(drawn), squeeze=False, sharex=True, sharey=True)[0]
    top = np.quantile(shade.max(1), 0.7)  # a law of points has a peak of any height at its end
    for axes, (name, lines) in zip(row, drawn.items(), strict=True):
        axes.pcolormesh(
            times, points, shade.T, cmap="Greys", vmin=0, vmax=1.4 * top, shading="gouraud", rasterized=True
        )
        axes.plot(times, np.asarray(lines)[:, :most], lw=0.7, alpha=0.75, color=GENERATED)
        axes.set(title=name, xlabel=labels[0], xlim=(times[0], times[-1]), ylim=(points[0], points[-1]))
    row[0].set_ylabel(labels[1])
    return figure


@styled
def planes(
    points: Mapping[str, ArrayLike | tuple[ArrayLike, ArrayLike]],
    *,
    labels: tuple[str, str] = ("$x_1$", "$x_2$"),
    marks: Sequence[tuple[float, float]] = (),
) -> Figure:
    """Points in a plane, a panel for each set, in common axes; at most 3000 of each are drawn.

    Args:
        points: name -> (N, 2), or (points, colours (N,)): colours 0 and 1 tell two kinds apart.
        labels: of both axes. marks: places to be marked by a cross in every panel.
    """
    figure = Figure(figsize=(PANEL * len(points) + 0.5, 2.9), layout="constrained")
    row = figure.subplots(1, len(points), squeeze=False, sharex=True, sharey=True)[0]
    for axes, (name, drawn) in zip(row, points.items(), strict=True):
        places, kinds = drawn if isinstance(drawn, tuple) else (drawn, None)
        flat = np.asarray(places, dtype=float).reshape(len(np.asarray(places)), -1)[:MOST]
        kind = np.zeros(len(flat)) if kinds is None else np.asarray(kinds, dtype=float).ravel()[:MOST]
        for value, colour in ((0, GENERATED), (1, THIRD)):
            chosen = flat[(kind > 0.5) == bool(value)]
            axes.plot(*chosen[:, :2].T, ".", ms=1.8, alpha=0.5, color=colour, rasterized=True)
        for mark in marks:
            axes.plot(*mark, "x", color=REFERENCE, ms=7, mew=1.5)
        axes.set(title=name, xlabel=labels[0], aspect="equal")
    row[0].set_ylabel(labels[1])
    return figure
