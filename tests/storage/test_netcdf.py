"""Files opened and written with objects that are looked up once hold and give what xarray's own do."""

import pickle

import h5py
import numpy as np
import pytest
import xarray as xr

from physgen.storage.netcdf import load_groups, open_dataset, open_netcdf, write_dataset


def made(seed=0, axis="x"):
    rng = np.random.default_rng(seed)
    return xr.Dataset(
        {
            "field": (("sample", axis), rng.normal(size=(3, 4)), {"units": "1"}),
            "name": ("sample", np.array(["a", "bb", "c"])),
            "count": ((), 3),
        },
        {axis: (axis, np.arange(4.0), {"units": "Mpc/h"})},  # comes after its dim, whose stand-in is deleted for it
        {"title": "t", "seed": seed},
    )


def test_what_is_opened_is_what_xarray_opens(tmp_path):
    made().to_netcdf(tmp_path / "a.h5", engine="h5netcdf", encoding={"field": {"fletcher32": True}})
    theirs = xr.open_dataset(tmp_path / "a.h5", engine="h5netcdf", chunks=None)
    with open_dataset(tmp_path / "a.h5") as found, theirs as wanted:
        assert found.load().identical(wanted.load())
        assert repr(found.encoding) == repr(wanted.encoding)
        for name in wanted.variables:
            assert repr(found[name].encoding) == repr(wanted[name].encoding), name
    lazy = pickle.loads(pickle.dumps(open_dataset(tmp_path / "a.h5")))  # as a process of its own is given it
    assert lazy.identical(made())
    lazy.close()


def test_what_is_written_is_read_by_others(tmp_path):
    with open_netcdf(tmp_path / "a.h5", "w") as file:
        write_dataset(made(), file, {"field": {"chunksizes": (1, 4), "fletcher32": True}})
        write_dataset(made(1, "y"), file.create_group("one/two"))
    for group, wanted in ((None, made()), ("one/two", made(1, "y"))):
        assert xr.load_dataset(tmp_path / "a.h5", engine="h5netcdf", group=group).identical(wanted)
    groups = load_groups(tmp_path / "a.h5")
    assert groups.keys() == {"", "one/two"}
    assert groups[""].identical(made()) and groups["one/two"].identical(made(1, "y"))
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["field"].fletcher32 and file["field"].chunks == (1, 4)
        assert file["field"].dims[1][0] == file["x"]


def test_a_name_that_comes_to_mean_something_else_is_looked_up_again(tmp_path):
    with open_netcdf(tmp_path / "a.h5", "w") as file:
        below = file._h5file
        assert isinstance(below, h5py.File) and type(below) is not h5py.File
        for holder in (below, below["/"], below.create_group("g") and below["/g"]):
            path = f"{holder.name.rstrip('/')}/x"
            holder.create_dataset("x", data=1)
            assert below[path] is below[path] and below[path][()] == 1
            del holder["x"]
            with pytest.raises(KeyError):
                below[path]
            holder.create_dataset("x", data=2)
            assert below[path][()] == 2
            holder.move("x", "y")
            assert path not in below and below[path[:-1] + "y"][()] == 2
            del holder["y"]


def test_a_file_that_was_replaced_is_read_anew_and_a_damaged_one_is_closed(tmp_path):
    path = tmp_path / "a.h5"
    for seed in (0, 1):
        made(seed).to_netcdf(path, engine="h5netcdf")
        with open_dataset(path) as found:
            assert found.attrs["seed"] == seed and found.load().identical(made(seed))
    path.write_bytes(path.read_bytes()[:900])
    with pytest.raises(OSError):
        open_dataset(path)
    path.unlink()
