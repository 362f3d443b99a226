"""The parameters of snapshots: rows of a table by the folder of the simulation, confronted with the headers."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from physgen.domains.cosmology.labels import SEED_COLUMNS, name_numbers
from physgen.domains.cosmology.quijote_sets import EXTENDED, FIDUCIAL, fixed_labels, set_labels
from physgen.domains.cosmology.snapshots import Snapshot
from physgen.domains.cosmology.tables import Table
from physgen.errors import InputError

HEADER = {"Omega_m": "Omega_m", "h": "h"}  # label -> attribute of a snapshot that must agree
AGREE = 2e-3  # relative; headers and tables are rounded

Labels = dict[str, np.ndarray]


def labels_of(snapshots: list[Snapshot], tables: list[Table]) -> tuple[Labels, np.ndarray, Labels, list[str]]:
    """(labels (n,) by name, simulation numbers (n,), seeds (n,) by name, notes) of snapshots.

    Raises:
        InputError: several tables, no row for a simulation, or a row that contradicts the header.
    """
    if len(tables) > 1:
        raise InputError(f"{tables[0].path} and {tables[1].path} are both tables: give the one of these simulations")
    simulation = name_numbers([one.simulation for one in snapshots])
    _check_once(snapshots, simulation)
    seeds: Labels = {}
    if tables:
        labels, notes = _of_table(tables[0], snapshots)
        seeds = {name: labels.pop(name) for name in list(labels) if name.lower() in SEED_COLUMNS}
    else:
        labels, notes = _of_sets(snapshots)
    for name, attribute in HEADER.items():
        for i, one in enumerate(snapshots):
            said = getattr(one, attribute)
            if name in labels and np.isfinite(said) and abs(labels[name][i] / said - 1) > AGREE:
                raise InputError(
                    f"{one} says {name} = {said:g}, its row {labels[name][i]:g}: the table belongs to other "
                    "simulations, or its rows or columns to others"
                )
    redshifts = np.array([one.redshift for one in snapshots])
    if np.ptp(redshifts) > 0.005:
        labels["redshift"] = redshifts
    return labels, simulation, seeds, notes


def _check_once(snapshots: list[Snapshot], simulation: np.ndarray) -> None:
    seen: dict[tuple, Snapshot] = {}
    for one, number in zip(snapshots, simulation.tolist(), strict=True):
        key = (one.set, one.simulation, number, one.redshift)
        if key in seen:
            raise InputError(f"{seen[key]} and {one} are the same simulation at one redshift: name one of them")
        seen[key] = one


def _of_sets(snapshots: list[Snapshot]) -> tuple[Labels, list[str]]:
    """Fixed cosmologies of Quijote by the names of their folders where the headers agree, else the headers."""
    fixed = [fixed_labels(one.set) for one in snapshots]
    rows = [row for row in fixed if row is not None]
    if len(rows) == len(snapshots) and all(
        abs(row["Omega_m"] / one.Omega_m - 1) < AGREE for row, one in zip(rows, snapshots, strict=True)
    ):
        columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
        kept = {n: c for n, c in columns.items() if n in FIDUCIAL or np.ptp(c) or c[0] != EXTENDED[n]}
        return kept, [f"labels of {', '.join(dict.fromkeys(one.set for one in snapshots))}: their fixed cosmology"]
    omega = np.array([one.Omega_m for one in snapshots])
    if not np.isfinite(omega).all():
        return {}, ["no labels: the headers say no Omega0, and there is no table (params=FILE)"]
    labels = {"Omega_m": omega}
    little_h = np.array([one.h for one in snapshots])
    if np.isfinite(little_h).all() and np.ptp(little_h) > 0:
        labels["h"] = little_h
    return labels, [f"labels {', '.join(labels)} of the headers; sigma_8 and the rest need a table, params=FILE"]


def _of_table(table: Table, snapshots: list[Snapshot]) -> tuple[Labels, list[str]]:
    names = [Path(word).name for word in table.words.get("name", table.words.get("simulation", []))]
    if names:
        missing = [one for one in snapshots if names.count(one.simulation) != 1]
        if missing:
            raise InputError(
                f"{table.path} has {names.count(missing[0].simulation)} rows named {missing[0].simulation}, the folder "
                f"of {missing[0]}: give the table of these simulations"
            )
        rows = np.array([names.index(one.simulation) for one in snapshots])
        return _columns(table, rows), [f"rows of {table.path.name} by the names of the folders", *table.notes]
    numbers = [one.simulation[len(one.simulation.rstrip("0123456789")) :] for one in snapshots]
    if all(numbers):
        return set_labels(table, snapshots[0].set, np.array([int(number) for number in numbers]))
    if len(table) != len(snapshots):
        raise InputError(
            f"{table.path} has {len(table)} rows for {len(snapshots)} snapshots, whose folders end in no number: give "
            "a row for each in their order, or a first column with the names of the folders"
        )
    return set_labels(table, snapshots[0].set, np.arange(len(snapshots)))


def _columns(table: Table, rows: np.ndarray) -> Labels:
    from physgen.domains.cosmology.tables import canonical

    if not table.names:
        raise InputError(f"{table.path} needs a first line that names its columns, e.g. '#Name Omega_m sigma_8'")
    return {canonical(name): table.values[rows, i] for i, name in enumerate(table.names)}
