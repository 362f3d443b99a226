r"""The gap of the denoising loss between unseen and training data, by noise level, with the same noise for both.

.. math:: L(t) = E\,|D(x_0 + s z, s) - x_0|^2 / d, \qquad \Delta(t) = L_{test}(t) - L_{train}(t).

A denoiser that does not know its training set has :math:`\Delta = 0` at every t within errors; the perfect memorizer
(empirical denoiser) has :math:`L_{train} \to 0` below :math:`t_C`. Where the gap opens first is where memorization
begins (arXiv:2505.17638). In units of the loss of a reference denoiser (the exact law, else the Wiener filter of the
training set) a gap can be compared between levels and kinds of data.

Legend: n training and m held-out configurations, T times, d numbers of a configuration; y = x0 + s z, s^2 = e^{2t} - 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from physgen.diagnostics.regimes.unit_means import level_of, mean_and_error, times_of, unit_index, white_noise
from physgen.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

Denoise = Callable[..., Tensor]  # (y, s), or (y, s, condition) where there is one, -> E[x0 | y]
Condition = Mapping[str, Tensor] | None  # tensors that lead with the rows
NOISE = 11  # stream of random numbers
FEWEST_DRAWS = 256  # noisy configurations of a part at each time, at least
BATCH = 2**20  # numbers that are denoised at once
NAMES = {
    "value": "denoising loss of unseen minus training data, per number",
    "train": "loss of training data",
    "heldout": "loss of unseen data",
    "reference": "loss of the reference denoiser on unseen data",
    "relative": "loss gap in units of the loss of the reference denoiser",
}


def denoised(denoiser: Denoise, y: Tensor, s: float, condition: Condition = None) -> Tensor:
    """D(y, s, condition) of all rows, a few at a time; without gradients."""
    rows, found = max(1, BATCH // y[0].numel()), []
    with torch.no_grad():
        for start in range(0, len(y), rows):
            part = y[start : start + rows]
            given = () if condition is None else ({k: v[start : start + rows] for k, v in condition.items()},)
            found.append(denoiser(part, torch.full((len(part),), s).to(part), *given))
    return torch.cat(found)


def loss_gap(
    denoiser: Denoise,
    train: Tensor,
    heldout: Tensor,
    times: ArrayLike,
    seed: int,
    units: tuple[ArrayLike | None, ArrayLike | None] = (None, None),
    reference: Denoise | None = None,
    conditions: tuple[Condition, Condition] = (None, None),
) -> xr.Dataset:
    r"""Denoising loss of unseen minus that of training data at each time.

    Row j of both parts has the same noise, the k-th of as many draws as make 256 noisy configurations of the smaller
    part; the draws of a configuration are one independent unit.

    Args:
        denoiser: D(y, s), or D(y, s, condition).
        train, heldout: encoded configurations (n, C, \*grid) and (m, C, \*grid).
        times: t > 0, (T,). seed: of the noise.
        units: independent unit (n,) and (m,); None where every configuration is one.
        reference: denoiser whose loss on ``heldout`` is the unit of ``relative``; called as ``denoiser`` is.
        conditions: tensors of ``train`` and ``heldout`` by name, which lead with their rows; None where there are none.

    Returns:
        Dataset over ``t``: ``value`` :math:`\Delta` per number and ``error`` (jackknife over units; over pairs of
        equal noise where n = m and all configurations are units, which the same noise makes smaller); ``train``,
        ``heldout`` with their ``_error``; with a reference ``reference``, ``reference_error``, ``relative``
        :math:`\Delta/L_{ref}` and ``relative_error``. Attrs ``draws``, ``n_train``, ``n_heldout``, ``seed``.

    Raises:
        InputError: times not above 0, shapes that differ, fewer than 2 units of a part.
    """
    import xarray as xr

    ts, parts = times_of(times), (train, heldout)
    indices = [unit_index(unit, len(x)) for unit, x in zip(units, parts, strict=True)]
    if train.shape[1:] != heldout.shape[1:] or min(index.max(initial=-1) for index in indices) < 1:
        raise InputError(
            "a loss gap needs training and held-out configurations of one shape, at least 2 independent ones of each, "
            f"got {tuple(train.shape)} and {tuple(heldout.shape)}"
        )
    draws = math.ceil(FEWEST_DRAWS / min(len(train), len(heldout)))
    losses = [_losses(denoiser, x, ts, seed, draws, given) for x, given in zip(parts, conditions, strict=True)]
    (seen, seen_error), (unseen, unseen_error) = map(mean_and_error, losses, indices)
    error = np.hypot(seen_error, unseen_error)
    if len(train) == len(heldout) and all(len(np.unique(index)) == len(index) for index in indices):
        error = mean_and_error(losses[1] - losses[0], indices[0])[1]
    columns = {"value": unseen - seen, "error": error, "train": seen, "train_error": seen_error}
    columns |= {"heldout": unseen, "heldout_error": unseen_error}
    if reference is not None:
        best = mean_and_error(_losses(reference, heldout, ts, seed, draws, conditions[1]), indices[1])
        columns |= _relative(columns["value"], error, *best)
    return xr.Dataset(
        {k: ("t", v, {"long_name": NAMES.get(k, "standard error"), "units": "1"}) for k, v in columns.items()},
        coords={"t": ("t", ts, {"long_name": "Ornstein-Uhlenbeck time", "units": "1"})},
        attrs={
            "diagnostic": "loss_gap", "draws": draws, "n_train": len(train), "n_heldout": len(heldout), "seed": seed,
        },
    )  # fmt: skip


def _relative(value: np.ndarray, error: np.ndarray, best: np.ndarray, best_error: np.ndarray) -> dict[str, np.ndarray]:
    """The gap in units of the reference's loss; their errors are taken as independent."""
    relative = value / best
    columns = {"reference": best, "reference_error": best_error, "relative": relative}
    return columns | {"relative_error": np.hypot(error, relative * best_error) / best}


def _losses(denoiser: Denoise, x: Tensor, ts: np.ndarray, seed: int, draws: int, condition: Condition) -> np.ndarray:
    """Loss per number of each configuration, averaged over draws of the noise, (n, T)."""
    found = np.zeros((len(x), len(ts)))
    for number, t in enumerate(ts):
        s = level_of(float(t))
        for draw in range(draws):
            y = x + s * white_noise(x, seed, NOISE, number, draw)
            found[:, number] += (
                (denoised(denoiser, y, s, condition) - x).double().square().flatten(1).mean(1).cpu().numpy()
            )
    return found / draws
