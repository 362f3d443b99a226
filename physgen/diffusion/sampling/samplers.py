r"""Sampling: from :math:`y = s_{max} z`, or from any given y, down the noise levels to a sample of :math:`p(x_0)`.

The solvers are in :mod:`physgen.diffusion.sampling.deterministic` and :mod:`physgen.diffusion.sampling.stochastic`,
their loop in :mod:`physgen.diffusion.sampling.solver`; here they get their names, and noise that belongs to a sample.

**Same bits.** Sample number ``start_index + j`` depends on (seed, its index, its condition, its start) alone, bit for
bit: not on N, ``start_index``, how much is kept in memory or how the work is split over processes
(:mod:`physgen.diffusion.sampling.tiles`).

**Starting from a given y.** From :math:`y = x_0 + s z` a stochastic sampler draws :math:`x_0'` from the posterior
:math:`p(x_0'|y)`, up to its order in the steps: a U-turn of the diffusion, in one line::

    y = x + s * noise_like(seed, "u-turn", range(len(x)), x.shape[1:])
    returned = sample(denoiser, levels, x.shape, seed, sampler="ancestral", start=y, from_level=s)

A deterministic one gives the one point that the probability flow assigns to y; its law over all y is :math:`p(x_0)`
too. The sampler takes the level s, then those of ``levels`` below it (:func:`physgen.diffusion.levels.levels_from`).
The noise in y must not come from the streams "sampler start" and "sampler step" of the same seed, which are used here.
A sampler with a method ``of(denoiser)`` is bound to what that denoiser knows of its data, first of all; one with a
method ``start(white, s, condition)`` makes its own y at the first level, where none is given.

Shapes: N samples, B batch, C channels, \*grid lattice; y (B, C, \*grid), s (B,).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from physgen.diffusion.convention import Condition, Denoiser
from physgen.diffusion.levels import check_levels, levels_from
from physgen.diffusion.noise import noise_like
from physgen.diffusion.recording import recorded
from physgen.diffusion.sampling.adaptive import AdaptiveFlow
from physgen.diffusion.sampling.deterministic import dpmpp_2m, euler, exponential_multistep, heun
from physgen.diffusion.sampling.flow_map import MapSteps
from physgen.diffusion.sampling.metropolis import AnnealedMetropolis
from physgen.diffusion.sampling.modal import ModalFlow
from physgen.diffusion.sampling.solver import Sampler, Solver
from physgen.diffusion.sampling.stochastic import (
    ancestral,
    annealed_langevin,
    dpmpp_2m_sde,
    euler_maruyama,
    heun_churn,
    predictor_corrector,
)
from physgen.diffusion.sampling.tiles import Execution, Tile, check_condition

SAMPLERS: dict[str, Sampler] = {
    "euler": euler,
    "ancestral": ancestral,
    "heun": heun,
    "dpmpp_2m": dpmpp_2m,
    "euler_maruyama": euler_maruyama,
    "dpmpp_3m": exponential_multistep(3),
    "exponential_4m": exponential_multistep(4),
    "dpmpp_2m_sde": dpmpp_2m_sde,
    "heun_churn": heun_churn(),
    "predictor_corrector": predictor_corrector(),
    "annealed_langevin": annealed_langevin(),
    "dopri5": AdaptiveFlow(),
    "modal_2m": ModalFlow(),
    "modal_4m": ModalFlow(4),
    "mala": AnnealedMetropolis(),
    "flow_map": MapSteps(),
    "consistency": MapSteps(renoised=True),
}


def find_sampler(sampler: str | Sampler) -> Sampler:
    """The sampler of that name of ``SAMPLERS``; a function passes through. ValueError for an unknown name."""
    if not isinstance(sampler, str):
        return sampler
    if sampler not in SAMPLERS:
        raise ValueError(f"unknown sampler {sampler!r}; choose one of {', '.join(SAMPLERS)}")
    return SAMPLERS[sampler]


def evaluations(sampler: str | Sampler, levels: Tensor) -> int:
    """Number of denoiser evaluations a sampler spends on the levels; one a step is assumed of a foreign function."""
    solver = find_sampler(sampler)
    return solver.cost(levels) if isinstance(solver, Solver) else len(check_levels(levels)) - 1


def sample(
    denoiser: Denoiser,
    levels: Tensor,
    shape: Sequence[int],
    seed: int,
    condition: Condition = None,
    sampler: str | Sampler = "dpmpp_2m",
    *,
    start: Tensor | None = None,
    from_level: float | None = None,
    tile: int | None = None,
    start_index: int = 0,
    device: torch.device | str = "cpu",
    home: torch.device | str | None = None,
    dtype: torch.dtype = torch.float32,
    streams: Sequence[int] | None = None,
    progress: Callable[[int, int], None] | None = None,
    workers: int = 1,
) -> Tensor:
    r"""Draw samples from :math:`y = s_{max} z`, or from a given y, without gradients; the module says more.

    Args:
        denoiser: D(y, s, condition).
        levels: noise levels, descending, the last one 0 for samples of :math:`x_0`.
        shape: (N, C, \*grid). seed: any whole number.
        condition: tensors that lead with N; floating ones are cast to ``dtype``.
        sampler: a name of ``SAMPLERS`` or a function of the same signature.
        start: y (N, C, \*grid); None: noise of standard deviation ``levels[0]``.
        from_level: noise level of ``start``, ``levels[0]`` where None; higher levels are dropped.
        tile, start_index, device, home, dtype, streams, progress, workers: how the samples are computed, as in
            :class:`physgen.diffusion.sampling.tiles.Execution`.

    Returns:
        Tensor (N, C, \*grid) on ``home``.

    Raises:
        ValueError: unknown sampler, wrong levels, a condition or start that does not fit N, ``from_level`` without a
            start or outside the levels, a dtype that is not float32 or float64.
    """
    plan = Execution(tile, start_index, device, home, dtype, streams, progress, workers)
    count, one = int(shape[0]), tuple(shape[1:])
    levels = _levels_of_start(levels, start, from_level, (count, *one))
    integrate, s_first, tiles = _bound(find_sampler(sampler), denoiser), check_levels(levels)[0], plan.tiles(count, one)
    counted = _counted(recorded(denoiser, device), progress, len(tiles) * evaluations(sampler, levels))
    samples = torch.empty((count, *one), dtype=dtype, device=home or device)
    check_condition(condition, count)

    def draw(part: Tile) -> None:
        noise = partial(_noise, seed, torch.tensor(part.numbers, device=device), one, plan)
        own = plan.condition(condition, part)
        if start is None:
            y = _first(integrate, noise("sampler start", 0), s_first, own)
        else:
            y = part.take(start).to(device, dtype)
        x = integrate(counted, levels, y, own, partial(noise, "sampler step"))
        samples[part.place] = x[part.inside]

    plan.each(draw, tiles)
    return samples


def _levels_of_start(levels: Tensor, start: Tensor | None, from_level: float | None, shape: tuple[int, ...]) -> Tensor:
    """The levels that a sampler takes from a given start on."""
    if start is not None and tuple(start.shape) != shape:
        raise ValueError(f"start must have the shape {shape} of the samples asked for, got {tuple(start.shape)}")
    if from_level is None:
        return levels
    if start is None:
        raise ValueError(f"from_level = {from_level} is the noise level of a start: pass start=y, or cut the levels")
    return levels_from(levels, from_level)


def _bound(sampler: Sampler, denoiser: Denoiser) -> Sampler:
    """The sampler for this denoiser, before that is wrapped."""
    of = getattr(sampler, "of", None)
    return sampler if of is None else of(denoiser)


def _first(sampler: Sampler, white: Tensor, s: float, condition: Condition) -> Tensor:
    """y at the first level from white noise of unit variance."""
    own = getattr(sampler, "start", None)
    return white * s if own is None else own(white, s, condition)


def _noise(seed: int, index: Tensor, shape: tuple[int, ...], plan: Execution, stream: str, step: int) -> Tensor:
    return noise_like(seed, stream, index, shape, step, plan.dtype, plan.device)


def _counted(denoiser: Denoiser, progress: Callable[[int, int], None] | None, total: int) -> Denoiser:
    """The denoiser, reporting each evaluation."""
    if progress is None:
        return denoiser
    done, one_at_a_time = 0, threading.Lock()

    def evaluate(y: Tensor, s: Tensor, condition: Condition = None) -> Tensor:
        nonlocal done
        denoised = denoiser(y, s, condition)
        with one_at_a_time:
            done += 1
            progress(done, max(done, total))
        return denoised

    return evaluate
