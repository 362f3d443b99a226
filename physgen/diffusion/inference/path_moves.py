r"""Whole configurations as moves of a Markov chain: paths of a denoiser, accepted with the exact probability.

Beside the configuration x of a chain stands, for the length of one move, a path :math:`u = (y_1 \dots y_T)` that starts
in it: the pair has the law :math:`\Pi(x, u) = p(x)\, q(u|x)`, of which p is the marginal. A move has two halves, and
each leaves :math:`\Pi` as it is.

1. u is drawn afresh from :math:`q(u|x)`: x noised up the levels, a Gibbs step of what stands beside it. The weight
   of the pair is :math:`w = \tilde p(x)\, q(u|x)/P(x, u)`, where P is the law of the paths that the denoiser draws
   (:mod:`physgen.diffusion.inference.path_weights`).
2. The denoiser draws a pair :math:`(x', u') \sim P`, whatever x is, and it takes the place of the other with
   probability :math:`\min(1, w'/w)`: independence Metropolis of the law :math:`\Pi = w P/Z`.

So :math:`x \to x'` has :math:`p(x) K(x'|x) = \frac1Z \int P(x, u)\, P(x', u') \min(w, w')\, du\, du'`, the same with x
and x' exchanged: detailed balance, for any denoiser, any levels and any number of them. A bad denoiser
costs acceptance and nothing else. The weight with which x was once accepted must not be kept: after other moves of x it
belongs to no path of x. Source: Andrieu and Roberts, Annals of Statistics 37 (2009), 697 (auxiliary variables that
are refreshed); Tierney, Annals of Statistics 22 (1994), 1701 (independence chains).

One move costs twice the evaluations of a draw. Shapes: N configurations, C channels, \*grid lattice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from physgen.diffusion.convention import Condition, Denoiser
from physgen.diffusion.inference.path_weights import Readout, noising_log_weight, weighted_sample
from physgen.diffusion.inference.reverse_kernels import PathKernel


class PathMove(NamedTuple):
    r"""What is proposed: x (N, C, \*grid), and ln w'/w (N,) float64, to be accepted with min(1, w'/w)."""

    x: Tensor
    log_ratio: Tensor


@dataclass(frozen=True)
class PathProposal:
    r"""Proposals for N configurations at once, each of a law of its own.

    Args:
        denoiser: D(y, s, condition), good or bad.
        kernel: of :mod:`physgen.diffusion.inference.reverse_kernels`; its steps depend on the level above alone.
        levels: noise levels, descending, the last one 0.
        log_target: (N, C, \*grid) float64 -> (N,), row n by the law of configuration n, up to its norm.
        readout: "bernoulli" for values +-1, else "gaussian".
        condition: tensors that lead with N.
        seed: of all moves; their random numbers are those of (seed, number of the move, row).
        tile: configurations in one call of the denoiser, as in :class:`physgen.diffusion.sampling.tiles.Execution`.
    """

    denoiser: Denoiser
    kernel: PathKernel
    levels: Tensor
    log_target: Callable[[Tensor], Tensor]
    readout: Readout = "gaussian"
    condition: Condition = None
    seed: int = 0
    device: torch.device | str = "cpu"
    tile: int | None = None

    def __call__(self, x: Tensor, number: int) -> PathMove:
        r"""Propose the place of x (N, C, \*grid) something else; ``number`` must differ from move to move."""
        rows: Sequence[int] = range(number * len(x), (number + 1) * len(x))
        here = noising_log_weight(
            self.denoiser, self.kernel, self.levels, x, self.seed, _flat,
            readout=self.readout, condition=self.condition, device=self.device, streams=rows, tile=self.tile,
        )  # fmt: skip
        drawn = weighted_sample(
            self.denoiser, self.kernel, self.levels, tuple(x.shape), self.seed, _flat,
            readout=self.readout, condition=self.condition, device=self.device, streams=rows, tile=self.tile,
        )  # fmt: skip
        before, after = (self.log_target(y.double()).to(here) for y in (x.to(here.device), drawn.x))
        return PathMove(drawn.x, after + drawn.log_weight - before - here)


def _flat(x: Tensor) -> Tensor:
    """The law is added afterwards: a tile of paths does not say which rows it holds."""
    return torch.zeros(len(x), dtype=torch.float64, device=x.device)
