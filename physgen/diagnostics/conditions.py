"""Under which conditions configurations were made: labels, quenched fields, graphs, never a number."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from physgen.ensemble import SPACE, independent_units, sample_dims

if TYPE_CHECKING:
    import xarray as xr


def unit_conditions(ensemble: xr.Dataset) -> np.ndarray | None:
    """Digest of *all* conditions of each independent unit, in the order of its sorted names; None where none is known.

    Conditions are the labels on the samples of a unit (each distinct row with its share of the samples), or what
    belongs to the unit itself (quenched fields, edges). Values count to six digits. A number that merely
    names a unit is no condition, nor is a variable with attribute ``is_condition`` = 0. Units of two ensembles hold
    the same conditions where their digests are equal.
    """
    units = independent_units(ensemble)
    along = units.condition_dim
    rows = None if along is None else _condition_rows(ensemble, along)
    if along is None or rows is None:
        return None
    names = units.entries
    if along != units.along:  # a single unit that is divided further: its conditions are those of all its parts
        names = np.arange(ensemble.sizes[along])
    found = []
    for name in np.unique(names):
        own = rows[names == name]
        # rows are wide where couplings are many: one alone needs no sorting
        distinct, count = (own, np.ones(1, np.int64)) if len(own) == 1 else np.unique(own, axis=0, return_counts=True)
        found.append(_digest(distinct, count // np.gcd.reduce(count)))
    return np.array(found)


def entry_conditions(ensemble: xr.Dataset, along: str) -> np.ndarray | None:
    """Digest of the conditions of each entry of the dim of the independent units; None where none is known."""
    is_theirs = along == independent_units(ensemble).condition_dim
    rows = _condition_rows(ensemble, along) if is_theirs else None
    return None if rows is None else np.array([_digest(row) for row in rows])


def condition_names(ensemble: xr.Dataset, along: str) -> list[str]:
    """Names of the variables that hold conditions of the entries of one sample dim.

    Whole numbers along that dim alone are names (of a file, of a seed) unless their attribute ``is_condition`` = 1 says
    that they are not (classes); with further dims they are data.
    """
    others = set(sample_dims(ensemble)) - {along}
    return sorted(
        str(name)
        for name, variable in ensemble.data_vars.items()
        if name != "field" and _may_be_condition(variable)
        and along in variable.dims and not others & set(variable.dims)
        and variable.attrs.get("is_condition", 1)
    )  # fmt: skip


def _may_be_condition(variable: xr.DataArray) -> bool:
    whole = variable.ndim > 1 or variable.attrs.get("is_condition", 0)
    return variable.dtype.kind in ("fiu" if whole else "f")


def _condition_rows(ensemble: xr.Dataset, along: str) -> np.ndarray | None:
    """Conditions of each entry of a sample dim as rows of integers; what all share, such as a graph, ends each row."""
    names = condition_names(ensemble, along)
    if not names:
        return None
    columns = [_coarse(ensemble[n].transpose(along, ...).values).reshape(ensemble.sizes[along], -1) for n in names]
    shared = [
        variable.values.ravel().astype(np.int64)
        for name, variable in sorted(ensemble.data_vars.items(), key=lambda item: str(item[0]))
        if variable.dtype.kind in "iu" and variable.dims and not set(variable.dims) & {*sample_dims(ensemble), *SPACE}
    ]
    columns += [np.broadcast_to(one, (ensemble.sizes[along], len(one))) for one in shared]
    return np.concatenate(columns, axis=1)


def _digest(*arrays: np.ndarray) -> str:
    return hashlib.sha256(b"".join(np.ascontiguousarray(a).tobytes() for a in arrays)).hexdigest()[:16]


def _coarse(values: np.ndarray) -> np.ndarray:
    """Real numbers as integers that are equal where six digits are."""
    mantissa, exponent = np.frexp(np.asarray(values, dtype=np.float64))
    return np.rint(np.ldexp(mantissa, 20)).astype(np.int64) * 4096 + exponent
