r"""Coverage of posteriors in any number of labels, by random points (TARP), with its floor.

For a random reference point r the credibility of the truth is the share of the posterior nearer to r than the truth is;
its law is uniform for every r if, and (over all laws of r that depend on the data) only if, the posterior is right.
Source: Lemos, Coogan, Hezaveh, Perreault-Levasseur, arXiv:2302.03026, section 3.

Shapes: U posteriors, S draws of each, n labels, A credibility levels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from physgen.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

REFERENCES = 16  # random points whose coverages are averaged: they cost nothing and do not add independence
NAMED = (0.5, 0.68, 0.95)


def credibilities(
    draws: ArrayLike, truth: ArrayLike, low: ArrayLike, high: ArrayLike, seed: int = 0, references: int = REFERENCES
) -> np.ndarray:
    """Share (U, references) of the draws that are nearer to random points in the box than the truth is.

    Distances are in units of the box (low, high), each (n,), in which the points are uniform.
    """
    drawn, true = np.asarray(draws, dtype=float), np.asarray(truth, dtype=float)
    if drawn.ndim != 3 or true.shape != (len(drawn), drawn.shape[2]):
        raise InputError(f"coverage needs draws (U, S, n) and a truth (U, n), got {drawn.shape} and {true.shape}")
    low, width = np.asarray(low, dtype=float), np.asarray(high, dtype=float) - np.asarray(low, dtype=float)
    drawn, true = (drawn - low) / width, (true - low) / width
    points = np.random.default_rng([seed, 13]).random((references, len(drawn), drawn.shape[2]))
    found = np.empty((len(drawn), references))
    for j, point in enumerate(points):
        of_draws = ((drawn - point[:, None]) ** 2).sum(2)
        of_truth = ((true - point) ** 2).sum(1)
        found[:, j] = ((of_draws < of_truth[:, None]).sum(1) + 0.5) / (drawn.shape[1] + 1)
    return found


def coverage_curve(
    credibility: ArrayLike, units: ArrayLike | None = None, levels: ArrayLike | None = None
) -> xr.Dataset:
    r"""Expected coverage :math:`P(\mathrm{credibility} < \alpha)` over levels :math:`\alpha`, with error and floor.

    Args:
        credibility: (U, J) of :func:`credibilities`.
        units: (U,) what is independent; posteriors of one unit are averaged first. None: all are.
        levels: A of them; None for 0.02 to 0.98 and 0.5, 0.68, 0.95.

    Returns:
        Dataset over ``level`` with ``value``, ``error`` (standard error over units) and ``floor``, the standard
        deviation :math:`\sqrt{\alpha (1 - \alpha)/U}` of a calibrated one with a posterior a unit; attributes
        ``largest_deviation`` of the curve, its ``floor`` (mean largest deviation of U uniform numbers, 0.87/sqrt(U))
        and ``n_independent``.
    """
    import xarray as xr

    found = np.asarray(credibility, dtype=float)
    alpha = np.unique(np.r_[np.linspace(0.02, 0.98, 49), NAMED]) if levels is None else np.asarray(levels, dtype=float)
    names, index = np.unique(np.arange(len(found)) if units is None else np.asarray(units), return_inverse=True)
    covered = (found[:, :, None] < alpha).mean(1)  # (U, A)
    per_unit = np.zeros((len(names), len(alpha)))
    np.add.at(per_unit, index, covered)
    per_unit /= np.bincount(index)[:, None]
    count = len(names)
    value = per_unit.mean(0)
    error = per_unit.std(0, ddof=1) / np.sqrt(count) if count > 1 else np.full(len(alpha), np.nan)
    attrs = {"diagnostic": "coverage", "kind": "curve", "n_independent": count}
    attrs |= {"largest_deviation": float(np.abs(value - alpha).max()), "floor": 0.87 / np.sqrt(count)}
    return xr.Dataset(
        {
            "value": ("level", value, {"long_name": "coverage", "units": "1"}),
            "error": ("level", error, {"long_name": "standard error over units", "units": "1"}),
            "floor": ("level", np.sqrt(alpha * (1 - alpha) / count), {"long_name": "scatter if calibrated"}),
        },
        {"level": ("level", alpha, {"long_name": "credibility", "units": "1"})},
        attrs,
    )


def coverage_at(curve: xr.Dataset, levels: Sequence[float] = NAMED) -> dict[float, tuple[float, float]]:
    """Level -> (coverage, error) at levels that the curve has."""
    picked = curve.sel(level=list(levels), method="nearest")
    return {a: (float(v), float(e)) for a, v, e in zip(levels, picked["value"], picked["error"], strict=True)}
