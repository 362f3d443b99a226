"""Which row of a table belongs to which field: by the file or the simulation that a row names, else by its position."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from physgen.domains.cosmology.sources import Source
from physgen.domains.cosmology.tables import FILE_COLUMNS, Table
from physgen.errors import InputError

NUMBER_COLUMNS = ("simulation", "sim", "realisation", "realization", "id")
SEED_COLUMNS = ("seed", "random_seed", "ic_seed")
RESERVED = {"field", "sample", "component", "x", "y", "z", "source", "mask", "mean_density", "index"}


@dataclass(frozen=True)
class Origin:
    """Where one field comes from: a file, the place in it, and how many fields the file holds."""

    path: Path
    index: int
    count: int

    def text(self, twins: bool) -> str:
        """For the variable ``source``; with the folder where files of one name (``twins``) come from several."""
        name = f"{self.path.parent.name}/{self.path.name}" if twins else self.path.name
        return f"{name}[{self.index}]" if self.count > 1 else name


@dataclass(frozen=True)
class Joined:
    """Labels (n,) by name, simulation numbers (n,), whole-number columns (n,), and what was done."""

    labels: dict[str, np.ndarray]
    simulation: np.ndarray
    seeds: dict[str, np.ndarray] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def source_names(origins: list[Origin]) -> list[str]:
    """The variable ``source``, one text per field."""
    paths = {origin.path for origin in origins}
    twins = len({path.name for path in paths}) < len(paths)
    return [origin.text(twins) for origin in origins]


def order_note(files: Sequence[Path]) -> str:
    """In which order files were joined; nothing of a single one."""
    if len(files) == 1:
        return ""
    names = [path.name for path in files]
    if len(set(names)) < len(names):
        names = [f"{path.parent.name}/{path.name}" for path in files]
    listed = names if len(names) <= 12 else [*names[:6], "...", *names[-2:]]
    return f"order of the {len(files)} files: {', '.join(listed)}"


def join(table: Table | None, origins: list[Origin], each: int) -> Joined:
    """Rows of ``table`` for the fields ``origins``, of which ``each`` consecutive ones share a simulation.

    A column ``file`` (or ``name`` that holds file names) joins by file, with a column ``index`` by the place in it. A
    column ``simulation`` of a table with one row per simulation joins by number; with one row per field it gives the
    simulation of each. Else row i belongs to field i, or to simulation i.
    """
    fields = len(origins)
    blocks = np.arange(fields) // each
    if table is None:
        return Joined({}, blocks)
    check_names(table)
    files = _file_column(table, origins)
    if files is not None:
        rows = _rows_by_file(table, files, origins)
        how = "by the files that its rows name"
    else:
        rows, how = _rows_by_number(table, fields, each)
    numbers = _numbers(table)
    simulation = blocks
    if numbers is not None and (files is not None or len(table) == fields):
        simulation = _check_blocks(numbers[rows], each, table)
    kept = [n for n in table.names if n.lower() not in (*NUMBER_COLUMNS, *SEED_COLUMNS, "index")]
    labels = {name: table.values[rows, table.names.index(name)] for name in kept}
    seeds = {n.lower(): table.values[rows, table.names.index(n)] for n in table.names if n.lower() in SEED_COLUMNS}
    note = f"labels {', '.join(kept) or 'none'} from {table.path.name}, {how}"
    return Joined(labels, simulation, seeds, [*table.notes, note])


def own_table(sources: list[Source]) -> Table | None:
    """The labels that files say themselves, a row for each field in the order of the files; None where none does.

    Raises:
        InputError: files that say different labels.
    """
    names = list(sources[0].labels)
    strange = next((source for source in sources if list(source.labels) != names), None)
    if strange is not None:
        raise InputError(
            f"{sources[0]} says the labels {', '.join(names) or 'none'}, {strange} "
            f"{', '.join(strange.labels) or 'none'}: import files of one kind at a time, or give labels=FILE"
        )
    if not names:
        return None
    rows = [np.stack([np.broadcast_to(s.labels[n], len(s.array)) for n in names], axis=1) for s in sources]
    values = np.concatenate(rows).astype(np.float64)
    index = np.arange(len(values), dtype=float)[:, None]
    return Table(sources[0].path, np.hstack([values, index]), [*names, "index"], {}, [])


def confront_labels(labels: dict[str, np.ndarray], own: Table) -> None:
    """Raise InputError where labels (n,) of a table contradict what the files say of themselves."""
    for name, column in labels.items():
        said = own.column(name)
        if said is not None and not np.allclose(column, said, rtol=1e-3):
            row = int(np.argmax(~np.isclose(column, said, rtol=1e-3)))
            raise InputError(
                f"{own.path} and its like say {name} = {said[row]:g} of field {row}, the table {column[row]:g}: the "
                "rows belong to other fields"
            )


def check_names(table: Table) -> None:
    """Raise InputError unless every column has a name that is free."""
    columns = table.values.shape[1]
    if columns and not table.names:
        raise InputError(
            f"{table.path} needs a first line that names its {columns} columns, e.g. '# Omega_m sigma_8'"
            + (f" ({table.notes[-1]})" if table.notes else "")
        )
    reserved = (RESERVED - {"index"}) & set(table.names)
    if reserved:
        raise InputError(f"{table.path} names a label {sorted(reserved)[0]!r}, which has another meaning: rename it")


def _file_column(table: Table, origins: list[Origin]) -> list[str] | None:
    for name in FILE_COLUMNS:
        if name in table.words:
            return table.words[name]
    names = table.words.get("name", [])
    stems = {part for origin in origins for part in (origin.path.name, origin.path.stem)}
    return names if names and any(Path(name).name in stems for name in names) else None


def _rows_by_file(table: Table, files: list[str], origins: list[Origin]) -> np.ndarray:
    """Row of each field; every file must have one row, or one for each of its fields."""
    index = table.column("index")
    rows = []
    for origin in origins:
        name, stem = origin.path.name, origin.path.stem
        fitting = [i for i, word in enumerate(files) if Path(word).name == name or Path(word).name == stem]
        exact = [i for i in fitting if origin.path.as_posix().endswith(files[i].lstrip("./"))]
        fitting = exact if len(exact) and len(exact) < len(fitting) else fitting
        if index is not None:
            fitting = [i for i in fitting if int(index[i]) == origin.index]
        elif len(fitting) == origin.count > 1:
            fitting = [fitting[origin.index]]
        if len(fitting) != 1:
            found = "no row" if not fitting else f"{len(fitting)} rows"
            raise InputError(
                f"{table.path} has {found} for {name}, which holds {origin.count} fields: give one row per file, or "
                "one per field of the file with a column 'index'"
            )
        rows.append(fitting[0])
    return np.array(rows)


def _numbers(table: Table) -> np.ndarray | None:
    """Simulation numbers of the rows, from a column of numbers or of names that end in one (``LH_17``)."""
    for name in table.names:
        if name.lower() in NUMBER_COLUMNS:
            column = table.values[:, table.names.index(name)]
            if np.any(column != np.rint(column)):
                raise InputError(f"{table.path} has a fraction in its column {name!r}: simulations are whole numbers")
            return column.astype(np.int64)
    for name in ("name", *NUMBER_COLUMNS):
        if name in table.words and not _is_file_name(table.words[name][0]):
            return name_numbers(table.words[name])
    return None


def _is_file_name(word: str) -> bool:
    return bool(re.search(r"\.(npy|npz|fits?|hdf5|h5|fz|gz|pt|pth)$", word, re.IGNORECASE))


def name_numbers(names: list[str]) -> np.ndarray:
    """Whole numbers that tell names apart: the one they end in where that is unique, else the order of appearance."""
    ends = [re.search(r"(\d+)$", name) for name in names]
    stems = {re.sub(r"\d+$", "", name) for name in names}
    if all(ends) and len(stems) == 1:
        return np.array([int(end[1]) for end in ends if end])
    order = {name: i for i, name in enumerate(dict.fromkeys(names))}
    return np.array([order[name] for name in names])


def _rows_by_number(table: Table, fields: int, each: int) -> tuple[np.ndarray, str]:
    simulations = fields // each
    if len(table) not in (fields, simulations):
        raise InputError(
            f"{table.path} has {len(table)} rows for {fields} fields of {simulations} simulations: "
            "give one row per field or per simulation"
        )
    rows = np.repeat(np.arange(len(table)), fields // len(table))
    numbers = table.column("index")
    numbers = _numbers(table) if numbers is None else numbers.astype(np.int64)
    if numbers is None or np.all(np.diff(numbers) >= 0):
        return rows, "row by row"
    ordered = np.array_equal(np.sort(numbers) - numbers.min(), np.arange(len(numbers))) and numbers.min() in (0, 1)
    if ordered and (len(table) == simulations < fields or table.column("index") is not None):
        return np.argsort(numbers)[np.repeat(np.arange(len(table)), fields // len(table))], "by the number of each row"
    if ordered:
        raise InputError(
            f"{table.path} numbers its rows {', '.join(map(str, numbers[:4]))}, ...: is row 0 that of the first field "
            f"or of field {numbers[0]}? Sort the table by that column, or name the file of each row in a column 'file'"
        )
    return rows, "row by row"


def _check_blocks(numbers: np.ndarray, each: int, table: Table) -> np.ndarray:
    blocks = numbers.reshape(-1, each)
    if np.any(blocks != blocks[:, :1]):
        raise InputError(
            f"maps_per_simulation = {each}, but {table.path} gives consecutive fields of one block different "
            "simulations: leave out the option, the table states it"
        )
    return numbers
