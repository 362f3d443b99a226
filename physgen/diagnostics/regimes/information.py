r"""Information on the class in a noisy configuration, and the time at which classes become distinguishable.

Two definitions of speciation for any classes, from real samples and callables of an exact law or of a model.

*Information*: :math:`I(t) = E \sum_j p_j \ln(p_j/w_j)` of the posterior :math:`p_j(y)` of the class; on the clock of
Ornstein and Uhlenbeck it is lost at the rate

.. math:: -\frac{dI}{dt} = \frac{1 + s^2}{s^4}\, E \sum_j p_j |D_j - D|^2

with the denoisers :math:`D_j` of the classes and D of all (I-MMSE, Guo, Shamai, Verdu, arXiv:cs/0412108, and the law of
total variance; derived here). Its peak is the time at which classes are chosen.

*Free entropies*: with :math:`\Delta_{ij} = \ln p_t(y|i) - \ln p_t(y|j)` on samples of class i, classes i and j part
where the mean of :math:`\Delta_{ij}` equals its fluctuation (its standard deviation). For two Gaussians this is
:math:`u = 1`, the spectral :math:`t_S`. Source: Achilli, Benedetti, Biroli, Mezard, arXiv:2602.04404, of which
only a summary was at hand: a balance of mean and fluctuation; the factor 1 between them is our choice.

Legend: n samples, J classes, T times, U units.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from physgen.diagnostics.regimes.clocks import OU, Clock
from physgen.diagnostics.regimes.unit_means import mean_and_error, unit_index, unit_sums, without_each
from physgen.diagnostics.resampling import jackknife_variance
from physgen.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

OfClasses = Callable[[Tensor, Tensor], Tensor]  # (configuration at a time, told (B,)) -> (B, J)
OfSamples = Callable[[Tensor, Tensor], Tensor]  # the same -> (B,)


def class_information(
    x0: Tensor,
    times: ArrayLike,
    seed: int,
    posterior: OfClasses | None = None,
    spread: OfSamples | None = None,
    unit: ArrayLike | None = None,
    clock: Clock = OU,
) -> xr.Dataset:
    r"""Information on the class at each time, the cloning probability, the rate of loss, and its peak.

    Args:
        x0: real samples (n, C, \*grid). times: (T,) on the clock; sorted. seed: of the noise, the same at all times.
        posterior: (y, s (n,)) -> p_j (n, J) of a law or a classifier. If it is not exact, the numbers are those of
            what it believes. For the prior its mean over the samples is taken.
        spread: (y, s) -> :math:`\sum_j p_j |D_j - D|^2` (n,), ``LawMixture.class_spread``; or of a model with
            conditions :math:`|D_{own} - D|^2`, with the class that each sample has. On the clock ``OU`` alone.
        unit: (n,) independent unit of each sample. clock: another one, see :mod:`physgen.diagnostics.regimes.clocks`.

    Returns:
        Dataset over the clock with ``value`` (nats), ``error``, ``cloning`` (:math:`E \sum_j p_j^2`) and its error;
        with ``rate``, its error, and scalars ``t_peak``, ``t_peak_error`` where there is a spread (nan where the
        largest rate lies at an end of the times). Values at different times share samples and noise.
    """
    if posterior is None and spread is None:
        raise InputError("information on classes needs their posterior or the spread of their denoisers: pass one")
    if spread is not None and clock is not OU:
        raise InputError(f"the rate is known on the clock of Ornstein and Uhlenbeck, not on that of {clock.long_name}")
    index, ts = unit_index(unit, len(x0)), clock.times(times, x0[0].numel())
    information, cloning, rate = [], [], []
    for t in ts.tolist():
        y, told = clock.corrupt(x0, t, seed), clock.told(x0, t)
        if posterior is not None:
            p = posterior(y, told).double()
            information.append(torch.special.xlogy(p, p / p.mean(0)).sum(1).cpu().numpy())
            cloning.append(p.square().sum(1).cpu().numpy())
        if spread is not None:
            square = clock.argument(t) ** 2
            rate.append((1 + square) / square**2 * spread(y, told).double().cpu().numpy())
    found = _described("value", "information on the class", "nat", information, clock, index)
    found |= _described("cloning", "cloning probability", "1", cloning, clock, index)
    found |= _described("rate", "loss of information on the class per time", "nat", rate, clock, index)
    if rate:
        sums, counts = unit_sums(np.stack(rate, 1), index)
        peak = time_of_peak(ts, sums.sum(0)[None] / counts.sum())[0]
        found |= _scalar("t_peak", "time of the fastest loss", peak, time_of_peak(ts, without_each(sums, counts)))
    return _dataset(found, ts, clock, {"diagnostic": "class_information", "n": len(x0), "seed": seed}, index)


def free_entropy_speciation(
    x0: Tensor,
    labels: ArrayLike,
    log_densities: OfClasses,
    times: ArrayLike,
    seed: int,
    unit: ArrayLike | None = None,
    clock: Clock = OU,
) -> xr.Dataset:
    r"""Where the mean of the free-entropy difference of two classes equals its fluctuation, for every pair of classes.

    Args:
        x0: real samples (n, C, \*grid). labels: (n,) class number 0 ... J - 1 of each.
        log_densities: (y, s (n,)) -> :math:`\ln p_s(y|j)` (n, J), without the weights of the classes, which shift the
            differences by a constant; ``LawMixture.class_log_densities``, ``known_log_probabilities``.
        times, seed, unit, clock: as in :func:`class_information`. The times must enclose those that are sought.

    Returns:
        Dataset over the clock, ``class`` i and ``other`` j with ``value`` = mean/fluctuation, ``error``, ``mean``
        (nats), ``fluctuation``; over (class, other) ``t_S`` and ``t_S_error``: the first time, coming from the noise,
        at which the value is 1; nan where it is not reached, and for i = j.
    """
    own = np.asarray(labels)
    if own.shape != (len(x0),) or not np.issubdtype(own.dtype, np.integer) or own.min() < 0:
        raise InputError(f"labels are the class numbers of the {len(x0)} samples, got {own.dtype} {own.shape}")
    index, ts = unit_index(unit, len(x0)), clock.times(times, x0[0].numel())
    logs = np.stack(
        [log_densities(clock.corrupt(x0, t, seed), clock.told(x0, t)).double().cpu().numpy() for t in ts.tolist()], 1
    )  # (n, T, J)
    classes = logs.shape[2]
    if own.max() >= classes:
        raise InputError(f"labels go up to {own.max()}, but there are {classes} classes: number them from 0")
    shape = (len(ts), classes, classes)
    curves = {name: np.full(shape, np.nan) for name in ("value", "error", "mean", "fluctuation")}
    roots = {name: np.full((classes, classes), np.nan) for name in ("t_S", "t_S_error")}
    for i in range(classes):
        if (own == i).sum() < 2:
            continue
        units = np.unique(index[own == i], return_inverse=True)[1]
        for j in (j for j in range(classes) if j != i):
            difference = logs[own == i][:, :, i] - logs[own == i][:, :, j]
            sums, counts = unit_sums(np.stack([difference, difference**2], 2), units)
            moments, without = sums.sum(0) / counts.sum(), without_each(sums, counts)
            value, others = _ratio(moments), _ratio(without)
            curves["value"][:, i, j], curves["mean"][:, i, j] = value, moments[:, 0]
            curves["fluctuation"][:, i, j] = np.sqrt(np.maximum(moments[:, 1] - moments[:, 0] ** 2, 0))
            curves["error"][:, i, j] = np.sqrt(jackknife_variance(others))
            roots["t_S"][i, j] = _crossing(ts, value[None], clock)[0]
            roots["t_S_error"][i, j] = np.sqrt(jackknife_variance(_crossing(ts, others, clock)))
    dims = (clock.name, "class", "other")
    found: dict[str, tuple] = {name: (dims, values, {"units": "1"}) for name, values in curves.items()}
    found["value"][2]["long_name"] = "mean free-entropy difference over its fluctuation"
    found |= {name: (dims[1:], values, {"units": "1"}) for name, values in roots.items()}
    found["t_S"][2]["long_name"] = f"speciation: {clock.long_name} at which mean and fluctuation are equal"
    return _dataset(found, ts, clock, {"diagnostic": "free_entropy_speciation", "n": len(x0), "seed": seed}, index)


def _ratio(moments: np.ndarray) -> np.ndarray:
    """Mean over standard deviation, from (..., 2) first and second moment."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return moments[..., 0] / np.sqrt(moments[..., 1] - moments[..., 0] ** 2)


def _crossing(ts: np.ndarray, ratios: np.ndarray, clock: Clock) -> np.ndarray:
    """Time (U,) at which ratios (U, T) first reach 1 from the noisy end, linear in ln ratio; nan where they do not."""
    order = slice(None, None, -1) if clock.later_is_noisier else slice(None)
    where, logs = clock.scale(ts[order]), np.log(np.maximum(ratios[:, order], 1e-6))
    up = (logs[:, :-1] < 0) & (logs[:, 1:] >= 0)
    first, row = up.argmax(1), np.arange(len(logs))
    if logs.shape[1] < 2:
        return np.full(len(logs), np.nan)
    low, high = logs[row, first], logs[row, first + 1]
    with np.errstate(invalid="ignore", divide="ignore"):
        found = where[first] - low * (where[first + 1] - where[first]) / (high - low)
    found = np.where(up.any(1), found, np.nan)
    return found if clock.later_is_noisier else np.exp(found)


def time_of_peak(ts: np.ndarray, rates: np.ndarray) -> np.ndarray:
    """Time (U,) of the largest of rates (U, T): vertex of the parabola through ln rate at it and its neighbours."""
    top = rates.argmax(1)
    found = np.full(len(rates), np.nan)
    inside = (top > 0) & (top < len(ts) - 1)
    place = top[inside]
    a, b, c = (np.log(rates[inside, place + k]) for k in (-1, 0, 1))
    left, right = ts[place] - ts[place - 1], ts[place + 1] - ts[place]
    slopes = (b - a) / left, (c - b) / right
    curvature = (slopes[1] - slopes[0]) / (left + right)
    with np.errstate(invalid="ignore", divide="ignore"):
        vertex = 0.5 * (ts[place - 1] + ts[place]) - slopes[0] / (2 * curvature)
    found[inside] = vertex
    return found


def _described(
    name: str, long_name: str, units: str, per_time: list[np.ndarray], clock: Clock, index: np.ndarray
) -> dict[str, tuple]:
    """A curve and its error as variables, none where it was not measured."""
    if not per_time:
        return {}
    value, error = mean_and_error(np.stack(per_time, 1), index)
    attrs = {"long_name": long_name, "units": units}
    error_name = "error" if name == "value" else f"{name}_error"
    errors = {"long_name": f"standard error of {long_name}", "units": units}
    return {name: ((clock.name,), value, attrs), error_name: ((clock.name,), error, errors)}


def _scalar(name: str, long_name: str, value: float, without: np.ndarray) -> dict[str, tuple]:
    error = float(np.sqrt(jackknife_variance(without)))
    attrs = {"long_name": long_name, "units": "1"}
    return {name: ((), float(value), attrs), f"{name}_error": ((), error, attrs | {"long_name": f"error of {name}"})}


def _dataset(
    variables: dict[str, tuple], ts: np.ndarray, clock: Clock, attrs: dict[str, str | int], index: np.ndarray
) -> xr.Dataset:
    import xarray as xr

    coords = {clock.name: (clock.name, ts, {"long_name": clock.long_name, "units": "1"})}
    return xr.Dataset(variables, coords=coords, attrs=attrs | {"n_independent": int(index.max()) + 1})
