r"""Angles on lattices, their energies, and how configurations stand in an ensemble.

Convention everywhere: :math:`H = -\sum_{\langle ij\rangle} J_{ij}\,\cos(\theta_i - \theta_j)`, k_B = 1, angles in
radians, any representative of them; bonds as in :mod:`physgen.domains.lattice_bonds`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from physgen.domains import lattice_bonds
from physgen.domains.lattice_bonds import couplings_of, grid_dims
from physgen.domains.quenched import SAMPLE
from physgen.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

HAMILTONIAN = "H = -sum_<ij> J_ij cos(theta_i - theta_j), k_B = 1"
LARGEST = 100.0  # radians; larger numbers are degrees, or no angles


def energy_per_site(angles: np.ndarray, couplings: np.ndarray) -> np.ndarray:
    r"""H/N (D, T, R) of angles (D, T, R, \*grid) in couplings (D, d, \*grid)."""
    grid, total = angles.shape[3:], 0.0
    for axis in range(len(grid)):
        aligned = np.cos(angles.astype(np.float64) - np.roll(angles, -1, 3 + axis))
        total = total + (aligned * couplings[:, None, None, axis]).sum(axis=tuple(range(3, angles.ndim)))
    return -np.asarray(total) / np.prod(grid)


def template_of(couplings: np.ndarray, temperatures: np.ndarray, replicas: int, attrs: Mapping[str, Any]) -> xr.Dataset:
    """All of an ensemble but its configurations."""
    said = {"domain": "xy", "hamiltonian": HAMILTONIAN, **attrs}
    return lattice_bonds.template_of(couplings, temperatures, replicas, said)


def with_angles(template: xr.Dataset, angles: np.ndarray) -> xr.Dataset:
    r"""Configurations (D, T, R, \*grid), in [-pi, pi), and their energies in a template."""
    kept = wrapped(angles.astype(np.float64)).astype(np.float32)
    told = {"long_name": "angle", "units": "rad", "symbol": r"\theta", "period": 2 * np.pi}
    field = ((*SAMPLE, *grid_dims(template)), kept, told)
    energy = (SAMPLE, energy_per_site(kept, couplings_of(template)), {"long_name": "energy per site", "units": "J"})
    return template.assign(field=field, energy=energy)


def wrapped(angles: np.ndarray) -> np.ndarray:
    """Angles less a multiple of 2 pi, in [-pi, pi)."""
    found: np.ndarray = (angles + np.pi) % (2 * np.pi) - np.pi
    return found


def check_xy(ensemble: xr.Dataset) -> xr.Dataset:
    """Return an ensemble or template that keeps the rules of this file, else raise InputError."""
    if "couplings" not in ensemble or "direction" not in ensemble["couplings"].dims:
        raise InputError("an ensemble of angles needs 'couplings' (disorder, direction, *grid): add them")
    if "field" in ensemble:
        wanted, field = (*SAMPLE, *grid_dims(ensemble)), ensemble["field"]
        if field.dims != wanted:
            raise InputError(f"'field' has dims {field.dims}, needed are {wanted}: rename or transpose them")
        units = field.attrs.get("units", "rad")
        if units != "rad":
            raise InputError(f"'field' has units {units!r}: give angles in radians, units 'rad'")
        largest = float(np.abs(field.values).max(initial=0.0))
        if not largest <= LARGEST:
            raise InputError(f"an angle of {largest:g} rad: give finite angles in radians, within some turns of 0")
    temperatures = ensemble["temperature"].values if "temperature" in ensemble.coords else np.array([np.nan])
    if not np.all(temperatures > 0):
        raise InputError(f"temperatures {temperatures.tolist()} must be given and positive, in units of J")
    return ensemble
