"""Edge lists as text: rows ``i j J``, what their headers say, and which spin comes first."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from physgen.domains.spins.conventions import read_temperatures
from physgen.domains.spins.couplings import lattice_edges
from physgen.errors import InputError

COMMENT = re.compile(r"^\s*(?:#|%|//)+")
PAIR = re.compile(r"([A-Za-z_]+)\s*[=:]\s*([^\s;]+)")
HAMILTONIAN = re.compile(r"\b[HE]\s*=\s*([+-]?)\s*(?:\\?sum|Σ|∑)", re.IGNORECASE)
FIRST_END = {"i", "u", "spin1", "site1", "row", "source", "from", "node1", "spin_1", "site_1"}
SECOND_END = {"j", "v", "spin2", "site2", "col", "column", "target", "to", "node2", "spin_2", "site_2"}
STRENGTH = {"J", "w", "coupling", "couplings", "weight", "value", "bias", "Jij", "J_ij", "strength"}
TEMPERATURES, BETAS = ("t", "temperature", "temperatures"), ("beta", "betas")
SHAPES = ("shape", "lattice")
COUNTS, FIRSTS = ("n", "spins", "sites", "nodes", "vertices"), ("first", "base")
HARMLESS = ("seed", "date", "author", "file", "created", "version")


@dataclass
class EdgeTable:
    """Rows of one file as they stand there, and what its header says."""

    path: Path
    ends: np.ndarray  # (M, 2), numbered as in the file
    couplings: np.ndarray  # (M,)
    sign: str = ""  # of the header: minus, plus
    first: int | None = None
    temperatures: np.ndarray | None = None
    spins: int | None = None
    shape: str = ""  # of the lattice, 6,3,3, as an option says it
    linear: bool = False  # rows i i h are external fields
    asks_sign: bool = False  # the sign has to be given, unless ``sign`` says it
    notes: list[str] = field(default_factory=list)


def read_edge_table(path: Path) -> EdgeTable:
    """Read a text file of rows ``i j J``, separated by blanks or commas.

    Understood in comments (``#``, ``%``, ``//``): ``vartype=SPIN`` of dimod (rows ``i i h`` are fields, and
    E = +sum J s s + sum h s where no other line says the sign), ``H = -sum``, ``sign``, ``first``, ``T`` or ``beta``,
    ``N``, ``shape``, names of the columns. A first row of names gives the columns, a first row of one or two numbers
    the counts of spins (and edges). What contradicts the rows is refused, what is not understood is noted.
    """
    try:
        lines = [line.strip() for line in path.read_text().splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not a table of numbers 'spin1 spin2 J' ({error}): one edge in each row") from None
    table = EdgeTable(path, np.empty((0, 2)), np.empty(0))
    names: list[str] | None = None
    rows = []
    for line in lines:
        if COMMENT.match(line):
            names = _read_comment(COMMENT.sub("", line).strip(), table) or names
        else:
            rows.append(re.split(r"[\s,;]+", line))
    if rows and all(not _is_number(word) for word in rows[0]):
        names = _column_names(rows.pop(0))
        if names is None:
            raise InputError(f"{path}: columns {lines[0]!r} are not understood: name them spin1 spin2 J, or leave them")
    count = None
    if len(rows) > 1 and len(rows[0]) < 3 <= len(rows[1]):
        count = rows.pop(0)
    _fill(table, rows, names)
    _check_counts(table, count)
    return table


def _read_comment(text: str, table: EdgeTable) -> list[str] | None:
    """Take what a comment says; the names of columns where it holds them."""
    names = _column_names(re.split(r"[\s,;]+", text))
    if names:
        return names
    convention = HAMILTONIAN.search(text)
    if convention:
        table.sign = "minus" if convention[1] == "-" else "plus"
    known = bool(convention)
    for key, value in PAIR.findall(text) if not convention else ():
        known |= _take(key.lower(), value, table)
    if not known and text:
        table.notes.append(f"{table.path.name}: the comment {text[:60]!r} was not understood")
    return None


def _take(key: str, value: str, table: EdgeTable) -> bool:
    """One key=value of a header; whether it is known."""
    if key == "vartype":
        if value.upper() != "SPIN":
            raise InputError(
                f"{table.path} holds variables of type {value} (0 and 1): convert the model to spins +-1 first, with "
                "dimod bqm.change_vartype('SPIN', inplace=False)"
            )
        table.sign, table.linear = table.sign or "plus", True  # dimod's sign, where no line says another
    elif key == "sign":
        table.sign = {"-": "minus", "+": "plus"}.get(value, value)
    elif key in FIRSTS and value in ("0", "1"):
        table.first = int(value)
    elif key in TEMPERATURES or key in BETAS:
        table.temperatures = read_temperatures(**{"temperatures" if key in TEMPERATURES else "betas": value})
    elif key in COUNTS and value.isdigit():
        table.spins = int(value)
    elif key in SHAPES and re.fullmatch(r"\d+([,x]\d+){0,2}", value):
        table.shape = value.replace("x", ",")
    else:
        return key in HARMLESS
    return True


def _column_names(words: list[str]) -> list[str] | None:
    """end, end, strength in the order of the columns, or None where the words do not name columns."""
    kinds = []
    for word in words:
        lower = word.lower()
        if word in STRENGTH or word != "j" and lower in STRENGTH:
            kinds.append("strength")
        elif lower in FIRST_END | SECOND_END:
            kinds.append("end")
        else:
            return None
    return kinds if sorted(kinds) == ["end", "end", "strength"] else None


def _fill(table: EdgeTable, rows: list[list[str]], names: list[str] | None) -> None:
    path = table.path
    try:
        widths = {len(row) for row in rows}
        values = np.array([[float(word) for word in row] for row in rows]) if len(widths) == 1 else np.empty((0, 0))
    except ValueError as error:
        raise InputError(f"{path} is not a table of numbers 'spin1 spin2 J' ({error}): one edge in each row") from None
    if values.size == 0 or values.shape[1] != 3 or not np.isfinite(values).all():
        raise InputError(
            f"{path} has {len(rows)} rows of {sorted(widths) or 'no'} numbers: it must hold rows of three finite "
            "numbers 'spin1 spin2 J'"
        )
    strength = names.index("strength") if names else 2
    ends = np.delete(values, strength, axis=1)
    table.couplings, table.ends = values[:, strength], ends.astype(np.int64)
    if np.any(table.ends != ends):
        raise InputError(
            f"{path}: spins must be whole numbers, the columns are spin1 spin2 J unless a header names them"
        )
    if not table.linear and np.any(ends[:, 0] == ends[:, 1]):
        raise InputError(f"{path}: no edge may join a spin to itself (rows i i h need a header '# vartype=SPIN')")


def _check_counts(table: EdgeTable, count: list[str] | None) -> None:
    """A first row 'N' or 'N M' has to be that of the rows."""
    if count is None:
        return
    numbers = [int(word) if word.isdigit() else -1 for word in count]
    if min(numbers) < 0 or len(numbers) == 2 and numbers[1] != len(table.couplings):
        raise InputError(
            f"{table.path}: the first row {' '.join(count)!r} is neither an edge nor the counts 'spins edges' of the "
            f"{len(table.couplings)} rows below it: correct or remove it"
        )
    table.spins = numbers[0]


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


# --- which spin is the first -------------------------------------------------------------------------


def first_spin(tables: list[EdgeTable], spins: int, given: str, grid: tuple[int, ...] | None) -> int:
    """0 or 1: the number of the first spin, as given, as a header says, or as only one reading is possible."""
    said = {table.first for table in tables if table.first is not None}
    said |= {int(given)} if given in ("0", "1") else set()
    if given not in ("", "0", "1") or len(said) > 1:
        raise InputError(f"first={given or sorted(said)}: spins are counted from 0 or from 1, in all files alike")
    low = min(int(table.ends.min()) for table in tables)
    high = max(int(table.ends.max()) for table in tables)
    path = tables[0].path if len(tables) == 1 else "the edge lists"
    possible = [first for first in (said or (0, 1)) if low >= first and high < spins + first]
    if not possible:
        raise InputError(
            f"{path} names spin {low if low < 0 else high}, the configurations have {spins}"
            f"{f', counted from {given}' if given else ''}: check that they belong together"
        )
    if len(possible) > 1 and grid is not None:
        fitting = [first for first in possible if all(fits_lattice(t.ends - first, grid) for t in tables)]
        possible = fitting if len(fitting) == 1 else possible
    if len(possible) > 1:
        raise InputError(
            f"{path} names spins {low} to {high} of {spins}: they may be counted from 0 or from 1: give first=0 "
            "or first=1"
        )
    return possible[0]


def fits_lattice(ends: np.ndarray, grid: tuple[int, ...]) -> bool:
    """Whether every edge is a bond of the lattice ``grid`` in C order."""
    spins = int(np.prod(grid))
    bonds = np.sort(lattice_edges(grid), axis=1).astype(np.int64)
    ends = np.sort(ends, axis=1)
    return bool(np.isin(ends[:, 0] * spins + ends[:, 1], bonds[:, 0] * spins + bonds[:, 1]).all())


def graph_of(table: EdgeTable, first: int, parallel: str) -> tuple[np.ndarray, np.ndarray, list[tuple[int, float]]]:
    """Edges (M, 2) int32, i < j and sorted, their couplings (M,), and the fields (spin, h) of a table.

    Args:
        parallel: what rows of one bond mean: ``sum`` adds them up, ``once`` takes rows that repeat one coupling (a
            symmetric matrix) as one; without it they are refused.
    """
    if parallel not in ("", "sum", "once"):
        raise InputError(f"parallel={parallel} is unknown: give parallel=sum or parallel=once")
    ends = np.sort(table.ends - first, axis=1)
    diagonal = ends[:, 0] == ends[:, 1]
    fields = list(zip(ends[diagonal, 0].tolist(), table.couplings[diagonal].tolist(), strict=True))
    ends, rows = ends[~diagonal], table.couplings[~diagonal]
    edges, where, count = np.unique(ends, axis=0, return_inverse=True, return_counts=True)
    where = where.reshape(-1)
    total: np.ndarray = np.bincount(where, weights=rows, minlength=len(edges))
    if count.max(initial=1) > 1 and parallel != "sum":
        apart = np.abs(total[where] / count[where] - rows)
        row = int(np.argmax(np.where(count[where] > 1, apart + 1, 0)))
        bond = (ends[row] + first).tolist()
        if not parallel:
            raise InputError(
                f"{table.path} gives bond {bond} in {count[where[row]]} rows: give parallel=sum if parallel bonds add "
                "up, or parallel=once if the rows are a symmetric matrix that names each bond twice"
            )
        if apart.max() > 1e-6:
            raise InputError(
                f"{table.path} gives bond {bond} two different couplings, so the rows are not a symmetric matrix: "
                "parallel=sum adds them up"
            )
        total = total / count
    return edges.astype(np.int32), total, fields


def on_lattice(edges: np.ndarray, couplings: np.ndarray, grid: tuple[int, ...], path: Path) -> np.ndarray:
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
            f"{path}: edge {edges[np.argmax(stray)].tolist()} is not a bond of the lattice {grid} in C order: "
            "check shape, or leave it out to import a general graph"
        )
    bonds = np.zeros(len(keys))
    bonds[order[place]] = couplings
    return bonds.reshape(len(grid), *grid)
