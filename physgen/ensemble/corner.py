"""A corner of the label space: units that are held out of a training, and what is drawn there by extrapolation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from physgen.ensemble.split import select_units
from physgen.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

    Corner = Mapping[str, tuple[float, float]]  # label -> lowest and highest value, both within

CORNER = "corner"  # root attribute: the corner that a training held out, JSON; and the name of that part of the data
EXTRAPOLATED = "extrapolated"  # root attribute: how many of how many configurations lie in it, in words


def in_corner(ensemble: xr.Dataset, corner: Corner) -> xr.DataArray:
    """Which samples have every label in its range, over the sample dims of the labels.

    Raises InputError where the ensemble has no such label.
    """
    inside = None
    for name, (low, high) in corner.items():
        if name not in ensemble.variables or not ensemble[name].ndim or ensemble[name].dtype.kind != "f":
            known = [str(n) for n, v in ensemble.variables.items() if v.ndim == 1 and v.dtype.kind == "f"]
            choice = ", ".join(known) or "none"
            raise InputError(f"split.corner names {name!r}, which is no label of these data: choose from {choice}")
        here = (ensemble[name].reset_coords(drop=True) >= low) & (ensemble[name].reset_coords(drop=True) <= high)
        inside = here if inside is None else inside & here
    if inside is None:
        raise InputError("a corner without labels holds nothing: give {label: [low, high]}")
    return inside


def cut_corner(ensemble: xr.Dataset, corner: Corner, by: str) -> tuple[xr.Dataset, xr.Dataset]:
    """The rest and the corner, by whole independent units: a unit with any sample in the corner is held out.

    Args:
        ensemble: with the labels of ``corner``. by: name of the units, as :func:`physgen.ensemble.split` takes it.

    Raises:
        InputError: no such label, or a corner that holds no unit, or all.
    """
    inside = in_corner(ensemble, corner)
    dim = str(next(iter(ensemble[by].dims), by)) if by in ensemble.variables else by
    if dim not in inside.dims:
        raise InputError(f"the labels {', '.join(corner)} do not differ along {dim!r}, whose units are split")
    hit = inside.any([d for d in inside.dims if d != dim]).values
    names = ensemble[by].values if by in ensemble.variables else np.arange(ensemble.sizes[dim])
    held, rest = np.unique(names[hit]), np.setdiff1d(names, names[hit])
    if not len(held) or not len(rest):
        amount = "every unit" if len(held) else "no unit"
        raise InputError(f"split.corner = {said(corner)} holds {amount} of the data: choose other ranges")
    return select_units(ensemble, by, rest), select_units(ensemble, by, held)


def marked(ensemble: xr.Dataset, corner: Corner) -> dict[str, str]:
    """Root attributes, name -> value, of what was drawn by a model whose training held out a corner."""
    if not corner:
        return {}
    inside = in_corner(ensemble, corner)
    words = f"{int(inside.sum())} of {inside.size} in the held-out corner {said(corner)}" if inside.any() else ""
    return {CORNER: json.dumps({k: list(v) for k, v in corner.items()})} | ({EXTRAPOLATED: words} if words else {})


def outside_corner(ensemble: xr.Dataset, corner: Corner) -> xr.Dataset:
    """The samples outside of a corner, label -> [low, high]; the ensemble itself where it has no such label."""
    if not corner or not set(corner) <= set(map(str, ensemble.variables)):
        return ensemble
    inside = in_corner(ensemble, corner)
    if not inside.any() or inside.ndim != 1:
        return ensemble
    return ensemble.isel({inside.dims[0]: np.flatnonzero(~inside.values)})


def corner_of(ensemble: xr.Dataset) -> dict[str, tuple[float, float]]:
    """The corner that the training behind an ensemble held out, label -> [low, high]; {} for none."""
    return {k: (v[0], v[1]) for k, v in json.loads(ensemble.attrs.get(CORNER, "{}")).items()}


def said(corner: Corner) -> str:
    """``tilt 0.4 to 0.5, size 0.9 to 1``."""
    return ", ".join(f"{name} {low:g} to {high:g}" for name, (low, high) in corner.items())
