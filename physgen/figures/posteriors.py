"""Posteriors of labels, ranks of the truth and coverage."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from physgen.figures.style import FOURTH, GENERATED, REFERENCE, THIRD, label, styled

if TYPE_CHECKING:
    import xarray as xr

COLOURS = (GENERATED, THIRD, FOURTH, REFERENCE, "#cc79a7", "#e69f00")
SHOWN = len(COLOURS)
BINS = 10
DASHED = "dashed"


@styled
def posterior_panel(
    posterior: xr.Dataset,
    coverage: xr.Dataset | None = None,
    recalibrated: xr.Dataset | None = None,
    recalibrated_coverage: xr.Dataset | None = None,
) -> Figure:
    """Posteriors of a few units, and, where the truth is known, rank histograms and the coverage curve.

    Args:
        posterior: ``draws`` over (unit, draw, label) in units of the labels; ``truth`` and ``rank`` over (unit, label)
            where they are known; ``low`` and ``high`` of the prior over label.
        coverage: of :func:`physgen.diagnostics.coverage.coverage_curve`.
        recalibrated, recalibrated_coverage: the same of recalibrated posteriors, drawn dashed.

    Returns:
        Contours of 68 and 95 % of the first two labels (one label: densities), a cross at each truth; ranks as steps
        with the band that holds 95 % of the counts of a calibrated one; coverage with one standard error, on a band of
        one and two deviations of a calibrated one.
    """
    panels = 1 + ("rank" in posterior) + (coverage is not None)
    figure = Figure(figsize=(3.5 * panels, 3.3), layout="constrained")
    axes = np.atleast_1d(figure.subplots(1, panels))
    _posteriors(axes[0], posterior, recalibrated)
    if "rank" in posterior:
        _ranks(axes[1], posterior, recalibrated)
    if coverage is not None:
        _coverage(axes[-1], coverage, recalibrated_coverage)
    return figure


def _posteriors(axes: Axes, posterior: xr.Dataset, recalibrated: xr.Dataset | None) -> None:
    names = [str(name) for name in posterior["label"].values]
    low, high = posterior["low"].values, posterior["high"].values
    for unit, colour in zip(range(min(SHOWN, posterior.sizes["unit"])), COLOURS, strict=False):
        draws = posterior["draws"].isel(unit=unit).values
        truth = posterior["truth"].isel(unit=unit).values if "truth" in posterior else None
        if len(names) == 1:
            axes.hist(draws[:, 0], 40, histtype="step", density=True, color=colour, lw=1)
            if recalibrated is not None:
                other = recalibrated["draws"].isel(unit=unit).values[:, 0]
                axes.hist(other, 40, histtype="step", density=True, color=colour, lw=1, ls=DASHED)
            if truth is not None:
                axes.axvline(truth[0], color=colour, lw=0.8, ls=":")
            continue
        _contour(axes, draws[:, :2], colour)
        if recalibrated is not None:
            _contour(axes, recalibrated["draws"].isel(unit=unit).values[:, :2], colour, DASHED)
        if truth is not None:
            axes.plot(*truth[:2], "x", color=colour, ms=5)
    shown = posterior["draws"].isel(unit=slice(SHOWN)).values.reshape(-1, len(names))
    margin = 0.05 * (high - low)
    ends = np.stack([np.maximum(shown.min(0) - margin, low), np.minimum(shown.max(0) + margin, high)])
    axes.set_xlim(*ends[:, 0])
    axes.set_xlabel(_name(names[0]))
    if len(names) > 1:
        axes.set_ylim(*ends[:, 1])
        axes.set_ylabel(_name(names[1]))
    else:
        axes.set_ylabel("posterior density")


def _name(name: str) -> str:
    import xarray as xr

    return label(xr.DataArray(0.0, name=name), short=True)


def _contour(axes: Axes, draws: np.ndarray, colour: str, dashes: str = "solid") -> None:
    """Highest-density contours of 68 and 95 % of draws (S, 2), smoothed by a Gaussian kernel."""
    from scipy.stats import gaussian_kde

    kernel = gaussian_kde(draws.T)
    centre, spread = draws.mean(0), 4 * draws.std(0) + 1e-12
    x, y = (np.linspace(c - w, c + w, 50) for c, w in zip(centre, spread, strict=True))
    density = kernel(np.stack(np.meshgrid(x, y)).reshape(2, -1)).reshape(50, 50)
    ordered = np.sort(density.ravel())[::-1]
    held = np.cumsum(ordered) / ordered.sum()
    levels = sorted({float(ordered[np.searchsorted(held, share)]) for share in (0.68, 0.95)})
    axes.contour(x, y, density, levels=levels, colors=[colour], linewidths=(0.7, 1.3)[: len(levels)], linestyles=dashes)


def _ranks(axes: Axes, posterior: xr.Dataset, recalibrated: xr.Dataset | None) -> None:
    from scipy.stats import binom

    rank = posterior["rank"].values
    edges = np.linspace(0, 1, BINS + 1)
    low, high = binom.interval(0.95, len(rank), 1 / BINS)
    axes.axhspan(low, high, color=REFERENCE, alpha=0.12, lw=0, label="calibrated, 95 %")
    for i, name in enumerate(posterior["label"].values):
        counts = np.histogram(rank[:, i], edges)[0]
        axes.stairs(counts, edges, color=COLOURS[i % SHOWN], lw=1.3, label=_name(str(name)))
        if recalibrated is not None:
            counts = np.histogram(recalibrated["rank"].values[:, i], edges)[0]
            said = "recalibrated" if i + 1 == rank.shape[1] else None
            axes.stairs(counts, edges, color=COLOURS[i % SHOWN], lw=1.3, ls=DASHED, label=said)
    axes.set(xlabel="rank of the truth", ylabel="units", xlim=(0, 1), ylim=(0, None))
    axes.legend(fontsize=9)


def _coverage(axes: Axes, coverage: xr.Dataset, recalibrated: xr.Dataset | None) -> None:
    alpha, value, error, floor = (coverage[n].values for n in ("level", "value", "error", "floor"))
    for width in (2, 1):
        axes.fill_between(alpha, alpha - width * floor, alpha + width * floor, color=REFERENCE, alpha=0.1, lw=0)
    axes.plot(alpha, alpha, color=REFERENCE, lw=0.8, ls=(0, (4, 3)))
    axes.plot(alpha, value, color=GENERATED, label="raw")
    if recalibrated is not None:
        axes.plot(alpha, recalibrated["value"].values, color=GENERATED, ls=DASHED, label="recalibrated")
        axes.legend(fontsize=9)
    axes.fill_between(alpha, value - error, value + error, color=GENERATED, alpha=0.25, lw=0)
    axes.set(xlabel="credibility", ylabel="coverage", xlim=(0, 1), ylim=(0, 1))
