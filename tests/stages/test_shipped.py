"""The networks that come with physgen: small, whole, and they draw what their cards say."""

import json

import numpy as np
import pytest

import physgen as pg
from physgen.errors import InputError
from physgen.runs import shipped
from physgen.storage.weights import load_weights

CONDITION = {"Omega_m": 0.3, "sigma_8": 0.8, "redshift": 0.0}


@pytest.mark.parametrize("name", shipped.shipped_names())
def test_each_is_small_whole_and_has_a_card(name):
    folder = shipped.folder_of(name)
    files = [file for file in folder.rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) < 5e6
    assert (folder / shipped.CARD).read_text().startswith("# ") and shipped.about_shipped(name)
    load_weights(folder / "model")  # sha256
    made = json.loads((folder / "facts.json").read_text())["made_from_this_section"]
    assert made or "joined with `physgen import" in (folder / shipped.CARD).read_text()  # or the card says how
    for file in files:
        if file.suffix in (".json", ".yaml", ".md"):
            assert "/work" not in file.read_text() and "/home" not in file.read_text()


def test_all_together_are_small():
    files = [file for file in shipped.SHIPPED.rglob("*") if file.is_file() and "__pycache__" not in file.parts]
    assert sum(file.stat().st_size for file in files) < 20e6
    assert {"emulator:slabs64", "emulator:slabs128", "emulator:cubes32"} <= set(shipped.shipped_names())


def test_slabs64_draws_slabs_at_the_cosmology_that_was_asked_for():
    run = pg.open_run("emulator:slabs64", "cpu")
    new = run.sample(8, condition=CONDITION, seed=3, progress=False)
    assert new["field"].shape == (8, 64, 64) and new["field"].attrs["units"] == "1"
    assert all((new[name] == value).all() for name, value in CONDITION.items())
    assert new.attrs["slab_thickness"] == 32.0 and "template" not in new.attrs
    field = new["field"].values
    assert field.min() >= -1 and field.max() > 5  # haloes
    # scatter of the mean of slabs at this cosmology, 0.10 in simulations: 8 maps know it to a quarter
    assert 0.04 < field.mean((1, 2)).std(ddof=1) < 0.2
    np.testing.assert_array_equal(run.sample(2, condition=CONDITION, seed=3, progress=False)["field"], field[:2])
    quiet = run.sample(8, condition=CONDITION | {"redshift": 1.9}, seed=3, progress=False)
    assert quiet["field"].values.std() < 0.75 * field.std()  # structure has grown since
    with pytest.raises(InputError, match="outside the range"):
        run.sample(2, condition=CONDITION | {"sigma_8": 1.3}, progress=False)


def test_cubes32_draws_boxes_at_the_cosmology_that_was_asked_for():
    run = pg.open_run("emulator:cubes32", "cpu")
    late, early = (
        run.sample(2, condition=CONDITION | {"redshift": z}, seed=3, progress=False)["field"] for z in (0.0, 1.9)
    )
    assert late.shape == (2, 32, 32, 32) and late.dims == ("sample", "z", "y", "x")
    assert float(late["x"][1] - late["x"][0]) == 4.0 and late["x"].attrs["units"] == "Mpc/h"
    assert float(late.min()) >= -1 and float(late.max()) > 8  # haloes
    # a periodic box holds the cosmic mean
    np.testing.assert_allclose(late.mean(("x", "y", "z")), 0.0, atol=1e-5)
    assert float(early.std()) < 0.75 * float(late.std())  # structure has grown since
    with pytest.raises(InputError, match="outside the range"):
        run.sample(1, condition=CONDITION | {"Omega_m": 0.7}, progress=False)
