"""The two sides of the first principal component: when a sample has chosen one, by closed forms and by the samples."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.special import xlogy

from physgen.diagnostics.regimes.classes import principal_class
from physgen.diagnostics.regimes.clones import u_turn
from physgen.diagnostics.regimes.mixture_theory import mixture_cloning
from physgen.diagnostics.regimes.unit_means import mean_and_error
from physgen.diffusion.levels import log_uniform
from physgen.stages.regimes_backward import Backward

if TYPE_CHECKING:
    import xarray as xr

    from physgen.diagnostics.regimes.classes import SideOfPlane
    from physgen.stages.regimes_data import Found, Samples

LINE = 60  # points of a theory line
TURNS = 256  # samples that make a U-turn through the posterior of the others
TIMES = 9
EXACT_TIMES, EXACT_STEPS, LAST_LEVEL = 6, 20, 0.1  # of U-turns with an exact denoiser, all samples at each


def measure_classes(samples: Samples, found: Found, seed: int) -> None:
    """Add ``cloning`` and ``information``: U-turns through the posterior of the samples, beside two laws."""
    import xarray as xr

    t_s, t_c = found.metrics["t_S"]["value"], found.metrics.get("t_C_plain", found.metrics["t_C"])["value"]
    low = t_c if math.isfinite(t_c) else 0.3 * max(t_s, 0.3)  # below, the nearest other sample has all the weight
    times = np.linspace(low, max(2.2 * t_s, low + 1.0), TIMES)
    classify = principal_class(samples.x)
    lines = class_lines(found.results["speciation"], classify.coordinate(samples.x).numpy(), times)
    one, own, unit = posterior_of_others(samples, classify, times, seed)
    same, same_error = mean_and_error(np.where(own[:, None] > 0, one, 1 - one), unit)
    if samples.exact is not None:
        lines = lines.merge(exact_turns(samples, classify, t_s, seed))
    clock = {"t": ("t", times, {"long_name": "Ornstein-Uhlenbeck time", "units": "1"})}
    cloning = lines.assign(samples=("t", same), samples_error=("t", same_error)).assign_coords(clock)
    weight = float(own.mean())
    nats = xlogy(one, one / weight) + xlogy(1 - one, (1 - one) / (1 - weight))
    value, error = mean_and_error(nats, unit)
    curves = {"value": ("t", value), "error": ("t", error), "theory": ("t_line", lines["information"].values)}
    found.results["cloning"] = cloning.drop_vars("information")
    found.results["information"] = xr.Dataset(curves, {**clock, "t_line": lines["t_line"].values})


def exact_turns(samples: Samples, classify: SideOfPlane, t_s: float, seed: int) -> xr.Dataset:
    """U-turns through the exact denoiser of the law, over ``t_exact``: ``exact`` and ``exact_error``."""
    import xarray as xr

    times = np.linspace(0.3, 2.2, EXACT_TIMES) * max(t_s, 0.3)
    levels = log_uniform(1.05 * math.sqrt(math.expm1(2 * times[-1])), LAST_LEVEL, EXACT_STEPS)
    turned = u_turn(
        samples.x, Backward(samples.exact, levels, samples.condition).finish, times, classify, seed, samples.unit
    )
    curves = {"exact": ("t_exact", turned["value"].values), "exact_error": ("t_exact", turned["error"].values)}
    return xr.Dataset(curves, {"t_exact": times})


def gaussian_turn(variance: float, times: np.ndarray) -> np.ndarray:
    r"""U-turn probability :math:`\frac12 + \frac1\pi \arcsin\frac{\Lambda}{\Lambda + s^2}` of one Gaussian that a plane
    through its mean cuts: x0 and its return are bivariate normal with that correlation across it."""
    return 0.5 + np.arcsin(variance / (variance + np.expm1(2 * times))) / math.pi


def class_lines(speciation: xr.Dataset, across: np.ndarray, times: np.ndarray) -> xr.Dataset:
    """phi(t) and the information over ``t_line``, up to the largest of the times, of two laws.

    ``gaussian``: one Gaussian with the largest variance of the data, cut in two. ``mixture``: two Gaussian classes of
    equal weight, apart by what the two sides of the plane are, with what is left of that variance inside each.

    Args:
        across: coordinates (n,) of the samples across the plane.
    """
    import xarray as xr

    line = np.linspace(0.02, float(np.max(times)), LINE)
    variance, half = max(float(speciation["eigenvalue"]), 0.0), float(np.abs(across).mean())
    mixture = mixture_cloning(half, line, math.sqrt(max(variance - half**2, 0.0)))
    curves = {"gaussian": gaussian_turn(variance, line)}
    curves |= {"mixture": mixture["value"].values, "information": mixture["information"].values}
    described = {name: ("t_line", curve) for name, curve in curves.items()}
    return xr.Dataset({**described, "t_S": float(speciation["t_S"])}, {"t_line": line})


def posterior_of_others(
    samples: Samples, classify: SideOfPlane, times: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Probability (B, T) of class 1 by the exact posterior of the *other* units, own class (B,), unit (B,).

    A sample is noised to t and returns to one of the others with its posterior weight: above the collapse time that
    is a U-turn of the law, below it tells whether the nearest other sample is of the same class.
    """
    rng = np.random.default_rng([seed, 3])
    chosen = np.sort(rng.permutation(len(samples.x))[:TURNS])
    rows, own = samples.x.flatten(1).double(), classify(samples.x).double()
    square = rows.square().sum(1)
    same_unit = torch.from_numpy(samples.unit[chosen, None] == samples.unit)
    found = []
    for t in times:
        s2 = math.expm1(2 * t)
        white = torch.from_numpy(rng.standard_normal((len(chosen), rows.shape[1])))
        logs = ((rows[chosen] + math.sqrt(s2) * white) @ rows.T - 0.5 * square) / s2
        found.append(torch.softmax(logs.masked_fill(same_unit, -math.inf), dim=1) @ own)
    unit = np.unique(samples.unit[chosen], return_inverse=True)[1]
    return torch.stack(found, 1).numpy().clip(0, 1), own[chosen].numpy(), unit
