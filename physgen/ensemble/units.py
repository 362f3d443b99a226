"""The independent units of an ensemble: what errors are taken over, what is split, paired and halved whole.

Configurations of one unit are not independent of each other: maps of one box, draws of one Markov chain,
draws under one quenched field. Three root attributes say what the units are, so that a bare file can be judged;
the domain names the same three (``split_by``, ``exchangeable``, ``unit_within``) and every ensemble that it makes
carries them.

- ``independent_unit``: the label along one sample dim, or the sample dim, whose values are the units.
- ``exchangeable``: the sample dims, separated by spaces, that count draws under one condition and are averaged within
  a unit. Every further sample dim is a condition and is kept in results. Where it is absent: ``sample`` if there is
  such a dim, else the dims whose coordinate is not a floating-point number.
- ``unit_within``: labels or dims, the preferred one first, whose values are independent of each other *given* the
  conditions of a unit. In an ensemble of a single unit they are the units.

A fourth one, ``shared_by_units``, says in words what the units have in common that should be random (a seed): their
scatter then lacks its error, and no verdict rests on it.

An ensemble without ``independent_unit``, or without the label that it names, has each sample as its own unit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from physgen.ensemble.layout import sample_dims
from physgen.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

UNIT, EXCHANGEABLE, WITHIN = "independent_unit", "exchangeable", "unit_within"
SHARED = "shared_by_units"
SAMPLE = "sample"  # the dim of samples that nothing more is said of, and the name of units that are single samples


@dataclass(frozen=True)
class IndependentUnits:
    """The units of one ensemble.

    Shapes: B flattened samples, U units, A entries of the dim of the units.
    """

    name: str  # label or dim whose values they are; "sample" where each sample is one
    index: np.ndarray  # (B,) number of the unit of each flattened sample, 0 to U - 1
    labels: np.ndarray  # (U,) its name, sorted
    identified: bool  # the names identify units; False where they merely count draws
    along: str | None  # sample dim on which the units lie; None where several count them
    entries: np.ndarray  # (A,) name of the unit of each entry of ``along``
    kept: tuple[str, ...]  # sample dims that are conditions
    within: str | None  # what is independent within a unit given its conditions, where that is said and present
    condition_dim: str | None  # sample dim on which conditions of the units lie

    @property
    def count(self) -> int:
        """Number of units U."""
        return len(self.labels)


def unit_attrs(unit: str, exchangeable: Sequence[str] = (), within: Sequence[str] = ()) -> dict[str, str]:
    """Root attributes that say what the independent units of an ensemble are; empty ones are left out.

    Args:
        unit, exchangeable, within: ``independent_unit``, ``exchangeable`` and ``unit_within``, see this module.
    """
    found = {UNIT: unit, EXCHANGEABLE: " ".join(exchangeable), WITHIN: " ".join(within)}
    return {name: words for name, words in found.items() if words}


def independent_units(ensemble: xr.Dataset) -> IndependentUnits:
    """The independent units of an ensemble, as its root attributes say; each sample where they say nothing.

    Raises InputError where the label lies along more than one sample dim.
    """
    dims = sample_dims(ensemble)
    unit = str(ensemble.attrs.get(UNIT, ""))
    found = _entries(ensemble, unit)
    averaged = exchangeable_dims(ensemble)
    within = next((name for name in _words(ensemble, WITHIN) if _entries(ensemble, name) is not None), None)
    condition_dim = None if found is None else found[0]
    alone = len(np.unique(found[1])) < 2 if found else unit in ensemble.coords and ensemble[unit].ndim == 0
    if within is not None and (found is None or alone):
        dim, labels = _entries(ensemble, within) or (None, np.zeros(1))
        labels = np.arange(ensemble.sizes[dim]) if within == dim else labels
        return _units(ensemble, within, dim, labels, averaged, within, condition_dim or dim, identified=False)
    if found is not None:
        return _units(ensemble, unit, *found, averaged, within, condition_dim, identified=True)
    if alone:  # one value of the unit was chosen: all that is left is one unit
        index = np.zeros(int(np.prod([ensemble.sizes[d] for d in dims])), dtype=np.int64)
        labels = np.atleast_1d(ensemble[unit].values)
        kept = tuple(d for d in dims if d not in averaged)
        return IndependentUnits(unit, index, labels, True, None, labels, kept, None, None)
    over = tuple(d for d in dims if d in averaged) or dims
    index = _flat_position(ensemble, over)
    labels = np.arange(int(index.max()) + 1)
    along = over[0] if len(over) == 1 else None
    kept = tuple(d for d in dims if d not in over)
    return IndependentUnits(SAMPLE, index, labels, False, along, labels, kept, None, along)


def exchangeable_dims(ensemble: xr.Dataset) -> tuple[str, ...]:
    """The sample dims that count draws under one condition, in the order of ``field``; see this module."""
    dims = sample_dims(ensemble)
    if said := _words(ensemble, EXCHANGEABLE):
        return tuple(d for d in dims if d in said)
    if SAMPLE in dims:
        return (SAMPLE,)
    return tuple(d for d in dims if d not in ensemble.coords or ensemble[d].dtype.kind != "f")


def units_of_samples(ensemble: xr.Dataset) -> np.ndarray:
    """Name (B,) of the independent unit of each flattened sample."""
    units = independent_units(ensemble)
    return units.labels[units.index]


def at_samples(ensemble: xr.Dataset, dim: str, values: np.ndarray) -> np.ndarray:
    """Values (A, ...) of the entries of one sample dim, at each flattened sample: (B, ...)."""
    return np.asarray(values)[_flat_position(ensemble, (dim,))]


def _words(ensemble: xr.Dataset, attr: str) -> list[str]:
    return str(ensemble.attrs.get(attr, "")).split()


def _entries(ensemble: xr.Dataset, name: str) -> tuple[str, np.ndarray] | None:
    """The sample dim that a label or dim lies along, and its value at each entry; None where there is none."""
    dims = sample_dims(ensemble)
    if name in ensemble.variables and ensemble[name].ndim and set(map(str, ensemble[name].dims)) <= set(dims):
        if ensemble[name].ndim > 1:
            raise InputError(
                f"{name!r} names the independent units but has dims {ensemble[name].dims}: it must lie along one "
                "sample dim; stack them into one, or name the units by one of them"
            )
        return str(ensemble[name].dims[0]), ensemble[name].values
    return (name, np.arange(ensemble.sizes[name])) if name in dims else None


def _units(
    ensemble: xr.Dataset,
    name: str,
    along: str | None,
    entries: np.ndarray,
    averaged: tuple[str, ...],
    within: str | None,
    condition_dim: str | None,
    identified: bool,
) -> IndependentUnits:
    labels, number = np.unique(entries, return_inverse=True)
    index = at_samples(ensemble, str(along), number)
    dropped = {along, condition_dim, *averaged}
    kept = tuple(d for d in sample_dims(ensemble) if d not in dropped)
    return IndependentUnits(name, index, labels, identified, along, entries, kept, within, condition_dim)


def _flat_position(ensemble: xr.Dataset, over: tuple[str, ...]) -> np.ndarray:
    """Flat number, over some sample dims, of each flattened sample."""
    dims = sample_dims(ensemble)
    shape = tuple(ensemble.sizes[d] for d in dims)
    position = dict(zip(dims, np.indices(shape).reshape(len(dims), -1), strict=True))
    return np.ravel_multi_index([position[d] for d in over], [ensemble.sizes[d] for d in over])
