"""Between fields in physical units and numbers of order one. Constants: plain JSON, fitted on the training split by
:mod:`physgen.domains.cosmology.fitting`.

Values are encoded and decoded in blocks: beside its result the work needs a few MiB, whatever the size of the set.
"""

from __future__ import annotations

import functools
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
import xarray as xr

from physgen.domains.cosmology.blocks import BLOCK, map_blocks
from physgen.domains.cosmology.gaussianise import from_scores, to_scores
from physgen.domains.cosmology.geometry import check_layout, check_mask_free
from physgen.domains.cosmology.zero_mode import set_zero_mode, shift_to_mean
from physgen.ensemble import computed_field, flatten
from physgen.errors import InputError
from physgen.lattice import shells

# field kind -> smallest value that it can take
LOWEST = {"delta": -1.0, "counts": 0.0, "density": 0.0, "surface_density": 0.0, "positive": 0.0, "real": -np.inf}
SHELLS = 4  # of the spectrum, in one fundamental wavenumber


def field_kinds(ensemble: xr.Dataset) -> list[str]:
    """The ``field_kind`` of each component, checked: one name for all, or names separated by commas."""
    given = ensemble.attrs.get("field_kind", "delta")
    names = given.split(",") if isinstance(given, str) else list(np.atleast_1d(given))
    kinds = [str(name).strip() for name in names]
    for kind in kinds:
        if kind not in LOWEST:
            raise InputError(f"field_kind = {kind!r} is unknown: set the root attribute to one of {', '.join(LOWEST)}")
    components = ensemble.sizes.get("component", 1)
    if len(kinds) not in (1, components):
        raise InputError(
            f"field_kind = {', '.join(kinds)!r} names {len(kinds)} kinds for {components} components: "
            "give one for all, or one for each"
        )
    return kinds * (components if len(kinds) == 1 else 1)


def join_kinds(kinds: list[str]) -> str:
    """The root attribute ``field_kind`` of components of these kinds."""
    return kinds[0] if len(set(kinds)) == 1 else ", ".join(kinds)


# --- values that a kind can take -----------------------------------------------------------------------


def check_bound(values: np.ndarray, kind: str, first: int | None = 0) -> None:
    """Raise InputError if a value is below what the field kind allows (1e-4 of slack for rounding in files).

    ``first`` is the number of the first sample of ``values``, for the message; None where it is not known.
    """
    lowest = float(values.min())
    if lowest < LOWEST[kind] - 1e-4 * abs(LOWEST[kind]):
        index = [int(i) for i in np.unravel_index(int(values.argmin()), values.shape)]
        where = "" if first is None else f" at index ({', '.join(map(str, [index[0] + first, *index[1:]]))})"
        raise InputError(
            f"field holds {lowest:g}{where}, but {kind} is at least {LOWEST[kind]:g}: "
            "check the units or give another field_kind"
        )


# --- encoding and decoding ----------------------------------------------------------------------------


def component_constants(constants: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The constants of each component."""
    return constants.get("components") or [constants]


def transform_values(values: np.ndarray, part: Mapping[str, Any]) -> np.ndarray:
    """v of field values, elementwise; see :func:`physgen.domains.cosmology.fitting.fit_encoding`."""
    if part["transform"] == "asinh":
        v = np.arcsinh(values / part["scale"])
    else:
        v = np.log(np.maximum((values + part["offset"]) / part["scale"], 0.0) + part["floor"])
    return to_scores(v, part["knots"]) if "knots" in part else v


def _encode(values: np.ndarray, part: Mapping[str, Any]) -> np.ndarray:
    return (transform_values(values, part) - part["mean"]) / part["std"]


def encode_field(ensemble: xr.Dataset, constants: Mapping[str, Any]) -> torch.Tensor:
    r"""x of shape (B, C, \*grid), float32; computed in float64, each value from itself alone, then the zero modes.

    See :mod:`physgen.domains.cosmology.zero_mode`.
    """
    check_layout(ensemble)
    parts, kinds, values = component_constants(constants), field_kinds(ensemble), flatten(ensemble)
    fitted = [part["field_kind"] for part in parts]
    if len(parts) != values.shape[1]:
        raise InputError(f"the field has {values.shape[1]} components, the encoding was fitted on {len(parts)}")
    if kinds != fitted:
        raise InputError(
            f"field_kind is {join_kinds(kinds)!r}, the encoding was fitted on {join_kinds(fitted)!r}: use one kind"
        )
    if list(values.shape[2:]) != constants["grid"]:
        raise InputError(
            f"the grid is {values.shape[2:]}, the encoding was fitted on {constants['grid']}: regrid the data"
        )
    x = np.empty(values.shape, np.float32)
    for c, part in enumerate(parts):
        check_bound(values[:, c], kinds[c], first=None)
        x[:, c] = map_blocks(values[:, c], functools.partial(_encode, part=part), np.float32)
        if "zero_mode" in part:
            set_zero_mode(x[:, c], field_means(values[:, c], part), part["zero_mode"])
    return torch.from_numpy(x)


def field_means(values: np.ndarray, part: Mapping[str, Any]) -> np.ndarray:
    r"""m of each sample (B, \*grid), float64: the mean of the field in units of its scale, which for delta is one."""
    return values.reshape(len(values), -1).mean(axis=1, dtype=np.float64) / part["scale"]


def decode_field(x: torch.Tensor, constants: Mapping[str, Any]) -> tuple[np.ndarray, float]:
    """Inverse of ``encode_field`` (float32) and the fraction of cells clipped at the empty cell or at the ceiling."""
    x = x.detach().cpu()
    values, clipped = np.empty(x.shape, np.float32), 0
    for c, part in enumerate(component_constants(constants)):
        rows = max(1, BLOCK // x[0, 0].numel())
        for start in range(0, len(x), rows):
            some = slice(start, start + rows)
            encoded = x[some, c].double().numpy()
            if "zero_mode" in part:
                scaled = functools.partial(_decoded_in_units, part=part)
                encoded = shift_to_mean(encoded, scaled, part["zero_mode"])
            values[some, c], count = _decode(encoded, part)
            clipped += count
    return values, clipped / values.size


def _decoded_in_units(x: np.ndarray, part: dict[str, Any]) -> np.ndarray:
    """Field values in units of the scale of the field."""
    return _decode(x, part)[0] / part["scale"]


def _decode(x: np.ndarray, part: dict[str, Any]) -> tuple[np.ndarray, int]:
    v = x * part["std"] + part["mean"]
    if "knots" in part:
        v = from_scores(v, part["knots"])
    lowest = LOWEST[part["field_kind"]]
    if part["transform"] == "asinh":
        limit = np.arcsinh(part["ceiling"])
        values = np.sinh(np.clip(v, -limit, limit)) * part["scale"]
        clipped = (values < lowest - 1e-5 * part["scale"]) | (np.abs(v) > limit)
        values = np.maximum(values, lowest)
    else:
        limit = np.log(part["ceiling"] + part["floor"])
        density = np.exp(np.minimum(v, limit)) - part["floor"]
        # rounding of an empty cell is not a clipping
        clipped = (density < -1e-5 * part["floor"]) | (v > limit)
        values = np.maximum(density, 0.0) * part["scale"] - part["offset"]
    return values, int(clipped.sum())


# --- spectrum -----------------------------------------------------------------------------------------


def spectrum_grid(constants: Mapping[str, Any]) -> torch.Tensor:
    r"""Variance of the orthonormal modes of the encoded field, (C, \*grid) in fftn order, float64."""
    numbers = shells(constants["grid"], constants.get("cell_size"), SHELLS, half=False)
    return torch.from_numpy(
        np.stack([np.asarray(part["spectrum"])[numbers] for part in component_constants(constants)])
    )


# --- density contrast ---------------------------------------------------------------------------------


def mean_density(ensemble: xr.Dataset) -> xr.DataArray:
    """The mean that densities are divided by, broadcastable against ``field``.

    The variable ``mean_density`` (per sample: each cosmology its own), else the root attribute (one for all, or one
    for each component), else the ensemble's own mean. Two ensembles that are compared need the same one:
    :func:`physgen.domains.cosmology.confront.confront` sees to that.
    """
    if "mean_density" in ensemble.variables:
        return ensemble["mean_density"].astype(np.float64)
    if "mean_density" in ensemble.attrs:
        given = np.atleast_1d(np.asarray(ensemble.attrs["mean_density"], dtype=np.float64))
        return xr.DataArray(given[0]) if len(given) == 1 else xr.DataArray(given, dims="component")
    return own_mean(ensemble)


def own_mean(ensemble: xr.Dataset) -> xr.DataArray:
    """Mean of the field over everything but components."""
    field = ensemble["field"]
    return field.mean([d for d in field.dims if d != "component"], dtype=np.float64)


def overdensity(ensemble: xr.Dataset) -> xr.Dataset:
    r"""The ensemble as :math:`\delta = \rho / \bar\rho - 1` with :func:`mean_density`; delta and real stay as they are.

    Masked fields are refused. A field that is not periodic is measured as it is: spectra and correlations by FFT are
    then periodograms with the leakage of the edges, alike in both ensembles of a comparison. What is returned is
    computed where it is read (:mod:`physgen.ensemble.view`).
    """
    check_mask_free(ensemble)
    kinds = field_kinds(ensemble)
    contrast = [kind not in ("delta", "real") for kind in kinds]
    if not any(contrast):
        return ensemble
    mean, shift = mean_density(ensemble), xr.DataArray(np.float32(1))
    if not all(contrast):
        which = xr.DataArray(contrast, dims="component")
        mean, shift = xr.where(which, mean, 1.0), which.astype(np.float32)
    divisor = mean.astype(np.float32)

    def part_of(field: xr.Variable, where: Mapping[Hashable, Any]) -> xr.Variable:
        by, less = (x.variable.isel({d: i for d, i in where.items() if d in x.dims}) for x in (divisor, shift))
        scaled = (field / by).astype(np.float32, copy=False).transpose(*field.dims)
        scaled -= less
        return scaled

    described = {"long_name": "density contrast", "units": "1"}  # nothing of the density or of its mean
    ensemble = computed_field(ensemble, part_of, np.float32, described)  # no copy: an evaluation asks many times
    kinds = ["delta" if changed else kind for kind, changed in zip(kinds, contrast, strict=True)]
    return ensemble.assign_attrs(field_kind=join_kinds(kinds))
