"""Importers: from the files that cosmologists have to an ensemble. Options are strings, as the user types them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr

from physgen.domains.cosmology import camels, quijote
from physgen.domains.cosmology.arrays import Options, make_ensemble, read_fields, read_npy, read_table
from physgen.errors import InputError

OWN_OPTIONS = (
    "box_size", "labels", "field_kind", "dimension", "maps_per_simulation", "cells", "thickness", "redshift", "h"
)  # fmt: skip


def load(format: str, paths: list[Path], options: dict[str, str]) -> xr.Dataset:
    """Read ``paths`` in one of the formats; see the function of each for its options.

    Raises:
        InputError: unknown format or option, or any of the defects that the checks of ``arrays`` name.
    """
    readers = {
        "camels_maps": camels.load_maps,
        "camels_grids": camels.load_grids,
        "quijote": quijote.load,
        "npy": load_npy,
        "fits": load_fits,
    }
    if format not in readers:
        raise InputError(f"unknown format {format!r}; choose one of {', '.join(readers)}")
    return readers[format]([Path(p) for p in paths], options)


def load_npy(paths: list[Path], options: dict[str, str]) -> xr.Dataset:
    """Arrays of periodic fields: (n, N, N) maps, (n, N, N, N) boxes, (N, N) one map; several files are joined.

    Options:
        box_size: side of the box with its unit, needed ("25 Mpc/h"; "37 Mpc" needs h as well).
        labels: text file with a header line of names and one row per field or per simulation.
        field_kind: delta (default), counts, density, surface_density, positive or real.
        dimension: 3 reads an (N, N, N) array as one box.
        maps_per_simulation: consecutive fields that share a simulation, and a row of labels; default 1.
        cells: average down to so many cells per side. thickness, redshift: recorded. h: little h, for units.
    """
    options = Options("npy", options, OWN_OPTIONS)
    box_size = options.length("box_size")
    dimension = options.count("dimension", 0) if options.text("dimension") else None
    arrays = [(path, _with_samples(read_npy(path), dimension, path)) for path in paths if path.suffix != ".txt"]
    return _own_fields(arrays, paths, options, box_size)


def load_fits(paths: list[Path], options: dict[str, str]) -> xr.Dataset:
    """FITS primary images: NAXIS = 2 a map, NAXIS = 3 a box, one field a file. Options as for npy.

    FITS counts axes from the fastest: NAXIS1 is x. BOXSIZE (Mpc/h) and REDSHIFT of the first header are defaults.
    """
    from astropy.io import fits

    arrays, headers = [], []
    for path in (p for p in paths if p.suffix != ".txt"):
        try:
            with fits.open(path) as file:
                data, header = file[0].data, file[0].header
        except (OSError, TypeError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise InputError(
                f"{path} cannot be read as FITS ({reason}): it is truncated or of another format"
            ) from error
        if data is None or data.ndim not in (2, 3):
            raise InputError(f"{path} has no 2-D or 3-D image in its primary unit: move the field there")
        arrays.append((path, np.asarray(data, dtype=np.float32)[None]))
        headers.append(header)
    if not arrays:
        raise InputError("no FITS file was given: name at least one")
    known = {"box_size": "BOXSIZE", "redshift": "REDSHIFT"}
    found = {option: str(headers[0][key]) for option, key in known.items() if key in headers[0]}
    if "box_size" in found:
        found["box_size"] += " Mpc/h"
    parsed = Options("fits", {**found, **options}, OWN_OPTIONS)
    return _own_fields(arrays, paths, parsed, parsed.length("box_size"))


def _with_samples(array: np.ndarray, dimension: int | None, path: Path) -> np.ndarray:
    if dimension not in (None, 2, 3):
        raise InputError(f"dimension = {dimension} must be 2 or 3")
    if array.ndim == 2 or (array.ndim == 3 and dimension == 3):
        return array[None]
    if array.ndim not in (3, 4) or (dimension is not None and array.ndim != dimension + 1):
        raise InputError(f"{path} has shape {array.shape}; save (n, N, N) maps or (n, N, N, N) boxes")
    return array


def _own_fields(
    arrays: list[tuple[Path, np.ndarray]], paths: list[Path], options: Options, box_size: float
) -> xr.Dataset:
    if not arrays:
        raise InputError("no field was given: name at least one file")
    kind = str(options.text("field_kind", "delta"))
    shape = arrays[0][1].shape[1:]
    for path, array in arrays:
        if array.shape[1:] != shape:
            raise InputError(
                f"{path} has fields of shape {array.shape[1:]}, {arrays[0][0]} of {shape}: use equal grids"
            )
    cells = options.count("cells")
    fields = np.concatenate([read_fields(array, kind, len(shape), path, cells) for path, array in arrays])
    each = options.count("maps_per_simulation", 1)
    if len(fields) % each:
        raise InputError(f"maps_per_simulation = {each} does not divide the {len(fields)} fields: check both")
    labels = _own_labels(paths, options, len(fields), each)
    attrs = {"redshift": options.number("redshift"), "h": options.number("h")}
    attrs = {name: value for name, value in attrs.items() if value is not None}
    if options.text("thickness"):
        attrs["slab_thickness"] = options.length("thickness")
    return make_ensemble(fields, kind, box_size, labels, np.arange(len(fields)) // each, attrs)


def _own_labels(paths: list[Path], options: Options, fields: int, each: int) -> dict[str, np.ndarray]:
    files = [Path(options.text("labels"))] if options.text("labels") else [p for p in paths if p.suffix == ".txt"]
    if not files:
        return {}
    table, names = read_table(files[0])
    if not names:
        raise InputError(
            f"{files[0]} needs a first line that names its {table.shape[1]} columns, e.g. '# Omega_m sigma_8'"
        )
    reserved = {"field", "simulation", "sample", "x", "y", "z"} & set(names)
    if reserved:
        raise InputError(f"{files[0]} names a label {sorted(reserved)[0]!r}, which has another meaning: rename it")
    if len(table) not in (fields, fields // each):
        raise InputError(
            f"{files[0]} has {len(table)} rows for {fields} fields of {fields // each} simulations: "
            "give one row per field or per simulation"
        )
    repeat = fields // len(table)
    return {name: np.repeat(table[:, i], repeat) for i, name in enumerate(names)}
