"""Files of couplings that other programs write, as edge tables: DIMACS, dimod JSON, matrices, Gset/rudy and edge lists.

What a file is shows in its content, not in its name. Files that do not say the sign of their couplings are marked
(``asks_sign``): for these it has to be given, because half of the programs mean E = +sum J s s.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from physgen.domains.spins.arrays import array
from physgen.domains.spins.edge_list import EdgeTable, fits_lattice, read_edge_table
from physgen.errors import InputError

SYMMETRIC = 1e-6  # relative to the largest entry


def read_table(path: Path) -> EdgeTable:
    """The couplings of one file, in any of the formats of this module.

    Raises InputError with what is wrong and what to do, for a file that is none of them.
    """
    if path.suffix == ".npy":
        return _from_matrix(array(path), path)
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not a text file of couplings ({' '.join(str(error).split())})") from None
    if text.lstrip()[:1] in ("{", "["):
        return _from_json(text, path)
    lines = [line.split() for line in text.splitlines() if line.strip()]
    if any(words[0] == "p" and len(words) > 2 for words in lines):
        return _from_dimacs(lines, path)
    rows = [
        line.replace(",", " ").split() for line in text.splitlines() if line.strip() and line.lstrip()[0] not in "#%"
    ]
    if len(rows) > 3 and all(len(row) == len(rows) for row in rows):
        try:
            return _from_matrix(np.array(rows, dtype=np.float64), path)
        except ValueError as error:
            raise InputError(f"{path} is a matrix that does not hold numbers ({error}): correct that entry") from None
    return read_edge_table(path)


def matrix_files(paths: Iterable[Path]) -> bool:
    """Whether every path is an array file that holds one square matrix (N, N), N > 2."""
    shapes = [array(path).shape if path.suffix == ".npy" else () for path in paths]
    return all(len(shape) == 2 and shape[0] == shape[1] > 2 for shape in shapes)


def asked_sign(tables: Iterable[EdgeTable], given: bool) -> None:
    """InputError where a file does not say the sign of its couplings, and nobody else does."""
    for table in tables:
        if table.asks_sign and not table.sign and not given:
            raise InputError(
                f"{table.path} does not say the sign of its couplings: give sign=minus for H = -sum J s s, or "
                "sign=plus for E = +sum J s s (max-cut weights and most annealers)"
            )


def lattice_of(table: EdgeTable, dimension: int) -> str:
    """``shape`` of the hypercubic lattice with sides of equal length that a table is, as an option; else empty."""
    if not len(table.ends):
        return ""
    for first in (0, 1) if table.first is None else (table.first,):
        ends = table.ends - first
        count = table.spins or int(ends.max()) + 1
        grid = (round(count ** (1 / dimension)),) * dimension
        if min(grid) > 2 and math.prod(grid) == count and ends.min() >= 0 and fits_lattice(ends, grid):
            return ",".join(map(str, grid))
    return ""


def _from_matrix(values: np.ndarray, path: Path) -> EdgeTable:
    """J (N, N): symmetric, or each bond once in one triangle. The diagonal is zero."""
    if values.ndim != 2 or values.shape[0] != values.shape[1] or values.dtype.kind not in "iuf":
        raise InputError(f"{path}: a matrix of couplings is square and holds numbers, this is {values.shape}")
    values = values.astype(np.float64)
    if not np.isfinite(values).all():
        raise InputError(f"{path}: the matrix holds values that are not finite: repair them")
    if np.any(np.diag(values)):
        site = int(np.argmax(np.diag(values) != 0))
        raise InputError(
            f"{path}: diagonal entry {site} is {values[site, site]:g}: no bond joins a spin to itself. Set the "
            "diagonal to 0; fields are rows i i h of an edge list with '# vartype=SPIN'"
        )
    upper, lower = np.triu(values, 1), np.tril(values, -1).T
    if upper.any() and lower.any() and np.abs(upper - lower).max() > SYMMETRIC * np.abs(values).max():
        i, j = np.unravel_index(np.argmax(np.abs(upper - lower)), values.shape)
        raise InputError(
            f"{path}: J[{i},{j}] = {values[i, j]:g} and J[{j},{i}] = {values[j, i]:g}: give a symmetric matrix, or "
            "each bond once above the diagonal"
        )
    bonds = upper if upper.any() else lower
    ends = np.argwhere(bonds)
    note = f"{path.name}: a matrix, each pair i < j is one bond J_ij s_i s_j"
    return EdgeTable(path, ends, bonds[bonds != 0], first=0, spins=len(values), notes=[note], asks_sign=True)


def _from_dimacs(lines: list[list[str]], path: Path) -> EdgeTable:
    """``c`` comments, one line ``p KIND N M``, lines ``e i j [J]`` (or ``a``), spins counted from 1."""
    spins = count = -1
    ends, couplings = [], []
    for words in lines:
        try:
            if words[0] == "p":
                spins, count = int(words[-2]), int(words[-1])
            elif words[0] in ("e", "a") and len(words) in (3, 4):
                ends.append((int(words[1]), int(words[2])))
                couplings.append(float(words[3]) if len(words) == 4 else 1.0)
            elif words[0] != "c":
                raise ValueError
        except ValueError:
            raise InputError(
                f"{path}: the line {' '.join(words)[:60]!r} is none of DIMACS: c comment, p KIND spins edges, e i j J"
            ) from None
    if count != len(ends) or not ends:
        raise InputError(f"{path}: its line p counts {count} edges, there are {len(ends)}: the file is not complete")
    found = np.array(ends, dtype=np.int64)
    if found.min() < 1 or found.max() > spins or np.any(found[:, 0] == found[:, 1]):
        raise InputError(f"{path}: edges of DIMACS join two different spins of 1 to {spins}: correct the others")
    return EdgeTable(path, found, np.array(couplings), first=1, spins=spins, asks_sign=True)


def _from_json(text: str, path: Path) -> EdgeTable:
    """A binary quadratic model of dimod, E = +sum J s s + sum h s: ``json.dumps(bqm.to_serializable())``."""
    try:
        model = json.loads(text)
        kind, labels = model["variable_type"], model["variable_labels"]
        linear = np.array(_plain(model["linear_biases"]), dtype=np.float64)
        quadratic = np.array(_plain(model["quadratic_biases"]), dtype=np.float64)
        ends = np.array([_plain(model["quadratic_head"]), _plain(model["quadratic_tail"])], dtype=np.int64).T
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} is JSON, but no binary quadratic model of dimod ({type(error).__name__}: {error}): write it with "
            "json.dumps(bqm.to_serializable())"
        ) from None
    if kind != "SPIN":
        raise InputError(
            f"{path} holds variables of type {kind} (0 and 1): convert the model to spins +-1 first, with "
            "dimod bqm.change_vartype('SPIN', inplace=False)"
        )
    named = labels != list(range(len(linear)))
    order = f"{path.name}: spins stand in the order of its variables, {', '.join(map(str, labels[:3]))}, ..."
    note = [order] if named else []
    fields = np.flatnonzero(linear)
    return EdgeTable(
        path, np.concatenate([ends, np.stack([fields, fields], axis=1)]), np.concatenate([quadratic, linear[fields]]),
        sign="plus", first=0, spins=len(linear), linear=True, notes=note,
    )  # fmt: skip


def _plain(values: Any) -> Any:
    """Values of a list; biases in bytes are refused."""
    if not isinstance(values, list):
        raise TypeError("biases are no list: use_bytes=False writes one")
    return values
