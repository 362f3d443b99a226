"""Numbers and units as physicists write them: 0.987(12), (Mpc/h)^3. Strings only, no dependence."""

from __future__ import annotations

import html
import math
import re

_ITALIC = ("h", "J", "L", "N", "T")  # quantities that serve as units; every other word stands upright
ROUNDING = 1e-12  # relative: of a number that double precision computes
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def format_value(value: float | None, error: float | None = None) -> str:
    """A number with its standard error in brackets, in units of the last digits: ``0.987(12)``.

    The error keeps two significant digits and the value as many places. An error of 1 or more with places
    left keeps its point, ``12.3(1.2)``; beyond 10^5 or below 10^-3 a power of ten is split off. A value
    without error (None) keeps three significant digits; an error that could not be had (NaN) shows as
    ``(?)``, so that a missing error is seen. An error below 1e-12 of the value is one of rounding: it is left
    out, and the value keeps six digits. The minus is a minus, not a hyphen.
    """
    if value is None or not math.isfinite(value):
        return "n/a"
    if error is None or error == 0:
        return _plain(value).replace("-", "−")
    if not math.isfinite(error):
        return f"{_plain(value)}(?)".replace("-", "−")
    error = abs(error)
    if error < ROUNDING * abs(value):
        return f"{value:.6g}".replace("-", "−")
    size = max(abs(value), error)
    exponent = math.floor(math.log10(size))
    shift = exponent if exponent >= 5 or exponent < -3 or error >= 100 else 0
    scaled, spread = value / 10.0**shift, error / 10.0**shift
    places = max(1 - math.floor(math.log10(float(f"{spread:.1e}"))), 0)
    digits = f"{spread:.{places}f}"
    if spread < 1 and not digits.startswith("1."):
        digits = digits.split(".")[-1].lstrip("0")
    return f"{scaled:.{places}f}({digits}){_power(shift)}".replace("-", "−")


def mathtext_value(value: float | None, error: float | None = None) -> str:
    """:func:`format_value` for figures, whose font has no raised digits: the power of ten as mathtext."""
    text = format_value(value, error)
    match = re.search(r" × 10([⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)$", text)
    if not match:
        return text
    exponent = match[1].translate({raised: chr(plain) for plain, raised in _SUPERSCRIPT.items()})
    return rf"{text[: match.start()]} $\times 10^{{{exponent}}}$"


def _plain(value: float) -> str:
    exponent = math.floor(math.log10(abs(value))) if value else 0
    if -4 < exponent < 6:
        return f"{value:.{max(3, exponent + 1)}g}"
    return f"{value / 10.0**exponent:.3g}{_power(exponent)}"


def _power(exponent: int) -> str:
    return f" × 10{str(exponent).translate(_SUPERSCRIPT)}" if exponent else ""


def latex_units(units: str | None) -> str:
    r"""Units as mathtext: ``(Mpc/h)^3`` becomes ``$(\mathrm{Mpc}/h)^{3}$``; words stay words; ``1`` is empty."""
    if _is_number(units):
        return ""
    text = str(units)
    if not re.search(r"[/^*_]", text) and text not in _ITALIC:
        return text
    text = re.sub(r"[A-Za-z]+", lambda word: word[0] if word[0] in _ITALIC else rf"\mathrm{{{word[0]}}}", text)
    text = re.sub(r"\^(-?\d+)", r"^{\1}", text).replace("*", r"\,")
    return f"${text}$"


def html_units(units: str | None) -> str:
    """Units as HTML: ``(Mpc/h)^3`` becomes ``(Mpc/<i>h</i>)<sup>3</sup>``; ``1`` is empty."""
    if _is_number(units):
        return ""
    text = re.sub(rf"\b({'|'.join(_ITALIC)})\b", r"<i>\1</i>", html.escape(str(units)))
    return re.sub(r"\^(-?\d+)", r"<sup>\1</sup>", text)


def _is_number(units: str | None) -> bool:
    return str(units or "1").strip().lower() in {"", "1", "dimensionless", "none"}
