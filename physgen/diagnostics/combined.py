"""Results of one diagnostic on few costly units and on many cheap ones, combined by their common random starts.

The arithmetic is that of :mod:`physgen.diagnostics.control_variate`; here units are matched, and numbers get names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats

from physgen.diagnostics.control_variate import Controlled, controlled_covariance, controlled_mean
from physgen.diagnostics.result import check_comparable
from physgen.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

MOST_POINTS = 128  # of a covariance matrix
MEANINGS = {  # variable -> long name
    "value": "combined estimate",
    "error": "standard error of the combined estimate",
    "plain": "costly units alone",
    "plain_error": "standard error of the costly units alone",
    "cheap": "surrogates alone",
    "cheap_error": "standard error of the surrogates alone",
    "slope": "coefficient of the control variate",
    "correlation": "correlation of costly and surrogate",
    "correlation_error": "standard error of the correlation",
    "gain": "variance of the costly mean over that of the combined one",
    "gain_low": "gain at one error less of correlation",
    "gain_high": "gain at one error more of correlation",
}
OF_THE_VALUE = ("value", "error", "plain", "plain_error", "cheap", "cheap_error")  # they have its units


def combine_results(
    costly: xr.Dataset,
    surrogates: Sequence[xr.Dataset],
    starts: np.ndarray,
    surrogate_starts: Sequence[np.ndarray],
    *,
    slope: float | None = None,
    multivariate: bool = False,
    covariance: bool = True,
) -> xr.Dataset:
    """Combined mean of a diagnostic and, with the prefix ``covariance_``, the covariance between its points.

    Args:
        costly: result of U units. surrogates: results of the same diagnostic.
        starts: (U,) random start of each unit; surrogate_starts: that of each unit of each of the surrogates. A start
            that comes twice among them counts once.
        slope, multivariate: of :func:`physgen.diagnostics.control_variate.controlled_mean`.
        covariance: whether to estimate it too; it is left out where there are more than 128 points or fewer than seven
            pairs, and ``attrs["covariance_note"]`` says so.

    Returns:
        Dataset over the coordinates of the result: the fields of :class:`.Controlled`, and those of the covariance over
        the points (C order) ``point`` and ``other_point``; attrs ``n_pairs``, ``n_cheap``, ``freedom``.

    Raises:
        InputError: a costly unit without a surrogate, other points, too few pairs or draws.
    """
    for one in surrogates:
        check_comparable(costly, one)
    per_unit = costly["per_unit"].transpose("unit", ...).values.astype(float)
    cheap = [one["per_unit"].transpose("unit", *costly["per_unit"].dims[1:]).values for one in surrogates]
    paired, further = matched(starts, np.concatenate(list(surrogate_starts)))
    shape, rows = per_unit.shape[1:], np.concatenate(cheap).astype(float).reshape(-1, int(np.prod(per_unit.shape[1:])))
    x = per_unit.reshape(len(per_unit), -1)
    if not (np.isfinite(x).all() and np.isfinite(rows).all()):
        raise InputError("a unit has no value at some point: combine a diagnostic that every unit has in full")
    found = controlled_mean(x, rows[paired], rows[further], slope, multivariate)
    described = {key: costly["value"].attrs.get(key, "1") for key in ("units",)}
    variables = _variables(found, costly["value"].dims, shape, described, "")
    variables["value"][2].update(costly["value"].attrs)
    note = ""
    if covariance:
        try:
            if x.shape[1] > MOST_POINTS:
                raise InputError(f"{x.shape[1]} points are more than {MOST_POINTS}")
            entries = controlled_covariance(x, rows[paired], rows[further], slope)
            squared = {"units": _squared(described["units"])}
            variables |= _variables(entries, ("point", "other_point"), entries.value.shape, squared, "covariance_")
        except InputError as error:
            note = f"no covariance: {error}"
    kept = {k: v for k, v in costly.attrs.items() if k not in ("n_independent", "n_samples")}
    counts = {"n_pairs": len(x), "n_cheap": len(further), "freedom": found.freedom, "covariance_note": note}
    return _dataset(costly, variables, kept | counts)


def logarithmic(result: xr.Dataset) -> xr.Dataset:
    r"""The same diagnostic of :math:`\ln v_u`, v_u the value of a unit: what is combined are then means of logarithms.

    Where few units hold much of the variance, as of P(k) in small boxes, the logarithm has less of a tail.
    Raises InputError where a value is not positive.
    """
    per_unit = result["per_unit"]
    if not bool((per_unit > 0).all()):
        raise InputError("a unit has a value that is not positive: combine it without the logarithm")
    rows = np.log(per_unit.transpose("unit", ...).values.astype(float))
    said = result["value"].attrs
    name = {"units": "1", "long_name": f"ln of the {said.get('long_name', 'value')}"}
    dims, count = result["value"].dims, len(rows)
    error = rows.std(axis=0, ddof=1) / np.sqrt(count) if count > 1 else np.full(rows.shape[1:], np.nan)
    return result.assign(
        per_unit=(("unit", *dims), rows, name), value=(dims, rows.mean(axis=0), name), error=(dims, error, name)
    ).assign_attrs(logarithm=1)


def matched(starts: np.ndarray, surrogate_starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the surrogates of the costly units, in their order, and one row of each further start.

    Raises InputError where a unit has no surrogate, or no start is left.
    """
    names, first = np.unique(surrogate_starts, return_index=True)
    place = dict(zip(names.tolist(), first.tolist(), strict=True))
    alone = [start for start in np.asarray(starts).tolist() if start not in place]
    if alone:
        raise InputError(
            f"{len(alone)} of {len(starts)} costly units have no surrogate of the same random start: make surrogates "
            "of all, with the same seed and numbers"
        )
    further = np.sort(first[~np.isin(names, starts)])
    if len(further) < 2:
        raise InputError(
            f"{len(further)} surrogates have other random starts than the costly units: their mean needs many more, "
            "make them from further numbers"
        )
    return np.array([place[start] for start in np.asarray(starts).tolist()]), further


def against(combined: xr.Dataset, reference: xr.Dataset) -> xr.Dataset:
    """The combined result with what independent units found: ``reference``, ``ratio`` to it, and ``z``.

    ``z`` is the difference over the errors of both. Attributes: ``largest_z`` and ``bias_p_value``, its p-value by
    Student's law (the freedom of the combined error) times the number of points: at most the given rate of equal means
    lie below it, however the points are correlated. Those of the covariance have the prefix ``covariance_``.
    """
    check_comparable(combined.assign(value=combined["value"]), reference)
    rows = reference["per_unit"].transpose("unit", ...).values.astype(float)
    rows = rows.reshape(len(rows), -1)
    combined = _beside(combined, rows.mean(axis=0), rows.std(axis=0, ddof=1) / np.sqrt(len(rows)), "")
    if "covariance_value" in combined:
        centred, covariance = rows - rows.mean(axis=0), np.atleast_2d(np.cov(rows, rowvar=False))
        spread = np.maximum((centred**2).T @ centred**2 / len(rows) - covariance**2, 0) / len(rows)
        combined = _beside(combined, covariance, np.sqrt(spread), "covariance_")
    return combined.assign_attrs(n_reference=len(rows))


def _beside(combined: xr.Dataset, truth: np.ndarray, error: np.ndarray, prefix: str) -> xr.Dataset:
    value, mine = (combined[f"{prefix}{name}"] for name in ("value", "error"))
    truth, error = truth.reshape(value.shape), error.reshape(value.shape)
    total = np.hypot(mine.values, error)
    with np.errstate(invalid="ignore", divide="ignore"):
        z = np.where(total > 0, (value.values - truth) / total, np.nan)
        ratio, ratio_error = value.values / truth, total / np.abs(truth)
    if "logarithm" in combined.attrs and not prefix:
        ratio = np.exp(value.values - truth)
        ratio_error = total * ratio
    dims, units = value.dims, {"units": value.attrs.get("units", "1")}
    largest = float(np.nanmax(np.abs(z))) if np.isfinite(z).any() else np.nan
    # the matrix is symmetric: each entry counts once
    points = z.shape[0] * (z.shape[0] + 1) // 2 if prefix else z.size
    p_value = min(1.0, points * 2 * float(stats.t.sf(largest, combined.attrs["freedom"])))
    return combined.assign(
        {
            f"{prefix}reference": (dims, truth, {"long_name": "independent costly units", **units}),
            f"{prefix}reference_error": (dims, error, {"long_name": "standard error of the reference", **units}),
            f"{prefix}ratio": (dims, ratio, {"long_name": "combined / reference", "units": "1"}),
            f"{prefix}ratio_error": (dims, ratio_error, {"long_name": "standard error of the ratio", "units": "1"}),
            f"{prefix}z": (dims, z, {"long_name": "difference / standard error", "units": "1"}),
        }
    ).assign_attrs({f"{prefix}largest_z": largest, f"{prefix}bias_p_value": p_value})


def _variables(
    found: Controlled, dims: Sequence[Any], shape: Sequence[int], units: Mapping[str, str], prefix: str
) -> dict[str, Any]:
    return {
        f"{prefix}{name}": (
            tuple(dims),
            getattr(found, name).reshape(shape),
            {"long_name": f"{prefix.replace('_', ': ')}{meaning}", "units": "1"}
            | (dict(units) if name in OF_THE_VALUE else {}),
        )
        for name, meaning in MEANINGS.items()
    }


def _squared(units: str) -> str:
    return units if units in ("1", "") else f"({units})^2"


def _dataset(result: xr.Dataset, variables: Mapping[str, Any], attrs: Mapping[str, Any]) -> xr.Dataset:
    import xarray as xr

    coords = {name: c.variable for name, c in result.coords.items() if "unit" not in c.dims}
    return xr.Dataset(variables, coords=coords, attrs=dict(attrs))
