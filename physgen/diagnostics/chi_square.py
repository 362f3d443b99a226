r"""Reduced chi^2 of single configurations against the true law, beside that of true ones that were left out.

Protocol of Diffusion-HMC (Mudur, Cuesta-Lazaro and Finkbeiner 2023, arXiv:2312.07534): :math:`\chi^2` of generated maps
against the mean and scatter of true ones, over the same of a true map against all others. There the true maps of one
set of labels are cut out of one box, whose modes they share: a perfect emulator, which draws another box each time,
then has a ratio above 1. Here a whole unit is left out, and the mean at its labels is that of the regression over
all other units (:mod:`physgen.diagnostics.label_fit`), so that equal laws have the ratio 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from physgen.diagnostics.covariance import fit_of_units, judged_edges
from physgen.diagnostics.label_fit import LabelFit, label_fit
from physgen.diagnostics.result import Units, units
from physgen.diagnostics.scatter import log_band_power
from physgen.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

    from physgen.diagnostics.batches import Transform

FEWEST = 8  # units of a reference whose scatter is that of its law


def left_out_chi_square(
    reference: xr.Dataset, transform: Transform | None = None
) -> Callable[[xr.Dataset], xr.Dataset]:
    r"""The diagnostic :math:`\chi^2/Q = \frac1Q\sum_q (\ln P_q - m_q)^2/\sigma_q^2` by the law of a reference.

    m, the mean of :math:`\ln P` at the labels, and sigma, its scatter between configurations, are those of the units of
    the reference other than the one that has the conditions of the measured unit; of all where none has them (then the
    mean is known a little better, by the number of coefficients over that of units). Q half octaves from 0.05 to 0.7 of
    Nyquist. Of the reference itself it is the true against the other true ones.

    Args:
        reference: the law; at least 8 independent units.
        transform: as in :func:`physgen.diagnostics.power_spectrum`.

    Returns:
        ensemble -> Dataset of kind scalar, a bare number, 1 up to the few units of the reference; ``ratio`` of a
        comparison is the leave-one-out chi^2 ratio. Its tolerance is 10 %.
    """
    truth = _Truth.of(reference, transform)

    def measure(ensemble: xr.Dataset) -> xr.Dataset:
        """Mean over units of the squared deviation from the law of the reference."""
        group, log_power = _measured(ensemble, transform)
        at = truth.places(group, group.mean(log_power))
        deviation = log_power - truth.mean(ensemble, at)[group.index]
        scatter = truth.variance(at)[group.index]
        said: dict[str, Any] = {"diagnostic": "power_chi_square", "kind": "scalar", "units": "1"}
        said |= {"long_name": "reduced chi-square of ln P of single configurations", "symbol": r"\chi^2/Q"}
        said |= {"tolerance": 0.1, "tolerance_kind": "ratio", "tolerance_of": "leave-one-out chi^2 of ln P(k)"}
        said["convention"] = (
            "Squared deviation of ln P of single configurations from the mean at their labels over its variance, both "
            "from the reference without the unit of these conditions. Reference: true against the other true ones, the "
            "floor; generated over it is the leave-one-out ratio."
        )
        return group.result(group.mean((deviation**2 / scatter).mean(axis=(1, 2))), (), {}, **said)

    return measure


def _measured(ensemble: xr.Dataset, transform: Transform | None) -> tuple[Units, np.ndarray]:
    """Units, and ln P (B, C, Q)."""
    from physgen.ensemble import spacing

    group = units(ensemble)
    if group.dims:
        raise InputError(f"units with further sample dims ({', '.join(group.dims)}) have several laws: select one")
    return group, log_band_power(ensemble, transform, judged_edges(spacing(ensemble)))[1]


@dataclass(frozen=True)
class _Truth:
    """What a reference says of ln P at any labels, with and without each of its units."""

    fit: LabelFit
    mean_of_units: np.ndarray  # (U, C, Q)
    left: np.ndarray  # (U, C, Q) residual of the mean of a unit from the fit to all others
    square: np.ndarray  # (U, C, Q) mean square of the residuals of the configurations of a unit
    conditions: np.ndarray | None
    has_labels: bool

    @classmethod
    def of(cls, reference: xr.Dataset, transform: Transform | None) -> _Truth:
        group, log_power = _measured(reference, transform)
        if group.count < FEWEST:
            raise InputError(f"{group.count} units of the reference do not tell a scatter: give at least {FEWEST}")
        fit, mean = fit_of_units(reference), group.mean(log_power)
        left = fit.left_out(mean)
        square = group.mean((log_power - (mean - left)[group.index]) ** 2)
        return cls(fit, mean, left, square, group.conditions, fit.slopes > 0)

    def places(self, group: Units, mean: np.ndarray) -> np.ndarray:
        """(V,) which unit of the reference is, or has the conditions of, each unit of an ensemble; -1 for none."""
        if np.array_equal(mean, self.mean_of_units):  # the reference itself
            return np.arange(group.count)
        if group.conditions is None or self.conditions is None:
            return np.full(group.count, -1)
        known = {name: i for i, name in enumerate(self.conditions.tolist())}
        return np.array([known.get(name, -1) for name in group.conditions.tolist()])

    def mean(self, ensemble: xr.Dataset, at: np.ndarray) -> np.ndarray:
        """(V, C, Q) mean of ln P at the labels of each unit of an ensemble."""
        flat = self.mean_of_units.reshape(len(self.mean_of_units), -1)
        coefficients = self.fit.influence.T @ flat
        design = label_fit(ensemble)[1].design if self.has_labels else np.ones((len(at), 1))
        found = (design @ coefficients).reshape(len(at), *self.mean_of_units.shape[1:])
        return np.where((at >= 0)[:, None, None], (self.mean_of_units - self.left)[at], found)

    def variance(self, at: np.ndarray) -> np.ndarray:
        """(V, C, Q) of ln P between configurations, without the unit of the same conditions."""
        count, total = len(self.square), self.square.sum(axis=0)
        without = (total - self.square) / (count - 1)
        return np.where((at >= 0)[:, None, None], without[at], total / count)


def power_chi_square(ensemble: xr.Dataset) -> xr.Dataset:
    """:func:`left_out_chi_square` of an ensemble by its own law, each unit left out."""
    return left_out_chi_square(ensemble)(ensemble)
