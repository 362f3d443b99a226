"""Densities in units of their mean: the logarithm of a density, its mean and how that scatters."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import xarray as xr

from physgen.diagnostics.batches import each_sample
from physgen.diagnostics.result import result_of_samples
from physgen.diagnostics.scatter import scatter_result
from physgen.domains.cosmology.encoding import field_kinds, overdensity
from physgen.domains.cosmology.zero_mode import CONSERVED
from physgen.errors import InputError

FLOOR = 1e-3  # density in units of the mean below which cells count as empty in a logarithm
SCALAR = {"kind": "scalar", "units": "1", "convention": "Density in units of the mean of the reference."}


def relative_density(delta: np.ndarray) -> np.ndarray:
    r"""Density in units of the mean, :math:`1 + \delta`; single precision stays single."""
    delta = np.asarray(delta)
    return 1.0 + delta.astype(np.result_type(delta.dtype, np.float32), copy=False)


def log10(delta: np.ndarray) -> np.ndarray:
    r""":math:`\log_{10}\max(1 + \delta, 10^{-3})`: empty cells sit at -3."""
    density = relative_density(delta)
    np.maximum(density, density.dtype.type(FLOOR), out=density)
    np.log(density, out=density)  # numpy has no vector instructions for log10
    return np.multiply(density, density.dtype.type(1 / np.log(10)), out=density)


def logarithm(contrast: xr.Dataset) -> Callable[[np.ndarray], np.ndarray] | None:
    r"""The transform to :func:`log10` of the components of :math:`\delta`; real fields have none and stay as they are.

    Args:
        contrast: as :func:`physgen.domains.cosmology.encoding.overdensity` returns it.

    Returns:
        function of arrays (b, C, \*grid), None where no component is a density.
    """
    which = _densities(contrast)
    if which.all():
        return log10
    return (lambda values: _log_of_some(values, which)) if which.any() else None


def _log_of_some(values: np.ndarray, which: np.ndarray) -> np.ndarray:
    logged = np.array(values, dtype=np.result_type(values.dtype, np.float32))
    logged[:, which] = log10(values[:, which])
    return logged


def _densities(contrast: xr.Dataset) -> np.ndarray:
    """Which components are density contrasts."""
    return np.array([kind == "delta" for kind in field_kinds(contrast)])


def mean_density(ensemble: xr.Dataset) -> xr.Dataset:
    r"""Mean of the field in units of the mean density, :math:`1 + \langle\delta\rangle`, one estimate a unit.

    Logarithmic encodings do not conserve the mean: a model can have every spectrum right and too much matter.

    Args:
        ensemble: densities of any kind, in the frame of the reference (:mod:`physgen.domains.cosmology.confront`);
            one that states no mean density has its own, and this is then 1.

    Returns:
        Dataset of kind scalar: ``value``, ``error`` over independent units. Raises InputError for real fields.
    """
    contrast, mean = _means(ensemble)
    said = {"diagnostic": "mean_density", "long_name": "mean density / reference mean", "tolerance_kind": "ratio"}
    said |= {"tolerance_of": "mean density", "symbol": r"\bar\rho"}
    return result_of_samples(contrast, mean, (), {}, **SCALAR, **said, tolerance=0.02)


def density_scatter(ensemble: xr.Dataset) -> xr.Dataset:
    r"""Scatter of the mean density from one configuration to the next, :math:`\mathrm{std}(\ln\bar\rho_b)`.

    Of the logarithm, since haloes may rule the mean itself: one configuration then makes most of its variance, and no
    resampling finds the error of that. The standard deviation is over all configurations together (jackknife over
    units), so that it does not depend on how many of them a unit has. Slabs of a large box scatter (0.1 for 32 Mpc/h),
    whole periodic boxes do not: 1e-5 is added in quadrature, which hides the rounding of their means.

    Returns:
        Dataset of kind scalar: ``value``, ``error``; ``per_unit`` holds jackknife pseudo-values.
    """
    contrast, mean = _means(ensemble)
    if not np.all(mean > 0):
        raise InputError(f"a configuration has the mean density {mean.min():.3g}: its logarithm needs a positive one")
    said = {"diagnostic": "density_scatter", "long_name": "scatter of ln mean density", "tolerance_kind": "ratio"}
    said |= {"tolerance_of": "scatter of the mean density", "symbol": r"\mathrm{std}\,\ln\bar\rho"}
    return scatter_result(contrast, np.log(mean), (), {}, CONSERVED, **SCALAR, **said, tolerance=0.2)


def _means(ensemble: xr.Dataset) -> tuple[xr.Dataset, np.ndarray]:
    """The density contrasts of an ensemble, and the mean density (B, C) of each sample."""
    contrast = overdensity(ensemble)
    which = _densities(contrast)
    if not which.any():
        raise InputError("a field of kind 'real' has no mean density: its power spectrum and distribution are compared")
    if not which.all():
        contrast = contrast.isel(component=np.flatnonzero(which))
    return contrast, each_sample(contrast, _mean, relative_density)


def _mean(values: np.ndarray) -> np.ndarray:
    return values.mean(axis=tuple(range(2, values.ndim)), dtype=float)
