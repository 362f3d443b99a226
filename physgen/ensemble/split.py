"""Choosing samples by whole independent units: splits and nested subsets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from physgen.ensemble.units import WITHIN
from physgen.errors import InputError

if TYPE_CHECKING:
    import xarray as xr


def splitting_label(ensemble: xr.Dataset, by: str, parts: int) -> str:
    """``by`` where it has enough units for ``parts`` parts; else what is independent within a unit, where that is said.

    Few units (a single one, often) are split by what the root attribute ``unit_within`` names.
    """
    if by not in ensemble.variables and by not in ensemble.dims:
        return by
    units = len(np.unique(ensemble[by].values)) if by in ensemble.variables else ensemble.sizes[by]
    named = str(ensemble.attrs.get(WITHIN, "")).split()
    finer = [name for name in named if name in ensemble.variables or name in ensemble.dims]
    return by if units >= parts or not finer else finer[0]


def split(ensemble: xr.Dataset, by: str, fractions: Mapping[str, float], seed: int) -> dict[str, xr.Dataset]:
    """Split by whole independent units, so that no unit is on both sides.

    Args:
        by: a sample dim or a label variable on one.
        fractions: part -> share of the units; the shares sum to 1. Every part gets at least one unit.
        seed: the order of the units is a pure function of it, so a split is repeatable from the file alone.
    """
    units = shuffled_units(ensemble, by, seed)
    total = sum(fractions.values())
    if abs(total - 1) > 1e-9 or min(fractions.values()) <= 0:
        raise InputError(f"split fractions {dict(fractions)} must be positive and sum to 1, they sum to {total:g}")
    if len(units) < len(fractions):
        raise InputError(
            f"{len(units)} {by} units cannot be split into {len(fractions)} parts: simulate or import more"
        )
    edges = np.round(np.cumsum([0.0, *fractions.values()]) * len(units)).astype(int)
    for i in range(1, len(edges)):  # every part holds at least one unit
        edges[i] = min(max(edges[i], edges[i - 1] + 1), len(units) - (len(edges) - 1 - i))
    return {
        part: select_units(ensemble, by, units[low:high])
        for part, low, high in zip(fractions, edges[:-1], edges[1:], strict=True)
    }


def subset(ensemble: xr.Dataset, n: int, seed: int, by: str, first: int = 0) -> xr.Dataset:
    """``n`` units from number ``first`` on, in the order shuffled by ``seed``: subsets of one seed are nested."""
    units = shuffled_units(ensemble, by, seed)
    if not 1 <= n <= len(units) - first:
        after = f" after the first {first}" if first else ""
        raise InputError(
            f"a subset of {n} {by} units{after} was asked for, the ensemble has {len(units)}: choose 1 to "
            f"{max(len(units) - first, 1)}"
        )
    return select_units(ensemble, by, units[first : first + n])


def shuffled_units(ensemble: xr.Dataset, by: str, seed: int) -> np.ndarray:
    """Distinct values of ``by``, in an order that depends on ``seed`` and on those values alone."""
    if by in ensemble.variables:
        units = np.unique(ensemble[by].values)
    elif by in ensemble.dims:
        units = np.arange(ensemble.sizes[by])
    else:
        raise InputError(f"cannot split by {by!r}: the ensemble has neither such a label nor such a dim")
    return np.random.default_rng([seed, 0x5B1]).permutation(units)


def select_units(ensemble: xr.Dataset, by: str, units: np.ndarray) -> xr.Dataset:
    """The samples whose ``by`` is one of ``units``, in the order of the file."""
    if by not in ensemble.variables:
        return ensemble.isel({by: np.sort(units)})
    dim = ensemble[by].dims[0]
    return ensemble.isel({dim: np.flatnonzero(np.isin(ensemble[by].values, units))})
