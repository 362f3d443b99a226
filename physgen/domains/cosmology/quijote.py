"""Quijote density fields (Villaescusa-Navarro et al., 1909.05273): cubes of delta, 2-D slices, BSQ counts.

Layout: {set}/{realisation}/df_m_{cells}_{CIC|PCS}_z={z}.npy (delta), df_z={z}.npy (2-D, mean over 5 of 256 cells),
df_m_CIC_z={z}.hdf5 with the data set ``df`` (particles per cell). Boxes of 1000 Mpc/h. Row i of the table of a set
belongs to its realisation i. Folders NCV_0_i and NCV_1_i are paired fixed simulations. Sets of one fixed cosmology
(fiducial, Om_p, ...) need no table; realisation i has the same initial seed in all of them.
Cubes are [x, y, z] in the files (Pylians) and become (z, y, x), as those that are painted from particles.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr

from physgen.domains.cosmology.arrays import make_ensemble, read_fields
from physgen.domains.cosmology.kinds import KINDS, confront, parse_kind
from physgen.domains.cosmology.labels import Joined, Origin
from physgen.domains.cosmology.options import Options
from physgen.domains.cosmology.own_fields import finish
from physgen.domains.cosmology.quijote_sets import EXTENDED, FIDUCIAL, fixed_labels, set_labels
from physgen.domains.cosmology.sources import natural_key, open_hdf5, read_dataset, read_npy
from physgen.domains.cosmology.tables import Table, is_table, read_table
from physgen.ensemble.scratch import scratch_array
from physgen.errors import InputError

NAME = re.compile(
    r"df(?P<cube>_m)?(?:_(?P<cells>\d+))?(?:_(?P<scheme>CIC|PCS|TSC|NGP))?_z=(?P<redshift>[0-9.]+)\.(npy|hdf5)"
)
REALISATION = re.compile(r"(?:NCV_(?P<pair>[01])_)?(?P<number>\d+)")
SLICE_THICKNESS = 5 / 256  # of the box
OPTIONS = ("params", "box_size", "field_kind", "cells", "h", "grid", "scheme", "redshift", "set")


@dataclass(frozen=True)
class Cube:
    """One file and what its name and its folders say."""

    path: Path
    set: str
    realisation: int
    pair: int | None  # 0 or 1 of a paired fixed simulation, None for a standard one
    dimension: int
    cells: int | None
    scheme: str
    redshift: float


def load(paths: list[Path], options: dict[str, str]) -> xr.Dataset:
    """Fields of any number of realisations, from files or from folders of them.

    Options: params (else a table among the paths; sets of one fixed cosmology have none), box_size (1000 Mpc/h),
    field_kind (delta, BSQ files: counts), cells (block average), h; grid=128, scheme=CIC, redshift=0, set=fiducial
    choose among the files of a folder that holds several.
    """
    chosen = Options("quijote", options, OPTIONS)
    params = chosen.text("params")
    tables = [Path(params)] if params else [p for p in paths if is_table(p)]
    cubes = _choose([_cube(path) for path in _data_files([p for p in paths if not is_table(p)])], chosen)
    _check_one_kind(cubes)
    first = cubes[0]
    counts = first.path.suffix == ".hdf5"
    typed = parse_kind(chosen.text("field_kind", "counts" if counts else "delta"))
    labels, notes = _labels([read_table(t) for t in tables], cubes)
    fields = _read(cubes, typed, chosen.count("cells"))
    realisations = np.array([cube.realisation for cube in cubes])
    given = {"mass_assignment": first.scheme}
    kind = confront(fields, KINDS[typed], realisations, _span(cubes), given)
    box = chosen.box("box_size", "1000 Mpc/h")
    attrs = {"redshift": first.redshift, "mass_assignment": first.scheme, "suite": "Quijote", "set": _sets(cubes)}
    if first.pair is not None:
        attrs["initial_conditions"] = "paired fixed: the two members of a pair count as one simulation"
    if first.dimension == 2:
        attrs["slab_thickness"] = SLICE_THICKNESS * box.sides[0]
    if first.cells and chosen.count("cells") is None and fields.shape[-1] != first.cells:
        notes.append(f"the names say {first.cells} cells, the arrays have {fields.shape[-1]}")
    order = [f"{cube.path.parent.parent.name}/{cube.path.parent.name}" for cube in cubes]
    shown = ", ".join(order if len(order) <= 12 else [*order[:6], "...", *order[-2:]])
    notes = [f"order of the {len(cubes)} realisations: {shown}", *notes]
    ensemble = make_ensemble(fields, kind, box, labels, realisations, attrs)
    origins = [Origin(cube.path, 0, 1) for cube in cubes]
    ensemble = finish(ensemble, origins, Joined(labels, realisations), notes)
    names = np.array([f"{place}/{cube.path.name}" for place, cube in zip(order, cubes, strict=True)])
    return ensemble.assign(source=("sample", names, ensemble["source"].attrs))


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
    return sorted(dict.fromkeys(found), key=natural_key)


def _cube(path: Path) -> Cube:
    match = NAME.fullmatch(path.name)
    if not match:
        raise InputError(
            f"{path.name} is not a name of this format, e.g. df_m_128_CIC_z=0.npy: restore it, or use the format npy"
        )
    folder = path.absolute().parent
    realisation = REALISATION.fullmatch(folder.name)
    if not realisation:
        raise InputError(
            f"{path} must lie in a folder named after its realisation, e.g. latin_hypercube/17/{path.name}: "
            "restore the folders, or use the format npy with a labels file"
        )
    return Cube(
        path=path,
        set=folder.parent.name,
        realisation=int(realisation["number"]),
        pair=None if realisation["pair"] is None else int(realisation["pair"]),
        dimension=3 if match["cube"] else 2,
        cells=None if match["cells"] is None else int(match["cells"]),
        scheme=match["scheme"] or "CIC",
        redshift=float(match["redshift"]),
    )


def _choose(cubes: list[Cube], options: Options) -> list[Cube]:
    grid, redshift = options.count("grid"), options.number("redshift")
    wanted = {"cells": grid, "scheme": options.text("scheme"), "redshift": redshift, "set": options.text("set")}
    wanted = {name: value for name, value in wanted.items() if value is not None}
    chosen = [cube for cube in cubes if all(getattr(cube, name) == value for name, value in wanted.items())]
    if not chosen:
        raise InputError(
            f"no file has {', '.join(f'{n} {v}' for n, v in wanted.items())}: check grid, scheme, redshift, set"
        )
    return sorted(chosen, key=lambda cube: (natural_key(cube.set), cube.realisation, cube.pair or 0, str(cube.path)))


def _check_one_kind(cubes: list[Cube]) -> None:
    """Refuse files that differ in what a set of samples must share, and two files of one realisation."""
    for attribute, said, remedy in (
        ("dimension", "dimension", "import one kind at a time"),
        ("redshift", "redshift", "choose with redshift=Z"),
        ("cells", "grid", "choose with grid=N"),
        ("scheme", "mass assignment", "choose with scheme=CIC"),
    ):
        _same(cubes, operator.attrgetter(attribute), said, remedy)
    _same(cubes, lambda cube: cube.path.suffix, "type of file", "import one kind at a time")
    _same(cubes, lambda cube: cube.pair is None, "kind of initial conditions (NCV_ are paired fixed)", "name one kind")
    seen: dict[tuple, Cube] = {}
    for cube in cubes:
        key = (cube.set, cube.realisation, cube.pair)
        if key in seen:
            raise InputError(
                f"{seen[key].path} and {cube.path} are the same realisation {cube.realisation} of {cube.set}: "
                "two files of one simulation are not two samples, name one of them"
            )
        seen[key] = cube


def _same(cubes: list[Cube], value: Callable[[Cube], object], said: str, remedy: str) -> None:
    other = next((cube for cube in cubes if value(cube) != value(cubes[0])), None)
    if other is not None:
        raise InputError(f"{cubes[0].path} and {other.path} differ in {said}: {remedy}")


def _labels(tables: list[Table], cubes: list[Cube]) -> tuple[dict[str, np.ndarray], list[str]]:
    if len(tables) > 1:
        raise InputError(f"{tables[0].path} and {tables[1].path} are both tables: give the one of this set")
    sets = list(dict.fromkeys(cube.set for cube in cubes))
    found = {name: fixed_labels(name) for name in sets}
    fixed = {name: labels for name, labels in found.items() if labels is not None}
    if not tables:
        unknown = [name for name in sets if name not in fixed]
        if unknown:
            raise InputError(
                f"the parameters were not found for {unknown[0]}: give latin_hypercube_params.txt, params=FILE "
                "(sets of one cosmology, such as the folder fiducial: none)"
            )
        names = list(dict.fromkeys(name for labels in fixed.values() for name in labels))
        rows = [fixed[cube.set] for cube in cubes]
        columns = {name: np.array([row[name] for row in rows]) for name in names}
        kept = {n: c for n, c in columns.items() if n in FIDUCIAL or np.ptp(c) or c[0] != EXTENDED[n]}
        return kept, [f"labels of {', '.join(sets)}: the fixed cosmology of each set"]
    if fixed:
        first, labels = next(iter(fixed.items()))
        raise InputError(
            f"{first} has one fixed cosmology ({_spell(labels)}), {tables[0].path} another for each row: "
            "leave out the table, or choose the files of its set with set=latin_hypercube"
        )
    if len(sets) > 1:
        raise InputError(f"{cubes[0].path} and others belong to the sets {', '.join(sets)}: import one set at a time")
    return set_labels(tables[0], sets[0], np.array([cube.realisation for cube in cubes]))


def _spell(labels: dict[str, float]) -> str:
    return ", ".join(f"{name} = {labels[name]:g}" for name in ("Omega_m", "sigma_8"))


def _sets(cubes: list[Cube]) -> str:
    return ", ".join(dict.fromkeys(cube.set for cube in cubes))


def _span(cubes: list[Cube]) -> str:
    return str(cubes[0].path) + (f" ... {cubes[-1].path}" if len(cubes) > 1 else "")


def _read(cubes: list[Cube], typed: str, cells: int | None) -> np.ndarray:
    fields = None
    bound = "positive" if typed == "1+delta" else KINDS[typed]
    for i, cube in enumerate(cubes):
        path = cube.path
        array = _read_counts(path) if path.suffix == ".hdf5" else read_npy(path)
        if array.ndim != cube.dimension:
            raise InputError(f"{path} has shape {array.shape}; its name says {cube.dimension}-D: restore its own name")
        if len(set(array.shape)) != 1:
            raise InputError(f"{path} has shape {array.shape}; Quijote fields are cubes (squares): copy it again")
        one = read_fields(array[None], bound, cube.dimension, path, cells)[0]
        if fields is None:
            fields = scratch_array((len(cubes), *one.shape), np.float32)
        if one.shape != fields.shape[1:]:
            raise InputError(
                f"{path} has {one.shape[0]} cells, {cubes[0].path} has {fields.shape[1]} cells: use equal grids"
            )
        axes = one.T if cube.dimension == 3 else one  # [x, y, z] as z, y, x
        fields[i] = axes - 1 if typed == "1+delta" else axes
    assert fields is not None
    return fields


def _read_counts(path: Path) -> np.ndarray:
    with open_hdf5(path) as file:
        if "df" not in file:
            raise InputError(f"{path} has no data set 'df', found {sorted(file)}: this is not a BSQ density file")
        return read_dataset(file["df"], path)
