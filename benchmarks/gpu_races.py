"""Races on a GPU: noise, training steps, the nearest training field and +-J spins, against peers and other ways."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch

from benchmarks.speed import nearest, network
from benchmarks.speed.noise import SIZES
from benchmarks.speed.row import Row, race
from benchmarks.speed.spins import LADDERS, TEMPERATURES
from physgen.diagnostics.nearest import nearest_field
from physgen.diffusion.learning.denoisers import SpinDenoiser
from physgen.diffusion.learning.training import Recipe, TrainingState, train
from physgen.diffusion.noise import engine_of, noise_like
from physgen.domains.spins import multispin_device
from physgen.domains.spins.couplings import lattice_couplings, lattice_edges
from physgen.networks.message_passing import MessagePassing

GPU = torch.device("cuda")
TIMES = 20  # that small work is done in a turn
WORDS, SWEEPS = 64, 20


def rows() -> Iterator[Row]:
    for work, size in SIZES.items():
        yield noise(work, *size)
    for half in (False, True):
        yield network.step(GPU, half)
    yield spins_step()
    yield from fields()
    for shape in ((8, 8, 8), (32, 32)):
        yield words(shape)


def several(run: Callable[[], object]) -> Callable[[], None]:
    def turn() -> None:
        for _ in range(TIMES):
            run()

    return turn


def noise(work: str, count: int, places: int) -> Row:
    index = torch.arange(count, device=GPU)
    runs = {
        "physgen": several(lambda: noise_like(0, "benchmark", index, (places,), device=GPU)),
        "torch.randn": several(lambda: torch.randn(count, places, device=GPU)),
    }
    note = f"{TIMES} times; engine: {engine_of('cuda').name}"
    return race(f"float32 noise, {work}", runs, "<= 2 x torch.randn, on the device", repeats=9, note=note)


def spins_step() -> Row:
    """A whole training step of configs/spins/demo.yaml."""

    def steps(record: bool) -> Callable[[], object]:
        torch.manual_seed(0)
        denoiser = SpinDenoiser(MessagePassing(2, labels=1, width=32, depth=6)).to(GPU)
        x, bonds = torch.randn(640, 1, 8, 8).sign(), torch.randn(640, 4, 8, 8)
        made = train(
            TrainingState(denoiser, Recipe(10**6, 64)), x, {"channels": bonds, "labels": torch.rand(640, 1)},
            record=record,
        )  # fmt: skip
        return several(lambda: next(made))

    runs = {"physgen": steps(True), "operation by operation": steps(False)}
    return race(f"{TIMES} training steps of the spins demo, 64 x 8^2", runs)


def fields() -> Iterator[Row]:
    """All pairs of the goal, on the device."""
    query, train_maps = (nearest.maps(seed, count).to(GPU) for seed, count in ((0, 1000), (1, 10000)))
    for work, group in (("translations", "none"), ("translations and 8 symmetries", "point")):
        runs: dict[str, Callable[[], object]] = {
            "physgen": lambda group=group: nearest_field(query, train_maps, group=group),
            "physgen, every pair": lambda group=group: nearest_field(query, train_maps, group=group, prune=False),
        }
        yield race(f"nearest of 10000 maps of 64^2, 1000 queries, {work}", runs, repeats=1)


def words(shape: tuple[int, ...]) -> Row:
    edges, spins, instances = lattice_edges(shape), int(np.prod(shape)), 64 * WORDS
    couplings = lattice_couplings(shape, "bimodal", "periodic", 1, np.arange(instances)).reshape(instances, -1)
    bonds = multispin_device.make_bonds(edges, couplings, spins, GPU)
    walkers = multispin_device.start(bonds, TEMPERATURES, LADDERS, seed=1)
    tables = multispin_device.tables(bonds, 1.0, TEMPERATURES)
    lattice = " x ".join(map(str, shape))
    row = race(
        f"+-J, {instances} instances, 16 temperatures x {LADDERS} replicas of {lattice} spins, {SWEEPS} sweeps with "
        "exchanges",
        {"physgen": lambda: multispin_device.advance(walkers, bonds, tables, SWEEPS)},
    )
    updates = instances * LADDERS * len(TEMPERATURES) * spins * SWEEPS
    rate = updates / row.costs["physgen"].wall / 1e9
    return Row(row.work, row.goal, row.costs, row.ratios, f"{rate:.0f} thousand million updates a second")
