"""Tiles: full, at fixed places of the sample index, and of a size that follows from the configuration alone."""

import threading

import pytest
import torch

from physgen.diffusion.levels import log_uniform
from physgen.diffusion.sampling.samplers import sample
from physgen.diffusion.sampling.tiles import Execution, tile_of


@pytest.mark.parametrize(
    ("site", "on_cpu", "on_gpu"),
    [
        ((1, 32, 32), 16, 1024),
        ((1, 64, 64), 4, 256),
        ((1, 128, 128), 2, 64),
        ((1, 64, 64, 64), 2, 4),
        ((1, 256, 256, 256), 2, 1),
        ((1, 8, 8), 32, 4096),
        ((2, 45, 45), 4, 256),
    ],
)
def test_a_tile_follows_from_the_configuration_and_the_kind_of_device(site, on_cpu, on_gpu):
    assert tile_of(site) == tile_of(site, "cpu") == on_cpu
    assert tile_of(site, "cuda") == tile_of(site, "mps") == on_gpu


def test_a_request_takes_the_tile_of_its_device():
    plans = [Execution(device=device) for device in ("cpu", "cuda:1", torch.device("cuda"))]
    assert [len(plan.tiles(1, (1, 32, 32))[0].index) for plan in plans] == [16, 1024, 1024]


@pytest.mark.parametrize("tile", [None, 1, 3, 16])
@pytest.mark.parametrize(("start", "count"), [(0, 1), (0, 16), (5, 2), (5, 40), (16, 16), (31, 2)])
def test_tiles_cover_a_request_once_and_stand_at_multiples_of_their_size(tile, start, count):
    tiles = Execution(tile=tile, start_index=start).tiles(count, (1, 64, 64))
    found = [number for t in tiles for number in t.index[t.inside]]
    assert found == list(range(start, start + count))
    size = tile or 4
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


def test_tiles_of_several_workers_are_computed_alike_and_told_one_at_a_time():
    told, threads, before = [], set(), torch.get_num_threads()
    matrix = torch.randn(8, 8, generator=torch.Generator().manual_seed(1))

    def denoiser(y, s, condition=None):
        assert not torch.is_grad_enabled()
        threads.add((threading.get_ident(), torch.get_num_threads()))
        return torch.tanh(y @ matrix) / (1 + s[:, None, None])

    found = [
        sample(
            denoiser, log_uniform(10.0, 0.01, 6), (41, 1, 8), 3, sampler="ancestral", tile=4, workers=workers,
            progress=lambda done, total: told.append((done, total)),
        )
        for workers in (1, 3)
    ]  # fmt: skip
    assert torch.equal(*found)
    assert told == 2 * [(done, len(told) // 2) for done in range(1, len(told) // 2 + 1)]
    assert 2 <= len(threads) <= 4 and torch.get_num_threads() == before


@pytest.mark.parametrize("workers", [1, 2])
def test_a_single_tile_has_as_many_threads_as_each_of_several(workers):
    """On another number a convolution rounds differently: 2 maps would not be the first 2 of 8."""
    before, seen = torch.get_num_threads(), {}
    torch.set_num_threads(2)
    try:
        for count in (3, 12):

            def denoiser(y, s, condition=None, asked=count):
                seen.setdefault(asked, set()).add(torch.get_num_threads())
                return y / 2

            sample(denoiser, log_uniform(10.0, 0.1, 4), (count, 1, 8), 3, tile=4, workers=workers)
        assert seen[3] == seen[12] == {2 // workers} and torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_an_error_in_one_of_several_workers_is_raised():
    def denoiser(y, s, condition=None):
        raise ArithmeticError("not a number")

    with pytest.raises(ArithmeticError, match="not a number"):
        sample(denoiser, log_uniform(10.0, 0.01, 6), (40, 1, 8), 3, tile=4, workers=2)
