"""What files say of themselves (box, redshift, units) against what the user says: agreed, or refused with both."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from physgen.domains.cosmology.kinds import kind_of_units, parse_kind, shown_units
from physgen.domains.cosmology.options import Box, Options
from physgen.domains.cosmology.sources import Source
from physgen.errors import InputError

AGREE = 1e-3  # relative difference of two sides that are the same, as numbers in headers are rounded


@dataclass(frozen=True)
class Facts:
    """The agreed facts.

    Attributes:
        box: sides. redshift: None where nobody said it. periodic: whether opposite sides touch.
        kinds: as typed or as the unit says, one or one per component, None where nobody said it.
        units: of the values of each array of the first file, "" where nobody said it. notes: what was assumed.
    """

    box: Box
    redshift: float | None
    periodic: bool
    kinds: list[str | None]
    units: list[str]
    notes: list[str]


def settle_facts(options: Options, sources: list[Source], format: str) -> Facts:
    """The facts of ``sources`` and ``options``; raises InputError where they contradict each other."""
    by_part = {source.part: source for source in reversed(sources)}
    for source in sources:
        for name, value in source.facts.items():
            first = by_part[source.part].facts.get(name) if name == "units" else sources[0].facts.get(name)
            if value != first:
                raise InputError(
                    f"{sources[0]} says {name} = {first}, {source} says {value}: import files of one kind at a time"
                )
    box, notes = _box(options, sources[0], format)
    redshift = options.number("redshift")
    said = _float(sources[0].facts.get("redshift"))
    if said is not None and redshift is not None and abs(said - redshift) > 1e-4 * (1 + abs(said)):
        raise InputError(f"{sources[0]} says redshift {said:g}, you gave redshift={redshift:g}: correct one of them")
    typed = [parse_kind(kind) for kind in options.names("field_kind")]
    parts = list(reversed(by_part.values()))
    units = [source.facts.get("units", "") for source in parts]
    for unit in units:
        asked_unit = options.text("units")
        if unit and asked_unit and unit.replace(" ", "") != asked_unit.replace(" ", ""):
            raise InputError(f"{sources[0]} says the unit {unit!r}, you gave units={asked_unit}: correct one")
    asked = typed if len(typed) == len(parts) else [typed[0] if typed else None] * len(parts)
    kinds = [kind_of_units(u, k, s) if "units" in s.facts else k for u, k, s in zip(units, asked, parts, strict=True)]
    if len(typed) > len(parts):
        kinds = [*typed]  # components along an axis of one array
    elif len(set(kinds)) == 1:
        kinds = kinds[:1]
    periodic = options.flag("periodic", box.units != "deg")
    if box.units == "deg" and "periodic" not in options:
        notes.append("an angular map is taken as not periodic (periodic=yes says otherwise)")
    shown = [shown_units(unit) for unit in units]
    return Facts(box, said if redshift is None else redshift, periodic, kinds, shown, notes)


def _float(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


def _box(options: Options, source: Source, format: str) -> tuple[Box, list[str]]:
    said, unit = source.facts.get("box_size"), source.facts.get("box_units", "")
    if said is None:
        return options.box(), []
    numbers = [part for part in re.split(r"[,\s]+", said) if part] if _all_numbers(said) else None
    if numbers and not unit:
        if "box_size" in options:
            return options.box(), _other_number(options.box(), numbers, source, options)
        if format == "fits":
            box = options.box_of("BOXSIZE", ", ".join(f"{number} Mpc/h" for number in numbers))
            return box, [f"BOXSIZE = {said} of the header has no unit: taken as Mpc/h"]
        raise InputError(
            f'{source} says a box of {said} without a unit: give box_size, e.g. box_size="{numbers[0]} '
            f'{"kpc/h" if float(numbers[0]) > 5000 else "Mpc/h"}"'
        )
    text = ", ".join(f"{number} {unit}" for number in numbers) if numbers else said
    try:
        box = options.box_of(f"{source}: the box", text)
    except InputError as error:
        asked = f"; you gave box_size={options.text('box_size')}" if "box_size" in options else ""
        raise InputError(f"{source} says a box of {text}{asked}: {error}") from None
    if "box_size" not in options:
        return box, [f"box of {said} {unit}".rstrip() + f" read from {source.path.name}"]
    given = options.box()
    equal = np.broadcast_shapes(np.shape(given.sides), np.shape(box.sides)) if _fit(given, box) else None
    if equal is None or given.units != box.units or not np.allclose(given.sides, box.sides, rtol=AGREE, atol=0):
        raise InputError(
            f"{source} says a box of {text}, you gave box_size={options.text('box_size')}: correct one of them"
        )
    return given, []


def _fit(one: Box, other: Box) -> bool:
    return len(one.sides) == len(other.sides) or 1 in (len(one.sides), len(other.sides))


def _all_numbers(text: str) -> bool:
    return all(_float(part) is not None for part in re.split(r"[,\s]+", text.strip(" []()")) if part)


def _other_number(box: Box, numbers: list[str], source: Source, options: Options) -> list[str]:
    """A note where the number of the file is that of the option in no unit of length."""
    value = float(numbers[0].strip("[]()"))
    if any(abs(value * factor / box.sides[0] - 1) < AGREE for factor in (1, 1e-3, 1e3)):
        return []
    return [
        f"{source.path.name} says a box of {numbers[0]} without a unit, "
        f"you gave {options.text('box_size')}: yours is used"
    ]
