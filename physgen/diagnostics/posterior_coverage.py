r"""Coverage of posteriors of fields: ranks of the truth among the draws, by cells and by Fourier modes, and r(k).

Where the D draws are from the posterior of the truth that they go with, the truth is one more draw: the number of draws
below it is uniform on 0, ..., D in each cell and in the real and imaginary part of each mode, whatever the law. A
central interval of credibility p then covers a share p. Cells and modes of a field are not independent of each other:
errors are standard errors over independent units of the data, and coverage of cells is blind to correlations between
them, which the modes see. Coverage of one number at a time does not prove a posterior right; it can prove it wrong.

Shapes: B fields, D draws, C components, \*grid lattice, K shells of wavenumber.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from physgen.diagnostics.spectrum import inverse_length
from physgen.ensemble import SPACE, flatten, sample_dims, spacing, units_of_samples
from physgen.errors import InputError
from physgen.lattice import shells, wavenumber

if TYPE_CHECKING:
    import xarray as xr

NOMINAL = (0.5, 0.68, 0.95)
BINS = 20
POWER = 1.96 + 1.28  # a deviation of so many errors is seen at 95 % confidence in 90 of 100 tries


def posterior_coverage(truth: xr.Dataset, posterior: xr.Dataset, draw: str = "draw", seed: int = 0) -> xr.Dataset:
    r"""Coverage of the cells that were not observed as they are, of all modes by shells, and the correlation r(k).

    Args:
        truth: the fields that the posterior claims to know, in its order.
        posterior: an ensemble with the dim ``draw``; cells where ``observation_seen`` is 1 and the observation equals
            the truth are left out, since nothing is uncertain there.
        seed: of the ties: the rank k of D draws becomes :math:`(k + u)/(D + 1)`, u uniform.

    Returns:
        Dataset over ``level`` (0.5, 0.68, 0.95): ``value``, ``error`` (over independent units), ``seen`` (the smallest
        deviation seen in 9 of 10 tries at 95 %); over ``rank``: ``ranks``, the density of the ranks of cells; over
        ``level`` and ``k``: ``mode_value``, ``mode_error``; over ``unit``, ``level`` and ``k``: ``mode_units``, that of
        each unit, for averages over bands (:func:`band_coverage`); over ``k``: ``modes`` in the shell,
        ``mean_correlation`` of the posterior mean and ``draw_correlation`` of a draw with the truth, with errors.
        Attribute ``n_independent``.
    """
    import xarray as xr

    x, drawn = flatten(truth).astype(float), _draws(posterior, draw)
    if drawn.shape[:1] + drawn.shape[2:] != x.shape:
        raise InputError(
            f"the truth has fields {x.shape}, the posterior {drawn.shape[:1] + drawn.shape[2:]}: pair them"
        )
    units = np.unique(units_of_samples(truth), return_inverse=True)[1].reshape(-1)
    random = np.random.default_rng([seed, 29])
    free = _free(posterior, x)
    cell = np.where(free, _ranks(x, drawn, random), np.nan)
    count = int(units.max()) + 1
    level = np.array(NOMINAL)
    value, error = _over_units(np.stack([_inside(cell, p) for p in level], axis=1), units)
    counts = np.histogram(cell[np.isfinite(cell)], np.linspace(0, 1, BINS + 1), density=True)[0]
    numbers, k = _shells(truth, x.shape[2:])
    modes = _mode_coverage(x, drawn, numbers, random)
    of_units = _by_units(modes, units)
    mode_value, mode_error = _of_units(of_units)
    found: dict[str, tuple] = {
        "value": ("level", value, {"long_name": "coverage of cells", "units": "1"}),
        "error": ("level", error, {"long_name": "standard error over units", "units": "1"}),
        "seen": ("level", POWER * error, {"long_name": "smallest deviation seen in 9 of 10 tries", "units": "1"}),
        "ranks": ("rank", counts, {"long_name": "density of ranks", "units": "1"}),
        "mode_value": (("level", "k"), mode_value, {"long_name": "coverage of modes", "units": "1"}),
        "mode_error": (("level", "k"), mode_error, {"long_name": "standard error over units", "units": "1"}),
        "mode_units": (("unit", "level", "k"), of_units, {"long_name": "coverage of modes of a unit", "units": "1"}),
        "modes": ("k", np.bincount(numbers.ravel()), {"long_name": "modes of the half-spectrum", "units": "1"}),
    }
    for name, field in (("mean", drawn.mean(1)), ("draw", drawn[:, 0])):
        r, r_error = _correlation(x, field, numbers, units)
        said = {"long_name": f"correlation of the truth with the {name}", "units": "1"}
        found[f"{name}_correlation"] = ("k", r, said)
        found[f"{name}_correlation_error"] = ("k", r_error, {"units": "1"})
    coords = {
        "level": ("level", level, {"long_name": "credibility", "units": "1"}),
        "rank": ("rank", (np.arange(BINS) + 0.5) / BINS, {"long_name": "rank of the truth", "units": "1"}),
        "k": ("k", k, {"long_name": "wavenumber", "symbol": "k", "units": inverse_length(truth)}),
    }
    attrs = {"n_independent": count, "draws": drawn.shape[1], "free": float(free.mean())}
    return xr.Dataset(found, coords, {"diagnostic": "posterior_coverage", **attrs})


def band_coverage(found: xr.Dataset, low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
    """Coverage (levels,) of the modes with low <= k < high, each mode alike, and its error over units.

    ``found`` is what :func:`posterior_coverage` gave. Errors of shells cannot be added up: they belong to the same
    fields.
    """
    inside = np.flatnonzero((found["k"].values >= low) & (found["k"].values < high))
    if not len(inside):
        raise InputError(f"no mode has a wavenumber from {low:g} to {high:g}: take a wider band")
    values, weight = found["mode_units"].values[:, :, inside], found["modes"].values[inside].astype(float)
    some = np.where(np.isfinite(values), weight, 0.0)
    total = some.sum(-1)
    share = np.divide((np.nan_to_num(values) * some).sum(-1), total, out=np.full_like(total, np.nan), where=total > 0)
    return _of_units(share)


def _shells(truth: xr.Dataset, grid: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Number of the shell of each mode of the half-spectrum, and the mean wavenumber of each shell (K,)."""
    numbers = shells(list(grid), spacing(truth), half=True)
    count = np.bincount(numbers.ravel())
    return numbers, np.bincount(numbers.ravel(), wavenumber(list(grid), spacing(truth)).ravel()) / count


def coverage_table(found: xr.Dataset) -> str:
    """Nominal and found coverage of cells, with error and power, one line each."""
    lines = [
        f"coverage of cells over {found.attrs['n_independent']} independent units, {found.attrs['draws']} draws each"
    ]
    for p, value, error, seen in zip(*(found[n].values for n in ("level", "value", "error", "seen")), strict=True):
        lines.append(f"  {100 * p:3.0f} %: {100 * value:5.1f} +- {100 * error:.1f} %  (would see {100 * seen:.1f} %)")
    return "\n".join(lines)


def _draws(posterior: xr.Dataset, draw: str) -> np.ndarray:
    """(B, D, C, \\*grid)."""
    if draw not in posterior["field"].dims:
        raise InputError(f"the posterior has no dim {draw!r} that counts draws: make it by physgen sample --given")
    field = posterior["field"]
    field = field if "component" in field.dims else field.expand_dims("component")
    samples = [d for d in sample_dims(posterior) if d != draw]
    space = [d for d in field.dims if d in SPACE]
    values = field.transpose(*samples, draw, "component", *space).values.astype(float)
    return values.reshape(-1, *values.shape[len(samples) :])


def _free(posterior: xr.Dataset, x: np.ndarray) -> np.ndarray:
    """Where a cell is uncertain (B, C, \\*grid)."""
    if "observation_seen" not in posterior or posterior["observation_seen"].size != x.size:
        return np.ones(x.shape, bool)
    seen, observed = (posterior[n].values.reshape(x.shape) for n in ("observation_seen", "observation"))
    return ~((seen == 1) & np.isclose(observed, x, rtol=1e-4, atol=1e-6 * float(np.abs(x).max())))


def _ranks(x: np.ndarray, drawn: np.ndarray, random: np.random.Generator) -> np.ndarray:
    below, equal = (drawn < x[:, None]).sum(1), (drawn == x[:, None]).sum(1)
    return (below + random.random(x.shape) * (equal + 1)) / (drawn.shape[1] + 1)


def _inside(rank: np.ndarray, p: float) -> np.ndarray:
    """Share (B,) of the ranks in the central interval; NaN where a field has none."""
    flat = rank.reshape(len(rank), -1)
    number = np.isfinite(flat).sum(1)
    within = (np.abs(flat - 0.5) <= p / 2).sum(1)
    return np.divide(within, number, out=np.full(len(flat), np.nan), where=number > 0)


def _mode_coverage(x: np.ndarray, drawn: np.ndarray, numbers: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """(B, levels, K): coverage of real and imaginary parts of the modes of each shell."""
    axes = tuple(range(-numbers.ndim, 0))
    truth, draws = np.fft.rfftn(x, axes=axes), np.fft.rfftn(drawn, axes=axes)
    scale = 1e-9 * np.abs(truth).max()
    inside = np.zeros((len(x), len(NOMINAL), int(numbers.max()) + 1))
    weight = np.zeros(inside.shape[::2])
    for part in ("real", "imag"):
        t, d = getattr(truth, part), getattr(draws, part)
        moves = np.ptp(d, axis=1) > scale  # the imaginary part of a real mode is none
        rank = _ranks(t, d, random)
        for b in range(len(x)):
            for i, p in enumerate(NOMINAL):
                good = ((np.abs(rank[b] - 0.5) <= p / 2) & moves[b]).sum(0)
                inside[b, i] += np.bincount(numbers.ravel(), good.ravel(), inside.shape[2])
            weight[b] += np.bincount(numbers.ravel(), moves[b].sum(0).ravel(), inside.shape[2])
    return np.divide(inside, weight[:, None], out=np.full_like(inside, np.nan), where=weight[:, None] > 0)


def _correlation(
    x: np.ndarray, other: np.ndarray, numbers: np.ndarray, units: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    r"""r(k) = <x y*> / sqrt(<x x*> <y y*>) over all fields, and its jackknife error over units, each (K,)."""
    axes, last = tuple(range(-numbers.ndim, 0)), int(numbers.max()) + 1
    a, b = np.fft.rfftn(x, axes=axes), np.fft.rfftn(other, axes=axes)
    sums = np.zeros((3, int(units.max()) + 1, last))
    for i, product in enumerate(((a * b.conj()).real, np.abs(a) ** 2, np.abs(b) ** 2)):
        for n, unit in enumerate(units):
            sums[i, unit] += np.bincount(numbers.ravel(), product[n].sum(0).ravel(), last)

    def ratio(s: np.ndarray) -> np.ndarray:
        return s[0] / np.sqrt(np.maximum(s[1] * s[2], 1e-300))

    total = sums.sum(1)
    left = np.stack([ratio(total - sums[:, u]) for u in range(sums.shape[1])])
    count = len(left)
    error = np.sqrt((count - 1) / count * ((left - left.mean(0)) ** 2).sum(0)) if count > 1 else np.full(last, np.nan)
    return ratio(total), error


def _over_units(values: np.ndarray, units: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean of values (B, ...) and its standard error: fields of a unit are averaged first."""
    return _of_units(_by_units(values, units))


def _by_units(values: np.ndarray, units: np.ndarray) -> np.ndarray:
    """Means (U, ...) of the values (B, ...) of each unit."""
    return np.stack([_mean(values[units == u]) for u in range(int(units.max()) + 1)])


def _of_units(means: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean of values (U, ...) of units and its standard error."""
    count = np.isfinite(means).sum(0)
    mean = _mean(means)
    square = np.nansum((means - mean) ** 2, axis=0)
    return mean, np.where(count > 1, np.sqrt(square / np.maximum(count - 1, 1) / np.maximum(count, 1)), np.nan)


def _mean(values: np.ndarray) -> np.ndarray:
    number = np.isfinite(values).sum(0)
    total = np.nansum(values, axis=0)
    return np.divide(total, number, out=np.full(np.shape(total), np.nan), where=number > 0)
