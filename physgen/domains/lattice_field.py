r"""The defaults of a domain: encoding, requests and comparison of any field on a lattice, with or without labels.

Shapes: B flattened samples (C order of the sample dims), C components, \*grid lattice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from physgen.ensemble import flatten, in_box_of, sample_blocks, sample_dims, space_dims, spacing
from physgen.errors import InputError

if TYPE_CHECKING:
    import torch
    import xarray as xr

    from physgen.diffusion.values import Values

MARGIN = 0.05  # share of the training range by which a label that is given may lie outside it
OF_THE_DATA = ("part", "source", "format")  # root attributes that are not true of what is drawn


def adopt_field(
    ensemble: xr.Dataset, like: xr.Dataset | None, domain: str, split_by: str, labels: Sequence[str]
) -> xr.Dataset:
    """An ensemble that names no physics as one of ``domain``; see ``Domain.adopt``."""
    named = str(ensemble.attrs.get("domain", ""))
    if named not in ("", domain):
        raise InputError(f"the ensemble is of the domain {named!r}, not {domain!r}: give data of this physics")
    ensemble = in_box_of(ensemble, like)
    unit = str(ensemble.attrs.get("independent_unit", ""))
    has_units = split_by in ensemble.variables or split_by in ensemble.dims
    if not has_units and unit:
        ensemble = ensemble.rename({unit: split_by}).assign_attrs(independent_unit=split_by)
    elif not has_units:
        ensemble = ensemble.rename({ensemble["field"].dims[0]: split_by})
    missing = [name for name in labels if name not in ensemble.variables]
    if missing:
        raise InputError(f"the ensemble has no label {missing[0]!r}: give labels={{{missing[0]!r}: ...}}")
    return ensemble.assign_attrs(domain=domain)


def fit_constants(train: xr.Dataset, values: Values, labels: Sequence[str]) -> dict[str, Any]:
    """``mean`` and ``std`` of each component, geometry, and the ``label_ranges`` of the training part.

    The field is gone through block by block; the training part may be one that was opened lazily.
    """
    missing = [name for name in labels if name not in train.variables]
    if missing:
        raise InputError(f"the data have no label {missing[0]!r}: add it as a variable over their sample dims")
    mean, std = values.moments(flatten(block) for block in sample_blocks(train))
    if min(std) <= 0:
        raise InputError(f"the training field is {mean[std.index(min(std))]:g} everywhere: there is nothing to learn")
    field, space = train["field"], space_dims(train)
    return {
        "mean": mean,
        "std": std,
        "cell_size": list(spacing(train)),
        "sample_dims": list(sample_dims(train)),
        "field_dims": [d for d in field.dims if d == "component" or d in space],
        "field_dtype": str(field.dtype),
        "field_attrs": {name: str(field.attrs[name]) for name in ("units", "long_name") if name in field.attrs},
        "label_ranges": {name: [float(train[name].min()), float(train[name].max())] for name in labels},
    }


def encode_field(ensemble: xr.Dataset, constants: Mapping[str, Any]) -> torch.Tensor:
    r"""x = (field - mean)/std, (B, C, \*grid) float32; computed in float64."""
    import torch

    x = flatten(ensemble).astype(np.float64)
    view = (1, -1, *[1] * (x.ndim - 2))
    x = (x - np.reshape(constants["mean"], view)) / np.reshape(constants["std"], view)
    return torch.from_numpy(x.astype(np.float32))


def log_scale(ensemble: xr.Dataset, constants: Mapping[str, Any]) -> np.ndarray:
    r"""ln of the Jacobian of :func:`encode_field`, :math:`-\sum \ln\,\mathrm{std}` over components and cells, (B,)."""
    values = flatten(ensemble)
    cells = np.prod(values.shape[2:], dtype=int)
    return np.full(len(values), -cells * np.log(np.reshape(constants["std"], -1)).sum())


def decode_field(x: torch.Tensor, template: xr.Dataset, constants: Mapping[str, Any], values: Values) -> xr.Dataset:
    """The template with ``field``: inverse of :func:`encode_field`, snapped to the allowed values."""
    raw = values.to_allowed(x.detach().cpu().double().numpy())
    view = (1, -1, *[1] * (raw.ndim - 2))
    raw = raw * np.reshape(constants["std"], view) + np.reshape(constants["mean"], view)
    if np.dtype(constants["field_dtype"]).kind in "iu":
        raw = np.rint(raw)
    samples, dims = constants["sample_dims"], constants["field_dims"]
    cells = raw.shape[2:] if "component" not in dims else raw.shape[1:]
    raw = raw.reshape(*(template.sizes[d] for d in samples), *cells)
    order = [d for d in dims if d == "component"] + [d for d in dims if d != "component"]  # as flatten orders them
    return template.assign(field=((*samples, *order), raw.astype(constants["field_dtype"]), constants["field_attrs"]))


def encode_labels(ensemble: xr.Dataset, constants: Mapping[str, Any], labels: Sequence[str]) -> dict[str, torch.Tensor]:
    """``labels`` (B, n), float32, each mapped to [-1, 1] over its training range."""
    import torch

    dims = constants["sample_dims"]
    sizes = {d: ensemble.sizes[d] for d in dims}
    columns = []
    for name in labels:
        low, high = constants["label_ranges"][name]
        values = ensemble[name].variable.set_dims(sizes).transpose(*dims).values.reshape(-1).astype(np.float64)
        half = (high - low) / 2 or 1.0  # a label of one value stands at 0
        columns.append((values - (high + low) / 2) / half)
    return {"labels": torch.from_numpy(np.stack(columns, axis=1).astype(np.float32))}


def request_configurations(
    like: xr.Dataset, n: int, given: Mapping[str, float], constants: Mapping[str, Any] | None, labels: Sequence[str]
) -> xr.Dataset:
    """Template of ``n`` configurations along the first sample dim; see ``Domain.request``."""
    if n < 1:
        raise InputError(f"{n} configurations were asked for; at least 1 is needed")
    for name, value in given.items():
        if name not in labels:
            known = ", ".join(labels) or "none: the law has no labels"
            raise InputError(f"the condition {name!r} is not a label of these data: choose from {known}")
        _check_in_range(name, value, like, constants)
    dims = list(constants["sample_dims"]) if constants else list(sample_dims(like))
    first, size = dims[0], like.sizes[dims[0]]
    template = like.isel({first: np.arange(n) % size}).drop_vars("field", errors="ignore")
    for dim in dims:  # a template counts by its dims: one without a variable would be lost with the field
        repeats = dim == first and n > size and dim in template.coords  # names that repeat themselves name nothing
        if repeats or dim not in template.dims:
            count, described = (n if dim == first else like.sizes[dim]), {"long_name": dim, "units": "1"}
            template = template.assign_coords({dim: (dim, np.arange(count), described)})
    for name, value in given.items():
        old = template[name]
        template[name] = old.copy(data=np.full(old.shape, value, dtype=np.float64))
    template.attrs = {name: value for name, value in like.attrs.items() if name not in OF_THE_DATA}
    return template


def _check_in_range(name: str, value: float, like: xr.Dataset, constants: Mapping[str, Any] | None) -> None:
    if constants:
        low, high = constants["label_ranges"][name]
    else:
        low, high = float(like[name].min()), float(like[name].max())
    slack = max(MARGIN * (high - low), 1e-6 * max(abs(low), abs(high)))
    if not low - slack <= value <= high + slack:
        raise InputError(
            f"the condition {name} = {value:g} lies outside the range of the training data, {low:.4g} to {high:.4g} "
            f"(and {100 * MARGIN:g} % of its width beyond), where nothing was learned: choose a value within it"
        )


def orbit_of_field(ensemble: xr.Dataset) -> str:
    """Symmetries of the law of a field modulo which two samples count as one; see ``Domain.orbit``.

    A scalar in a periodic box: ``point_group``, translations with the symmetries of the lattice; several components
    may turn into each other: ``translations``; a box with walls, or no lattice at all: ``none``.
    """
    if not space_dims(ensemble) or not int(ensemble.attrs.get("periodic", 1)):
        return "none"
    return "translations" if ensemble.sizes.get("component", 1) > 1 else "point_group"


def check_same_lattice(reference: xr.Dataset, other: xr.Dataset, name: str) -> xr.Dataset:
    """``other`` where its lattice, cell size and units are those of the reference; else InputError with both values."""
    theirs, ours = (
        {
            "shape": {d: e.sizes[d] for d in space_dims(e)}
            | {d: e.sizes[d] for d in e["field"].dims if d == "component"},
            "units": str(e["field"].attrs.get("units", "1")),
        }
        for e in (reference, other)
    )
    for what in ("shape", "units"):
        if theirs[what] != ours[what]:
            raise InputError(
                f"{name} has the {what} {ours[what]}, the reference {theirs[what]}: bring both to the same {what} first"
            )
    cells, wanted = spacing(other), spacing(reference)
    if not np.allclose(cells, wanted, rtol=1e-4):
        raise InputError(f"{name} has cells of {cells}, the reference of {wanted}: compare fields of equal cells")
    return other
