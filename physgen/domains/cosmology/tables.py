"""Tables of parameters: numbers between blanks or commas, the names of their columns and of their rows.

A header is a line that has as many words as the rows have columns: a comment or the first line. The words of the field
(``Omega_m``, ``sigma8``, ``OmegaBaryon``, ``A_SN1``, ...) tell a header from a remark that happens to fit.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from physgen.errors import InputError

SUFFIXES = (".txt", ".csv", ".dat", ".tsv")
ALIASES = {
    "Omega_m": ("omegam", "omega0", "omegamatter", "om", "omm"),
    "sigma_8": ("sigma8", "s8"),
    "Omega_b": ("omegab", "omegabaryon", "ob"),
    "h": ("h", "hubble", "hubbleparam"),
    "n_s": ("ns", "nspec"),
    "M_nu": ("mnu", "summnu"),
    "w": ("w", "w0"),
    "A_SN1": ("asn1",),
    "A_SN2": ("asn2",),
    "A_AGN1": ("aagn1",),
    "A_AGN2": ("aagn2",),
    "f_NL_local": ("fnllocal",),
    "f_NL_equilateral": ("fnlequilateral", "fnlequil"),
}
CANONICAL = {alias: name for name, aliases in ALIASES.items() for alias in aliases}
FILE_COLUMNS = ("file", "filename", "path", "map", "image")
ROW_COLUMNS = (*FILE_COLUMNS, "name", "simulation", "sim", "realisation", "realization", "id", "index")


@dataclass(frozen=True)
class Table:
    """A table as it stands in its file.

    Attributes:
        path: the file.
        values: (rows, columns) of the columns that hold numbers.
        names: their names, empty where the file has no header.
        words: name in lower case -> the column, for the columns that hold text ("name" where it has none).
        notes: what was read in a way that its author should hear of.
    """

    path: Path
    values: np.ndarray
    names: list[str]
    words: dict[str, list[str]]
    notes: list[str]

    def __len__(self) -> int:
        return len(self.values)

    def column(self, name: str) -> np.ndarray | None:
        """The column whose name means ``name`` (``sigma8`` means sigma_8), or None."""
        found = [i for i, given in enumerate(self.names) if canonical(given) == canonical(name)]
        return self.values[:, found[0]] if found else None


def canonical(name: str) -> str:
    """The name that physgen gives to a parameter, whatever its spelling; unknown names as they are."""
    return CANONICAL.get(_plain(name), name)


def is_parameter(name: str) -> bool:
    """Whether ``name`` is a parameter of a cosmology that physgen knows."""
    return _plain(name) in CANONICAL


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def is_table(path: Path) -> bool:
    """Whether the name of ``path`` is that of a text table."""
    return path.suffix.lower() in SUFFIXES


def read_table(path: Path) -> Table:
    """The table of a text file; its header is the line that fits its columns.

    Raises:
        InputError: no text, rows of unequal length, a word where a number is due, numbers that are not finite, or a
            line that names parameters but has another number of words than the rows have columns.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as a text table ({error}): give the params file") from error
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    comments = [line.lstrip("#! ") for line in lines if line.startswith("#")]
    body = [line for line in lines if not line.startswith("#")]
    comma = bool(body) and "," in body[-1]
    rows = [_split(line, comma) for line in body]
    if len(rows) > 1 and not any(map(_is_number, rows[0])) and any(map(_is_number, rows[1])):
        comments.append(body[0])
        rows = rows[1:]
    if not rows or len({len(row) for row in rows}) != 1:
        raise InputError(f"{path} is not a table of numbers with equal rows: check that the params file is complete")
    header, notes = _header(comments, len(rows[0]), path)
    return _table(path, rows, header, notes)


def _table(path: Path, rows: list[list[str]], header: list[str], notes: list[str]) -> Table:
    numeric = [all(_is_number(row[i]) for row in rows) for i in range(len(rows[0]))]
    words = {}
    for i in (i for i, number in enumerate(numeric) if not number):
        name = header[i].lower() if header else "name"
        # a word is a name only in the column that names the rows: anywhere else it is damage
        if (i > 0 and name not in ROW_COLUMNS) or any(_is_number(row[i]) for row in rows):
            raise InputError(
                f"{path} is not a table of numbers with equal rows: column {i + 1} holds "
                f"{next(row[i] for row in rows if not _is_number(row[i]))!r}; check that the params file is complete"
            )
        words[name] = [row[i] for row in rows]
    columns = [i for i, number in enumerate(numeric) if number]
    values = np.array([[float(row[i]) for i in columns] for row in rows], dtype=float).reshape(len(rows), len(columns))
    if not np.isfinite(values).all():
        row = int(np.argwhere(~np.isfinite(values))[0][0])
        raise InputError(f"{path} holds a number that is not finite in row {row}: repair or drop that row")
    names, renamed = _valid_names([header[i] for i in columns] if header else [], path)
    return Table(path, values, names, words, notes + renamed)


def _split(line: str, comma: bool) -> list[str]:
    if comma:
        return [word.strip().strip("\"'") for word in line.rstrip(",").split(",")]
    return line.split()


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _header(comments: list[str], columns: int, path: Path) -> tuple[list[str], list[str]]:
    """The words of the line that fits, and notes; ties go to the line that stands nearest to the numbers."""
    candidates, misfits = [], []
    for line in comments:
        readings = [line.replace(",", " ").split(), _split(line, comma=True)]
        fitting = [words for words in readings if len(words) == columns and not all(map(_is_number, words))]
        if fitting:
            candidates.append((sum(map(is_parameter, fitting[0])), fitting[0]))
        elif sum(map(is_parameter, readings[0])) >= max(1, len(readings[0]) / 2):
            misfits.append(readings[0])
    if candidates:
        most = max(known for known, _ in candidates)
        if most or not misfits:
            return [words for known, words in candidates if known == most][-1], []
    if misfits:
        raise InputError(
            f"{path} has a header of {len(misfits[-1])} names ({' '.join(misfits[-1])}) over {columns} columns: "
            "name every column once, in order, or delete that line"
        )
    return [], [f"{path.name}: the comment {line!r} names no columns" for line in comments]


def _valid_names(names: list[str], path: Path) -> tuple[list[str], list[str]]:
    """Names that a file can hold: letters, digits, ``_``, ``.``, ``-`` and ``+``; others are replaced by ``_``."""
    notes, valid = [], []
    for name in names:
        clean = re.sub(r"[^\w.+-]+", "_", re.sub(r"^\(?\d+[:.)]", "", name)).strip("_") or "column"
        clean = clean if not clean[0].isdigit() else f"_{clean}"
        if clean != name:
            notes.append(f"{path.name}: the label {name!r} is stored as {clean!r}")
        valid.append(clean)
    twice = {name for name in valid if valid.count(name) > 1}
    if twice:
        raise InputError(f"{path} names two columns {sorted(twice)[0]!r}: give every column its own name")
    return valid, notes
