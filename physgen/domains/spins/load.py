"""Configurations and couplings made elsewhere, checked, as an ensemble.

Every importer ends in one place that joins files, checks shapes, values and couplings, and prints Callen's identity,
which no wrong convention survives.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from physgen.domains.spins.arrays import Source, array, assemble
from physgen.domains.spins.axes import order_couplings, order_spins
from physgen.domains.spins.conventions import COMMON, Conventions, read_conventions, whole_numbers
from physgen.domains.spins.coupling_files import read_table
from physgen.domains.spins.coupling_headers import EdgeTable
from physgen.domains.spins.edge_list import first_spin, graph_of, on_lattice
from physgen.domains.spins.equilibrium import check_equilibrium
from physgen.domains.spins.foreign import read_mcising, read_peapods
from physgen.domains.spins.layout import UNITS, check_spins, for_training
from physgen.domains.spins.load_couplings import COUPLING_OPTIONS, load_couplings, with_headers
from physgen.domains.spins.merge import equal_blocks, merge_ensembles, with_chains
from physgen.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

Read = tuple[list["xr.Dataset"], list[str]]  # ensembles, and notes on them


def load_spins(format: str, paths: list[Path], options: dict[str, str]) -> xr.Dataset:
    """Read ``paths`` in one of FORMATS. Options are strings as typed; an unknown one raises InputError.

    Root attributes: ``equilibration``, what Callen's identity says; ``import_notes``, lines for the user;
    ``not_trainable``, why no network can be trained on it, where that is so.
    """
    if format not in (*FORMATS, "couplings"):
        raise InputError(f"unknown format {format!r}; choose one of {', '.join((*FORMATS, 'couplings'))}")
    reader, known = (None, COUPLING_OPTIONS) if format == "couplings" else FORMATS[format]
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise InputError(f"unknown option {unknown[0]!r} of format {format}; it takes {', '.join(known)}")
    if not paths:
        raise InputError(f"format {format} needs at least one file")
    options = dict(options)
    said = read_conventions(options)
    if reader is None:
        return load_couplings(paths, said, **options)
    parts, notes = reader(paths, said, **options)
    names = [str(path) for path in paths[:: len(paths) // len(parts)]]
    merged, joined = merge_ensembles(parts, names)
    if said.chains:
        merged = with_chains(merged, equal_blocks(merged.sizes["replica"], said.chains, str(paths[0])))
    sentence, doubts = check_equilibrium(merged, said.check)
    lines = [*notes, *joined, sentence, *doubts, *_units_note(merged)]
    attrs = {"format": format, "equilibration": sentence, "import_notes": "\n".join(lines)}
    return merged.assign_attrs(attrs | for_training(merged))


def _units_note(ensemble: xr.Dataset) -> list[str]:
    """What one independent unit is, where it is not the disorder instance."""
    if ensemble.sizes["disorder"] > 1:
        return []
    if "chain" in ensemble.variables:
        blocks = len(np.unique(ensemble["chain"].values))
        return [f"one instance: {blocks} chains or blocks of chains are split and judged as independent units"]
    return ["one instance: replicas are split and judged as independent units (chains= names those of one chain)"]


# --- readers ----------------------------------------------------------------------------------------


def _load_npy(
    paths: list[Path],
    said: Conventions,
    axes: str = "",
    coupling_axes: str = "",
    directions: str = "",
    bonds: str = "up",
) -> Read:
    r"""Spins (D, T, R, \*grid) and couplings (D, d, \*grid); several such pairs are several sets of instances."""
    if len(paths) % 2:
        raise InputError(f"format spins_npy needs two files, spins and couplings in this order, got {len(paths)}")
    parts = []
    for first, second in zip(paths[::2], paths[1::2], strict=True):
        spins = order_spins(_numbers(array(first), first), axes)
        couplings = _numbers(array(second), second)
        shape = (len(spins), *spins.shape[3:])
        ordered = order_couplings(couplings, shape, coupling_axes, directions, bonds)
        parts.append(assemble(spins, ordered, None, said.temperatures, Source(str(first), said.factor)))
    return parts, []


def _numbers(values: np.ndarray, path: Path) -> np.ndarray:
    if values.dtype.kind not in "iuf":
        raise InputError(
            f"{path} has dtype {values.dtype}: physgen reads numbers (no Python objects, they could run code): save it "
            "as int8 or float"
        )
    return values


def _load_edge_lists(
    paths: list[Path], said: Conventions, shape: str = "", first: str = "", parallel: str = ""
) -> Read:
    """Pairs of files, one pair for each disorder: edges ``i j J`` as text and spins (T, R, N) as .npy.

    With ``shape`` (such as 10,10,10, spins in C order) the graph must be that lattice and becomes one.
    """
    lists = [path for path in paths if path.suffix != ".npy"]
    arrays = [path for path in paths if path.suffix == ".npy"]
    if len(lists) != len(arrays):
        raise InputError(
            f"{len(lists)} edge lists and {len(arrays)} .npy files: give one of each for every disorder instance, "
            "in the same order"
        )
    spins = [array(path) for path in arrays]
    if any(s.ndim != 3 or s.shape != spins[0].shape for s in spins):
        raise InputError(
            f"spins of shapes {[s.shape for s in spins]}: all must be (temperatures, replicas, N): reshape them"
        )
    count = spins[0].shape[2]
    grid = whole_numbers(shape, "shape") if shape else None
    if grid and math.prod(grid) != count:
        raise InputError(f"shape {grid} has {math.prod(grid)} sites, the configurations have {count}: correct shape")
    tables = [read_table(path) for path in lists]
    said = with_headers(said, tables, count)
    start = first_spin(tables, count, first, grid)
    parts = [
        _graph_ensemble(table, start, parallel, grid, one, said, path)
        for table, one, path in zip(tables, spins, arrays, strict=True)
    ]
    return parts, [note for table in tables for note in table.notes]


def _graph_ensemble(
    table: EdgeTable,
    start: int,
    parallel: str,
    grid: tuple[int, ...] | None,
    spins: np.ndarray,
    said: Conventions,
    path: Path,
) -> xr.Dataset:
    """One instance: spins (T, R, N) on the graph of a table, or on the lattice that it is."""
    edges, couplings, fields = graph_of(table, start, parallel)
    total = np.zeros((1, spins.shape[2]))
    for site, value in fields:
        total[0, site] += value
    outer = total if fields else None
    source = Source(str(path), said.factor)
    if grid is None:
        return assemble(spins[None], couplings[None], edges, said.temperatures, source, outer)
    bonds = on_lattice(edges, couplings, grid, table.path)
    field = None if outer is None else outer.reshape(1, *grid)
    return assemble(spins.reshape(1, *spins.shape[:2], *grid), bonds[None], None, said.temperatures, source, field)


def _load_peapods(paths: list[Path], said: Conventions, size: str = "") -> Read:
    """Pairs of files, one pair for each run: the .npz with its snapshots, and its couplings as .npy."""
    if len(paths) % 2:
        raise InputError(
            f"format peapods needs two files, the .npz and the couplings .npy (*grid, d), for each run, got "
            f"{len(paths)}: save Ising.couplings with numpy.save"
        )
    return [read_peapods(*pair, size) for pair in zip(paths[::2], paths[1::2], strict=True)], []


def _load_mcising(paths: list[Path], said: Conventions) -> Read:
    """mcising HDF5, one or several."""
    return [read_mcising(path) for path in paths], []


def _load_ensembles(paths: list[Path], said: Conventions) -> Read:
    """Ensembles of spins of this package, to be joined."""
    from physgen.ensemble import load_ensemble

    parts = [load_ensemble(path) for path in paths]
    for part, path in zip(parts, paths, strict=True):
        if part.attrs.get("domain", "spins") != "spins":
            raise InputError(f"{path} is of the domain {part.attrs['domain']!r}, not of spins: leave it out")
        check_spins(part)
    return [part.assign_attrs(UNITS | part.attrs) for part in parts], []


GIVEN = ("temperatures", "betas")
FORMATS: dict[str, tuple[Callable[..., Read], tuple[str, ...]]] = {
    "spins_npy": (_load_npy, (*GIVEN, *COMMON, "axes", "coupling_axes", "directions", "bonds")),
    "edge_list": (_load_edge_lists, (*GIVEN, *COMMON, "shape", "first", "parallel")),
    "peapods": (_load_peapods, ("size", "check")),
    "mcising": (_load_mcising, ("check",)),
    "spin_ensembles": (_load_ensembles, ("check",)),
}
