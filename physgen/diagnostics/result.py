"""The common form of a measurement: value and error over named coordinates, with one estimate per independent unit.

Legend: U independent units (:mod:`physgen.ensemble.units`), B samples, K points of the kept sample dims (conditions
over which the law varies), *shape the shape of the statistic.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from physgen.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

KINDS = ("spectrum", "histogram", "correlation", "scalar", "curve")
QUANTILES, SINGLE = (0.16, 0.84), 20  # of single configurations; fewer of them have no such quantiles
VALUE_ATTRS = ("long_name", "units", "symbol", "measure", "scale")


def make_result(
    per_unit: ArrayLike,
    dims: Sequence[str],
    coords: Mapping[str, Any],
    unit_ids: ArrayLike | None = None,
    conditions: ArrayLike | bool | None = None,
    **attrs: Any,
) -> xr.Dataset:
    r"""Dataset of a measurement whose independent units are known.

    ``value`` = mean over units, ``error`` = standard error :math:`\sqrt{\sum_u (v_u - \bar v)^2 / (U(U-1))}`,
    nan for one unit. Nonlinear estimators pass jackknife pseudo-values, for which the same formulas hold.

    Args:
        per_unit: (U, *shape), one estimate or pseudo-value per independent unit.
        dims: names of the dimensions of ``shape``.
        coords: name -> values, (values, attrs) or anything xarray accepts as a coordinate.
        unit_ids: (U,) names of the units; None if they are exchangeable.
        conditions: (U,) what tells which units of two results share all their conditions (see
            :func:`physgen.diagnostics.conditions.unit_conditions`); False if that is not known, then results are
            never paired; None
            if the names themselves tell it.
        **attrs: ``diagnostic`` and ``kind`` (one of KINDS) are needed; ``long_name``, ``units``, ``symbol`` (LaTeX),
            ``measure`` (probability or density per bin), ``scale`` go to ``value``, the others to the Dataset.
            ``tolerance``, ``tolerance_kind`` and ``tolerance_of`` are what a verdict rests on, see
            :mod:`physgen.diagnostics.equivalence`.

    Returns:
        Dataset with ``value``, ``error``, ``per_unit`` and coordinates ``unit`` and, where known, ``condition``.
    """
    import xarray as xr

    per_unit = np.asarray(per_unit, dtype=float)
    dims = tuple(dims)
    if attrs.get("kind") not in KINDS or "diagnostic" not in attrs:
        raise ValueError(f"a result needs diagnostic=name and kind= one of {KINDS}, got {sorted(attrs.items())}")
    if per_unit.ndim != len(dims) + 1 or len(per_unit) == 0:
        raise ValueError(f"per_unit of shape {per_unit.shape} does not have the dims ('unit', *{dims})")
    value_attrs = {name: attrs.pop(name) for name in VALUE_ATTRS if name in attrs}
    units = len(per_unit)
    error = per_unit.std(axis=0, ddof=1) / np.sqrt(units) if units > 1 else np.full(per_unit.shape[1:], np.nan)
    described = {"long_name": "standard error of the value", "units": value_attrs.get("units", "1")}
    result = xr.Dataset(
        {
            "value": (dims, per_unit.mean(axis=0), value_attrs),
            "error": (dims, error, described),
            "per_unit": (("unit", *dims), per_unit, dict(value_attrs)),
        },
        coords={name: _coordinate(name, given) for name, given in coords.items()},
        attrs={"unit": "sample" if unit_ids is None else "condition"} | attrs | {"n_independent": units},
    )
    result = result.assign_coords(unit=np.arange(units) if unit_ids is None else np.asarray(unit_ids))
    if conditions is None and unit_ids is not None:
        conditions = result["unit"].values
    if conditions is None or conditions is False:
        return result
    return result.assign_coords(condition=("unit", np.asarray(conditions).astype(str)))


def _coordinate(name: str, given: Any) -> Any:
    """(values, attrs) becomes xarray's (dim, values, attrs)."""
    if isinstance(given, tuple) and not isinstance(given[0], str):
        return (name, *given)
    return given


@dataclass(frozen=True)
class Units:
    """Which independent unit, and which point of the kept dims, each sample of a flattened ensemble belongs to."""

    index: np.ndarray  # (B,) flat index unit * K + kept point
    ids: np.ndarray | None  # (U,) names, or None for exchangeable units
    name: str  # the label or dim whose values they are, or sample
    count: int  # U
    dims: tuple[str, ...]  # kept dims
    shape: tuple[int, ...]  # their lengths, product K
    coords: dict[str, Any]  # their coordinates
    conditions: np.ndarray | None = None  # (U,) digests of all conditions of each unit, None where not known

    def mean(self, per_sample: ArrayLike) -> np.ndarray:
        """Average (B, *shape) over the samples of each unit: (U, *kept, *shape); nan where a unit has no sample."""
        per_sample = np.asarray(per_sample, dtype=float)
        cells = self.count * int(np.prod(self.shape))
        flat = per_sample.reshape(len(per_sample), -1)
        total = np.zeros((cells, flat.shape[1]))
        np.add.at(total, self.index, flat)
        with np.errstate(invalid="ignore"):
            total /= np.bincount(self.index, minlength=cells)[:, None]
        return total.reshape(self.count, *self.shape, *per_sample.shape[1:])

    def result(self, per_unit: ArrayLike, dims: Sequence[str], coords: Mapping[str, Any], **attrs: Any) -> xr.Dataset:
        """:func:`make_result` with this ensemble's kept dims put before ``dims``."""
        known = False if self.conditions is None else self.conditions
        coords = self.coords | dict(coords)
        return make_result(per_unit, (*self.dims, *dims), coords, self.ids, known, unit=self.name, **attrs)


def units(ensemble: xr.Dataset) -> Units:
    """The independent units of an ensemble as :func:`physgen.ensemble.independent_units` reads them.

    Exchangeable samples are averaged within a unit, every other sample dim is kept.
    """
    from physgen.diagnostics.conditions import unit_conditions
    from physgen.ensemble import independent_units, sample_dims

    found = independent_units(ensemble)
    dims, shape = sample_dims(ensemble), tuple(ensemble.sizes[d] for d in found.kept)
    lengths = tuple(ensemble.sizes[d] for d in dims)
    position = dict(zip(dims, np.indices(lengths).reshape(len(dims), -1), strict=True))  # dim -> (B,)
    point = np.ravel_multi_index([position[d] for d in found.kept], shape) if shape else 0
    coords = {d: ensemble[d].variable for d in found.kept if d in ensemble.coords}
    conditions = unit_conditions(ensemble)
    if conditions is not None and len(conditions) != found.count:
        conditions = None
    index = found.index * int(np.prod(shape)) + point
    ids = found.labels if found.identified else None
    return Units(index, ids, found.name, found.count, found.kept, shape, coords, conditions)


def result_of_samples(
    ensemble: xr.Dataset, per_sample: ArrayLike, dims: Sequence[str], coords: Mapping[str, Any], **attrs: Any
) -> xr.Dataset:
    """Result of a linear statistic: averages of (B, C, *shape) within units; a single component is dropped.

    Args:
        ensemble: gives units and kept dims.
        per_sample: the statistic of each flattened sample and component.
        dims, coords, **attrs: of :func:`make_result`, for ``shape``.
    """
    group = units(ensemble)
    per_unit = group.mean(per_sample)
    axis = 1 + len(group.dims)
    if per_unit.shape[axis] == 1:
        per_unit, dims = per_unit.squeeze(axis), tuple(dims)
    else:
        dims = ("component", *dims)
    result = group.result(per_unit, dims, coords, **attrs)
    return result.assign(_of_single_ones(group, per_sample, result)) if attrs.get("kind") == "spectrum" else result


def _of_single_ones(group: Units, per_sample: ArrayLike, result: xr.Dataset) -> dict[str, Any]:
    """16 and 84 % of single configurations lie below these, at each point; nothing for fewer than SINGLE of them."""
    value, points = np.asarray(per_sample), int(np.prod(group.shape))
    if len(value) < SINGLE * points:
        return {}
    of_point = group.index % points
    found = np.stack([np.quantile(value[of_point == i], QUANTILES, axis=0) for i in range(points)], axis=1)
    units = result["value"].attrs.get("units", "1")
    return {
        name: (result["value"].dims, part.reshape(result["value"].shape), {"long_name": words, "units": units})
        for name, part, words in zip(
            ("sample_low", "sample_high"), found, (f"{q:.0%} of configurations below" for q in QUANTILES), strict=True
        )
    }


def length_unit(ensemble: xr.Dataset) -> str:
    """Units of the space coordinates, "1" where there are none."""
    from physgen.ensemble import space_dims

    dim = space_dims(ensemble)[0]
    return str(ensemble[dim].attrs.get("units", "1")) if dim in ensemble.coords else "1"


def are_paired(reference: xr.Dataset, generated: xr.Dataset) -> bool:
    """Whether two results hold the same conditions (labels, quenched fields), unit by unit, each of them once."""
    if "condition" not in reference.coords or "condition" not in generated.coords:
        return False
    left, right = (r["condition"].values.tolist() for r in (reference, generated))
    return len(set(left)) == len(left) == len(right) and set(left) == set(right)


def check_comparable(reference: xr.Dataset, generated: xr.Dataset) -> None:
    """Raise InputError unless two results have the same dims and coordinates."""
    if reference["value"].dims != generated["value"].dims:
        raise InputError(
            f"results over {reference['value'].dims} and {generated['value'].dims} cannot be compared: "
            "measure both ensembles with the same diagnostic"
        )
    for dim in reference["value"].dims:
        mine, other = reference[dim].values, generated[dim].values
        same = mine.shape == other.shape
        if same and np.issubdtype(mine.dtype, np.number):
            same = np.allclose(mine, other, rtol=1e-5, atol=0)
        elif same:
            same = bool(np.all(mine == other))
        if not same:
            raise InputError(
                f"the results have different values of {dim!r} ({mine.size} against {other.size} points): use the "
                "same box, lattice and bins for both ensembles"
            )
