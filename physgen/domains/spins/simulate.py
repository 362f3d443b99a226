"""Make ensembles of spins: couplings for every disorder instance, then equilibrium configurations of each.

Every random number is a pure function of (seed, disorder id, purpose), so the ensemble does not depend on the number of
processes, and instance 7 of 10 is instance 7 of 300. The kernels release the interpreter lock: threads do.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TYPE_CHECKING

import numpy as np

from physgen.diffusion.exact.atoms import enumerate_spins
from physgen.domains.spins import exact
from physgen.domains.spins.couplings import (
    complete_graph,
    complete_graph_couplings,
    disorder_rng,
    lattice_couplings,
    lattice_edges,
)
from physgen.domains.spins.enumeration import enumerate_graph
from physgen.domains.spins.layout import Disorder, spin_ensemble

if TYPE_CHECKING:
    import xarray as xr

    from physgen.domains.spins.domain import Spins

COUPLINGS_STREAM, EXACT_STREAM, MONTE_CARLO_STREAM = 0, 1, 2


def draw_disorder(domain: Spins, seed: int) -> Disorder:
    """The couplings of every instance of a domain."""
    ids = np.arange(domain.instances)
    if domain.model == "sherrington_kirkpatrick":
        edges = complete_graph(domain.length)
        return Disorder(complete_graph_couplings(domain.length, domain.couplings, seed, ids), edges, None)
    law = "ferromagnet" if domain.model == "ferromagnet" else domain.couplings
    shape = (domain.length,) * domain.dimension
    return Disorder(lattice_couplings(shape, law, domain.boundary, seed, ids), None, None)


def exact_ensemble(
    domain: Spins,
    seed: int,
    enumerate_all: bool,
    processes: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> xr.Dataset:
    """Independent exact samples by the transfer matrix or, for at most 20 spins, by enumeration.

    Beside the configurations the ensemble holds ``log_partition`` and ``exact_energy`` per instance and temperature.
    """
    disorder = draw_disorder(domain, seed)
    grid = (domain.length,) if disorder.edges is not None else disorder.couplings.shape[2:]
    spins = np.empty((domain.instances, len(domain.temperatures), domain.replicas, *grid), dtype=np.int8)
    figures = np.empty((2, domain.instances, len(domain.temperatures)))
    solve = _enumerated if enumerate_all else _transfer_matrix

    def instance(i: int) -> None:
        rng = disorder_rng(seed, i, EXACT_STREAM)
        for t, temperature in enumerate(domain.temperatures):
            drawn = solve(disorder, i, temperature, domain.replicas, rng)
            spins[i, t], figures[:, i, t] = drawn.spins, drawn[1:]

    run_jobs(instance, domain.instances, processes, progress)
    method = "enumeration" if enumerate_all else "transfer_matrix"
    attrs = {"method": method, "equilibration": "exact: independent samples"}
    made = spin_ensemble(spins, disorder, np.array(domain.temperatures), np.arange(domain.instances), attrs)
    over = ("disorder", "temperature")
    return made.assign(
        log_partition=(over, figures[0], {"long_name": "ln Z", "units": "1"}),
        exact_energy=(over, figures[1], {"long_name": "exact mean energy per spin", "units": "J"}),
    )


def _transfer_matrix(
    disorder: Disorder, i: int, temperature: float, n: int, rng: np.random.Generator
) -> exact.ExactSamples:
    return exact.sample(disorder.couplings[i], temperature, n, rng)


def _enumerated(disorder: Disorder, i: int, temperature: float, n: int, rng: np.random.Generator) -> exact.ExactSamples:
    couplings = disorder.couplings[i]
    grid = couplings.shape[1:] if disorder.edges is None else (int(disorder.edges.max()) + 1,)
    edges = lattice_edges(grid) if disorder.edges is None else disorder.edges
    law = enumerate_graph(int(np.prod(grid)), edges, couplings.reshape(-1), temperature)
    chosen = rng.choice(len(law.probabilities), n, p=law.probabilities)
    every = enumerate_spins(int(np.prod(grid))).numpy()
    return exact.ExactSamples(every[chosen].reshape(n, *grid), law.log_partition, law.energy)


def run_jobs(
    job: Callable[[int], None], count: int, processes: int, progress: Callable[[int, int], None] | None
) -> None:
    """Run ``job(0) ... job(count - 1)`` on ``processes`` threads; the first error is raised at once."""
    with ThreadPoolExecutor(max(1, min(processes, count))) as pool:
        waiting = [pool.submit(job, i) for i in range(count)]
        try:
            for done, future in enumerate(as_completed(waiting), 1):
                future.result()
                if progress:
                    progress(done, count)
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
