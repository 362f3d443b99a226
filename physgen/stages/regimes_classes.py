"""The two sides of the first principal component: when a sample has chosen one, by closed forms and by the samples."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch

from physgen.diagnostics.regimes.unit_means import mean_and_error

if TYPE_CHECKING:
    import xarray as xr
    from torch import Tensor

    from physgen.diagnostics.regimes.classes import SideOfPlane
    from physgen.stages.regimes_data import Samples

LINE = 60  # points of a theory line
TURNS = 256  # samples that make a U-turn through the posterior of the others


def gaussian_turn(variance: float, times: np.ndarray) -> np.ndarray:
    r"""U-turn probability :math:`\frac12 + \frac1\pi \arcsin\frac{\Lambda}{\Lambda + s^2}` of one Gaussian that a plane
    through its mean cuts: x0 and its return are bivariate normal with that correlation across it."""
    return 0.5 + np.arcsin(variance / (variance + np.expm1(2 * times))) / math.pi


def class_lines(speciation: xr.Dataset, times: np.ndarray) -> xr.Dataset:
    """phi(t) over ``t_line``, up to the largest of the times, of one Gaussian with the largest variance of the data."""
    import xarray as xr

    line = np.linspace(0.02, float(np.max(times)), LINE)
    curves = {"gaussian": ("t_line", gaussian_turn(float(speciation["eigenvalue"]), line))}
    return xr.Dataset({**curves, "t_S": float(speciation["t_S"])}, {"t_line": line})


def turns_of_samples(
    samples: Samples, classify: SideOfPlane, times: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """U-turn probability (T,) through the exact posterior of the other samples, and its error.

    A sample is noised to t and returns to one of the *others* with its posterior weight: above the collapse time
    that is a U-turn of the law, below it tells whether the nearest other sample is of the same class.
    """
    rng = np.random.default_rng([seed, 3])
    chosen = np.sort(rng.permutation(len(samples.x))[:TURNS])
    rows, own = samples.x.flatten(1).double(), classify(samples.x).double()
    square = rows.square().sum(1)
    hits = []
    for t in times:
        s2 = math.expm1(2 * t)
        white = torch.from_numpy(rng.standard_normal((len(chosen), rows.shape[1])))
        y = rows[chosen] + math.sqrt(s2) * white
        logs = (y @ rows.T - 0.5 * square) / s2
        logs[torch.arange(len(chosen)), torch.from_numpy(chosen)] = -math.inf
        one = torch.softmax(logs, dim=1) @ own
        hits.append(torch.where(own[chosen] > 0, one, 1 - one))
    return _mean_over_units(torch.stack(hits, 1), samples.unit[chosen])


def _mean_over_units(values: Tensor, unit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return mean_and_error(values.numpy(), np.unique(unit, return_inverse=True)[1])
