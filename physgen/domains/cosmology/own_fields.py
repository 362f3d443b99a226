"""The user's own fields, in .npy, .npz, .pt, HDF5 or FITS: box and kind are stated by the user or by the file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from physgen.domains.cosmology.arrays import check_square, coarse_grid, make_ensemble, read_fields, serves_as_it_is
from physgen.domains.cosmology.facts import Facts, settle_facts
from physgen.domains.cosmology.fits_images import has_units, read_fits
from physgen.domains.cosmology.inner_tables import read_inner_table
from physgen.domains.cosmology.kinds import KINDS, confront, mean_note
from physgen.domains.cosmology.labels import Joined, Origin, confront_labels, join, order_note, own_table, source_names
from physgen.domains.cosmology.layout import arrange
from physgen.domains.cosmology.masks import coarse_mask, read_mask, whole_mask
from physgen.domains.cosmology.options import Options
from physgen.domains.cosmology.sources import Source, kind_of_file, natural_key, read_arrays, read_hdf5
from physgen.domains.cosmology.tables import Table, is_table, read_table
from physgen.ensemble.scratch import scratch_array
from physgen.errors import InputError

OPTIONS = (
    "box_size", "labels", "field_kind", "dimension", "maps_per_simulation", "cells", "thickness", "redshift", "h",
    "components", "channels", "periodic", "mask", "units", "mass_assignment", "order", "source_redshift",
    "redshift_space", "number_density",
)  # fmt: skip
SUFFIXES = {
    "npy": (".npy", ".npz", ".pt", ".pth"),
    "hdf5": (".hdf5", ".h5", ".hdf", ".he5"),
    "fits": (".fits", ".fit", ".fz", ".gz"),
    "the_well": (".hdf5", ".h5"),
}


def load_arrays(paths: list[Path], options: dict[str, str]) -> xr.Dataset:
    """Arrays in .npy, .npz or .pt: (n, N, N) maps, (n, N, N, N) boxes, (N, N) one map; several files are joined.

    Options, each as text:

    - box_size: side of the box with its unit, needed ("25 Mpc/h"; "37 Mpc" needs h as well; "3.5 deg" for a map of
      the sky); one per axis in the order of the array, separated by commas, where they differ.
    - labels: table with a header of names and one row per field or per simulation; a column ``file`` or
      ``simulation`` joins by name. Tables among the paths (.txt, .csv) are meant too, and in .npz, .pt and HDF5
      arrays of the file itself: ``labels=Omega_m,sigma_8``, or one array (rows, columns) with its column names.
    - field_kind: delta, counts, density, surface_density, positive, real, convergence, or 1+delta (1 is subtracted);
      without it the fields must be density contrasts beyond doubt. One per component, separated by commas.
    - dimension: 2 or 3, where a shape has two readings: (N, N, N) is one box or a stack of maps.
    - components: names of the fields along an axis of components, or of the files; channels: first or last.
    - data: names of the arrays in an .npz or a .pt; several become components.
    - maps_per_simulation: consecutive fields that share a simulation, and a row of labels; default 1.
    - cells: average down to so many cells on the longest side. h: little h, for units.
    - thickness, redshift, source_redshift, redshift_space, number_density ((h/Mpc)^3 of the particles): recorded.
    - periodic: no for maps whose opposite sides do not touch (angular maps are not unless it says yes).
    - mask: .npy of 1 where the field was seen, 0 elsewhere; ``nan`` takes the cells that are not numbers.
    - units: of the values. mass_assignment: CIC, PCS, ...: recorded. order: given keeps the order of the command.
    """
    parsed = Options("npy", options, (*OPTIONS, "data"))
    return load_sources("npy", paths, parsed, lambda path: read_arrays(path, parsed.names("data")))


def load_hdf5(paths: list[Path], options: dict[str, str]) -> xr.Dataset:
    """Data sets of HDF5 files, ``data=maps/Mcdm``; several, separated by commas, are components. Options as for npy.

    Attributes of the data set or the file (units, box_size with its unit, redshift) are defaults and are confronted
    with the options.
    """
    parsed = Options("hdf5", options, (*OPTIONS, "data"))
    return load_sources("hdf5", paths, parsed, lambda path: read_hdf5(path, parsed.names("data")))


def load_fits(paths: list[Path], options: dict[str, str]) -> xr.Dataset:
    """FITS images, compressed or not: NAXIS = 2 a map, NAXIS = 3 a box, one field a file. Options as for npy.

    FITS counts axes from the fastest: NAXIS1 is x. ``extension`` names the unit of the file; several ``components``
    that are units of it are read from there. BOXSIZE (Mpc/h unless its comment has a unit), CDELT with CUNIT, REDSHIFT
    and BUNIT of the headers are defaults and confronted with the options; OMEGAM, SIGMA8, ... are labels.
    """
    parsed = Options("fits", options, (*OPTIONS, "extension"))

    def read(path: Path) -> list[Source]:
        names = parsed.names("components")
        inside = len(names) > 1 and "extension" not in parsed and has_units(path, names)
        found = [read_fits(path, name) for name in (names if inside else [parsed.text("extension")])]
        return [replace(one, array=_fits_samples(one, parsed.count("dimension"))) for one in found]

    return load_sources("fits", paths, parsed, read)


def _fits_samples(found: Source, dimension: int | None) -> np.ndarray:
    """An image with an axis of samples: NAXIS = 3 is a box if its sides are equal or the user says so, else asked."""
    array = found.array
    if array.ndim == 3 and dimension == 2:
        return array
    if array.ndim == 3 and dimension is None and len(set(array.shape)) > 1:
        raise InputError(
            f"{found} has shape {array.shape}: a box of unequal sides is dimension=3 with one box_size per axis, a "
            f"stack of {array.shape[0]} maps is dimension=2; boxes of one box_size must be square (cubic)"
        )
    if array.ndim == 2 and dimension == 3:
        raise InputError(f"{found} has shape {array.shape}, which is not a box: leave out dimension=3")
    return array[None]


def load_sources(format: str, paths: list[Path], options: Options, read: Any, sort: bool = True) -> xr.Dataset:
    """The ensemble of the arrays that ``read`` (a file -> its sources) finds in the files of a format.

    ``sort`` False: ``paths`` are the data files in their order, with no folder and no table among them.
    """
    if "box_size" in options:
        options.box()
    files = _data_files(paths, format, options.choice("order", ("natural", "given"), "natural")) if sort else paths
    named = [read(path) for path in files]
    own = own_table([parts[0] for parts in named])
    beside = _table(paths, options, files) if sort else None
    table = beside or own
    sources = [source for parts in named for source in parts]
    facts = settle_facts(options, sources, format)
    parts = [source.part for source in named[0]] if len(named[0]) > 1 else options.names("data")
    names = options.names("components") or parts
    arrays, origins = _arranged(named, options, names, table)
    components = _component_names(arrays, names)
    mask = whole_mask(read_mask(options.text("mask")), arrays)
    values, kinds = _values(arrays, sources, facts, options, mask)
    mask = coarse_mask(mask, arrays[0][0].shape[2:], options.count("cells"))
    each = options.count("maps_per_simulation", 1)
    if len(values) % each:
        raise InputError(f"maps_per_simulation = {each} does not divide the {len(values)} fields: check both")
    joined = join(table, origins, each)
    if beside and own:
        confront_labels(joined.labels, own)
    given = {
        "mass_assignment": options.text("mass_assignment"),
        "units": options.text("units") or facts.units[0],
        "periodic": facts.periodic,
        "angular": facts.box.units == "deg",
    }
    seen = slice(None) if mask is None or mask.ndim != values.ndim - 2 else mask.astype(bool)
    confronted = [
        confront(values[:, c][:, seen] if mask is not None else values[:, c], k, joined.simulation, s, given)
        for c, (k, s) in enumerate(zip(kinds, _named_sources(sources, arrays), strict=True))
    ]
    notes = [order_note(files), *facts.notes, *joined.notes]
    notes += [
        mean_note(values[:, c], joined.simulation)
        for c, (kind, said) in enumerate(zip(confronted, facts.kinds, strict=False))
        if kind == "delta" and said is None and mask is None
    ]
    if facts.box.units == "deg" and facts.kinds == [None] and confronted == ["real"]:
        notes.append(
            "an angular map without a field_kind is taken as it is (real); give field_kind=convergence or delta"
        )
    attrs = _attrs(options, facts)
    ensemble = make_ensemble(
        values if components else values[:, 0],
        confronted,
        facts.box,
        joined.labels,
        joined.simulation,
        attrs,
        components,
    )
    return finish(ensemble, origins, joined, notes, mask)


def finish(
    ensemble: xr.Dataset, origins: list[Origin], joined: Joined, notes: list[str], mask: np.ndarray | None = None
) -> xr.Dataset:
    """The ensemble with ``source``, seeds, mask and ``import_notes``."""
    described = {"long_name": "file and place in it", "units": "1"}
    ensemble = ensemble.assign(source=("sample", np.array(source_names(origins)), described))
    for name, column in joined.seeds.items():
        seed = {"long_name": "seed of the initial conditions", "units": "1"}
        ensemble[name] = ("sample", column.astype(np.int64), seed)
    if mask is not None:
        space = tuple(d for d in ensemble["field"].dims if d not in ("sample", "component"))
        dims = space if mask.ndim == len(space) else ("sample", *space)
        ensemble["mask"] = (dims, mask, {"long_name": "1 where the field was seen", "units": "1"})
    return ensemble.assign_attrs(import_notes="\n".join(note for note in notes if note))


def _data_files(paths: list[Path], format: str, order: str) -> list[Path]:
    found = []
    for path in paths:
        if path.is_dir():
            inside = [p for p in path.iterdir() if p.suffix.lower() in SUFFIXES[format]]
            if not inside:
                raise InputError(f"{path} holds no {'/'.join(SUFFIXES[format])} file: name the files themselves")
            found += sorted(inside, key=natural_key)
        elif not is_table(path):
            found.append(path)
    if not found:
        raise InputError("no field was given: name at least one file")
    return sorted(found, key=natural_key) if order == "natural" else found


def _table(paths: list[Path], options: Options, files: list[Path]) -> Table | None:
    named = options.text("labels")
    if named and not Path(named).exists() and len(files) == 1 and kind_of_file(files[0]) in ("hdf5", "npz", "pt"):
        return read_inner_table(files[0], options.names("labels"))
    beside = [path for path in paths if is_table(path)]
    if named and [p for p in beside if p.resolve() != Path(named).resolve()]:
        raise InputError(f"labels={named} and {beside[0]} were both given: give one table")
    if len(beside) > 1:
        raise InputError(f"{beside[0]} and {beside[1]} are both tables: give one, labels=FILE")
    return read_table(Path(named)) if named else read_table(beside[0]) if beside else None


def _arranged(
    named: list[list[Source]], options: Options, names: list[str], table: Table | None
) -> tuple[list[list[Any]], list[Origin]]:
    """Arrays (n, C, *grid), by file and by part of it, and the origin of each field of the joined files."""
    dimension = options.count("dimension")
    channels = options.choice("channels", ("first", "last"))
    parts = len(named[0])
    per_file = len(names) if parts == 1 and len(names) > 1 and len(named) != len(names) else 0
    if parts == 1 and 1 < len(names) == len(named):
        named, parts = [[source for sources in named for source in sources]], len(names)
    arrays, origins = [], []
    for sources in named:
        views = []
        for source in sources:
            rows = source.array.shape[0] if source.array.ndim else 0
            projected = options.text("field_kind") == "surface_density"  # of a map, never of a box
            settled = projected or "maps_per_simulation" in options or (table is not None and len(table) == rows > 1)
            views.append(arrange(source.array, dimension, channels, per_file, settled, source))
        if parts > 1 and len({view.shape for view in views}) > 1:
            raise InputError(
                f"{sources[0]} and {sources[1]} have shapes {views[0].shape} and {views[1].shape}: use equal grids"
            )
        arrays.append(views)
        origins += [Origin(sources[0].path, i, len(views[0])) for i in range(len(views[0]))]
    first = arrays[0][0]
    for views, sources in zip(arrays, named, strict=True):
        if views[0].shape[1:] != first.shape[1:]:
            raise InputError(
                f"{sources[0]} has fields of shape {views[0].shape[2:]}, {named[0][0]} of {first.shape[2:]}: "
                "use equal grids"
            )
    return arrays, origins


def _component_names(arrays: list[list[Any]], names: list[str]) -> list[str]:
    count = sum(view.shape[1] for view in arrays[0])
    if count == 1:
        return []
    if len(names) not in (0, count):
        raise InputError(f"{len(names)} components were named, the files hold {count}: name each, components=A,B,...")
    names = names or [str(c) for c in range(count)]
    return [name.strip("/").replace("/", "_") for name in names]


def _named_sources(sources: list[Source], arrays: list[list[Any]]) -> list[str]:
    """What to call each component in a message: its file, with the part where there are several."""
    count = sum(view.shape[1] for view in arrays[0])
    if len(arrays[0]) == count:
        return [str(source) for source in sources[:count]]
    return [str(sources[0]) + (f" (component {c})" if count > 1 else "") for c in range(count)]


def _values(
    arrays: list[list[Any]], sources: list[Source], facts: Facts, options: Options, mask: np.ndarray | None
) -> tuple[np.ndarray, list[str | None]]:
    r"""Checked fields (n, C, \*grid) float32, and the kind of each component or None."""
    cells, grid = options.count("cells"), arrays[0][0].shape[2:]
    check_square(grid, facts.box, sources[0])
    facts.box.of(len(grid), sources[0])
    count = sum(view.shape[1] for view in arrays[0])
    typed = facts.kinds * (count if len(facts.kinds) == 1 else 1)
    if len(typed) != count:
        raise InputError(f"field_kind names {len(facts.kinds)} kinds for {count} components: give one, or one for each")
    parts, start = len(arrays[0]), 0
    samples, coarse = sum(len(views[0]) for views in arrays), coarse_grid(grid, cells, sources[0])
    if len(arrays) == count == 1 and mask is None and typed[0] != "1+delta" and serves_as_it_is(arrays[0][0], cells):
        _column(arrays[0][0][:, 0], typed[0], sources[0], cells, None, None)
        return arrays[0][0], [KINDS[typed[0]] if typed[0] else None]
    values = scratch_array((samples, count, *coarse), np.float32)
    for f, views in enumerate(arrays):
        rows = slice(start, start + len(views[0]))
        seen = None if mask is None else mask if mask.ndim == len(grid) else mask[rows]
        columns = [(view[:, c], sources[f * parts + p]) for p, view in enumerate(views) for c in range(view.shape[1])]
        for c, ((array, source), kind) in enumerate(zip(columns, typed, strict=True)):
            _column(array, kind, source, cells, seen, values[rows, c])
        start = rows.stop
    return values, [KINDS[kind] if kind else None for kind in typed]


def _column(
    array: Any, typed: str | None, source: Source, cells: int | None, seen: np.ndarray | None, out: np.ndarray | None
) -> None:
    """Read one component of one file. A kind that is not stated has no bound yet; 1 + delta becomes delta."""
    if seen is not None:
        array = np.where(seen.astype(bool), array, 1.0 if typed == "1+delta" else 0.0)
    bound = "positive" if typed == "1+delta" else KINDS[typed] if typed else "real"
    read_fields(array, bound, array.ndim - 1, source, cells, out)
    if typed == "1+delta" and out is not None:
        out -= 1


def _attrs(options: Options, facts: Facts) -> dict[str, Any]:
    attrs: dict[str, Any] = {"redshift": facts.redshift, "h": options.number("h"), "periodic": int(facts.periodic)}
    attrs["mass_assignment"] = options.text("mass_assignment")
    attrs |= {name: options.number(name) for name in ("source_redshift", "number_density")}
    attrs["redshift_space"] = options.text("redshift_space")
    names = options.names("components")
    attrs["field_name"] = names[0] if len(names) == 1 else "convergence" if facts.kinds == ["convergence"] else None
    if facts.kinds == ["convergence"]:
        attrs["field_long_name"] = "convergence"
    units = {unit for unit in facts.units if unit}
    attrs["field_units"] = options.text("units") or (units.pop() if len(units) == 1 and all(facts.units) else None)
    if options.text("thickness"):
        attrs["slab_thickness"] = options.length("thickness")
        if facts.box.units == "Mpc/h" and attrs["slab_thickness"] > max(facts.box.sides) * (1 + 1e-6):
            raise InputError(
                f"thickness = {options.text('thickness')} is more than the {max(facts.box.sides):g} Mpc/h of the box"
            )
    return {name: value for name, value in attrs.items() if value is not None}
