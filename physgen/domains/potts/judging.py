"""Two ensembles of Potts states are brought into one frame before anything is measured; copies of the training set."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from physgen.domains import lattice_bonds
from physgen.domains.potts.lattice import check_potts, states_of

if TYPE_CHECKING:
    import xarray as xr


def confronted(reference: xr.Dataset, other: xr.Dataset, name: str) -> xr.Dataset:
    """``other`` at the common temperatures, in the order of the reference; instances of equal bonds in its order too.

    Raises InputError, with both values, where states or lattices differ or no temperature is common.
    """
    for side in (reference, other):
        check_potts(side)
    return lattice_bonds.confronted(reference, other, name, {"states": (states_of(reference), states_of(other))})


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
