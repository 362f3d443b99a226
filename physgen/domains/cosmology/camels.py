"""CAMELS Multifield Dataset (Villaescusa-Navarro et al., 2109.10915): 2-D maps and 3-D grids with their parameters.

Names: Maps_{field}_{suite}_{set}_z=0.00.npy, Grids_{field}_{suite}_{set}_{cells}_z=0.00.npy, params_{set}_{suite}.txt.
25 Mpc/h boxes, periodic, values linear. 15 maps of 5 Mpc/h slabs a simulation: map i has row i // 15 of the table.
Several fields of one suite and set are the components of one ensemble.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from physgen.domains.cosmology.arrays import coarse_grid, make_ensemble, read_fields
from physgen.domains.cosmology.camels_tables import find_table, parameters, read_parameters
from physgen.domains.cosmology.kinds import confront
from physgen.domains.cosmology.labels import Joined, Origin
from physgen.domains.cosmology.options import Box, Options
from physgen.domains.cosmology.own_fields import finish
from physgen.domains.cosmology.sources import read_npy
from physgen.domains.cosmology.tables import is_table
from physgen.ensemble import SHARED
from physgen.ensemble.scratch import scratch_array
from physgen.errors import InputError

NAME = re.compile(
    r"(?P<shape>Maps|Grids)_(?P<prefix>[A-Za-z]+)_(?P<suite>(?:Nbody_)?[A-Za-z]+(?:-[A-Za-z]+)?(?:_DM)?)"
    r"(?:_L(?P<box>\d+)n\d+)?_(?P<set>[A-Za-z0-9]+)(?:_(?P<cells>\d+))?_z=(?P<redshift>[0-9.]+)\.npy"
)
MASS = ("Mgas", "HI", "Mcdm", "Mstar", "Mtot")
UNITS = {"T": "K", "P": "h^2 Msun/kpc^3 (km/s)^2", "B": "G", "Vgas": "km/s", "Vcdm": "km/s", "Z": "1", "MgFe": "1"}
CONSTANTS = {"Omega_b": 0.049, "h": 0.6711, "n_s": 0.9624}  # of the sets that do not vary them
SHARED_SEED = ("1P", "EX", "BE")  # sets whose simulations have the same initial conditions
MAPS_PER_SIMULATION = 15
SLAB_THICKNESS = 5.0  # Mpc/h, of the 25 Mpc/h boxes
CRITICAL_DENSITY = 2.775e11  # (Msun/h)/(Mpc/h)^3
OPTIONS = ("params", "box_size", "simulations", "cells", "h", "maps_per_simulation", "thickness")


def load_maps(paths: list[Path], options: dict[str, str]) -> xr.Dataset:
    """2-D maps: Maps_*.npy (n, N, N) and the table of parameters, whose header, if it has one, names the columns.

    Options: params (else a table among the paths, else the one beside the maps), box_size (25 Mpc/h, or that of the
    name), simulations, cells, h, maps_per_simulation (15), thickness (5 Mpc/h).
    """
    return _load(paths, Options("camels_maps", options, OPTIONS), "Maps")


def load_grids(paths: list[Path], options: dict[str, str]) -> xr.Dataset:
    """3-D grids: Grids_*.npy (n, N, N, N), read through a memory map, and the table. Options as for maps.

    ``simulations=N`` reads the first N alone, ``cells=M`` averages to M cells per side: both bound memory.
    """
    return _load(paths, Options("camels_grids", options, OPTIONS), "Grids")


def _load(paths: list[Path], options: Options, shape: str) -> xr.Dataset:
    files = _data_files(paths, shape)
    path, name = files[0]
    dimension = 2 if shape == "Maps" else 3
    each = options.count("maps_per_simulation", MAPS_PER_SIMULATION) if dimension == 2 else 1
    arrays = [_array(file, shape, dimension) for file, _ in files]
    if len({array.shape for array in arrays}) > 1:
        raise InputError(f"{path} and {files[1][0]} have shapes {arrays[0].shape} and {arrays[1].shape}: use one set")
    table = read_parameters(find_table(path, name, paths, options.text("params")), name)
    if len(arrays[0]) != each * len(table):
        per = f" x {each} maps" if each > 1 else ""
        raise InputError(
            f"{table.path} has {len(table)} rows, {path} holds {len(arrays[0])} fields; they need "
            f"{len(arrays[0]) / each:g} rows{per}: give the params file of the same set and suite"
        )
    labels, seeds, notes = parameters(table, name)
    simulations = len(table)
    wanted = options.count("simulations", simulations)
    if wanted > simulations:
        raise InputError(f"simulations = {wanted} were asked for, {path} holds {simulations}: ask for fewer")
    labels, seeds = ({n: np.repeat(c[:wanted], each) for n, c in columns.items()} for columns in (labels, seeds))
    numbers = np.arange(wanted * each) // each
    box, assumed = _box(options, name)
    cells, kinds = options.count("cells"), []
    shape_of_one = coarse_grid(arrays[0].shape[1:], cells, path)
    fields = scratch_array((wanted * each, len(files), *shape_of_one), np.float32)
    for c, (array, (file, match)) in enumerate(zip(arrays, files, strict=True)):
        kind = ("surface_density" if dimension == 2 else "density") if match["prefix"] in MASS else "positive"
        values = read_fields(array[: wanted * each], kind, dimension, file, cells, fields[:, c])
        kinds.append(kind)
        if match["prefix"] in ("Mcdm", "Mtot"):
            thickness = _thickness(options, box) if dimension == 2 else 1.0
            _check_scale(float(values.mean(dtype=np.float64)), labels["Omega_m"].mean(), thickness, dimension, file)
        elif match["prefix"] in MASS:
            confront(values, kind, numbers, file, {})
    attrs = _attrs(options, files, labels, box, dimension)
    components = [match["prefix"] for _, match in files] if len(files) > 1 else []
    ensemble = make_ensemble(fields if components else fields[:, 0], kinds, box, labels, numbers, attrs, components)
    origins = [Origin(path, i, len(arrays[0])) for i in range(len(fields))]
    joined = Joined(labels, numbers, seeds)
    return finish(ensemble, origins, joined, [*notes, *assumed, *_follows_matter(ensemble, files)])


def _array(path: Path, shape: str, dimension: int) -> Any:
    array = read_npy(path)
    if array.ndim != dimension + 1:
        raise InputError(
            f"{path} has shape {array.shape}; {shape} files have {dimension + 1} axes: use "
            f"{'camels_grids' if shape == 'Maps' else 'camels_maps'}, or npy for arrays of your own"
        )
    if len(set(array.shape[1:])) != 1:
        raise InputError(
            f"{path} has fields of shape {array.shape[1:]}; they must be square: use npy for your own arrays"
        )
    return array


def _data_files(paths: list[Path], shape: str) -> list[tuple[Path, re.Match]]:
    data = [p for p in paths if not is_table(p)]
    matches = [NAME.fullmatch(path.name) for path in data]
    for path, match in zip(data, matches, strict=True):
        if not match or match["shape"] != shape:
            raise InputError(
                f"{path.name} is not a name of this format, e.g. {shape}_Mcdm_IllustrisTNG_LH_"
                f"{'' if shape == 'Maps' else '128_'}z=0.00.npy: restore the name, or use the format npy"
            )
    named = [match for match in matches if match]
    same = {match.group("suite", "box", "set", "cells", "redshift") for match in named}
    if not data or len(same) > 1 or len({match["prefix"] for match in named}) < len(data):
        raise InputError(
            f"{len(data)} .npy files were given: import one {shape}_*.npy file at a time, or different fields of one "
            "suite, set and redshift as components"
        )
    return list(zip(data, named, strict=True))


def _box(options: Options, name: re.Match) -> tuple[Box, list[str]]:
    """The box of the option, of the name (L50n512), of the set (SB35 was run in 50 Mpc/h), else 25 Mpc/h."""
    side = name["box"] or ("50" if name["set"] == "SB35" else "25")
    box = options.box("box_size", f"{int(side)} Mpc/h")
    if "box_size" in options and name["box"] and box.sides[0] != float(name["box"]):
        raise InputError(
            f"the name says a box of {int(name['box'])} Mpc/h, you gave {options.text('box_size')}: correct one of them"
        )
    assumed = "box_size" not in options and name["set"] == "SB35" and not name["box"]
    return box, ["SB35 was run in boxes of 50 Mpc/h (L50n512): taken as box_size"] if assumed else []


def _thickness(options: Options, box: Box) -> float | None:
    if options.text("thickness"):
        return options.length("thickness")
    return SLAB_THICKNESS if box.sides == (25.0,) else None


def _attrs(options: Options, files: list, labels: dict[str, np.ndarray], box: Box, dimension: int) -> dict[str, Any]:
    name = files[0][1]
    prefixes = [match["prefix"] for _, match in files]
    attrs: dict[str, Any] = {"redshift": float(name["redshift"]), "suite": name["suite"], "set": name["set"]}
    attrs |= {constant: value for constant, value in CONSTANTS.items() if constant not in labels}
    if len(files) == 1:
        attrs |= {"field_name": prefixes[0], "field_long_name": f"CAMELS {prefixes[0]}"}
        if prefixes[0] not in MASS:
            attrs["field_units"] = UNITS.get(prefixes[0], "1")
    else:
        mass = f"(Msun/h)/(Mpc/h)^{dimension}"
        units = [mass if prefix in MASS else UNITS.get(prefix, "1") for prefix in prefixes]
        attrs |= {"field_name": ", ".join(prefixes), "field_long_name": "CAMELS fields"}
        attrs |= {"component_units": units, "field_units": mass if set(units) == {mass} else "1"}
    if dimension == 2 and _thickness(options, box):
        attrs["slab_thickness"] = _thickness(options, box)
    if name["set"] in SHARED_SEED:
        attrs[SHARED] = "one set of initial conditions"
    return attrs


def _check_scale(mean: float, Omega_m: float, thickness: float | None, dimension: int, path: Path) -> None:
    """The mean against the matter of that cosmology; a slab of unknown thickness is at most a box thick."""
    expected = Omega_m * CRITICAL_DENSITY * (thickness or SLAB_THICKNESS)
    low, high = (0.2, 5) if thickness else (0.2, 20)
    if not low < mean / expected < high:
        raise InputError(
            f"{path} has a mean of {mean:.3g}, matter of Omega_m = {Omega_m:.2g} gives {expected:.3g} "
            f"(Msun/h)/(Mpc/h)^{dimension}: the values are in other units or logarithmic, convert them to these"
        )


def _follows_matter(ensemble: xr.Dataset, files: list) -> list[str]:
    """A note where the mean of matter does not follow Omega_m: the table may have another order."""
    matter = [i for i, (_, match) in enumerate(files) if match["prefix"] in ("Mtot", "Mcdm")]
    Omega_m, simulation = ensemble["Omega_m"].values, ensemble["simulation"].values
    if not matter or len(np.unique(Omega_m)) < 4:
        return []
    field = ensemble["field"].isel(component=matter[0]) if "component" in ensemble.dims else ensemble["field"]
    means = np.array([one.mean(dtype=np.float64) for one in field.values])
    count = np.bincount(simulation)
    mean, label = (np.bincount(simulation, weights=w) / count for w in (means, Omega_m))
    r = float(np.corrcoef(mean, label)[0, 1])
    if r > 0.5:
        return []
    return [
        f"WARNING: the mean of {files[matter[0]][1]['prefix']} does not follow Omega_m over the simulations "
        f"(correlation {r:.2f}, expected near 1): check that the rows of the table belong to these fields in this order"
    ]
