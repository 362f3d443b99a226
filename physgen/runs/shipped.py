"""Trained networks that come with the package: ``emulator:slabs64`` is the run in ``physgen/shipped/emulator/slabs64``.

Each is a run without its data: the configuration, the weights with the constants of the encoding and checked noise
levels, the conditions of its test part as a template (``data/test.h5``), facts of the training data, and ``card.md``
with what was measured of it. It is read and never written to.
"""

from __future__ import annotations

import difflib
from pathlib import Path

from physgen.errors import InputError

SHIPPED = Path(__file__).parents[1] / "shipped"
SEPARATOR, CARD = ":", "card.md"


def shipped_names() -> list[str]:
    """``<collection>:<name>`` of all, in order."""
    folders = sorted(path.parent for path in SHIPPED.glob("*/*/experiment.yaml"))
    return [f"{folder.parent.name}{SEPARATOR}{folder.name}" for folder in folders]


def about_shipped(name: str) -> str:
    """The title of the card of one of :func:`shipped_names`."""
    card = SHIPPED.joinpath(*name.split(SEPARATOR)) / CARD
    lines = card.read_text().splitlines() if card.is_file() else [""]
    return lines[0].lstrip("# ")


def folder_of(run: str | Path) -> Path:
    """The folder of a run: the path itself, or that of a network that comes with the package.

    Raises InputError for a name of the form ``collection:name`` that is neither.
    """
    collection, separator, name = str(run).partition(SEPARATOR)
    path = Path(run)
    if not separator or path.exists() or "/" in collection:
        return path
    known = shipped_names()
    collections = {one.partition(SEPARATOR)[0] for one in known}
    if f"{collection}{SEPARATOR}{name}" in known:
        return SHIPPED / collection / name
    near = difflib.get_close_matches(str(run), known, 1)
    meant = f", did you mean {near[0]}?" if near else ""
    if collection in collections or near:
        raise InputError(f"{run} is not a network that comes with physgen{meant} (there are: {', '.join(known)})")
    return path


def is_shipped(folder: Path | None) -> bool:
    """Whether a folder is, or lies in, one of those that come with the package."""
    return folder is not None and folder.resolve().is_relative_to(SHIPPED.resolve())


def check_own(folder: Path, what: str) -> None:
    """Raise InputError where ``what`` would write into a network that comes with the package."""
    if is_shipped(folder):
        raise InputError(
            f"{what} would write into {folder.parent.name}{SEPARATOR}{folder.name}, which comes with physgen and stays "
            "as it is: give another place with -o"
        )
