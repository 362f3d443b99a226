"""One-point statistics: the distribution of the field's values and its moments.

Legend: B samples, C components, N cells, J bins.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from physgen.diagnostics.batches import each_sample
from physgen.diagnostics.cell_kernels import cell_kernels
from physgen.diagnostics.resampling import jackknife
from physgen.diagnostics.result import result_of_samples, units
from physgen.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

    from physgen.diagnostics.batches import Transform


STANDARD_EDGES = np.linspace(-5.0, 5.0, 41)  # the same bins for every ensemble
MOMENTS = ("mean", "variance", "skewness", "kurtosis")


def histogram_array(values: ArrayLike, edges: Sequence[float] | np.ndarray) -> np.ndarray:
    """Probability of each bin, for each leading entry; mass outside is kept in the first and the last bin.

    Args:
        values: (..., N).
        edges: (J + 1,) increasing.

    Returns:
        (..., J), sums to 1.
    """
    values = np.asarray(values)
    flat = values.reshape(-1, values.shape[-1])
    if not np.isfinite(flat).all():
        raise InputError("a distribution needs finite values: the field holds NaN or infinity, drop or repair them")
    count = len(edges) - 1
    places, loops = bin_of(flat, np.asarray(edges)), cell_kernels()
    if loops is None:
        found = np.stack([np.bincount(row, minlength=count) for row in places])
    else:
        found = np.zeros((len(flat), count), np.int64)
        loops.count_bins(places, found)
    return found.reshape(*values.shape[:-1], count) / values.shape[-1]


def bin_of(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Bin of each value, edges[j] <= value < edges[j+1]; values outside go to the first and the last bin.

    Single precision in bins of one width is divided by it: a value within rounding of an edge may fall on either side.
    """
    count, width = len(edges) - 1, np.diff(edges)
    if values.dtype == np.float32 and np.allclose(width, width[0], rtol=1e-9):
        low, scale, last = (np.float32(number) for number in (edges[0], 1 / width[0], count - 1))
        small, loops = np.uint8 if count <= 256 else np.int32, cell_kernels()
        if loops is None:
            place = (values - low) * scale
            return np.clip(place, 0, last, out=place).astype(small)
        found = np.empty(values.shape, small)
        loops.equal_bins(np.ascontiguousarray(values).reshape(-1), low, scale, last, found.reshape(-1))
        return found
    return np.clip(np.searchsorted(edges, values, side="right") - 1, 0, count - 1)


def one_point(
    ensemble: xr.Dataset,
    edges: ArrayLike | None = None,
    scale: str = "standard",
    transform: Transform | None = None,
    axis: tuple[str, dict[str, Any]] | None = None,
) -> xr.Dataset:
    """One-point distribution: probability density of the field's values, with fixed bins so that ensembles compare.

    Args:
        ensemble: any ``field``.
        edges: bin edges; default quarters in [-5, 5] for "standard"; "linear" needs them.
        scale: "standard": (field - mean) / std over the whole ensemble; "linear": the field itself, or what
            ``transform`` makes of it.
        transform: for "linear", a function of the array of fields, applied before; None for none.
        axis: name and attributes of the abscissa; default ``standardised_field`` or ``field_value``.

    Returns:
        Dataset of kind histogram: ``value`` (density per unit of the abscissa), ``error`` over independent units,
        ``width`` of the bins. Values outside the bins count in the first and last one.
    """
    if scale == "standard":
        transform, edges = _standardised_field(ensemble), STANDARD_EDGES if edges is None else edges
        name, attrs = "standardised_field", {"long_name": "(field - mean) / standard deviation", "symbol": r"\nu"}
    elif scale == "linear" and edges is not None:
        name, attrs = "field_value", {"long_name": str(ensemble["field"].attrs.get("long_name", "field"))}
        attrs["units"] = str(ensemble["field"].attrs.get("units", "1"))
    else:
        raise InputError(f"scale {scale!r} is not standard or linear (with edges=...): choose one of them")
    name, attrs = axis or (name, attrs)
    edges = np.asarray(edges, dtype=float)
    if edges.ndim != 1 or len(edges) < 2 or np.any(np.diff(edges) <= 0):
        raise InputError(f"bin edges must be at least two increasing values, got {edges.tolist()}")
    width = np.diff(edges)
    coords = {name: ((edges[1:] + edges[:-1]) / 2, {"units": "1"} | attrs)}
    described: dict[str, Any] = {"long_name": "probability density", "units": "1", "measure": "density", "scale": "log"}
    described |= {"diagnostic": "one_point", "kind": "histogram"}
    described |= {"tolerance": 0.02, "tolerance_kind": "distribution", "tolerance_of": "probability"}
    found = each_sample(ensemble, lambda v: histogram_array(v.reshape(*v.shape[:2], -1), edges), transform)
    result = result_of_samples(ensemble, found / width, (name,), coords, **described)
    result["width"] = (name, width, {"long_name": "width of the bin", "units": attrs.get("units", "1")})
    return result


def _standardised_field(ensemble: xr.Dataset) -> Transform:
    """(field - mean) / std over all samples and cells of each component, as a function of a batch (b, C, *grid)."""
    centre = each_sample(ensemble, lambda v: _raw_moments(v, 0.0)[..., 0]).mean(axis=0)  # (C,)
    variance = each_sample(ensemble, lambda v: _raw_moments(v, centre)[..., 1]).mean(axis=0)
    spread = np.where(variance > 0, np.sqrt(variance), 1.0)

    def standardise(values: np.ndarray) -> np.ndarray:
        view = (-1, *[1] * (values.ndim - 2))
        return (values - centre.reshape(view)) / spread.reshape(view)

    return standardise


def _raw_moments(values: np.ndarray, centre: ArrayLike) -> np.ndarray:
    """Means of (field - centre)^j, j = 1 to 4, over the cells: (b, C, 4) in double precision."""
    flat = values.reshape(*values.shape[:2], -1).astype(float)
    flat -= np.reshape(centre, (-1, 1))
    square = flat * flat
    return np.stack([x.mean(axis=-1) for x in (flat, square, square * flat, square * square)], axis=-1)


def moments(ensemble: xr.Dataset, transform: Transform | None = None) -> xr.Dataset:
    r"""Mean, variance, skewness :math:`\mu_3/\mu_2^{3/2}` and excess kurtosis :math:`\mu_4/\mu_2^2 - 3` of the field.

    Central moments :math:`\mu_j` of all cells of all samples (units weigh equally); errors by jackknife over units.

    Args:
        ensemble: any ``field``.
        transform: None or a function, as in :func:`physgen.diagnostics.power_spectrum`.

    Returns:
        Dataset of kind scalar over ``moment`` = 1 to 4, named by the coordinate's attr ``flag_meanings`` (as in the CF
        conventions); mean and variance in units of the field and its square.
    """
    centre = each_sample(ensemble, lambda v: _raw_moments(v, 0.0)[..., 0], transform).mean(axis=0)  # (C,)
    raw = each_sample(ensemble, lambda v: _raw_moments(v, centre), transform)  # (B, C, 4); about 0 digits would cancel
    group = units(ensemble)
    per_unit = group.mean(raw)  # (U, *kept, C, 4)
    found = jackknife(per_unit, _standardised)[2] if group.count > 1 else _standardised(per_unit)
    found[..., 0] += centre
    dims: tuple[str, ...] = ("component", "moment")
    if found.shape[-2] == 1:
        found, dims = found[..., 0, :], ("moment",)
    attrs: dict[str, Any] = {
        "diagnostic": "moments",
        "kind": "scalar",
        "long_name": "moments of the field",
        "units": "1",
    }
    order = {"long_name": "mean, variance, skewness, kurtosis", "units": "1", "flag_meanings": " ".join(MOMENTS)}
    return group.result(found, dims, {"moment": (np.arange(1, 5), order)}, **attrs)


def _standardised(raw: np.ndarray) -> np.ndarray:
    """Raw moments 1..4 (..., 4) to mean, variance, skewness, excess kurtosis."""
    m1, m2, m3, m4 = np.moveaxis(raw, -1, 0)
    variance = m2 - m1**2
    third = m3 - 3 * m1 * m2 + 2 * m1**3
    fourth = m4 - 4 * m1 * m3 + 6 * m1**2 * m2 - 3 * m1**4
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.stack([m1, variance, third / variance**1.5, fourth / variance**2 - 3], axis=-1)
