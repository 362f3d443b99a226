r"""Statistics of all patches of 3 x 3 pixels in the basis of the discrete cosine transform.

The eight patterns without a mean diagonalise the covariance of patches of a stationary picture approximately (Lee,
Pedersen and Mumford, Int. J. Comput. Vision 54 (2003), 83, section 2), so that their variances are the covariance, and
their kurtosis says what no covariance knows: edges.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from physgen.diagnostics.batches import each_sample
from physgen.diagnostics.resampling import jackknife
from physgen.diagnostics.result import units
from physgen.ensemble import space_dims
from physgen.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

SIDE = 3
YARDSTICK = (1.0, 5.0)  # of ln variance and kurtosis: a tolerance of .1 is 10 % and 0.5


def patterns() -> np.ndarray:
    r"""(8, 3, 3) orthonormal :math:`c_a(i) c_b(j)`, :math:`c_a(i) \propto \cos(\pi a (i + \frac12)/3)`, not (0, 0)."""
    i = np.arange(SIDE)
    rows = np.cos(np.pi * np.arange(SIDE)[:, None] * (i + 0.5) / SIDE)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    found: np.ndarray = np.einsum("ai,bj->abij", rows, rows).reshape(SIDE**2, SIDE, SIDE)[1:]
    return found


def patch_moments(ensemble: xr.Dataset) -> xr.Dataset:
    r"""ln of the variance, and the excess kurtosis, of each of the eight patterns over all patches.

    :math:`\ln m_2` and :math:`m_4/m_2^2 - 3`, :math:`m_j` the mean of the j-th power of the coefficient over patches
    and units; errors by jackknife over units. A deviation counts in units of 1 and 5.

    Returns:
        Dataset of kind scalar over ``moment`` and ``pattern`` (moment 1: ln variance, 2: kurtosis).
    """
    sides = [ensemble.sizes[dim] for dim in space_dims(ensemble)]
    if min(sides) < SIDE:
        raise InputError(f"patches of {SIDE} x {SIDE} pixels need sides of {SIDE}, got {sides}")
    basis = patterns()

    def powers(values: np.ndarray) -> np.ndarray:
        windows = np.lib.stride_tricks.sliding_window_view(values.astype(float), (SIDE, SIDE), axis=(2, 3))
        square = np.einsum("bcyxij,aij->bcayx", windows, basis, optimize=True) ** 2
        return np.stack([square.mean((-2, -1)), (square**2).mean((-2, -1))], axis=2)

    group = units(ensemble)
    per_unit = group.mean(each_sample(ensemble, powers))  # (U, *kept, C, 2, 8)
    found = jackknife(per_unit, _moments)[2] if group.count > 1 else _moments(per_unit)
    dims: tuple[str, ...] = ("component", "moment", "pattern")
    if found.shape[-3] == 1:
        found, dims = found[..., 0, :, :], dims[1:]
    coords = {
        "pattern": (np.arange(1, SIDE**2), {"long_name": "pattern of 3 x 3 pixels", "units": "1"}),
        "moment": (
            np.array([1, 2]),
            {"long_name": "ln variance, kurtosis", "units": "1", "flag_meanings": "ln_variance kurtosis"},
        ),
    }
    attrs: dict[str, Any] = {"diagnostic": "patch_moments", "kind": "scalar", "units": "1", "tolerance": 0.1}
    attrs |= {
        "long_name": "moments of patches",
        "tolerance_kind": "difference",
        "tolerance_of": "ln variance (kurtosis: 5)",
    }
    result = group.result(found, dims, coords, **attrs)
    result["yardstick"] = ("moment", np.array(YARDSTICK))
    return result


def _moments(raw: np.ndarray) -> np.ndarray:
    second, fourth = raw[..., 0, :], raw[..., 1, :]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.stack([np.log(second), fourth / second**2 - 3], axis=-2)
