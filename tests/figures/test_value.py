"""A number with an error prints itself as physicists write it."""

import math

from physgen import Value


def test_a_value_prints_its_error_in_units_of_the_last_digits():
    assert repr(Value(0.987, 0.012)) == str(Value(0.987, 0.012)) == "0.987(12)"
    assert str(Value(12.3, 1.2, "(Mpc/h)^3")) == "12.3(1.2) (Mpc/h)^3"
    assert str(Value(7)) == "7"
    assert str(Value(1.5, math.nan)) == "1.5(?)"
    assert f"{Value(0.987, 0.012):.2f} {Value(0.987, 0.012):>12}" == "0.99    0.987(12)"
    assert float(Value(0.987, 0.012)) == 0.987
    assert Value(0.987, 0.012).is_known and not Value(1.5, math.nan).is_known
