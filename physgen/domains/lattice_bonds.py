r"""What models on a lattice with quenched bonds share, whatever stands on the sites: the bonds and their ensembles.

The bonds are an array ``couplings[d, *site]`` that joins ``site`` and its neighbour one step up along space dim d,
taken modulo the length: a free boundary is a zero bond across the seam.

Legend: D instances, T temperatures, R replicas, d space dims.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from physgen.domains.quenched import check_trained, match_temperatures, numbers_of_streams, sample_shape
from physgen.ensemble import TEMPLATE, unit_attrs
from physgen.errors import InputError

if TYPE_CHECKING:
    import xarray as xr
    from torch import Tensor

UNITS = unit_attrs("disorder", exchangeable=("replica",), within=("replica",))
LARGEST_Z = 4.0  # standard errors by which cold and hot starts may differ at the end


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


def neighbours_up(grid: tuple[int, ...]) -> np.ndarray:
    """Neighbour of each site one step up each dim, (d, N) int64, sites in C order."""
    site = np.arange(np.prod(grid, dtype=np.int64)).reshape(grid)
    return np.stack([np.roll(site, -1, axis).reshape(-1) for axis in range(len(grid))])


def grid_dims(ensemble: xr.Dataset) -> tuple[str, ...]:
    """Space dims in order, read from the couplings, so that a template without ``field`` has them too."""
    return tuple(str(d) for d in ensemble["couplings"].dims if d not in ("disorder", "direction"))


def couplings_of(ensemble: xr.Dataset) -> np.ndarray:
    r"""(D, d, \*grid) in the order of SAMPLE and the space dims."""
    values: np.ndarray = ensemble["couplings"].transpose("disorder", "direction", *grid_dims(ensemble)).values
    return values


def seams(bonds: np.ndarray) -> str:
    r"""Which space dims of bonds (D, d, \*grid) are joined across their seam."""
    joined = [bonds[:, axis].take(-1, axis=1 + axis).any() for axis in range(bonds.shape[1])]
    return ", ".join("periodic" if one else "free" for one in joined)


def template_of(couplings: np.ndarray, temperatures: np.ndarray, replicas: int, attrs: Mapping[str, Any]) -> xr.Dataset:
    r"""All of an ensemble but its configurations, for bonds (D, d, \*grid) in units of J."""
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
    return xr.Dataset({"couplings": bonds}, coords=coords, attrs={**UNITS, **attrs})


def requested(
    like: xr.Dataset, n: int, given: Mapping[str, float], constants: Mapping[str, Any] | None = None
) -> xr.Dataset:
    """A template of ``n`` replicas for each instance and temperature of ``like``.

    A ``temperature`` that is given lies within those of the training part (``constants``), or outside by at most
    a share of their range.
    """
    import xarray as xr

    unknown = set(given) - {"temperature"}
    if unknown:
        raise InputError(f"condition {sorted(unknown)[0]!r} is unknown here; only 'temperature' can be given")
    if n < 1:
        raise InputError(f"{n} replicas were asked for; at least 1 is needed")
    temperature = like["temperature"].variable
    if "temperature" in given:
        known = constants["temperatures"] if constants else temperature.values
        check_trained(given["temperature"], list(known))
        temperature = xr.Variable("temperature", [float(given["temperature"])], temperature.attrs)
    coords = {k: v for k, v in like.coords.items() if "temperature" not in v.dims and "replica" not in v.dims}
    attrs = {name: value for name, value in like.attrs.items() if name not in (TEMPLATE, "format", "source", "part")}
    template = xr.Dataset({"couplings": like["couplings"].variable}, coords=coords, attrs=attrs)
    replica = xr.Variable("replica", np.arange(n), {"long_name": "replica", "units": "1"})
    return template.assign_coords(temperature=temperature, replica=replica)


def streams_of_bonds(template: xr.Dataset, person: bytes) -> np.ndarray:
    """Number (B,) of the noise stream of each sample, :func:`physgen.domains.quenched.numbers_of_streams`."""
    all_bonds = (np.ascontiguousarray(bonds, dtype="<f4") for bonds in couplings_of(template))
    names = [bonds.tobytes() + f"{bonds.shape}".encode() for bonds in all_bonds]
    return numbers_of_streams(names, template, person)


def confronted(
    reference: xr.Dataset, other: xr.Dataset, name: str, facts: Mapping[str, tuple[Any, Any]] | None = None
) -> xr.Dataset:
    """``other`` at the common temperatures, in the order of the reference; instances of equal bonds in its order too.

    ``facts``: further ones that must be equal, of both. Raises InputError, with both values, where those or the
    lattices differ or no temperature is common.
    """
    mine, theirs = couplings_of(reference), couplings_of(other)
    found = dict(facts or {})
    found |= {"lattice": (mine.shape[2:], theirs.shape[2:]), "boundary": (seams(mine), seams(theirs))}
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


def forgotten_starts(energies: np.ndarray, temperatures: np.ndarray, sweeps: int) -> str:
    """How far cold and hot starts agree: energies (D, T, R) per site in J, even replicas hot, odd ones cold.

    Raises InputError where they differ by more than 4 standard errors, or are too few to tell.
    """
    words = []
    for t, temperature in enumerate(temperatures):
        hot, cold = (energies[:, t, start::2].reshape(-1) for start in (0, 1))
        if min(len(hot), len(cold)) < 8:
            raise InputError(
                f"{len(hot)} hot and {len(cold)} cold starts at each temperature are too few to show equilibrium: "
                "take at least 16 instances times replicas"
            )
        error = np.sqrt(hot.var(ddof=1) / len(hot) + cold.var(ddof=1) / len(cold))
        z = float((hot.mean() - cold.mean()) / max(error, 1e-300)) if error > 0 or hot.mean() != cold.mean() else 0.0
        if abs(z) > LARGEST_Z:
            raise InputError(
                f"after {sweeps} sweeps at T = {temperature:g} J the energies of hot and cold starts differ by "
                f"{z:.1f} standard errors ({hot.mean():.4f} and {cold.mean():.4f} J per site), at most "
                f"{LARGEST_Z:g}: this is not equilibrium, raise data.sweeps"
            )
        words.append(f"T = {temperature:g}: {z:+.1f}")
    return (
        f"each configuration ends a chain of its own of {sweeps} sweeps; energy of hot less cold starts in "
        f"standard errors: {', '.join(words)}"
    )


def log_boltzmann(template: xr.Dataset) -> Callable[[Tensor, int], Tensor]:
    r""":math:`\beta \sum_{\langle ij\rangle} J_{ij}\, x_i \cdot x_j`, (b,) float64, of vectors x (b, C, \*grid).

    In the bonds and at the temperature of a flattened sample of a template.
    """
    import torch

    from physgen.lattice import neighbour

    couplings, shape = couplings_of(template).astype(np.float64), sample_shape(template)
    temperatures = template["temperature"].values

    def log_target(x: Tensor, sample: int) -> Tensor:
        instance, temperature, _ = np.unravel_index(sample, shape)
        bonds = torch.from_numpy(couplings[instance] / float(temperatures[temperature])).to(x.device)
        aligned = torch.stack([(x * neighbour(x, 2 * axis, len(bonds))).sum(1) for axis in range(len(bonds))], dim=1)
        return (bonds * aligned.double()).flatten(1).sum(1)

    return log_target


def log_law(
    template: xr.Dataset, log_partition: Callable[[np.ndarray, int], float], what: str
) -> Callable[[Tensor, int, float], Tensor]:
    r""":func:`log_boltzmann` less ln Z, (b,), at s = 0; NaN where layers are too wide for Z.

    Args:
        log_partition: bonds beta J (d, \*grid) and C -> ln Z, with an InputError where it is out of reach.
        what: what has no noise, for the message where one is asked for.
    """
    log_target, shape = log_boltzmann(template), sample_shape(template)
    couplings, temperatures = couplings_of(template).astype(np.float64), template["temperature"].values

    @cache
    def log_norm(instance: int, temperature: int, channels: int) -> float:
        try:
            return log_partition(couplings[instance] / float(temperatures[temperature]), channels)
        except InputError:
            return math.nan

    def law(x: Tensor, sample: int, s: float) -> Tensor:
        if s:
            raise ValueError(f"{what}, got s = {s}: give 0")
        instance, temperature, _ = np.unravel_index(sample, shape)
        return log_target(x, sample) - log_norm(int(instance), int(temperature), x.shape[1])

    return law
