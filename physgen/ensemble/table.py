"""Tables of numbers: a row for each sample."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from physgen.errors import InputError


def read_table(path: Path) -> np.ndarray:
    """Numbers (rows, columns) separated by commas; a first line of names is passed over, as are lines after #.

    Raises InputError where the file is missing, or holds anything else.
    """
    try:
        first = next(_lines(path, 0), "")
        skipped = 0 if _are_numbers(first) else 1
        if next(_lines(path, skipped), None) is None:
            raise ValueError("it holds no row of numbers")
        return np.loadtxt(_lines(path, skipped), delimiter=",", ndmin=2, dtype=np.float64)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} is not a table of numbers ({' '.join(str(error).split())[:120]}): give a row for each sample, "
            "its components separated by commas"
        ) from None


def _lines(path: Path, skipped: int) -> Iterator[str]:
    with open(path) as file:
        kept = (line for line in file if line.strip() and not line.startswith("#"))
        yield from itertools.islice(kept, skipped, None)


def _are_numbers(line: str) -> bool:
    try:
        return bool([float(word) for word in line.split(",")])
    except ValueError:
        return False
