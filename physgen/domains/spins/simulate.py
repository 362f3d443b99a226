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
from physgen.domains.spins import equilibration, exact, monte_carlo
from physgen.domains.spins.couplings import (
    complete_graph,
    complete_graph_couplings,
    disorder_rng,
    lattice_couplings,
    lattice_edges,
    open_axes,
)
from physgen.domains.spins.enumeration import enumerate_graph
from physgen.domains.spins.layout import Disorder, spin_ensemble
from physgen.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

    from physgen.domains.spins.domain import Spins

COUPLINGS_STREAM, EXACT_STREAM, MONTE_CARLO_STREAM = 0, 1, 2
MEASUREMENTS = 2048  # at most, per run of parallel tempering


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

    _run_jobs(instance, domain.instances, processes, progress)
    method = "enumeration" if enumerate_all else "transfer_matrix"
    attrs: dict[str, object] = {"method": method, "equilibration": "exact: independent samples"}
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


# --- parallel tempering --------------------------------------------------------------------------------


def tempering_ensemble(
    domain: Spins, seed: int, processes: int = 1, progress: Callable[[int, int], None] | None = None
) -> xr.Dataset:
    """Configurations by parallel tempering, with the statistics of the equilibration tests in the attributes.

    Half of the sweeps are discarded. Replica r comes from ladder r modulo the number of ladders; later rounds are
    later times, spread evenly over the production. Variables ``autocorrelation_time`` (sweeps) and
    ``independent_samples`` hold the figures of each instance and temperature.

    Raises:
        InputError: too few independent configurations (at once, for the first instance where it shows), energies
            that drift, or a broken Katzgraber-Young identity.
    """
    disorder = draw_disorder(domain, seed)
    grid = (domain.length,) if disorder.edges is not None else disorder.couplings.shape[2:]
    ladder = monte_carlo.temperature_ladder(np.array(domain.temperatures), domain.hottest, domain.spins)
    levels = np.searchsorted(ladder, domain.temperatures)
    order = _order(domain)
    shape = (domain.instances, len(levels), domain.replicas)
    spins = np.empty((*shape, *grid), dtype=np.int8)
    runs: dict[int, equilibration.Figures] = {}
    mixing = np.empty((domain.instances, 2))

    def instance(i: int) -> None:
        graph = _graph(disorder, i, grid, order)
        walkers = monte_carlo.start(graph, ladder, domain.ladders, disorder_rng(seed, i, MONTE_CARLO_STREAM))
        drawn, runs[i] = _tempered(domain, walkers, graph, ladder, levels)
        reason = equilibration.independence_reason(runs[i], levels, domain.replicas, domain.sweeps, i)
        if reason:
            raise InputError(f"parallel tempering did not give equilibrium data: {reason}")
        spins[i] = drawn.reshape(*shape[1:], *grid)
        rate = walkers.accepted / np.maximum(walkers.attempts, 1)
        mixing[i] = rate.min(initial=1.0), walkers.trips.min()

    _run_jobs(instance, domain.instances, processes, progress)
    gaussian = domain.couplings == "gaussian" and domain.model != "ferromagnet"
    in_order = [runs[i] for i in range(domain.instances)]
    verdict = equilibration.judge(in_order, levels, gaussian)
    if not verdict.equilibrated:
        raise InputError(
            f"parallel tempering did not give equilibrium data: {'; '.join(verdict.reasons)}: "
            f"set sweeps to {4 * domain.sweeps} or more, or leave out the lowest temperatures"
        )
    attrs: dict[str, object] = {"method": "parallel_tempering", "equilibration": "passed", **verdict.figures}
    attrs |= {"sweeps": domain.sweeps, "ladders": domain.ladders, "ladder_temperatures": ladder.tolist()}
    attrs |= {"swap_acceptance_min": float(mixing[:, 0].min()), "round_trips_min": int(mixing[:, 1].min())}
    made = spin_ensemble(spins, disorder, np.array(domain.temperatures), np.arange(domain.instances), attrs)
    over = ("disorder", "temperature")
    time = {"long_name": "integrated autocorrelation time", "units": "sweeps"}
    count = {"long_name": "independent configurations in the production", "units": "1"}
    return made.assign(
        autocorrelation_time=(over, np.stack([run.tau[levels] for run in in_order]), time),
        independent_samples=(over, np.stack([run.independent[levels] for run in in_order]), count),
    )


def _tempered(
    domain: Spins, walkers: monte_carlo.Walkers, graph: monte_carlo.Graph, ladder: np.ndarray, levels: np.ndarray
) -> tuple[np.ndarray, equilibration.Figures]:
    """Configurations (levels, replicas, N) of one run, and what its equilibration is judged by."""
    rounds = -(-domain.replicas // domain.ladders)
    interval = max(1, domain.sweeps // MEASUREMENTS)
    measurements = domain.sweeps // interval
    production = measurements - measurements // 2
    if rounds > production:
        raise InputError(
            f"{domain.sweeps} sweeps cannot give {domain.replicas} configurations on {domain.ladders} ladders: "
            f"set sweeps to {4 * rounds * interval} or more"
        )
    recorded = set((measurements // 2 + (np.arange(1, rounds + 1) * production) // rounds - 1).tolist())
    series, drawn = [], []
    for m in range(measurements):
        monte_carlo.advance(walkers, graph, ladder, interval)
        series.append(monte_carlo.measure(walkers, graph))
        if m in recorded:
            drawn.append(monte_carlo.configurations(walkers, levels))
    energy, overlap, link = (np.stack(column) for column in zip(*series, strict=True))
    # sum of the variances of the couplings: 1 each on a lattice, 1/N each on the complete graph
    variance = 1 / domain.spins if domain.model == "sherrington_kirkpatrick" else 1.0
    per_spin = variance * len(graph.edges) / domain.spins
    figures = equilibration.run_figures(energy, overlap, link, ladder, interval, per_spin)
    return np.concatenate(drawn, axis=1)[:, : domain.replicas], figures


def _graph(disorder: Disorder, i: int, grid: tuple[int, ...], order: np.ndarray | None) -> monte_carlo.Graph:
    edges = lattice_edges(grid) if disorder.edges is None else disorder.edges
    return monte_carlo.make_graph(edges, disorder.couplings[i].reshape(-1), int(np.prod(grid)), order=order)


def _order(domain: Spins) -> np.ndarray | None:
    if domain.order == "sequential":
        return None
    if domain.model == "sherrington_kirkpatrick":
        raise InputError("order 'checkerboard' needs a lattice: Sherrington-Kirkpatrick takes order 'sequential'")
    free = open_axes(domain.dimension, domain.boundary)
    periodic = tuple(axis not in free for axis in range(domain.dimension))
    return monte_carlo.checkerboard_order((domain.length,) * domain.dimension, periodic)


def _run_jobs(
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
