"""Isotropic power spectra of periodic lattice fields, in one to three dimensions and boxes of any shape.

Legend: B fields, d dimensions, *grid = (n_1, ..., n_d) cells of sizes a_i, V volume, N cells, K bins.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from physgen.diagnostics.batches import Transform, each_sample
from physgen.diagnostics.mode_sums import Array, sums_over_bins
from physgen.diagnostics.resampling import jackknife
from physgen.diagnostics.result import length_unit, result_of_samples, units
from physgen.diagnostics.window import Correction, Removal, without_transform
from physgen.errors import InputError
from physgen.lattice import mode_bins, nyquist

if TYPE_CHECKING:
    import xarray as xr

Bins = int | Sequence[float] | np.ndarray | None

CONVENTION = (
    "P = |FFT|^2 V/N^2 with V the volume and N the number of cells, so white noise of unit variance has "
    "P = cell volume; {}. The dotted line is the Nyquist wavenumber."
)


def as_tensor(x: Array) -> torch.Tensor:
    """numpy array of any strides and byte order, or tensor on any device, as a tensor; copied only where needed."""
    if isinstance(x, torch.Tensor):
        return x
    x = np.ascontiguousarray(x)
    if not x.dtype.isnative:  # FITS files are big-endian
        x = x.astype(x.dtype.newbyteorder("="))
    return torch.from_numpy(x if x.flags.writeable else x.copy())


def power_spectrum_array(
    field: Array, spacing: Sequence[float], bins: Bins = None, other: Array | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    r"""Isotropic power spectrum :math:`P = \langle|\delta_k|^2\rangle V/N^2` of an array of fields.

    :math:`\delta_k = \sum_x \delta(x) e^{-ikx}`. White noise of unit variance has P = cell volume. The standard
    deviation of P in one Gaussian field is :math:`P/\sqrt{\mathrm{modes}}`.

    Fields of single precision are transformed in single precision and summed in double (:mod:`.mode_sums`): against
    double, P changes by 1e-5 where it has fallen by eight decades, by 3e-4 where by twelve (there the field's own
    digits end). Memory: beside the field at most one half-spectrum of its size.

    Args:
        field: (..., *grid), numpy array or torch tensor on any device; d = len(spacing) trailing axes are space.
        spacing: cell size along each space axis.
        bins: None, a number, or edges in wavenumber: see :func:`bin_edges`.
        other: second field of the same shape: the cross spectrum :math:`\mathrm{Re}\,\delta_k\delta'^*_k V/N^2`.

    Returns:
        k (K,) mean |k| of the modes in a bin, power (..., K) float64, modes (K,) independent modes (k and -k once).
    """
    d = len(spacing)
    grid = tuple(field.shape[-d:])
    if other is not None and other.shape != field.shape:
        raise InputError(f"a cross spectrum needs equal shapes, got {tuple(field.shape)} and {tuple(other.shape)}")
    binned = mode_bins(grid, tuple(spacing), bins)
    first, second = field.reshape(-1, *grid), None if other is None else other.reshape(-1, *grid)
    power = sums_over_bins(first, second, binned) / binned.count * (np.prod(spacing) / np.prod(grid))
    return binned.k, power.reshape(*field.shape[:-d], -1), binned.count / 2


def power_spectrum(
    ensemble: xr.Dataset, bins: Bins = None, transform: Transform | None = None, correction: Correction | None = None
) -> xr.Dataset:
    r"""Isotropic power spectrum :math:`P(k) = \langle |\delta_k|^2 \rangle V/N^2` of an ensemble.

    Convention: :math:`\delta_k = \sum_x \delta(x) e^{-ikx}`, V the volume, N the number of cells: white noise of unit
    variance has P = cell volume. Without a correction no shot noise is subtracted, no mass-assignment window divided
    out.

    Args:
        ensemble: periodic ``field``, spacing from its coordinates, any sample dims.
        bins: None for bins of width k_F = 2 pi / L centred on its multiples up to Nyquist, a number of linear bins over
            the same range, or bin edges (:func:`bin_edges`).
        transform: None, or a function of the array of fields, whose ``__name__`` goes into the name of the result.
        correction: window and shot noise that are taken off (:class:`physgen.diagnostics.window.Correction`); what was
            done stands in the attrs ``mass_assignment``, ``deconvolve`` and ``shot_noise`` of the result.

    Returns:
        Dataset over ``k`` (mean |k| of the modes in the bin) with ``value`` (length^d), ``error`` (standard error over
        independent units), ``modes`` (independent modes of one field, k and -k counted once), ``k_low`` and ``k_high``
        (edges of the bins); attr ``nyquist``.
    """
    from physgen.ensemble import space_dims, spacing

    steps = spacing(ensemble)
    binned = mode_bins(tuple(ensemble.sizes[d] for d in space_dims(ensemble)), steps, bins)
    removal = (correction or Correction()).of(ensemble)
    through = without_transform(removal, transform)
    power = each_sample(ensemble, lambda values: power_spectrum_array(values, steps, bins)[1], through)
    power -= removal.noise_in(binned)
    name = "power_spectrum" if transform is None else f"power_spectrum_{_transform_name(transform)}"
    of = "" if transform is None else f" of the field's {_transform_name(transform)}"
    said: dict[str, Any] = {
        "diagnostic": name,
        "convention": CONVENTION.format(removal.words),
        "long_name": f"power spectrum{of}",
    }
    said["of_units"] = ensemble["field"].attrs.get("units", "1") if transform is None else "1"
    said |= {"tolerance": 0.1, "tolerance_kind": "ratio", "tolerance_of": "P(k)"}
    result = spectrum_result(ensemble, power, binned.k, **said, **removal.attrs, symbol="P(k)")
    for name, edge in zip(("k_low", "k_high"), binned.edges.T, strict=True):
        result[name] = ("k", edge, {"long_name": "edge of the bin", "units": result["k"].attrs["units"]})
    return with_modes(result, binned.count / 2)


def with_modes(result: xr.Dataset, modes: np.ndarray) -> xr.Dataset:
    """The result with the number of independent modes of each bin."""
    return result.assign(modes=("k", modes, {"long_name": "independent modes of one field", "units": "1"}))


def transformed(ensemble: xr.Dataset, transform: Transform | None) -> np.ndarray:
    """``field`` as one array (B, C, *grid), through None or a function of the array."""
    from physgen.ensemble import flatten

    values = flatten(ensemble)
    return values if transform is None else transform(values)


def _transform_name(transform: Transform | None) -> str:
    return getattr(transform, "__name__", "transformed")


def bracketed(units: str) -> str:
    """Units fit for a power: in brackets unless they are one word."""
    return units if units.isalpha() else f"({units})"


def inverse_length(ensemble: xr.Dataset) -> str:
    """Units of a wavenumber, "1" where space has none."""
    length = length_unit(ensemble)
    return {"1": "1", "Mpc/h": "h/Mpc", "kpc/h": "h/kpc"}.get(length, f"1/{bracketed(length)}")


def spectrum_result(
    ensemble: xr.Dataset, power: np.ndarray, k: np.ndarray, first: tuple[str, Any] | None = None, **attrs: Any
) -> xr.Dataset:
    """Result of kind spectrum from per-sample spectra (B, C, K); ``first``: name and coordinate of a dim before k."""
    from physgen.ensemble import space_dims, spacing

    length, d = length_unit(ensemble), len(space_dims(ensemble))
    volume = length if length == "1" or d == 1 else f"{bracketed(length)}^{d}"
    if (of := attrs.pop("of_units", "1")) not in ("1", ""):
        volume = f"({of})^2 {volume}".removesuffix(" 1")
    coords = {"k": (k, {"long_name": "wavenumber", "units": inverse_length(ensemble), "symbol": "k", "scale": "log"})}
    attrs = {"kind": "spectrum", "units": volume, "scale": "log", "nyquist": nyquist(spacing(ensemble))} | attrs
    dims, more = (("k",), {}) if first is None else ((first[0], "k"), {first[0]: first[1]})
    return result_of_samples(ensemble, power, dims, more | coords, **attrs)


def cross_spectrum(
    first: xr.Dataset,
    second: xr.Dataset,
    bins: Bins = None,
    transform: Transform | None = None,
    correction: Correction | None = None,
) -> xr.Dataset:
    r"""Cross spectrum of two ensembles, sample by sample, with the correlation coefficient and the transfer function.

    :math:`P_{12} = \mathrm{Re}\langle\delta_{1k}\delta_{2k}^*\rangle V/N^2`, :math:`r = P_{12}/\sqrt{P_1P_2}`,
    :math:`T = \sqrt{P_2/P_1}`, spectra averaged over units before the ratios. Independent fields have
    r = 0 +- 1/sqrt(2 modes) for one pair; anticorrelated fields have r < 0.

    Args:
        first, second: ensembles of equal sample and space dims, matched sample by sample.
        bins, transform: as in :func:`power_spectrum`.
        correction: of both. Each is divided by the window that it states; shot noise is subtracted from P_1 and P_2,
            not from P_12 (two samples of points share none; of the same points, P_12 keeps it). r may then exceed 1.

    Returns:
        Dataset over ``k``: ``value`` = P_12 (length^d) and ``error``; ``correlation``, ``correlation_error``,
        ``transfer``, ``transfer_error`` (jackknife over units; nan for one unit, or where noise is all there is).
    """
    from physgen.ensemble import space_dims, spacing

    removals = [(correction or Correction()).of(e) for e in (first, second)]
    through = [without_transform(removal, transform) for removal in removals]
    fields = [transformed(e, change) for e, change in zip((first, second), through, strict=True)]
    steps = spacing(first)
    k, cross, modes = power_spectrum_array(fields[0], steps, bins, other=fields[1])
    binned = mode_bins(tuple(first.sizes[d] for d in space_dims(first)), steps, bins)
    autos = [
        power_spectrum_array(f, steps, bins)[1] - removal.noise_in(binned)
        for f, removal in zip(fields, removals, strict=True)
    ]
    names: dict[str, Any] = {"diagnostic": "cross_spectrum", "long_name": "cross spectrum", "symbol": "P_{12}(k)"}
    names["convention"] = CONVENTION.format(removals[0].words if correction else Removal().words)
    result = with_modes(spectrum_result(first, cross, k, **names, **removals[0].attrs), modes)
    group, dims = units(first), result["value"].dims
    shape = result["per_unit"].shape[1:]
    stacked = np.stack([group.mean(p).reshape(group.count, *shape) for p in (cross, *autos)], axis=1)  # (U, 3, *shape)
    ratios = {
        "correlation": lambda m: m[..., 0, :] / np.sqrt(m[..., 1, :] * m[..., 2, :]),
        "transfer": lambda m: np.sqrt(m[..., 2, :] / m[..., 1, :]),
    }
    flat = stacked.reshape(group.count, 3, -1)
    for name, ratio in ratios.items():
        with np.errstate(invalid="ignore"):  # a power below zero once its noise is off has no root
            estimate = ratio(flat.mean(axis=0))
            error = jackknife(flat, ratio)[1] if group.count > 1 else np.full_like(estimate, np.nan)
        result[name] = (dims, estimate.reshape(shape), {"units": "1"})
        result[f"{name}_error"] = (dims, error.reshape(shape), {"units": "1"})
    return result
