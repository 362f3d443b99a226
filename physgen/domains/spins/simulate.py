"""Make ensembles of spins: couplings for every disorder instance, then equilibrium configurations of each.

Every random number is a pure function of (seed, disorder id, purpose), so the ensemble does not depend on the number of
processes, and instance 7 of 10 is instance 7 of 300. The kernels release the interpreter lock: threads do.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from physgen.diffusion.exact.atoms import enumerate_spins
from physgen.domains.spins import equilibration, exact, monte_carlo
from physgen.domains.spins.couplings import (
    complete_graph,
    complete_graph_couplings,
    disorder_rng,
    lattice_couplings,
    lattice_edges,
)
from physgen.domains.spins.enumeration import enumerate_graph
from physgen.domains.spins.layout import Disorder, disorder_of, grid_dims, spin_ensemble
from physgen.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

    from physgen.domains.spins.domain import Spins

COUPLINGS_STREAM, EXACT_STREAM, MONTE_CARLO_STREAM = 0, 1, 2
MEASUREMENTS = 2048  # at most, per run of parallel tempering


class Quenched(NamedTuple):
    """The couplings to simulate in."""

    disorder: Disorder
    grid: tuple[int, ...]
    ids: np.ndarray  # (D,) names of the instances
    gaussian_variance: float | None  # of each coupling, where their law is Gaussian of mean zero; else None

    @property
    def spins(self) -> int:
        """Number of spins N."""
        return int(np.prod(self.grid))

    @property
    def edges(self) -> np.ndarray:
        """(M, 2), in the order of the couplings of an instance, flattened."""
        return lattice_edges(self.grid) if self.disorder.edges is None else self.disorder.edges

    def external_field(self, i: int) -> np.ndarray | None:
        """(*grid) of one instance, or None."""
        return None if self.disorder.external_field is None else self.disorder.external_field[i]


def drawn_couplings(domain: Spins, seed: int) -> Quenched:
    """Couplings of the law of a domain."""
    disorder, complete = _draw_disorder(domain, seed), domain.model == "sherrington_kirkpatrick"
    grid = (domain.length,) if complete else disorder.couplings.shape[2:]
    gaussian = domain.couplings == "gaussian" and domain.model != "ferromagnet"
    # 1 each on a lattice, 1/N each on the complete graph
    variance = (1 / domain.spins if complete else 1.0) if gaussian else None
    return Quenched(disorder, grid, np.arange(domain.instances), variance)


def given_couplings(template: xr.Dataset) -> Quenched:
    """Couplings of a template, or of an ensemble. Nothing is assumed of their law."""
    if "couplings" not in template:
        raise InputError("the conditions to simulate spins under are 'couplings' on bonds: import them first")
    grid = tuple(int(template.sizes[dim]) for dim in grid_dims(template))
    return Quenched(disorder_of(template), grid, template["disorder"].values, None)


def cheapest_method(couplings: Quenched) -> str:
    """The exact method where it is cheap, else parallel tempering."""
    if couplings.disorder.edges is not None:
        return "enumeration" if couplings.spins <= 12 else "parallel_tempering"
    # a ring of W spins costs 2^W open chains: cheap to W = 8
    widest = 8 if couplings.disorder.couplings[:, 0, -1].any() else 12
    return "transfer_matrix" if couplings.spins // couplings.grid[0] <= widest else "parallel_tempering"


def check_method(method: str, couplings: Quenched) -> str:
    """The method, where it can simulate given couplings; else InputError."""
    if method == "transfer_matrix" and couplings.disorder.edges is not None:
        raise InputError(
            "method 'transfer_matrix' needs a lattice, the given couplings stand on a general graph of "
            f"{couplings.spins} spins: take method=auto, enumeration (to 20 spins) or parallel_tempering"
        )
    if method == "enumeration" and couplings.spins > 20:
        raise InputError(f"method 'enumeration' takes at most 20 spins, the given couplings join {couplings.spins}")
    if method == "parallel_tempering" and couplings.disorder.external_field is not None:
        raise InputError(
            "parallel tempering has no test of equilibrium in an external field yet: the exact methods take fields "
            "(transfer_matrix on narrow lattices, enumeration to 20 spins)"
        )
    return method


def _draw_disorder(domain: Spins, seed: int) -> Disorder:
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
    couplings: Quenched,
    seed: int,
    enumerate_all: bool,
    processes: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> xr.Dataset:
    """Independent exact samples by the transfer matrix or, for at most 20 spins, by enumeration.

    Beside the configurations the ensemble holds ``log_partition`` and ``exact_energy`` per instance and temperature.
    """
    instances = len(couplings.ids)
    spins = np.empty((instances, len(domain.temperatures), domain.replicas, *couplings.grid), dtype=np.int8)
    figures = np.empty((2, instances, len(domain.temperatures)))
    solve = _enumerated if enumerate_all else _transfer_matrix

    def instance(i: int) -> None:
        rng = disorder_rng(seed, i, EXACT_STREAM)
        for t, temperature in enumerate(domain.temperatures):
            drawn = solve(couplings, i, temperature, domain.replicas, rng)
            spins[i, t], figures[:, i, t] = drawn.spins, drawn[1:]

    _run_jobs(instance, len(couplings.ids), processes, progress)
    method = "enumeration" if enumerate_all else "transfer_matrix"
    attrs: dict[str, object] = {"method": method, "equilibration": "exact: independent samples"}
    made = spin_ensemble(spins, couplings.disorder, np.array(domain.temperatures), couplings.ids, attrs)
    over = ("disorder", "temperature")
    return made.assign(
        log_partition=(over, figures[0], {"long_name": "ln Z", "units": "1"}),
        exact_energy=(over, figures[1], {"long_name": "exact mean energy per spin", "units": "J"}),
    )


def _transfer_matrix(
    couplings: Quenched, i: int, temperature: float, n: int, rng: np.random.Generator
) -> exact.ExactSamples:
    return exact.sample(couplings.disorder.couplings[i], temperature, n, rng, couplings.external_field(i))


def _enumerated(
    couplings: Quenched, i: int, temperature: float, n: int, rng: np.random.Generator
) -> exact.ExactSamples:
    bonds = couplings.disorder.couplings[i].reshape(-1)
    law = enumerate_graph(couplings.spins, couplings.edges, bonds, temperature, couplings.external_field(i))
    chosen = rng.choice(len(law.probabilities), n, p=law.probabilities)
    every = enumerate_spins(couplings.spins).numpy()
    return exact.ExactSamples(every[chosen].reshape(n, *couplings.grid), law.log_partition, law.energy)


# --- parallel tempering --------------------------------------------------------------------------------


def tempering_ensemble(
    domain: Spins,
    couplings: Quenched,
    seed: int,
    processes: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> xr.Dataset:
    """Configurations by parallel tempering, with the statistics of the equilibration tests in the attributes.

    Half of the sweeps are discarded. Replica r comes from ladder r modulo the number of ladders; later rounds are
    later times, spread evenly over the production. Variables ``autocorrelation_time`` (sweeps) and
    ``independent_samples`` hold the figures of each instance and temperature.

    Raises:
        InputError: too few independent configurations (at once, for the first instance where it shows), energies
            that drift, or a broken Katzgraber-Young identity.
    """
    ladder = monte_carlo.temperature_ladder(np.array(domain.temperatures), domain.hottest, couplings.spins)
    levels = np.searchsorted(ladder, domain.temperatures)
    order = _order(domain, couplings)
    shape = (len(couplings.ids), len(levels), domain.replicas)
    spins = np.empty((*shape, *couplings.grid), dtype=np.int8)
    runs: dict[int, equilibration.Figures] = {}
    mixing = np.empty((shape[0], 2))

    def instance(i: int) -> None:
        graph = _graph(couplings, i, order)
        walkers = monte_carlo.start(graph, ladder, domain.ladders, disorder_rng(seed, i, MONTE_CARLO_STREAM))
        drawn, runs[i] = _tempered(domain, couplings, walkers, graph, ladder, levels)
        reason = equilibration.independence_reason(runs[i], levels, domain.replicas, domain.sweeps, i)
        if reason:
            raise InputError(f"parallel tempering did not give equilibrium data: {reason}")
        spins[i] = drawn.reshape(*shape[1:], *couplings.grid)
        rate = walkers.accepted / np.maximum(walkers.attempts, 1)
        mixing[i] = rate.min(initial=1.0), walkers.trips.min()

    _run_jobs(instance, len(couplings.ids), processes, progress)
    in_order = [runs[i] for i in range(shape[0])]
    verdict = equilibration.judge(in_order, levels, gaussian=couplings.gaussian_variance is not None)
    if not verdict.equilibrated:
        raise InputError(
            f"parallel tempering did not give equilibrium data: {'; '.join(verdict.reasons)}: "
            f"set sweeps to {4 * domain.sweeps} or more, or leave out the lowest temperatures"
        )
    attrs: dict[str, object] = {"method": "parallel_tempering", "equilibration": "passed", **verdict.figures}
    attrs |= {"sweeps": domain.sweeps, "ladders": domain.ladders, "ladder_temperatures": ladder.tolist()}
    attrs |= {"swap_acceptance_min": float(mixing[:, 0].min()), "round_trips_min": int(mixing[:, 1].min())}
    made = spin_ensemble(spins, couplings.disorder, np.array(domain.temperatures), couplings.ids, attrs)
    over = ("disorder", "temperature")
    time = {"long_name": "integrated autocorrelation time", "units": "sweeps"}
    count = {"long_name": "independent configurations in the production", "units": "1"}
    return made.assign(
        autocorrelation_time=(over, np.stack([run.tau[levels] for run in in_order]), time),
        independent_samples=(over, np.stack([run.independent[levels] for run in in_order]), count),
    )


def _tempered(
    domain: Spins,
    couplings: Quenched,
    walkers: monte_carlo.Walkers,
    graph: monte_carlo.Graph,
    ladder: np.ndarray,
    levels: np.ndarray,
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
    # sum of the variances of the couplings; without a Gaussian law the identity that it enters is not judged
    per_spin = (couplings.gaussian_variance or 0.0) * len(graph.edges) / couplings.spins
    figures = equilibration.run_figures(energy, overlap, link, ladder, interval, per_spin)
    return np.concatenate(drawn, axis=1)[:, : domain.replicas], figures


def _graph(couplings: Quenched, i: int, order: np.ndarray | None) -> monte_carlo.Graph:
    bonds = couplings.disorder.couplings[i].reshape(-1)
    return monte_carlo.make_graph(couplings.edges, bonds, couplings.spins, order=order)


def _order(domain: Spins, couplings: Quenched) -> np.ndarray | None:
    if domain.order == "sequential":
        return None
    bonds = couplings.disorder
    if bonds.edges is not None:
        raise InputError("order 'checkerboard' needs a lattice: other graphs take order 'sequential'")
    periodic = tuple(bool(bonds.couplings[:, i].take(-1, axis=1 + i).any()) for i in range(len(couplings.grid)))
    return monte_carlo.checkerboard_order(couplings.grid, periodic)


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
