"""Which configurations of two ensembles grew from one random start: a variable that says so, never their position.

A variable along a sample dim with the attribute ``role = "pairing"`` holds a number for each random start (a digest of
seed and white noise, say). Two ensembles that were made from the same starts by different means are paired by it.
A variable over sample and space dims with ``role = "condition"`` is a further field that the field depends on: what a
network gets as condition, and what drawing needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from physgen.ensemble.layout import sample_dims, space_dims, spacing
from physgen.ensemble.units import at_samples, independent_units
from physgen.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

ROLE, PAIRING, CONDITION = "role", "pairing", "condition"


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


def condition_fields(ensemble: xr.Dataset) -> list[str]:
    """Names of the further fields that the field is conditioned on, in the order of the file."""
    return [str(name) for name, variable in ensemble.data_vars.items() if variable.attrs.get(ROLE) == CONDITION]


def paired_ensemble(
    target: xr.Dataset, source: xr.Dataset, name: str = "surrogate", by: str | None = None
) -> xr.Dataset:
    """``target`` with the field of ``source``, from the same random starts, as its condition called ``name``.

    Configurations of one start are taken in their order (maps of one box, say); those of ``source`` whose start the
    target has not are left out.

    Raises:
        InputError: a start without a source, another lattice, another number of configurations of a start, other
            labels, or several components.
    """
    _check_one_lattice(target, source, name)
    along = str(target[pairing_name(target, by, "the target")].dims[0])
    theirs = pairing_name(source, by, "the source")
    if str(source[theirs].dims[0]) != along:
        raise InputError(
            f"random starts lie along {along!r} in the target, along {source[theirs].dims[0]!r} in the source"
        )
    starts, known = target[pairing_name(target, by)].values, source[theirs].values
    order = np.full(len(starts), -1)
    for start in np.unique(starts):
        mine, other = np.flatnonzero(starts == start), np.flatnonzero(known == start)
        if len(mine) != len(other):
            raise InputError(
                f"the random start {start} has {len(mine)} configurations in the target and {len(other)} in the "
                "source: make both of the same starts, in the same cuts"
            )
        order[mine] = other
    chosen = source.isel({along: order})
    _check_same_labels(target, chosen, along)
    kept = {key: str(chosen.attrs[key]) for key in ("field_kind", "generator") if key in chosen.attrs}
    said = dict(chosen["field"].attrs) | kept | {ROLE: CONDITION, "long_name": f"{name}: condition of the field"}
    field = chosen["field"].transpose(*target["field"].dims)
    return target.assign({name: (field.dims, field.values, said)})


def _check_one_lattice(target: xr.Dataset, source: xr.Dataset, name: str) -> None:
    if name in target.variables:
        raise InputError(f"the target has a variable {name!r} already: give the condition another name")
    if "component" in target["field"].dims or "component" in source["field"].dims:
        raise InputError("fields of several components cannot be paired: select one component of each")
    same = {*target["field"].dims} == {*source["field"].dims}
    if not same or any(target.sizes[d] != source.sizes[d] for d in space_dims(target)):
        shapes = [{str(d): e.sizes[d] for d in e["field"].dims} for e in (target, source)]
        raise InputError(f"the target is {shapes[0]}, the source {shapes[1]}: pair fields on one lattice")
    if not np.allclose(spacing(target), spacing(source), rtol=1e-4):
        raise InputError(
            f"the target has cells of {spacing(target)}, the source of {spacing(source)}: pair equal boxes"
        )


def _check_same_labels(target: xr.Dataset, source: xr.Dataset, along: str) -> None:
    for name, variable in target.variables.items():
        if variable.dims != (along,) or variable.dtype.kind != "f" or name not in source.variables or name == along:
            continue
        if not np.allclose(variable.values, source[name].values, rtol=1e-6, atol=0):
            raise InputError(
                f"{name} differs between configurations of one random start: make both under the same conditions (a "
                "range of labels that is laid out anew for another number of units is another one)"
            )
