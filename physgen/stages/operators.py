"""What was done to a field before it was observed, as a user writes it: ``"blur fwhm=4 Mpc/h, noise sigma=0.1, mask"``.

The words are taken from left to right: blur and downsample act on the physical field, noise is added to what they
leave, a mask takes values away at the end.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from physgen.errors import InputError
from physgen.units import parse_quantity

if TYPE_CHECKING:
    from physgen.diffusion.inference.measurement import Chain

KNOWN = {
    "mask": "cells that are NaN, or 0 in the variable mask, were not seen; hole=0.5 or share=0.5 when made of a truth",
    "noise": "sigma=0.1, white noise of this standard deviation in the units of the field",
    "blur": 'fwhm="4 Mpc/h" (or "3 cells"), a Gaussian beam of this full width at half maximum',
    "downsample": "factor=2, averages of blocks of so many cells along each axis",
}
PARAMETERS = {"mask": ("hole", "share"), "noise": ("sigma",), "blur": ("fwhm",), "downsample": ("factor",)}


@dataclass(frozen=True)
class Operator:
    """A parsed operator.

    Attributes:
        linear: what acts on the physical field. sigma: standard deviation of the noise, 0 without.
        factor: cells of the field, along each axis, in one of the observation.
        hole, share: of a mask that is to be made: the side of a central square in units of that of the box, and the
            share of single cells at random.
        text: in one spelling.
    """

    linear: Chain
    sigma: float = 0.0
    factor: int = 1
    hole: float | None = None
    share: float | None = None
    text: str = "mask"

    @property
    def is_direct(self) -> bool:
        """Whether values are seen as they are: no noise, no averages."""
        return not self.linear.steps and self.sigma == 0


@dataclass
class _Found:
    steps: list = field(default_factory=list)
    sigma: float = 0.0
    factor: int = 1
    mask: dict[str, float] = field(default_factory=dict)
    ended: str = ""


def parse_operator(text: str | Sequence[str], cell: Sequence[float], unit: str, periodic: bool = True) -> Operator:
    """The operator that a user wrote.

    Args:
        text: words separated by commas. cell: size of a cell of the field along each axis, in ``unit``.
        periodic: whether opposite sides of the box touch.

    Raises:
        InputError: an unknown word, a value that is missing or out of range, noise before a blur.
    """
    from physgen.diffusion.inference.measurement import Chain

    whole = text if isinstance(text, str) else " ".join(text)
    found, said = _Found(), []
    for word in filter(None, (part.strip() for part in whole.split(","))):
        name, _, rest = word.partition(" ")
        if name not in KNOWN:
            known = "; ".join(f"{key}: {value}" for key, value in KNOWN.items())
            raise InputError(f"unknown operator {name!r}; there are {known}")
        given = {k: v.strip().strip("\"'") for k, v in re.findall(r"(\w+)\s*=\s*(.*?)(?=\s+\w+\s*=|$)", rest)}
        _check_words(name, rest, given)
        _add(found, name, given, cell, unit, periodic)
        said.append(" ".join([name, *(f"{k}={v}" for k, v in given.items())]))
    if not said:
        raise InputError(f"no operator was given: choose of {', '.join(KNOWN)}")
    hole, share = found.mask.get("hole"), found.mask.get("share")
    return Operator(Chain(tuple(found.steps)), found.sigma, found.factor, hole, share, ", ".join(said))


def _check_words(name: str, rest: str, given: dict[str, str]) -> None:
    allowed = PARAMETERS[name]
    wrong = sorted(set(given) - set(allowed))
    if wrong or (rest.strip() and not given) or (name != "mask" and not given):
        raise InputError(f"operator {name!r} is written {name} {KNOWN[name]}; got {rest.strip()!r}")


def _add(found: _Found, name: str, given: dict[str, str], cell: Sequence[float], unit: str, periodic: bool) -> None:
    from physgen.diffusion.inference.measurement import Blur, Downsample

    if found.ended and name != "mask":
        raise InputError(f"{name} after {found.ended}: noise is added to what was observed, and a mask comes last")
    if name == "blur":
        found.steps.append(Blur(_widths(given["fwhm"], [a * found.factor for a in cell], unit)))
        if not periodic:
            raise InputError("blur wraps around the box, whose opposite sides do not touch here: observe without it")
    elif name == "downsample":
        factor = _number(name, "factor", given["factor"], 2)
        if factor != round(factor):
            raise InputError(f"downsample factor={given['factor']} is not a whole number of cells")
        found.steps.append(Downsample(round(factor)))
        found.factor *= round(factor)
    elif name == "noise":
        found.sigma, found.ended = _number(name, "sigma", given["sigma"], 0), "noise"
    else:
        found.mask |= {key: _number(name, key, value, 0, 1) for key, value in given.items()}
        found.ended = "a mask"


def _widths(text: str, cell: Sequence[float], unit: str) -> tuple[float, ...]:
    match = re.fullmatch(r"([\d.eE+-]+)\s*cells?", text)
    if match:
        return (_number("blur", "fwhm", match[1], 0),) * len(cell)
    width = parse_quantity(text, unit)
    if not width > 0:
        raise InputError(f"blur fwhm={text} must be positive")
    return tuple(width / a for a in cell)


def _number(name: str, key: str, text: str, least: float, most: float = float("inf")) -> float:
    try:
        value = float(text)
    except ValueError:
        raise InputError(f"{name} {key}={text!r} is not a number") from None
    if not least <= value <= most:
        raise InputError(f"{name} {key}={text} is out of range: give one from {least:g} to {most:g}")
    return value
