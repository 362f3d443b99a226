r"""The Jacobian of the encoding: what a density of encoded fields is in units of the field.

The slope of each value is taken in closed form where the encoding works on each value alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from physgen.domains.cosmology.encoding import component_constants, transform_values
from physgen.domains.cosmology.gaussianise import score_slopes
from physgen.ensemble import flatten


def log_jacobian(ensemble: xr.Dataset, constants: Mapping[str, Any]) -> np.ndarray:
    r""":math:`\sum \ln\,(d x/d\,\mathrm{field})` over components and cells, (B,) float64; see :func:`encode_field`."""
    values = flatten(ensemble)
    total = np.zeros(len(values))
    for c, part in enumerate(component_constants(constants)):
        slopes = log_slopes(values[:, c].astype(np.float64), part)
        total += slopes.reshape(len(values), -1).sum(axis=1)
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
