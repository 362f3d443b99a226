r"""Drawing samples: from :math:`y = s_{max} z` down a grid of noise levels to a sample of :math:`p(x_0)`.

The solvers stand in :mod:`physgen.diffusion.sampling.deterministic` and :mod:`physgen.diffusion.sampling.stochastic`,
their loop in
:mod:`physgen.diffusion.sampling.solver`; here they have their names, and noise that belongs to a sample.

Shapes: N samples, B batch, C channels, \*grid lattice; y (B, C, \*grid), s (B,).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from physgen.diffusion.convention import Condition, Denoiser
from physgen.diffusion.levels import check_levels
from physgen.diffusion.noise import noise_like
from physgen.diffusion.sampling.adaptive import AdaptiveFlow
from physgen.diffusion.sampling.deterministic import dpmpp_2m, euler, exponential_multistep, heun
from physgen.diffusion.sampling.solver import Sampler, Solver
from physgen.diffusion.sampling.stochastic import (
    ancestral,
    annealed_langevin,
    dpmpp_2m_sde,
    euler_maruyama,
    heun_churn,
    predictor_corrector,
)
from physgen.diffusion.sampling.tiles import Execution

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
}


def find_sampler(sampler: str | Sampler) -> Sampler:
    """The sampler of that name; a function passes through. ValueError for an unknown name."""
    if not isinstance(sampler, str):
        return sampler
    if sampler not in SAMPLERS:
        raise ValueError(f"unknown sampler {sampler!r}; choose one of {', '.join(SAMPLERS)}")
    return SAMPLERS[sampler]


def evaluations(sampler: str | Sampler, levels: Tensor) -> int:
    """Number of denoiser evaluations a sampler spends on the levels; one a step is assumed of a foreign function."""
    found = find_sampler(sampler)
    return found.cost(levels) if isinstance(found, Solver) else len(check_levels(levels)) - 1


def sample(
    denoiser: Denoiser,
    levels: Tensor,
    shape: Sequence[int],
    seed: int,
    condition: Condition = None,
    sampler: str | Sampler = "dpmpp_2m",
    **execution: Any,
) -> Tensor:
    r"""Draw samples from :math:`y = s_{max} z` with a sampler, without gradients.

    Sample number ``start_index + j`` depends on (seed, its index, its condition) alone, bit for bit: not on N,
    ``start_index``, how much is held in memory or how the work is split over processes
    (:mod:`physgen.diffusion.sampling.tiles`).

    Args:
        denoiser: D(y, s, condition).
        levels: noise levels, descending, the last one 0 for samples of :math:`x_0`.
        shape: (N, C, \*grid).
        seed: any whole number.
        condition: tensors that lead with N; floating ones are cast to ``dtype``.
        sampler: a name of ``SAMPLERS`` or a function of the same signature.
        **execution: fields of :class:`physgen.diffusion.sampling.tiles.Execution`: tile, start_index, device,
            home, dtype, streams, progress.

    Returns:
        Tensor (N, C, \*grid) on ``home``, which is the device unless it is given.

    Raises:
        ValueError: unknown sampler, wrong levels, a condition whose length is not N, a dtype that is not float32 or
            float64.
    """
    plan = Execution(**execution)
    count, site = int(shape[0]), tuple(shape[1:])
    tiles = plan.tiles(count, site)
    integrate = find_sampler(sampler)
    counted = _counted(denoiser, plan.progress, len(tiles) * evaluations(sampler, levels))
    samples = torch.empty((count, *site), dtype=plan.dtype, device=plan.home or plan.device)
    s_max = check_levels(levels)[0]
    with torch.no_grad():
        for tile, given in zip(tiles, plan.conditions(condition, tiles), strict=True):
            noise = partial(_noise, seed, tile.numbers, site, plan)
            start = noise("sampler start", 0) * s_max
            x = integrate(counted, levels, start, given, partial(noise, "sampler step"))
            samples[tile.place] = x[tile.inside]
    return samples


def _noise(seed: int, index: Sequence[int], site: tuple[int, ...], plan: Execution, stream: str, step: int) -> Tensor:
    return noise_like(seed, stream, index, site, step, plan.dtype, plan.device)


def _counted(denoiser: Denoiser, progress: Callable[[int, int], None] | None, total: int) -> Denoiser:
    """The denoiser, reporting each evaluation."""
    if progress is None:
        return denoiser
    done = 0

    def evaluate(y: Tensor, s: Tensor, condition: Condition = None) -> Tensor:
        nonlocal done
        denoised = denoiser(y, s, condition)
        done += 1
        progress(done, max(done, total))
        return denoised

    return evaluate
