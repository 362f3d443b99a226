"""How much configurations differ from one another: scatter and covariance of their power and of their mean.

Legend: B samples, C components, U units, Q bands of wavenumbers. All samples count together, so that no figure depends
on how many of them a unit has; errors by jackknife over units.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from physgen.diagnostics.batches import each_sample
from physgen.diagnostics.resampling import jackknife
from physgen.diagnostics.result import units
from physgen.diagnostics.spectrum import inverse_length, power_spectrum_array
from physgen.errors import InputError
from physgen.lattice import bin_edges, mode_bins, nyquist

if TYPE_CHECKING:
    import xarray as xr

    from physgen.diagnostics.batches import Transform


def standard_deviation(first_two: np.ndarray) -> np.ndarray:
    """Means of x and x^2 (..., 2) to the standard deviation of x."""
    return np.sqrt(np.maximum(first_two[..., 1] - first_two[..., 0] ** 2, 0.0))


def scatter_result(
    ensemble: xr.Dataset,
    per_sample: np.ndarray,
    dims: Sequence[str],
    coords: Mapping[str, Any],
    floor: float = 0.0,
    **attrs: Any,
) -> xr.Dataset:
    r"""Result of :math:`\sqrt{\mathrm{var}_b\,x_b + f^2}` over all samples b of an ensemble, units of equal weight.

    Args:
        ensemble: gives units and kept dims.
        per_sample: x, (B, C, \*shape).
        floor: f, what x scatters by where it is a constant up to rounding: the ratio of two such scatters is 1.
        dims, coords, **attrs: of :func:`physgen.diagnostics.result.make_result`, for ``shape``.
    """
    centred = per_sample - per_sample.mean(axis=0)
    raw = np.stack([centred, centred**2], axis=-1)
    return jackknifed_result(ensemble, raw, lambda m: np.hypot(standard_deviation(m), floor), dims, coords, **attrs)


def jackknifed_result(
    ensemble: xr.Dataset,
    per_sample: ArrayLike,
    statistic: Callable[[np.ndarray], np.ndarray],
    dims: Sequence[str],
    coords: Mapping[str, Any],
    **attrs: Any,
) -> xr.Dataset:
    r"""Result of a function of averages over an ensemble, as jackknife pseudo-values of its units.

    Args:
        ensemble: gives units and kept dims.
        per_sample: (B, C, \*what is averaged).
        statistic: maps (..., \*what is averaged) to (..., \*shape).
        dims, coords, **attrs: of make_result, for ``shape``; a single component is dropped.
    """
    group = units(ensemble)
    found = jackknife(group.mean(per_sample), statistic)[2]  # (U, *kept, C, *shape)
    axis = 1 + len(group.dims)
    if found.shape[axis] == 1:
        return group.result(found.squeeze(axis), dims, coords, **attrs)
    return group.result(found, ("component", *dims), coords, **attrs)


def octave_edges(grid: Sequence[int], spacing: Sequence[float]) -> np.ndarray:
    r"""Edges :math:`0.6 \cdot 2^j` fundamental wavenumbers, which no mode of a cube hits, the last at Nyquist."""
    low, high = 1.2 * bin_edges(grid, spacing)[0], nyquist(spacing)
    edges = low * 2.0 ** np.arange(max(int(np.ceil(np.log2(0.75 * high / low))), 1))
    return np.append(edges, high)


def log_band_power(
    ensemble: xr.Dataset, transform: Transform | None, edges: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The bands' mean k, and ln P of each sample in them, (B, C, Q); octaves where no edges are given."""
    from physgen.ensemble import space_dims, spacing

    steps = spacing(ensemble)
    grid = tuple(ensemble.sizes[d] for d in space_dims(ensemble))
    edges = octave_edges(grid, steps) if edges is None else edges
    k = mode_bins(grid, steps, edges).k
    power = each_sample(ensemble, lambda values: power_spectrum_array(values, steps, edges)[1], transform)
    if not np.all(power > 0):
        raise InputError("a configuration has no power in a band: the logarithm of its P(k) is infinite, drop it")
    return k, np.log(power)


def _coordinate_of_k(
    ensemble: xr.Dataset, k: np.ndarray, long_name: str = "wavenumber"
) -> tuple[np.ndarray, dict[str, str]]:
    return (k, {"long_name": long_name, "units": inverse_length(ensemble), "symbol": "k", "scale": "log"})


def power_scatter(ensemble: xr.Dataset, transform: Transform | None = None) -> xr.Dataset:
    r"""Scatter of the power from one configuration to the next, :math:`\mathrm{std}_b \ln P_b(k)`, in octave bands.

    A Gaussian field of one law has :math:`1/\sqrt{\mathrm{modes}}` (many modes); conditions that differ between units
    and coupled modes add to it. A model can have the right mean P(k) and draw every map alike.

    Args:
        ensemble: periodic ``field``.
        transform: as in :func:`physgen.diagnostics.power_spectrum`.

    Returns:
        Dataset of kind curve over ``k`` (mean \|k\| of the modes in the band): ``value``, ``error``; ``per_unit`` holds
        jackknife pseudo-values. Needs two units.
    """
    k, log_power = log_band_power(ensemble, transform)
    said: dict[str, Any] = {
        "diagnostic": "power_scatter",
        "kind": "curve",
        "long_name": "scatter of the power between configurations",
    }
    said |= {"units": "1", "symbol": r"\mathrm{std}\,\ln P"}
    said |= {"tolerance": 0.2, "tolerance_kind": "ratio", "tolerance_of": "scatter of ln P(k)"}
    return scatter_result(ensemble, log_power, ("k",), {"k": _coordinate_of_k(ensemble, k)}, **said)


def power_correlation(ensemble: xr.Dataset, transform: Transform | None = None) -> xr.Dataset:
    r"""Correlation over configurations of :math:`\ln P` in two octave bands, the off-diagonal covariance of P(k).

    Modes of a Gaussian field of one law are independent: 0; gravity and common conditions couple them.

    Args:
        ensemble, transform: as in :func:`power_scatter`.

    Returns:
        Dataset of kind scalar over ``pair``, with ``k_low`` and ``k_high`` of its two bands; pseudo-values in
        ``per_unit``.
    """
    k, log_power = log_band_power(ensemble, transform)
    if len(k) < 2:
        raise InputError("a correlation between bands of wavenumbers needs two octaves: use more cells")
    first, second = np.triu_indices(len(k), 1)
    x = log_power - log_power.mean(axis=0)
    raw = np.concatenate([x, x**2, x[..., first] * x[..., second]], axis=-1)

    def correlation(m: np.ndarray) -> np.ndarray:
        bands = len(k)
        mean, square, product = m[..., :bands], m[..., bands : 2 * bands], m[..., 2 * bands :]
        spread = np.sqrt(square - mean**2)
        covariance = product - mean[..., first] * mean[..., second]
        return covariance / (spread[..., first] * spread[..., second])

    said: dict[str, Any] = {
        "diagnostic": "power_correlation",
        "kind": "scalar",
        "long_name": "correlation of ln P between two bands",
    }
    said |= {"tolerance": 0.2, "tolerance_kind": "difference", "tolerance_of": "correlation of ln P(k) and ln P(k')"}
    pair = (np.arange(1, len(first) + 1), {"long_name": "pair of bands, wide apart last in each row", "units": "1"})
    result = jackknifed_result(ensemble, raw, correlation, ("pair",), {"pair": pair}, units="1", **said)
    for name, index in (("k_low", first), ("k_high", second)):
        result[name] = ("pair", k[index], {"long_name": "wavenumber of the band", "units": inverse_length(ensemble)})
    return result
