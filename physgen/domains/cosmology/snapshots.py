"""Gadget snapshots in HDF5: which files belong together, and what their headers say.

A snapshot is one file (``snapshot_090.hdf5``) or several (``snap_004.0.hdf5`` ... ``snap_004.7.hdf5``), in the folder
of its simulation or in one ``snapdir_004`` below it. Groups ``PartType0`` to ``PartType5``: gas, dark matter, two more
(neutrinos, tracers), stars, black holes. Velocities are stored over the root of the scale factor.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from physgen.domains.cosmology.sources import check_filters, natural_key, open_hdf5, read_rows
from physgen.errors import InputError

NAME = re.compile(r"(?P<stem>snap(?:shot)?_?\d+)(?:\.(?P<part>\d+))?\.(?:hdf5|h5)")
SNAPDIR = re.compile(r"snap(?:shot|dir)?s?_?\d*")
TYPES = ("gas", "dark matter", "type 2", "type 3", "stars", "black holes")
BLOCK = 2**20  # particles that are read at once
CM_PER_MPC = 3.085678e24


@dataclass(frozen=True)
class Snapshot:
    """One simulation at one time.

    Attributes:
        files: in the order of their numbers. simulation: name of its folder. set: name of the folder above.
        counts: particles of each type in all files. masses: of one particle of each type, 1e10 Msun/h; 0 where each
            has its own. box: side in the unit of the file. unit: that unit in Mpc/h, None where no header says it.
        redshift, Omega_m, Omega_Lambda, h: of the header; NaN where it has none of the last three.
    """

    files: tuple[Path, ...]
    simulation: str
    set: str
    counts: tuple[int, ...]
    masses: tuple[float, ...]
    box: float
    unit: float | None
    redshift: float
    Omega_m: float
    Omega_Lambda: float
    h: float

    def __str__(self) -> str:
        return str(self.files[0])


def find_snapshots(paths: list[Path]) -> list[Snapshot]:
    """The snapshots that ``paths``, files or folders, belong to or hold; each is completed by the files beside it.

    Raises:
        InputError: a name of another form, a file that is missing, or headers that contradict each other.
    """
    if not paths:
        raise InputError("no snapshot was given: name its files (snap_004.0.hdf5, snapshot_090.hdf5) or their folder")
    stems: dict[tuple[Path, str, bool], None] = {}
    for path in paths:
        inside = [p for p in path.rglob("*") if NAME.fullmatch(p.name)] if path.is_dir() else [path]
        if not inside:
            raise InputError(
                f"{path} holds no snapshot (snap_004.0.hdf5, snapshot_090.hdf5): name the files themselves"
            )
        for one in sorted(inside, key=natural_key):
            match = NAME.fullmatch(one.name)
            if not match:
                raise InputError(
                    f"{one.name} is not the name of a snapshot, e.g. snap_004.0.hdf5 or snapshot_090.hdf5: restore its "
                    "own name"
                )
            stems[one.absolute().parent, match["stem"], match["part"] is not None] = None
    return [_snapshot(_files(*key)) for key in stems]


def _files(folder: Path, stem: str, numbered: bool) -> list[Path]:
    matches = [(p, NAME.fullmatch(p.name)) for p in folder.iterdir()]
    return sorted(
        (p for p, m in matches if m and m["stem"] == stem and (m["part"] is not None) == numbered), key=natural_key
    )


def _snapshot(files: list[Path]) -> Snapshot:
    headers = [_header(path) for path in files]
    first = headers[0]
    _check_complete(files, int(np.ravel(first.get("NumFilesPerSnapshot", 1))[0]))
    for name in ("BoxSize", "Redshift", "MassTable", "NumPart_Total"):
        for path, header in zip(files, headers, strict=True):
            if not np.array_equal(np.ravel(header.get(name, 0)), np.ravel(first.get(name, 0))):
                raise InputError(
                    f"{files[0]} says {name} = {first.get(name)}, {path} {header.get(name)}: files of two snapshots "
                    "are mixed, copy them again"
                )
    total = np.asarray(first["NumPart_Total"], dtype=np.int64)
    total = total + (np.asarray(first.get("NumPart_Total_HighWord", np.zeros_like(total)), dtype=np.int64) << 32)
    here = np.sum([np.asarray(header["NumPart_ThisFile"], dtype=np.int64) for header in headers], axis=0)
    if not np.array_equal(total, here):
        raise InputError(
            f"{files[0]} says {_listed(total)} particles of each type, its {len(files)} files hold {_listed(here)}: "
            "copy them again"
        )
    folder = files[0].parent
    folder = folder.parent if SNAPDIR.fullmatch(folder.name) else folder
    box = np.ravel(first["BoxSize"]).astype(float)
    if np.ptp(box) > 0:
        raise InputError(f"{files[0]} says a box of {box}: only cubes are read")
    return Snapshot(
        tuple(files), folder.name, folder.parent.name, tuple(map(int, total)),
        tuple(map(float, np.ravel(first.get("MassTable", np.zeros(len(total)))))), float(box[0]),
        float(np.ravel(first["UnitLength_in_cm"])[0]) / CM_PER_MPC if "UnitLength_in_cm" in first else None,
        round(float(np.ravel(first["Redshift"])[0]), 6),
        *(float(np.ravel(first.get(name, np.nan))[0]) for name in ("Omega0", "OmegaLambda", "HubbleParam")),
    )  # fmt: skip


def _header(path: Path) -> dict[str, Any]:
    with open_hdf5(path) as file:
        if "Header" not in file:
            raise InputError(f"{path} has no group 'Header', found {sorted(file)}: this is not a Gadget snapshot")
        found: dict[str, Any] = {}
        for group in ("Parameters", "Units", "Header"):  # newer codes put the cosmology into Parameters
            found |= dict(file[group].attrs) if group in file else {}
        missing = [n for n in ("BoxSize", "Redshift", "NumPart_Total", "NumPart_ThisFile") if n not in found]
        if missing:
            raise InputError(f"{path} has no {missing[0]} in its header: this is not a whole Gadget snapshot")
        return found


def _check_complete(files: list[Path], count: int) -> None:
    match = NAME.fullmatch(files[0].name)
    assert match is not None
    if match["part"] is None:
        if count != 1:
            raise InputError(
                f"{files[0]} is one of {count} files of its snapshot: restore the names {match['stem']}.0 ..."
            )
        return
    numbers = {int(m["part"]) for m in (NAME.fullmatch(path.name) for path in files) if m}
    missing = sorted(set(range(count)) - numbers)
    if missing or len(numbers) > count:
        what = f"{match['stem']}.{missing[0]}.hdf5 is missing" if missing else "there are more"
        raise InputError(f"{files[0].parent} should hold {count} files of {match['stem']}, {what}: copy the whole set")


def _listed(numbers: np.ndarray) -> str:
    return ", ".join(str(int(n)) for n in numbers)


def particle_blocks(snapshot: Snapshot, kind: int, names: tuple[str, ...]) -> Iterator[list[np.ndarray]]:
    """The data sets ``names`` of PartType ``kind``, some particles at a time, through all files."""
    for path in snapshot.files:
        with open_hdf5(path) as file:
            group = f"PartType{kind}"
            if group not in file:
                continue
            missing = [name for name in names if name not in file[group]]
            if missing:
                raise InputError(f"{path} has no {group}/{missing[0]}, found {', '.join(file[group])}: copy it again")
            sets = [file[group][name] for name in names]
            for one in sets:
                check_filters(one, path)
            for start in range(0, len(sets[0]), BLOCK):
                yield [read_rows(one, path, slice(start, start + BLOCK)) for one in sets]


def has_mass(snapshot: Snapshot, kind: int) -> bool:
    """Whether the particles of a type have a mass, of the table or of their own (tracers of gas have none)."""
    if snapshot.masses[kind]:
        return True
    for path in snapshot.files:
        with open_hdf5(path) as file:
            if f"PartType{kind}" in file:
                return "Masses" in file[f"PartType{kind}"]
    return False


def total_mass(snapshot: Snapshot, kinds: list[int]) -> float | None:
    """1e10 Msun/h in all particles of these types; None where some have no mass."""
    if not all(has_mass(snapshot, kind) for kind in kinds):
        return None
    total = sum(snapshot.masses[kind] * snapshot.counts[kind] for kind in kinds)
    for kind in (kind for kind in kinds if not snapshot.masses[kind]):
        total += sum(float(masses.sum(dtype=np.float64)) for (masses,) in particle_blocks(snapshot, kind, ("Masses",)))
    return total
