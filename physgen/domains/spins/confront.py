"""Two ensembles of spins are matched before anything is measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from physgen.domains.quenched import match_temperatures
from physgen.domains.spins.layout import check_spins, disorder_of, grid_dims, instance_digests, is_lattice
from physgen.errors import InputError

if TYPE_CHECKING:
    import xarray as xr


def confront_spins(reference: xr.Dataset, other: xr.Dataset, name: str) -> xr.Dataset:
    """``other`` in the frame of the reference: its temperatures and, where they are the same, its instances.

    Temperatures are those that both hold, in the order of the reference (:func:`match_temperatures` the other way round
    restricts the reference to them). Instances of equal Hamiltonian, by digest, take the order and the numbers that
    they have in the reference if ``other`` holds all of them, once each; those that it alone holds follow. Else they
    are another draw of the disorder, and stay as they are.

    Raises:
        InputError: lattice or graph, boundary, model, units or the presence of a field differ, or no temperature is
            common; with both values.
    """
    for side in (reference, other):
        check_spins(side)
    _check_same("lattice", _lattice(reference), _lattice(other), name, "compare ensembles on one lattice or graph")
    for attr, remedy in (("model", "compare one model"), ("boundary", "give ensembles of one boundary")):
        mine, theirs = (str(e.attrs.get(attr, "")) for e in (reference, other))
        if mine and theirs:
            _check_same(attr, mine, theirs, name, remedy)
    _check_same("boundary", _seams(reference), _seams(other), name, "give ensembles of one boundary")
    _check_same("external field", _field(reference), _field(other), name, "give ensembles of one Hamiltonian")
    for variable in ("couplings", "temperature", "external_field"):
        if variable in reference.variables and variable in other.variables:
            mine, theirs = (_unit(e, variable) for e in (reference, other))
            _check_same(f"unit of {variable}", mine, theirs, name, "convert one of them")
    return _match_instances(reference, match_temperatures(reference, other, name))


def _check_same(what: str, mine: str, theirs: str, name: str, remedy: str) -> None:
    if mine != theirs:
        raise InputError(f"{what}: {mine} in the reference, {theirs} in {name}: {remedy}")


def _lattice(ensemble: xr.Dataset) -> str:
    lengths = " x ".join(str(ensemble.sizes[dim]) for dim in grid_dims(ensemble))
    if is_lattice(ensemble):
        return f"lattice of {lengths}"
    ends = disorder_of(ensemble).ends
    kind = {2: "general graph", 3: "triples", 0: "energies of all states"}[ends]
    return f"{kind} of {lengths} spins"


def _seams(ensemble: xr.Dataset) -> str:
    """Which space dims have bonds across their seam, in words."""
    if not is_lattice(ensemble):
        return "none (graph)"
    dims, words = grid_dims(ensemble), []
    for axis, dim in enumerate(dims):
        joined = bool(np.any(ensemble["couplings"].isel(direction=axis).isel({dim: -1}).values))
        words.append(f"{dim} {'periodic' if joined else 'free'}")
    return ", ".join(words)


def _field(ensemble: xr.Dataset) -> str:
    outer = ensemble.get("external_field")
    return "present" if outer is not None and bool(np.any(outer.values)) else "absent"


def _unit(ensemble: xr.Dataset, variable: str) -> str:
    """J where nothing is said, as for anybody's file."""
    return str(ensemble[variable].attrs.get("units", "J"))


def _match_instances(reference: xr.Dataset, other: xr.Dataset) -> xr.Dataset:
    mine, theirs = instance_digests(reference), instance_digests(other)
    if len(set(mine)) < len(mine) or len(set(theirs)) < len(theirs) or not set(mine) <= set(theirs):
        return other
    place = {digest: i for i, digest in enumerate(theirs.tolist())}
    known = [place[digest] for digest in mine.tolist()]
    more = [i for i in range(len(theirs)) if i not in set(known)]
    if "disorder" not in reference.coords:
        return other.isel(disorder=known + more)
    numbers = reference["disorder"].values
    numbers = np.concatenate([numbers, numbers.max() + 1 + np.arange(len(more))])
    return other.isel(disorder=known + more).assign_coords(
        disorder=("disorder", numbers, reference["disorder"].attrs)
    )  # fmt: skip
