"""Errors from the data themselves: jackknife, bootstrap, independent halves, autocorrelation time."""

import numpy as np

from physgen.errors import InputError


def jackknife(per_unit, statistic):
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
    total = per_unit.sum(axis=0)
    without = statistic((total - per_unit) / (count - 1))
    pseudo = count * statistic(total / count) - (count - 1) * without
    return pseudo.mean(axis=0), pseudo.std(axis=0, ddof=1) / np.sqrt(count), pseudo


def bootstrap(per_unit, statistic, draws, rng):
    """Bootstrap replicas of a statistic: units are drawn with replacement.

    Args:
        per_unit: (U, *shape).
        statistic: maps (U, *shape), one resampled set of units, to (*result).
        draws: number of replicas.
        rng: numpy Generator.

    Returns:
        (draws, *result); its standard deviation is the standard error, its quantiles the interval.
    """
    per_unit = np.asarray(per_unit, dtype=float)
    chosen = rng.integers(len(per_unit), size=(draws, len(per_unit)))
    return np.stack([statistic(per_unit[rows]) for rows in chosen])


def halves(ensemble, seed, within=False):
    """Two independent halves of an ensemble, of equal size (an odd rest is left out).

    Args:
        ensemble: any ensemble.
        seed: of the random choice.
        within: False splits the independent units (simulations, disorder) between the halves. True splits the
            samples or replicas of every unit, so that both halves hold the same conditions; where that would leave
            a single one of a unit (fewer than 4 replicas: overlaps need two), the units are split after all. A single
            disorder instance is halved by its replicas, or by its chains where they are named.

    Returns:
        two ensembles.
    """
    from physgen.ensemble import sample_dims

    rng = np.random.default_rng(seed)
    dims = sample_dims(ensemble)
    alone = ensemble.sizes.get("disorder", 1) < 2
    if alone and "replica" in dims and "chain" in ensemble.variables:
        sides = _shuffled_halves(np.unique(ensemble["chain"].values), rng)
        return tuple(ensemble.isel(replica=np.flatnonzero(np.isin(ensemble["chain"].values, side))) for side in sides)
    if within and "replica" in dims and ensemble.sizes["replica"] >= (2 if alone else 4):
        return _cut(ensemble, "replica", np.arange(ensemble.sizes["replica"]), rng)
    grouped = "simulation" in ensemble and ensemble["simulation"].dims == ("sample",)
    if grouped and within:
        simulation = ensemble["simulation"].values
        members = [np.flatnonzero(simulation == s) for s in np.unique(simulation)]
        if min(map(len, members)) > 1:
            parts = [_shuffled_halves(m, rng) for m in members]
            rows = [np.sort(np.concatenate(side)) for side in zip(*parts, strict=True)]
            return tuple(ensemble.isel(sample=r) for r in rows)
    if grouped:
        first, second = _shuffled_halves(np.unique(ensemble["simulation"].values), rng)
        labels = ensemble["simulation"].values
        return tuple(ensemble.isel(sample=np.flatnonzero(np.isin(labels, side))) for side in (first, second))
    dim = next((d for d in ("disorder", "sample", "replica") if d in dims and ensemble.sizes[d] > 1), dims[-1])
    return _cut(ensemble, dim, np.arange(ensemble.sizes[dim]), rng)


def _cut(ensemble, dim, rows, rng):
    return tuple(ensemble.isel({dim: np.sort(side)}) for side in _shuffled_halves(rows, rng))


def _shuffled_halves(rows, rng):
    half = len(rows) // 2
    if half == 0:
        raise InputError(f"{len(rows)} independent unit cannot be halved: the floor of a comparison needs at least 2")
    order = rng.permutation(rows)
    return order[:half], order[half : 2 * half]


def autocorrelation(series):
    r"""Normalised autocorrelation :math:`\rho(t)` of (..., T) along the last axis, by FFT, mean over T removed."""
    series = np.asarray(series, dtype=float)
    length = series.shape[-1]
    centred = series - series.mean(axis=-1, keepdims=True)
    spectrum = np.abs(np.fft.rfft(centred, 2 * length)) ** 2
    covariance = np.fft.irfft(spectrum)[..., :length] / length
    return covariance / covariance[..., :1]


def tau_int(series, window=6.0):
    r"""Integrated autocorrelation time :math:`\tau = \tfrac12 + \sum_{t=1}^{W} \rho(t)` in steps of the series.

    W is the first t >= window * tau(t) (Sokal 1996). Independent values give 1/2; the standard error of a mean
    of T values is :math:`\sqrt{2\tau\,\mathrm{var}/T}`.

    Args:
        series: (..., T); the autocorrelation is averaged over leading axes (independent chains).
        window: Sokal's c, 5 to 6.

    Returns:
        tau, and its statistical error :math:`\tau\sqrt{2(2W+1)/(T\,\mathrm{chains})}`.
    """
    series = np.atleast_2d(np.asarray(series, dtype=float))
    chains = int(np.prod(series.shape[:-1]))
    rho = autocorrelation(series).reshape(chains, -1).mean(axis=0)
    tau = np.cumsum(rho) - 0.5
    closed = np.flatnonzero(np.arange(len(tau)) >= window * tau)
    last = int(closed[0]) if closed.size else len(tau) - 1
    error = abs(tau[last]) * np.sqrt(2 * (2 * last + 1) / (series.shape[-1] * chains))
    return float(tau[last]), float(error)


def effective_sample_size(series, window=6.0):
    r"""Number of independent values worth the series: :math:`T / (2\tau)` times the number of chains, at most all."""
    series = np.atleast_2d(np.asarray(series, dtype=float))
    tau, _ = tau_int(series, window)
    return min(series.size / (2 * max(tau, 0.5)), float(series.size))
