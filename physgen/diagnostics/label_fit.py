r"""How statistics of independent units follow their labels: one regression, exact without each unit.

:math:`y_u = \beta_0 + \sum_l \beta_l \zeta_{ul} [+ \sum_{l \le m} \gamma_{lm} \zeta_{ul}\zeta_{um}] + r_u`, with
:math:`\zeta_u = \theta_u - \theta_0` the labels about a centre: :math:`\beta_l` is the derivative at the centre. By
least squares the fit to all units but u has the residual :math:`r_u/(1 - h_u)` there, h the leverage: nothing is
fitted twice.

Legend: U units, L labels, C coefficients, \*shape what is fitted.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from physgen.diagnostics.result import Units, units
from physgen.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

FRAME = "label_frame"  # root attribute: where derivatives are taken, and the order of the fit, JSON
SAME = 1e-6  # relative difference of equal labels
SPARE = 4  # units beyond the coefficients that a fit needs
GENEROUS = 3  # units for each coefficient of the quadratic fit, else it is linear


@dataclass(frozen=True)
class UnitLabels:
    """The labels that differ between the independent units of an ensemble."""

    group: Units
    names: tuple[str, ...]
    values: np.ndarray  # (U, L)
    units: tuple[str, ...]


def unit_labels(ensemble: xr.Dataset) -> UnitLabels:
    """Floating-point variables along the dim of the units alone whose mean differs between units.

    Raises InputError where there is none.
    """
    from physgen.ensemble import at_samples, independent_units

    group, along = units(ensemble), independent_units(ensemble).condition_dim
    names = [
        str(n) for n, v in ensemble.data_vars.items()
        if v.dims == (along,) and v.dtype.kind == "f" and v.attrs.get("is_condition", 1) and np.ptp(v.values)
    ]  # fmt: skip
    known = group.ids is not None and along is not None
    columns = [group.mean(at_samples(ensemble, str(along), ensemble[n].values)) for n in names] if known else []
    of_units = [column.reshape(group.count, -1)[:, 0] for column in columns]
    # a label that takes the same values in every unit, such as a time of its snapshots, tells no unit apart
    varies = [np.ptp(one) > SAME * np.abs(one).max() for one in of_units]
    names = [name for name, differs in zip(names, varies, strict=bool(of_units)) if differs]
    if not names or not of_units:
        raise InputError("no label varies between independent units: the response to conditions needs such labels")
    values = np.stack([one for one, differs in zip(of_units, varies, strict=True) if differs], axis=1)
    return UnitLabels(group, tuple(names), values, tuple(str(ensemble[n].attrs.get("units", "1")) for n in names))


def label_frame(reference: xr.Dataset) -> str:
    """The centre of the labels and the order of the fit for all that is compared with a reference; empty if none.

    Two ensembles have derivatives at one place, from one kind of fit, where both carry it as attribute FRAME.
    """
    try:
        labels = unit_labels(reference)
    except InputError:
        return ""
    count = len(labels.names)
    quadratic = 1 + count + count * (count + 1) // 2
    order = 2 if len(labels.values) >= GENEROUS * quadratic else 1
    centre = labels.values.mean(axis=0)
    return json.dumps({"at": dict(zip(labels.names, centre.tolist(), strict=True)), "order": order})


@dataclass(frozen=True)
class LabelFit:
    """Least squares of what belongs to U units on functions of their labels."""

    design: np.ndarray  # (U, C): 1, the labels about the centre, then products of two of them
    slopes: int  # L, the derivatives at the centre, which follow the constant

    @classmethod
    def of(cls, labels: np.ndarray, centre: np.ndarray | None = None, order: int = 1) -> LabelFit:
        """Of labels (U, L), about ``centre`` (L,) or their mean.

        Raises InputError where there are fewer than four units beyond the coefficients.
        """
        about = labels - (labels.mean(axis=0) if centre is None else centre)
        columns = [np.ones(len(labels)), *about.T]
        if order == 2:
            pairs = itertools.combinations_with_replacement(range(labels.shape[1]), 2)
            columns += [about[:, i] * about[:, j] for i, j in pairs]
        if len(labels) < len(columns) + SPARE:
            what = f"the response to {labels.shape[1]} labels" if labels.shape[1] else "a scatter"
            raise InputError(
                f"{len(labels)} independent units cannot tell {what}: give at least {len(columns) + SPARE}"
            )
        return cls(np.stack(columns, axis=1), labels.shape[1])

    @property
    def influence(self) -> np.ndarray:
        """(U, C): the coefficients are influence.T @ y."""
        return np.linalg.pinv(self.design).T

    def left_out(self, y: np.ndarray) -> np.ndarray:
        r"""Residuals (U, \*shape) of each unit from the fit to all others."""
        influence, flat = self.influence, y.reshape(len(y), -1)
        leverage = np.einsum("uc,uc->u", influence, self.design)
        left = (flat - self.design @ (influence.T @ flat)) / np.maximum(1 - leverage, 1e-6)[:, None]
        return left.reshape(y.shape)

    def derivatives(self, y: np.ndarray) -> np.ndarray:
        r"""Jackknife pseudo-values (U, L, \*shape) of the derivatives of y (U, \*shape) with each label at the centre.

        Their mean is the least-squares estimate less its bias of order 1/U, their standard error its error.
        """
        count, influence = len(y), self.influence
        flat = y.reshape(count, -1)
        chosen = slice(1, 1 + self.slopes)
        slope = influence[:, chosen].T @ flat  # (L, P)
        pseudo = slope + (count - 1) * influence[:, chosen, None] * self.left_out(flat)[:, None, :]
        return pseudo.reshape(count, self.slopes, *y.shape[1:])


def label_fit(ensemble: xr.Dataset) -> tuple[UnitLabels, LabelFit]:
    """The labels of an ensemble and the fit on them, in the frame of its reference (attribute FRAME) or its own."""
    labels = unit_labels(ensemble)
    frame = json.loads(ensemble.attrs.get(FRAME) or label_frame(ensemble))
    missing = sorted(set(frame["at"]) ^ set(labels.names))
    if missing:
        raise InputError(
            f"the label {missing[0]!r} varies in one of the ensembles alone: the response to it cannot be compared"
        )
    centre = np.array([frame["at"][name] for name in labels.names])
    return labels, LabelFit.of(labels.values, centre, int(frame["order"]))
