"""Density fields for other programs, each format with the words of the import that reads it back.

A format holds the field, its labels and simulations, and what the import needs to be told is in its words: kind, box,
redshift, thickness, little h, mass assignment, periodicity.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from physgen.domains.cosmology.arrays import FIELD_ATTRS
from physgen.domains.cosmology.conditions import label_names, with_numbers
from physgen.domains.cosmology.encoding import field_kinds
from physgen.domains.cosmology.geometry import is_periodic
from physgen.ensemble import space_dims, spacing
from physgen.ensemble.plain import sample_columns, write_plain
from physgen.errors import InputError

NOT_COLUMNS = ("mean_density", "mask", "source", "simulation")  # what is no label, or is measured anew on import


def export(format: str, ensemble: xr.Dataset, folder: Path, name: str) -> list[str | Path]:
    """Write the files of a format; see :meth:`physgen.domains.contract.Domain.export`.

    Fields over further sample dims (``redshift``) become samples of their own, these dims labels.
    """
    if "mask" in ensemble.variables and format != "hdf5":
        raise InputError(f"{format} has no place for the mask of these fields: export hdf5, or drop 'mask'")
    ensemble = with_numbers(ensemble)
    columns, each = labels_of_samples(ensemble), 0
    if format == "fits":
        from physgen.domains.cosmology.fits_export import write_fits

        files = write_fits(ensemble, columns, folder, name)
    elif format == "the_well":
        from physgen.domains.cosmology.the_well_export import write_well

        files = write_well(ensemble, columns, folder, name)
    else:
        table, each = simulation_table(columns) if format == "npy" else (row_numbers(columns), 0)
        files = write_plain(format, ensemble, folder, name, table)
        if "mask" in ensemble.variables:
            return []  # no importer reads a mask from inside a file
    return [format, *files, *import_words(format, ensemble, columns, each)]


def labels_of_samples(ensemble: xr.Dataset) -> dict[str, np.ndarray]:
    """Name -> (n,): the labels in the order of the file, ``simulation`` first where it is stated, seeds last."""
    found = sample_columns(ensemble)
    names = [name for name in label_names(ensemble) if name in found]
    whole = [n for n in found if n not in (*names, *NOT_COLUMNS) and found[n].dtype.kind in "iu" and "seed" in n]
    first = {"simulation": found["simulation"].astype(np.int64)} if "simulation" in found else {}
    return first | {name: found[name] for name in (*names, *whole)}


def row_numbers(columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The columns behind one that numbers the rows, which says that they stand in the order of the fields."""
    count = len(next(iter(columns.values()), ()))
    return {"index": np.arange(count), **columns} if columns else {}


def simulation_table(columns: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], int]:
    """(table, maps per simulation): a row for each simulation where its fields follow each other and share all labels.

    Else (``row_numbers``, 0), a row for each field, with its simulation.
    """
    simulation = columns.get("simulation")
    if simulation is None:
        return row_numbers(columns), 0
    simulations = int(simulation.max()) + 1
    each = len(simulation) // simulations if simulations else 0
    labels = {name: column for name, column in columns.items() if name != "simulation"}
    if not each or not np.array_equal(simulation, np.arange(each * simulations) // each) or not labels:
        return row_numbers(columns), 0
    blocks = [column.reshape(simulations, each) for column in labels.values()]
    if any(np.any(block != block[:, :1]) for block in blocks):
        return row_numbers(columns), 0
    return {name: block[:, 0] for name, block in zip(labels, blocks, strict=True)}, each


def import_words(format: str, ensemble: xr.Dataset, columns: dict[str, np.ndarray], each: int) -> list[str]:
    """``name=value`` of the options that bring back what the files themselves do not say."""
    attrs, kinds = ensemble.attrs, field_kinds(ensemble)
    dims, length = space_dims(ensemble), box_unit(ensemble)
    words: dict[str, Any] = {"box_size": ", ".join(f"{side!r} {length}" for side in box_sides(ensemble))}
    words["field_kind"] = ",".join(kinds)
    words["dimension"] = len(dims)
    units = str(ensemble["field"].attrs.get("units", "1"))
    if len(set(kinds)) == 1 and units not in ("1", FIELD_ATTRS[kinds[0]][1]):
        words["units"] = units
    if "redshift" not in columns and "redshift" in attrs:
        words["redshift"] = repr(float(attrs["redshift"]))
    numbers = ("source_redshift", "number_density")
    words |= {name: repr(float(attrs[name])) for name in numbers if name in attrs}
    words |= {"redshift_space": str(attrs["redshift_space"])} if "redshift_space" in attrs else {}
    if "slab_thickness" in attrs:
        words["thickness"] = f"{float(attrs['slab_thickness'])!r} Mpc/h"
    words |= {"h": repr(float(attrs["h"]))} if "h" in attrs else {}
    words |= {"mass_assignment": str(attrs["mass_assignment"])} if "mass_assignment" in attrs else {}
    if is_periodic(ensemble) != (length != "deg"):
        words["periodic"] = "yes" if is_periodic(ensemble) else "no"
    if "component" in ensemble["field"].dims:
        words["components"] = ",".join(map(str, ensemble["component"].values))
    elif "field_name" in attrs:
        words["components"] = str(attrs["field_name"])
    if each:
        words["maps_per_simulation"] = each
    if format == "the_well" and "component" in ensemble["field"].dims:
        words["data"] = words["components"]
    if format == "hdf5":
        words |= {"data": "field"} | ({"labels": ",".join(row_numbers(columns))} if columns else {})
    return [f"{name}={value}" for name, value in words.items()]


def box_sides(ensemble: xr.Dataset) -> list[float]:
    """Sides in the order of the axes, one where they are equal: the stated ``box_size``, else cells times size."""
    dims = space_dims(ensemble)
    sides = [a * ensemble.sizes[dim] for a, dim in zip(spacing(ensemble), dims, strict=True)]
    said = np.atleast_1d(np.asarray(ensemble.attrs.get("box_size", sides), dtype=float))
    if len(said) in (1, len(dims)) and np.allclose(said, sides, rtol=1e-6):
        sides = np.broadcast_to(said, len(dims)).tolist()
    return [float(sides[0])] if len(set(sides)) == 1 else [float(side) for side in sides]


def box_unit(ensemble: xr.Dataset) -> str:
    """Mpc/h or deg: the unit of the coordinates. Raises InputError where it is no length or angle."""
    unit = str(ensemble[space_dims(ensemble)[-1]].attrs.get("units", "")) if space_dims(ensemble) else ""
    if unit in ("", "1"):
        raise InputError(
            "the fields stand in a box without a length: give their coordinates a unit, e.g. with "
            'from_array(..., box_size="25 Mpc/h")'
        )
    return unit
