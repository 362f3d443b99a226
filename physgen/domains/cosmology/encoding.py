"""Between fields in physical units and numbers of order one. Constants: plain JSON, fitted on the training split.

Values are encoded and decoded in blocks: beside its result the work needs a few MiB, whatever the size of the set.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import xarray as xr

from physgen.domains.cosmology.blocks import (
    moments,
    quantile_of_sorted,
    sample_blocks,
    sorted_values,
    sum_in_blocks,
)
from physgen.domains.cosmology.conditions import fixed_labels, label_ranges
from physgen.domains.cosmology.gaussianise import from_scores, place_knots, to_scores
from physgen.domains.cosmology.geometry import check_layout, check_mask_free, is_periodic
from physgen.ensemble import flatten, sample_dims, spacing
from physgen.errors import InputError
from physgen.lattice import shells

# field kind -> smallest value that it can take
LOWEST = {"delta": -1.0, "counts": 0.0, "density": 0.0, "surface_density": 0.0, "positive": 0.0, "real": -np.inf}
# decoded densities above this many times the largest training value are clipped and counted
HEADROOM = 100.0
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


# --- fitting ----------------------------------------------------------------------------------------


def fit_encoding(train: xr.Dataset, transform: str) -> dict[str, Any]:
    r"""Constants of the encoding x = (v - mean) / std from a training split, of each component its own.

    Convention: for ``log``, v = ln(u + floor) with u = (field + offset) / scale the density in units of its mean; the
    floor, a tenth of the 0.1 % quantile of the positive u, gives empty cells a finite place near the emptiest ones.
    For ``asinh`` (and for fields without a lower bound), v = asinh(field / scale) with scale the rms. ``gaussian``
    sends either to the normal scores of its training law, v -> Phi^-1(F(v)), by ``knots``: a Gaussian field of the
    right spectrum then has the right one-point law, and its rarest peaks are as rare as its sigmas say.
    Labels map to [-1, 1] over the training range. ``spectrum`` is the isotropic variance of the orthonormal Fourier
    modes of x by shells of width 1/4 in \|n\| = \|k\| L / 2 pi, L the longest side. ``cell_size`` and ``periodic``
    are the geometry that symmetries and padding follow. Quantiles of more than 2^27 values are those of a random part.

    A field with the dim ``component`` has a list ``components`` of such constants, else they stand beside the others.

    Raises:
        InputError: unknown kind, values below the kind's bound, or a layout that cannot be learned.
    """
    check_layout(train)
    values, kinds = flatten(train), field_kinds(train)
    constants: dict[str, Any] = {
        "field_attrs": {name: str(train["field"].attrs.get(name, "")) for name in ("units", "long_name")},
        "grid": list(values.shape[2:]),
        "cell_size": list(spacing(train)),
        "periodic": is_periodic(train),
        "sample_dims": list(sample_dims(train)),
        "labels": label_ranges(train),
        "fixed_labels": fixed_labels(train),
    }
    numbers = shells(constants["grid"], constants["cell_size"], SHELLS, half=False)
    parts = [_fit_component(values[:, c], kind, transform, numbers) for c, kind in enumerate(kinds)]
    if "component" not in train["field"].dims:
        return constants | parts[0]
    return constants | {"components": parts}


def _fit_component(values: np.ndarray, kind: str, transform: str, numbers: np.ndarray) -> dict[str, Any]:
    check_bound(values, kind)
    if values.min() == values.max():
        raise InputError(
            f"the training field is {values.min():g} everywhere: there is nothing to learn, check the import"
        )
    values = np.ascontiguousarray(values)
    ascending = sorted_values(values)
    part: dict[str, Any] = {
        "field_kind": kind,
        "transform": "log" if transform != "asinh" and np.isfinite(LOWEST[kind]) else "asinh",
        "mean": 0.0,
        "std": 1.0,
    }
    part |= _density_constants(values, ascending, kind) if part["transform"] == "log" else _asinh_constants(values)
    if transform == "gaussian":
        plain = dict(part)
        spread = moments(values, lambda v: _transform(v, plain))[1]
        part["knots"] = place_knots(
            lambda share: quantile_of_sorted(ascending, share, lambda v: _transform(v, plain)), len(ascending), spread
        )
    part["mean"], part["std"] = moments(values, lambda v: _transform(v, part))
    part["spectrum"] = _shell_spectrum(values, part, numbers)
    return part


def check_bound(values: np.ndarray, kind: str) -> None:
    """Raise InputError if a value is below what the field kind allows (1e-4 of slack for rounding in files)."""
    lowest = float(values.min())
    if lowest < LOWEST[kind] - 1e-4 * abs(LOWEST[kind]):
        where = ", ".join(str(int(i)) for i in np.unravel_index(int(values.argmin()), values.shape))
        raise InputError(
            f"field holds {lowest:g} at index ({where}), but {kind} is at least {LOWEST[kind]:g}: "
            "check the units or give another field_kind"
        )


def _density_constants(values: np.ndarray, ascending: np.ndarray, kind: str) -> dict[str, float]:
    offset = -LOWEST[kind] + 0.0
    scale = 1.0 if kind == "delta" else sum_in_blocks(values, lambda v: v) / values.size

    def density(v: Any) -> Any:
        return (v + offset) / scale

    empty = np.asarray(-offset, ascending.dtype)  # of the same type: else numpy would copy the whole as float64
    positive = ascending[np.searchsorted(ascending, empty, side="right") :]
    return {
        "offset": offset,
        "scale": scale,
        "floor": 0.1 * float(quantile_of_sorted(positive, np.asarray(1e-3), density)),
        "ceiling": HEADROOM * float(density(np.float64(values.max()))),
    }


def _asinh_constants(values: np.ndarray) -> dict[str, float]:
    scale = float(np.sqrt(sum_in_blocks(values, np.square) / values.size)) or 1.0
    largest = max(abs(float(values.min())), abs(float(values.max())))
    return {"scale": scale, "ceiling": HEADROOM * largest / scale}


# --- encoding and decoding ----------------------------------------------------------------------------


def component_constants(constants: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The constants of each component."""
    return constants.get("components") or [constants]


def _transform(values: np.ndarray, part: dict[str, Any]) -> np.ndarray:
    if part["transform"] == "asinh":
        v = np.arcsinh(values / part["scale"])
    else:
        v = np.log(np.maximum((values + part["offset"]) / part["scale"], 0.0) + part["floor"])
    return to_scores(v, part["knots"]) if "knots" in part else v


def encode_field(ensemble: xr.Dataset, constants: Mapping[str, Any]) -> torch.Tensor:
    r"""x of shape (B, C, \*grid), float32; computed in float64."""
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
        check_bound(values[:, c], kinds[c])
        for rows in sample_blocks(len(values), values[0, 0].size):
            v = _transform(values[rows, c].astype(np.float64), part)
            x[rows, c] = (v - part["mean"]) / part["std"]
    return torch.from_numpy(x)


def decode_field(x: torch.Tensor, constants: Mapping[str, Any]) -> tuple[np.ndarray, float]:
    """Inverse of ``encode_field`` (float32) and the fraction of cells clipped at the empty cell or at the ceiling."""
    x = x.detach().cpu()
    values, clipped = np.empty(x.shape, np.float32), 0
    for c, part in enumerate(component_constants(constants)):
        for rows in sample_blocks(len(x), x[0, 0].numel()):
            values[rows, c], count = _decode(x[rows, c].double().numpy(), part)
            clipped += count
    return values, clipped / values.size


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


def _shell_spectrum(values: np.ndarray, part: dict[str, Any], numbers: np.ndarray) -> list[float]:
    power = np.zeros(values.shape[1:])
    for one in values:
        x = (_transform(one.astype(np.float64), part) - part["mean"]) / part["std"]
        power += np.abs(np.fft.fftn(x, norm="ortho")) ** 2
    count = np.bincount(numbers.ravel())
    total = np.bincount(numbers.ravel(), weights=(power / len(values)).ravel())
    return [float(t / c) if c else 0.0 for t, c in zip(total, count, strict=True)]


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
    then periodograms with the leakage of the edges, alike in both ensembles of a comparison.
    """
    check_mask_free(ensemble)
    kinds = field_kinds(ensemble)
    contrast = [kind not in ("delta", "real") for kind in kinds]
    if not any(contrast):
        return ensemble
    field, mean = ensemble["field"], mean_density(ensemble)
    if not all(contrast):
        which = xr.DataArray(contrast, dims="component")
        mean, shift = xr.where(which, mean, 1.0), which.astype(np.float32)
    else:
        shift = xr.DataArray(np.float32(1))
    scaled = (field / mean.astype(np.float32)).astype(np.float32, copy=False).transpose(*field.dims)
    scaled -= shift  # in place: a second copy of the data would double the memory of an evaluation
    scaled.attrs = {"long_name": "density contrast", "units": "1"}  # nothing of the density or of its mean
    kinds = ["delta" if changed else kind for kind, changed in zip(kinds, contrast, strict=True)]
    return ensemble.assign(field=scaled).assign_attrs(field_kind=join_kinds(kinds))
