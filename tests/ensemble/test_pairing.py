"""Ensembles of the same random starts: matched by name, never by position; pairs for a conditional network."""

import numpy as np
import pytest
import xarray as xr

from physgen.ensemble.pairing import condition_fields, paired_ensemble, starts_of_units
from physgen.errors import InputError

STARTS = np.array([71, 71, 12, 12, 50, 50])


def maps(starts, values, level=0.5, unit=None):
    """4 x 4 maps whose value is a number, two to a unit."""
    count = len(starts)
    field = np.broadcast_to(np.asarray(values, float)[:, None, None], (count, 4, 4)).copy()
    return xr.Dataset(
        {
            "field": (("sample", "y", "x"), field, {"units": "K", "long_name": "sky"}),
            "start": ("sample", np.asarray(starts), {"role": "pairing"}),
            "unit": ("sample", np.arange(count) // 2 if unit is None else np.asarray(unit)),
            "level": ("sample", np.full(count, level)),
        },
        attrs={"independent_unit": "unit", "field_kind": "real"},
    )


def test_configurations_are_matched_by_start_and_by_their_order_within_it():
    source = maps(STARTS[[4, 5, 0, 1, 2, 3]], [5, 6, 1, 2, 3, 4])  # another order, and one start more
    source = xr.concat([source, maps([99, 99], [8, 9])], "sample", data_vars="minimal")
    made = paired_ensemble(maps(STARTS, [10, 20, 30, 40, 50, 60]), source, "faint")
    np.testing.assert_array_equal(made["faint"][:, 0, 0], [1, 2, 3, 4, 5, 6])
    assert made["faint"].attrs["role"] == "condition" and made["faint"].attrs["field_kind"] == "real"
    assert condition_fields(made) == ["faint"]
    np.testing.assert_array_equal(made["field"][:, 0, 0], [10, 20, 30, 40, 50, 60])


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (maps(STARTS[:4], [1, 2, 3, 4]), "the random start 50 has 2 configurations in the target and 0"),
        (maps(STARTS, [1] * 6, level=0.4), "level differs"),
        (maps(STARTS, [1] * 6).isel(x=slice(2)), "pair fields on one lattice"),
        (maps(STARTS, [1] * 6).drop_vars("start"), "does not say from which random starts"),
    ],
)
def test_what_does_not_match_is_refused(source, message):
    with pytest.raises(InputError, match=message):
        paired_ensemble(maps(STARTS, [0] * 6), source)


def test_a_unit_has_one_start_and_a_start_one_unit():
    np.testing.assert_array_equal(starts_of_units(maps(STARTS, [0] * 6)), [71, 12, 50])
    with pytest.raises(InputError, match="more than one random start"):
        starts_of_units(maps(STARTS, [0] * 6, unit=[0, 1, 1, 2, 2, 2]))
    with pytest.raises(InputError, match="6 units .* of 3 random starts"):
        starts_of_units(maps(STARTS, [0] * 6, unit=range(6)))
    with pytest.raises(InputError, match="'nothing' is no variable"):
        starts_of_units(maps(STARTS, [0] * 6), by="nothing")
