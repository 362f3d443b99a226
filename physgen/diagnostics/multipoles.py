r"""Multipoles of the power spectrum about a line of sight, in boxes.

Legend: B fields, d dimensions, \*grid cells, V volume, N cells, K bins, L orders.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.special import eval_legendre

from physgen.diagnostics.batches import each_sample, real_type
from physgen.diagnostics.spectrum import CONVENTION, Bins, power_spectrum_array, spectrum_result, with_modes
from physgen.diagnostics.window import Correction, mean_in_bins
from physgen.errors import InputError
from physgen.lattice import half_grid, mode_bins, wavenumbers

if TYPE_CHECKING:
    import xarray as xr


def cosines(grid: Sequence[int], spacing: Sequence[float], axis: int) -> np.ndarray:
    r""":math:`\mu = k_\parallel/|k|` of every mode in the layout of rfftn, 0 at k = 0."""
    k = [one.numpy() for one in wavenumbers(grid, spacing)]
    length = np.sqrt(sum(np.square(one) for one in k))
    return np.divide(k[axis], length, out=np.zeros_like(length), where=length > 0)


def power_multipoles(
    ensemble: xr.Dataset,
    bins: Bins = None,
    line_of_sight: str = "z",
    orders: Sequence[int] = (0, 2, 4),
    correction: Correction | None = None,
) -> xr.Dataset:
    r"""Multipoles :math:`P_l(k) = (2l+1) \langle L_l(\mu) |\delta_k|^2 \rangle V/N^2`, :math:`\mu = k_\parallel/|k|`.

    L_l are Legendre polynomials; the mean is over the modes of a bin, P_0 that of :func:`power_spectrum`. The modes of
    a bin are few at small k, and their directions are not those of the sphere: of an isotropic field in a cube P_2 is 0
    in the mean, P_4 keeps up to some tenths of P_0 in the first bins.

    Args:
        ensemble: periodic ``field`` in two or three dimensions.
        bins: as in :func:`power_spectrum`.
        line_of_sight: space dim, the same for all fields.
        orders: even numbers, 0 first.
        correction: window and shot noise that are taken off; the noise, with its aliases, from each multipole.

    Returns:
        Dataset of kind curve over (``multipole``, ``k``): ``value`` (length^d), ``error`` over independent units,
        ``modes``; ``yardstick`` is P_0, in whose units all orders are compared.
    """
    from physgen.ensemble import space_dims, spacing

    dims, steps = space_dims(ensemble), spacing(ensemble)
    _check(dims, line_of_sight, orders)
    grid = tuple(ensemble.sizes[d] for d in dims)
    mu = cosines(grid, steps, dims.index(line_of_sight))
    weights = [(2 * order + 1) * eval_legendre(order, mu) for order in orders]
    removal = (correction or Correction()).of(ensemble)
    binned = mode_bins(grid, steps, bins)

    def measure(values: np.ndarray) -> np.ndarray:
        return np.stack(
            [power_spectrum_array(values, steps, bins, other=_weighted(values, w, grid))[1] for w in weights], axis=-2
        )

    power = each_sample(ensemble, measure, removal.transform())
    noise = np.broadcast_to(removal.noise(), half_grid(grid))
    power -= np.stack([mean_in_bins(noise * w, binned) for w in weights])
    said: dict[str, Any] = {
        "diagnostic": "power_multipoles",
        "kind": "curve",
        "scale": "linear",
        "symbol": r"P_\ell(k)",
    }
    said |= {"long_name": "multipole of the power spectrum", "tolerance": 0.1, "tolerance_kind": "difference"}
    said |= {"tolerance_of": "multipoles over P_0", "line_of_sight": line_of_sight} | removal.attrs
    said["convention"] = f"(2l+1) times the mean of L_l(mu) |delta_k|^2 about {line_of_sight}. " + CONVENTION.format(
        removal.words
    )
    multipole = (np.asarray(orders), {"long_name": "order of the multipole", "units": "1"})
    result = spectrum_result(ensemble, power, binned.k, first=("multipole", multipole), **said)
    first = abs(result["value"].sel(multipole=0, drop=True))
    result["yardstick"] = first.broadcast_like(result["value"]).transpose(*result["value"].dims)
    result["yardstick"].attrs |= {"long_name": "P_0", "units": result["value"].attrs["units"]}
    return with_modes(result, binned.count / 2)


def _check(dims: Sequence[str], line_of_sight: str, orders: Sequence[int]) -> None:
    if line_of_sight not in dims:
        raise InputError(f"line_of_sight = {line_of_sight!r} is no axis of the field: choose one of {', '.join(dims)}")
    if not orders or orders[0] != 0 or any(order % 2 or order < 0 for order in orders):
        raise InputError(f"orders = {tuple(orders)} must be even and start with 0: a real field has no odd multipoles")


def _weighted(values: np.ndarray, weight: np.ndarray, grid: tuple[int, ...]) -> np.ndarray:
    """Fields whose modes are multiplied by real, even weights: their cross spectrum with the fields has them once."""
    axes = tuple(range(-len(grid), 0))
    modes = torch.fft.rfftn(torch.from_numpy(np.ascontiguousarray(values, dtype=real_type(values.dtype))), dim=axes)
    modes *= torch.from_numpy(weight).to(modes.real.dtype)
    return torch.fft.irfftn(modes, s=grid, dim=axes).numpy()
