"""What the dims of an ensemble say: which are space (of vectors none), which count samples, how wide a cell is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from physgen.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

SPACE = ("z", "y", "x", "site")
LOG_WEIGHT = "log_weight"  # variable over the sample dims: ln of the weight with which a draw counts


def space_dims(ensemble: xr.Dataset) -> tuple[str, ...]:
    """Names of the space dims of ``field``, in the order in which they stand there."""
    return tuple(str(d) for d in ensemble["field"].dims if d in SPACE)


def sample_dims(ensemble: xr.Dataset) -> tuple[str, ...]:
    """Names of the dims of ``field`` that count samples, in the order in which they stand there."""
    return tuple(str(d) for d in ensemble["field"].dims if d not in SPACE and d != "component")


def sample_count(ensemble: xr.Dataset) -> int:
    """Number of configurations (B of :func:`flatten`): the product of the sizes of the sample dims."""
    return int(np.prod([ensemble.sizes[d] for d in sample_dims(ensemble)], dtype=np.int64))


def spacing(ensemble: xr.Dataset) -> tuple[float, ...]:
    r"""Lattice spacing :math:`a_i = (x_{n-1} - x_0)/(n-1)` along each space dim, from the cell centres.

    A dim without a coordinate has spacing 1. Raises InputError where a coordinate is not uniform.
    """
    found = []
    for dim in space_dims(ensemble):
        if dim not in ensemble.coords or ensemble.sizes[dim] < 2:
            found.append(1.0)
            continue
        points = np.asarray(ensemble[dim].values, dtype=np.float64)
        step = (points[-1] - points[0]) / (len(points) - 1)
        if step <= 0 or np.abs(np.diff(points) - step).max() > 1e-4 * abs(step):
            raise InputError(
                f"coordinate {dim!r} is not a uniform increasing grid; physgen needs equal cells: regrid it"
            )
        found.append(float(step))
    return tuple(found)


def flatten(ensemble: xr.Dataset) -> np.ndarray:
    """``field`` as an array of shape (samples, components, \\*grid); sample dims flattened in C order."""
    samples, space = sample_dims(ensemble), space_dims(ensemble)
    field = ensemble["field"]
    if "component" not in field.dims:
        field = field.expand_dims("component")
    values = field.transpose(*samples, "component", *space).values
    return values.reshape(-1, *values.shape[len(samples):])  # fmt: skip
