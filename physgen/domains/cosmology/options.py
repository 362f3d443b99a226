"""Options of an importer, strings as the user typed them, and the size of a box."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, overload

import numpy as np

from physgen.errors import InputError
from physgen.units import is_angle, parse_angle, parse_quantity

DATA_SUFFIXES = (".npy", ".npz", ".hdf5", ".h5", ".fits", ".fit", ".fz", ".pt", ".pth", ".txt", ".csv", ".dat", ".gz")
# sides of a box that a simulation of the large-scale structure can have, Mpc/h; the horizon is near 1e4
SMALLEST, LARGEST = 0.05, 2e4
YES_NO = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}


@dataclass(frozen=True)
class Box:
    """Sides of a box in the order of the array's axes, last x; one number stands for all of them.

    ``units`` is ``Mpc/h``, or ``deg`` for a map of the sky.
    """

    sides: tuple[float, ...]
    units: str = "Mpc/h"

    def of(self, dimension: int, source: object) -> tuple[float, ...]:
        """One side per axis."""
        if len(self.sides) not in (1, dimension):
            raise InputError(
                f"box_size gives {len(self.sides)} lengths, {source} holds {dimension}-D fields: give one length, or "
                "one per axis in the order of the array"
            )
        return self.sides * dimension if len(self.sides) == 1 else self.sides


class Options:
    """Options of an importer; what nobody asked for is an error."""

    def __init__(self, format: str, options: dict[str, str], known: tuple[str, ...]) -> None:
        unknown = sorted(set(options) - set(known))
        if unknown:
            path = f"{unknown[0]}={options[unknown[0]]}"
            if path.lower().endswith(DATA_SUFFIXES):
                raise InputError(
                    f"{path} is neither a file here nor an option of {format}: check the path "
                    f"(the options are {', '.join(known)})"
                )
            raise InputError(f"{format} has no option {unknown[0]!r}: it takes {', '.join(known)}")
        self._options = {name: str(value) for name, value in options.items()}

    def __contains__(self, name: str) -> bool:
        return name in self._options

    @overload
    def text(self, name: str) -> str | None: ...

    @overload
    def text(self, name: str, default: str) -> str: ...

    def text(self, name: str, default: str | None = None) -> str | None:
        """The option as it stands."""
        return self._options.get(name, default)

    def names(self, name: str) -> list[str]:
        """Comma-separated words."""
        return [word.strip() for word in self._options.get(name, "").split(",") if word.strip()]

    def length(self, name: str, default: str | None = None) -> float:
        """A length in Mpc/h; Mpc and kpc are converted with the option ``h``."""
        given = self._options.get(name, default)
        if given is None:
            raise InputError(f'{name} is needed and needs a unit: give {name}="25 Mpc/h"')
        return self._length(name, given)

    def _length(self, name: str, given: str) -> float:
        value = parse_quantity(given, "Mpc/h", self.number("h"))
        if not (np.isfinite(value) and value > 0):
            raise InputError(f"{name} = {given!r} must be positive")
        return value

    def box(self, name: str = "box_size", default: str | None = None) -> Box:
        """The sides of the box: one length, or one per axis of the array separated by commas, or angles."""
        given = self._options.get(name, default)
        if given is None:
            raise InputError(f'{name} is needed and needs a unit: give {name}="25 Mpc/h"')
        return self.box_of(name, given)

    def box_of(self, name: str, given: str) -> Box:
        """The box that ``given`` means, checked; ``name`` is for messages."""
        parts = [part.strip() for part in given.split(",") if part.strip()]
        unit = parts[-1].lstrip("0123456789.eE+- ") if parts else ""
        parts = [part if part.strip("0123456789.eE+- ") else f"{part} {unit}".strip() for part in parts]
        if not parts:
            raise InputError(f'{name} = {given!r} is empty: give {name}="25 Mpc/h"')
        if any(is_angle(part) for part in parts):
            sides = tuple(parse_angle(part) for part in parts)
            if not all(0 < side <= 360 for side in sides):
                raise InputError(f"{name} = {given!r} must lie between 0 and 360 degrees")
            return Box(sides, "deg")
        sides = tuple(self._length(name, part) for part in parts)
        for side in sides:
            if not SMALLEST <= side <= LARGEST:
                raise InputError(
                    f"{name} = {given!r} is {side:g} Mpc/h, not the size of a cosmological box "
                    f"({SMALLEST:g} to {LARGEST:g} Mpc/h): check the unit (kpc or Mpc, with or without /h)"
                )
        return Box(sides)

    def number(self, name: str, default: float | None = None) -> float | None:
        """A plain number."""
        return default if name not in self._options else _parse(name, self._options[name], float, "a number")

    @overload
    def count(self, name: str) -> int | None: ...

    @overload
    def count(self, name: str, default: int) -> int: ...

    def count(self, name: str, default: int | None = None) -> int | None:
        """A positive whole number."""
        value = default if name not in self._options else _parse(name, self._options[name], int, "a whole number")
        if value is not None and value < 1:
            raise InputError(f"{name} = {value} must be at least 1")
        return value

    @overload
    def choice(self, name: str, allowed: tuple[str, ...]) -> str | None: ...

    @overload
    def choice(self, name: str, allowed: tuple[str, ...], default: str) -> str: ...

    def choice(self, name: str, allowed: tuple[str, ...], default: str | None = None) -> str | None:
        """One of ``allowed``."""
        value = self._options.get(name, default)
        if value is not None and value not in allowed:
            raise InputError(f"{name} = {value!r} is unknown: choose one of {', '.join(allowed)}")
        return value

    def flag(self, name: str, default: bool) -> bool:
        """yes or no."""
        if name not in self._options:
            return default
        return YES_NO[self.choice(name, tuple(YES_NO), self._options[name])]


def _parse(name: str, text: str, kind: type, what: str) -> Any:
    try:
        return kind(text)
    except (TypeError, ValueError):
        raise InputError(f"{name} = {text!r} is not {what}") from None
