"""Numbers with units as users type them: ``"128 Mpc/h"``, ``"25 h^-1 Mpc"``, ``"25000 ckpc/h"``, ``"3.5 deg"``.

``/h``, ``h^-1`` and ``/littleh`` always mean per little h, the Hubble constant over 100 km/s/Mpc. astropy reads
``Mpc/h`` as megaparsec per hour, so the h is taken off here before astropy sees the rest. Lengths are comoving: a
leading ``c`` (``cMpc``) is understood, a leading ``p`` (proper) is refused.
"""

from __future__ import annotations

import re

from physgen.errors import InputError

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_H = r"(?:littleh|h)"
_INVERSE_H = re.compile(rf"(?<![A-Za-z]){_H}(?:\^|\*\*)?(?:-1|\(-1\))(?![0-9])")
_LITTLE_H = re.compile(rf"\s*/\s*{_H}\s*$")
_MARKUP = re.compile(r"\\(?:mathrm|rm|text|,|;|!)|[~·⋅]|(?<!\*)\*(?!\*)|\.(?=h)")  # LaTeX and signs of multiplication
_PARSEC = re.compile(r"(c|p)?([kMG]?pc)")
ANGLES = ("deg", "degree", "degrees", "°", "arcmin", "arcminute", "arcminutes", "arcsec", "rad", "radian", "radians")
_ANGLE_NAMES = {"degrees": "deg", "degree": "deg", "°": "deg", "arcminute": "arcmin", "arcminutes": "arcmin"}
_ANGLE_NAMES |= {"radian": "rad", "radians": "rad"}
_WELL_MEANT = ("Mpc", "kpc", "Gpc", "pc")


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
    split = split_quantity(text)
    if split is None:
        raise InputError(f"{text!r} is not a number with a unit; write e.g. {example}")
    number, given = split
    if given == unit:
        return number
    (given_base, given_h), (unit_base, unit_h) = _split_h(given), _split_h(unit)
    given_base = _comoving(str(text), given_base)
    factor = 1.0 if given_base == unit_base else _factor(str(text), given_base, unit_base, unit)
    if given_h == unit_h:
        return number * factor
    if h is None:
        raise InputError(
            f"{text!r} cannot be converted to {unit} without the Hubble parameter: write it in {unit}, or give h too"
        )
    return number * factor * (h if unit_h else 1 / h)


def split_quantity(text: object) -> tuple[float, str] | None:
    """(number, unit) with the unit in one spelling, ``base`` or ``base/h``; None where there is no number and unit.

    ``25 h^-1 Mpc``, ``25 Mpc h**-1``, ``25 h⁻¹Mpc`` and ``25 $h^{-1}$ Mpc`` all give (25, "Mpc/h").
    """
    match = re.fullmatch(rf"\s*({_NUMBER})\s*\*?\s*([A-Za-z°$\\].*?)\s*", str(text))
    if not match:
        return None
    return float(match[1]), plain_unit(match[2])


def plain_unit(unit: str) -> str:
    """A unit with its markup taken off and an inverse little h, wherever it stands, as a trailing ``/h``."""
    unit = _MARKUP.sub(" ", re.sub(r"[${}]", "", unit.replace("⁻¹", "-1")))
    unit, powers = _INVERSE_H.subn(" ", unit)
    return " ".join(unit.split()) + "/h" * powers


def is_angle(text: object) -> bool:
    """Whether ``text`` is a number with the unit of an angle."""
    split = split_quantity(text)
    return split is not None and split[1] in ANGLES


def parse_angle(text: object) -> float:
    """Degrees that ``text`` means: ``"3.5 deg"``, ``"210 arcmin"``."""
    import astropy.units as u

    split = split_quantity(text)
    if split is None or split[1] not in ANGLES:
        raise InputError(f'{text!r} is not an angle; write e.g. "3.5 deg" or "210 arcmin"')
    return split[0] * float(u.Unit(_ANGLE_NAMES.get(split[1], split[1])).to(u.deg))


def check_extent(text: object, unit: str) -> None:
    """Refuse a unit, as :func:`split_quantity` gives it, that no axis has: a mass, a proper length; others may be own.

    Raises:
        InputError: a unit that is known, and is that of no length, angle or time.
    """
    import astropy.units as u

    base = _comoving(str(text), _split_h(unit)[0])
    try:
        kind = u.Unit(base).physical_type
    except ValueError:  # a unit of one's own, such as cells
        return
    if not {"length", "angle", "time"} & set(kind):
        raise InputError(f'{text!r} is not a length (it is a {kind}): write it as "25 Mpc/h"')


def _is_number(text: object) -> bool:
    return isinstance(text, int | float) or bool(re.fullmatch(_NUMBER, str(text).strip()))


def _split_h(unit: str) -> tuple[str, bool]:
    base = _LITTLE_H.sub("", unit)
    return base.strip(), base != unit


def _comoving(text: str, base: str) -> str:
    """``Mpc`` of ``cMpc``; refuses proper lengths and milliparsec, which nobody means."""
    if base == "mpc":
        raise InputError(f"{text!r} is in milliparsec (m is milli, M is mega): write Mpc")
    match = _PARSEC.fullmatch(base)
    if not match or not match[1]:
        return base
    if match[1] == "p":
        raise InputError(f"{text!r} is a proper length; boxes are comoving: multiply by 1 + z and write {match[2]}")
    return match[2]


def _factor(text: str, given: str, wanted: str, shown: str) -> float:
    import astropy.units as u

    try:
        source = u.Unit(given)
    except ValueError:
        meant = [name for name in _WELL_MEANT if name.lower() == given.lower()]
        hint = f" (did you mean {meant[0]}?)" if meant else ""
        raise InputError(f"{text!r} has an unknown unit {given!r}{hint}; write it in {shown}") from None
    try:
        return float(source.to(u.Unit(wanted)))
    except u.UnitConversionError:
        raise InputError(f"{text!r} cannot be converted to {shown} (it is a {source.physical_type})") from None
