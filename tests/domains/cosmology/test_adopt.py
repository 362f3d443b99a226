"""Arrays in memory become density fields by the checks of the importer of files: the same data, the same refusals."""

import numpy as np
import pytest
import xarray as xr

import physgen as pg
from physgen.domains.cosmology import Cosmology
from physgen.errors import InputError

RNG = np.random.default_rng(1)
MAPS = RNG.lognormal(sigma=0.5, size=(12, 16, 16)).astype(np.float32)
SIMULATION = np.repeat(np.arange(4), 3)
LABELS = {"Omega_m": np.linspace(0.1, 0.5, 12), "sigma_8": np.linspace(0.6, 1.0, 12)}


def adopted(maps=MAPS, box="25 Mpc/h", **words):
    return Cosmology.adopt(pg.from_array(maps, box, **words))


def test_an_array_and_its_file_give_the_same_ensemble(tmp_path):
    np.save(tmp_path / "maps.npy", MAPS)
    table = np.stack([*LABELS.values()], axis=1)
    np.savetxt(tmp_path / "labels.txt", table, header="Omega_m sigma_8")
    options = {"box_size": "25 Mpc/h", "labels": tmp_path / "labels.txt", "field_kind": "surface_density"}
    from_file = pg.import_files("npy", str(tmp_path / "maps.npy"), maps_per_simulation=1, **options)
    from_memory = adopted(labels=LABELS, attrs={"field_kind": "surface_density"})
    xr.testing.assert_allclose(from_memory, from_file.drop_vars("source"))
    same = ("domain", "field_kind", "box_size", "box_size_units", "mean_density", "independent_unit", "periodic")
    assert {key: from_memory.attrs[key] for key in same} == {key: from_file.attrs[key] for key in same}
    assert from_memory["field"].attrs == from_file["field"].attrs


def test_simulations_are_the_units_and_lengths_are_converted():
    made = adopted(box="35 Mpc", simulation=[f"LH_{i}" for i in SIMULATION],
                   attrs={"field_kind": "density", "h": 0.7, "redshift": 0.5})  # fmt: skip
    assert made["simulation"].values.tolist() == SIMULATION.tolist()
    assert made.attrs["box_size"] == pytest.approx(24.5)
    assert made["x"].attrs["units"] == "Mpc/h"
    assert made.attrs["redshift"] == 0.5


def test_one_plus_delta_components_and_angles():
    made = adopted(MAPS / MAPS.mean(), attrs={"field_kind": "1+delta"})
    assert made.attrs["field_kind"] == "delta"
    assert float(made["field"].mean()) == pytest.approx(0, abs=1e-5)
    both = adopted(np.stack([MAPS, MAPS], axis=1), components=["Mcdm", "Mgas"], attrs={"field_kind": "density"})
    assert both["component"].values.tolist() == ["Mcdm", "Mgas"]
    sky = adopted(RNG.normal(size=(8, 16, 16)), "3.5 deg", periodic=False)
    assert sky.attrs["box_size_units"] == "deg"
    assert sky.attrs["periodic"] == 0


@pytest.mark.parametrize(
    "words, message",
    [
        ({}, "field_kind"),  # a lognormal field of mean above 1 is no contrast
        ({"box": None}, "box_size="),
        ({"box": "25 kpc/h"}, "no size of a cosmological box"),
        ({"box": "35 Mpc"}, "Hubble"),
        ({"box": "25 s"}, "s"),
        ({"attrs": {"field_kind": "magic"}}, "choose one of"),
        ({"attrs": {"field_kind": "delta"}}, "contrast has mean 0"),
        ({"attrs": {"field_kind": "delta, counts"}}, "2 kinds for 1 components"),
    ],
)
def test_what_contradicts_is_refused(words, message):
    with pytest.raises(InputError, match=message):
        adopted(**words)
