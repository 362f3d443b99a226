"""Files of couplings that other programs write, as edge tables: DIMACS, dimod JSON, matrices, Gset/rudy and edge lists.

What a file is shows in its content, not in its name. Files that do not say the sign of their couplings are marked
(``asks_sign``): for these it has to be given, because half of the programs mean E = +sum J s s.
"""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from physgen.domains.spins.arrays import content_of, open_arrays, text_of
from physgen.domains.spins.coupling_headers import BINARY_NOTE, COMMENT, INLINE, EdgeTable, read_comment, split_row
from physgen.domains.spins.edge_list import fits_lattice, numbers, read_edge_table
from physgen.errors import InputError

SYMMETRIC = 1e-6  # relative to the largest entry
LARGEST = 1e37  # of single precision, with room for sums
HDF5, NUMPY, ZIP = b"\x89HDF", b"\x93NUM", b"PK\x03\x04"


def read_couplings(path: Path) -> list[EdgeTable] | np.ndarray:
    r"""The couplings of one file: tables of edges, one for each instance, or an array of bonds on a lattice.

    Square matrices (N, N), stacks of symmetric ones (D, N, N), sparse ones of scipy and rows (M, 3) of edges are
    tables. Any of these and any text may be packed by gzip.

    Raises InputError with what is wrong and what to do, for a file that is none of them.
    """
    content = content_of(path)
    if content[:4] == HDF5:
        raise InputError(
            f"{path} is HDF5: ensembles of physgen are given as they are; configurations of mcising come in by "
            "physgen import mcising FILE; save an array of couplings with numpy.save"
        )
    if content[:4] not in (NUMPY, ZIP):
        tables = [_from_text(text_of(path, content), path)]
    else:
        values = open_arrays(path, content)
        if isinstance(values, dict) and {"format", "shape", "data"} <= set(values):
            tables = [_from_matrix(_sparse(content, path), path)]
        elif isinstance(values, dict) and len(values) != 1:
            raise InputError(
                f"{path} is an archive of {', '.join(values)}: save the one array that is meant, with numpy.save"
            )
        else:
            found = _tables_of_array(next(iter(values.values())) if isinstance(values, dict) else values, path)
            if isinstance(found, np.ndarray):
                return found
            tables = found
    for table in tables:
        table.text = content[:4] not in (NUMPY, ZIP)
        _check_size(table)
    return tables


def read_table(path: Path) -> EdgeTable:
    """The couplings of a file that holds one instance as a table; see :func:`read_couplings`."""
    found = read_couplings(path)
    if isinstance(found, np.ndarray) or len(found) > 1:
        raise InputError(
            f"{path} holds {'bonds of a lattice' if isinstance(found, np.ndarray) else 'several matrices'}, no edge "
            "list of one instance: import it with physgen import couplings, or write 'spin1 spin2 J'"
        )
    return found[0]


def _tables_of_array(values: np.ndarray, path: Path) -> list[EdgeTable] | np.ndarray:
    """A matrix, a stack of symmetric matrices or rows i j J as tables; other arrays are bonds, as they are."""
    if values.dtype.kind in "iuf":
        if values.ndim == 3 and len(values) and values.shape[1] == values.shape[2] > 2:
            diagonal = np.diagonal(values, axis1=1, axis2=2)
            if not diagonal.any() and np.array_equal(values, values.swapaxes(1, 2)):
                return [_from_matrix(one, path) for one in values]
        if values.ndim == 2 and values.shape[1] == 3 < len(values):
            return [read_edge_table(path, "\n".join(" ".join(map(repr, row)) for row in values.tolist()))]
    if values.ndim == 2 and values.shape[0] == values.shape[1] > 1:
        return [_from_matrix(values, path)]
    return values


def _sparse(content: bytes, path: Path) -> Any:
    import scipy.sparse

    try:
        return scipy.sparse.load_npz(io.BytesIO(content))
    except (OSError, ValueError, KeyError, NotImplementedError) as error:
        raise InputError(
            f"{path} is no sparse matrix of scipy ({error}): write it with scipy.sparse.save_npz"
        ) from None


def _from_text(text: str, path: Path) -> EdgeTable:
    """JSON of dimod, Matrix Market, DIMACS, a matrix, or rows i j J."""
    if text.lstrip()[:1] in ("{", "["):
        return _from_json(text, path)
    if text.lstrip().startswith("%%MatrixMarket"):
        return _from_matrix_market(text, path)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if any(re.match(r"p\s+\S+\s+\S", line) for line in lines):
        return _from_dimacs(lines, path)
    rows = [split_row(INLINE.sub("", line)) for line in lines if not COMMENT.match(line)]
    if _is_matrix(rows, path):
        try:
            table = _from_matrix(numbers(rows), path)
        except InputError:
            raise
        except ValueError as error:
            raise InputError(f"{path} is a matrix that does not hold numbers ({error}): correct that entry") from None
        for line in lines:
            if COMMENT.match(line):
                read_comment(COMMENT.sub("", line).strip(), table)
        return table
    return read_edge_table(path, text)


def _is_matrix(rows: list[list[str]], path: Path) -> bool:
    """Whether rows are square. Three rows of three may be edges as well: then the one reading that is possible."""
    size = len(rows)
    if size < 2 or any(len(row) != size for row in rows):
        return False
    if size != 3:
        return True
    try:
        values = numbers(rows)
    except ValueError:
        return False
    ends = values[:, :2]
    edges = bool(np.all(ends == np.rint(ends)) and np.all(ends[:, 0] != ends[:, 1]) and ends.min() >= 0)
    upper, lower = np.triu(values, 1), np.tril(values, -1).T
    matrix = not np.diag(values).any() and (not upper.any() or not lower.any() or bool(np.all(upper == lower)))
    if edges and matrix:
        raise InputError(
            f"{path} holds three rows of three numbers, which may be a matrix J (3, 3) or three edges: name the "
            "columns of edges in a first line 'spin1 spin2 J', or save the matrix as .npy"
        )
    return matrix


def _check_size(table: EdgeTable) -> None:
    """Couplings are finite, and single precision, in which they are stored, holds each of them."""
    size = np.abs(table.couplings)
    wrong = ~np.isfinite(size) | (size > LARGEST) | (size > 0) & (size < 1 / LARGEST)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise InputError(
            f"{table.path}: the coupling of spins {table.ends[row].tolist()} is {table.couplings[row]:g}: couplings "
            f"are finite and, if not 0, of a size of {1 / LARGEST:g} to {LARGEST:g}: correct it, or choose another unit"
        )


def asked_sign(tables: Iterable[EdgeTable], given: bool) -> None:
    """InputError where a file does not say the sign of its couplings, and nobody else does."""
    for table in tables:
        if table.asks_sign and not table.sign and not given:
            raise InputError(
                f"{table.path} does not say the sign of its couplings: give sign=minus for H = -sum J s s, or "
                "sign=plus for E = +sum J s s (max-cut weights and most annealers)"
            )


def lattice_of(table: EdgeTable, dimension: int) -> str:
    """``shape`` of the hypercubic lattice in C order that holds all bonds of a table, as an option; else empty.

    Of several lattices (few bonds) the one with the most equal sides: each of them describes the same couplings. One
    dimension is asked for by networks of graphs, whose sites have no other place: there a ring stays a graph.
    """
    if dimension < 2:
        return ""
    apart = table.ends[table.ends[:, 0] != table.ends[:, 1]]
    if not len(apart):
        return ""
    steps = np.unique(np.abs(apart[:, 0] - apart[:, 1])).tolist()
    for first in (0, 1) if table.first is None else (table.first,):
        ends = apart - first
        count = table.spins or int(table.ends.max()) - first + 1
        if table.ends.min() < first or ends.max() >= count:
            continue
        for grid in sorted(_grids(count, dimension), key=lambda sides: (max(sides) / min(sides), sides)):
            strides = [math.prod(grid[axis + 1 :]) for axis in range(dimension)]
            known = {step for side, stride in zip(grid, strides, strict=True) for step in (stride, stride * (side - 1))}
            if known.issuperset(steps) and fits_lattice(ends, grid):
                return ",".join(map(str, grid))
    return ""


def _grids(count: int, dimension: int) -> list[tuple[int, ...]]:
    """All sides of at least 3 whose product is ``count``."""
    if dimension <= 1:
        return [(count,)] if dimension == 1 and count > 2 else []
    sides = (side for side in range(3, count // 3 + 1) if count % side == 0)
    return [(side, *rest) for side in sides for rest in _grids(count // side, dimension - 1)]


def _from_matrix(values: Any, path: Path) -> EdgeTable:
    """J (N, N), dense or sparse: symmetric, or each bond once in one triangle. The diagonal is zero."""
    import scipy.sparse

    if values.ndim != 2 or values.shape[0] != values.shape[1] or values.dtype.kind not in "iuf":
        raise InputError(f"{path}: a matrix of couplings is square and holds numbers, this is {values.shape}")
    matrix = scipy.sparse.csr_array(values.astype(np.float64))
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    if not np.isfinite(matrix.data).all():
        raise InputError(f"{path}: the matrix holds values that are not finite: repair them")
    diagonal = matrix.diagonal()
    if diagonal.any():
        site = int(np.argmax(diagonal != 0))
        raise InputError(
            f"{path}: diagonal entry {site} is {diagonal[site]:g}: no bond joins a spin to itself. Set the "
            "diagonal to 0; fields are rows i i h of an edge list with '# H = -sum J s s - sum h s'"
        )
    upper, lower = scipy.sparse.triu(matrix, 1).tocsr(), scipy.sparse.tril(matrix, -1).T.tocsr()
    apart = abs(upper - lower).tocoo()
    if upper.nnz and lower.nnz and apart.data.max(initial=0) > SYMMETRIC * np.abs(matrix.data).max():
        worst = int(np.argmax(apart.data))
        i, j = int(apart.row[worst]), int(apart.col[worst])
        raise InputError(
            f"{path}: J[{i},{j}] = {matrix[i, j]:g} and J[{j},{i}] = {matrix[j, i]:g}: give a symmetric matrix, or "
            "each bond once above the diagonal"
        )
    bonds = (upper if upper.nnz else lower).tocoo()
    ends = np.stack([bonds.row, bonds.col], axis=1).astype(np.int64)
    order = np.lexsort(ends.T[::-1])
    note = f"{path.name}: a matrix, each pair i < j is one bond J_ij s_i s_j"
    return EdgeTable(path, ends[order], bonds.data[order], first=0, spins=matrix.shape[0], notes=[note], asks_sign=True)


def _from_matrix_market(text: str, path: Path) -> EdgeTable:
    """A matrix of the NIST exchange format, coordinates or array; comments ``% H = -sum J s s`` count."""
    import scipy.io

    try:
        table = _from_matrix(scipy.io.mmread(io.BytesIO(text.encode())), path)
    except InputError:
        raise
    except (ValueError, OverflowError, TypeError) as error:
        raise InputError(
            f"{path} is no readable Matrix Market file ({error}): write it with scipy.io.mmwrite"
        ) from None
    for line in text.splitlines()[1:]:
        if line.strip("% \t") and line.lstrip().startswith("%"):
            read_comment(line.strip("% \t"), table)
    return table


def _from_dimacs(lines: list[str], path: Path) -> EdgeTable:
    """``c`` comments, one line ``p KIND N M``, lines ``e i j [J]`` (or ``a``), spins counted from 1."""
    table = EdgeTable(path, np.empty((0, 2)), np.empty(0), first=1, asks_sign=True)
    spins = count = -1
    rows, lengths = [], set()
    for line in lines:
        words = line.split()
        try:
            if words[0] == "p":
                spins, count = int(words[-2]), int(words[-1])
            elif words[0] in ("e", "a") and len(words) in (3, 4):
                rows.append((int(words[1]), int(words[2]), float(words[3]) if len(words) == 4 else 1.0))
                lengths.add(len(words))
            elif words[0] == "c":
                read_comment(line[1:].strip(), table)
            else:
                raise ValueError
        except InputError:
            raise
        except ValueError:
            raise InputError(
                f"{path}: the line {line[:60]!r} is none of DIMACS: c comment, p KIND spins edges, e i j J"
            ) from None
    if count != len(rows) or not rows:
        raise InputError(f"{path}: its line p counts {count} edges, there are {len(rows)}: the file is not complete")
    if len(lengths) > 1:
        raise InputError(f"{path}: some edges have a coupling, others none: give every line e i j J")
    if lengths == {3}:
        table.notes.append(f"{path.name}: its edges have no couplings, each is 1")
    table.ends = np.array([row[:2] for row in rows], dtype=np.int64)
    table.couplings, table.spins = np.array([row[2] for row in rows]), spins
    if table.ends.min() < 1 or table.ends.max() > spins or np.any(table.ends[:, 0] == table.ends[:, 1]):
        raise InputError(f"{path}: edges of DIMACS join two different spins of 1 to {spins}: correct the others")
    return table


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
    if kind not in ("SPIN", "BINARY") or np.any((ends < 0) | (ends >= len(linear))):
        raise InputError(
            f"{path}: variables of type {kind}, or ends that are none of {len(linear)} variables: write the model with "
            "json.dumps(bqm.to_serializable())"
        )
    named = labels != list(range(len(linear)))
    order = f"{path.name}: spins stand in the order of its variables, {', '.join(map(str, labels[:3]))}, ..."
    note = [order] if named else []
    note += [f"{path.name}: {BINARY_NOTE}"] if kind == "BINARY" else []
    fields = np.flatnonzero(linear)
    return EdgeTable(
        path, np.concatenate([ends, np.stack([fields, fields], axis=1)]), np.concatenate([quadratic, linear[fields]]),
        sign="plus", first=0, spins=len(linear), linear=True, binary=kind == "BINARY", notes=note,
    )  # fmt: skip


def _plain(values: Any) -> Any:
    """Values of a list; biases in bytes are refused."""
    if not isinstance(values, list):
        raise TypeError("biases are no list: use_bytes=False writes one")
    return values
