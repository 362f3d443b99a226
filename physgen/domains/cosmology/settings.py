"""The settings of the domain brought to plain numbers, and checked as a whole."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from physgen.domains.cosmology.linear_power import settled_method
from physgen.errors import InputError
from physgen.units import parse_quantity

if TYPE_CHECKING:
    from physgen.domains.cosmology.domain import Cosmology

OF_A_COSMOLOGY = ("Omega_m", "sigma_8", "Omega_b", "h", "n_s")


def settle(data: Cosmology) -> None:
    """Quantities with a unit become numbers, a cosmology its five parameters, ``linear_power: auto`` a method.

    The cosmology itself is forgotten then: what is stored are numbers, which no later version of astropy changes.

    Raises:
        InputError: a cosmology that the simulator does not honour, or a parameter beside it that says something else.
    """
    object.__setattr__(data, "linear_power", settled_method(data.linear_power))
    if data.cosmology is not None:
        _take_parameters(data)
    for field in dataclasses.fields(data):
        value, unit = getattr(data, field.name), field.metadata.get("unit")
        if unit and hasattr(value, "unit"):
            object.__setattr__(data, field.name, parse_quantity(f"{float(value.value)!r} {value.unit}", unit, data.h))


def _take_parameters(data: Cosmology) -> None:
    from physgen.domains.cosmology.background import CosmologyParams

    params = CosmologyParams.from_astropy(data.cosmology)
    defaults: dict[str, Any] = {field.name: field.default for field in dataclasses.fields(data)}
    for name in OF_A_COSMOLOGY:
        value = getattr(params, name)
        taken = (value, value) if isinstance(defaults[name], tuple) else value
        given = getattr(data, name)
        if given not in (defaults[name], taken):
            raise InputError(
                f"{name} = {given} and cosmology = {getattr(data.cosmology, 'name', data.cosmology)}, whose {name} is "
                f"{value:g}: give one of them"
            )
        object.__setattr__(data, name, taken)
    object.__setattr__(data, "cosmology", None)


def check(data: Cosmology) -> None:
    """Raise InputError where settings contradict each other."""
    if data.dimension not in (2, 3):
        raise InputError(f"dimension = {data.dimension} must be 2 (slabs) or 3 (boxes)")
    for name, (low, high) in {"Omega_m": data.Omega_m, "sigma_8": data.sigma_8}.items():
        if not 0 < low <= high:
            raise InputError(f"{name} = [{low}, {high}] does not satisfy 0 < low <= high: give the lower bound first")
    if data.cells > 2 * data.particles:
        raise InputError(
            f"cells = {data.cells} is more than twice particles = {data.particles}: most cells would be empty, "
            "raise particles"
        )
    if data.snapshots > 1 and data.highest_redshift <= data.redshift:
        raise InputError(
            f"highest_redshift = {data.highest_redshift} must be above redshift = {data.redshift}: "
            f"{data.snapshots} snapshots lie between them"
        )
    if data.simulator == "linear" and (data.interlaced or data.redshift_space or data.mass_assignment != "CIC"):
        raise InputError(
            "simulator = linear has no particles: mass_assignment, interlaced and redshift_space have no effect"
        )
    if data.dimension == 2:
        _check_slabs(data)


def _check_slabs(data: Cosmology) -> None:
    depth = data.thickness / data.box_size * data.cells
    if depth < 1 - 1e-6 or abs(depth - round(depth)) > 1e-6 * data.cells:
        raise InputError(
            f"thickness = {data.thickness} Mpc/h is {depth:g} cells of {data.box_size / data.cells:g} Mpc/h; "
            "it must be a whole number of cells"
        )
    if data.slabs_per_axis * round(depth) > data.cells:
        raise InputError(
            f"slabs_per_axis = {data.slabs_per_axis} slabs of {data.thickness} Mpc/h do not fit in a box of "
            f"{data.box_size} Mpc/h: lower slabs_per_axis or thickness"
        )
