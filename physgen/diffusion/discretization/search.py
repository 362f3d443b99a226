r"""Noise levels that are chosen: those with the least largest error of P(k) on the Gaussian surrogate of the data.

:math:`\min_{s_1 > \dots > s_n} \max_k |\Delta P/P|` is a minimax problem in log s. It is solved by linear programs on
the linearised errors within a trust region, from the best log-uniform levels on; it takes some tenths of a second.
Spectra from 1e-4 to 1e2, DPM-Solver++(2M), largest error:

=========== ================ ============= ============================= =====================
evaluations best log-uniform default       no hedge, neighbours in 1.25  no hedge, no bound
=========== ================ ============= ============================= =====================
10          8.3 %            1.0 %         0.57 %                        0.36 %
16          4.5 %            0.6 %         0.033 %                       0.025 %
24          2.3 %            0.4 %         0.002 %                       0.001 %
=========== ================ ============= ============================= =====================

The Gaussian numbers do not carry over to other laws, where 16 evaluations give a largest error of P(k) of (best
log-uniform, default, no hedge; steep field of 48 modes): a mixture of two amplitudes, variance 1 : 10, 12 %, 9 %, 12 %;
of two tilts 12 %, 8 %, 10 %; of six positions of a structure 6 %, 8 %, 10 %, or of a dominant one 7 %, 4 %, 5 %. The
mean error over the modes is 4 %, 3 %, 5 %; 4 %, 2 %, 2 %; 4 %, 1 %, 0.5 % and 4 %, 1 %, 0.5 %. So the gain survives in
the many modes that are nearly Gaussian, and not in the few that carry the structure: with a hedge of 0.2 (Gaussian
error 1.7 % at 16) no field here was worse off than on the best log-uniform levels. One-site phi^4, all modes of one
variance, is: the chosen levels end at 0.19 standard deviations, which gives :math:`\langle\varphi^2\rangle` to 0.4 %
and :math:`\langle\varphi^4\rangle` 2 to 7 % too small, where log-uniform ones miss it by 0.5 to 1.4 %. Hence the check
on the denoiser at hand, :mod:`physgen.diffusion.discretization.check`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from physgen.diffusion.discretization.gaussian import largest_error, representative, sampled_power
from physgen.diffusion.discretization.hedge import hedge_errors
from physgen.diffusion.levels import check_levels
from physgen.diffusion.sampling.samplers import find_sampler
from physgen.diffusion.sampling.solver import Sampler, Solver

HEDGE = 0.05  # of the errors on laws that are not Gaussian: 20 % there weigh like 1 % of a Gaussian
NEIGHBOURS = 1.25  # ratio of neighbouring steps of log s; a wider one gains little and relies on single cancellations
FEW = 8  # steps that the log-uniform start alone serves
DIFFERENCE = 1e-6  # of log s, for the central differences of the errors
ROUNDS, ENOUGH = 25, 3e-3  # of linear programs; a smaller relative gain is not worth another one
WIDEST, NARROWEST = 0.6, 1e-3  # trust region, in units of a step of log s
BEGINS = torch.logspace(0.3, 1.6, 12, dtype=torch.float64)  # first levels tried, in sqrt(largest P)
ENDS = torch.logspace(-2, 0, 14, dtype=torch.float64)  # last levels tried, in sqrt(least P)

End = float | tuple[float, float] | None  # of the levels: given, within bounds, or free


def optimal_levels(
    power: Tensor,
    steps: int,
    sampler: str | Sampler = "dpmpp_2m",
    s_max: End = None,
    s_min: End = None,
    neighbours: float = NEIGHBOURS,
    hedge: float | None = None,
) -> tuple[Tensor, float]:
    r"""Noise levels of least :math:`\max_k |\Delta P/P|` on the Gaussian surrogate, and that error.

    The error counts the start from :math:`N(0, s_{max}^2)` and the end at :math:`s_{min}` too. It is what the sampler
    does to a Gaussian law of these variances. A part of it cancels between levels, and on other laws differently: see
    the table above, and :func:`physgen.diffusion.discretization.check.most_converged` for a check on the denoiser at
    hand.

    Args:
        power: mode variances P of the encoded data, any shape, > 0 (:mod:`physgen.diffusion.learning.prior_spectrum`).
        steps: number of levels above 0, at least 2.
        sampler: name or solver.
        s_max, s_min: first and last level above 0; chosen where None, and where two bounds (lower, upper) are given,
            within them.
        neighbours: bound on the ratio of neighbouring steps of log s, > 1; ``math.inf`` for none.
        hedge: weight of the errors on two laws far from Gaussian (:mod:`physgen.diffusion.discretization.hedge`)
            beside those of the Gaussian, 0 for none; None is 0.05 for deterministic samplers and 0 for stochastic ones.

    Returns:
        levels (steps + 1,), float64, the last one 0, and the largest relative error of P expected.

    Raises:
        ValueError: power not positive, fewer than 2 steps, s_min >= s_max, a sampler that chooses its own levels.
    """
    solver, band = _solver(sampler, steps), representative(power)
    if not neighbours > 1:
        raise ValueError(f"neighbouring steps differ by a ratio above 1, got a bound of {neighbours}; math.inf is none")
    if hedge is None:
        hedge = 0.0 if solver.draws else HEDGE
    if not hedge >= 0:
        raise ValueError(f"the weight of the hedge must be >= 0, got {hedge}; 0 is no hedge")
    best = _search(_Task(solver, band, _bounds(s_max, s_min), neighbours, hedge), steps)
    return _finished(best, solver, power, band)


def adapted_levels(
    levels: Tensor,
    power: Tensor,
    sampler: str | Sampler = "dpmpp_2m",
    s_max: End = None,
    s_min: End = None,
    hedge: float = HEDGE,
) -> tuple[Tensor, float]:
    """The optimum near given levels, those of another hedge or other ends say: one descent in place of a search.

    Args:
        levels: (steps + 1,), the last one 0; those beyond the ends are first moved to them, in proportion.
        power, sampler, s_max, s_min, hedge: as in :func:`optimal_levels`, and so are the results.
    """
    solver, band = _solver(sampler, len(levels) - 1), representative(power)
    ends, start = _bounds(s_max, s_min), levels[:-1].double().log()
    first, last = (min(max(float(start[i]), low), high) for i, (low, high) in zip((0, -1), ends, strict=True))
    start = first + (start - start[0]) * ((last - first) / float(start[-1] - start[0]))
    return _finished(_descend(_Task(solver, band, ends, NEIGHBOURS, hedge), start), solver, power, band)


def _finished(log_levels: Tensor, solver: Solver, power: Tensor, band: Tensor) -> tuple[Tensor, float]:
    """The levels, and their largest error on modes between those that they were found on."""
    levels = _close(log_levels)
    check_levels(levels)
    return levels, float(largest_error(solver, levels, representative(power, 4 * len(band))))


def _bounds(*ends: End) -> tuple[tuple[float, float], ...]:
    """Bounds (lower, upper) of the logarithm of each end."""
    pairs = ((0.0, math.inf) if end is None else end if isinstance(end, tuple) else (end, end) for end in ends)
    return tuple((_log(low), _log(high)) for low, high in pairs)


def _log(level: float) -> float:
    return math.log(level) if 0 < level < math.inf else math.inf if level > 0 else -math.inf


def steps_for(
    power: Tensor,
    tolerance: float,
    sampler: str | Sampler = "dpmpp_2m",
    s_max: End = None,
    s_min: End = None,
    most: int = 512,
) -> tuple[Tensor, float]:
    """The fewest optimal levels whose expected largest relative error of P stays below a tolerance.

    Arguments and results as :func:`optimal_levels`.

    Raises:
        ValueError: ``most`` steps do not reach the tolerance.
    """
    if not tolerance > 0:
        raise ValueError(f"the tolerance of the relative error of P must be positive, got {tolerance}; 0.01 is 1 %")
    below, steps = 1, 4
    while True:  # doubling, then halving the interval: the error falls with the steps but for little ripples
        levels, error = optimal_levels(power, steps, sampler, s_max, s_min)
        if error <= tolerance:
            break
        if steps >= most:
            raise ValueError(
                f"{most} steps leave an error of {error:.2g} in P, {tolerance:g} was asked: widen s_max/s_min"
            )
        below, steps = steps, min(2 * steps, most)
    while steps - below > 1:
        middle = (below + steps) // 2
        tried = optimal_levels(power, middle, sampler, s_max, s_min)
        if tried[1] <= tolerance:
            steps, (levels, error) = middle, tried
        else:
            below = middle
    return levels, error


def best_log_uniform(
    power: Tensor,
    steps: int,
    sampler: str | Sampler = "dpmpp_2m",
    s_max: End = None,
    s_min: End = None,
) -> tuple[Tensor, float]:
    """The log-uniform levels whose two ends are the best of a table: the same choice without relying on cancellations.

    Arguments and results as :func:`optimal_levels`.
    """
    solver, band = _solver(sampler, steps), representative(power)
    return _finished(_log_uniform(solver, band, steps, _bounds(s_max, s_min)), solver, power, band)


def _solver(sampler: str | Sampler, steps: int) -> Solver:
    if int(steps) != steps or steps < 2:
        raise ValueError(f"noise levels need a whole number of at least 2 steps, got {steps}")
    solver = find_sampler(sampler)
    if not isinstance(solver, Solver):
        raise ValueError(f"{sampler!r} chooses its own noise levels: there are none to optimise, take a Solver")
    return solver


def _close(log_levels: Tensor) -> Tensor:
    """(..., steps) logarithms -> (..., steps + 1) levels that end at 0."""
    return torch.nn.functional.pad(log_levels.exp(), (0, 1))


@dataclass(frozen=True)
class _Task:
    """What is asked for: the errors to be made small, and the constraints."""

    solver: Solver
    band: Tensor
    ends: tuple[tuple[float, float], ...]
    neighbours: float
    hedge: float

    def errors(self, log_levels: Tensor) -> Tensor:
        """Of one set of levels or of many; the largest modulus along the last axis is to be minimised."""
        levels = _close(log_levels)
        errors = sampled_power(self.solver, levels, self.band) / self.band - 1
        if self.hedge == 0:
            return errors
        return torch.cat([errors, self.hedge * hedge_errors(self.solver, levels, self.band)], dim=-1)


def _search(task: _Task, steps: int) -> Tensor:
    """Logarithms (steps,) of the best levels, from the log-uniform ones and from the optimum of half the steps on."""
    even = _log_uniform(task.solver, task.band, steps, task.ends)
    candidates = [even]
    if steps >= 2 * FEW:  # many levels have poor local optima, which the shape of fewer ones avoids
        short = _search(task, steps // 2)
        places = np.linspace(0, len(short) - 1, steps)
        candidates.append(_descend(task, torch.from_numpy(np.interp(places, np.arange(len(short)), short.numpy()))))
    if steps < 4 * FEW:
        candidates.append(_descend(task, even))
    return min(candidates, key=lambda log_levels: float(task.errors(log_levels).abs().max()))


def _log_uniform(solver: Solver, band: Tensor, steps: int, ends: tuple[tuple[float, float], ...]) -> Tensor:
    """Logarithms (steps,) of the best log-uniform levels, over the ends within their bounds."""
    tables = (band.max().sqrt() * BEGINS).log(), (band.min().sqrt() * ENDS).log()
    spacings = [float(table[1] - table[0]) for table in tables]
    for _ in range(2):  # the table, then a finer one between the neighbours of its best entry
        first, last = (table.clamp(*bounds).unique() for table, bounds in zip(tables, ends, strict=True))
        one, other = (end.flatten() for end in torch.meshgrid(first, last, indexing="ij"))
        ordered = one > other
        if not bool(ordered.any()):
            s_min, s_max = float(last.min().exp()), float(first.max().exp())
            raise ValueError(
                f"noise levels need 0 < s_min < s_max < infinity, got s_min = {s_min:.6g}, s_max = {s_max:.6g}"
            )
        one, other = one[ordered, None], other[ordered, None]
        tried = one + torch.linspace(0, 1, steps, dtype=torch.float64) * (other - one)
        best = tried[largest_error(solver, _close(tried), band).argmin()]
        around = torch.linspace(-1, 1, 9, dtype=torch.float64)
        tables = best[0] + spacings[0] * around, best[-1] + spacings[1] * around
    return best


def _descend(task: _Task, start: Tensor) -> Tensor:
    """Logarithms of the levels after the linear programs; never worse than the start."""
    best, trust = start, 0.3
    errors = task.errors(best)
    for _ in range(ROUNDS):
        shift = DIFFERENCE * torch.eye(len(best), dtype=torch.float64)
        slopes = (task.errors(best + shift) - task.errors(best - shift)).T / (2 * DIFFERENCE)
        reach = _reach(best, trust, task.ends)
        move, predicted = _program(slopes.numpy(), errors.numpy(), best.numpy(), trust, reach, task.neighbours)
        trial = best + torch.from_numpy(move)
        trial_errors = task.errors(trial)
        largest = float(errors.abs().max())
        gain, predicted_gain = float(errors.abs().max() - trial_errors.abs().max()), largest - predicted
        if gain > 0:
            best, errors = trial, trial_errors
        trust = min(2 * trust, WIDEST) if gain > 0.7 * predicted_gain else trust / 4 if gain <= 0 else trust
        if trust < NARROWEST or predicted_gain < ENOUGH * float(errors.abs().max()):
            break
    return best


def _reach(log_levels: Tensor, trust: float, ends: tuple[tuple[float, float], ...]) -> list[tuple[float, float]]:
    """Least and largest move of each level; the ends stay within their bounds."""
    reach = [(-trust, trust)] * len(log_levels)
    for i, (low, high) in zip((0, -1), ends, strict=True):
        here = float(log_levels[i])
        reach[i] = (min(max(-trust, low - here), 0.0), max(min(trust, high - here), 0.0))
    return reach


def _program(
    slopes: np.ndarray,
    errors: np.ndarray,
    log_levels: np.ndarray,
    trust: float,
    reach: list[tuple[float, float]],
    neighbours: float,
) -> tuple[np.ndarray, float]:
    """Move of the log levels within their reach that minimises the largest linearised error, and that error.

    A step of log s changes by at most the fraction ``trust`` of itself, and stays within the bound on neighbours.
    """
    from scipy.optimize import linprog  # half a second of imports, which a run with levels in store does not need

    count = len(log_levels)
    step = -np.diff(log_levels)
    change = np.eye(count)[:-1] - np.eye(count)[1:]  # of the steps, by the move
    left, right = [change, -change], [trust * step, trust * step]
    if np.isfinite(neighbours):
        for one, other in ((slice(1, None), slice(None, -1)), (slice(None, -1), slice(1, None))):
            left.append(change[one] - neighbours * change[other])
            # the bound may hold to rounding only
            right.append(np.maximum(neighbours * step[other] - step[one], 0))
    within = np.vstack(left)
    minimax = np.block([[slopes, -np.ones((len(errors), 1))], [-slopes, -np.ones((len(errors), 1))]])
    solution = linprog(
        np.append(np.zeros(count), 1.0),
        np.vstack([minimax, np.hstack([within, np.zeros((len(within), 1))])]),
        np.concatenate([-errors, errors, *right]),
        bounds=[*reach, (0, None)],
        method="highs",
    )
    if solution.x is None:
        return np.zeros(count), np.abs(errors).max()
    return solution.x[:count], float(solution.x[-1])
