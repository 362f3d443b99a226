r"""Weights of stochastic paths against an unnormalised target, unbiased at any number of steps and for any denoiser.

A path :math:`y_T \to \dots \to y_1 \to x_0` drawn with kernels p has the weight

.. math:: w = \frac{\tilde p(x_0) \prod_k q(y_{k+1}|y_k)}{p(y_T) \prod_k p(y_k|y_{k+1})}, \qquad y_0 = x_0,

with :math:`q(y_{k+1}|y_k) = N(y_k, s_{k+1}^2 - s_k^2)` and :math:`\tilde p` the target up to its norm. Then
:math:`E[w] = Z` and :math:`E[w f(x_0)] = Z \langle f \rangle`: no trace, no tolerance, no small-step limit. A path
walked the other way, from a sample of the target, has :math:`E[1/w] = 1/Z`, which notices modes that the sampler never
visits.
Source: annealed importance sampling on the extended space; Sohl-Dickstein et al., arXiv:1503.03585, section 2.4.

Shapes: N samples, B batch, C channels, \*grid lattice. Paths are float64, the denoiser sees the dtype asked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor

from physgen.diffusion.convention import Condition, Denoiser
from physgen.diffusion.execution import Execution, Tile
from physgen.diffusion.grid import check_levels
from physgen.diffusion.kernels import Move, Noise, PathKernel, SpinMixture, log_normal, share
from physgen.diffusion.noise import generator_for

Readout = Literal["gaussian", "bernoulli"]


@dataclass(frozen=True)
class WeightedSamples:
    """Samples x (N, C, *grid) and the natural logarithms of their path weights (N,), float64."""

    x: Tensor
    log_weight: Tensor


@dataclass(frozen=True)
class _Reverse:
    """The generative chain: the denoiser on one block, its kernel, levels that end at 0, and the read-out."""

    denoise: Callable[[Tensor, float], Tensor]
    kernel: PathKernel
    levels: list[float]
    readout: Readout

    def kernel_to(self, s_next: float) -> PathKernel:
        return SpinMixture() if s_next == 0 and self.readout == "bernoulli" else self.kernel


def weighted_sample(
    denoiser: Denoiser,
    kernel: PathKernel,
    levels: Tensor,
    shape: Sequence[int],
    seed: int,
    log_target: Callable[[Tensor], Tensor],
    **options: Any,
) -> WeightedSamples:
    r"""Draw paths down the levels and weigh them against a target.

    Sample number j depends on (seed, start_index + j, its condition) alone.

    Args:
        denoiser: D(y, s, condition), learned or exact.
        kernel: one of :mod:`physgen.diffusion.kernels`.
        levels: noise levels, descending, the last one 0.
        shape: (N, C, \*grid).
        seed: any whole number.
        log_target: :math:`\log\tilde p(x_0)`, (B, C, \*grid) float64 -> (B,); for spins :math:`-\beta H`.
        **options: ``readout``: "gaussian", :math:`x_0 \sim N(D, C)` with the kernel's variance at s' = 0, or
            "bernoulli", spins :math:`\pm1` with :math:`P(\pm1) = (1 \pm D_i)/2`; ``condition``: tensors that lead with
            N; further the fields of :class:`physgen.diffusion.execution.Execution`.

    Raises:
        ValueError: levels that do not end at 0, a condition whose length is not N, an unknown read-out.
    """
    readout, condition, plan = _options(options)
    count, site = int(shape[0]), tuple(shape[1:])
    samples = torch.empty((count, *site), dtype=plan.dtype, device=plan.device)
    log_weight = torch.empty(count, dtype=torch.float64, device=plan.device)
    for tile, chain in _chains(denoiser, kernel, levels, (readout, condition, plan), (count, *site)):
        x, log_ratio = _descend(chain, _path_noise(seed, "weighted path", tile, site, plan))
        samples[tile.place] = x[tile.inside].to(plan.dtype)
        log_weight[tile.place] = (log_target(x) + log_ratio)[tile.inside]
    return WeightedSamples(samples, log_weight)


def noising_log_weight(
    denoiser: Denoiser,
    kernel: PathKernel,
    levels: Tensor,
    x: Tensor,
    seed: int,
    log_target: Callable[[Tensor], Tensor],
    **options: Any,
) -> Tensor:
    r"""Log-weights (N,) of paths that start from given samples x and climb the levels with q.

    For x from the target :math:`E[1/w] = 1/Z`. With ``log_target`` returning zeros, -log w is log p/q of the path; its
    mean is the evidence lower bound of :math:`\log p(x)` of the generative chain, its log-mean-exp is
    :math:`\log p(x)` itself. Arguments as :func:`weighted_sample`; x (N, C, \*grid), spins for "bernoulli".
    """
    readout, condition, plan = _options(options)
    log_weight = torch.empty(len(x), dtype=torch.float64, device=plan.device)
    for tile, chain in _chains(denoiser, kernel, levels, (readout, condition, plan), tuple(x.shape)):
        start = tile.take(x).to(plan.device, torch.float64)
        climbed = _climb(chain, _path_noise(seed, "noising path", tile, tuple(x.shape[1:]), plan), start)
        log_weight[tile.place] = (log_target(start) + climbed)[tile.inside]
    return log_weight


def _options(options: dict[str, Any]) -> tuple[Readout, Condition, Execution]:
    rest = dict(options)
    readout, condition = rest.pop("readout", "gaussian"), rest.pop("condition", None)
    if readout not in ("gaussian", "bernoulli"):
        raise ValueError(f'the read-out is "gaussian" or "bernoulli" (spins), got {readout!r}')
    return readout, condition, Execution(**rest)


def _chains(
    denoiser: Denoiser,
    kernel: PathKernel,
    levels: Tensor,
    settings: tuple[Readout, Condition, Execution],
    shape: tuple[int, ...],
) -> Iterator[tuple[Tile, _Reverse]]:
    """The tiles of a request, each with the chain on its rows of the condition."""
    readout, condition, plan = settings
    values = check_levels(levels)
    if values[-1] != 0:
        raise ValueError(
            f"path weights need levels that end at 0, where the target stands, got a last one {values[-1]}"
        )
    tiles = plan.tiles(shape[0], shape[1:])
    for tile, given in zip(tiles, plan.conditions(condition, tiles), strict=True):
        yield tile, _Reverse(_evaluator(denoiser, given, plan), kernel, values, readout)


def _path_noise(seed: int, stream: str, tile: Tile, site: tuple[int, ...], plan: Execution) -> Noise:
    return Noise([generator_for(seed, stream, number) for number in tile.index], site, plan.device)


def _evaluator(denoiser: Denoiser, condition: Condition, plan: Execution) -> Callable[[Tensor, float], Tensor]:
    def denoise(y: Tensor, s: float) -> Tensor:
        with torch.no_grad():
            level = torch.full((len(y),), s, dtype=plan.dtype, device=y.device)
            return denoiser(y.to(plan.dtype), level, condition).double()

    return denoise


def _descend(chain: _Reverse, noise: Noise) -> tuple[Tensor, Tensor]:
    """x0 and log q/p of paths that the chain draws."""
    y = chain.kernel.start(noise, chain.levels[0])
    log_ratio = -chain.kernel.log_start(y, chain.levels[0])
    for s, s_next in pairwise(chain.levels):
        kernel, move = chain.kernel_to(s_next), Move(y, chain.denoise(y, s), s, s_next)
        y_next = kernel.draw(move, noise)
        log_ratio = log_ratio + _log_forward(y, y_next, s, s_next) - kernel.log_density(move, y_next)
        y = y_next
    return y, log_ratio


def _climb(chain: _Reverse, noise: Noise, x: Tensor) -> Tensor:
    """log q/p of paths that q draws upwards from x."""
    y, log_ratio = x, torch.zeros(len(x), dtype=torch.float64, device=x.device)
    for s_next, s in pairwise(reversed(chain.levels)):
        above = y + s * math.sqrt(share(s, s_next)) * noise.normal()
        move = Move(above, chain.denoise(above, s), s, s_next)
        log_p = chain.kernel_to(s_next).log_density(move, y)
        log_ratio = log_ratio + _log_forward(above, y, s, s_next) - log_p
        y = above
    return log_ratio - chain.kernel.log_start(y, chain.levels[0])


def _log_forward(y: Tensor, y_next: Tensor, s: float, s_next: float) -> Tensor:
    r""":math:`\log q(y|y') = \log N(y; y', s^2 - s'^2)`, (B,)."""
    elapsed = torch.full_like(y, s**2 * share(s, s_next))
    return log_normal((y - y_next) / elapsed.sqrt(), elapsed)
