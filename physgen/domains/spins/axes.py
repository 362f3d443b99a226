"""Which axis of an array is what: named by the user, or read where only one reading is possible."""

from __future__ import annotations

import itertools

import numpy as np

from physgen.domains.spins.layout import SAMPLE, lattice_dims
from physgen.errors import InputError

Arrays = tuple[np.ndarray, np.ndarray]


def order_spins(spins: np.ndarray, axes: str) -> np.ndarray:
    r"""Spins in the order (disorder, temperature, replica, \*grid).

    ``axes`` names the axes of the array as it is, e.g. ``replica,disorder,temperature,y,x``; sample axes that are left
    out have length 1. Without it the array has that order already.
    """
    if not axes:
        if not 4 <= spins.ndim <= 6:
            raise InputError(
                f"spins of shape {spins.shape} need dims (disorder, temperature, replica, *grid): reshape them, or "
                "name the axes that there are, e.g. axes=replica,y,x"
            )
        return spins
    names = _names(axes, spins.ndim, (*SAMPLE, "z", "y", "x"), "axes")
    grid = lattice_dims(max(sum(name in "zyx" for name in names), 1))
    if set(names) - set(SAMPLE) != set(grid):
        raise InputError(f"axes={axes}: a lattice has the space axes x, or y and x, or z, y and x")
    missing = [name for name in SAMPLE if name not in names]
    full = spins.reshape(*[1] * len(missing), *spins.shape)
    names = [*missing, *names]
    return full.transpose([names.index(name) for name in (*SAMPLE, *grid)])


def order_couplings(
    couplings: np.ndarray, shape: tuple[int, ...], axes: str = "", directions: str = "", bonds: str = "up"
) -> np.ndarray:
    r"""Bonds in the order (disorder, direction, \*grid), directions in the order of the grid, stored at the lower site.

    Args:
        couplings: the array as it is.
        shape: (D, \*grid) of the spins.
        axes: names of its axes, of ``disorder, direction, z, y, x``. Without it the one reading that fits the shape,
            directions before or after the grid; where both fit, it is asked for.
        directions: names of the directions in their order, e.g. ``x,y``; default is that of the grid.
        bonds: ``up`` if the bond at a site leads one step up, ``down`` if one step down.
    """
    instances, *grid = shape
    names = lattice_dims(len(grid))
    wanted = (instances, len(grid), *grid)
    if axes:
        given = _names(axes, couplings.ndim, ("disorder", "direction", *names), "coupling_axes")
        if "disorder" not in given:
            given, couplings = ["disorder", *given], couplings[None]
        if sorted(given) != sorted(("disorder", "direction", *names)):
            raise InputError(f"coupling_axes={axes} must name direction and {', '.join(names)}")
        found = couplings.transpose([given.index(name) for name in ("disorder", "direction", *names)])
    else:
        found = _only_reading(couplings, wanted, names)
    if found.shape != wanted:
        raise InputError(
            f"couplings of shape {couplings.shape} do not belong to spins of (disorder, *grid) {shape}: they must have "
            f"shape {wanted} (disorder, direction, *grid)"
        )
    if directions:
        order = _names(directions, len(names), names, "directions")
        found = found[:, [order.index(name) for name in names]]
    if bonds not in ("up", "down"):
        raise InputError(f"bonds={bonds}: give up if the bond at a site leads one step up its axis, down if one down")
    return bonds_up(found) if bonds == "down" else found


def bonds_up(couplings: np.ndarray) -> np.ndarray:
    """Bonds (D, d, *grid) that lead one step down, stored at the site below instead."""
    return np.stack([np.roll(couplings[:, a], -1, 1 + a) for a in range(couplings.shape[1])], axis=1)


def _only_reading(couplings: np.ndarray, wanted: tuple[int, ...], names: tuple[str, ...]) -> np.ndarray:
    """The array as (disorder, direction, *grid), where one reading of its shape gives that."""
    if wanted[0] == 1 and couplings.ndim == len(wanted) - 1:
        couplings = couplings[None]
    if couplings.ndim != len(wanted):
        return couplings
    first, last = couplings, np.moveaxis(couplings, -1, 1)
    fits = [reading for reading in (first, last) if reading.shape == wanted]
    if len(fits) > 1 and not np.array_equal(fits[0], fits[1]):
        space = ",".join(names)
        raise InputError(
            f"couplings of shape {couplings.shape} may have their {len(names)} directions before or after the grid: "
            f"say coupling_axes=disorder,direction,{space} or coupling_axes=disorder,{space},direction"
        )
    return fits[0] if fits else couplings


def _names(text: str, count: int, known: tuple[str, ...], option: str) -> list[str]:
    names = [part.strip() for part in text.split(",") if part.strip()]
    unknown = [name for name in names if name not in known]
    if unknown or len(set(names)) < len(names) or len(names) != count:
        raise InputError(f"{option}={text} must name the {count} axes, each once, out of {', '.join(known)}")
    return names


def equal_axes(sizes: tuple[int, int, int]) -> list[tuple[str, ...]]:
    """Other orders of the sample axes that the lengths (D, T, R) allow as well."""
    lengths = dict(zip(SAMPLE, sizes, strict=True))
    return [
        order
        for order in itertools.permutations(SAMPLE)
        if order != SAMPLE and [lengths[name] for name in order] == list(sizes)
    ]
