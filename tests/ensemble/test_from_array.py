"""Arrays in memory become ensembles with the geometry, labels and units that were said, or are refused with words."""

import astropy.units as u
import numpy as np
import pytest
import torch
from astropy.cosmology.units import littleh

import physgen as pg
from physgen.ensemble import spacing, units_of_samples
from physgen.errors import InputError

RNG = np.random.default_rng(0)
MAPS = RNG.normal(size=(8, 16, 16))


def test_white_noise_of_unit_variance_has_the_power_of_its_cell():
    """P = a^2 in a box given as text, as a quantity and by axis; errors from mode counting: 4 sigma over all modes."""
    maps = RNG.normal(size=(64, 16, 32))
    for box in ("20 Mpc/h, 40 Mpc/h", [20 * u.Mpc / littleh, 40 * u.Mpc / littleh], ["20 Mpc/h", "40 h^-1 Mpc"]):
        spectrum = pg.power_spectrum(pg.from_array(maps, box))
        assert spectrum["value"].attrs["units"] == "(Mpc/h)^2"
        weights = spectrum["modes"] / spectrum["modes"].sum()
        mean = float((spectrum["value"] * weights).sum())
        assert mean == pytest.approx(1.25**2, abs=4 * 1.25**2 * np.sqrt(2 / maps.size))


def test_labels_and_simulations_stand_where_they_were_given():
    made = pg.from_array(
        MAPS, "25 Mpc/h", labels={"Omega_m": np.linspace(0.1, 0.5, 8), "noise": 0.3}, simulation=np.repeat([7, 9], 4)
    )
    assert made["field"].dims == ("sample", "y", "x")
    assert made["field"].dtype == np.float32
    assert np.array_equal(made["Omega_m"], np.linspace(0.1, 0.5, 8))
    assert np.all(made["noise"] == 0.3)
    assert len(set(units_of_samples(made).tolist())) == 2
    assert made.attrs["independent_unit"] == "simulation"


def test_a_label_of_another_name_can_be_the_independent_unit():
    made = pg.from_array(MAPS, labels={"chain": np.repeat(np.arange(4), 2)}, independent_unit="chain")
    assert made.attrs["independent_unit"] == "chain"


def test_components_boxes_and_tensors():
    made = pg.from_array(torch.ones(4, 2, 8, 8, 16, requires_grad=True), [10 * u.Mpc, 10 * u.Mpc, 20 * u.Mpc],
                         components=["cdm", "gas"])  # fmt: skip
    assert made["field"].dims == ("sample", "component", "z", "y", "x")
    assert spacing(made) == (1.25, 1.25, 1.25)
    assert made["x"].attrs["units"] == "Mpc"
    assert pg.from_array(MAPS * u.K)["field"].attrs["units"] == "K"
    assert spacing(pg.from_array(MAPS)) == (1.0, 1.0)
    assert pg.from_array(np.ones((4, 3, 3), dtype=np.int8))["field"].dtype == np.int8


@pytest.mark.parametrize(
    "words, message",
    [
        ({"array": MAPS, "box_size": 25}, 'write it as "25 Mpc/h"'),
        ({"array": MAPS, "box_size": "25 Mpc, 30 kpc"}, "2 units"),
        ({"array": MAPS, "box_size": "-25 Mpc"}, "positive"),
        ({"array": MAPS, "box_size": "25 kg"}, "not a length .it is a mass"),
        ({"array": MAPS, "box_size": "25 pMpc/h"}, "proper length"),
        ({"array": MAPS[:, :8], "box_size": "25 Mpc"}, r"\[12.5, 25.0\]"),
        ({"array": MAPS[0]}, r"array\[None\]"),
        ({"array": torch.ones(4, 1, 8, 8), "box_size": "25 Mpc"}, r"components=\[...\]"),
        ({"array": torch.ones(4, 2, 8, 8), "dimension": 2}, r"components=\[...\]"),
        ({"array": MAPS, "labels": {"a": [1.0, 2.0]}}, "8 numbers, or one"),
        ({"array": MAPS, "labels": {"x": 1.0}}, "another meaning"),
        ({"array": MAPS, "labels": {"a": [np.nan] * 8}}, "configuration 0"),
        ({"array": MAPS, "simulation": [0.5] * 8}, "fractions"),
        ({"array": MAPS, "simulation": [0, 1]}, "repeat"),
        ({"array": MAPS, "independent_unit": "chain"}, "not among the labels"),
        ({"array": MAPS.astype(complex)}, "complex"),
        ({"array": np.where(MAPS > 2, np.nan, MAPS)}, "nan"),
        ({"array": MAPS * 1e300}, "float32"),
    ],
)
def test_what_has_no_meaning_is_refused_with_its_remedy(words, message):
    with pytest.raises(InputError, match=message):
        pg.from_array(**words)
