r"""What is measured of pictures that have edges: nothing wraps around.

Values are taken as deviations from the mean of the whole ensemble, over space, samples and each component for itself
where that is said. Shapes: B pictures, C components, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from physgen.diagnostics.batches import each_sample
from physgen.diagnostics.distribution import histogram_array
from physgen.diagnostics.distribution import one_point as one_point_of_field
from physgen.diagnostics.result import length_unit, result_of_samples
from physgen.diagnostics.spectrum import power_spectrum
from physgen.domains.images.arrays import levels_of
from physgen.domains.images.patches import patch_moments
from physgen.ensemble import space_dims
from physgen.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

MOST_BINS, GRADIENT_BINS, BLOCKS = 32, 33, 8


def one_point(ensemble: xr.Dataset) -> xr.Dataset:
    """Distribution of the grey values: of L levels one bin each, or 32 of several levels; of real ones in their std."""
    levels = levels_of(ensemble)
    if not levels:
        return one_point_of_field(ensemble)
    step = -(-levels // MOST_BINS)
    return one_point_of_field(ensemble, np.arange(0, levels + step, step) - 0.5, scale="linear")


def windowed_spectrum(ensemble: xr.Dataset) -> xr.Dataset:
    r"""Power spectrum under a window, :math:`P(k) = (V/N^2)\,|\mathrm{FFT}[w (f - \bar f)]|^2/\langle w^2\rangle`.

    Hann's: :math:`w = \prod_i \sin^2(\pi (x_i + \frac12)/n_i)` fades towards the edges, which would else look like
    edges in the picture; f̄ is the mean of all pictures. White noise keeps its spectrum, any other is smoothed over
    two bins.
    """
    centre = ensemble_mean(ensemble)
    sides = [ensemble.sizes[dim] for dim in space_dims(ensemble)]
    window = np.ones(())
    for side in sides:
        window = window[..., None] * np.sin(np.pi * (np.arange(side) + 0.5) / side) ** 2
    window = window / np.sqrt(np.mean(window**2))

    def windowed(values: np.ndarray) -> np.ndarray:
        return (values - centre) * window

    found = power_spectrum(ensemble, transform=windowed)
    found["value"].attrs["long_name"] = "power spectrum under a Hann window"
    return found.assign_attrs(diagnostic="power_spectrum", convention="A Hann window fades the picture at its edges.")


def lag_correlation(ensemble: xr.Dataset) -> xr.Dataset:
    r"""Covariance of two pixels by their separation, :math:`\langle (f(x) - \bar f)(f(x + r) - \bar f)\rangle`.

    The mean is over the pairs that lie in the picture (no wrap), then over separations of a bin one pixel wide, up to
    half the shorter side. f̄ is the mean of all pictures.
    """
    centre = ensemble_mean(ensemble)
    sides = tuple(ensemble.sizes[dim] for dim in space_dims(ensemble))
    table, r, pairs = _lag_bins(sides)

    def covariance(values: np.ndarray) -> np.ndarray:
        f = np.fft.rfftn(values - centre, [2 * n for n in sides], axes=tuple(range(2, values.ndim)))
        sums = np.fft.irfftn(np.abs(f) ** 2, [2 * n for n in sides], axes=tuple(range(2, values.ndim)))
        flat = sums.reshape(*values.shape[:2], -1)[..., table >= 0]
        rows = np.stack([flat[..., table[table >= 0] == one].sum(-1) for one in range(len(r))], axis=-1)
        return rows / pairs

    attrs: dict[str, Any] = {"diagnostic": "correlation", "kind": "correlation", "units": "1", "symbol": r"C(r)"}
    attrs |= {"long_name": "covariance of two pixels", "tolerance": 0.05, "tolerance_kind": "difference"}
    attrs |= {
        "tolerance_of": "covariance / variance",
        "convention": "The mean over all pairs of pixels in the picture.",
    }
    coords = {"r": (r, {"long_name": "separation", "units": length_unit(ensemble), "symbol": "r"})}
    result = result_of_samples(ensemble, each_sample(ensemble, covariance), ("r",), coords, **attrs)
    said = {"long_name": "variance of a pixel", "units": "1"}
    result["yardstick"] = abs(result["value"].isel(r=0, drop=True)).broadcast_like(result["value"]).assign_attrs(said)
    return result


def _lag_bins(sides: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bin of each shift of a lattice of twice the sides (-1: none), mean r of each bin, pairs of pixels in each."""
    shifts = [np.minimum(np.arange(2 * n), 2 * n - np.arange(2 * n)) for n in sides]
    distance = np.sqrt(sum(np.meshgrid(*[s.astype(float) ** 2 for s in shifts], indexing="ij")))
    pairs = np.prod(np.meshgrid(*[n - s for n, s in zip(sides, shifts, strict=True)], indexing="ij"), axis=0)
    table = np.rint(distance).astype(int)  # distance 1/2 or less is 0 alone: bins of one pixel about whole numbers
    table[(table > min(sides) // 2) | (pairs == 0)] = -1
    count = min(sides) // 2 + 1
    chosen = table.reshape(-1) >= 0
    of, weight = table.reshape(-1)[chosen], pairs.reshape(-1)[chosen].astype(float)
    total = np.bincount(of, weight, count)
    return table.reshape(-1), np.bincount(of, weight * distance.reshape(-1)[chosen], count) / total, total


def gradients(ensemble: xr.Dataset) -> xr.Dataset:
    """Distribution of the difference of neighbours, to the right and down.

    Of L levels in levels, bins about whole numbers of them (in units of a scatter that differs a little between two
    sets, whole numbers would cross the edges of bins); of real values in standard deviations of all values.
    """
    if min(ensemble.sizes[dim] for dim in space_dims(ensemble)) < 2:
        raise InputError("a gradient needs two pixels along each side")
    levels = levels_of(ensemble)
    width = float(-(-(2 * levels - 1) // GRADIENT_BINS) // 2 * 2 + 1) if levels else 0.25  # odd: about a whole number
    edges = width * (np.arange(GRADIENT_BINS + 1) - GRADIENT_BINS / 2)
    unit = np.ones(1) if levels else ensemble_std(ensemble)

    def differences(values: np.ndarray) -> np.ndarray:
        steps = [np.diff(values, axis=axis) for axis in range(2, values.ndim)]
        flat = np.concatenate([step.reshape(*step.shape[:2], -1) for step in steps], axis=-1)
        return histogram_array(flat / unit.reshape(1, -1, 1), edges) / width

    said = {"long_name": "difference of neighbours" + ("" if levels else " / std"), "units": "1"}
    coords = {"gradient": ((edges[1:] + edges[:-1]) / 2, said)}
    attrs: dict[str, Any] = {"diagnostic": "gradients", "kind": "histogram", "long_name": "probability density"}
    attrs |= {"units": "1", "measure": "density", "scale": "log", "tolerance": 0.02, "tolerance_kind": "distribution"}
    found = each_sample(ensemble, differences)
    result = result_of_samples(ensemble, found, ("gradient",), coords, tolerance_of="probability", **attrs)
    words = {"long_name": "width of the bin", "units": "1"}
    return result.assign(width=("gradient", np.full(GRADIENT_BINS, width), words))


def mean_image(ensemble: xr.Dataset) -> xr.Dataset:
    """Mean picture in at most 8 x 8 blocks of pixels; deviations count in standard deviations of all values."""
    found = each_sample(ensemble, blocks)
    flat = found.reshape(*found.shape[:2], -1)
    coords = {"block": (np.arange(flat.shape[-1]), {"long_name": "block of pixels, row by row", "units": "1"})}
    result = result_of_samples(
        ensemble, flat, ("block",), coords, diagnostic="mean_image", kind="scalar", long_name="mean grey value",
        units="1", tolerance=0.1, tolerance_kind="difference", tolerance_of="standard deviation of the grey values",
    )  # fmt: skip
    return with_std(result, ensemble)


def blocks(values: np.ndarray, most: int = BLOCKS) -> np.ndarray:
    """Means (B, C, h, w) over blocks of pixels, h and w the largest divisors of the sides up to ``most``."""
    parts = [max(d for d in range(1, most + 1) if side % d == 0) for side in values.shape[2:]]
    height, width = (side // part for side, part in zip(values.shape[2:], parts, strict=True))
    split = values.reshape(*values.shape[:2], parts[0], height, parts[1], width)
    return split.mean(axis=(3, 5), dtype=float)


def with_std(result: xr.Dataset, ensemble: xr.Dataset) -> xr.Dataset:
    """The result with the standard deviation of all values as the yardstick of a deviation, component by component."""
    spread, words = ensemble_std(ensemble), {"long_name": "standard deviation of the grey values", "units": "1"}
    dims = ("component",) if "component" in result["value"].dims else ()
    return result.assign(yardstick=(dims, spread if dims else spread[0], words))


def ensemble_mean(ensemble: xr.Dataset) -> np.ndarray:
    """Mean over samples and space, (C, 1, 1)."""
    found = each_sample(ensemble, lambda v: v.mean(axis=tuple(range(2, v.ndim)), dtype=float)).mean(axis=0)
    return found.reshape(-1, *[1] * len(space_dims(ensemble)))


def ensemble_std(ensemble: xr.Dataset) -> np.ndarray:
    """Standard deviation over samples and space, (C,); 1 where all values are equal."""
    centre = ensemble_mean(ensemble)
    found = each_sample(ensemble, lambda v: ((v - centre) ** 2).mean(axis=tuple(range(2, v.ndim)))).mean(axis=0)
    return np.where(found > 0, np.sqrt(found), 1.0)


DIAGNOSTICS: dict[str, Callable[[xr.Dataset], xr.Dataset]] = {
    "one_point": one_point,
    "power_spectrum": windowed_spectrum,
    "correlation": lag_correlation,
    "mean_image": mean_image,
    "gradients": gradients,
    "patch_moments": patch_moments,
}
