"""Batches: the same bits wherever the data lie and however many processes share them; no device is read for them."""

import math
from dataclasses import replace

import pytest
import torch

from physgen.diffusion.learning.batches import RESIDENT_SHARE, Batches, SampleOrder, fits
from physgen.diffusion.learning.denoisers import LogUniform
from physgen.diffusion.learning.training import Recipe
from physgen.lattice import random_moves

RECIPE = Recipe(steps=6, batch_size=9, level_distribution=LogUniform(0.1, 10.0))
COUNT, GRID = 20, (4, 4)


def data():
    x = torch.arange(COUNT * 2 * 16.0).reshape(COUNT, 2, *GRID)
    return x, {"labels": torch.arange(COUNT * 3.0).reshape(COUNT, 3)}


def turned(x, condition, draws):
    return random_moves(GRID, draws).move(x), {"labels": condition["labels"] + draws.uniform((1,))}


def batches(x=None, condition=None, **options):
    whole = data()
    return Batches(whole[0] if x is None else x, condition or whole[1], RECIPE, turned, **options)


def drawn(source):
    """All tensors of every step of a recipe, in order."""
    steps = [source.at(step) for step in range(RECIPE.steps)]
    source.close()
    return [tensor for b in steps for tensor in (b.x0, b.levels, b.noise, b.condition["labels"])]


def equal(these, those):
    assert len(these) == len(those) and all(map(torch.equal, these, those))


def test_data_gathered_ahead_by_a_thread_give_the_bits_of_resident_data():
    equal(drawn(batches(resident=False)), drawn(batches(resident=True)))


def test_data_in_a_mapped_file_give_the_bits_of_data_in_memory(tmp_path):
    x, condition = data()
    x.numpy().tofile(tmp_path / "x")
    mapped = torch.from_file(str(tmp_path / "x"), shared=True, size=x.numel()).reshape(x.shape)
    for resident in (True, False):
        equal(drawn(batches(mapped, condition, resident=resident)), drawn(batches()))


@pytest.mark.parametrize("world_size", [2, 4, 9])
def test_ranks_share_the_samples_of_one_process(world_size):
    alone = batches()
    ranks = [batches(place=(rank, world_size), resident=rank % 2 == 0) for rank in range(world_size)]
    for step in range(RECIPE.steps):
        whole = alone.at(step)
        for rank, source in enumerate(ranks):
            part, mine = source.at(step), slice(rank, None, world_size)
            equal([part.x0, part.levels, part.noise], [t[mine] for t in (whole.x0, whole.levels, whole.noise)])
            assert torch.equal(part.condition["labels"], whole.condition["labels"][mine])
    for source in ranks:
        source.close()


def test_a_thread_that_fails_says_so_in_the_step():
    x, condition = data()
    source = batches(x, {"labels": condition["labels"][:5]}, resident=False)
    with pytest.raises(IndexError, match="out of range"):
        drawn(source)
    source.close()


def test_what_stays_on_a_gpu_is_a_stated_share_of_its_free_memory(monkeypatch):
    """On the CPU data stay as they are, mapped or not; a GPU that holds them already keeps them."""
    x = torch.zeros(1000)
    assert fits([x], torch.device("cpu"))
    free = {"bytes": 4000 / RESIDENT_SHARE}
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free["bytes"], 0))
    assert fits([x], torch.device("cuda"))
    free["bytes"] -= 1
    assert not fits([x], torch.device("cuda"))


def test_each_epoch_visits_every_sample_once():
    order = SampleOrder(10, seed=0)
    visited = torch.cat([order.indices(6 * step, 6) for step in range(5)])
    assert all(sorted(epoch.tolist()) == list(range(10)) for epoch in visited.split(10))
    assert visited[:10].tolist() != visited[10:20].tolist()
    few = SampleOrder(4, seed=0)
    assert torch.cat([few.indices(0, 6), few.indices(6, 6)]).bincount().tolist() == [3] * 4
    assert torch.equal(SampleOrder(10, seed=0).indices(12, 6), visited[12:18])  # as after a resume


def test_orders_are_uniform_over_permutations():
    """Each of the 6 orders of 3 samples in 6000 epochs: chi2 of 5 degrees of freedom."""
    order = SampleOrder(3, seed=1)
    ranks = torch.stack([order.indices(3 * epoch, 3) for epoch in range(6000)]) @ torch.tensor([9, 3, 1])
    _, count = ranks.unique(return_counts=True)
    assert len(count) == 6 and float((count - 1000).square().sum() / 1000) < 5 + 6 * math.sqrt(10)


def test_levels_of_a_step_fill_the_strata_of_the_law():
    source = Batches(*data(), replace(RECIPE, batch_size=50))
    u = [(source.levels(step) / 0.1).log() / math.log(100) for step in (3, 4)]
    assert torch.equal((u[0] * 50).floor().sort()[0], torch.arange(50.0))
    assert not torch.equal(u[0], u[1])


def test_nothing_is_read_from_the_device_to_make_a_batch():
    """On the device "meta", whose numbers cannot be read: reading one, or copying it to the host, is an error."""
    x, condition = data()
    device = torch.device("meta")
    source = batches(x.to(device), {"labels": condition["labels"].to(device)}, device=device, place=(1, 2))
    for step in range(RECIPE.steps):
        batch = source.at(step)
        assert batch.x0.device == batch.levels.device == batch.noise.device == device
        assert batch.x0.shape == batch.noise.shape == (4, 2, *GRID) and batch.levels.shape == (4,)
    with pytest.raises((RuntimeError, NotImplementedError)):
        batch.levels[0].item()
