r"""Times of trainings from their records, and how they grow with n: :math:`\tau = a\,n^b`, predicted and checked."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.regimes.fields.course import lines
from physgen.diagnostics.regimes.training_dynamics import crossing_times, learning_times, predicted_window
from physgen.figures import format_value

COLUMNS = (
    "augmentation", "n", "runs", "last steps", "tau_gen", "best held-out loss", "tau_over", "largest f_mem", "tau_mem",
    "copies in held-out data",
)  # fmt: skip
LEVEL = {"maps32": 2, "glasses": 1}  # place of s = 1 among the levels of each record
BEYOND = 0.02  # of the last step
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
    """Step at which the held-out loss at a noise level is ``factor`` times that of training; inf where not reached.

    Where the last measurement falls short of it by so little that the line through the last two reaches it within
    ``BEYOND`` of the last step, that step is given.
    """
    steps, gap = run.curve(lambda line: math.log(line["test"]["loss"][level] / line["train"]["loss"][level]))
    found = float(crossing_times(steps, gap, [math.log(factor)])[0])
    if math.isfinite(found) or gap[-1] <= gap[-2]:
        return found
    missing = (math.log(factor) - gap[-1]) / (gap[-1] - gap[-2]) * math.log(steps[-1] / steps[-2])
    return float(steps[-1] * math.exp(missing)) if math.expm1(missing) < BEYOND else math.inf


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


# --- tables ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Mean:
    """Geometric mean of the times of several trainings and its error from their scatter; nan for a single one."""

    value: float
    error: float
    reached: int
    of: int

    @classmethod
    def over(cls, times: Sequence[float]) -> Mean:
        """Of those that were reached."""
        ln = np.log([time for time in times if math.isfinite(time) and time > 0])
        if not len(ln):
            return cls(math.nan, math.nan, 0, len(times))
        mean = float(np.exp(ln.mean()))
        error = mean * float(ln.std(ddof=1)) / math.sqrt(len(ln)) if len(ln) > 1 else math.nan
        return cls(mean, error, len(ln), len(times))

    def __str__(self) -> str:
        if not self.reached:
            return "-"
        counted = "" if self.reached == self.of else f" ({self.reached} of {self.of})"
        return (format_value(self.value, self.error) if self.error > 0 else f"{float(f'{self.value:.3g}'):g}") + counted


def table(found: Sequence[Run], level: int, kind: str) -> str:
    """One line for each n, with and without augmentation, of trainings of one network."""
    rows = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    for augment, n in sorted({(run.key[2], run.n) for run in found}):
        these = [run for run in found if (run.key[2], run.n) == (augment, n) and len(run.told) > 2]
        if not these:
            continue
        bests = [best(run, level) for run in these]
        lowest = np.mean([one.loss for one in bests])
        spread = np.mean([one.error for one in bests])
        most = [copies[1].max() for run in these if len((copies := run.curve(lambda line: _copies(line, kind)))[1])]
        cells = [
            "on" if augment else "off",
            str(n),
            str(len(these)),
            ", ".join(str(run.told[-1]["step"]) for run in these),
            str(Mean.over([one.tau_gen for one in bests])),
            format_value(float(lowest), float(spread)),
            str(Mean.over([overfitted(run, level) for run in these])),
            f"{max(most):.3f}" if most else "not drawn",
            str(Mean.over([memorized(run, 0.5, kind) for run in these])),
            f"{max(run.null.get(kind, math.nan) for run in these):.3f}",
        ]
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)


def _copies(line: Mapping[str, Any], kind: str) -> float | None:
    return line["f_mem"][kind] if "f_mem" in line else None


def laws(found: Sequence[Run], level: int, kind: str, upto: int | None = None, at: Sequence[int] = ()) -> str:
    """tau = a n^b of each time, from trainings of at most ``upto``, and what follows at other n."""
    told = []
    for augment in (False, True):
        these = [run for run in found if run.key[2] == augment and len(run.told) > 2 and run.n <= (upto or run.n)]
        times: dict[str, Callable[[Run], float]] = {
            "tau_gen": lambda run: best(run, level).tau_gen,
            "tau_over": lambda run: overfitted(run, level),
            "tau_mem": lambda run: memorized(run, 0.5, kind),
        }
        for name, of in times.items():
            fit = law([(run.n, of(run)) for run in these], at)
            if fit is not None:
                exponent = format_value(float(fit.exponent), float(fit.exponent_error))
                form = f"{float(fit.prefactor):.3g} n^b, b = {exponent}"
                seen = [f"n = {n:.0f}: {v:.0f} [{lo:.0f}, {hi:.0f}]" for n, v, lo, hi in _predictions(fit)]
                told.append(f"{name}, augmentation {'on' if augment else 'off'}: {form}; 95 %: {'; '.join(seen)}")
    return "\n".join(told)


def _predictions(fit: Any) -> list[tuple[float, ...]]:
    columns = (fit.n, fit.tau_mem, fit.low, fit.high)
    return list(zip(*(column.values.tolist() for column in columns), strict=True))
