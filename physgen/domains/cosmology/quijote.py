"""Quijote density fields (Villaescusa-Navarro et al., 1909.05273): cubes of delta, 2-D slices, BSQ counts.

Layout: {set}/{realisation}/df_m_{cells}_{CIC|PCS}_z={z}.npy (delta), df_z={z}.npy (2-D, mean over 5 of 256 cells),
df_m_CIC_z={z}.hdf5 with the data set ``df`` (particles per cell). Boxes of 1000 Mpc/h. Row i of
latin_hypercube_params.txt belongs to realisation i.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import xarray as xr

from physgen.domains.cosmology.arrays import Options, make_ensemble, read_fields, read_npy, read_table
from physgen.errors import InputError

NAME = re.compile(
    r"df(?P<cube>_m)?(?:_(?P<cells>\d+))?(?:_(?P<scheme>CIC|PCS|TSC|NGP))?_z=(?P<redshift>[0-9.]+)\.(npy|hdf5)"
)
COLUMNS = {
    5: ("Omega_m", "Omega_b", "h", "n_s", "sigma_8"),
    7: ("Omega_m", "Omega_b", "h", "n_s", "sigma_8", "M_nu", "w"),
}
FIDUCIAL = {"Omega_m": 0.3175, "Omega_b": 0.049, "h": 0.6711, "n_s": 0.9624, "sigma_8": 0.834}
SLICE_THICKNESS = 5 / 256  # of the box
OPTIONS = ("params", "box_size", "field_kind", "cells", "h")


def load(paths: list[Path], options: dict[str, str]) -> xr.Dataset:
    """Fields of any number of realisations, from files or from folders of them.

    Options: params (else a *params*.txt among the paths; without any the fiducial cosmology is meant and must be said
    by the folder's name), box_size (1000 Mpc/h), field_kind (delta, BSQ files: counts), cells (block average), h.
    """
    options = Options("quijote", options, OPTIONS)
    tables = [Path(options.text("params"))] if options.text("params") else [p for p in paths if p.suffix == ".txt"]
    files = _data_files([p for p in paths if p.suffix != ".txt"])
    names = [_parse_name(p) for p in files]
    if len({(bool(n["cube"]), n["redshift"], p.suffix) for n, p in zip(names, files, strict=True)}) != 1:
        raise InputError(f"{files[0].name} and others differ in dimension, redshift or type: import one kind at a time")
    dimension = 3 if names[0]["cube"] else 2
    kind = options.text("field_kind", "counts" if files[0].suffix == ".hdf5" else "delta")
    cells = options.count("cells")
    realisations = np.array([_realisation(p) for p in files])
    labels = _labels(tables, files, realisations)
    fields = []
    for path in files:
        array = _read_counts(path) if path.suffix == ".hdf5" else read_npy(path)
        if array.ndim != dimension:
            raise InputError(f"{path} has shape {array.shape}; its name says {dimension}-D: restore its own name")
        fields.append(read_fields(array[None], kind, dimension, path, cells)[0])
        if fields[-1].shape != fields[0].shape:
            raise InputError(
                f"{path} has {fields[-1].shape[0]} cells, {files[0]} has {fields[0].shape[0]}: use equal grids"
            )
    box_size = options.length("box_size", "1000 Mpc/h")
    attrs = {
        "redshift": float(names[0]["redshift"]),
        "mass_assignment": names[0]["scheme"] or "CIC",
        "suite": "Quijote",
    }
    if dimension == 2:
        attrs["slab_thickness"] = SLICE_THICKNESS * box_size
    return make_ensemble(np.stack(fields), kind, box_size, labels, realisations, attrs)


def _data_files(paths: list[Path]) -> list[Path]:
    found = []
    for path in paths:
        inside = sorted([*path.rglob("df*.npy"), *path.rglob("df*.hdf5")]) if path.is_dir() else [path]
        if not inside:
            raise InputError(
                f"{path} holds no density field (df_*.npy or df_*.hdf5): give the folder of the realisations"
            )
        found += inside
    if not found:
        raise InputError("no density field was given: name df_m_*.npy files or the folder of the realisations")
    return sorted(found, key=lambda p: (_realisation(p), str(p)))


def _parse_name(path: Path) -> re.Match:
    match = NAME.fullmatch(path.name)
    if not match:
        raise InputError(
            f"{path.name} is not a name of this format, e.g. df_m_128_CIC_z=0.npy: restore it, or use the format npy"
        )
    return match


def _realisation(path: Path) -> int:
    if not path.absolute().parent.name.isdigit():
        raise InputError(
            f"{path} must lie in a folder named after its realisation, e.g. latin_hypercube/17/{path.name}: "
            "restore the folders, or use the format npy with a labels file"
        )
    return int(path.absolute().parent.name)


def _labels(tables: list[Path], files: list[Path], realisations: np.ndarray) -> dict[str, np.ndarray]:
    if not tables:
        if all("fiducial" in p.absolute().parts for p in files):
            return {name: np.full(len(files), value) for name, value in FIDUCIAL.items()}
        raise InputError(
            "the parameters were not found: give latin_hypercube_params.txt, params=FILE (folder fiducial: none)"
        )
    table, names = read_table(tables[0], columns=COLUMNS)
    if realisations.max() >= len(table):
        raise InputError(
            f"{tables[0]} has {len(table)} rows, realisation {realisations.max()} needs row {realisations.max()}: "
            "give the params file of this set"
        )
    order = list(COLUMNS[table.shape[1]])
    if names and {_plain(n) for n in names} == {_plain(n) for n in order}:
        order = sorted(order, key=lambda n: [_plain(m) for m in names].index(_plain(n)))
    return {name: table[realisations, i] for i, name in enumerate(order)}


def _plain(name: str) -> str:
    return name.replace("_", "").lower()


def _read_counts(path: Path) -> np.ndarray:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            if "df" not in file:
                raise InputError(f"{path} has no data set 'df', found {sorted(file)}: this is no BSQ density file")
            return file["df"][...]
    except OSError as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"{path} cannot be read as HDF5 ({reason}): it is truncated or damaged, copy it again"
        ) from error
