"""Two ensembles of Potts states are brought into one frame before anything is measured; copies of the training set."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from physgen.domains.potts.lattice import check_potts, couplings_of, states_of
from physgen.domains.quenched import match_temperatures
from physgen.errors import InputError

if TYPE_CHECKING:
    import xarray as xr


def confronted(reference: xr.Dataset, other: xr.Dataset, name: str) -> xr.Dataset:
    """``other`` at the common temperatures, in the order of the reference; instances of equal bonds in its order too.

    Raises InputError, with both values, where states or lattices differ or no temperature is common.
    """
    for side in (reference, other):
        check_potts(side)
    mine, theirs = couplings_of(reference), couplings_of(other)
    found: dict[str, tuple[Any, Any]] = {"states": (states_of(reference), states_of(other))}
    found |= {"lattice": (mine.shape[2:], theirs.shape[2:]), "boundary": (_seams(mine), _seams(theirs))}
    for what, (ours, its) in found.items():
        if ours != its:
            raise InputError(f"{what}: {ours} in the reference, {its} in {name}: compare ensembles of one {what}")
    other = match_temperatures(reference, other, name)
    rows = {bonds.tobytes(): i for i, bonds in enumerate(theirs)}
    known = [rows.get(bonds.tobytes()) for bonds in mine]
    if len(rows) < len(theirs) or None in known or len(set(known)) < len(known):
        return other  # another draw of the disorder
    more = [i for i in range(len(theirs)) if i not in set(known)]
    numbers = np.concatenate(
        [reference["disorder"].values, reference["disorder"].values.max() + 1 + np.arange(len(more))]
    )
    chosen = other.isel(disorder=[*known, *more])
    return chosen.assign_coords(disorder=("disorder", numbers, reference["disorder"].attrs))


def _seams(bonds: np.ndarray) -> str:
    """Which space dims have bonds across their seam."""
    joined = [bonds[:, axis].take(-1, axis=1 + axis).any() for axis in range(bonds.shape[1])]
    return ", ".join("periodic" if one else "free" for one in joined)


def potts_memorization(generated: xr.Dataset, train: xr.Dataset, heldout: xr.Dataset, **judged: Any) -> xr.Dataset:
    r"""Largest overlap :math:`1 - 4 n/qN` with a training configuration, n the sites that differ, beside held-out data.

    That of vectors of +-1, +1 at the state of a site. In an ordered phase configurations repeat by themselves, which
    is equilibrium, not copying: where that is so of held-out ones, single copies cannot be told and none is convicted.
    """
    from physgen.diagnostics.memorization import memorization

    signs = partial(_signs, states=states_of(train))
    return memorization(generated, train, heldout, similarity="overlap", transform=signs, **judged)


def _signs(field: np.ndarray, states: int) -> np.ndarray:
    r"""(B, 1, \*grid) -> (B, q, \*grid) of +1 at the state of a site and -1 elsewhere."""
    return np.where(np.asarray(field) == np.arange(states).reshape(1, -1, *[1] * (field.ndim - 2)), 1.0, -1.0)
