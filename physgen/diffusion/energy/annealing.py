r"""ln Z of an energy by annealed importance sampling from a law that is normalised, from one side or from two.

Along :math:`E_b = (1 - b) E_0 + b E`, with :math:`e^{-E_0}` normalised and kernels that leave :math:`e^{-E_b}`
stationary,

.. math:: \ln w = \sum_{k=0}^{K-1} (b_{k+1} - b_k) \big(E_0(x_k) - E(x_k)\big), \qquad \langle w \rangle = Z,

with :math:`x_0 \sim e^{-E_0}` and :math:`x_k` after a step at b_k (Neal, Stat. Comput. 11 (2001), 125). Reversible
kernels, taken in reverse order from draws of the model, give the reverse paths, and Bennett's ratio joins both sides
(:func:`physgen.diffusion.inference.two_sided.bennett`).

Shapes: n paths, C channels, \*grid lattice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from physgen.diffusion.energy.chains import SIZE, adapted
from physgen.diffusion.energy.draws import StreamDraws
from physgen.diffusion.energy.laws import Energy, StartLaw, bridge, value
from physgen.diffusion.energy.moves import Move
from physgen.diffusion.inference.two_sided import TwoSided, bennett
from physgen.diffusion.inference.weight_statistics import WeightStatistics, summarise_weights

PILOT = 64  # paths that find the step sizes


@dataclass(frozen=True, eq=False)
class AnnealedZ:
    r"""ln Z of an energy (:func:`annealed_log_Z`).

    Attributes:
        forward: of the paths from the start law. both: joined with reverse paths, None without them.
        x: ends (n, C, \*grid) of the forward paths, of weights ``log_weight`` (n,).
    """

    forward: WeightStatistics
    both: TwoSided | None
    x: Tensor
    log_weight: Tensor

    @property
    def log_Z(self) -> float:
        """The better of what is there."""
        return self.forward.log_Z if self.both is None else self.both.log_Z

    @property
    def log_Z_error(self) -> float:
        """Its standard error."""
        return self.forward.log_Z_error if self.both is None else self.both.log_Z_error


def annealed_log_Z(
    energy: Energy,
    start: StartLaw,
    move: Move,
    fractions: Sequence[float],
    count: int,
    seed: int = 0,
    model_draws: Tensor | None = None,
) -> AnnealedZ:
    r"""ln Z, with its error, of :math:`Z = \sum e^{-E}` (an integral of real values).

    Args:
        energy: E(x) -> (B,). start: a normalised law.
        move: a reversible kernel; its step size is found for each fraction by a pilot, whose paths are not used.
        fractions: b_0 = 0 < b_1 < ... < b_K = 1.
        count: n paths.
        seed: path j draws from a stream of its own.
        model_draws: independent draws of the model (m, C, \*grid), the starts of reverse paths; None: one side alone.

    Raises:
        ValueError: fractions that do not rise from 0 to 1.
    """
    grid = list(fractions)
    rises = len(grid) > 1 and all(low < high for low, high in zip(grid, grid[1:], strict=False))
    if not rises or grid[0] != 0 or grid[-1] != 1:
        raise ValueError(f"fractions must rise from 0 to 1, got {grid[:3]} ... {grid[-1:]}")
    sizes = _pilot(energy, start, move, grid, seed)
    draws = StreamDraws(seed, "annealing", range(count))
    x, log_weight = start.sample(count, draws), torch.zeros(count, dtype=torch.float64)
    for k, b in enumerate(grid[:-1]):
        if k > 0:
            x = _step(bridge(start, energy, b), move, x, sizes[k], draws)
        log_weight += (grid[k + 1] - b) * _drop(energy, start, x)
    both = None
    if model_draws is not None:
        both = bennett(log_weight, _reverse(energy, start, move, grid, sizes, model_draws, seed))
    return AnnealedZ(summarise_weights(log_weight), both, x, log_weight)


def _reverse(
    energy: Energy, start: StartLaw, move: Move, grid: list[float], sizes: list[float], x: Tensor, seed: int
) -> Tensor:
    """ln w of paths from the model down to the start law."""
    draws, log_weight = StreamDraws(seed, "annealing back", range(len(x))), torch.zeros(len(x), dtype=torch.float64)
    for k in range(len(grid) - 2, -1, -1):
        log_weight += (grid[k + 1] - grid[k]) * _drop(energy, start, x)
        if k > 0:
            x = _step(bridge(start, energy, grid[k]), move, x, sizes[k], draws)
    return log_weight


def _pilot(energy: Energy, start: StartLaw, move: Move, grid: list[float], seed: int) -> list[float]:
    """A step size for each fraction."""
    sizes = [SIZE] * len(grid)
    if move.target is None:
        return sizes
    draws = StreamDraws(seed, "annealing pilot", range(PILOT))
    x, size = start.sample(PILOT, draws), SIZE
    for k, b in enumerate(grid[:-1]):
        within = bridge(start, energy, b)
        state = move.start(within, x)
        for step in range(20 if k == 0 else 2):
            state, probability = move(within, state, size, draws)
            size = adapted(size, float(probability.mean()) - move.target, min(step + 2 * k, 8))
        x, sizes[k] = state.x, size
    return sizes


def _step(energy: Energy, move: Move, x: Tensor, size: float, draws: StreamDraws) -> Tensor:
    return move(energy, move.start(energy, x), size, draws)[0].x


def _drop(energy: Energy, start: StartLaw, x: Tensor) -> Tensor:
    """E_0 - E, (n,) float64."""
    return (value(start, x) - value(energy, x)).double()
