r"""Response of any statistic to the labels: :math:`\partial \ln P/\partial\theta`, :math:`\partial p/\partial\theta`.

A model can have the right averages over the labels and follow them wrongly; an inference that differentiates it is then
biased. The derivative is that of a regression over the units of an ensemble (:mod:`physgen.diagnostics.label_fit`), at
labels that need not have been trained on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from physgen.diagnostics.label_fit import label_fit
from physgen.diagnostics.result import make_result
from physgen.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

TOLERANCE = 0.2
CARRIED = ("nyquist",)  # attributes of the statistic that its response has too


def response(
    ensemble: xr.Dataset, statistic: Callable[[xr.Dataset], xr.Dataset], logarithm: bool = False
) -> xr.Dataset:
    r"""Derivative of a statistic with each label, from the scatter of the labels over the units of an ensemble.

    Convention: :math:`y_u`, the statistic of unit u or its logarithm, is fitted by a polynomial of the labels
    :math:`\theta_u - \theta_0`, quadratic where there are three units for each coefficient, else linear; the value is
    :math:`\partial y/\partial\theta_l` at :math:`\theta_0`, the mean of the labels of the reference. Errors by
    jackknife over units. Where two ensembles have equal conditions their pseudo-values are compared unit by unit: the
    common noise, and what the polynomial leaves out, cancel.

    Args:
        ensemble: labels are floating-point variables on the dim of its units alone.
        statistic: ensemble -> result whose ``per_unit`` is an average over configurations, such as a spectrum or a
            histogram; of pseudo-values it is the response of what they estimate, to order 1/units.
        logarithm: of :math:`\ln y`; where a unit has y <= 0 InputError says so.

    Returns:
        Dataset of kind curve over (``label``, the dims of the statistic): ``value``, ``error``; ``yardstick`` is the
        typical response to any label by one standard deviation of it, over the standard deviation of the label: rms
        over points and labels, of a histogram the largest. A deviation of 1 is a missing response of that size,
        and a label that the statistic does not follow has no tolerance of its own.

    Source: the response panel and unseen labels of 2211.12444 and 2405.05255; the jackknife of Efron (1982).
    """
    measured = statistic(ensemble)
    labels, fit = label_fit(ensemble)
    dims = tuple(str(d) for d in measured["value"].dims)
    per_unit = measured["per_unit"].transpose("unit", *dims).values
    if logarithm:
        if not np.all(per_unit > 0):
            raise InputError(
                f"{measured.attrs['diagnostic']} is not positive in every unit: take the response of the value itself"
            )
        per_unit = np.log(per_unit)
    pseudo = fit.derivatives(per_unit)
    coords: dict[str, Any] = {d: measured[d].variable for d in dims if d in measured.coords}
    coords["label"] = ("label", list(labels.names), {"long_name": "label", "units": "1"})
    conditions = measured["condition"].values if "condition" in measured.coords else False
    ids = measured["unit"].values
    attrs = _said(measured, labels.units, fit.design.shape[1] > 1 + fit.slopes, logarithm)
    result = make_result(pseudo, ("label", *dims), coords, ids, conditions, **attrs)
    return result.assign(yardstick=_yardstick(result, labels.values.std(axis=0), measured.attrs["kind"] == "histogram"))


def _said(measured: xr.Dataset, label_units: tuple[str, ...], quadratic: bool, logarithm: bool) -> Mapping[str, Any]:
    value = measured["value"].attrs
    name, symbol = str(value.get("long_name", "statistic")), str(value.get("symbol", ""))
    units = "1" if logarithm else str(value.get("units", "1"))
    if any(unit != "1" for unit in label_units):
        units = f"{units} per unit of the label"
    of = f"ln of the {name}" if logarithm else f"the {name}"
    kind = "quadratic" if quadratic else "linear"
    said = {
        "diagnostic": f"{measured.attrs['diagnostic']}_response",
        "kind": "curve",
        "long_name": f"response of {of}",
        "units": units,
        "unit": measured.attrs.get("unit", "unit"),
        "convention": "Derivative with each label at the mean of the labels of the reference, from a "
        f"{kind} regression over independent units.",
        "tolerance": TOLERANCE,
        "tolerance_kind": "difference",
        "tolerance_of": f"response of {'ln ' if logarithm else ''}{measured.attrs.get('tolerance_of', name)}, "
        f"of {'the largest' if measured.attrs['kind'] == 'histogram' else 'its rms'}",
    }
    if symbol and logarithm:
        said["symbol"] = rf"\partial\ln {symbol}/\partial\theta"
    return said | {name: measured.attrs[name] for name in CARRIED if name in measured.attrs}


def _yardstick(result: xr.Dataset, spread: np.ndarray, largest: bool) -> xr.DataArray:
    """The typical response to a label by its spread (L,), over that spread; for each kept condition its own."""
    value = result["value"]
    by_spread = value * _along_label(value, spread)
    over = ("label", value.dims[-1])
    size = abs(by_spread).max(over) if largest else (by_spread**2).mean(over) ** 0.5
    described = {"long_name": "size of the response", "units": value.attrs.get("units", "1")}
    return (size / _along_label(value, spread)).broadcast_like(value).transpose(*value.dims).assign_attrs(described)


def _along_label(value: xr.DataArray, numbers: np.ndarray) -> xr.DataArray:
    return value.isel({d: 0 for d in value.dims if d != "label"}, drop=True).copy(data=numbers)
