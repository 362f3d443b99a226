"""Independent configurations per CPU second, by every method: ``python -m benchmarks.equal_cpu [--write]`` (5 minutes).

Unseen glasses; the network, parallel tempering with and without cluster moves and with the network's moves, and in two
dimensions the transfer matrix. With ``--write`` the tables take the place of those of docs/how-to/network_moves.md.

A Monte Carlo run of R ladders whose observable has the variance v of one configuration and whose mean over ladders has
the variance V and the time tau (in measurements, Sokal's window) is worth n v / (2 tau V) configurations. V is measured
and not taken as v/R, since cluster moves leave the sum of two configurations as it is. Observables are the energy and
the overlaps with eight fixed configurations of another run; the slower one counts, all CPU of the ladder is paid.
"""

from __future__ import annotations

import math
import re
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from physgen.diagnostics.resampling import integrated_time
from physgen.diffusion.inference.weight_statistics import summarise_weights
from physgen.domains.spins import exact, monte_carlo, moves
from physgen.domains.spins.couplings import lattice_couplings, lattice_edges
from physgen.domains.spins.layout import Disorder, spin_template
from physgen.stages.proposals import Proposals
from physgen.stages.weighing import draw_weighted

DOCS = Path(__file__).resolve().parents[1] / "docs"
SEED, INSTANCES, LADDERS, DRAWS, EXACT_DRAWS = 4242, 4, 16, 64, 500
FIXED = 8  # configurations that overlaps are taken with
CHAINS, ROUNDS, EVERY = 8, 10, 10  # of the network's moves: ladders, moves each, sweeps between them
WARM_UP = 20.0  # autocorrelation times of equilibration, the least that physgen takes
TRAINING = {"glass:ea2d": 19 * 60 + 18, "glass:ea3d": 22 * 60 + 150}  # CPU seconds with the data, by their cards


@dataclass(frozen=True)
class System:
    """Glasses that are measured on."""

    name: str
    network: str
    grid: tuple[int, ...]
    boundary: str
    temperature: float
    measurements: int
    interval: int  # sweeps between measurements
    clustered_to: float  # hottest temperature of cluster moves
    hottest: float = 2.5


SYSTEMS = (
    System("16 x 16 cylinder, T = 1", "glass:ea2d", (16, 16), "cylinder", 1.0, 2000, 5, 1.6),
    System("6 x 6 x 6 torus, T = 1.1", "glass:ea3d", (6, 6, 6), "periodic", 1.1, 2000, 5, 1.5),
    System("12 x 12 cylinder, T = .5", "glass:ea2d", (12, 12), "cylinder", 0.5, 2000, 20, 1.2),
)
METHODS = {
    "transfer": "transfer matrix",
    "network": "network with weights",
    "tempering": "parallel tempering",
    "clusters": "parallel tempering, cluster moves",
    "moves": f"parallel tempering, network moves every {EVERY} sweeps",
}


@dataclass
class Found:
    """Of one method, a value of each instance."""

    rate: list[float] = field(default_factory=list)  # independent configurations per CPU second
    start: list[float] = field(default_factory=list)  # CPU seconds before the first one
    tau: list[float] = field(default_factory=list)  # sweeps
    share: list[float] = field(default_factory=list)  # of the draws that count, or of the moves accepted
    cost: list[float] = field(default_factory=list)  # CPU seconds of a draw, of a sweep of one ladder, or of a move


class Series:
    """A run in equilibrium, its energies and overlaps at the coldest temperature."""

    def __init__(self, glass: Glass, fixed: np.ndarray, ladders: int, seed: int, clusters: bool) -> None:
        self.glass, self.fixed = glass, fixed
        self.walkers = monte_carlo.start(glass.graph, glass.ladder, ladders, np.random.default_rng([SEED, seed]))
        levels = np.flatnonzero(glass.ladder <= glass.system.clustered_to)
        self.plan = moves.Moves(levels, clusters=clusters)
        self.seconds, self.energy, self.overlap = 0.0, [], []

    def sweep(self, sweeps: int) -> None:
        began = time.process_time()
        moves.advance(self.walkers, self.glass.graph, self.glass.ladder, sweeps, self.plan)
        self.seconds += time.process_time() - began

    def measure(self) -> None:
        spins = monte_carlo.configurations(self.walkers, np.array([0]))[0]
        self.energy.append(self.walkers.energy[self.walkers.lane_at[:, 0]].copy())
        self.overlap.append(spins @ self.fixed.T / spins.shape[1])  # (ladders, FIXED)

    def worth(self, mean_energy: float | None = None) -> tuple[float, float, float]:
        """Independent configurations by the slower observable, its tau in measurements, and the mean energy."""
        energy, overlap = np.stack(self.energy), np.stack(self.overlap)
        mean = energy.mean() if mean_energy is None else mean_energy
        found = []
        for series, centre in ((energy[:, :, None], mean), (overlap, 0.0)):
            one, joined = np.mean((series - centre) ** 2), series.mean(axis=1)
            if len(series) < 100:  # too few for the noise of a mean; these ladders share nothing
                tau = integrated_time(series.reshape(len(series), -1), mean=centre)
                found.append((series.shape[1] * len(series) / (2 * tau), tau))
                continue
            tau = integrated_time(joined, mean=centre)
            found.append((len(series) * one / (2 * tau * np.mean((joined - centre) ** 2)), tau))
        return (*min(found), float(energy.mean()))


class Glass:
    """One instance of a system."""

    def __init__(self, system: System, number: int) -> None:
        self.system, self.number, self.spins = system, number, math.prod(system.grid)
        self.couplings = lattice_couplings(system.grid, "gaussian", system.boundary, SEED, np.array([number]))
        self.graph = monte_carlo.make_graph(lattice_edges(system.grid), self.couplings.reshape(-1), self.spins)
        self.ladder = monte_carlo.temperature_ladder(np.array([system.temperature]), system.hottest, self.spins)

    def template(self, draws: int):
        temperatures = np.array([self.system.temperature])
        return spin_template(
            Disorder(self.couplings, None, None), self.system.grid, temperatures, np.array([self.number]), draws
        )


def measure(system: System) -> dict[str, Found]:
    """All methods on all instances."""
    found, proposals = {name: Found() for name in METHODS}, Proposals.of(system.network, seed=SEED)
    for number in range(INSTANCES):
        glass = Glass(system, number)
        if len(system.grid) == 2:
            _transfer_matrix(glass, found["transfer"])
        _network(glass, proposals, found["network"])
        other = Series(glass, np.zeros((FIXED, glass.spins)), FIXED, 100 + number, clusters=True)
        other.sweep(system.measurements * system.interval // 2)
        fixed = monte_carlo.configurations(other.walkers, np.array([0]))[0]
        mean = _tempering(glass, fixed, found["tempering"], clusters=False)
        _tempering(glass, fixed, found["clusters"], clusters=True)
        _moves(glass, fixed, proposals, found["moves"], mean)
        print(f"{system.name}, instance {number}: " + ", ".join(_said(found[name]) for name in METHODS), flush=True)
    return found


def _said(one: Found) -> str:
    return f"{one.rate[-1]:.3g}/s tau {one.tau[-1]:.3g} share {one.share[-1]:.2g}" if one.rate else "-"


def _note(found: Found, **values: float) -> None:
    for name in ("rate", "start", "tau", "share", "cost"):
        getattr(found, name).append(values.get(name, math.nan))


def _transfer_matrix(glass: Glass, found: Found) -> None:
    began = time.process_time()
    exact.sample(glass.couplings[0], glass.system.temperature, EXACT_DRAWS, np.random.default_rng(SEED))
    seconds = time.process_time() - began
    _note(found, rate=EXACT_DRAWS / seconds, start=0.0, cost=seconds / EXACT_DRAWS)


def _network(glass: Glass, proposals: Proposals, found: Found) -> None:
    model, template = proposals.model_for(glass.template(DRAWS), DRAWS)
    began = time.process_time()
    made = draw_weighted(model, template, SEED, proposals.levels)
    seconds = time.process_time() - began
    weights = summarise_weights(torch.from_numpy(made["log_weight"].values.reshape(-1)))
    share = weights.effective_fraction
    _note(found, rate=share * DRAWS / seconds, start=0.0, share=share, cost=seconds / DRAWS)


def _tempering(glass: Glass, fixed: np.ndarray, found: Found, clusters: bool) -> float:
    """The mean energy that it finds."""
    system, run = glass.system, Series(glass, fixed, LADDERS, glass.number, clusters)
    run.sweep(system.measurements * system.interval // 2)
    run.seconds = 0.0
    for _ in range(system.measurements):
        run.sweep(system.interval)
        run.measure()
    count, tau, mean = run.worth()
    tau, sweep = tau * system.interval, run.seconds / (system.measurements * system.interval * LADDERS)
    _note(found, rate=count / run.seconds, tau=tau, cost=sweep, start=WARM_UP * tau * sweep)
    return mean


def _moves(glass: Glass, fixed: np.ndarray, proposals: Proposals, found: Found, mean: float) -> None:
    """Moves at the coldest temperature, in a run that is in equilibrium."""
    system, run = glass.system, Series(glass, fixed, CHAINS, 200 + glass.number, clusters=False)
    run.sweep(system.measurements * system.interval // 2)
    propose, taken = proposals(glass.template(1), CHAINS), []
    run.seconds = 0.0
    for number in range(ROUNDS):
        run.sweep(EVERY)
        began = time.process_time()
        taken.append(moves.propose_lattices(run.walkers, glass.graph, np.array([0]), propose, number).mean())
        run.seconds += time.process_time() - began
        run.measure()
    count, tau, _ = run.worth(mean)
    cost = run.seconds / (ROUNDS * CHAINS)
    share = float(np.mean(taken))
    _note(found, rate=count / run.seconds, tau=tau * EVERY, share=share, cost=cost, start=WARM_UP * tau * cost)


def _number(value: float) -> str:
    """Three digits, without an exponent."""
    digits = max(0, 2 - math.floor(math.log10(abs(value)))) if value else 0
    return f"{round(value, digits):.{digits}f}" if value < 1000 else f"{float(f'{value:.3g}'):.0f}"


def _with_error(values: list[float], scale: float = 1.0) -> str:
    """Mean and standard error over instances, an empty cell where nothing was measured."""
    known = np.array(values) * scale
    if not len(known) or np.isnan(known).all():
        return ""
    mean, error = known.mean(), known.std(ddof=1) / math.sqrt(len(known))
    digits = max(0, 1 - math.floor(math.log10(error))) if error > 0 else 2
    if error >= 10:  # two digits of the error
        unit = 10.0 ** (math.floor(math.log10(error)) - 1)
        return f"{round(mean / unit) * unit:.0f} ± {round(error / unit) * unit:.0f}"
    return f"{mean:.{digits}f} ± {error:.{digits}f}"


def table(system: System, found: dict[str, Found]) -> str:
    """One row a method."""
    rows = [
        f"{system.name}, {INSTANCES} unseen instances:\n",
        "| method | configurations a CPU second | CPU ms each step | tau, sweeps | ESS or accepted | before, CPU s |",
        "|---|---|---|---|---|---|",
    ]
    for name, title in METHODS.items():
        one = found[name]
        if one.rate:
            before = "0" if max(one.start) == 0 else _with_error(one.start)
            cells = (_with_error(one.rate), _with_error(one.cost, 1e3), _with_error(one.tau), _with_error(one.share))
            rows.append(f"| {title} | {' | '.join(cells)} | {before} |")
    return "\n".join(rows)


def statement(system: System, found: dict[str, Found]) -> str:
    """Who wins, by what factor, and from how many configurations on the training is paid back."""
    rates = {name: float(np.mean(one.rate)) for name, one in found.items() if one.rate}
    best = max(("tempering", "clusters"), key=lambda name: rates[name])
    worth = rates[best] / rates["network"], rates[best] / rates["moves"]
    sweeps = float(np.mean(found["moves"].cost)) / float(np.mean(found["tempering"].cost))
    training = TRAINING[system.network]
    said = (
        f"{system.name}: {METHODS[best]} gives {_number(worth[0])} times the independent configurations of the network "
        f"with weights per CPU second, and {_number(worth[1])} times those with network moves. One move costs "
        f"{_number(sweeps)} sweeps of a ladder; tempering alone has tau = {_number(np.mean(found['tempering'].tau))}. "
    )
    paid = f"training ({training} CPU s with its data)"
    if worth[0] < 1:
        after = training / (1 / rates[best] - 1 / rates["network"])
        return said + f"The {paid} is paid back after {_number(after)} configurations."
    start = float(np.mean(found[best].start)) / (1 / rates["network"] - 1 / rates[best])
    few = "no configuration of the network comes"
    few = few if start < 1 else f"the first {_number(start)} configurations of the network come"
    return said + (f"On a new instance {few} sooner than the equilibration; its {paid} is never paid back.")


def main(words: list[str]) -> int:
    """Print tables and statements; with --write put them into the pages."""
    torch.set_num_threads(1)
    _compile()
    made = []
    for system in SYSTEMS:
        found = measure(system)
        made.append((table(system, found), statement(system, found)))
        print(f"\n{made[-1][0]}\n\n{made[-1][1]}\n", flush=True)
    if "--write" in words:
        text = "\n\n".join(one for one, _ in made) + "\n\n" + "\n".join(f"- {said}" for _, said in made)
        page = DOCS / "how-to" / "network_moves.md"
        marks = r"(<!-- equal_cpu -->\n).*?(\n<!-- end -->)"
        page.write_text(re.sub(marks, lambda m: m[1] + text + m[2], page.read_text(), flags=re.DOTALL))
    print(f"{time.process_time():.0f} CPU seconds")
    return 0


def _compile() -> None:
    """Kernels of both kinds, before anything is timed."""
    glass = Glass(System("", "", (2, 2), "cylinder", 1.0, 8, 1, 2.5), 0)
    for clusters in (False, True):
        Series(glass, np.zeros((1, 4)), 2, 0, clusters).sweep(2)
    exact.sample(glass.couplings[0], 1.0, 2, np.random.default_rng(0))
    moves.propose_lattices(
        Series(glass, np.zeros((1, 4)), 2, 0, False).walkers, glass.graph, np.array([0]),
        lambda here, number: (here, np.zeros(here.shape[:2])), 0,
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
