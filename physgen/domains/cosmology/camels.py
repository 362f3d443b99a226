"""CAMELS Multifield Dataset (Villaescusa-Navarro et al., 2109.10915): 2-D maps and 3-D grids with their parameters.

Names: Maps_{field}_{suite}_{set}_z=0.00.npy, Grids_{field}_{suite}_{set}_{cells}_z=0.00.npy, params_{set}_{suite}.txt.
25 Mpc/h boxes, periodic, values linear. 15 maps of 5 Mpc/h slabs a simulation: map i has row i // 15 of the table.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import xarray as xr

from physgen.domains.cosmology.arrays import Options, make_ensemble, read_fields, read_npy, read_table
from physgen.errors import InputError

NAME = re.compile(
    r"(?P<shape>Maps|Grids)_(?P<prefix>[A-Za-z]+)_(?P<suite>(?:Nbody_)?[A-Za-z]+)_(?P<set>[A-Za-z0-9]+)"
    r"(?:_(?P<cells>\d+))?_z=(?P<redshift>[0-9.]+)\.npy"
)
MASS = ("Mgas", "HI", "Mcdm", "Mstar", "Mtot")
UNITS = {"T": "K", "P": "h^2 Msun/kpc^3 (km/s)^2", "B": "G", "Vgas": "km/s", "Vcdm": "km/s", "Z": "1", "MgFe": "1"}
PARAMETERS = ("Omega_m", "sigma_8", "A_SN1", "A_AGN1", "A_SN2", "A_AGN2")
MAPS_PER_SIMULATION = 15
SLAB_THICKNESS = 5.0  # Mpc/h
CRITICAL_DENSITY = 2.775e11  # (Msun/h)/(Mpc/h)^3
OPTIONS = ("params", "box_size", "simulations", "cells", "h")


def load_maps(paths: list[Path], options: dict[str, str]) -> xr.Dataset:
    """2-D maps: one Maps_*.npy (n, N, N) and its params file. Options: params, box_size, simulations, cells, h."""
    return _load(paths, Options("camels_maps", options, OPTIONS), "Maps")


def load_grids(paths: list[Path], options: dict[str, str]) -> xr.Dataset:
    """3-D grids: one Grids_*.npy (n, N, N, N), read through a memory map, and its params file. Options as for maps.

    ``simulations=N`` reads the first N alone, ``cells=M`` averages to M cells per side: both bound memory.
    """
    return _load(paths, Options("camels_grids", options, OPTIONS), "Grids")


def _load(paths: list[Path], options: Options, shape: str) -> xr.Dataset:
    path, name = _data_file(paths, shape)
    array = read_npy(path)
    dimension, each = (2, MAPS_PER_SIMULATION) if shape == "Maps" else (3, 1)
    if array.ndim != dimension + 1:
        raise InputError(
            f"{path} has shape {array.shape}; {shape} files have {dimension + 1} axes: use "
            f"{'camels_grids' if shape == 'Maps' else 'camels_maps'}, or npy for arrays of your own"
        )
    labels = _parameters(_params_file(path, name, paths, options), name, path, len(array), each)
    simulations = len(array) // each
    wanted = options.count("simulations", simulations)
    if wanted > simulations:
        raise InputError(f"simulations = {wanted} were asked for, {path} holds {simulations}: ask for fewer")
    array = array[: wanted * each]
    prefix = name["prefix"]
    kind = ("surface_density" if dimension == 2 else "density") if prefix in MASS else "positive"
    fields = read_fields(array, kind, dimension, path, options.count("cells"))
    labels = {parameter: np.repeat(column[:wanted], each) for parameter, column in labels.items()}
    if prefix in ("Mcdm", "Mtot"):
        _check_scale(float(fields.mean(dtype=np.float64)), labels["Omega_m"].mean(), dimension, path)
    attrs = {
        "redshift": float(name["redshift"]),
        "suite": name["suite"],
        "set": name["set"],
        "field_name": prefix,
        "field_long_name": f"CAMELS {prefix}",
        "Omega_b": 0.049,
        "h": 0.6711,
        "n_s": 0.9624,
    }
    if dimension == 2:
        attrs["slab_thickness"] = SLAB_THICKNESS
    if prefix not in MASS:
        attrs["field_units"] = UNITS.get(prefix, "1")
    box_size = options.length("box_size", "25 Mpc/h")
    return make_ensemble(fields, kind, box_size, labels, np.arange(len(fields)) // each, attrs)


def _data_file(paths: list[Path], shape: str) -> tuple[Path, re.Match]:
    data = [p for p in paths if p.suffix == ".npy"]
    if len(data) != 1:
        raise InputError(f"{len(data)} .npy files were given: import one {shape}_*.npy file at a time")
    match = NAME.fullmatch(data[0].name)
    if not match or match["shape"] != shape:
        raise InputError(
            f"{data[0].name} is not a name of this format, e.g. {shape}_Mcdm_IllustrisTNG_LH_"
            f"{'' if shape == 'Maps' else '128_'}z=0.00.npy: restore the name, or use the format npy"
        )
    return data[0], match


def _params_file(path: Path, name: re.Match, paths: list[Path], options: Options) -> Path:
    given = [p for p in paths if p.suffix == ".txt"]
    if options.text("params"):
        given = [Path(options.text("params"))]
    beside = [
        path.with_name(f"params_{name['set']}_{name['suite']}.txt"),
        path.with_name(f"params_{name['suite']}.txt"),
    ]
    for candidate in given or beside:
        if candidate.is_file():
            return candidate
    raise InputError(
        f"the parameters of {path.name} were not found ({(given or beside)[0]}): give the file, params={beside[0].name}"
    )


def _parameters(params: Path, name: re.Match, path: Path, fields: int, each: int) -> dict[str, np.ndarray]:
    table, _ = read_table(params, columns=(28,) if name["set"].startswith("SB28") else (6,))
    if fields != each * len(table):
        per = f" x {each} maps" if each > 1 else ""
        raise InputError(
            f"{params} has {len(table)} rows, {path} holds {fields} fields; they need {fields / each:g} rows{per}: "
            "give the params file of the same set and suite"
        )
    # the baryonic columns of an N-body suite are placeholders
    count = 2 if name["suite"].startswith("Nbody") else table.shape[1]
    names = [PARAMETERS[i] if i < 2 or table.shape[1] == 6 else f"parameter_{i + 1}" for i in range(count)]
    return {parameter: table[:, i] for i, parameter in enumerate(names)}


def _check_scale(mean: float, Omega_m: float, dimension: int, path: Path) -> None:
    expected = Omega_m * CRITICAL_DENSITY * (SLAB_THICKNESS if dimension == 2 else 1.0)
    if not 0.2 < mean / expected < 5:
        raise InputError(
            f"{path} has a mean of {mean:.3g}, matter of Omega_m = {Omega_m:.2g} gives {expected:.3g} "
            f"(Msun/h)/(Mpc/h)^{dimension}: the values are in other units or logarithmic, convert them to these"
        )
