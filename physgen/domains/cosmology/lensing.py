"""Convergence maps of two public sets: MassiveNuS and kappaTNG. Patches of the sky: angles, and not periodic.

MassiveNuS (Liu et al. 2018, 1711.10524): 512^2 maps of 3.5 deg, 10,000 realisations of each cosmology,
``convergence_6redshifts_mnv{M}_om{Om}_As{1e9 As}/Maps{10 z}/WLconv_z{z}_{r}r.fits``. kappaTNG (Osato, Liu & Haiman
2021, 2010.09731): 1024^2 maps of 5 deg, 40 source planes; data sets ``z01/kappa`` to ``z40/kappa`` of
``LP{i}_run{j}_maps.hdf5``, before April 2024 records int32 n, float64 (n, n), int32 n in ``kappa{plane}.dat``.

Units: the maps of one realisation number (MassiveNuS: in all cosmologies), of one set of lens planes (kappaTNG: the
number after LP, where there are several) are not independent. All realisations come from one simulation box each.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from physgen.domains.cosmology.fits_images import read_fits
from physgen.domains.cosmology.options import Options
from physgen.domains.cosmology.own_fields import load_sources
from physgen.domains.cosmology.sources import Source, kind_of_file, natural_key, open_hdf5, read_dataset
from physgen.errors import InputError

NUS_FOLDER = re.compile(r"mnv(?P<M_nu>[\d.]+)_om(?P<Omega_m>[\d.]+)_As(?P<A_s>[\d.]+)")
NUS_FILE = re.compile(r"WLconv_z(?P<z>[\d.]+)_(?P<realisation>\d+)r\.fits(?:\.gz)?")
KTNG_FILE = re.compile(r"LP(?P<planes>\d+)_run(?P<run>\d+)_maps\.hdf5|kappa(?P<plane>\d+)\.dat")
KTNG_FOLDERS = re.compile(r"(?:LP(?P<planes>\d+)/)?run(?P<run>\d+)$")
OPTIONS = ("source_redshift", "realisations", "cells", "box_size", "field_kind")
KTNG_REDSHIFTS = (  # zs.dat of 0satoken/kappaTNG, planes 1 to 40
    # plane 23: 1.034093; an older page of that repository called it 1.023
    0.034467, 0.069515, 0.105182, 0.14151, 0.178545, 0.216332, 0.254921, 0.294363, 0.334713, 0.376027,
    0.418368, 0.461799, 0.506387, 0.552205, 0.599329, 0.647838, 0.697818, 0.749361, 0.802561, 0.857522,
    0.914352, 0.973168, 1.034093, 1.09726, 1.162811, 1.230896, 1.301678, 1.37533, 1.45204, 1.532007,
    1.615449, 1.702597, 1.793703, 1.889038, 1.988896, 2.093596, 2.203481, 2.318928, 2.440344, 2.568175,
)  # fmt: skip
HIGHEST = 20.0  # of a convergence behind a cluster; a map in other units exceeds it
Files = list[tuple[Path, dict[str, float]]]  # a file and what its names say


def load_massive_nus(paths: list[Path], options: dict[str, str]) -> xr.Dataset:
    """Maps of one source redshift, from files or folders; M_nu (eV), Omega_m and A_s of the folders are labels.

    Options: source_redshift (needed where there are several), realisations=N (the first N of each cosmology), cells
    (block average), box_size (3.5 deg).
    """
    found = []
    for path in _files(paths, NUS_FILE, "*.fits*"):
        match = NUS_FILE.fullmatch(path.name)
        folder = next((m for part in reversed(path.absolute().parts) if (m := NUS_FOLDER.search(part))), None)
        if match is None or folder is None:
            raise InputError(
                f"{path} must lie in a folder that names its cosmology, convergence_6redshifts_mnv0.10000_om0.30000_"
                "As2.1000/Maps10/WLconv_z1.00_0001r.fits: restore the names, or use the format fits with labels"
            )
        labels = {name: float(value) for name, value in folder.groupdict().items()}
        said = {"z": float(match["z"]), "simulation": float(match["realisation"])}
        found.append((path, {**labels, "A_s": labels["A_s"] * 1e-9, **said}))

    def read(path: Path) -> np.ndarray:
        source = read_fits(path, None)
        return source.array

    return _load("massive_nus", found, options, "3.5 deg", read)


def load_ktng(paths: list[Path], options: dict[str, str]) -> xr.Dataset:
    """Maps of one source plane, from files or folders. Options as for massive_nus; box_size is 5 deg.

    source_redshift takes the plane at that redshift (within 0.005 of those of ``zs.dat``), all files must be of one
    version (fullphys or dmonly).
    """
    found = []
    for path in _files(paths, KTNG_FILE, "*"):
        match = KTNG_FILE.fullmatch(path.name)
        assert match is not None
        if match["plane"] is None:
            numbers = {"planes": float(match["planes"]), "run": float(match["run"])}
            found += [(path, {**numbers, "z": KTNG_REDSHIFTS[plane - 1]}) for plane in _planes(path)]
            continue
        folder = KTNG_FOLDERS.search(path.absolute().parent.as_posix())
        plane = int(match["plane"])
        if folder is None or not 1 <= plane <= len(KTNG_REDSHIFTS):
            raise InputError(f"{path} must lie in a folder of its run, LP001/run001/kappa23.dat: restore the names")
        said = {"planes": float(folder["planes"] or 1), "run": float(folder["run"])}
        found.append((path, {**said, "z": KTNG_REDSHIFTS[plane - 1]}))
    several = len({said["planes"] for _, said in found}) > 1
    units: Files = [(path, {"simulation": s["planes"] if several else s["run"], "z": s["z"]}) for path, s in found]

    def read(path: Path) -> np.ndarray:
        if kind_of_file(path) != "hdf5":
            return read_record(path)
        plane = KTNG_REDSHIFTS.index(min(KTNG_REDSHIFTS, key=lambda z: abs(z - chosen[0]))) + 1
        with open_hdf5(path) as file:
            return read_dataset(file[f"z{plane:02d}/kappa"], path)

    chosen: list[float] = []
    return _load("ktng", units, options, "5 deg", read, chosen)


def _load(
    format: str, files: Files, options: dict[str, str], side: str, read: Callable[[Path], np.ndarray],
    chosen: list[float] | None = None,
) -> xr.Dataset:  # fmt: skip
    """The maps of one source redshift, each with the labels of its names; ``chosen`` is told that redshift."""
    parsed = Options(format, {"box_size": side, "field_kind": "convergence", **options}, OPTIONS)
    redshift = _choose(sorted({said["z"] for _, said in files}), parsed.number("source_redshift"))
    kept = _first([(path, said) for path, said in files if said["z"] == redshift], parsed.count("realisations"))
    _check_versions([path for path, _ in kept])
    if chosen is not None:
        chosen.append(redshift)
    labels = {path: {n: v for n, v in said.items() if n != "z"} for path, said in kept}

    def source(path: Path) -> list[Source]:
        values = read(path)
        _check_convergence(values, path)
        return [Source(path, values[None], "", {}, labels[path])]

    plain = {"box_size": parsed.text("box_size", side), "field_kind": parsed.text("field_kind", "convergence")}
    plain |= {"order": "given", "dimension": "2"} | ({"cells": options["cells"]} if "cells" in options else {})
    ensemble = load_sources("fits", [path for path, _ in kept], Options(format, plain, tuple(plain)), source, False)
    note = f"{len(kept)} maps of source redshift {redshift:g}, units of errors: {len(set(ensemble.simulation.values))}"
    notes = "\n".join([note, *str(ensemble.attrs["import_notes"]).splitlines()[1:]])
    return ensemble.assign_attrs(source_redshift=redshift, suite=format, import_notes=notes)


def _files(paths: list[Path], name: re.Pattern[str], pattern: str) -> list[Path]:
    found: list[Path] = []
    for path in paths:
        inside = [p for p in path.rglob(pattern) if name.fullmatch(p.name)] if path.is_dir() else [path]
        strange = [p for p in inside if not name.fullmatch(p.name)]
        if strange or not inside:
            raise InputError(f"{strange[0] if strange else path} is no map of this set by its name: restore the names")
        found += sorted(inside, key=natural_key)
    return list(dict.fromkeys(found))


def _planes(path: Path) -> list[int]:
    with open_hdf5(path) as file:
        planes = [int(name[1:]) for name in file if re.fullmatch(r"z\d\d", name) and "kappa" in file[name]]
        if not planes or max(planes) > len(KTNG_REDSHIFTS):
            raise InputError(f"{path} has no data sets z01/kappa ... z40/kappa, found {', '.join(file)}: copy it again")
        return planes


def _choose(redshifts: list[float], wanted: float | None) -> float:
    if wanted is None and len(redshifts) == 1:
        return redshifts[0]
    listed = ", ".join(f"{z:g}" for z in redshifts)
    if wanted is None:
        raise InputError(f"there are maps of source redshifts {listed}: choose one, source_redshift={redshifts[0]:g}")
    nearest = min(redshifts, key=lambda z: abs(z - wanted))
    if abs(nearest - wanted) > 0.005 * (1 + wanted):
        raise InputError(f"source_redshift = {wanted:g}: there are maps of {listed}")
    return nearest


def _first(files: Files, count: int | None) -> Files:
    """The first ``count`` realisations of each cosmology."""
    if count is None:
        return files
    groups: dict[Any, Files] = {}
    for path, said in files:
        groups.setdefault(tuple(v for n, v in said.items() if n != "simulation"), []).append((path, said))
    return [one for group in groups.values() for one in sorted(group, key=lambda f: natural_key(f[0]))[:count]]


def _check_versions(paths: list[Path]) -> None:
    versions = {word for path in paths for word in path.absolute().parts if re.search("fullphys|dmonly|kappaTNG", word)}
    if len({("dark" in word.lower() or "dmonly" in word) for word in versions if word != "kappaTNG"}) > 1:
        raise InputError(f"the files are of the versions {', '.join(sorted(versions))}: import one at a time")


def read_record(path: Path) -> np.ndarray:
    """A map (n, n) of a Fortran record: int32 n, float64 values, int32 n."""
    size = path.stat().st_size
    head = np.fromfile(path, "<i4", 1)
    cells = int(head[0]) if len(head) else 0
    if cells < 1 or size != 8 + 8 * cells**2:
        raise InputError(f"{path} holds {size} bytes, a map of {cells}^2 cells has {8 + 8 * cells**2}: copy it again")
    values = np.fromfile(path, "<f8", cells**2, offset=4)
    if int(np.fromfile(path, "<i4", 1, offset=4 + 8 * cells**2)[0]) != cells:
        raise InputError(f"{path} does not end with the number it begins with, {cells}: it is damaged, copy it again")
    return values.reshape(cells, cells)


def _check_convergence(values: np.ndarray, path: Path) -> None:
    """A convergence is negative where there is less matter than on average, and of order one at most."""
    low, high = float(values.min()), float(values.max())
    if values.ndim != 2 or values.shape[0] != values.shape[1]:
        raise InputError(f"{path} has shape {values.shape}: the maps of this set are squares, copy it again")
    if not (np.isfinite(low + high) and low < 0 < high < HIGHEST and low > -1):
        raise InputError(f"{path} holds values from {low:.4g} to {high:.4g}: no convergence, copy it again")
