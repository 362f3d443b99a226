"""Configurations and couplings made elsewhere, checked, as an ensemble.

Every importer ends in one place that checks shapes, values and couplings. Files are never unpickled.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from physgen.domains.spins.couplings import lattice_edges
from physgen.domains.spins.layout import Disorder, check_values, spin_ensemble
from physgen.errors import InputError

if TYPE_CHECKING:
    import xarray as xr


def load_spins(format: str, paths: list[Path], options: dict[str, str]) -> xr.Dataset:
    """Read ``paths`` in one of FORMATS. Options are strings as typed; an unknown one raises InputError."""
    if format not in FORMATS:
        raise InputError(f"unknown format {format!r}; choose one of {', '.join(FORMATS)}")
    reader, known = FORMATS[format]
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise InputError(
            f"unknown option {unknown[0]!r} of format {format}; it takes {', '.join(known) if known else 'none'}"
        )
    if not paths:
        raise InputError(f"format {format} needs at least one file")
    return reader(paths, **options).assign_attrs(format=format, equilibration="not tested")


def _load_npy(paths: list[Path], temperatures: str = "") -> xr.Dataset:
    """Spins (D, T, R, *grid) and couplings (D, d, *grid), two files in this order."""
    if len(paths) != 2:
        raise InputError(f"format spins_npy needs two files, spins and couplings in this order, got {len(paths)}")
    return _ensemble(_array(paths[0]), _array(paths[1]), None, _temperatures(temperatures), str(paths[0]))


def _load_edge_lists(paths: list[Path], temperatures: str = "", shape: str = "") -> xr.Dataset:
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
    spins = [_array(path) for path in arrays]
    if any(s.ndim != 3 or s.shape != spins[0].shape for s in spins):
        raise InputError(
            f"spins of shapes {[s.shape for s in spins]}: all must be (temperatures, replicas, N): reshape them"
        )
    graphs = [_edge_list(path, spins[0].shape[2]) for path in lists]
    if shape:
        grid = _integers(shape, "shape")
        if np.prod(grid) != spins[0].shape[2]:
            raise InputError(
                f"shape {grid} has {np.prod(grid)} sites, the configurations have {spins[0].shape[2]}: correct shape"
            )
        couplings = np.stack([_on_lattice(*graph, grid, path) for graph, path in zip(graphs, lists, strict=True)])
        spins = [s.reshape(*s.shape[:2], *grid) for s in spins]
        return _ensemble(np.stack(spins), couplings, None, _temperatures(temperatures), str(arrays[0]))
    edges = graphs[0][0]
    if any(not np.array_equal(other, edges) for other, _ in graphs):
        raise InputError("the edge lists join different spins: import each graph into an ensemble of its own")
    couplings = np.stack([strength for _, strength in graphs])
    return _ensemble(np.stack(spins), couplings, edges, _temperatures(temperatures), str(arrays[0]))


def _load_peapods(paths: list[Path], size: str = "") -> xr.Dataset:
    """peapods 0.2 sweep .npz with snapshots of disorder 0, and its couplings (*grid, d) as .npy.

    The file does not hold couplings; its weight is exp(+J s s / T), so they keep their sign.
    """
    if len(paths) != 2:
        raise InputError(
            f"format peapods needs two files, the .npz and the couplings .npy (*grid, d), got {len(paths)}: "
            "save Ising.couplings with numpy.save"
        )
    archive = _archive(paths[0])
    found = sorted(key.removesuffix("_snapshot_spins") for key in archive if key.endswith("_snapshot_spins"))
    if not found:
        raise InputError(f"{paths[0]} holds no configurations: run peapods with snapshot_interval and houdayer moves")
    if size and size not in found or not size and len(found) > 1:
        raise InputError(f"{paths[0]} holds sizes {', '.join(found)}: choose one with size=")
    label = size or found[0]
    grid = tuple(int(n) for n in archive[f"{label}_lattice_shape"])
    snapshots = archive[f"{label}_snapshot_spins"]  # (snapshots, T, 2, N)
    spins = snapshots.transpose(1, 0, 2, 3).reshape(1, snapshots.shape[1], -1, *grid)
    couplings = _array(paths[1])
    couplings = couplings[0] if couplings.ndim == len(grid) + 2 else couplings
    return _ensemble(
        spins, np.moveaxis(couplings, -1, 0)[None], None, archive["temperatures"].astype(float), str(paths[0])
    )


def _load_mcising(paths: list[Path]) -> xr.Dataset:
    """mcising HDF5 (schema 1 to 3): nearest-neighbour model on chain, square or cubic lattice, no field."""
    import h5py

    if len(paths) != 1:
        raise InputError(f"format mcising takes one file, got {len(paths)}")
    try:
        with h5py.File(paths[0], "r") as file:
            lattice = json.loads(file["metadata"].attrs["config_json"])["lattice"]
            groups = sorted((g for g in file if g.startswith("T=")), key=lambda g: file[g].attrs["temperature"])
            temperatures = np.array([file[g].attrs["temperature"] for g in groups], dtype=float)
            series = [file[g]["configurations"][()] for g in groups]
            energies = [np.asarray(file[g]["energy"][()], dtype=float) for g in groups]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{paths[0]} is not an mcising file with configurations ({' '.join(str(error).split())}): "
            "write it with save_hdf5 and store_configs"
        ) from error
    further = any(lattice.get(name) for name in ("j2", "j3", "h"))
    if lattice.get("lattice_type") not in ("square", "chain", "cubic") or further:
        raise InputError(f"mcising lattice {lattice}: only j1 on chain, square or cubic lattices can be imported")
    count = min(len(s) for s in series)
    spins = np.stack([s[-count:] for s in series])[None]
    grid = spins.shape[3:]
    couplings = np.full((1, len(grid), *grid), float(lattice["j1"]), dtype=np.float32)
    made = _ensemble(spins, couplings, None, temperatures, str(paths[0]))
    stored, ours = np.stack([e[-count:] for e in energies]), made["energy"].values[0]
    scale = np.prod(grid) if np.abs(stored).max() > 2 * np.abs(ours).max() else 1
    if not np.allclose(stored / scale, ours, atol=1e-4 * abs(float(lattice["j1"]))):
        raise InputError(f"{paths[0]}: its energies are not those of H = -j1 sum s s: check sign and lattice")
    return made


FORMATS: dict[str, tuple[Callable[..., xr.Dataset], tuple[str, ...]]] = {
    "spins_npy": (_load_npy, ("temperatures",)),
    "edge_list": (_load_edge_lists, ("temperatures", "shape")),
    "peapods": (_load_peapods, ("size",)),
    "mcising": (_load_mcising, ()),
}


# --- pieces -------------------------------------------------------------------------------------


def _ensemble(
    spins: np.ndarray, couplings: np.ndarray, edges: np.ndarray | None, temperatures: np.ndarray, source: str
) -> xr.Dataset:
    """Check everything together: shapes, values, couplings, temperatures."""
    couplings = np.asarray(couplings)
    dimension = spins.ndim - 3
    if not 1 <= dimension <= 3:
        raise InputError(
            f"{source}: spins of shape {spins.shape} need dims (disorder, temperature, replica, *grid): reshape them"
        )
    wanted = (len(spins), dimension, *spins.shape[3:]) if edges is None else (len(spins), len(edges))
    if couplings.shape != wanted:
        raise InputError(
            f"{source}: couplings of shape {couplings.shape} do not belong to spins of shape {spins.shape}: "
            f"they must have shape {wanted}"
        )
    if couplings.dtype.kind not in "iuf" or not np.isfinite(couplings).all():
        raise InputError(f"{source}: couplings must be finite numbers: repair or drop that disorder instance")
    if len(temperatures) != spins.shape[1]:
        raise InputError(
            f"{source}: {len(temperatures)} temperatures were given for {spins.shape[1]} in the file: "
            "give temperatures=T1,T2,... in units of J"
        )
    if not np.all(np.isfinite(temperatures) & (temperatures > 0)):
        raise InputError(f"{source}: temperatures {list(temperatures)} must be positive, in units of J")
    try:
        spins = check_values(spins)
    except InputError as error:
        raise InputError(f"{source}: {error}") from None
    disorder = Disorder(couplings.astype(np.float32), edges, None)
    return spin_ensemble(spins, disorder, temperatures, np.arange(len(spins)), {})


def _array(path: Path) -> np.ndarray:
    """A numeric array; Python objects are refused, because unpickling them runs code."""
    loaded = _archive(path)
    if isinstance(loaded, dict):
        raise InputError(f"{path} is an archive of {', '.join(loaded)}: save the one array that is meant as .npy")
    return loaded


def _archive(path: Path) -> dict[str, np.ndarray] | np.ndarray:
    try:
        loaded = np.load(path, allow_pickle=False)
        return {key: loaded[key] for key in loaded.files} if hasattr(loaded, "files") else loaded
    except (OSError, ValueError, EOFError) as error:
        raise InputError(
            f"{path} is not a readable array of numbers ({' '.join(str(error).split())[:120]}): "
            "physgen loads no Python objects; save it with numpy.save as int8 or float"
        ) from error


def _edge_list(path: Path, spins: int) -> tuple[np.ndarray, np.ndarray]:
    """Edges (M, 2), i < j and sorted, and couplings (M,) of a text file with rows ``i j J``."""
    try:
        table = np.loadtxt(path, ndmin=2)
    except (ValueError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not a table of numbers 'spin1 spin2 J' ({error}): one edge in each row") from None
    if table.size == 0 or table.shape[1] != 3 or not np.isfinite(table).all():
        raise InputError(f"{path} has shape {table.shape}: it must hold rows of three finite numbers 'spin1 spin2 J'")
    ends = table[:, :2].astype(np.int64)
    if np.any(ends != table[:, :2]) or np.any(ends[:, 0] == ends[:, 1]):
        raise InputError(f"{path}: spins must be whole numbers, and no edge may join a spin to itself")
    if ends.min() == 1 and ends.max() == spins:
        ends -= 1  # counted from 1
    if ends.min() < 0 or ends.max() >= spins:
        raise InputError(
            f"{path} names spin {ends.max()}, the configurations have {spins}: check that they belong together"
        )
    ends.sort(axis=1)
    edges, where, count = np.unique(ends, axis=0, return_inverse=True, return_counts=True)
    couplings = np.bincount(where.reshape(-1), weights=table[:, 2]) / count
    if np.any(np.abs(couplings[where.reshape(-1)] - table[:, 2]) > 1e-6):
        row = int(np.argmax(np.abs(couplings[where.reshape(-1)] - table[:, 2])))
        raise InputError(
            f"{path} gives edge {ends[row].tolist()} two different couplings: J must be symmetric, list each edge once"
        )
    return edges.astype(np.int32), couplings


def _on_lattice(edges: np.ndarray, couplings: np.ndarray, grid: tuple[int, ...], path: Path) -> np.ndarray:
    """Bonds (d, *grid) of a graph that is a hypercubic lattice in C order; absent bonds are zero."""
    spins = int(np.prod(grid))
    if min(grid) < 3:
        raise InputError(f"shape {grid}: below a length of 3 the bonds up and down are the same: leave shape out")
    ends = np.sort(lattice_edges(grid), axis=1).astype(np.int64)
    keys = ends[:, 0] * spins + ends[:, 1]
    order = np.argsort(keys)
    wanted = edges[:, 0].astype(np.int64) * spins + edges[:, 1]
    place = np.minimum(np.searchsorted(keys[order], wanted), len(keys) - 1)
    stray = keys[order][place] != wanted
    if stray.any():
        raise InputError(
            f"{path}: edge {edges[np.argmax(stray)].tolist()} is no bond of the lattice {grid} in C order: "
            "check shape, or leave it out to import a general graph"
        )
    bonds = np.zeros(len(keys))
    bonds[order[place]] = couplings
    return bonds.reshape(len(grid), *grid)


def _temperatures(text: str) -> np.ndarray:
    try:
        return np.array([float(part.strip().removesuffix("J")) for part in text.split(",") if part.strip()])
    except ValueError:
        raise InputError(f"temperatures {text!r} must be numbers separated by commas, e.g. 0.5,1,2") from None


def _integers(text: str, name: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"{name} {text!r} must be whole numbers separated by commas, e.g. 10,10,10") from None
