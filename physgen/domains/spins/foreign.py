"""Files of Monte Carlo programs: peapods .npz and mcising HDF5, their stored energies checked against the spins."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from physgen.domains.spins.arrays import Source, array, assemble, open_arrays
from physgen.domains.spins.merge import blocks_of_chain, with_chains
from physgen.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

FAR = 5.0  # standard errors
RELATIVE = 1e-4  # of energies stored configuration by configuration, often as float32
FACTORS = {  # stored over computed, beside the number of spins
    "the other sign of the couplings (E = +sum J s s)": -1.0,
    "couplings that count each pair twice": 2.0,
    "couplings that count each pair twice, with the other sign": -2.0,
    "half the couplings": 0.5,
}


def read_peapods(archive_path: Path, couplings_path: Path, size: str) -> xr.Dataset:
    """One peapods 0.2 sweep .npz with snapshots of disorder 0, and its couplings (*grid, d) as .npy.

    The file does not hold couplings; its weight is exp(+J s s / T), so they keep their sign. Its mean energies,
    +sum J s s / N of one disorder, are held against those of the snapshots.
    """
    archive = open_arrays(archive_path)
    if not isinstance(archive, dict) or "temperatures" not in archive:
        raise InputError(
            f"{archive_path} is not a peapods archive: give the .npz, then its couplings .npy, for each run"
        )
    found = sorted(key.removesuffix("_snapshot_spins") for key in archive if key.endswith("_snapshot_spins"))
    if not found:
        raise InputError(
            f"{archive_path} holds no configurations: run peapods with snapshot_interval and houdayer moves"
        )
    if size and size not in found or not size and len(found) > 1:
        raise InputError(f"{archive_path} holds sizes {', '.join(found)}: choose one with size=")
    label = size or found[0]
    grid = tuple(int(n) for n in archive[f"{label}_lattice_shape"])
    snapshots = archive[f"{label}_snapshot_spins"]  # (snapshots, T, 2, N)
    spins = snapshots.transpose(1, 0, 2, 3).reshape(1, snapshots.shape[1], -1, *grid)
    couplings = array(couplings_path)
    couplings = couplings[:1] if couplings.ndim == len(grid) + 2 else couplings[None]
    if couplings.ndim != len(grid) + 2 or couplings.shape[1:] != (*grid, len(grid)):
        raise InputError(
            f"{couplings_path}: couplings of shape {couplings.shape[1:]} are not those of {archive_path}, "
            f"{(*grid, len(grid))}: save Ising.couplings of that run with numpy.save"
        )
    temperatures = archive["temperatures"].astype(float)
    source = Source(str(archive_path))
    made = assemble(spins, np.moveaxis(couplings, -1, 1), None, temperatures, source)
    pairs = made["energy"].values[0].reshape(len(temperatures), -1, 2).mean(axis=2)  # the two replicas of a snapshot
    blocks, _ = blocks_of_chain(pairs)
    _compare_means(archive, label, pairs, blocks, archive_path, couplings_path)
    return with_chains(made, np.repeat(blocks, 2))


def _compare_means(
    archive: Mapping[str, np.ndarray],
    label: str,
    pairs: np.ndarray,
    blocks: np.ndarray,
    path: Path,
    couplings_path: Path,
) -> None:
    """Stored mean energies (T,) against those of the snapshots (T, snapshots), in the error of blocks."""
    stored = archive.get(f"{label}_energies")
    disorders = archive.get(f"{label}_per_sample_overlap_histogram", np.empty(1)).shape[0]
    if stored is None or stored.shape != (len(pairs),) or disorders > 1:
        return  # a mean over several disorders is not that of the snapshots, which are of the first one
    means = np.stack([pairs[:, blocks == b].mean(axis=1) for b in np.unique(blocks)])
    error = means.std(axis=0, ddof=1) / np.sqrt(len(means)) if len(means) > 1 else np.full(len(pairs), np.inf)
    error = np.hypot(error, 1e-5 * np.abs(stored).max())
    ours = pairs.mean(axis=1)

    def far(factor: float) -> float:
        return float(np.abs((-stored - factor * ours) / (max(abs(factor), 1) * error)).max())

    if far(1.0) > FAR:
        raise InputError(
            f"{path}: its mean energies {_list(-stored)} J are not those of its configurations with "
            f"{couplings_path}, {_list(ours)} J ({far(1.0):.0f} standard errors apart): "
            f"{_agreeing(far, FAR) or 'these couplings are of another run: give those of this one'}"
        )


def read_mcising(path: Path, kept: str = "") -> xr.Dataset:
    """One mcising HDF5 (schema 1 to 3): nearest-neighbour model on chain, square or cubic lattice, no field."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            lattice = json.loads(file["metadata"].attrs["config_json"])["lattice"]
            groups = sorted((g for g in file if g.startswith("T=")), key=lambda g: file[g].attrs["temperature"])
            temperatures = np.array([file[g].attrs["temperature"] for g in groups], dtype=float)
            series = [file[g]["configurations"][()] for g in groups]
            energies = [np.asarray(file[g]["energy"][()], dtype=float) for g in groups]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path} is not an mcising file with configurations ({' '.join(str(error).split())}): "
            "write it with save_hdf5 and store_configs"
        ) from error
    further = any(lattice.get(name) for name in ("j2", "j3", "h"))
    if lattice.get("lattice_type") not in ("square", "chain", "cubic") or further:
        raise InputError(f"mcising lattice {lattice}: only j1 on chain, square or cubic lattices can be imported")
    count = min(len(s) for s in series)
    spins = np.stack([s[-count:] for s in series])[None]
    grid = spins.shape[3:]
    couplings = np.full((1, len(grid), *grid), float(lattice["j1"]), dtype=np.float32)
    made = assemble(spins, couplings, None, temperatures, Source(str(path)))
    _compare_each(np.stack([e[-count:] for e in energies]), made["energy"].values[0], int(np.prod(grid)), path)
    return with_chains(made, blocks_of_chain(made["energy"].values[0])[0])


def _compare_each(stored: np.ndarray, ours: np.ndarray, spins: int, path: Path) -> None:
    """Stored energies (T, n), per spin or in all, against computed ones per spin."""
    scale = np.abs(ours).max() or 1.0

    def far(factor: float) -> float:
        per_spin = np.abs(stored - factor * ours).max()
        return float(min(per_spin, np.abs(stored / spins - factor * ours).max()) / scale)

    if far(1.0) > RELATIVE:
        raise InputError(
            f"{path}: its energies (first {stored.flat[0]:.6g}) are not those of H = -j1 sum s s (first "
            f"{ours.flat[0]:.6g} J per spin): {_agreeing(far, RELATIVE) or 'no convention tried agrees'}: "
            "check sign and lattice"
        )


def _agreeing(far: Callable[[float], float], limit: float) -> str:
    """The convention whose energies agree, in words; empty if none does."""
    best = min(FACTORS, key=lambda words: far(FACTORS[words]))
    return f"they agree with {best}" if far(FACTORS[best]) <= limit else ""


def _list(values: np.ndarray) -> str:
    return ", ".join(f"{v:.4g}" for v in values)
