r"""Many Markov chains side by side: burn-in, in which the step size is adapted, then draws that the law allows.

The size is changed in burn-in alone: :math:`\ln\epsilon \to \ln\epsilon + t^{-0.6} (a_t - a^*)`, with the mean
acceptance a_t of all chains (Robbins and Monro, Ann. Math. Stat. 22 (1951), 400). After it the kernel is fixed, so that
its stationary law is exact.

Shapes: B chains, T kept times, C channels, \*grid lattice.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from physgen.diffusion.energy.draws import ChainDraws, StreamDraws
from physgen.diffusion.energy.laws import Energy
from physgen.diffusion.energy.moves import ChainState, Move

WINDOW = 6.0  # autocorrelation times in the window of the sum
FEWEST_TIMES = 8
ADAPTATION = 0.6  # exponent of the falling rate
SIZE = 0.1  # of the first step, where none is given

Observable = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class ChainRun:
    r"""Draws of B chains and what they are worth (:func:`run_chains`).

    Attributes:
        x: (T, B, C, \*grid), every ``every``-th state. energy: (T, B).
        acceptance: mean acceptance probability after burn-in. size: step size after burn-in.
        tau: observable -> integrated autocorrelation time in kept times (:func:`autocorrelation_time`).
    """

    x: Tensor
    energy: Tensor
    acceptance: float
    size: float
    tau: Mapping[str, float]

    @property
    def slowest(self) -> float:
        """The longest of the autocorrelation times."""
        return max(self.tau.values())

    @property
    def independent(self) -> float:
        r"""Number of independent draws that all are worth, :math:`T B/\tau` of the slowest observable."""
        return self.energy.numel() / self.slowest

    @property
    def draws(self) -> Tensor:
        r"""All draws, (T B, C, \*grid)."""
        return self.x.flatten(0, 1)


def run_chains(
    energy: Energy,
    move: Move,
    start: Tensor,
    *,
    steps: int,
    burn_in: int,
    seed: int = 0,
    every: int = 1,
    size: float = SIZE,
    observables: Mapping[str, Observable] | None = None,
) -> ChainRun:
    r"""Run B chains from a start and keep what comes after burn-in.

    Args:
        energy: E(x) -> (B,). move: what a step is.
        start: (B, C, \*grid).
        steps: after burn-in. burn_in: steps before, in which the size is adapted to the target of the move.
        seed: chain j draws from a stream of its own.
        every: keep every so many-th state.
        size: the first step size.
        observables: name -> function (B, C, \*grid) -> (B,), whose autocorrelation times are wanted beside that of
            ``energy``; None for the mean and the mean square of the values.

    Raises:
        ValueError: fewer than 8 kept times, or numbers that are not positive.
    """
    if steps < every * FEWEST_TIMES or burn_in < 0 or every < 1 or not size > 0:
        raise ValueError(
            f"chains need steps >= {FEWEST_TIMES} * every, burn_in >= 0 and size > 0, got steps = {steps}, every = "
            f"{every}, burn_in = {burn_in}, size = {size}"
        )
    draws = StreamDraws(seed, "chains", range(len(start)))
    state, size = adapt(energy, move, move.start(energy, start), draws, burn_in, size)
    kept, energies, accepted = [], [], 0.0
    for step in range(steps):
        state, probability = move(energy, state, size, draws)
        accepted += float(probability.mean()) / steps
        if step % every == every - 1:
            kept.append(state.x)
            energies.append(state.energy)
    watched = {"mean": _mean, "mean square": _mean_square} if observables is None else observables
    series = {"energy": torch.stack(energies)}
    series |= {name: torch.stack([observable(x) for x in kept]) for name, observable in watched.items()}
    tau = {name: autocorrelation_time(values) for name, values in series.items()}
    return ChainRun(torch.stack(kept), series["energy"], accepted, size, tau)


def adapt(
    energy: Energy, move: Move, state: ChainState, draws: ChainDraws, steps: int, size: float
) -> tuple[ChainState, float]:
    """So many steps in which the step size is adapted: the state after them, and the size."""
    for step in range(steps):
        state, probability = move(energy, state, size, draws)
        if move.target is not None:
            size = adapted(size, float(probability.mean()) - move.target, step)
    return state, size


def adapted(size: float, excess: float, step: int) -> float:
    """The size after step number ``step`` (from 0) whose acceptance was above its target by ``excess``."""
    return size * math.exp(excess * (step + 1) ** -ADAPTATION)


def autocorrelation_time(series: Tensor, window: float = WINDOW) -> float:
    r"""Integrated autocorrelation time :math:`\tau = 1 + 2 \sum_{t=1}^{W} \rho(t)` of series (T, B), in their steps.

    T B values are worth :math:`T B/\tau` independent ones; of independent values tau is 1. W is the smallest window
    with :math:`W \ge` ``window`` :math:`\tau(W)/2` (Madras and Sokal, J. Stat. Phys. 50 (1988), 109). All chains share
    one mean, so that chains which are stuck at different places make tau long. Its relative error is about
    :math:`\sqrt{2 (2W + 1)/T B}`, its bias of order tau/T. 1 for a constant.

    Raises:
        ValueError: fewer than 8 times.
    """
    values = series.double().reshape(len(series), -1)
    count = len(values)
    if count < FEWEST_TIMES:
        raise ValueError(f"an autocorrelation time needs at least {FEWEST_TIMES} times, got {count}: run longer")
    power = torch.fft.rfft(values - values.mean(), 2 * count, dim=0).abs().square()
    lags = torch.arange(count, dtype=torch.float64, device=values.device)
    covariance = torch.fft.irfft(power, 2 * count, dim=0)[:count].mean(1) / (count - lags)
    if not float(covariance[0]) > 0:
        return 1.0
    tau = 1 + 2 * torch.cumsum(covariance[1 : count // 2] / covariance[0], 0)
    enough = torch.nonzero(2 * (lags[1 : count // 2]) >= window * tau)[:, 0]
    return max(float(tau[enough[0]] if len(enough) else tau.max()), 1.0)


def _mean(x: Tensor) -> Tensor:
    return x.flatten(1).mean(1)


def _mean_square(x: Tensor) -> Tensor:
    return x.square().flatten(1).mean(1)
