"""Edge lists as text: rows ``i j J``, what their headers say, and which spin comes first."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from physgen.domains.spins.arrays import text_of
from physgen.domains.spins.coupling_headers import COMMENT, INLINE, EdgeTable, column_names, read_comment, split_row
from physgen.domains.spins.couplings import lattice_edges
from physgen.errors import InputError


def read_edge_table(path: Path, text: str | None = None) -> EdgeTable:
    """Read a text of rows ``i j J``, separated by blanks or commas; ``text`` is that of the file, where it is at hand.

    Understood in comments (``#``, ``%``, ``//``, ``!``, ``;``, a lone ``c``): ``H = -sum J s s - sum h s`` or with
    other signs (rows ``i i h`` are fields where the line has them), ``vartype=SPIN`` or ``BINARY`` of dimod (rows
    ``i i h`` are fields, and E = +sum J s s + sum h s where no other line says the sign), ``sign``, ``first``, ``T`` or
    ``beta``, ``N``, ``shape``, ``parallel``, names of the columns. A first row of names gives the columns, a first row
    of one or two numbers the counts of spins (and edges). What contradicts the rows is refused, what is not understood
    is noted.
    """
    lines = [line.strip() for line in (text_of(path) if text is None else text).splitlines() if line.strip()]
    table = EdgeTable(path, np.empty((0, 2)), np.empty(0), asks_sign=True)
    names: list[str] | None = None
    rows = []
    for line in lines:
        if COMMENT.match(line):
            names = read_comment(COMMENT.sub("", line).strip(), table) or names
        else:
            rows.append(split_row(INLINE.sub("", line)))
    if rows and all(not _is_number(word) for word in rows[0]):
        head = rows.pop(0)
        names = column_names(head)
        if names is None:
            raise InputError(
                f"{path} is no list of couplings: its line {' '.join(head)[:60]!r} is neither numbers, nor a comment "
                "(# ...), nor names of columns (spin1 spin2 J)"
            )
    count = None
    if len(rows) > 1 and len(rows[0]) < 3 <= len(rows[1]):
        count = rows.pop(0)
    if names and "number" in names:
        rows, names = [row[1:] if len(row) == 4 else row for row in rows], names[1:]
    _fill(table, rows, names)
    _check_counts(table, count)
    if table.linear and not table.sign:
        table.sign = "plus"  # dimod's sign, where no line says another
    return table


def numbers(rows: list[list[str]]) -> np.ndarray:
    """Rows of words as numbers; exponents may be Fortran's, 1.5D+00. Raises ValueError."""
    return np.array([[float(_exponent(word)) for word in row] for row in rows], dtype=np.float64)


def _exponent(word: str) -> str:
    return re.sub(r"(?<=[\d.])[dD](?=[+-]?\d)", "e", word)


def _is_number(word: str) -> bool:
    try:
        float(_exponent(word))
    except ValueError:
        return False
    return True


def _fill(table: EdgeTable, rows: list[list[str]], names: list[str] | None) -> None:
    path = table.path
    widths = {len(row) for row in rows}
    try:
        values = numbers(rows) if len(widths) == 1 else np.empty((0, 0))
    except ValueError as error:
        raise InputError(f"{path} is not a table of numbers 'spin1 spin2 J' ({error}): one edge in each row") from None
    if values.size == 0 or values.shape[1] != 3 or not np.isfinite(values).all():
        found = f"has rows of {', '.join(map(str, sorted(widths)))} numbers" if rows else "holds no couplings"
        if values.size and values.shape[1] == 3:
            worst = int(np.argmax(~np.isfinite(values).all(axis=1)))
            found = f"has the row {' '.join(rows[worst])!r}"
        raise InputError(
            f"{path} {found}: it must hold rows of three finite numbers 'spin1 spin2 J', with a decimal point, one "
            "bond in each row"
        )
    strength = names.index("strength") if names else 2
    ends = np.delete(values, strength, axis=1)
    table.couplings, table.ends = values[:, strength], ends.astype(np.int64)
    if np.any(table.ends != ends):
        raise InputError(
            f"{path}: spins must be whole numbers, the columns are spin1 spin2 J unless a header names them"
        )
    own = ends[:, 0] == ends[:, 1]
    if not table.linear and np.any(own):
        raise InputError(
            f"{path}: row {' '.join(rows[int(np.argmax(own))])!r} joins a spin to itself: rows i i h are fields only "
            "where a line says so, '# H = -sum J s s - sum h s' or '# vartype=SPIN'; else leave them out"
        )
    if table.turned:
        table.couplings = np.where(own, -table.couplings, table.couplings)


def _check_counts(table: EdgeTable, count: list[str] | None) -> None:
    """A first row 'N' or 'N M' has to be that of the rows."""
    if count is None:
        return
    found = [int(word) if word.isdigit() else -1 for word in count]
    if min(found) < 0 or len(found) == 2 and found[1] != len(table.couplings):
        raise InputError(
            f"{table.path}: the first row {' '.join(count)!r} is neither an edge nor the counts 'spins edges' of the "
            f"{len(table.couplings)} rows below it: correct or remove it"
        )
    table.spins = found[0]


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
            f"{path} names spin {low if low < 0 else high}, there are {spins} spins"
            f"{f', counted from {given}' if given else ''}; check shape, their number, first, and whether the files "
            "belong together"
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
        parallel: what rows of one bond (or one field) mean: ``sum`` adds them up, ``once`` takes rows that repeat one
            coupling (a symmetric matrix) as one; without it, in the file too, they are refused.
    """
    if table.parallel and parallel and table.parallel != parallel:
        raise InputError(f"parallel={parallel}, the header of {table.path} says {table.parallel}: correct one")
    parallel = parallel or table.parallel
    if parallel not in ("", "sum", "once"):
        raise InputError(f"parallel={parallel} is unknown: give parallel=sum or parallel=once")
    ends = np.sort(table.ends - first, axis=1)
    edges, where, count = np.unique(ends, axis=0, return_inverse=True, return_counts=True)
    where = where.reshape(-1)
    total: np.ndarray = np.bincount(where, weights=table.couplings, minlength=len(edges))
    if count.max(initial=1) > 1 and parallel != "sum":
        apart = np.abs(total[where] / count[where] - table.couplings)
        row = int(np.argmax(np.where(count[where] > 1, apart + 1, 0)))
        bond = (ends[row] + first).tolist()
        if not parallel:
            raise InputError(
                f"{table.path} gives bond {bond} in {count[where[row]]} rows: give parallel=sum if parallel bonds add "
                "up, or parallel=once if the rows are a symmetric matrix that names each bond twice (or say it in the "
                "file, '# parallel=sum')"
            )
        if apart.max() > 1e-6 * np.abs(table.couplings).max():
            raise InputError(
                f"{table.path} gives bond {bond} two different couplings, so the rows are not a symmetric matrix: "
                "parallel=sum adds them up"
            )
        total = total / count
    if table.binary:
        edges, total = _spins_of_binary(edges, total)
    own = edges[:, 0] == edges[:, 1]
    fields = list(zip(edges[own, 0].tolist(), total[own].tolist(), strict=True))
    return edges[~own].astype(np.int32), total[~own], fields


def _spins_of_binary(edges: np.ndarray, total: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    r"""Couplings of spins s, rows (i, i) their fields, of a model in x = (1 + s)/2; constants are left out.

    :math:`q x_i x_j = q/4 (s_i s_j + s_i + s_j + 1)` and :math:`a x_i = a/2 (s_i + 1)`.
    """
    own, spins = edges[:, 0] == edges[:, 1], int(edges.max()) + 1
    pairs, strengths = edges[~own], total[~own] / 4
    fields = np.bincount(edges[own, 0], total[own] / 2, spins)
    fields += np.bincount(pairs.reshape(-1), np.repeat(strengths, 2), spins)
    sites = np.flatnonzero(fields)
    return np.concatenate([pairs, np.stack([sites, sites], axis=1)]), np.concatenate([strengths, fields[sites]])


def on_lattice(edges: np.ndarray, couplings: np.ndarray, grid: tuple[int, ...], path: Path) -> np.ndarray:
    """Bonds (d, *grid) of a graph that is a hypercubic lattice in C order; absent bonds are zero.

    Along an axis of length 2 the bonds up and down join the same two spins: the first one holds their sum.
    """
    spins = int(np.prod(grid))
    if min(grid) < 2:
        raise InputError(f"shape {grid}: below a length of 2 a bond joins a spin to itself: leave that axis out")
    ends = np.sort(lattice_edges(grid), axis=1).astype(np.int64)
    keys = ends[:, 0] * spins + ends[:, 1]
    order = np.argsort(keys, kind="stable")
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
