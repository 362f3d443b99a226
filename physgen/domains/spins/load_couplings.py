"""Couplings of one's own without configurations: edge lists as text, or arrays of bonds, as a template."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from physgen.domains.spins.axes import order_couplings
from physgen.domains.spins.conventions import SIGNS, Conventions, agreeing, read_conventions, whole_numbers
from physgen.domains.spins.coupling_files import asked_sign, lattice_of, read_couplings
from physgen.domains.spins.coupling_headers import EdgeTable
from physgen.domains.spins.couplings import lattice_edges
from physgen.domains.spins.edge_list import first_spin, graph_of, on_lattice
from physgen.domains.spins.layout import Disorder, couplings_template, disorder_of, grid_dims, instance_digests
from physgen.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

COUPLING_OPTIONS = (
    "temperatures", "betas", "sign", "scale", "shape", "spins", "first", "parallel", "coupling_axes", "directions",
    "bonds",
)  # fmt: skip
LEAST_SPARSE, MOST_ALONE = 1000, 20  # spins, for each that a bond joins, up to which the others are taken as meant
OF_TEXT, OF_ARRAYS = ("spins", "first", "parallel"), ("coupling_axes", "directions", "bonds")


def load_couplings(paths: list[Path], said: Conventions, **options: str) -> xr.Dataset:
    r"""A template of the couplings in edge lists (one instance each) or in .npy arrays (D, d, \*grid), not of both.

    Besides edge lists each other file of :mod:`physgen.domains.spins.coupling_files` is one instance, matrices too.

    Options: ``temperatures`` or ``betas``, which may be left out; ``sign``, ``scale``; ``shape`` of the lattice (an
    edge list without it is a general graph). Of text: ``first`` spin, ``spins`` (their number), ``parallel`` rows of
    one bond. Of arrays: ``coupling_axes``, ``directions``, ``bonds``.
    """
    read = [read_couplings(path) for path in paths]
    arrays = [path for path, found in zip(paths, read, strict=True) if isinstance(found, np.ndarray)]
    if arrays and len(arrays) < len(paths):
        raise InputError(f"{arrays[0]} holds bonds of a lattice, other files edges: import them apart")
    strange = [name for name in (OF_TEXT if arrays else OF_ARRAYS) if options.get(name)]
    if strange:
        raise InputError(f"option {strange[0]!r} is one of {'edge lists' if arrays else '.npy arrays'}: leave it out")
    shape = options.pop("shape", "")
    grid = whole_numbers(shape, "shape") if shape else None
    notes: list[str] = []
    if arrays:
        bonds_of = [(path, found) for path, found in zip(paths, read, strict=True) if isinstance(found, np.ndarray)]
        disorder, sites = _from_arrays(bonds_of, grid, said.factor, **options)
    else:
        tables = [table for found in read for table in found]
        asked_sign(tables, said.sign_given)
        said, disorder, sites = _from_tables(tables, grid, said, **options)
        notes += [note for table in tables for note in table.notes]
    points = said.temperatures
    if points is not None and len(np.unique(points)) < len(points):
        raise InputError(f"temperatures {points.tolist()} hold one twice: give each once")
    made = couplings_template(disorder, sites, None if points is None else np.sort(points))
    made, equal = _each_once(made)
    size = f"lattice of {' x '.join(map(str, sites))}" if disorder.edges is None else f"general graph of {sites[0]}"
    bonds = np.count_nonzero(made["couplings"].values) / made.sizes["disorder"]
    sign = "" if said.sign_given else " (no sign was given; sign=plus is E = +sum J s s)"
    outer = "" if disorder.external_field is None else " - sum h s"
    notes += [
        f"{made.sizes['disorder']} instances on a {size} spins, {bonds:g} bonds each; H = -sum J s s{outer}{sign}",
        *_without_bonds(made),
        *equal,
    ]
    return made.assign_attrs(format="couplings", import_notes="\n".join(notes))


def couplings_like(path: Path, dimension: int) -> xr.Dataset:
    """A template of the couplings in one file that says everything itself, the sign among it.

    Where a lattice of this dimension, in C order, holds all bonds, they become one of it; a line ``# shape = 6,3,3``
    says which.
    """
    found = read_couplings(path)
    if isinstance(found, np.ndarray) or len(found) > 1 or not found[0].sign:
        text = found[0].text if not isinstance(found, np.ndarray) else False
        add = "add the line '# H = -sum J s s' or '# E = +sum J s s', or " if text else ""
        raise InputError(
            f"{path} does not say the sign of its couplings: {add}import it, "
            f"physgen import couplings {path} sign=minus -o J.h5 (H = -sum J s s; sign=plus is E = +sum J s s)"
        )
    (table,) = found
    shape = table.shape or lattice_of(table, dimension)
    return load_couplings([path], read_conventions({}), **({"shape": shape} if shape else {}))


def _without_bonds(template: xr.Dataset) -> list[str]:
    """How many spins no bond joins, of any instance: more than are meant where a file counts in another way."""
    disorder, count = disorder_of(template), math.prod(template.sizes[dim] for dim in grid_dims(template))
    edges = disorder.edges if disorder.edges is not None else lattice_edges(disorder.couplings.shape[2:])
    there = np.any(disorder.couplings.reshape(len(disorder.couplings), -1) != 0, axis=0)
    alone = count - len(np.unique(edges[there]))
    return [f"{alone} of {count} spins have no bond: they count in ln Z and in means per spin"] if alone else []


def _each_once(template: xr.Dataset) -> tuple[xr.Dataset, list[str]]:
    """The template without instances that repeat an earlier one, and a note where there were some."""
    _, first = np.unique(instance_digests(template), return_index=True)
    count = template.sizes["disorder"]
    if len(first) == count:
        return template, []
    kept = template.isel(disorder=np.sort(first))
    kept = kept.assign_coords(disorder=("disorder", np.arange(len(first)), template["disorder"].attrs))
    return kept, [f"of {count} instances {len(first)} are different: equal ones were taken once"]


def _from_arrays(
    found: list[tuple[Path, np.ndarray]],
    grid: tuple[int, ...] | None,
    factor: float,
    coupling_axes: str = "",
    directions: str = "",
    bonds: str = "up",
) -> tuple[Disorder, tuple[int, ...]]:
    r"""Bonds (D, d, \*grid) of all files; a file of one instance may leave D out."""
    parts = []
    for path, values in found:
        if values.dtype.kind not in "iuf" or not np.isfinite(values).all():
            raise InputError(f"{path}: couplings must be finite numbers, these have dtype {values.dtype}: repair them")
        shape = _shape_of(values, coupling_axes, grid, path)
        parts.append(order_couplings(values, shape, coupling_axes, directions, bonds))
    if len({part.shape[1:] for part in parts}) > 1:
        raise InputError(f"lattices {[part.shape[2:] for part in parts]} differ: import each into a file of its own")
    return Disorder((factor * np.concatenate(parts)).astype(np.float32), None, None), parts[0].shape[2:]


def _shape_of(values: np.ndarray, axes: str, grid: tuple[int, ...] | None, path: Path) -> tuple[int, ...]:
    r"""(D, \*grid) of an array of bonds, by the names of its axes, by the shape that is given, or by its own."""
    if axes:
        names = [part.strip() for part in axes.split(",")]
        if len(names) == values.ndim:
            sizes = dict(zip(names, values.shape, strict=True))
            return (sizes.get("disorder", 1), *(sizes[name] for name in ("z", "y", "x") if name in sizes))
    if grid is not None:
        return (1 if values.ndim == len(grid) + 1 else len(values), *grid)
    found = []
    for lead in (0, 1):  # without and with the axis of the instances
        space = values.ndim - lead - 1
        if 1 <= space <= 3:
            readings = {values.shape[lead + 1 :]} if values.shape[lead] == space else set()
            readings |= {values.shape[lead:-1]} if values.shape[-1] == space else set()
            found += [(values.shape[0] if lead else 1, *reading) for reading in readings]
    if len(found) != 1:
        raise InputError(
            f"{path}: couplings of shape {values.shape} {'can be read in several ways' if found else 'are no bonds'}: "
            "give (disorder, direction, *grid), one direction for each axis, and shape=8,8 where that is not clear"
        )
    return found[0]


def _from_tables(
    tables: list[EdgeTable],
    grid: tuple[int, ...] | None,
    said: Conventions,
    spins: str = "",
    first: str = "",
    parallel: str = "",
) -> tuple[Conventions, Disorder, tuple[int, ...]]:
    """One instance for each table, on the lattice that is given or on the union of their edges."""
    count = _count(tables, grid, spins, first)
    said = with_headers(said, tables, count)
    start = first_spin(tables, count, first, grid)
    graphs = [graph_of(table, start, parallel) for table in tables]
    sites = grid or (count,)
    outer = np.zeros((len(tables), count))
    for row, (_, _, fields) in zip(outer, graphs, strict=True):
        for site, value in fields:
            row[site] += value
    external = (said.factor * outer).astype(np.float32).reshape(-1, *sites) if outer.any() else None
    if grid is not None:
        pairs = zip(tables, graphs, strict=True)
        bonds = np.stack([on_lattice(edges, values, grid, table.path) for table, (edges, values, _) in pairs])
        return said, Disorder((said.factor * bonds).astype(np.float32), None, external), sites
    union = np.unique(np.concatenate([edges for edges, _, _ in graphs]), axis=0)
    keys = union[:, 0].astype(np.int64) * count + union[:, 1]
    bonds = np.zeros((len(tables), len(union)))
    for row, (edges, values, _) in zip(bonds, graphs, strict=True):
        row[np.searchsorted(keys, edges[:, 0].astype(np.int64) * count + edges[:, 1])] = values
    return said, Disorder((said.factor * bonds).astype(np.float32), union.astype(np.int32), external), sites


def _count(tables: list[EdgeTable], grid: tuple[int, ...] | None, spins: str, first: str) -> int:
    """Number of spins: of the lattice, as given, as a header says, or up to the last spin that an edge names."""
    if spins and not spins.isdigit():
        raise InputError(f"spins={spins} must be a whole number, that of the spins of one instance")
    named = {int(spins)} if spins else set()
    named |= {math.prod(grid)} if grid else set()
    if len(named) > 1:
        raise InputError(f"shape {grid} has {math.prod(grid or ())} sites, spins={spins}: correct one")
    named = named or {table.spins for table in tables if table.spins is not None}
    if named:
        return min(named)  # with_headers compares it with every header
    low, high = min(int(t.ends.min()) for t in tables), max(int(t.ends.max()) for t in tables)
    starts = {int(first)} if first in ("0", "1") else {t.first for t in tables if t.first is not None}
    if not starts and low > 0:
        raise InputError(
            f"{tables[0].path} names spins {low} to {high}: give first=1 for {high} spins counted from 1, first=0 for "
            f"{high + 1} counted from 0, or their number as spins= (in the file: a line '# first=1')"
        )
    count, joined = high + 1 - min(starts or {0}), len(np.unique(np.concatenate([t.ends for t in tables])))
    if count > max(LEAST_SPARSE, MOST_ALONE * joined):
        raise InputError(
            f"{tables[0].path} names spins {low} to {high}, bonds join {joined} of them: number these one after the "
            f"other, or give spins={count} (in the file: a line '# N={count}') if all the others are meant"
        )
    return count


def with_headers(said: Conventions, tables: list[EdgeTable], spins: int) -> Conventions:
    """The conventions with what the headers add; InputError where they contradict an option or each other."""
    for table in tables:
        if table.sign:
            factor = SIGNS.get(table.sign)
            if factor is None:
                raise InputError(f"{table.path}: sign={table.sign} in its header is unknown: minus or plus is meant")
            if said.sign_given and factor * said.factor < 0:
                raise InputError(
                    f"sign: the header of {table.path} says {table.sign} (E = {'+' if factor < 0 else '-'}sum J s s), "
                    "an option or another file the other sign: correct one"
                )
            said = dataclasses.replace(said, factor=abs(said.factor) * factor, sign_given=True)
        agreeing("temperatures", said.temperatures, table.temperatures, str(table.path))
        agreeing("number of spins", spins, table.spins, str(table.path))
        if said.temperatures is None:
            said = dataclasses.replace(said, temperatures=table.temperatures)
    return said
