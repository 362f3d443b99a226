r"""Bonds of Potts models on lattices, their energies, and how configurations stand in an ensemble.

Convention everywhere: :math:`H = -\sum_{\langle ij\rangle} J_{ij}\,\delta(s_i, s_j)`, k_B = 1, s = 0 ... q - 1;
bonds as in :mod:`physgen.domains.lattice_bonds`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from physgen.domains import lattice_bonds
from physgen.domains.lattice_bonds import couplings_of as couplings_of
from physgen.domains.lattice_bonds import cut_seams as cut_seams
from physgen.domains.lattice_bonds import grid_dims as grid_dims
from physgen.domains.lattice_bonds import lattice_couplings as lattice_couplings
from physgen.domains.quenched import SAMPLE
from physgen.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

HAMILTONIAN = "H = -sum_<ij> J_ij delta(s_i, s_j), k_B = 1"
STATES = "states"  # root attribute: q


def energy_per_site(colours: np.ndarray, couplings: np.ndarray) -> np.ndarray:
    r"""H/N (D, T, R) of colours (D, T, R, \*grid) in couplings (D, d, \*grid)."""
    grid, total = colours.shape[3:], 0.0
    for axis in range(len(grid)):
        same = colours == np.roll(colours, -1, 3 + axis)
        total = total + (same * couplings[:, None, None, axis]).sum(
            axis=tuple(range(3, colours.ndim)), dtype=np.float64
        )
    return -np.asarray(total) / np.prod(grid)


def states_of(ensemble: xr.Dataset) -> int:
    """q, which is a root attribute: data may lack a colour."""
    if STATES not in ensemble.attrs:
        raise InputError(f"the ensemble does not say how many states a site has: give it the attribute {STATES!r}")
    return int(ensemble.attrs[STATES])


def template_of(
    couplings: np.ndarray, states: int, temperatures: np.ndarray, replicas: int, attrs: Mapping[str, Any]
) -> xr.Dataset:
    """All of an ensemble but its configurations."""
    said = {"domain": "potts", "hamiltonian": HAMILTONIAN, STATES: states, **attrs}
    return lattice_bonds.template_of(couplings, temperatures, replicas, said)


def with_colours(template: xr.Dataset, colours: np.ndarray) -> xr.Dataset:
    r"""Configurations (D, T, R, \*grid) and their energies in a template."""
    colours = colours.astype(np.int8)
    field = ((*SAMPLE, *grid_dims(template)), colours, {"long_name": "state", "units": "1"})
    energy = (SAMPLE, energy_per_site(colours, couplings_of(template)), {"long_name": "energy per site", "units": "J"})
    return template.assign(field=field, energy=energy)


def check_potts(ensemble: xr.Dataset) -> xr.Dataset:
    """Return an ensemble or template that keeps the rules of this file, else raise InputError."""
    if "couplings" not in ensemble or "direction" not in ensemble["couplings"].dims:
        raise InputError("an ensemble of Potts states needs 'couplings' (disorder, direction, *grid): add them")
    states = states_of(ensemble)
    if "field" in ensemble:
        wanted, field = (*SAMPLE, *grid_dims(ensemble)), ensemble["field"]
        if field.dims != wanted:
            raise InputError(f"'field' has dims {field.dims}, needed are {wanted}: rename or transpose them")
        values = field.values
        wrong = (values < 0) | (values >= states) | (values != np.floor(values))
        if wrong.any():
            raise InputError(f"state {values[wrong][0]} is none of 0 ... {states - 1}: number the states from 0")
    temperatures = ensemble["temperature"].values if "temperature" in ensemble.coords else np.array([np.nan])
    if not np.all(temperatures > 0):
        raise InputError(f"temperatures {temperatures.tolist()} must be given and positive, in units of J")
    return ensemble
