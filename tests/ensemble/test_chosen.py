"""Chosen entries of a variable in a file: the same as a list of places, whatever is asked of them."""

import numpy as np
import pytest
import xarray as xr

from physgen.ensemble import open_ensemble, save_ensemble
from physgen.ensemble.chosen import GAP_ENTRIES, _runs, in_runs

SHAPE = (40, 6, 5)
ASKED = [
    {}, {"sample": 3}, {"sample": -1}, {"sample": slice(5, 20, 2)}, {"sample": slice(9, 2, -1)},
    {"sample": slice(0, 0)}, {"sample": [7, 3, 3, 11]}, {"sample": slice(3, 9), "y": 4},
    {"y": [1, 5, 2], "sample": [4, 8]}, {"x": slice(3, 5), "y": 0, "sample": 2},
    {"y": 1, "sample": [0, 1, 2, 9]}, {"y": slice(4, 1, -1)},
]  # fmt: skip


@pytest.fixture
def opened(tmp_path):
    field = np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32)
    path = save_ensemble(xr.Dataset({"field": (("sample", "y", "x"), field)}), tmp_path / "whole.h5")
    with open_ensemble(path) as ensemble:
        yield ensemble["field"].variable, field


@pytest.mark.parametrize("asked", ASKED, ids=str)
@pytest.mark.parametrize("axis", [0, 1])
def test_any_selection_is_that_of_the_list_of_places(opened, asked, axis):
    lazy, field = opened
    dim, size = lazy.dims[axis], SHAPE[axis]
    index = np.sort(np.random.default_rng(1).choice(size, size * 2 // 3, replace=False))
    asked = {name: key for name, key in asked.items() if name != dim or axis == 0}
    expected = xr.Variable(lazy.dims, np.take(field, index, axis)).isel(asked)
    found = in_runs(lazy, dim, index)
    assert found.shape == (*SHAPE[:axis], len(index), *SHAPE[axis + 1 :]) and found.dtype == field.dtype
    np.testing.assert_array_equal(found.isel(asked).values, expected.values)


def test_runs_hold_the_places_and_bridge_small_gaps_alone():
    places = np.array([0, 1, 2, 5, 6, 30, 31, 33, 32, 32])
    runs = list(_runs(places, GAP_ENTRIES))
    assert [(run.start, run.stop) for run, _ in runs] == [(0, 7), (30, 34), (32, 33), (32, 33)]
    np.testing.assert_array_equal(np.concatenate([np.arange(r.start, r.stop)[w] for r, w in runs]), places)
