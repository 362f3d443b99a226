r"""Two models trained on disjoint halves of the data, from the same noise: what they share is what they have learned.

Kadkhodaie et al., arXiv:2310.02557: with few samples each model denoises towards its own half, with many both are the
same function, and neither is then a memory of its samples. Agreement by noise level says at which scales that has
happened: coarse structure, at large t, first.

Two errors with equal laws given the data, :math:`D_a = \bar D + e_a`, :math:`D_b = \bar D + e_b`, with :math:`\bar D`
the average over training sets, have :math:`E|D_a - D_b|^2/2` = the part of a model's excess loss that is due to its
training set; the other part, a bias both share, is not seen by their agreement.

Legend: n configurations, T times, d numbers of a configuration; y = x0 + s z, s^2 = e^{2t} - 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from physgen.diagnostics.regimes.losses_by_level import Condition, Denoise, denoised
from physgen.diagnostics.regimes.unit_means import (
    level_of,
    times_of,
    unit_index,
    unit_sums,
    white_noise,
    without_each,
)
from physgen.diagnostics.resampling import jackknife_variance
from physgen.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

NOISE = 12  # stream of random numbers
Pair = tuple[Denoise, Denoise]
NAMES = {
    "value": "distance of two models by the training error of either",
    "cosine": "cosine of the corrections D(y) - y of two models",
    "cosine_to_data": "cosine of the corrections of a model with the exact ones, x0 - y",
    "distance": "mean squared distance of two models, per number",
    "loss": "denoising loss, mean of two models, per number",
}


def agreement(
    pair: Pair,
    x0: Tensor,
    times: ArrayLike,
    seed: int,
    unit: ArrayLike | None = None,
    references: Mapping[str, Pair] | None = None,
    condition: Condition = None,
) -> xr.Dataset:
    r"""How far two denoisers differ at each time, beside how far they are from the data.

    Args:
        pair: D_a(y, s) and D_b(y, s), or D(y, s, condition), trained on disjoint halves.
        x0: encoded configurations (n, C, \*grid) which neither has seen.
        times: t > 0, (T,). seed: of the noise, the same for both.
        unit: (n,) independent unit of each; None: every configuration.
        references: further pairs by name, measured alike: Wiener filters fitted to the two halves (the agreement that
            the least model has by the halves' size alone), their empirical denoisers (two memorizers).
        condition: tensors by name which lead with the rows of x0; None where there are none.

    Returns:
        Dataset over ``t``: ``value`` :math:`= E|D_a - D_b|^2 / (L_a + L_b)`: 0 for one function, 1 where all of the
        error is due to the training set and independent; ``cosine`` of :math:`D_a - y` with :math:`D_b - y` and
        ``cosine_to_data`` of these with :math:`x_0 - y`; ``distance`` :math:`E|D_a - D_b|^2/d`; ``loss``
        :math:`(L_a + L_b)/2d`; ``error`` and each with ``_error`` (jackknife over units). For each reference its name
        and ``_error``, the same as ``value``. A pair of one law gives 0 up to rounding: errors of 0 are exact there.

    Raises:
        InputError: times not above 0, fewer than 2 units.
    """
    import xarray as xr

    ts, index = times_of(times), unit_index(unit, len(x0))
    if index.max(initial=-1) < 1:
        raise InputError(f"agreement needs at least 2 independent configurations, got {len(x0)}")
    columns: dict[str, np.ndarray] = {}
    for name, (one, other) in {"": pair, **(references or {})}.items():
        sums = np.stack(
            [_moments((one, other), x0, float(t), seed, number, condition) for number, t in enumerate(ts)], axis=1
        )
        found = _jackknifed(sums, index)
        if not name:
            columns |= {"value": found["value"][0], "error": found["value"][1]}
            for key in ("cosine", "cosine_to_data", "distance", "loss"):
                columns |= {key: found[key][0], f"{key}_error": found[key][1]}
        else:
            columns |= {name: found["value"][0], f"{name}_error": found["value"][1]}
    return xr.Dataset(
        {k: ("t", v, {"long_name": NAMES.get(k, NAMES["value"]), "units": "1"}) for k, v in columns.items()},
        coords={"t": ("t", ts, {"long_name": "Ornstein-Uhlenbeck time", "units": "1"})},
        attrs={"diagnostic": "agreement", "n": len(x0), "n_independent": int(index.max()) + 1, "seed": seed},
    )


def _moments(pair: Pair, x0: Tensor, t: float, seed: int, number: int, condition: Condition) -> np.ndarray:
    """Squares and products per number of each configuration, (n, 8), of which all figures are functions."""
    s = level_of(t)
    y = x0 + s * white_noise(x0, seed, NOISE, number)
    a, b = ((denoised(d, y, s, condition) - y).double().flatten(1) for d in pair)
    data = (x0 - y).double().flatten(1)
    return torch.stack([
        (a - b).square().mean(1), (a - data).square().mean(1), (b - data).square().mean(1), (a * b).mean(1),
        a.square().mean(1), b.square().mean(1), ((a + b) * data).mean(1) / 2, data.square().mean(1),
    ], dim=1).cpu().numpy()  # fmt: skip


def _figures(mean: np.ndarray) -> dict[str, np.ndarray]:
    """The figures from the moments (..., 8)."""
    apart, loss_a, loss_b, product, square_a, square_b, with_data, square = np.moveaxis(mean, -1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "value": apart / (loss_a + loss_b),
            "cosine": product / np.sqrt(square_a * square_b),
            "cosine_to_data": with_data / np.sqrt(np.sqrt(square_a * square_b) * square),
            "distance": apart,
            "loss": (loss_a + loss_b) / 2,
        }


def _jackknifed(per_sample: np.ndarray, index: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Value and jackknife error of each figure, from (n, T, 8)."""
    sums, counts = unit_sums(per_sample, index)
    whole, without = _figures(sums.sum(0) / counts.sum()), _figures(without_each(sums, counts))
    return {name: (value, np.sqrt(jackknife_variance(without[name]))) for name, value in whole.items()}


def sample_agreement(one: Tensor, other: Tensor, seed: int, unit: ArrayLike | None = None) -> xr.Dataset:
    r"""Whether two models make the same configurations from the same noise.

    Args:
        one, other: (n, C, \*grid), row j of both from the same noise (deterministic samplers, or equal streams).
        seed: of the partners.
        unit: (n,) independent unit of each row; None: every row.

    Returns:
        Dataset of 0-d ``value`` :math:`= E|a_j - b_j|^2 / E|a_j - b_{j'}|^2` with partners j' of other units: 0 for
        one map from noise to data, 1 for models whose outputs are independent of each other given the noise; its
        ``error`` (jackknife over units); ``null`` and ``null_error``, the same with partners of other units in the
        numerator too: 1 within its error; ``p_value`` that rows are no nearer than such partners (sign test over
        units, one-sided; signs of different units count as independent).

    Raises:
        InputError: shapes that differ, fewer than 3 units.
    """
    import xarray as xr
    from scipy.stats import binom

    index = unit_index(unit, len(one))
    count = int(index.max(initial=-1)) + 1
    if one.shape != other.shape or count < 3:
        raise InputError(
            f"rows of the same noise from two models, of at least 3 independent units, got shapes {tuple(one.shape)} "
            f"and {tuple(other.shape)}"
        )
    first, second = (other[torch.as_tensor(rows, device=other.device)] for rows in _partners(index, seed))
    squares = [(one - b).double().square().flatten(1).mean(1).cpu().numpy() for b in (other, first, second)]
    sums, counts = unit_sums(np.stack(squares, 1), index)
    whole, without = sums.sum(0) / counts.sum(), without_each(sums, counts)
    columns: dict[str, float] = {}
    for name, column in (("", 0), ("null", 2)):
        value, error = whole[column] / whole[1], np.sqrt(jackknife_variance(without[:, column] / without[:, 1]))
        columns |= {name or "value": float(value), f"{name}_error" if name else "error": float(error)}
    nearer = int((sums[:, 0] < sums[:, 1]).sum())
    columns["p_value"] = float(binom.sf(nearer - 1, count, 0.5))
    return xr.Dataset(columns, attrs={"diagnostic": "sample_agreement", "n": len(one), "n_independent": count})


def _partners(index: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two rows of other units for each row: units shifted by one and by two places of a random order."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(int(index.max()) + 1)
    place = np.argsort(order)
    members = [np.flatnonzero(index == u) for u in range(len(order))]
    found = []
    for shift in (1, 2):
        partner = order[(place[index] + shift) % len(order)]
        found.append(np.array([rng.choice(members[u]) for u in partner]))
    return found[0], found[1]
