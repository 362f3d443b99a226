"""Words of the command line: pairs, numbers, commands that run as they are printed, names of files that are free."""

from __future__ import annotations

import shlex
from pathlib import Path


def pairs(words: list[str], what: str) -> dict[str, str]:
    """name=value words as a dictionary. Raises InputError for another word."""
    from physgen.errors import InputError

    found = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise InputError(f"{what} {word!r} is not of the form name=value")
        found[name] = value
    return found


def command(*words: object) -> str:
    """A command of physgen that runs as it is printed."""
    return shlex.join(["physgen", *map(str, words)])


def free_path(path: Path) -> Path:
    """The path, or the first of path-2, path-3, ... that is no file yet: nothing is overwritten."""
    count, chosen = 1, path
    while chosen.exists():
        count += 1
        chosen = path.with_stem(f"{path.stem}-{count}")
    return chosen


def number(text: str, name: str) -> float:
    """The value of name=text. Raises InputError where it is no number."""
    from physgen.errors import InputError

    try:
        return float(text)
    except ValueError:
        raise InputError(f"{name}={text!r} is not a number") from None
