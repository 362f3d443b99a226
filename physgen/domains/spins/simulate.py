"""Make ensembles of spins: couplings for every disorder instance, then exact configurations of each, or those of
parallel tempering (``tempering.py``).

Every random number is a pure function of (seed, disorder id, purpose), so the ensemble does not depend on the number of
processes, and instance 7 of 10 is instance 7 of 300. The kernels release the interpreter lock: threads do.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from physgen.domains.spins import exact
from physgen.domains.spins.couplings import disorder_rng, lattice_edges
from physgen.domains.spins.enumeration import enumerate_graph, enumerate_levels
from physgen.domains.spins.layout import Disorder, check_finite, disorder_of, grid_dims, settings_of, spin_ensemble
from physgen.domains.spins.many_body import states_of
from physgen.domains.spins.models import ON_GRAPHS, draw_disorder
from physgen.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

    from physgen.domains.spins.domain import Spins

COUPLINGS_STREAM, EXACT_STREAM, MONTE_CARLO_STREAM, MULTISPIN_STREAM = 0, 1, 2, 3


class Quenched(NamedTuple):
    """The couplings to simulate in."""

    disorder: Disorder
    grid: tuple[int, ...]
    ids: np.ndarray  # (D,) names of the instances
    gaussian_variance: float | None  # of each coupling, where their law is Gaussian of mean zero; else None
    uniform_field: float = 0.0  # mean of the law of the external field
    random_field: float = 0.0  # its standard deviation, where it is Gaussian; 0 where nothing is known of it

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
    disorder = draw_disorder(domain, seed)
    grid = (domain.length,) if domain.model in ON_GRAPHS else disorder.couplings.shape[2:]
    gaussian = domain.couplings == "gaussian" and domain.model != "ferromagnet"
    # 1 each on a lattice or a regular graph, less where everybody is a neighbour; levels are no couplings
    of_model = {"sherrington_kirkpatrick": 1 / domain.spins, "p_spin": 3 / domain.spins**2, "random_energy": None}
    variance = of_model.get(domain.model, 1.0) if gaussian else None
    ids = np.arange(domain.instances)
    return Quenched(disorder, grid, ids, variance, domain.uniform_field, domain.random_field)


def given_couplings(template: xr.Dataset) -> Quenched:
    """Couplings of a template, or of an ensemble. Nothing is assumed of their law."""
    if "couplings" not in template:
        raise InputError("the conditions to simulate spins under are 'couplings' on bonds: import them first")
    check_finite(template)
    grid = tuple(int(template.sizes[dim]) for dim in grid_dims(template))
    return Quenched(disorder_of(template), grid, template["disorder"].values, None)


def check_temperatures(domain: Spins, template: xr.Dataset) -> None:
    """Raise InputError where a template has temperatures, and they are not those of the domain."""
    named = template["temperature"].values if "temperature" in template.coords else None
    if named is not None and not np.array_equal(np.sort(named), domain.temperatures):
        raise InputError(
            f"data.temperatures are {list(domain.temperatures)} J, the given couplings are at {named.tolist()} J: "
            f"give {settings_of(named)}, or couplings without temperatures"
        )


def cheapest_method(couplings: Quenched) -> str:
    """The exact method where it is cheap, else parallel tempering."""
    if couplings.disorder.levels is not None:
        return "enumeration"
    if couplings.disorder.edges is not None:
        return "enumeration" if couplings.spins <= 12 else "parallel_tempering"
    # a ring of W spins costs 2^W open chains: cheap to W = 8
    widest = 8 if couplings.disorder.couplings[:, 0, -1].any() else 12
    return "transfer_matrix" if couplings.spins // couplings.grid[0] <= widest else "parallel_tempering"


def check_method(method: str, couplings: Quenched) -> str:
    """The method, where it can simulate given couplings; else InputError."""
    if method == "planted":
        raise InputError("nothing is planted in given couplings: leave method out, or simulate without --given")
    if method == "parallel_tempering" and couplings.disorder.levels is not None:
        raise InputError("method 'parallel_tempering' knows no random energies, which are enumerated: leave method out")
    if method == "transfer_matrix" and couplings.disorder.edges is not None:
        raise InputError(
            "method 'transfer_matrix' needs a lattice, the given couplings stand on a general graph of "
            f"{couplings.spins} spins: take method=auto, enumeration (to 20 spins) or parallel_tempering"
        )
    if method == "enumeration" and couplings.spins > 20:
        raise InputError(f"method 'enumeration' takes at most 20 spins, the given couplings join {couplings.spins}")
    return method


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

    run_jobs(instance, len(couplings.ids), processes, progress)
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
    bonds, levels = couplings.disorder.couplings[i].reshape(-1), couplings.disorder.levels
    if levels is None:
        law = enumerate_graph(couplings.spins, couplings.edges, bonds, temperature, couplings.external_field(i))
    else:
        law = enumerate_levels(levels[i], temperature)
    chosen = states_of(rng.choice(len(law.probabilities), n, p=law.probabilities), couplings.spins)
    return exact.ExactSamples(chosen.reshape(n, *couplings.grid), law.log_partition, law.energy)


def run_jobs(
    job: Callable[[int], None], count: int, processes: int, progress: Callable[[int, int], None] | None
) -> None:
    """Run ``job`` with the numbers below ``count`` on ``processes`` threads; the first error is raised at once."""
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
