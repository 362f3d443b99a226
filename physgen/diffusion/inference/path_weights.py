r"""Weights of stochastic paths against an unnormalised target, unbiased at any number of steps and for any denoiser.

A path :math:`y_T \to \dots \to y_1 \to x_0` drawn with kernels p has the weight

.. math:: w = \frac{\tilde p(x_0) \prod_k q(y_{k+1}|y_k)}{p(y_T) \prod_k p(y_k|y_{k+1})}, \qquad y_0 = x_0,

with :math:`q(y_{k+1}|y_k) = N(y_k, s_{k+1}^2 - s_k^2)` and :math:`\tilde p` the target up to its norm. Then
:math:`E[w] = Z` and :math:`E[w f(x_0)] = Z \langle f \rangle`: no trace, no tolerance, no small-step limit. A path
in the other direction, from a sample of the target, has :math:`E[1/w] = 1/Z`, which detects modes that the sampler
never visits.

Two extensions of the kernels are allowed. A multistep D, extrapolated from the level before, makes p depend on the path
so far, :math:`p(y_k | y_{k+1}, y_{k+2})`, and changes nothing in w. A Langevin move K at a level is undone by the same
move in the extended q: w gains :math:`K(y|y')/K(y'|y)`. A step that is a deterministic map of a noised state, Heun's
with churn, has no density, and annealed Langevin, which changes the level without a draw, has none either.
Source: annealed importance sampling on the extended space; Sohl-Dickstein et al., arXiv:1503.03585, section 2.4; Neal,
Statistics and Computing 11 (2001), 125.

Shapes: N samples, B batch, C channels, \*grid lattice. Paths are float64, the denoiser sees the dtype asked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal, get_args

import torch
from torch import Tensor

from physgen.diffusion.convention import Condition, Denoiser, elapsed
from physgen.diffusion.inference.reverse_kernels import (
    Ancestral,
    EulerMaruyama,
    Move,
    Noise,
    PathKernel,
    SpinMixture,
    log_normal,
)
from physgen.diffusion.levels import check_levels
from physgen.diffusion.noise import Stream
from physgen.diffusion.sampling.deterministic import extrapolated
from physgen.diffusion.sampling.stochastic import langevin_step
from physgen.diffusion.sampling.tiles import Execution, Tile

Readout = Literal["gaussian", "bernoulli", "categorical", "angle"]


@dataclass(frozen=True)
class WeightedSamples:
    """Samples x (N, C, *grid) and the natural logarithms of their path weights (N,), float64."""

    x: Tensor
    log_weight: Tensor


@dataclass(frozen=True)
class Chain:
    r"""What is drawn at each level.

    Attributes:
        kernel: of the step to the next level.
        multistep: give it the D of :data:`physgen.diffusion.sampling.deterministic.dpmpp_2m`, extrapolated from the
            level before.
        corrector: strength of a Langevin move at the new level, :math:`\epsilon = strength \cdot s'^2 \log(s/s')`, as
            in :func:`physgen.diffusion.sampling.stochastic.predictor_corrector`; 0 for none. One evaluation more a
            level.
    """

    kernel: PathKernel
    multistep: bool = False
    corrector: float = 0.0

    def __post_init__(self) -> None:
        if not self.corrector >= 0:
            raise ValueError(f"the strength of the corrector must be >= 0, got {self.corrector}; 0 is none")


CHAINS = {  # the stochastic samplers of these names, with a read-out that has a density in the place of x0 = D
    "ancestral": Chain(Ancestral()),
    "euler_maruyama": Chain(EulerMaruyama()),
    "dpmpp_2m_sde": Chain(Ancestral(), multistep=True),
    "predictor_corrector": Chain(Ancestral(), corrector=1.0),
}


@dataclass(frozen=True)
class ReverseChain:
    """The generative chain of one block of samples.

    Attributes:
        denoise: D(y, s) on the block. chain: what is drawn. levels: as floats, the last one 0. readout: at that one.
    """

    denoise: Callable[[Tensor, float], Tensor]
    chain: Chain
    levels: list[float]
    readout: Readout

    @property
    def kernel(self) -> PathKernel:
        """What each step draws from."""
        return self.chain.kernel

    def kernel_to(self, s_next: float) -> PathKernel:
        """The same, for the step to ``s_next``: at 0 the read-out of spins where the kernel has none itself."""
        spins = s_next == 0 and self.readout == "bernoulli" and not self.kernel.reads_out
        return SpinMixture() if spins else self.kernel


def weighted_sample(
    denoiser: Denoiser,
    kernel: PathKernel | Chain | str,
    levels: Tensor,
    shape: Sequence[int],
    seed: int,
    log_target: Callable[[Tensor], Tensor],
    *,
    readout: Readout = "gaussian",
    condition: Condition = None,
    tile: int | None = None,
    start_index: int = 0,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    streams: Sequence[int] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> WeightedSamples:
    r"""Draw paths down the levels and weigh them against a target.

    Sample number j depends on (seed, start_index + j, its condition) alone.

    Args:
        denoiser: D(y, s, condition), learned or exact.
        kernel: one of :mod:`physgen.diffusion.inference.reverse_kernels`, a :class:`Chain` of it, or the name of a
            stochastic sampler: ancestral, euler_maruyama, dpmpp_2m_sde, predictor_corrector.
        levels: noise levels, descending, the last one 0.
        shape: (N, C, \*grid).
        seed: any whole number.
        log_target: :math:`\log\tilde p(x_0)`, (B, C, \*grid) float64 -> (B,); for spins :math:`-\beta H`.
        readout: "gaussian", :math:`x_0 \sim N(D, C)` with the kernel's variance at s' = 0, or "bernoulli", spins
            :math:`\pm1` with :math:`P(\pm1) = (1 \pm D_i)/2`; "categorical" and "angle" for a kernel that reads kinds
            or angles out itself.
        condition: tensors that lead with N.
        tile, start_index, device, dtype, streams: as in :func:`physgen.diffusion.sampling.samplers.sample`; ``dtype``
            is what the denoiser sees and the samples have. progress: called with (samples done, N) after each tile.

    Raises:
        ValueError: levels that do not end at 0, a condition whose length is not N, an unknown read-out or sampler.
    """
    plan = Execution(tile, start_index, device, dtype=dtype, streams=streams)
    count, one = int(shape[0]), tuple(shape[1:])
    samples = torch.empty((count, *one), dtype=dtype, device=device)
    log_weight = torch.empty(count, dtype=torch.float64, device=device)
    for part, reverse in _tiles(denoiser, _chain(kernel), levels, (readout, condition, plan), (count, *one)):
        x, log_ratio = downwards(reverse, _path_noise(seed, "weighted path", part, one, plan))
        samples[part.place] = x[part.inside].to(dtype)
        log_weight[part.place] = (log_target(x) + log_ratio)[part.inside]
        if progress is not None:
            progress(part.place.stop, count)
    return WeightedSamples(samples, log_weight)


def noising_log_weight(
    denoiser: Denoiser,
    kernel: PathKernel | Chain | str,
    levels: Tensor,
    x: Tensor,
    seed: int,
    log_target: Callable[[Tensor], Tensor],
    *,
    readout: Readout = "gaussian",
    condition: Condition = None,
    tile: int | None = None,
    start_index: int = 0,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    streams: Sequence[int] | None = None,
) -> Tensor:
    r"""Log-weights (N,) of paths that start from given samples x and go up the levels with q.

    For x from the target :math:`E[1/w] = 1/Z`. With ``log_target`` returning zeros, -log w is log p/q of the path; its
    mean is the evidence lower bound of :math:`\log p(x)` of the generative chain, its log-mean-exp is
    :math:`\log p(x)` itself. Arguments as :func:`weighted_sample`; x (N, C, \*grid), spins for "bernoulli".
    """
    plan, chain = Execution(tile, start_index, device, dtype=dtype, streams=streams), _chain(kernel)
    if chain.multistep or chain.corrector:
        raise ValueError(
            f"upward paths are weighed for steps that depend on the level above alone, got {chain}; "
            "take a kernel without multistep and corrector"
        )
    log_weight = torch.empty(len(x), dtype=torch.float64, device=device)
    for part, reverse in _tiles(denoiser, chain, levels, (readout, condition, plan), tuple(x.shape)):
        start = part.take(x).to(device, torch.float64)
        log_ratio = _upwards(reverse, _path_noise(seed, "noising path", part, tuple(x.shape[1:]), plan), start)
        log_weight[part.place] = (log_target(start) + log_ratio)[part.inside]
    return log_weight


def _chain(kernel: PathKernel | Chain | str) -> Chain:
    if isinstance(kernel, str):
        if kernel not in CHAINS:
            raise ValueError(f"sampler {kernel!r} has no path weights; choose one of {', '.join(CHAINS)}, or a kernel")
        return CHAINS[kernel]
    return kernel if isinstance(kernel, Chain) else Chain(kernel)


def _tiles(
    denoiser: Denoiser,
    chain: Chain,
    levels: Tensor,
    settings: tuple[Readout, Condition, Execution],
    shape: tuple[int, ...],
) -> Iterator[tuple[Tile, ReverseChain]]:
    """The tiles of a request, each with the chain on its rows of the condition."""
    readout, condition, plan = settings
    if readout not in get_args(Readout):
        raise ValueError(f"the read-out is one of {', '.join(get_args(Readout))}, got {readout!r}")
    values = check_levels(levels)
    if values[-1] != 0:
        raise ValueError(
            f"path weights need levels that end at 0, the level of the target, got a last one {values[-1]}"
        )
    tiles = plan.tiles(shape[0], shape[1:])
    for tile, given in zip(tiles, plan.conditions(condition, tiles), strict=True):
        denoise = _evaluator(denoiser, given, plan)
        known = replace(chain, kernel=chain.kernel.given(given).started(denoise, values[0]))
        yield tile, ReverseChain(denoise, known, values, readout)


def _path_noise(seed: int, stream: str, tile: Tile, shape: tuple[int, ...], plan: Execution) -> Noise:
    return Noise(Stream(seed, stream, device=plan.device), tile.numbers, shape)


def _evaluator(denoiser: Denoiser, condition: Condition, plan: Execution) -> Callable[[Tensor, float], Tensor]:
    def denoise(y: Tensor, s: float) -> Tensor:
        with torch.no_grad():
            level = torch.full((len(y),), s, dtype=plan.dtype, device=y.device)
            return denoiser(y.to(plan.dtype), level, condition).double()

    return denoise


def downwards(
    reverse: ReverseChain, noise: Noise, seen: Callable[[Move, Tensor], object] | None = None
) -> tuple[Tensor, Tensor]:
    r"""x0 (B, C, \*grid) and log q/p (B,) of drawn paths; ``seen`` is told each step and where it led."""
    chain, first = reverse.chain, reverse.levels[0]
    y = reverse.kernel.start(noise, first)
    log_ratio = -reverse.kernel.log_start(y, first)
    denoised = reverse.denoise(y, first)
    before: tuple[float, Tensor] | None = None
    for s, s_next in pairwise(reverse.levels):
        aim = denoised
        if chain.multistep and before is not None and s_next > 0:
            aim = extrapolated(denoised, before, s, s_next)
        kernel, move = reverse.kernel_to(s_next), Move(y, aim, s, s_next)
        y_next = kernel.draw(move, noise)
        if seen is not None:
            seen(move, y_next)
        log_ratio = log_ratio + _log_forward(y, y_next, s, s_next) - kernel.log_density(move, y_next)
        y, before = y_next, (s, denoised)
        if s_next > 0:
            denoised = reverse.denoise(y, s_next)
            if chain.corrector:
                step = chain.corrector * math.log(s / s_next)
                y, denoised, gain = _langevin_move(reverse, y, denoised, s_next, (step, noise))
                log_ratio = log_ratio + gain
    return y, log_ratio


def _langevin_move(
    reverse: ReverseChain, y: Tensor, denoised: Tensor, s: float, settings: tuple[float, Noise]
) -> tuple[Tensor, Tensor, Tensor]:
    r"""A move :math:`y' \sim K(y'|y) = N(y + \epsilon\,(D - y)/s^2, 2\epsilon)`, D there, and log K(y|y')/K(y'|y)."""
    step, noise = settings
    white = noise.normal()
    moved = langevin_step(y, denoised, s, step, white)
    ahead = reverse.denoise(moved, s)
    std = s * math.sqrt(2 * step)
    back = (y - moved - step * (ahead - moved)) / std
    variance = torch.full_like(y, std**2)
    return moved, ahead, log_normal(back, variance) - log_normal(white, variance)


def _upwards(reverse: ReverseChain, noise: Noise, x: Tensor) -> Tensor:
    """log q/p of paths that q draws upwards from x."""
    y, log_ratio = x, torch.zeros(len(x), dtype=torch.float64, device=x.device)
    for s_next, s in pairwise(reversed(reverse.levels)):
        above = y + math.sqrt(elapsed(s, s_next)) * noise.normal()
        move = Move(above, reverse.denoise(above, s), s, s_next)
        log_p = reverse.kernel_to(s_next).log_density(move, y)
        log_ratio = log_ratio + _log_forward(above, y, s, s_next) - log_p
        y = above
    return log_ratio - reverse.kernel.log_start(y, reverse.levels[0])


def _log_forward(y: Tensor, y_next: Tensor, s: float, s_next: float) -> Tensor:
    r""":math:`\log q(y|y') = \log N(y; y', s^2 - s'^2)`, (B,)."""
    variance = torch.full_like(y, elapsed(s, s_next))
    return log_normal((y - y_next) / variance.sqrt(), variance)
