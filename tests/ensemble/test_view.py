"""Fields that are computed where they are read, and ensembles whose field lies in a mapped file."""

import numpy as np
import pytest
import xarray as xr

from physgen.diagnostics.batches import BATCH_CELLS, batches, each_sample
from physgen.ensemble import (
    computed_field,
    flatten,
    from_array,
    load_ensemble,
    map_ensemble,
    save_ensemble,
    scratch,
    unread_field,
)
from physgen.errors import InputError


@pytest.fixture
def ensemble():
    fields = np.random.default_rng(1).random((7, 3, 6, 5), dtype=np.float32)
    return xr.Dataset(
        {"field": (("chain", "temperature", "y", "x"), fields, {"units": "K"}), "scale": ("chain", np.arange(1.0, 8))}
    )


def doubled(ensemble):
    scale = ensemble["scale"].variable
    return computed_field(ensemble, lambda part, at: part * scale.isel(chain=at["chain"]), np.float64, {"units": "1"})


@pytest.mark.parametrize(
    "where",
    [
        {},
        {"chain": slice(1, 6, 2)},
        {"chain": [4, 0, 4]},
        {"chain": 3, "x": slice(2)},
        {"chain": np.array([5, 1]), "temperature": np.array([2, 0])},
    ],
)
def test_a_selection_of_a_computed_field_is_computed_of_the_selection(ensemble, where):
    found = doubled(ensemble).isel(where)["field"]
    expected = (ensemble["field"] * ensemble["scale"]).isel(where).transpose(*found.dims)
    np.testing.assert_array_equal(found.values, expected.values)
    assert found.dtype == np.float64 and found.attrs == {"units": "1"}
    unread = unread_field(ensemble).isel(where)["field"]
    np.testing.assert_array_equal(unread.values, ensemble["field"].isel(where).values)
    assert unread.dtype == np.float32 and unread.attrs == {"units": "K"}


def test_nothing_is_computed_before_it_is_read(ensemble):
    parts = []
    lazy = computed_field(ensemble, lambda part, at: parts.append(part.shape) or part, np.float32)
    half = lazy.isel(chain=[2, 3, 6])
    assert not parts
    half["field"].isel(chain=slice(1, 2)).load()
    assert parts == [(1, 3, 6, 5)]


@pytest.mark.parametrize("cells", [30, 200, BATCH_CELLS])
def test_batches_of_what_is_computed_are_those_of_what_is_in_memory(ensemble, cells):
    whole = doubled(ensemble).load()
    for one in (doubled(ensemble), whole, whole.transpose("temperature", ...)):
        np.testing.assert_array_equal(np.concatenate(list(batches(one, cells=cells))), flatten(one))
        np.testing.assert_array_equal(each_sample(one, lambda v: v.sum(axis=(2, 3))), flatten(one).sum(axis=(2, 3)))


def test_a_mapped_ensemble_is_the_one_in_memory(tmp_path, monkeypatch):
    monkeypatch.setenv("PHYSGEN_SCRATCH", str(tmp_path))
    fields = np.random.default_rng(2).standard_normal((5, 8, 8)).astype(np.float32)
    path = save_ensemble(from_array(fields, "9 Mpc/h", labels={"a": np.arange(5.0)}), tmp_path / "e.h5")
    monkeypatch.setattr(scratch, "IN_MEMORY_BYTES", 0)
    mapped = map_ensemble(path)
    xr.testing.assert_identical(mapped, load_ensemble(path))
    assert mapped["field"].dtype == np.float32 and not mapped["field"].values.flags.owndata
    content = bytearray(path.read_bytes())
    place = content.find(fields[2].tobytes())
    content[place + 40] ^= 4
    path.write_bytes(content)
    with pytest.raises(InputError, match="damaged"):
        map_ensemble(path)
