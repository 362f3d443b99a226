"""Tiles: full, at fixed places of the sample index, and of a size that follows from the configuration alone."""

import pytest
import torch

from physgen.diffusion.sampling.tiles import Execution, tile_of


@pytest.mark.parametrize(
    ("site", "tile"), [((1, 64, 64), 16), ((1, 128, 128), 4), ((1, 64, 64, 64), 2), ((1, 8, 8), 256), ((2, 45, 45), 16)]
)
def test_a_tile_holds_a_fixed_number_of_values(site, tile):
    assert tile_of(site) == tile


@pytest.mark.parametrize("tile", [None, 1, 3, 16])
@pytest.mark.parametrize(("start", "count"), [(0, 1), (0, 16), (5, 2), (5, 40), (16, 16), (31, 2)])
def test_tiles_cover_a_request_once_and_stand_at_multiples_of_their_size(tile, start, count):
    tiles = Execution(tile=tile, start_index=start).tiles(count, (1, 64, 64))
    found = [number for t in tiles for number in t.index[t.inside]]
    assert found == list(range(start, start + count))
    size = tile or 16
    assert all(len(t.index) == size and t.index[0] % size == 0 for t in tiles)
    rows = torch.arange(float(count))
    gathered = torch.full((count,), -1.0)
    for t in tiles:
        assert len(t.take(rows)) == size
        gathered[t.place] = t.take(rows)[t.inside]
    assert torch.equal(gathered, rows)


def test_the_condition_of_a_tile_follows_its_samples_in_the_dtype_of_the_request():
    plan = Execution(tile=4, start_index=2, dtype=torch.float64)
    tiles = plan.tiles(5, (1, 8))
    given = list(plan.conditions({"labels": torch.arange(5.0), "number": torch.arange(5)}, tiles))
    assert [c["labels"].tolist() for c in given] == [[0, 0, 0, 1], [2, 3, 4, 4]]
    assert given[0]["labels"].dtype == torch.float64 and given[0]["number"].dtype == torch.int64
    assert list(plan.conditions(None, tiles)) == [None, None]
    with pytest.raises(ValueError, match=r"'labels' must lead with 5.*\(4,\)"):
        plan.conditions({"labels": torch.zeros(4)}, tiles)
