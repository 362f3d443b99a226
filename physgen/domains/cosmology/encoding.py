"""Between fields in physical units and numbers of order one. Constants: plain JSON, fitted on the training split."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import xarray as xr

from physgen.domains.cosmology.gaussianise import fit_knots, from_scores, to_scores
from physgen.ensemble import flatten
from physgen.errors import InputError

# field kind -> smallest value that it can take
LOWEST = {"delta": -1.0, "counts": 0.0, "density": 0.0, "surface_density": 0.0, "positive": 0.0, "real": -np.inf}
# decoded densities above this many times the largest training value are clipped and counted
HEADROOM = 100.0


def field_kind(ensemble: xr.Dataset) -> str:
    """The ``field_kind`` attribute, checked."""
    kind = str(ensemble.attrs.get("field_kind", "delta"))
    if kind not in LOWEST:
        raise InputError(f"field_kind = {kind!r} is unknown: set the root attribute to one of {', '.join(LOWEST)}")
    return kind


def label_names(ensemble: xr.Dataset) -> list[str]:
    """Names of the continuous labels: floating-point variables on ``sample`` alone, in the order of the file."""
    return [str(n) for n, v in ensemble.data_vars.items() if v.dims == ("sample",) and v.dtype.kind == "f"]


def fit_encoding(train: xr.Dataset, transform: str) -> dict[str, Any]:
    r"""Constants of the encoding x = (v - mean) / std from a training split.

    Convention: for ``log``, v = ln(u + floor) with u = (field + offset) / scale the density in units of its mean; the
    floor, a tenth of the 0.1 % quantile of the positive u, gives empty cells a finite place near the emptiest ones.
    For ``asinh`` (and for fields without a lower bound), v = asinh(field / scale) with scale the rms. ``gaussian``
    sends either to the normal scores of its training law, v -> Phi^-1(F(v)), by ``knots``: a Gaussian field of the
    right spectrum then has the right one-point law, and its rarest peaks are as rare as its sigmas say.
    Labels map to [-1, 1] over the training range. ``spectrum`` is the isotropic variance of the orthonormal Fourier
    modes of x by shells of width 1/4 in \|n\| = \|k\| L / 2 pi.

    Raises:
        InputError: unknown kind, or values below the kind's bound.
    """
    kind, values = field_kind(train), flatten(train).astype(np.float64)
    check_bound(values, kind)
    if values.min() == values.max():
        raise InputError(
            f"the training field is {values.min():g} everywhere: there is nothing to learn, check the import"
        )
    constants: dict[str, Any] = {
        "field_kind": kind,
        "field_attrs": {name: str(train["field"].attrs.get(name, "")) for name in ("units", "long_name")},
        "grid": list(values.shape[2:]),
        "transform": "log" if transform != "asinh" and np.isfinite(LOWEST[kind]) else "asinh",
        "mean": 0.0,
        "std": 1.0,
        "labels": {name: _range(train[name].values) for name in label_names(train)},
    }
    constants |= _density_constants(values, kind) if constants["transform"] == "log" else _asinh_constants(values)
    if transform == "gaussian":
        constants["knots"] = fit_knots(_transform(values, constants))
    v = _transform(values, constants)
    constants["mean"], constants["std"] = float(v.mean()), float(v.std())
    constants["spectrum"] = _shell_spectrum((v - constants["mean"]) / constants["std"])
    return constants


def check_bound(values: np.ndarray, kind: str) -> None:
    """Raise InputError if a value is below what the field kind allows (1e-4 of slack for rounding in files)."""
    lowest = float(values.min())
    if lowest < LOWEST[kind] - 1e-4 * abs(LOWEST[kind]):
        where = ", ".join(str(int(i)) for i in np.unravel_index(int(values.argmin()), values.shape))
        raise InputError(
            f"field holds {lowest:g} at index ({where}), but {kind} is at least {LOWEST[kind]:g}: "
            "check the units or give another field_kind"
        )


def _density_constants(values: np.ndarray, kind: str) -> dict[str, float]:
    offset = -LOWEST[kind] + 0.0
    scale = 1.0 if kind == "delta" else float(values.mean())
    density = (values + offset) / scale
    positive = density[density > 0]
    return {
        "offset": offset,
        "scale": scale,
        "floor": 0.1 * float(np.quantile(positive, 1e-3)),
        "ceiling": HEADROOM * float(positive.max()),
    }


def _asinh_constants(values: np.ndarray) -> dict[str, float]:
    scale = float(np.sqrt(np.mean(values**2))) or 1.0
    return {"scale": scale, "ceiling": HEADROOM * float(np.abs(values).max()) / scale}


def _transform(values: np.ndarray, constants: dict[str, Any]) -> np.ndarray:
    if constants["transform"] == "asinh":
        v = np.arcsinh(values / constants["scale"])
    else:
        v = np.log(np.maximum((values + constants["offset"]) / constants["scale"], 0.0) + constants["floor"])
    return to_scores(v, constants["knots"]) if "knots" in constants else v


def encode_field(ensemble: xr.Dataset, constants: dict[str, Any]) -> torch.Tensor:
    r"""x of shape (B, C, \*grid), float32; computed in float64."""
    kind, values = field_kind(ensemble), flatten(ensemble)
    if kind != constants["field_kind"]:
        raise InputError(
            f"field_kind is {kind!r}, the encoding was fitted on {constants['field_kind']!r}: use one kind"
        )
    if list(values.shape[2:]) != constants["grid"]:
        raise InputError(
            f"the grid is {values.shape[2:]}, the encoding was fitted on {constants['grid']}: regrid the data"
        )
    check_bound(values, kind)
    v = _transform(values.astype(np.float64), constants)
    return torch.from_numpy(((v - constants["mean"]) / constants["std"]).astype(np.float32))


def decode_field(x: torch.Tensor, kind: str, constants: dict[str, Any]) -> tuple[np.ndarray, float]:
    """Inverse of ``encode_field`` (float32) and the fraction of cells clipped at the empty cell or at the ceiling."""
    v = x.detach().cpu().double().numpy() * constants["std"] + constants["mean"]
    if "knots" in constants:
        v = from_scores(v, constants["knots"])
    if constants["transform"] == "asinh":
        limit = np.arcsinh(constants["ceiling"])
        values = np.sinh(np.clip(v, -limit, limit)) * constants["scale"]
        below = values < LOWEST[kind] - 1e-5 * constants["scale"]
        clipped = below | (np.abs(v) > limit)
        values = np.maximum(values, LOWEST[kind])
    else:
        limit = np.log(constants["ceiling"] + constants["floor"])
        density = np.exp(np.minimum(v, limit)) - constants["floor"]
        # rounding of an empty cell is not a clipping
        clipped = (density < -1e-5 * constants["floor"]) | (v > limit)
        values = np.maximum(density, 0.0) * constants["scale"] - constants["offset"]
    return values.astype(np.float32), float(clipped.mean())


def encode_labels(ensemble: xr.Dataset, constants: dict[str, Any]) -> dict[str, torch.Tensor]:
    """{"labels": (B, n)} scaled to [-1, 1] over the training range, or {} where the training data had none."""
    ranges = constants["labels"]
    if not ranges:
        return {}
    missing = [name for name in ranges if name not in ensemble]
    if missing:
        raise InputError(f"the label {missing[0]!r} is missing: the model was trained with {', '.join(ranges)}")
    columns = [(ensemble[name].values - (low + high) / 2) / ((high - low) / 2) for name, (low, high) in ranges.items()]
    return {"labels": torch.from_numpy(np.stack(columns, axis=1).astype(np.float32))}


def _range(values: np.ndarray) -> list[float]:
    low, high = float(values.min()), float(values.max())
    # a label that never varies carries no information: keep it at zero
    return [low, high] if high > low else [low - 1.0, low + 1.0]


def _shells(grid: tuple[int, ...]) -> np.ndarray:
    # round(4 |n|) of every mode in fftn order; n in units of the longest side
    axes = [np.fft.fftfreq(n, 1 / n) * (max(grid) / n) for n in grid]
    return np.rint(4 * np.sqrt(sum(np.square(k) for k in np.meshgrid(*axes, indexing="ij")))).astype(int)


def _shell_spectrum(x: np.ndarray) -> list[float]:
    grid = x.shape[2:]
    axes = tuple(range(1, 1 + len(grid)))
    # one sample at a time: a transform of the whole training set would double the memory
    power = sum(np.abs(np.fft.fftn(sample, axes=axes, norm="ortho")) ** 2 for sample in x).mean(0) / len(x)
    shells = _shells(grid).ravel()
    count = np.bincount(shells)
    total = np.bincount(shells, weights=power.ravel())
    return [float(t / c) if c else 0.0 for t, c in zip(total, count, strict=True)]


def spectrum_grid(constants: dict[str, Any]) -> torch.Tensor:
    r"""Variance of the orthonormal modes of the encoded field, (1, \*grid) in fftn order, float64."""
    power = np.asarray(constants["spectrum"])[_shells(tuple(constants["grid"]))]
    return torch.from_numpy(power)[None]


def overdensity(ensemble: xr.Dataset) -> xr.Dataset:
    """The ensemble as delta: densities over their mean minus 1, other kinds as they are.

    The mean is the attribute ``mean_density`` (written at import, kept by generated fields), else the ensemble's own.
    """
    kind = field_kind(ensemble)
    if kind in ("delta", "real"):
        return ensemble
    mean = float(ensemble.attrs.get("mean_density", ensemble["field"].mean()))
    scaled = (ensemble["field"] / mean - 1).astype(np.float32).assign_attrs(long_name="density contrast", units="1")
    return ensemble.assign(field=scaled).assign_attrs(field_kind="delta")
