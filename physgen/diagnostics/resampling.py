"""Errors from the data themselves: jackknife, independent halves, autocorrelation time."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from physgen.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

    from physgen.ensemble import IndependentUnits

    Halves = tuple[xr.Dataset, xr.Dataset]

WINDOW = 6.0  # Sokal's window in units of tau
FEWEST_TO_HALVE = 4  # draws of a unit whose halves still hold two each: overlaps need two


# --- jackknife ----------------------------------------------------------------------------------


def jackknife(
    per_unit: ArrayLike, statistic: Callable[[np.ndarray], np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    r"""Jackknife of a statistic of the mean over independent units.

    With :math:`f_{(u)} = f(\bar v` without unit u), the pseudo-values are :math:`U f(\bar v) - (U-1) f_{(u)}`; their
    mean is the estimate with its O(1/U) bias removed, their standard error the error. (Efron 1982)

    Args:
        per_unit: (U, *shape), U >= 2.
        statistic: maps (..., *shape) to (..., *result): a function of averages, vectorised over leading axes.

    Returns:
        estimate (*result), error (*result), pseudo_values (U, *result).
    """
    per_unit = np.asarray(per_unit, dtype=float)
    count = len(per_unit)
    if count < 2:
        raise InputError(f"a jackknife needs at least 2 independent units, got {count}: measure more of them")
    without = statistic(leave_one_out(per_unit))
    pseudo = count * statistic(per_unit.sum(axis=0) / count) - (count - 1) * without
    return pseudo.mean(axis=0), pseudo.std(axis=0, ddof=1) / np.sqrt(count), pseudo


def leave_one_out(per_unit: np.ndarray) -> np.ndarray:
    """Means (U, *shape) over all units but one; nan for a single unit."""
    count = len(per_unit)
    return (per_unit.sum(axis=0) - per_unit) / (count - 1) if count > 1 else np.full_like(per_unit, np.nan)


def jackknife_variance(without: np.ndarray) -> np.ndarray:
    r"""Variance :math:`\frac{U-1}{U}\sum_u (f_{(u)} - \bar f)^2` from a statistic without each unit, (U, *shape)."""
    count = len(without)
    return (count - 1) / count * ((without - without.mean(axis=0)) ** 2).sum(axis=0)


# --- halves -------------------------------------------------------------------------------------


def halves(ensemble: xr.Dataset, seed: int, within: bool = False) -> Halves:
    """Two independent halves of an ensemble, of equal size (an odd rest is left out).

    Args:
        ensemble: its root attributes say what its independent units are (:mod:`physgen.ensemble.units`).
        seed: of the random choice.
        within: False splits the independent units between the halves. True splits the samples of every unit, so that
            both halves hold the same conditions; where that would leave a single one of a unit, the units are split
            after all. A single unit is halved by what is independent within it.

    Returns:
        two ensembles.

    Raises:
        InputError: there is one independent unit only.
    """
    from physgen.ensemble import exchangeable_dims, independent_units, sample_dims

    rng = np.random.default_rng(seed)
    units = independent_units(ensemble)
    if units.along is None:
        _check_can_halve(units.count)
        return _cut(ensemble, max(set(sample_dims(ensemble)) - set(units.kept), key=ensemble.sizes.__getitem__), rng)
    if within and units.identified:
        draws = [d for d in exchangeable_dims(ensemble) if d != units.along and ensemble.sizes[d] >= FEWEST_TO_HALVE]
        if draws:
            return _cut(ensemble, draws[0], rng)
        if units.name != units.along and (parts := _within_labels(ensemble, units, rng)) is not None:
            return parts
    if units.name == units.along:
        return _cut(ensemble, units.along, rng)
    sides = _shuffled_halves(units.labels, rng)
    first, second = (ensemble.isel({units.along: np.flatnonzero(np.isin(units.entries, side))}) for side in sides)
    return first, second


def _within_labels(ensemble: xr.Dataset, units: IndependentUnits, rng: np.random.Generator) -> Halves | None:
    """Half of the members of each unit on either side; None where a unit has a single one."""
    members = [np.flatnonzero(units.entries == label) for label in units.labels]
    if min(map(len, members)) < 2:
        return None
    parts = [_shuffled_halves(m, rng) for m in members]
    rows = [np.sort(np.concatenate(side)) for side in zip(*parts, strict=True)]
    return ensemble.isel({units.along: rows[0]}), ensemble.isel({units.along: rows[1]})


def _cut(ensemble: xr.Dataset, dim: str, rng: np.random.Generator) -> Halves:
    first, second = _shuffled_halves(np.arange(ensemble.sizes[dim]), rng)
    return ensemble.isel({dim: np.sort(first)}), ensemble.isel({dim: np.sort(second)})


def _shuffled_halves(rows: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    _check_can_halve(len(rows))
    half = len(rows) // 2
    order = rng.permutation(rows)
    return order[:half], order[half : 2 * half]


def _check_can_halve(count: int) -> None:
    if count < 2:
        raise InputError(f"{count} independent unit cannot be halved: the floor of a comparison needs at least 2")


# --- autocorrelation ----------------------------------------------------------------------------


def integrated_time(series: np.ndarray, mean: float | None = None, window: float = WINDOW) -> float:
    r"""Integrated autocorrelation time :math:`\tau = \frac12 + \sum_{t=1}^{W}\rho(t)` in steps of the series.

    W is the smallest window with :math:`W \ge` ``window`` :math:`\tau(W)` (Sokal 1997); independent values have 1/2,
    and n values are worth n / (2 tau) independent ones. The bias is of order tau/n.

    Args:
        series: (n, c); the chains share one mean, so chains stuck in different places make tau large.
        mean: the exact mean if it is known (0 for an overlap without field), else the common mean is used.
    """
    series = np.asarray(series, dtype=np.float64)
    series = series[:, None] if series.ndim == 1 else series
    n = len(series)
    if n < 8:
        raise InputError(f"an autocorrelation time needs at least 8 measurements, got {n}: run longer")
    centred = series - (series.mean() if mean is None else mean)
    power = np.abs(np.fft.rfft(centred, 2 * n, axis=0)) ** 2
    covariance = np.fft.irfft(power, axis=0)[:n].mean(axis=1) / (n - np.arange(n))
    if covariance[0] <= 0:  # constant: nothing moves because nothing can
        return 0.5
    tau = 0.5 + np.cumsum(covariance[1 : n // 2] / covariance[0])
    enough = np.flatnonzero(np.arange(1, len(tau) + 1) >= window * tau)
    return float(max(tau[enough[0]] if len(enough) else tau.max(), 0.5))
