r"""Bonds of Potts models on lattices, their energies, and how configurations stand in an ensemble.

Convention everywhere: :math:`H = -\sum_{\langle ij\rangle} J_{ij}\,\delta(s_i, s_j)`, k_B = 1, s = 0 ... q - 1. The
bonds are an array ``couplings[d, *site]`` that joins ``site`` and its neighbour one step up along space dim d, taken
modulo the length: a free boundary is a zero bond across the seam.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from physgen.domains.quenched import SAMPLE
from physgen.ensemble import unit_attrs
from physgen.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

UNITS = unit_attrs("disorder", exchangeable=("replica",), within=("replica",))
HAMILTONIAN = "H = -sum_<ij> J_ij delta(s_i, s_j), k_B = 1"
STATES = "states"  # root attribute: q


def open_axes(dimension: int, boundary: str) -> tuple[int, ...]:
    """Space dims without bonds across the seam: none, all, or (cylinder) the first one alone."""
    return {"periodic": (), "free": tuple(range(dimension)), "cylinder": (0,)}[boundary]


def lattice_couplings(shape: tuple[int, ...], law: str, boundary: str, seed: int, instances: int) -> np.ndarray:
    r"""Bonds (D, d, \*shape) float32: ``ferromagnet`` (all 1), ``gaussian`` (variance 1) or ``bimodal`` (+-1).

    Instance i depends on (seed, i) alone. A length of 2 has two bonds between the same sites.
    """
    bonds = np.ones((instances, len(shape), *shape), dtype=np.float32)
    for i in range(instances if law != "ferromagnet" else 0):
        rng = np.random.default_rng([int(seed), i])
        bonds[i] = (
            rng.standard_normal(bonds.shape[1:]) if law == "gaussian" else rng.integers(0, 2, bonds.shape[1:]) * 2 - 1
        )
    return cut_seams(bonds, boundary)


def cut_seams(bonds: np.ndarray, boundary: str) -> np.ndarray:
    r"""Set the bonds across the seam of every open dim of (D, d, \*grid) to zero, in place."""
    for axis in open_axes(bonds.shape[1], boundary):
        np.moveaxis(bonds[:, axis], 1 + axis, 0)[-1] = 0
    return bonds


def energy_per_site(colours: np.ndarray, couplings: np.ndarray) -> np.ndarray:
    r"""H/N (D, T, R) of colours (D, T, R, \*grid) in couplings (D, d, \*grid)."""
    grid, total = colours.shape[3:], 0.0
    for axis in range(len(grid)):
        same = colours == np.roll(colours, -1, 3 + axis)
        total = total + (same * couplings[:, None, None, axis]).sum(
            axis=tuple(range(3, colours.ndim)), dtype=np.float64
        )
    return -np.asarray(total) / np.prod(grid)


def grid_dims(ensemble: xr.Dataset) -> tuple[str, ...]:
    """Space dims in order, read from the couplings, so that a template without ``field`` has them too."""
    return tuple(str(d) for d in ensemble["couplings"].dims if d not in ("disorder", "direction"))


def couplings_of(ensemble: xr.Dataset) -> np.ndarray:
    r"""(D, d, \*grid) in the order of SAMPLE and the space dims."""
    values: np.ndarray = ensemble["couplings"].transpose("disorder", "direction", *grid_dims(ensemble)).values
    return values


def states_of(ensemble: xr.Dataset) -> int:
    """q, which is a root attribute: data may lack a colour."""
    if STATES not in ensemble.attrs:
        raise InputError(f"the ensemble does not say how many states a site has: give it the attribute {STATES!r}")
    return int(ensemble.attrs[STATES])


def template_of(
    couplings: np.ndarray, states: int, temperatures: np.ndarray, replicas: int, attrs: Mapping[str, Any]
) -> xr.Dataset:
    """All of an ensemble but its configurations."""
    import xarray as xr

    grid = couplings.shape[2:]
    names = ("z", "y", "x")[3 - len(grid) :]
    place = {"long_name": "site", "units": "lattice spacing"}
    coords: dict[str, object] = {
        "disorder": ("disorder", np.arange(len(couplings)), {"long_name": "disorder instance", "units": "1"}),
        "temperature": (
            "temperature", np.asarray(temperatures, dtype=np.float64), {"long_name": "temperature", "units": "J"},
        ),
        "replica": ("replica", np.arange(replicas), {"long_name": "replica", "units": "1"}),
        "direction": ("direction", list(names), {"long_name": "direction of the bond", "units": "1"}),
    }  # fmt: skip
    coords |= {name: (name, np.arange(n, dtype=np.float64), place) for name, n in zip(names, grid, strict=True)}
    bonds = (("disorder", "direction", *names), couplings, {"long_name": "coupling", "units": "J"})
    said = {"domain": "potts", "hamiltonian": HAMILTONIAN, STATES: states, **UNITS, **attrs}
    return xr.Dataset({"couplings": bonds}, coords=coords, attrs=said)


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
