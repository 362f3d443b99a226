r"""Times of trainings from their records, and how they grow with n: :math:`\tau = a\,n^b`, predicted and checked."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.regimes.course import lines
from physgen.diagnostics.regimes.training_dynamics import crossing_times, learning_times, predicted_window

KEY = ("data", "network", "augment", "n", "seed")


@dataclass(frozen=True)
class Run:
    """One training: its key, the fractions of copies among held-out data, and its measurements in order."""

    key: tuple[Any, ...]
    null: Mapping[str, float]
    told: Sequence[Mapping[str, Any]]
    done: bool

    @property
    def n(self) -> int:
        """Training samples."""
        return int(self.key[3])

    def curve(self, value: Callable[[Mapping[str, Any]], float | None]) -> tuple[np.ndarray, np.ndarray]:
        """(steps, values) where there is a value."""
        pairs = [(line["step"], value(line)) for line in self.told]
        found = np.array([pair for pair in pairs if pair[1] is not None], dtype=float).reshape(-1, 2)
        return found[:, 0], found[:, 1]


def runs(path: Path) -> list[Run]:
    """All trainings of a record, those that were interrupted too; of one begun anew, the longer attempt."""
    attempts: list[tuple[tuple[Any, ...], list[dict[str, Any]]]] = []
    for line in lines(path):
        if "started" in line:
            attempts.append((tuple(line.get(name) for name in KEY), []))
        else:
            attempts[-1][1].append(line)
    found: dict[tuple[Any, ...], Run] = {}
    for key, told in attempts:
        steps = [line for line in told if "step" in line]
        null = next((line["null"] for line in told if "null" in line), {})
        run = Run(key, null, steps, any(line.get("done") for line in told))
        if key not in found or len(run.told) >= len(found[key].told):
            found[key] = run
    return list(found.values())


# --- times ----------------------------------------------------------------------------------------


def memorized(run: Run, level: float = 0.5, kind: str = "orbit", of: str = "f_mem") -> float:
    """Step at which the fraction of copies, less that of held-out data, crosses ``level``; inf where not reached."""
    excess = run.null.get(kind, 0.0)
    steps, copies = run.curve(lambda line: line[of][kind] - excess if of in line else None)
    return float(crossing_times(steps, copies, [level])[0]) if len(steps) > 1 else math.inf


def overfitted(run: Run, level: int, factor: float = 2.0) -> float:
    """Step at which the held-out loss at a noise level is ``factor`` times that of training; inf where not reached."""
    steps, gap = run.curve(lambda line: math.log(line["test"]["loss"][level] / line["train"]["loss"][level]))
    return float(crossing_times(steps, gap, [math.log(factor)])[0])


@dataclass(frozen=True)
class Best:
    """The best held-out loss of a training at a noise level: where, how low, and when 90 % of the way was made."""

    step: float
    loss: float
    error: float
    tau_gen: float
    tau_gen_error: float


def best(run: Run, level: int) -> Best:
    """See :class:`Best`; times are nan where the loss never falls below its first value by two errors."""
    steps, loss = run.curve(lambda line: line["test"]["loss"][level])
    _, error = run.curve(lambda line: line["test"]["error"][level])
    lowest = int(loss.argmin())
    if loss[lowest] > loss[0] - 2 * error[lowest]:
        return Best(math.nan, float(loss[lowest]), float(error[lowest]), math.nan, math.nan)
    times = learning_times(steps, loss, np.zeros_like(loss), error)
    lowest_loss, its_error = float(loss[lowest]), float(error[lowest])
    return Best(float(steps[lowest]), lowest_loss, its_error, float(times.tau_gen), float(times.tau_gen_error))


def law(times: Sequence[tuple[int, float]], at: Sequence[int] = ()) -> Any:
    """The law through (n, time) of single trainings, and what it predicts at other n; None for less than three."""
    known = [(n, tau) for n, tau in times if math.isfinite(tau) and tau > 0]
    if len(known) < 3 or len({n for n, _ in known}) < 2:
        return None
    n, tau = np.array(known).T
    return predicted_window(n, tau, at=list(at) or None)
