"""Ensembles by parallel tempering: run, judge, and hand out configurations only where equilibrium was reached."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from physgen.domains.spins import equilibration, monte_carlo
from physgen.domains.spins.couplings import disorder_rng, lattice_edges, open_axes
from physgen.domains.spins.layout import Disorder, spin_ensemble
from physgen.domains.spins.simulate import MONTE_CARLO_STREAM, draw_disorder, run_jobs
from physgen.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

    from physgen.domains.spins.domain import Spins

MEASUREMENTS = 2048  # at most, per run


def tempering_ensemble(
    domain: Spins, seed: int, processes: int = 1, progress: Callable[[int, int], None] | None = None
) -> xr.Dataset:
    """Configurations by parallel tempering, with the figures of the equilibration tests in the attributes.

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
    runs: list[equilibration.Figures | None] = [None] * domain.instances
    mixing = np.empty((domain.instances, 2))

    def instance(i: int) -> None:
        graph = _graph(disorder, i, grid, order)
        walkers = monte_carlo.start(graph, ladder, domain.ladders, disorder_rng(seed, i, MONTE_CARLO_STREAM))
        drawn, runs[i] = _run(domain, walkers, graph, ladder, levels)
        reason = equilibration.independence_reason(runs[i], levels, domain.replicas, domain.sweeps, i)
        if reason:
            raise InputError(f"parallel tempering did not give equilibrium data: {reason}")
        spins[i] = drawn.reshape(*shape[1:], *grid)
        rate = walkers.accepted / np.maximum(walkers.attempts, 1)
        mixing[i] = rate.min(initial=1.0), walkers.trips.min()

    run_jobs(instance, domain.instances, processes, progress)
    gaussian = domain.couplings == "gaussian" and domain.model != "ferromagnet"
    verdict = equilibration.judge(runs, levels, gaussian)
    if not verdict.equilibrated:
        raise InputError(
            f"parallel tempering did not give equilibrium data: {'; '.join(verdict.reasons)}: "
            f"set sweeps to {4 * domain.sweeps} or more, or leave out the lowest temperatures"
        )
    attrs = {"method": "parallel_tempering", "equilibration": "passed", **verdict.figures}
    attrs |= {"sweeps": domain.sweeps, "ladders": domain.ladders, "ladder_temperatures": ladder.tolist()}
    attrs |= {"swap_acceptance_min": float(mixing[:, 0].min()), "round_trips_min": int(mixing[:, 1].min())}
    made = spin_ensemble(spins, disorder, np.array(domain.temperatures), np.arange(domain.instances), attrs)
    over = ("disorder", "temperature")
    time = {"long_name": "integrated autocorrelation time", "units": "sweeps"}
    count = {"long_name": "independent configurations in the production", "units": "1"}
    return made.assign(
        autocorrelation_time=(over, np.stack([run.tau[levels] for run in runs]), time),
        independent_samples=(over, np.stack([run.independent[levels] for run in runs]), count),
    )


def _run(
    domain: Spins, walkers: monte_carlo.Walkers, graph: monte_carlo.Graph, ladder: np.ndarray, levels: np.ndarray
) -> tuple[np.ndarray, equilibration.Figures]:
    """Configurations (levels, replicas, N) and figures of one run."""
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
