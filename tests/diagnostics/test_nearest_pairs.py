"""The pairs to look at: a moved copy comes back to its place, and the search agrees with that of the test."""

import numpy as np
import torch
import xarray as xr

from physgen.diagnostics.memorization import memorization
from physgen.diagnostics.nearest import nearest_field
from physgen.diagnostics.nearest_pairs import best_move
from physgen.lattice import Symmetry


def test_a_moved_copy_is_moved_back():
    field = np.random.default_rng(0).standard_normal((1, 12, 12))
    moved = Symmetry((1, 0), (0,), (3, 7))(torch.from_numpy(field)[None])[0].numpy()
    g, similarity = best_move(field, moved)
    np.testing.assert_allclose(g.move(torch.from_numpy(moved)[None])[0].numpy(), field)
    assert abs(similarity - 1) < 1e-12


def test_unequal_sides_and_walls_have_fewer_moves():
    rng = np.random.default_rng(1)
    field = rng.standard_normal((1, 8, 12))
    assert best_move(field, np.roll(field, 2, 1))[1] > 0.999
    assert best_move(field, np.roll(field, 2, 1), periodic=False)[1] < 0.7
    assert best_move(field, field[:, ::-1, ::-1].copy(), periodic=False)[1] > 0.999


def test_the_test_shows_its_likest_pairs_with_the_similarity_that_it_found():
    rng = np.random.default_rng(2)
    axes = {d: np.arange(8.0) for d in "yx"}

    def ensemble(values):
        return xr.Dataset({"field": (("sample", "y", "x"), values)}, axes)

    train = rng.standard_normal((20, 8, 8))
    generated = rng.standard_normal((12, 8, 8))
    generated[4] = np.roll(train[9], (1, 5), (0, 1))
    found = memorization(ensemble(generated), ensemble(train), ensemble(rng.standard_normal((12, 8, 8))))
    assert found["pair_field"].dims == ("kind", "pair", "side", "y", "x")
    copy, original = found["pair_field"].sel(kind="generated")[0]
    np.testing.assert_allclose(copy, original, atol=1e-5)
    best = np.sort(nearest_field(generated[:, None], train[:, None]).similarity[:, 0])[::-1][:3]
    np.testing.assert_allclose(found["pair_similarity"].sel(kind="generated"), best, atol=1e-5)
    assert float(found["pair_similarity"].sel(kind="held-out").max()) < 0.9
