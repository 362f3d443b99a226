"""Several files become one ensemble: replicas of one Hamiltonian join, different ones are disorder instances."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from physgen.diagnostics.resampling import integrated_time
from physgen.domains.quenched import CLOSE
from physgen.domains.spins.layout import (
    Disorder,
    check_spins,
    disorder_of,
    grid_dims,
    instance_digests,
    is_lattice,
    of_levels,
    spin_ensemble,
)
from physgen.domains.spins.planted import PLANTED
from physgen.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

LONG = 10  # autocorrelation times in a block of a chain: blocks then correlate by about 1/20 of their variance
FEWEST = 4  # blocks of a chain, however long it remembers: errors need some


def merge_ensembles(parts: list[xr.Dataset], names: list[str]) -> tuple[xr.Dataset, list[str]]:
    """One ensemble of all ``parts``, and notes on what was done.

    Parts have the same lattice or edges and the same temperatures (in any order). Instances of one Hamiltonian, in
    whatever part and under whatever number, are joined along ``replica``; where the counts of replicas differ then, the
    first of each are kept. ``chain`` goes on counting.
    """
    first = check_spins(parts[0])
    others = zip(parts[1:], names[1:], strict=True)
    parts = [first, *(_in_frame(first, other, names[0], name) for other, name in others)]
    digests = np.concatenate([instance_digests(part) for part in parts])
    owners = [(p, i) for p, part in enumerate(parts) for i in range(part.sizes["disorder"])]
    if len(parts) == 1 and len(set(digests)) == len(digests):
        return first, []
    groups: dict[str, list[tuple[int, int]]] = {}
    for digest, owner in zip(digests.tolist(), owners, strict=True):
        groups.setdefault(digest, []).append(owner)
    spins = [_joined([parts[p]["field"].values[i] for p, i in group]) for group in groups.values()]
    counts = [one.shape[1] for one in spins]
    notes = [f"{len(parts)} files, {len(owners)} sets of configurations, {len(groups)} different Hamiltonians"]
    if len(parts) == 1:
        notes = [f"{len(owners)} disorder numbers hold {len(groups)} different Hamiltonians: equal ones were joined"]
        if min(counts) < max(counts):
            repeated = [group for group in groups.values() if len(group) > 1][0]
            raise InputError(
                f"{names[0]}: instances {[i for _, i in repeated]} have the same couplings, others stand alone: one "
                "Hamiltonian is one instance; join their replicas, or leave the repeated ones out"
            )
    if min(counts) < max(counts):
        notes.append(f"of {min(counts)} to {max(counts)} configurations the first {min(counts)} of each were kept")
    kept = np.stack([one[:, : min(counts)] for one in spins])
    made = spin_ensemble(kept, _disorder(parts, groups), first["temperature"].values, np.arange(len(kept)), {})
    made = made.assign_attrs(first.attrs)
    if all(PLANTED in part for part in parts):
        planted = np.stack([parts[p][PLANTED].values[i] for p, i in (group[0] for group in groups.values())])
        made = made.assign({PLANTED: (first[PLANTED].dims, planted, first[PLANTED].attrs)})
    chains = _chains(parts, next(iter(groups.values())))
    return (made if chains is None else with_chains(made, chains[: min(counts)])), notes


def _in_frame(first: xr.Dataset, other: xr.Dataset, name: str, other_name: str) -> xr.Dataset:
    """``other`` with the temperatures in the order of the first; InputError where the two cannot be one ensemble."""
    check_spins(other)
    mine, theirs = (_shape(e) for e in (first, other))
    if mine != theirs:
        raise InputError(f"{name} holds a {mine}, {other_name} a {theirs}: import them apart")
    if "edges" in first and not np.array_equal(first["edges"].values, other["edges"].values):
        raise InputError(f"{name} and {other_name} join different spins: import each graph into an ensemble of its own")
    wanted, given = first["temperature"].values, other["temperature"].values
    close = np.abs(given[None, :] / wanted[:, None] - 1) < CLOSE
    if len(given) != len(wanted) or not (close.sum(axis=0) == 1).all() or not (close.sum(axis=1) == 1).all():
        raise InputError(
            f"{name} has the temperatures {_list(wanted)}, {other_name} {_list(given)}: files of one ensemble have the "
            "same ones; import them apart"
        )
    return other.isel(temperature=close.argmax(axis=1))


def _shape(ensemble: xr.Dataset) -> str:
    sizes = " x ".join(str(ensemble.sizes[dim]) for dim in grid_dims(ensemble))
    outer = " with external fields" if "external_field" in ensemble else ""
    kind = "lattice" if is_lattice(ensemble) else "graph" if "edges" in ensemble else "set of random energies"
    return f"{kind} of {sizes}{outer}"


def _joined(arrays: list[np.ndarray]) -> np.ndarray:
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays, axis=1)


def _disorder(parts: list[xr.Dataset], groups: dict[str, list[tuple[int, int]]]) -> Disorder:
    owners = [group[0] for group in groups.values()]
    all_of = [disorder_of(part) for part in parts]
    couplings = np.stack([all_of[p].couplings[i] for p, i in owners])
    levels = [one.levels for one in all_of if one.levels is not None]
    if levels:
        return of_levels(np.stack([levels[p][i] for p, i in owners]))
    fields = [(all_of[p].external_field, i) for p, i in owners]
    outer = None
    if all_of[0].external_field is not None:
        outer = np.stack([field[i] for field, i in fields if field is not None])
    return Disorder(couplings, all_of[0].edges, outer)


def _chains(parts: list[xr.Dataset], group: list[tuple[int, int]]) -> np.ndarray | None:
    """Chain labels of the joined replicas; those of parts without labels are independent of each other."""
    if not any("chain" in part.variables for part in parts):
        return None
    labels, offset = [], 0
    for p, _ in group:
        part = parts[p]
        own = part["chain"].values if "chain" in part.variables else np.arange(part.sizes["replica"])
        labels.append(np.unique(own, return_inverse=True)[1] + offset)
        offset = labels[-1].max() + 1
    return np.concatenate(labels)


def _list(temperatures: np.ndarray) -> str:
    return "[" + ", ".join(f"{t:.6g}" for t in temperatures) + "] J"


# --- chains -----------------------------------------------------------------------------------------


def with_chains(ensemble: xr.Dataset, chains: np.ndarray) -> xr.Dataset:
    """Name the chain, or block of a chain, of each replica: those of one are not independent."""
    described = {"long_name": "chain or block of a chain", "units": "1"}
    return ensemble.assign_coords(chain=("replica", np.asarray(chains, dtype=np.int64), described))


def equal_blocks(replicas: int, chains: int, source: str) -> np.ndarray:
    """Labels (R,) of ``chains`` blocks of equal length, one after another."""
    if not 1 <= chains <= replicas or replicas % chains:
        raise InputError(f"{source}: {replicas} replicas are not {chains} chains of equal length: correct chains=")
    return np.repeat(np.arange(chains), replicas // chains)


def blocks_of_chain(energy: np.ndarray) -> tuple[np.ndarray, float]:
    """Blocks of one Markov chain, long enough to be independent of each other, and its autocorrelation time.

    Args:
        energy: (T, n), in the order in which the chain went.

    Returns:
        labels (n,) of blocks of 10 integrated autocorrelation times of the energy (the longest over temperatures), at
        least 4 blocks; and that time, in configurations (1/2 for independent ones).
    """
    count = energy.shape[1]
    tau = max(integrated_time(series) if series.std() > 0 else 0.5 for series in energy) if count >= 8 else 0.5
    chance = 0.5 * (1 + 2 * np.sqrt(14 / count))  # two errors above 1/2, with a window of 3 (Sokal 1997)
    length = 1 if tau < chance else int(np.ceil(LONG * tau))
    blocks = min(max(count // length, FEWEST), count)
    return np.arange(count) * blocks // count, float(tau)
