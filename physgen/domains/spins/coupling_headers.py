"""What a file of couplings says of itself in its comments: Hamiltonian, first spin, counts, lattice, temperatures."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from physgen.domains.spins.conventions import SIGNS, read_temperatures
from physgen.errors import InputError

COMMENT = re.compile(r"^\s*(?:(?:#|%|!|;|//)+|[cC](?=\s|$))")
INLINE = re.compile(r"\s+(?:#|%|!|//).*$")
PAIR = re.compile(r"([A-Za-z_]+)\s*[=:]\s*([^\s;,]+(?:,\s*[\d.][^\s;,]*)*)")
SHAPE = re.compile(r"\b(?:shape|lattice)\s*[=:]\s*[(\[]?\s*(\d+(?:(?:\s*[,x]\s*|\s+)\d+){0,2})", re.IGNORECASE)
HAMILTONIAN = re.compile(r"(?:^|[\s,;:])(?:H|E|energy|hamiltonian)\s*(?:\([^)=]*\))?\s*=\s*(.+)", re.IGNORECASE)
TERM = re.compile(r"([+-]?)\s*(\(?[\d./]*\)?)\s*\*?\s*sum")
SUBSCRIPT = re.compile(r"_?\{[^}]*\}|_?<[^>]*>|_?\((?![^)]*[Jhs]_?)[^)]*\)")  # of a sum: its signs are no factors
FACTOR = re.compile(r"-|(?:^|[\s(])[\d./]+\s*\*?\s*\(?$")  # between a sum and what it sums
HALVED = re.compile(r"s\S*[\s)]*/\s*\(?\d")
TWICE = re.compile(r"!=|≠|\bneq?\b|/=|<>")
FIELD = re.compile(r"\bh(?:_|\b|\[)|\bh_?\{?i")
NAMES_OF_ENDS = ("spin{}", "site{}", "node{}", "spin_{}", "site_{}", "node_{}")
FIRST_END = {"i", "u", "row", "source", "from", *(name.format(end) for name in NAMES_OF_ENDS for end in "1i")}
SECOND_END = {"j", "v", "col", "column", "target", "to", *(name.format(end) for name in NAMES_OF_ENDS for end in "2j")}
STRENGTH = {"J", "w", "coupling", "couplings", "weight", "value", "bias", "Jij", "J_ij", "jij", "j_ij", "strength"}
NUMBERED = {"", "index", "id", "edge", "unnamed:0"}  # a column that counts the rows
TEMPERATURES, BETAS = ("t", "temperature", "temperatures"), ("beta", "betas")
COUNTS, FIRSTS = ("n", "spins", "sites", "nodes", "vertices"), ("first", "base")
HARMLESS = ("seed", "date", "author", "file", "created", "version")
BINARY_NOTE = "the variables 0 and 1 are spins -1 and +1; the constant of the energy is left out, of ln Z too"


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
    parallel: str = ""  # what rows of one bond mean, as an option says it
    linear: bool = False  # rows i i h are external fields
    turned: bool = False  # their term has the other sign than that of the couplings
    binary: bool = False  # rows are of variables 0 and 1: E = +sum q x x + sum a x
    text: bool = True  # a comment may be added to the file
    asks_sign: bool = False  # the sign has to be given, unless ``sign`` says it
    notes: list[str] = field(default_factory=list)


def read_comment(text: str, table: EdgeTable) -> list[str] | None:
    """Take what a comment says; the names of columns where it holds them."""
    names = column_names(split_row(text))
    if names:
        return names
    known = _read_hamiltonian(text, table)
    shape = SHAPE.search(text)
    if shape:
        table.shape = ",".join(re.findall(r"\d+", shape[1]))
        text, known = SHAPE.sub("", text), True
    for key, value in PAIR.findall(text):
        known |= _take(key.lower(), value, table)
    if not known and text.strip():
        table.notes.append(f"{table.path.name}: the comment {text[:60]!r} was not understood")
    return None


def _read_hamiltonian(text: str, table: EdgeTable) -> bool:
    """The sign of the couplings and of the fields in a line H = -sum J s s - sum h s; whether it is one."""
    plain = re.sub("[−–]", "-", text.replace("\\", "")).replace("Σ", " sum ").replace("∑", " sum ")  # noqa: RUF001
    found = HAMILTONIAN.search(plain)
    terms = list(TERM.finditer(found[1])) if found else []
    if found is None or not terms or found[1][: terms[0].start()].strip():
        return False
    stops = [*(term.start() for term in terms[1:]), len(found[1])]
    signs: dict[bool, str] = {}
    for term, stop in zip(terms, stops, strict=True):
        body = found[1][term.end() : stop]
        if said := _left_open(term[2], body):
            raise InputError(
                f"{table.path}: its line {text[:60]!r} has {said}, which leaves open what one row means: write "
                "H = -sum J s s (or +) of each pair once; scale=0.5 of an import multiplies couplings"
            )
        signs[bool(FIELD.search(body)) and "J" not in body] = "minus" if term[1] == "-" else "plus"
    if False in signs:
        _say_sign(table, signs[False], text)
        if True in signs:
            table.linear, table.turned = True, signs[True] != signs[False]
    return False in signs


def _left_open(factor: str, body: str) -> str:
    """What beside its sign a sum of a Hamiltonian multiplies the rows with, in words; empty for nothing."""
    if factor.strip("()") not in ("", "1", "1."):
        return f"a factor {factor} before a sum"
    summed = SUBSCRIPT.sub(" ", body)
    symbol = re.search(r"[Jhs]", summed)
    if symbol and FACTOR.search(summed[: symbol.start()]):
        return "a sign or a number behind a sum"
    if HALVED.search(re.split(r"[,;]\s", summed)[0]):
        return "a division behind a sum"
    return "a sum over pairs in both orders" if TWICE.search(body) else ""


def _say_sign(table: EdgeTable, sign: str, text: str) -> None:
    if SIGNS.get(table.sign, 0) * SIGNS.get(sign, 0) < 0:
        raise InputError(
            f"{table.path}: its line {text[:60]!r} says the other sign than the one before it: correct one of them"
        )
    table.sign = sign


def _take(key: str, value: str, table: EdgeTable) -> bool:
    """One key=value of a header, where temperatures may be several; whether it is known."""
    if key not in (*TEMPERATURES, *BETAS):
        value = value.partition(",")[0]
    if key == "vartype":
        if value.upper() not in ("SPIN", "BINARY"):
            raise InputError(f"{table.path}: vartype={value} is unknown: SPIN (-1 and 1) or BINARY (0 and 1) is meant")
        table.linear, table.binary = True, value.upper() == "BINARY"
        table.notes += [f"{table.path.name}: {BINARY_NOTE}"] if table.binary else []
    elif key == "sign":
        _say_sign(table, {"-": "minus", "+": "plus"}.get(value, value), f"sign={value}")
    elif key in FIRSTS and value in ("0", "1"):
        table.first = int(value)
    elif key in TEMPERATURES or key in BETAS:
        table.temperatures = read_temperatures(**{"temperatures" if key in TEMPERATURES else "betas": value})
    elif key in COUNTS and value.isdigit():
        table.spins = int(value)
    elif key == "parallel":
        table.parallel = value
    else:
        return key in HARMLESS
    return True


def split_row(line: str) -> list[str]:
    """The words of a row, separated by blanks, commas or semicolons, without quotation marks."""
    return [word.strip("\"'") for word in re.split(r"\s*[,;]\s*|\s+", line.strip().rstrip(",;"))]


def column_names(words: list[str]) -> list[str] | None:
    """end, end, strength and numbers of rows in the order of the columns; None where the words name no columns."""
    kinds = []
    for word in words:
        lower = word.lower()
        if word in STRENGTH or word != "j" and lower in STRENGTH:
            kinds.append("strength")
        elif lower in FIRST_END | SECOND_END:
            kinds.append("end")
        elif lower in NUMBERED and not kinds:
            kinds.append("number")
        else:
            return None
    return kinds if sorted(kinds) in (["end", "end", "strength"], ["end", "end", "number", "strength"]) else None
