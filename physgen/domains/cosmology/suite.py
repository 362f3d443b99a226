"""A suite of simulations: a Latin hypercube of cosmologies, one seed each, painted to boxes or to slabs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from typing import TYPE_CHECKING

import numpy as np
import torch

from physgen.domains.cosmology.background import CosmologyParams
from physgen.domains.cosmology.painting import Painting, paint, project_slabs
from physgen.domains.cosmology.simulate import (
    SimulationBox,
    given_seed,
    linear_contrast,
    linear_field,
    simulation_seed,
    snapshot_redshifts,
    snapshots,
    snapshots_in_redshift_space,
)
from physgen.errors import InputError
from physgen.processes.spawning import begin_alone

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True)
class Task:
    """One simulation, complete: what a worker process needs to make its fields.

    ``redshifts`` are those of its snapshots, descending.
    """

    params: CosmologyParams
    box: SimulationBox
    painting: Painting
    seed: int
    redshifts: tuple[float, ...]
    linear_power: str = "eisenstein_hu"
    device: str = "cpu"


def latin_hypercube(
    simulations: int, ranges: list[tuple[float, float]], seed: int, first_simulation: int = 0
) -> np.ndarray:
    """Points (simulations, len(ranges)): each of the equal intervals of every range holds one, at random in it.

    Simulations of other numbers, from ``first_simulation`` on, have a hypercube of their own.
    """
    also = [first_simulation] if first_simulation else []
    generator = np.random.default_rng(np.random.SeedSequence([seed, 0x1A71, *also]))
    order = np.stack([generator.permutation(simulations) for _ in ranges], axis=1)
    unit = (order + generator.random(order.shape)) / simulations
    low, high = np.array(ranges, dtype=float).T
    return low + unit * (high - low)


def simulate_fields(task: Task) -> np.ndarray:
    """Density contrast of one simulation, float32: (maps, cells, cells) or (1, cells, cells, cells) for each redshift,
    one after the other in the order of ``task.redshifts``.
    """
    modes = linear_field(task.params, task.box, task.seed, task.linear_power, task.device)
    if task.box.simulator == "linear":
        cells, painting = task.painting.cells, task.painting
        fields = [linear_contrast(modes, task.params, cells, redshift) for redshift in task.redshifts]
        maps = [delta[None] if painting.dimension == 3 else project_slabs(delta, painting) for delta in fields]
        return torch.cat(maps).cpu().numpy()
    moving = snapshots if not task.painting.redshift_space else snapshots_in_redshift_space
    painted = [_paint(found, task) for found in moving(modes, task.params, task.box, task.redshifts)]
    return torch.cat(painted).cpu().numpy()


def _paint(found: torch.Tensor | tuple[torch.Tensor, torch.Tensor], task: Task) -> torch.Tensor:
    scale = task.painting.cells / task.box.box_size
    positions, shifts = found if isinstance(found, tuple) else (found, None)
    return paint(
        positions.mul_(scale), task.painting, task.box.particles, None if shifts is None else shifts.mul_(scale)
    )


def run_suite(
    tasks: list[Task], processes: int = 1, progress: Callable[[int, int], None] | None = None
) -> Iterator[np.ndarray]:
    """Fields of every task, in the order of the tasks, bit for bit the same for any number of processes.

    Each simulation runs in one thread: many small transforms gain more from processes. Processes are spawned, where the
    work is worth their start (:func:`physgen.processes.spawning.begin_alone`), so a script that asks for several must
    keep its own work under ``if __name__ == "__main__"``.
    """
    done = 0
    with _one_thread():
        for fields in begin_alone(simulate_fields, tasks, min(processes, len(tasks))):
            yield fields
            done = _count(done, len(tasks), progress)
    left = tasks[done:]
    if not left:
        return
    with ProcessPoolExecutor(
        min(processes, len(left)), mp_context=get_context("spawn"), initializer=torch.set_num_threads, initargs=(1,)
    ) as pool:
        for fields in pool.map(simulate_fields, left):
            yield fields
            done = _count(done, len(tasks), progress)


def _count(done: int, total: int, progress: Callable[[int, int], None] | None) -> int:
    if progress:
        progress(done + 1, total)
    return done + 1


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def make_tasks(
    box: SimulationBox,
    painting: Painting,
    cosmologies: list[CosmologyParams],
    seed: int,
    highest_redshift: float = 0.0,
    count: int = 1,
    first_simulation: int = 0,
) -> list[Task]:
    """One task per cosmology; simulation i, from ``first_simulation`` on, gets the seed of (seed, i) and ``count``
    snapshots from ``box.redshift`` to ``highest_redshift``
    (:func:`physgen.domains.cosmology.simulate.snapshot_redshifts`).
    """
    seeds = [simulation_seed(seed, first_simulation + i) for i in range(len(cosmologies))]
    return [
        Task(params, box, painting, own, snapshot_redshifts(box.redshift, highest_redshift, count, own))
        for params, own in zip(cosmologies, seeds, strict=True)
    ]


def tasks_given(
    template: xr.Dataset,
    box: SimulationBox,
    painting: Painting,
    params: Callable[[float, float], CosmologyParams],
    seed: int,
) -> tuple[list[Task], np.ndarray]:
    """One task for each simulation number of a template with labels, and these numbers.

    The cosmology of a simulation is ``params(Omega_m, sigma_8)``; without a label ``redshift`` it is that of the box.

    Raises:
        InputError: a label is missing, or one simulation has several cosmologies.
    """
    missing = [name for name in ("Omega_m", "sigma_8") if name not in template.variables]
    if missing:
        raise InputError(
            f"the template has no {missing[0]}: give conditions with Omega_m and sigma_8, as generated fields have them"
        )
    rows = np.stack([np.asarray(template[name].values, dtype=np.float64) for name in ("Omega_m", "sigma_8")], axis=1)
    count = len(rows)
    simulation = template["simulation"].values if "simulation" in template.variables else np.arange(count)
    fixed = float(template.attrs.get("redshift", box.redshift))
    redshift = template["redshift"].values if "redshift" in template.variables else np.full(count, fixed)
    tasks, numbers = [], np.unique(simulation)
    for number in numbers:
        members = simulation == number
        cosmology = np.unique(rows[members], axis=0)
        if len(cosmology) > 1:
            raise InputError(
                f"simulation {number} of the template has {len(cosmology)} pairs of Omega_m and sigma_8: number the "
                "simulations of each cosmology apart"
            )
        epochs = tuple(np.unique(redshift[members])[::-1].tolist())
        own = replace(box, redshift=epochs[-1])
        tasks.append(Task(params(*cosmology[0]), own, painting, given_seed(seed, int(number)), epochs))
    return tasks, numbers
