r"""Samplers: from :math:`y = s_{max} z` down a grid of noise levels to a sample of :math:`p(x_0)`.

In (y, s) the reverse process knows no schedule. With the score :math:`\nabla \log p_s(y) = (D(y, s) - y)/s^2` the
probability flow is :math:`dy/ds = (y - D)/s`, and in the clock :math:`\tau = -s^2` the reverse SDE is :math:`dy =
\nabla\log p_s\,d\tau + dW`. The loop is written once; a sampler is one step. The step to s = 0 is :math:`x_0 = D(y,
s)` for all of them: it leaves the variance of a mode of variance P too small by a factor :math:`P/(P + s_{min}^2)`,
which refining the grid above :math:`s_{min}` does not change. Orders are global orders of the law of y (weak orders
for stochastic samplers) in the largest step of log s.

Shapes: B batch, C channels, \*grid lattice; y (B, C, \*grid), s (B,). Levels are float64 and so is all arithmetic
with them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, Protocol

import torch
from torch import Tensor

from physgen.diffusion.convention import Condition, Denoiser
from physgen.diffusion.grid import check_levels
from physgen.diffusion.noise import noise_like

StepNoise = Callable[[int], Tensor]


class Sampler(Protocol):
    r"""(denoiser, levels, y at the first level, condition, noise) -> y at the last level: :math:`x_0` if that is 0.

    ``levels`` descend strictly, the last one may be 0; y (B, C, \*grid) is float32 or float64; the condition's
    tensors lead with B; ``noise(i)`` gives standard normal noise like y, needed by stochastic samplers (ValueError
    without it).
    """

    def __call__(
        self, denoiser: Denoiser, levels: Tensor, y: Tensor, condition: Condition = None, noise: StepNoise | None = None
    ) -> Tensor: ...


@dataclass(frozen=True)
class Step:
    """What a step from s to s_next > 0 may use: state y, denoised D(y, s), and level and denoised before, if any."""

    y: Tensor
    denoised: Tensor
    s: float
    s_next: float
    before: tuple[float, Tensor] | None
    evaluate: Callable[[Tensor, float], Tensor]
    noise: Callable[[], Tensor]


def _sampler(rule: Callable[[Step], Tensor]) -> Sampler:
    """The sampler that takes the rule's step between neighbouring levels, and at the step to 0 returns the denoised."""

    def integrate(
        denoiser: Denoiser, levels: Tensor, y: Tensor, condition: Condition = None, noise: StepNoise | None = None
    ) -> Tensor:
        def evaluate(y: Tensor, s: float) -> Tensor:
            return denoiser(y, torch.full((y.shape[0],), s, dtype=y.dtype, device=y.device), condition)

        before = None
        for i, (s, s_next) in enumerate(pairwise(check_levels(levels))):
            denoised = evaluate(y, s)
            if s_next == 0:
                return denoised
            y = rule(Step(y, denoised, s, s_next, before, evaluate, partial(_draw, noise, i)))
            before = (s, denoised)
        return y

    integrate.__name__ = integrate.__qualname__ = rule.__name__
    integrate.__doc__ = rule.__doc__
    return integrate


def _draw(noise: StepNoise | None, i: int) -> Tensor:
    if noise is None:
        raise ValueError("a stochastic sampler needs noise, got None; pass a function: step index -> tensor like y")
    return noise(i)


def _toward(denoised: Tensor, now: Step) -> Tensor:
    """Exact probability flow from s to s_next for a constant D."""
    return now.y * (now.s_next / now.s) + denoised * ((now.s - now.s_next) / now.s)


@_sampler
def euler(now: Step) -> Tensor:
    r"""Euler step of the probability flow = DDIM: :math:`y' = \frac{s'}{s} y + (1 - \frac{s'}{s}) D`.

    Order 1, one evaluation a step. Source: Song, Meng, Ermon, arXiv:2010.02502, eq. 12 without noise, in (y, s).
    """
    return _toward(now.denoised, now)


@_sampler
def heun(now: Step) -> Tensor:
    r"""Heun (explicit trapezoidal) step of the probability flow in s.

    Order 2, two evaluations a step but one for the step to 0. Source: Karras et al., arXiv:2206.00364, algorithm 1.
    """
    slope = (now.y - now.denoised) / now.s
    guess = now.y + slope * (now.s_next - now.s)
    slope_next = (guess - now.evaluate(guess, now.s_next)) / now.s_next
    return now.y + (slope + slope_next) * (0.5 * (now.s_next - now.s))


@_sampler
def dpmpp_2m(now: Step) -> Tensor:
    r"""DPM-Solver++(2M): the flow towards :math:`D + \frac{1}{2r}(D - D_{before}), r = h_{before}/h, h = \log(s/s')`.

    Order 2 on any grid, one evaluation a step. The first step has no past and is Euler's, which costs no order; so is
    the step to 0, where h is infinite. Source: Lu et al., arXiv:2211.01095, algorithm 2.
    """
    if now.before is None:
        return _toward(now.denoised, now)
    s_before, denoised_before = now.before
    ratio = math.log(s_before / now.s) / math.log(now.s / now.s_next)
    return _toward(now.denoised + (now.denoised - denoised_before) / (2 * ratio), now)


@_sampler
def ancestral(now: Step) -> Tensor:
    r"""DDPM: draw from :math:`q(y'|y, x_0 = D) = N((1 - \rho) y + \rho D, s'^2 \rho), \rho = 1 - s'^2/s^2`.

    Weak order 1, one evaluation a step, stochastic.
    Source: Ho, Jain, Abbeel, arXiv:2006.11239, eqs. 6 and 7, in (y, s).
    """
    share = _elapsed(now) / now.s**2
    return now.y * (1 - share) + now.denoised * share + now.noise() * (now.s_next * math.sqrt(share))


@_sampler
def euler_maruyama(now: Step) -> Tensor:
    r"""Euler-Maruyama: :math:`y' = y + \Delta (D - y)/s^2 + \sqrt\Delta z, \Delta = s^2 - s'^2`, the clock being s^2.

    Weak order 1, one evaluation a step, stochastic; the step to 0 adds no noise. The mean is that of :func:`ancestral`,
    the variance larger by :math:`s^2/s'^2`. Source: Song et al., arXiv:2011.13456, eq. 6.
    """
    elapsed = _elapsed(now)
    return now.y + (now.denoised - now.y) * (elapsed / now.s**2) + now.noise() * math.sqrt(elapsed)


def _elapsed(now: Step) -> float:
    """s^2 - s_next^2 without cancellation."""
    return (now.s - now.s_next) * (now.s + now.s_next)


SAMPLERS: dict[str, Sampler] = {
    "euler": euler,
    "ancestral": ancestral,
    "heun": heun,
    "dpmpp_2m": dpmpp_2m,
    "euler_maruyama": euler_maruyama,
}


def find_sampler(sampler: str | Sampler) -> Sampler:
    """The sampler of that name; a function passes through. ValueError for an unknown name."""
    if not isinstance(sampler, str):
        return sampler
    if sampler not in SAMPLERS:
        raise ValueError(f"unknown sampler {sampler!r}; choose one of {', '.join(SAMPLERS)}")
    return SAMPLERS[sampler]


def evaluations(sampler: str | Sampler, levels: Tensor) -> int:
    """Number of denoiser evaluations a sampler spends on the levels; a foreign function is taken to spend one each."""
    values = check_levels(levels)
    steps = len(values) - 1
    return 2 * steps - (values[-1] == 0) if find_sampler(sampler) is heun else steps


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
        progress: called as progress(done, total) after each evaluation of the denoiser on a block.
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
        progress(done, total)
        return denoised

    return evaluate
