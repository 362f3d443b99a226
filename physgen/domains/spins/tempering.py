"""Ensembles by parallel tempering: one instance at a time, or 64 of couplings +-J in the bits of a word.

The run of an instance is a pure function of the seed, its number and its couplings: 64 instances of consecutive numbers
share words (0 to 63, 64 to 127, ...), where each has a bit and random numbers of its own. So instance 7 of 10 is
instance 7 of 300 with either kernel, for any number of processes. The kernels draw from one law, not the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from physgen.domains.spins import equilibration, monte_carlo, moves
from physgen.domains.spins.couplings import disorder_rng
from physgen.domains.spins.layout import Disorder, spin_ensemble, spin_template
from physgen.domains.spins.simulate import MONTE_CARLO_STREAM, MULTISPIN_STREAM, Quenched, run_jobs
from physgen.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

    from physgen.domains.spins.domain import Spins

MEASUREMENTS = 2048  # at most, per run


class Plan(NamedTuple):
    """What every run of an ensemble does."""

    ladder: np.ndarray  # (T,) all temperatures
    levels: np.ndarray  # places of the wanted ones
    ladders: int
    replicas: int
    interval: int  # sweeps between measurements
    measurements: int
    recorded: frozenset[int]  # measurements at which configurations are kept


class Run(NamedTuple):
    """What one instance gave."""

    spins: np.ndarray  # (levels, replicas, N) int8
    figures: equilibration.Figures
    acceptance: float  # of exchanges, of the worst pair of temperatures
    trips: int  # round trips of the worst ladder
    proposed: tuple[int, int] = (0, 0)  # whole lattices: proposals, accepted ones


class Between(NamedTuple):
    """Whole lattices that somebody proposes at the wanted temperatures, to be accepted with the exact probability.

    Attributes:
        proposals: (template of one instance, ladders) -> :data:`physgen.domains.spins.moves.Propose`, such as
            :class:`physgen.stages.proposals.Proposals`.
        every: sweeps between two of them.
    """

    proposals: Callable[[xr.Dataset, int], moves.Propose]
    every: int = 100


def tempering_ensemble(
    domain: Spins,
    couplings: Quenched,
    seed: int,
    processes: int = 1,
    progress: Callable[[int, int], None] | None = None,
    between: Between | None = None,
) -> xr.Dataset:
    """Configurations by parallel tempering, with the statistics of the equilibration tests in the attributes.

    Half of the sweeps are discarded. Replica r comes from ladder r modulo the number of ladders; later rounds are
    later times, spread evenly over the production. Variables ``autocorrelation_time`` (sweeps) and
    ``independent_samples`` hold the figures of each instance and temperature.

    Raises:
        InputError: too few independent configurations (at once, for the first instance where it shows), energies
            that drift, or a broken Katzgraber-Young identity.
    """
    plan = _plan(domain, couplings.spins)
    order = _order(domain, couplings)
    kernel = choose_kernel(domain, couplings) if between is None else "general"
    instances, size = len(couplings.ids), 64 if kernel == "multispin" else 1
    spins = np.empty((instances, len(plan.levels), domain.replicas, *couplings.grid), dtype=np.int8)
    runs: dict[int, Run] = {}

    def job(number: int) -> None:
        some = range(number * size, min((number + 1) * size, instances))
        made = (
            _in_words(couplings, some, plan, order, seed)
            if size > 1
            else [_alone(couplings, number, plan, order, seed, between)]
        )
        for i, run in zip(some, made, strict=True):
            reason = equilibration.independence_reason(run.figures, plan.levels, domain.replicas, domain.sweeps, i)
            if reason:
                raise InputError(f"parallel tempering did not give equilibrium data: {reason}")
            spins[i] = run.spins.reshape(*spins.shape[1:])
            runs[i] = run._replace(spins=spins[i])

    def report(done: int, _: int) -> None:
        if progress:
            progress(min(done * size, instances), instances)

    run_jobs(job, -(-instances // size), processes, report)
    in_order = [runs[i] for i in range(instances)]
    gaussian = couplings.gaussian_variance is not None or couplings.random_field > 0
    verdict = equilibration.judge([run.figures for run in in_order], plan.levels, gaussian=gaussian)
    if not verdict.equilibrated:
        raise InputError(
            f"parallel tempering did not give equilibrium data: {'; '.join(verdict.reasons)}: "
            f"set sweeps to {4 * domain.sweeps} or more, or leave out the lowest temperatures"
        )
    attrs: dict[str, object] = {**verdict.figures, "kernel": kernel, "sweeps": domain.sweeps, "ladders": domain.ladders}
    made = spin_ensemble(spins, couplings.disorder, np.array(domain.temperatures), couplings.ids, attrs)
    return _described(made if between is None else _with_proposals(made, in_order, between), in_order, plan)


def _with_proposals(made: xr.Dataset, runs: list[Run], between: Between) -> xr.Dataset:
    made_of, taken = np.sum([run.proposed for run in runs], axis=0)
    facts = {"proposals_every": between.every, "proposals": int(made_of), "proposals_accepted": int(taken)}
    return made.assign_attrs(facts)


def _described(made: xr.Dataset, runs: list[Run], plan: Plan) -> xr.Dataset:
    """The ensemble with what is known of the runs that it comes from."""
    over = ("disorder", "temperature")
    time = {"long_name": "integrated autocorrelation time", "units": "sweeps"}
    count = {"long_name": "independent configurations in the production", "units": "1"}
    return made.assign(
        autocorrelation_time=(over, np.stack([run.figures.tau[plan.levels] for run in runs]), time),
        independent_samples=(over, np.stack([run.figures.independent[plan.levels] for run in runs]), count),
    ).assign_attrs(
        method="parallel_tempering",
        equilibration="passed",
        ladder_temperatures=plan.ladder.tolist(),
        swap_acceptance_min=min(run.acceptance for run in runs),
        round_trips_min=min(run.trips for run in runs),
    )


def choose_kernel(domain: Spins, couplings: Quenched) -> str:
    """``multispin`` where all couplings allow it, whatever their number, unless the domain says otherwise."""
    if domain.kernel == "general":
        return "general"
    if couplings.disorder.external_field is not None:
        if domain.kernel == "multispin":
            raise InputError("kernel 'multispin' takes no external field: take kernel=general or auto")
        return "general"
    from physgen.domains.spins.multispin import obstacle

    reason = obstacle(couplings.edges, couplings.disorder.couplings.reshape(len(couplings.ids), -1), couplings.spins)
    if reason and domain.kernel == "multispin":
        raise InputError(f"kernel 'multispin' {reason}: take kernel=general or auto")
    return "general" if reason else "multispin"


def _plan(domain: Spins, spins: int) -> Plan:
    ladder = monte_carlo.temperature_ladder(np.array(domain.temperatures), domain.hottest, spins)
    rounds = -(-domain.replicas // domain.ladders)
    interval = max(1, domain.sweeps // MEASUREMENTS)
    measurements = domain.sweeps // interval
    production = measurements - measurements // 2
    if rounds > production:
        raise InputError(
            f"{domain.sweeps} sweeps cannot give {domain.replicas} configurations on {domain.ladders} ladders: "
            f"set sweeps to {4 * rounds * interval} or more"
        )
    recorded = measurements // 2 + (np.arange(1, rounds + 1) * production) // rounds - 1
    levels = np.searchsorted(ladder, domain.temperatures)
    return Plan(ladder, levels, domain.ladders, domain.replicas, interval, measurements, frozenset(recorded.tolist()))


def _alone(
    couplings: Quenched, i: int, plan: Plan, order: np.ndarray | None, seed: int, between: Between | None = None
) -> Run:
    """The run of one instance by the general kernel."""
    bonds, outer = couplings.disorder.couplings[i].reshape(-1), couplings.external_field(i)
    graph = monte_carlo.make_graph(couplings.edges, bonds, couplings.spins, outer, order)
    walkers = monte_carlo.start(graph, plan.ladder, plan.ladders, disorder_rng(seed, i, MONTE_CARLO_STREAM))
    series, drawn, of_fields, proposed = [], [], [], np.zeros(2, dtype=np.int64)
    steps = moves.Moves(plan.levels)
    if between is not None:
        steps = moves.Moves(
            plan.levels, between.proposals(_one_instance(couplings, i, plan), plan.ladders), between.every
        )
    for m in range(plan.measurements):
        proposed += moves.advance(walkers, graph, plan.ladder, plan.interval, steps).sum(axis=1)
        series.append(monte_carlo.measure(walkers, graph))
        if outer is not None:
            of_fields.append(monte_carlo.field_energies(walkers, graph, couplings.uniform_field))
        if m in plan.recorded:
            drawn.append(monte_carlo.configurations(walkers, plan.levels))
    energy, overlap, link = (np.stack(column) for column in zip(*series, strict=True))
    identity = _identity(couplings, graph, energy, of_fields)
    figures = equilibration.run_figures(
        energy, overlap, link, plan.ladder, plan.interval, identity, in_field=not couplings.disorder.flips
    )
    rate = walkers.accepted / np.maximum(walkers.attempts, 1)
    spins = np.concatenate(drawn, axis=1)[:, : plan.replicas]
    counts = int(proposed[0]), int(proposed[1])
    return Run(spins, figures, float(rate.min(initial=1.0)), int(walkers.trips.min()), counts)


def _one_instance(couplings: Quenched, i: int, plan: Plan) -> xr.Dataset:
    """A template of one instance at the wanted temperatures."""
    bonds, outer = couplings.disorder, couplings.disorder.external_field
    some = Disorder(bonds.couplings[i : i + 1], bonds.edges, None if outer is None else outer[i : i + 1])
    return spin_template(some, couplings.grid, plan.ladder[plan.levels], couplings.ids[i : i + 1], 1)


def _identity(
    couplings: Quenched,
    graph: monte_carlo.Graph | monte_carlo.Triples,
    energy: np.ndarray,
    of_fields: list[tuple[np.ndarray, np.ndarray]],
) -> equilibration.Identity:
    """The terms of the energy whose coefficients are Gaussian, with the variances of these.

    Without any the identity is not judged. ``of_fields``: whole field energy, and that without its uniform part.
    """
    judged = energy if couplings.gaussian_variance is not None else np.zeros_like(energy)
    if of_fields:
        whole, random = (np.stack(column) for column in zip(*of_fields, strict=True))
        judged = judged - whole if couplings.gaussian_variance is not None else judged
        judged = judged + random if couplings.random_field else judged
    per_spin = (couplings.gaussian_variance or 0.0) * len(graph.edges) / couplings.spins
    return equilibration.Identity(judged, per_spin, couplings.random_field**2)


def _in_words(couplings: Quenched, some: range, plan: Plan, order: np.ndarray | None, seed: int) -> Iterator[Run]:
    """The runs of up to 64 instances by the multispin kernel, one after the other when all are done."""
    from physgen.domains.spins import multispin

    rng = disorder_rng(seed, some.start // multispin.WORD, MULTISPIN_STREAM)
    values = couplings.disorder.couplings[some.start : some.stop].reshape(len(some), -1)
    bonds = multispin.make_bonds(couplings.edges, values, couplings.spins, order)
    coupling, joined = multispin.strength(values), int(np.count_nonzero(values[0]))
    walkers = multispin.start(bonds, plan.ladder, plan.ladders, rng)
    probabilities = multispin.tables(bonds, coupling, plan.ladder, plan.ladders)
    series: list[tuple[np.ndarray, ...]] = []
    drawn = []
    compact = np.min_scalar_type(-max(joined, couplings.spins))  # the series of 64 instances are large
    for m in range(plan.measurements):
        multispin.advance(walkers, bonds, probabilities, plan.interval)
        series.append(tuple(count.astype(compact) for count in multispin.counts(walkers, bonds)))
        if m in plan.recorded:
            drawn.append(multispin.configurations(walkers, plan.levels, len(some)))
    spins = np.concatenate(drawn, axis=2)[:, :, : plan.replicas]  # (instances, levels, replicas, N)
    rate = (walkers.accepted / np.maximum(walkers.attempts, 1)[:, None]).min(axis=0, initial=1.0)
    by_bit = [np.ascontiguousarray(np.moveaxis(np.stack(column), -1, 0)) for column in zip(*series, strict=True)]
    for bit in range(len(some)):
        counts = (by_bit[0][bit], by_bit[1][bit], by_bit[2][bit])
        energy, overlap, link = multispin.measurement(counts, couplings.spins, joined, coupling)
        nothing = equilibration.Identity(energy, 0.0)  # couplings are not Gaussian
        figures = equilibration.run_figures(energy, overlap, link, plan.ladder, plan.interval, nothing)
        yield Run(spins[bit], figures, float(rate[bit]), int(walkers.trips[:, bit].min()))


def _order(domain: Spins, couplings: Quenched) -> np.ndarray | None:
    if domain.order == "sequential":
        return None
    bonds = couplings.disorder
    if bonds.edges is not None:
        raise InputError("order 'checkerboard' needs a lattice: other graphs take order 'sequential'")
    periodic = tuple(bool(bonds.couplings[:, i].take(-1, axis=1 + i).any()) for i in range(len(couplings.grid)))
    return monte_carlo.checkerboard_order(couplings.grid, periodic)
