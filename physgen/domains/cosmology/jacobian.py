r"""The Jacobian of the encoding: what a density of encoded fields is in units of the field.

The slopes :math:`a_j` of single values are known in closed form. Where the zero mode of x is replaced by that of the
field (:mod:`physgen.domains.cosmology.zero_mode`, slope b), :math:`x'_i = x_i - \bar x + b\,m`, the determinant of the
N cells gains the factor of one direction,

.. math:: \ln|J| = \sum_j \ln a_j + \ln \frac{b}{\mathrm{scale}} + \ln \frac1N \sum_j \frac{1}{a_j} .

Where the mean of the field is the same in all of the data (b = 0) the zero mode of x is not that of the field, which
has one direction less: the density is then that of the field and of a zero mode of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from scipy.special import logsumexp

from physgen.domains.cosmology.encoding import component_constants, transform_values
from physgen.domains.cosmology.gaussianise import score_slopes
from physgen.ensemble import flatten


def log_jacobian(ensemble: xr.Dataset, constants: Mapping[str, Any]) -> np.ndarray:
    r""":math:`\sum \ln\,(d x/d\,\mathrm{field})` over components and cells, (B,) float64; see :func:`encode_field`."""
    values = flatten(ensemble)
    total = np.zeros(len(values))
    for c, part in enumerate(component_constants(constants)):
        slopes = log_slopes(values[:, c].astype(np.float64), part).reshape(len(values), -1)
        total += slopes.sum(axis=1)
        slope = part.get("zero_mode", {}).get("slope", 0.0)
        if slope:
            total += np.log(slope / part["scale"] / slopes.shape[1]) + logsumexp(-slopes, axis=1)
    return total


def log_slopes(values: np.ndarray, part: Mapping[str, Any]) -> np.ndarray:
    """ln dx/dfield of field values, elementwise, of a component's transform, normal scores and standard deviation."""
    if part["transform"] == "asinh":
        found = -0.5 * np.log(values**2 + part["scale"] ** 2)
    else:
        density = np.maximum((values + part["offset"]) / part["scale"], 0.0)
        found = -np.log(density + part["floor"]) - np.log(part["scale"])
    if "knots" in part:
        plain = {name: value for name, value in part.items() if name != "knots"}
        found = found + np.log(score_slopes(transform_values(values, plain), part["knots"]))
    return found - np.log(part["std"])
