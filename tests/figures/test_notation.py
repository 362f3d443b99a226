"""Numbers and units are written as physicists write them."""

import math
import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from physgen.figures.notation import format_value, html_units, latex_units, mathtext_value


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (0.987, 0.0123, "0.987(12)"),
        (12.3, 1.2, "12.3(1.2)"),
        (1234.5, 12.3, "1234(12)"),
        (1.2e-5, 3e-6, "1.20(30) × 10⁻⁵"),
        (-0.0012, 0.004, "−0.0012(40)"),
        (9.99, 0.0999, "9.99(10)"),
        (0.01, 5, "0.0(5.0)"),
        (0.5, None, "0.5"),
        (-0.20634, None, "−0.206"),
        (64, None, "64"),
        (-1.6094379124341, 7e-17, "−1.60944"),
        (0.02, math.nan, "0.02(?)"),
        (math.nan, 0.1, "n/a"),
        (None, None, "n/a"),
    ],
)
def test_the_error_stands_in_the_last_digits(value, error, text):
    assert format_value(value, error) == text


@given(st.floats(-1e8, 1e8), st.floats(1e-9, 1e6))
def test_what_is_written_reads_back_within_the_rounding_of_the_error(value, error):
    assume(error > 2e-12 * abs(value))  # below it is rounding, and left out
    text = format_value(value, error)
    found = re.fullmatch(r"(−?[\d.]+)\(([\d.]+)\)(?: × 10([⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+))?", text)
    mantissa, digits, power = found.groups()
    mantissa = mantissa.replace("−", "-")
    scale = 10.0 ** int((power or "0").translate(str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")))
    places = len(mantissa.partition(".")[2])
    spread = float(digits) if "." in digits or not places else int(digits) * 10.0**-places
    # two digits of the error are kept: it is right within 5 %, the value within half of its last digit
    assert abs(spread * scale - error) <= 0.0501 * error
    assert abs(float(mantissa) * scale - value) <= 0.0501 * error + 1e-12 * abs(value) + 0.5 * scale * 10.0**-places


def test_units_are_set_upright_and_little_h_italic():
    assert latex_units("(Mpc/h)^3") == r"$(\mathrm{Mpc}/h)^{3}$"
    assert latex_units("lattice spacing") == "lattice spacing"
    assert html_units("(Mpc/h)^3") == "(Mpc/<i>h</i>)<sup>3</sup>"
    assert html_units("h/Mpc") == "<i>h</i>/Mpc"
    assert [latex_units(u) + html_units(u) for u in ("1", "", None, "dimensionless")] == [""] * 4
    assert html_units("<script>") == "&lt;script&gt;"


def test_figures_get_the_power_of_ten_as_mathtext():
    assert mathtext_value(6.4e-4, 7.7e-4) == r"6.4(7.7) $\times 10^{-4}$"
    assert mathtext_value(0.987, 0.012) == "0.987(12)" and mathtext_value(None) == "n/a"
