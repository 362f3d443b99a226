"""Exports of any physics: the array, the table of what stands on the samples, HDF5 with everything."""

import h5py
import numpy as np
import xarray as xr

import physgen as pg


def glass():
    rng = np.random.default_rng(0)
    spins = rng.choice([-1, 1], (2, 3, 4, 6, 6)).astype(np.int8)
    return xr.Dataset(
        {
            "field": (("disorder", "temperature", "replica", "y", "x"), spins, {"units": "1"}),
            "couplings": (("disorder", "direction", "y", "x"), rng.normal(size=(2, 2, 6, 6))),
            "energy": (("disorder", "temperature", "replica"), rng.normal(size=(2, 3, 4))),
        },
        coords={"temperature": [0.5, 1.0, 1.5]},
        attrs={"domain": "spins"},
    )


def test_samples_of_several_dims_are_rows_of_one_table(tmp_path):
    ensemble = glass()
    written = pg.export("npy", ensemble, tmp_path / "spins.npy")
    assert [path.name for path in written] == ["spins.npy", "spins_params.txt"]
    array = np.load(written[0])
    assert array.dtype == np.int8 and array.shape == (24, 6, 6)
    np.testing.assert_array_equal(array.reshape(2, 3, 4, 6, 6), ensemble.field.values)
    names = written[1].read_text().splitlines()[0].lstrip("#").split()
    table = dict(zip(names, np.loadtxt(written[1]).T, strict=True))
    np.testing.assert_array_equal(table["energy"], ensemble.energy.values.reshape(-1))
    for i in (0, 7, 23):
        place = [int(table["disorder"][i]), int(np.flatnonzero(table["temperature"][i] == [0.5, 1, 1.5])[0])]
        np.testing.assert_array_equal(array[i], ensemble.field.values[*place, int(table["replica"][i])])


def test_hdf5_holds_the_quenched_fields_too(tmp_path):
    pg.export("hdf5", glass(), tmp_path / "spins.hdf5")
    with h5py.File(tmp_path / "spins.hdf5") as file:
        np.testing.assert_array_equal(file["couplings"], glass().couplings)
        assert list(file["couplings"].attrs["dims"]) == ["disorder", "direction", "y", "x"]
        np.testing.assert_array_equal(file["temperature"], np.tile(np.repeat([0.5, 1.0, 1.5], 4), 2))
        assert file["field"].shape == (24, 6, 6) and file.attrs["domain"] == "spins"


def test_fields_of_no_physics_are_exported(tmp_path):
    ensemble = pg.from_array(np.arange(32.0).reshape(2, 4, 4), labels={"a": [1, 2]})
    pg.export("npy", ensemble, tmp_path / "any.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "any.npy"), ensemble.field)
    assert (tmp_path / "any_params.txt").read_text() == "#a\n1\n2\n"
