r"""U-turns and clones: the time at which a trajectory of the backward process has chosen its class.

*U-turn*: noise a real sample up to the time t, come back, and ask whether the class is the same. *Clone*: at the time t
of a backward trajectory let two copies go on with noise of their own, and ask whether they end in the same class. With
the exact posterior :math:`p_j(x_t)` of the classes both probabilities are

.. math:: \varphi(t) = E_{x_t} \sum_j p_j(x_t)^2 ,

so that their difference, :func:`cloning_gap`, measures the error of score and discretisation. With a model whose
posterior is q, a U-turn has :math:`E_{p} \sum_j p_j q_j` and clones :math:`E_{q} \sum_j q_j^2`.

Source: Biroli, Bonnaire, de Bortoli, Mezard, arXiv:2402.18491, eq. 6. Whoever comes back must draw from the posterior
of x0 given y, up to the order of his steps: ``ancestral`` and ``dpmpp_2m_sde`` do (16 steps leave phi too high by .008
and .001 for two Gaussians), a flow with some noise added such as ``heun_churn`` does not (phi off by -.1 to -.2 there),
and a deterministic sampler is refused for clones, which would all be equal.

Legend: B trajectories, T times, J classes, C channels, \*grid lattice; y = x0 + s z at the level s = sqrt(e^{2t} - 1).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.stats import norm
from torch import Tensor

from physgen.diagnostics.regimes.classes import Classify
from physgen.diagnostics.regimes.unit_means import (
    frequency_and_error,
    level_of,
    seed_of,
    times_of,
    unit_index,
    white_noise,
)
from physgen.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

Finish = Callable[[Tensor, float, int], Tensor]  # (y, s, seed) -> x0
Descend = Callable[[Tensor, float, float, int], Tensor]  # (y, s, s', seed) -> y at s' < s
NOISE, BACK, DOWN = 1, 2, 3  # streams of random numbers


def u_turn(
    x0: Tensor, finish: Finish, times: ArrayLike, classify: Classify, seed: int, unit: ArrayLike | None = None
) -> xr.Dataset:
    r"""Probability that a real sample, noised to the time t and brought back, has kept its class.

    Args:
        x0: encoded real samples (B, C, \*grid), which the model has not been trained on.
        finish: (y, s, seed) -> x0, the backward process from the level s, with random numbers from the seed.
        times: t > 0, (T,). classify: x -> class number (B,).
        seed: of the noise; every time has numbers of its own.
        unit: (B,) independent unit of each sample; None: every sample.

    Returns:
        Dataset over ``t`` with ``value`` and ``error`` (jackknife over units, never 0; the times share the samples);
        attrs n, n_independent, seed.
    """
    ts, index = times_of(times), unit_index(unit, len(x0))
    own = classify(x0)
    hits = []
    for number, t in enumerate(ts):
        s = level_of(float(t))
        y = x0 + s * white_noise(x0, seed, NOISE, number)
        hits.append((classify(finish(y, s, seed_of(seed, BACK, number))) == own).double().cpu().numpy())
    return _result("u_turn", "probability to keep the class in a U-turn", ts, np.stack(hits, 1), index, seed)


def clone(
    start: Tensor,
    from_level: float,
    descend: Descend,
    finish: Finish,
    times: ArrayLike,
    classify: Classify,
    seed: int,
    *,
    copies: int = 2,
    unit: ArrayLike | None = None,
) -> xr.Dataset:
    r"""Probability that copies which part at the time t of a backward trajectory end in the same class.

    One set of trajectories goes down through all times; copies part from it at each.

    Args:
        start: y (B, C, \*grid) at the first level, e.g. ``from_level * noise``.
        from_level: s of the start, at or above those of all times.
        descend: (y, s, s', seed) -> y at s' < s. finish: (y, s, seed) -> x0. Both draw from the backward process.
        times: t > 0, (T,), in any order. classify: x -> class number (B,). seed: of all random numbers.
        copies: of each trajectory at each time, at least 2; the pairs among them are averaged.
        unit: (B,) independent unit of each start; None: every one.

    Returns:
        Dataset over ``t`` as :func:`u_turn` has.

    Raises:
        InputError: a time above the start, fewer than two copies, or copies that are equal.
    """
    ts, index = times_of(times), unit_index(unit, len(start))
    if copies < 2:
        raise InputError(f"cloning compares at least 2 copies, got {copies}")
    if level_of(float(ts.max())) > from_level * (1 + 1e-12):
        raise InputError(f"the time {ts.max():g} has a level above that of the start, {from_level:g}: start higher")
    hits, y, s = np.empty((len(start), len(ts))), start, float(from_level)
    for number in np.argsort(-ts, kind="stable"):
        below = min(level_of(float(ts[number])), s)
        if below < s:
            y, s = descend(y, s, below, seed_of(seed, DOWN, int(number))), below
        ends = [finish(y, s, seed_of(seed, BACK, int(number), copy)) for copy in range(copies)]
        if all(torch.equal(ends[0], end) for end in ends[1:]):
            raise InputError("all copies end in the same points: clones need a stochastic sampler, such as 'ancestral'")
        hits[:, number] = _pairs_that_agree([classify(end) for end in ends])
    name = "probability that copies end in the same class"
    return _result("clone", name, ts, hits, index, seed).assign_attrs(copies=copies)


def cloning_gap(cloned: xr.Dataset, turned: xr.Dataset) -> xr.Dataset:
    r"""Cloning minus U-turn probability over ``t``: 0 for the exact score and a sampler without error.

    Args:
        cloned, turned: results of :func:`clone` and :func:`u_turn` at the same times.

    Returns:
        Dataset over ``t`` with ``value``, ``error`` (the two are independent) and ``detectable``, the gap that a test
        at 5 % over all times would see in four of five cases; scalars ``p_value`` (of the largest deviation,
        Bonferroni over times: at most this, whatever their correlation) and ``largest``, that deviation in errors.
        A value within its error shows no fault larger than ``detectable``, and proves none absent: faults of score
        and sampler can cancel in the two probabilities.
    """
    import xarray as xr

    if not np.allclose(cloned["t"].values, turned["t"].values):
        raise InputError("clones and U-turns were taken at different times: take both at the same")
    value = cloned["value"].values - turned["value"].values
    error = np.hypot(cloned["error"].values, turned["error"].values)
    times = len(value)
    pulls = np.abs(value) / error
    largest = float(np.nanmax(pulls)) if np.isfinite(pulls).any() else np.nan
    p = min(1.0, times * 2 * float(norm.sf(largest))) if np.isfinite(largest) else np.nan
    reach = norm.isf(0.025 / times) + norm.isf(0.2)
    described = {"long_name": "cloning minus U-turn probability", "units": "1"}
    return xr.Dataset(
        {
            "value": ("t", value, described),
            "error": ("t", error, {"long_name": "standard error of the value", "units": "1"}),
            "detectable": ("t", reach * error, {"long_name": "gap seen in four of five cases", "units": "1"}),
            "largest": ((), largest, {"long_name": "largest deviation in errors", "units": "1"}),
            "p_value": ((), p, {"long_name": "p-value of the largest deviation", "units": "1"}),
        },
        coords={"t": cloned["t"]},
        attrs={"diagnostic": "cloning_gap"},
    )


def _pairs_that_agree(ends: Sequence[Tensor]) -> np.ndarray:
    """Fraction (B,) of the pairs of copies whose classes agree."""
    classes = torch.stack(list(ends)).cpu()  # (copies, B)
    agree = (classes[:, None] == classes[None]).double().sum((0, 1)) - len(classes)
    return (agree / (len(classes) * (len(classes) - 1))).numpy()


def _result(name: str, long_name: str, ts: np.ndarray, hits: np.ndarray, index: np.ndarray, seed: int) -> xr.Dataset:
    import xarray as xr

    value, error = frequency_and_error(hits, index)
    return xr.Dataset(
        {
            "value": ("t", value, {"long_name": long_name, "units": "1", "symbol": r"\varphi"}),
            "error": ("t", error, {"long_name": "standard error of the value", "units": "1"}),
        },
        coords={"t": ("t", ts, {"long_name": "Ornstein-Uhlenbeck time", "units": "1"})},
        attrs={"diagnostic": name, "n": len(hits), "n_independent": int(index.max()) + 1, "seed": seed},
    )
