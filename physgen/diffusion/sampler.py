r"""Drawing samples: from :math:`y = s_{max} z` down a grid of noise levels to a sample of :math:`p(x_0)`.

The solvers stand in :mod:`physgen.diffusion.flow` and :mod:`physgen.diffusion.stochastic`, their loop in
:mod:`physgen.diffusion.solver`; here they have their names, and noise that belongs to a sample.

Shapes: N samples, B batch, C channels, \*grid lattice; y (B, C, \*grid), s (B,).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from physgen.diffusion.adaptive import AdaptiveFlow
from physgen.diffusion.convention import Condition, Denoiser
from physgen.diffusion.flow import dpmpp_2m, euler, exponential_multistep, heun
from physgen.diffusion.grid import check_levels
from physgen.diffusion.noise import noise_like
from physgen.diffusion.solver import Sampler, Solver
from physgen.diffusion.stochastic import (
    ancestral,
    annealed_langevin,
    dpmpp_2m_sde,
    euler_maruyama,
    heun_churn,
    predictor_corrector,
)

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


@dataclass(frozen=True)
class Execution:
    """How :func:`sample` computes, as opposed to what.

    Args:
        batch: samples in one call of the denoiser. Blocks of this size stand at fixed places of the sample index and
            are always full.
        start_index: index of the first sample in the whole ensemble; processes take ranges (multiples of ``batch``
            waste nothing).
        device: where the denoiser runs.
        dtype: float32 or float64.
        progress: called as progress(done, total) after each evaluation of the denoiser on a block. An adaptive
            sampler does not know its total: it grows with what is done.
    """

    batch: int = 32
    start_index: int = 0
    device: torch.device | str = "cpu"
    dtype: torch.dtype = torch.float32
    progress: Callable[[int, int], None] | None = None

    def __post_init__(self) -> None:
        if self.batch < 1 or self.start_index < 0:
            raise ValueError(f"sampling needs batch >= 1 and start_index >= 0, got {self.batch} and {self.start_index}")
        if self.dtype not in (torch.float32, torch.float64):
            raise ValueError(f"samples need float32 or float64, got {self.dtype}; use autocast inside the denoiser")


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
    ``start_index`` or how the work is split. Its noise does not depend on ``batch`` either, but a denoiser may round
    differently at another batch size.

    Args:
        denoiser: D(y, s, condition).
        levels: noise levels, descending, the last one 0 for samples of :math:`x_0`.
        shape: (N, C, \*grid).
        seed: any whole number.
        condition: tensors that lead with N; floating ones are cast to ``dtype``.
        sampler: a name of ``SAMPLERS`` or a function of the same signature.
        **execution: fields of :class:`Execution`: batch, start_index, device, dtype, progress.

    Returns:
        Tensor (N, C, \*grid) on the device.

    Raises:
        ValueError: unknown sampler, wrong levels, a condition whose length is not N, a dtype that is not float32 or
            float64.
    """
    plan = Execution(**execution)
    count, site = int(shape[0]), tuple(shape[1:])
    for name, value in (condition or {}).items():
        if value.shape[0] != count:
            raise ValueError(f"condition {name!r} must lead with {count}, one row a sample, got {tuple(value.shape)}")
    blocks = list(_blocks(plan.start_index, count, plan.batch))
    integrate = find_sampler(sampler)
    counted = _counted(denoiser, plan.progress, len(blocks) * evaluations(sampler, levels))
    samples = torch.empty((count, *site), dtype=plan.dtype, device=plan.device)
    s_max = check_levels(levels)[0]
    with torch.no_grad():
        for index, inside in blocks:
            noise = partial(_noise, seed, index, site, plan)
            start = noise("sampler start", 0) * s_max
            rows = torch.tensor(index).sub(plan.start_index).clamp(0, count - 1)
            x = integrate(counted, levels, start, _rows(condition, rows, plan), partial(noise, "sampler step"))
            samples[rows[inside].to(plan.device)] = x[inside]
    return samples


def _blocks(start: int, count: int, batch: int) -> Iterator[tuple[range, slice]]:
    """The full blocks of sample indices that meet [start, start + count), each with its slice that lies inside."""
    for first in range(start - start % batch, start + count, batch):
        yield range(first, first + batch), slice(max(start - first, 0), min(start + count - first, batch))


def _noise(seed: int, index: range, site: tuple[int, ...], plan: Execution, stream: str, step: int) -> Tensor:
    return noise_like(seed, stream, index, site, step, plan.dtype, plan.device)


def _rows(condition: Condition, rows: Tensor, plan: Execution) -> Condition:
    if condition is None:
        return None
    taken = {name: value[rows.to(value.device)].to(plan.device) for name, value in condition.items()}
    return {name: value.to(plan.dtype) if value.is_floating_point() else value for name, value in taken.items()}


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
