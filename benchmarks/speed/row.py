"""One measured line: how long ours takes, how long its limit or a peer takes, in the same run.

Machines are shared and drift, so nothing is timed alone: the competitors take turns, round by round, and what is
quoted is the median over the rounds, and the ratio taken within each round.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch


@dataclass(frozen=True)
class Cost:
    """Medians over the rounds, in seconds: ``cpu`` of all threads of this process, ``wall`` of the clock."""

    cpu: float
    wall: float


@dataclass(frozen=True)
class Row:
    """What was run, what it cost, and what was aimed at.

    Attributes:
        work: what every competitor does. goal: what was aimed at, in words.
        costs: of each competitor, physgen first.
        ratios: cost of physgen over that of each other one, median of the ratios within a round (CPU, wall).
        note: what else there is to say: an exponent, a peer that is missing, an error.
    """

    work: str
    goal: str
    costs: Mapping[str, Cost]
    ratios: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    note: str = ""


def timed(run: Callable[[], object]) -> Cost:
    """One run. Waits for a GPU to finish what it was given."""
    _wait()
    cpu, wall = time.process_time(), time.perf_counter()
    run()
    _wait()
    return Cost(time.process_time() - cpu, time.perf_counter() - wall)


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def race(
    work: str,
    runs: Mapping[str, Callable[[], object] | None],
    goal: str = "",
    repeats: int = 5,
    note: str = "",
    share: Mapping[str, float] | None = None,
) -> Row:
    """Run the competitors in turn, once unmeasured and then ``repeats`` times.

    Args:
        runs: competitor -> what it does; physgen first. None where it is not installed, which the row then says.
        share: competitor -> how much of the work it does, where that is not all of it: its costs are divided by it.
    """
    absent = [name for name, run in runs.items() if run is None]
    present = {name: run for name, run in runs.items() if run is not None}
    for run in present.values():
        run()
    rounds: list[dict[str, Cost]] = []
    for _ in range(repeats):
        found = {}
        for name, run in present.items():
            cost, part = timed(run), (share or {}).get(name, 1.0)
            found[name] = Cost(cost.cpu / part, cost.wall / part)
        rounds.append(found)
    costs = {name: _median([r[name] for r in rounds]) for name in present}
    first, *others = present
    ratios = {
        name: (
            statistics.median(_ratio(r[first].cpu, r[name].cpu) for r in rounds),
            statistics.median(_ratio(r[first].wall, r[name].wall) for r in rounds),
        )
        for name in others
    }
    missing = f"not installed: {', '.join(absent)}" if absent else ""
    return Row(work, goal, costs, ratios, "; ".join(filter(None, (note, missing))))


def growth(
    work: str, variable: str, runs: Mapping[float, Callable[[], object]], goal: str = "", repeats: int = 5
) -> Row:
    """Cost of physgen over a variable, and the exponent of CPU seconds in it (least squares in logarithms)."""
    costs = {}
    for value, run in runs.items():
        run()
        costs[f"{variable} = {value:g}"] = _median([timed(run) for _ in range(repeats)])
    exponent = _slope(list(runs), [cost.cpu for cost in costs.values()])
    return Row(work, goal, costs, note=f"CPU seconds grow as {variable}^{exponent:.2f}")


def _median(costs: list[Cost]) -> Cost:
    return Cost(statistics.median(c.cpu for c in costs), statistics.median(c.wall for c in costs))


def _ratio(ours: float, theirs: float) -> float:
    return ours / theirs if theirs else math.inf


def _slope(x: list[float], y: list[float]) -> float:
    return statistics.linear_regression([math.log(v) for v in x], [math.log(v) for v in y]).slope
