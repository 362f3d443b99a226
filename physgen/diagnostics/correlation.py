"""Two-point correlation function of periodic lattice fields, by FFT.

Legend: B fields, d dimensions, *grid cells of sizes a_i, N cells, R bins of separation.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from physgen.diagnostics.batches import BATCH_CELLS, each_sample, shared_out
from physgen.diagnostics.mode_sums import autocorrelation, sums_of_cells
from physgen.diagnostics.result import length_unit, result_of_samples
from physgen.errors import InputError
from physgen.lattice import octant_bins

if TYPE_CHECKING:
    import xarray as xr

    from physgen.diagnostics.batches import Transform


def separation_bins(
    grid: Sequence[int], spacing: Sequence[float], bins: Sequence[float] | np.ndarray | None = None
) -> tuple[np.ndarray, ...]:
    """Bins of the shifts of a lattice by their minimum-image length r.

    Args:
        grid, spacing: lattice.
        bins: edges in r; default: r = 0 alone, then bins of one (largest) cell size centred on its multiples, up to
            half the shortest side.

    Returns:
        bin of each shift of one octant, 0 ... n//2 along each axis (R: in none), mean r (R,), number of shifts (R,);
        bins without a shift are dropped.
    """
    if bins is not None:
        edges = np.asarray(bins, dtype=float)
        if edges.ndim != 1 or len(edges) < 2 or np.any(np.diff(edges) <= 0):
            raise InputError(f"bin edges must be at least two increasing separations, got {edges.tolist()}")
        bins = tuple(edges.tolist())
    return _separation_bins(tuple(grid), tuple(spacing), bins)


@functools.lru_cache(maxsize=8)
def _separation_bins(
    grid: tuple[int, ...], spacing: tuple[float, ...], bins: tuple[float, ...] | None
) -> tuple[np.ndarray, ...]:
    if bins is None:
        step = max(spacing)
        reach = min(n * a for n, a in zip(grid, spacing, strict=True)) / 2
        edges = np.concatenate([[0.0], step * (np.arange(int(reach / step * (1 + 1e-9)) + 1) + 0.5)])
    else:
        edges = np.asarray(bins)
    axes = [np.arange(n // 2 + 1) * a for n, a in zip(grid, spacing, strict=True)]
    return octant_bins(grid, axes, edges * (1 - 1e-9))[:3]


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
    field = field.detach().cpu().numpy() if isinstance(field, torch.Tensor) else np.asarray(field)
    grid = tuple(field.shape[-d:])
    table, r, count = separation_bins(grid, spacing, bins)
    flat = field.reshape(-1, *grid)
    step = max(1, BATCH_CELLS // int(np.prod(grid)))

    def some(start: int) -> np.ndarray:
        values = flat[start : start + step]
        found = sums_of_cells(autocorrelation(values), table, len(r)) / count
        return found if connected else found + values.mean(axis=tuple(range(1, d + 1)), dtype=float)[:, None] ** 2

    parts = shared_out(some, range(0, len(flat), step))
    found = np.concatenate(parts) if parts else np.zeros((0, len(r)))
    return r, found.reshape(*field.shape[:-d], -1), count


def two_point_correlation(
    ensemble: xr.Dataset,
    bins: Sequence[float] | np.ndarray | None = None,
    connected: bool = False,
    transform: Transform | None = None,
) -> xr.Dataset:
    r"""Isotropic correlation function :math:`\xi(r) = \langle f(x) f(x+r) \rangle` of an ensemble.

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
