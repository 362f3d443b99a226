"""Which configurations of two ensembles grew from one random start: a variable that says so, never their position.

A variable along a sample dim with the attribute ``role = "pairing"`` holds a number for each random start (a digest of
seed and white noise, say). Two ensembles that were made from the same starts by different means are paired by it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from physgen.ensemble.layout import sample_dims
from physgen.ensemble.units import at_samples, independent_units
from physgen.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

ROLE, PAIRING = "role", "pairing"


def pairing_name(ensemble: xr.Dataset, by: str | None = None, name: str = "the ensemble") -> str:
    """The variable along one sample dim that names random starts: ``by``, else the one with the role ``pairing``.

    Raises InputError where there is none.
    """
    found = [by] if by else [str(n) for n, v in ensemble.variables.items() if v.attrs.get(ROLE) == PAIRING]
    if not found:
        raise InputError(
            f"{name} does not say from which random starts its configurations grew (a variable with the attribute "
            f"{ROLE} = {PAIRING}): make it anew, or name a variable that says so (by=NAME)"
        )
    known = found[0] in ensemble.variables
    if not known or len(ensemble[found[0]].dims) != 1 or ensemble[found[0]].dims[0] not in sample_dims(ensemble):
        raise InputError(
            f"{found[0]!r} is no variable of {name} along one of its sample dims {', '.join(sample_dims(ensemble))}: "
            "give the name of one"
        )
    return found[0]


def starts_of_samples(ensemble: xr.Dataset, by: str | None = None, name: str = "the ensemble") -> np.ndarray:
    """The random start (B,) of each flattened sample."""
    variable = ensemble[pairing_name(ensemble, by, name)]
    return at_samples(ensemble, str(variable.dims[0]), variable.values)


def starts_of_units(ensemble: xr.Dataset, by: str | None = None, name: str = "the ensemble") -> np.ndarray:
    """The random start (U,) of each independent unit, in the order of results of diagnostics.

    Raises InputError where a unit has more than one, or two units have the same.
    """
    starts, units = starts_of_samples(ensemble, by, name), independent_units(ensemble)
    first = np.zeros(units.count, dtype=np.int64)
    first[units.index[::-1]] = np.arange(len(starts))[::-1]
    found = starts[first]
    if (found[units.index] != starts).any():
        raise InputError(f"{name} has units ({units.name}) of more than one random start: a start belongs to one unit")
    if len(np.unique(found)) < len(found):
        raise InputError(
            f"{name} has {len(found)} units ({units.name}) of {len(np.unique(found))} random starts: units that share "
            "their start are not independent, keep one of each"
        )
    return found
