"""Numbers with units as users type them: ``"128 Mpc/h"``, ``"25000 kpc/h"``, ``"186.6 Mpc"``.

``/h`` and ``/littleh`` always mean per little h, the Hubble constant over 100 km/s/Mpc. astropy reads
``Mpc/h`` as megaparsec per hour, so the h is taken off here before astropy sees the rest.
"""

from __future__ import annotations

import re

from physgen.errors import InputError

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_LITTLE_H = re.compile(r"\s*/\s*(?:h|littleh)\s*$")


def parse_quantity(text: object, unit: str, h: float | None = None) -> float:
    """The number that ``text`` means in ``unit``.

    Args:
        text: a number followed by a unit.
        unit: the unit wanted, such as ``Mpc/h``.
        h: little h; only needed to convert between units with and without ``/h``.

    Raises:
        InputError: the unit is missing, unknown, of another dimension, or little h is needed and not given.
    """
    example = f'"{text} {unit}"' if _is_number(text) else f'"250 {unit}"'
    if _is_number(text):
        raise InputError(f"{text!r} needs a unit, e.g. {example}")
    match = re.fullmatch(rf"\s*({_NUMBER})\s*([A-Za-z].*?)\s*", str(text))
    if not match:
        raise InputError(f"{text!r} is not a number with a unit; write e.g. {example}")
    number, given = float(match[1]), match[2]
    if given == unit:
        return number
    (given_base, given_h), (unit_base, unit_h) = _split_h(given), _split_h(unit)
    factor = 1.0 if given_base == unit_base else _factor(str(text), given_base, unit_base, unit)
    if given_h == unit_h:
        return number * factor
    if h is None:
        raise InputError(
            f"{text!r} cannot be converted to {unit} without the Hubble parameter: write it in {unit}, or give h too"
        )
    return number * factor * (h if unit_h else 1 / h)


def _is_number(text: object) -> bool:
    return isinstance(text, int | float) or bool(re.fullmatch(_NUMBER, str(text).strip()))


def _split_h(unit: str) -> tuple[str, bool]:
    base = _LITTLE_H.sub("", unit)
    return base.strip(), base != unit


def _factor(text: str, given: str, wanted: str, shown: str) -> float:
    import astropy.units as u

    try:
        source = u.Unit(given)
    except ValueError:
        raise InputError(f"{text!r} has an unknown unit {given!r}; write it in {shown}") from None
    try:
        return float(source.to(u.Unit(wanted)))
    except u.UnitConversionError:
        raise InputError(f"{text!r} cannot be converted to {shown} (it is a {source.physical_type})") from None
