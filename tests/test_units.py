"""Quantities in every spelling that papers use."""

import pytest

from physgen.errors import InputError
from physgen.units import is_angle, parse_angle, parse_quantity


@pytest.mark.parametrize(
    "text",
    [
        "25 Mpc/h", "25Mpc/h", "25 Mpc / h", "25 Mpc h^-1", "25 Mpc h-1", "25 h^-1 Mpc", "25 h**-1 Mpc", "25 h⁻¹Mpc",
        "25 h^{-1} Mpc", "25 $h^{-1}$ Mpc", r"25 h^{-1}\,{\rm Mpc}", "25 Mpc*h^-1", "25 cMpc/h", "25 h^-1 cMpc",
        "25000 kpc/h", "25000 ckpc h^-1", "2.5e-2 Gpc/h", "25 Mpc/littleh", "37.25782414307 Mpc", "37.25782414307 cMpc",
    ],
)  # fmt: skip
def test_one_length_in_many_spellings(text):
    assert parse_quantity(text, "Mpc/h", h=0.671) == pytest.approx(25, rel=1e-9)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("25 mpc/h", "milliparsec"),
        ("25 mpc", "milliparsec"),
        ("25 MPC/h", "did you mean Mpc"),
        ("25 Kpc/h", "did you mean kpc"),
        ("25 pkpc", "proper length"),
        ("25 Mpc/h/h", "cannot be converted|unknown unit"),
        ("25 Mpc h", "cannot be converted"),
        ("25 h^-1", "unknown unit|cannot be converted"),
        ("25 deg", "it is a angle"),
    ],
)
def test_units_that_are_something_else(text, message):
    with pytest.raises(InputError, match=message):
        parse_quantity(text, "Mpc/h", h=0.7)


def test_angles():
    for text in ("3.5 deg", "210 arcmin", "12600 arcsec", "3.5°", "3.5 degrees"):
        assert is_angle(text) and parse_angle(text) == pytest.approx(3.5)
    assert not is_angle("3.5 Mpc/h") and not is_angle("3.5")
    with pytest.raises(InputError, match="is not an angle"):
        parse_angle("3.5 Mpc/h")
