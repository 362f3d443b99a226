r"""Moments and distributions of projections: on principal axes, and on random directions (sliced Wasserstein).

In the frame of the reference (:mod:`physgen.domains.points.frame`). Shapes: B vectors, d components, J bins.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from physgen.diagnostics.batches import each_sample
from physgen.diagnostics.distribution import bin_of, moments
from physgen.diagnostics.result import result_of_samples
from physgen.domains.points.frame import AXES, frame_of

if TYPE_CHECKING:
    import xarray as xr

EDGES = np.linspace(-3.0, 3.0, 25)
YARDSTICK = (1.0, 1.0, 2.5, 5.0)  # of mean, variance, skewness, kurtosis
COORDINATE = {"long_name": "projection / std. dev.", "units": "1", "symbol": "u"}


def axis_moments(ensemble: xr.Dataset) -> xr.Dataset:
    r"""Mean, variance, skewness and excess kurtosis along up to 4 principal axes of the reference.

    In units of its standard deviations there. A deviation counts in units of 1, 1, 2.5 and 5: of these the tolerance
    0.1 is a tenth of a standard deviation, 10 % of the variance, 0.25 and 0.5.

    Returns:
        Dataset of kind scalar over ``axis`` and ``moment``, see :func:`physgen.diagnostics.distribution.moments`.
    """
    frame = frame_of(ensemble)
    found = moments(ensemble, lambda x: frame.along_axes(x, AXES))
    found = found.rename(component="axis") if "component" in found.dims else found.expand_dims("axis", -2)
    found = found.assign_coords(axis=("axis", 1 + np.arange(found.sizes["axis"]), _numbered("principal axis")))
    found["yardstick"] = ("moment", np.array(YARDSTICK))
    found["value"].attrs["long_name"] = "moments along the principal axes"
    said = {"diagnostic": "axis_moments", "tolerance": 0.1, "tolerance_kind": "difference"}
    return found.assign_attrs(said | {"tolerance_of": "a standard deviation (skewness 2.5, kurtosis 5)"})


def principal_axes(ensemble: xr.Dataset) -> xr.Dataset:
    """Distribution of the projections on up to 4 principal axes of the reference, centred, in standard deviations.

    Returns:
        Dataset of kind histogram over ``axis`` and ``projection``; values beyond 3 count in the outermost bins.
    """
    frame = frame_of(ensemble)
    return _histograms(ensemble, lambda x: frame.along_axes(x, AXES), "axis", "principal_axes", "principal axis")


def sliced_wasserstein(ensemble: xr.Dataset) -> xr.Dataset:
    """Distribution of the projections on 8 random directions, centred, in standard deviations of the reference.

    Of a comparison the mean over them of ``distance_w1`` is the sliced Wasserstein distance (Bonneel et al. 2015, J.
    Math. Imaging Vis. 51, 22), from bins of a quarter of a standard deviation, beside its floor.

    Returns:
        Dataset of kind histogram over ``direction`` and ``projection``.
    """
    frame = frame_of(ensemble)
    return _histograms(ensemble, frame.along_random, "direction", "sliced_wasserstein", "random direction")


def _numbered(name: str) -> dict[str, str]:
    return {"long_name": name, "units": "1"}


def _histograms(
    ensemble: xr.Dataset, project: Callable[[np.ndarray], np.ndarray], dim: str, name: str, long_name: str
) -> xr.Dataset:
    width = np.diff(EDGES)
    one_hot = np.eye(len(width)) / width

    def place(x: np.ndarray) -> np.ndarray:
        return one_hot[bin_of(project(x), EDGES)][:, None]

    found = each_sample(ensemble, place)  # (B, 1, directions, J)
    coords = {
        dim: (1 + np.arange(found.shape[2]), _numbered(long_name)),
        "projection": ((EDGES[1:] + EDGES[:-1]) / 2, COORDINATE),
    }
    described: dict[str, Any] = {"long_name": "probability density", "units": "1", "measure": "density"}
    described |= {"diagnostic": name, "kind": "histogram"}
    described |= {"tolerance": 0.05, "tolerance_kind": "distribution", "tolerance_of": "probability"}
    result = result_of_samples(ensemble, found, (dim, "projection"), coords, **described)
    result["width"] = ("projection", width, {"long_name": "width of the bin", "units": "1"})
    return result
