r"""Covariance of P(k) at fixed labels: what is left of ln P of each configuration where the labels are taken off.

Over units of many labels the bands of ln P go up and down together because the labels do; an error bar at one set of
labels needs the covariance that is left. Labels are taken off by the regression of
:mod:`physgen.diagnostics.label_fit`, of each unit by the fit to all others.

Legend: B samples, C components, U units, Q bands of wavenumbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from physgen.diagnostics.equivalence import BAND
from physgen.diagnostics.label_fit import LabelFit, label_fit
from physgen.diagnostics.result import units
from physgen.diagnostics.scatter import jackknifed_result, log_band_power
from physgen.diagnostics.spectrum import inverse_length
from physgen.errors import InputError
from physgen.lattice import nyquist

if TYPE_CHECKING:
    import xarray as xr

    from physgen.diagnostics.batches import Transform

MATRIX = "matrix"  # attribute of a result over pairs: names of the two variables that say row and column


def judged_edges(spacing: Sequence[float]) -> np.ndarray:
    """Edges of half octaves over the wavenumbers in which spectra are judged, 0.05 to 0.7 of Nyquist."""
    low, high = (part * nyquist(spacing) for part in BAND)
    return high / 2 ** (np.arange(2 * int(np.log2(high / low)) + 1)[::-1] / 2)


def fit_of_units(ensemble: xr.Dataset) -> LabelFit:
    """The regression on the labels of the units; on a constant where no label varies. One point per unit only."""
    group = units(ensemble)
    if group.dims:
        raise InputError(f"units with further sample dims ({', '.join(group.dims)}) have several laws: select one")
    try:
        return label_fit(ensemble)[1]
    except InputError:
        return LabelFit.of(np.zeros((group.count, 0)))


def at_fixed_labels(ensemble: xr.Dataset, per_sample: np.ndarray) -> np.ndarray:
    r"""What belongs to samples (B, \*shape) less what the other units say of their labels."""
    fit, group = fit_of_units(ensemble), units(ensemble)
    mean = group.mean(per_sample)  # (U, *shape)
    return per_sample - (mean - fit.left_out(mean))[group.index]


def _products(x: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return np.concatenate([x**2, x[..., first] * x[..., second]], axis=-1)


def _correlations(raw: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Means of squares and of products to correlations of pairs."""
    bands = raw.shape[-1] - len(first)
    square, product = raw[..., :bands], raw[..., bands:]
    return product / np.sqrt(square[..., first] * square[..., second])


def _bands(ensemble: xr.Dataset, transform: Transform | None) -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, ...]]:
    """Mean k, ln P at fixed labels (B, C, Q), and the two bands of each pair."""
    from physgen.ensemble import spacing

    k, log_power = log_band_power(ensemble, transform, judged_edges(spacing(ensemble)))
    if len(k) < 2:
        raise InputError("a correlation between bands of wavenumbers needs two bands: use more cells")
    return k, at_fixed_labels(ensemble, log_power), np.triu_indices(len(k), 1)


def power_covariance(ensemble: xr.Dataset, transform: Transform | None = None) -> xr.Dataset:
    r"""Correlation matrix of :math:`\ln P` in half octaves between configurations of equal labels.

    Convention: :math:`\rho_{ij} = \langle x_ix_j\rangle/\sqrt{\langle x_i^2\rangle\langle x_j^2\rangle}`, x the
    residual of ln P of a configuration from the regression on the labels, fitted to all other units. Configurations of
    one unit count each, errors by jackknife over units (of the averages, not of the fit).

    Args:
        ensemble: periodic ``field``; labels, if any, are floating-point variables on the dim of its units.
        transform: as in :func:`physgen.diagnostics.power_spectrum`.

    Returns:
        Dataset of kind scalar over ``pair``, with ``k_low`` and ``k_high`` of its two bands.
    """
    k, x, (first, second) = _bands(ensemble, transform)
    said: dict[str, Any] = {"diagnostic": "power_covariance", "kind": "scalar", "units": "1", MATRIX: "k_low k_high"}
    said |= {"long_name": "correlation of ln P at fixed labels", "symbol": r"\rho"}
    said |= {"tolerance": 0.2, "tolerance_kind": "difference", "tolerance_of": "correlation of ln P(k) and ln P(k')"}
    said["convention"] = "Correlation of ln P between bands over configurations; what follows the labels is taken off."
    pair = (np.arange(1, len(first) + 1), {"long_name": "pair of bands, wide apart last in each row", "units": "1"})
    raw = _products(x, first, second)
    result = jackknifed_result(
        ensemble, raw, lambda m: _correlations(m, first, second), ("pair",), {"pair": pair}, **said
    )
    for name, index in (("k_low", first), ("k_high", second)):
        described = {"long_name": "wavenumber", "symbol": "k", "units": inverse_length(ensemble)}
        result[name] = ("pair", k[index], described)
    return result


def off_diagonal_correlation(ensemble: xr.Dataset, transform: Transform | None = None) -> xr.Dataset:
    r"""Mean off-diagonal correlation of ln P at fixed labels; its ratio less one is the error of the covariance in %.

    Published emulators have theirs low by 10 to 25 % (2601.20669). The mean over all pairs of bands has a smaller error
    than any pair of :func:`power_covariance`; errors of both signs cancel in it, not there.

    Args:
        ensemble, transform: as in :func:`power_covariance`.

    Returns:
        Dataset of kind scalar, a bare number.
    """
    _, x, (first, second) = _bands(ensemble, transform)
    said: dict[str, Any] = {"diagnostic": "off_diagonal_correlation", "kind": "scalar", "units": "1"}
    said |= {"long_name": "mean correlation of ln P between bands", "symbol": r"\langle\rho\rangle"}
    # a difference in units of the reference, not a ratio: few units may have a mean correlation below zero
    said |= {"tolerance": 0.1, "tolerance_kind": "difference", "tolerance_of": "mean off-diagonal correlation of ln P"}
    said["convention"] = "Mean over all pairs of bands of the correlation of ln P at fixed labels."
    raw = _products(x, first, second)
    found = jackknifed_result(ensemble, raw, lambda m: _correlations(m, first, second).mean(axis=-1), (), {}, **said)
    described = {"long_name": "mean correlation of ln P between bands, without its sign", "units": "1"}
    return found.assign(yardstick=abs(found["value"]).assign_attrs(described))
