"""Two-point correlation function of periodic lattice fields and spins, by FFT.

Legend: B fields, d dimensions, *grid cells of sizes a_i, N cells, R bins of separation.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy import fft

from physgen.diagnostics.batches import BATCH_CELLS, each_sample
from physgen.diagnostics.result import length_unit, result_of_samples
from physgen.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

    from physgen.diagnostics.batches import Transform


def separation_bins(
    grid: Sequence[int], spacing: Sequence[float], bins: Sequence[float] | np.ndarray | None = None
) -> tuple[np.ndarray, ...]:
    """Bin of each of the N shifts by its minimum-image length r; shifts outside every bin get -1.

    Args:
        grid, spacing: lattice.
        bins: edges in r; default: r = 0 alone, then bins of one (largest) cell size centred on its multiples, up to
            half the shortest side.

    Returns:
        bin (N,), mean r (R,), number of shifts (R,); bins without a shift are dropped.
    """
    if bins is None:
        step = max(spacing)
        reach = min(n * a for n, a in zip(grid, spacing, strict=True)) / 2
        edges = np.concatenate([[0.0], step * (np.arange(int(reach / step * (1 + 1e-9)) + 1) + 0.5)])
    else:
        edges = np.asarray(bins, dtype=float)
        if edges.ndim != 1 or len(edges) < 2 or np.any(np.diff(edges) <= 0):
            raise InputError(f"bin edges must be at least two increasing separations, got {edges.tolist()}")
    # fftfreq(n) * n counts shifts -n/2 .. n/2 - 1: the minimum image
    axes = [np.fft.fftfreq(n) * n * a for n, a in zip(grid, spacing, strict=True)]
    r = np.sqrt(sum(np.square(x) for x in np.meshgrid(*axes, indexing="ij"))).ravel()
    index = np.searchsorted(edges * (1 - 1e-9), r, side="right") - 1
    index[index == len(edges) - 1] = -1
    filled, inside = np.unique(index[index >= 0], return_inverse=True)
    index[index >= 0] = inside
    count = np.bincount(inside, minlength=len(filled))
    return index, np.bincount(inside, weights=r[index >= 0]) / count, count


def correlation_array(
    field: np.ndarray,
    spacing: Sequence[float],
    bins: Sequence[float] | np.ndarray | None = None,
    connected: bool = False,
) -> tuple[np.ndarray, ...]:
    r"""Isotropic correlation function of an array of fields, :math:`N^{-1}\sum_x f(x) f(x+r)` averaged over a bin of r.

    Args:
        field: (..., *grid), numpy or torch; d = len(spacing) trailing axes are periodic space.
        spacing: cell size along each space axis.
        bins: edges in r; default of :func:`separation_bins`.
        connected: subtract the mean of each field first.

    Returns:
        r (R,) mean separation in a bin, xi (..., R) float64, shifts (R,) lattice shifts in a bin.
    """
    d = len(spacing)
    field = field.cpu().numpy() if isinstance(field, torch.Tensor) else np.asarray(field)
    grid = tuple(field.shape[-d:])
    index, r, count = _separation_bins(grid, tuple(spacing), None if bins is None else tuple(map(float, bins)))
    index = np.where(index < 0, len(r), index)
    axes = tuple(range(-d, 0))
    flat = field.reshape(-1, *grid)
    found = np.zeros((len(flat), len(r)))
    step = max(1, BATCH_CELLS // int(np.prod(grid)))
    for start in range(0, len(flat), step):
        values = flat[start : start + step]
        values = values.astype(np.result_type(values.dtype.newbyteorder("="), np.float32), copy=False)
        # a large mean would cost single precision its digits
        mean = values.mean(axis=axes, keepdims=True, dtype=float)
        modes = fft.rfftn(values - mean.astype(values.dtype), axes=axes)
        power = (modes.real**2 + modes.imag**2) / np.prod(grid)
        product = fft.irfftn(power.astype(modes.dtype), s=grid, axes=axes).reshape(len(values), -1)
        for row, line in enumerate(product, start):
            found[row] = np.bincount(index, line, minlength=len(r) + 1)[: len(r)] / count
        if not connected:
            found[start : start + step] += mean.reshape(-1, 1) ** 2
    return r, found.reshape(*field.shape[:-d], -1), count


@functools.lru_cache(maxsize=8)
def _separation_bins(
    grid: Sequence[int], spacing: Sequence[float], bins: Sequence[float] | np.ndarray | None
) -> tuple[np.ndarray, ...]:
    return separation_bins(grid, spacing, bins)


def two_point_correlation(
    ensemble: xr.Dataset,
    bins: Sequence[float] | np.ndarray | None = None,
    connected: bool = False,
    transform: Transform | None = None,
) -> xr.Dataset:
    r"""Isotropic correlation function :math:`\xi(r) = \langle f(x) f(x+r) \rangle` of an ensemble of fields or spins.

    Args:
        ensemble: periodic ``field``, spacing from its coordinates, any sample dims.
        bins: edges in r; default: r = 0, then one cell size wide up to half the shortest side.
        connected: subtract the mean of each configuration first.
        transform: None or a function, as in :func:`physgen.diagnostics.power_spectrum`.

    Returns:
        Dataset over ``r`` (mean separation in the bin) with ``value`` (units of the field squared), ``error`` (standard
        error over independent units) and ``shifts`` (lattice shifts in the bin).
    """
    from physgen.ensemble import space_dims, spacing

    steps = spacing(ensemble)
    _, r, shifts = separation_bins(tuple(ensemble.sizes[d] for d in space_dims(ensemble)), steps, bins)
    xi = each_sample(ensemble, lambda values: correlation_array(values, steps, bins, connected)[1], transform)
    coords = {"r": (r, {"long_name": "separation", "units": length_unit(ensemble), "symbol": "r"})}
    attrs: dict[str, Any] = {"diagnostic": "correlation", "kind": "correlation", "long_name": "two-point correlation"}
    attrs["convention"] = "The mean of the product of two cells at distance r, over all shifts of that length."
    attrs |= {"tolerance": 0.05, "tolerance_kind": "difference", "tolerance_of": "correlation / variance"}
    result = result_of_samples(ensemble, xi, ("r",), coords, units="1", symbol=r"\xi(r)", **attrs)
    said = {"long_name": "correlation at the smallest separation (the variance)", "units": "1"}
    result["yardstick"] = abs(result["value"].isel(r=0, drop=True)).broadcast_like(result["value"]).assign_attrs(said)
    result["shifts"] = ("r", shifts, {"long_name": "lattice shifts in the bin", "units": "1"})
    return result
