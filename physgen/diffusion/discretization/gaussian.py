r"""What a solver makes of the Gaussian surrogate of a data set: the Gaussian law with the same mode variances P.

Its denoiser is linear, :math:`D = \frac{P}{P + s^2} y` mode by mode, so the variance of every mode of the samples is
known without drawing any: squared responses to the start and to each noise, summed. All sources of error are in it:
the start from :math:`N(0, s_{max}^2)` instead of :math:`N(0, P + s_{max}^2)`, the steps, and the end at
:math:`s_{min}`.

Shapes: K modes, G sets of noise levels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from physgen.diffusion.convention import Level
from physgen.diffusion.sampling.samplers import find_sampler
from physgen.diffusion.sampling.solver import Sampler, Solver

MODES, FINEST = 64, 0.25  # at least so many representative modes, at most so far apart in ln P


def representative(power: Tensor, modes: int = MODES) -> Tensor:
    """Values even in ln P from the least to the largest mode variance, float64 (K,); one value if they are equal.

    Raises:
        ValueError: no value, or a value that is not positive and finite.
    """
    values = torch.as_tensor(power).detach().double().cpu().flatten()
    if values.numel() == 0 or not bool(((values > 0) & (values < torch.inf)).all()):
        raise ValueError(
            f"mode variances must be positive and finite, got {_range(values)}: leave out modes without data"
        )
    low, high = float(values.min().log()), float(values.max().log())
    count = max(modes, int((high - low) / FINEST)) if high > low else 1
    return torch.exp(torch.linspace(low, high, count, dtype=torch.float64))


def _range(values: Tensor) -> str:
    return f"values from {float(values.min()):g} to {float(values.max()):g}" if values.numel() else "none"


def sampled_power(sampler: str | Sampler, levels: Tensor, power: Tensor) -> Tensor:
    """Exact variance of the modes of the samples.

    Args:
        sampler: name or :class:`Solver`.
        levels: one set (steps + 1,), or G of them (G, steps + 1); the last level 0.
        power: variances P (K,) of the modes.

    Returns:
        (K,) or (G, K), float64.

    Raises:
        ValueError: the sampler does not take given noise levels one by one, so that its law is not of this form.
    """
    solver = find_sampler(sampler)
    if not isinstance(solver, Solver):
        raise ValueError(f"{sampler!r} does not take given noise levels: no closed form, take a Solver")
    sets, power = torch.atleast_2d(levels.double()), power.double()
    columns: list[Level] = [sets[:, i, None] for i in range(sets.shape[1] - 1)]
    noises = solver.draws * len(columns)
    start = torch.zeros(1 + noises, len(sets), len(power), dtype=torch.float64)
    start[0] = columns[0]

    def evaluate(y: Tensor, s: Level) -> Tensor:
        return y * (power / (power + s * s))

    def noise(i: int) -> Tensor:
        kick = torch.zeros(1 + noises, 1, 1, dtype=torch.float64)
        kick[1 + i] = 1
        return kick

    variance = solver.integrate(evaluate, [*columns, 0.0], start, noise).square().sum(0)
    return variance if levels.ndim == 2 else variance[0]


def largest_error(sampler: str | Sampler, levels: Tensor, power: Tensor) -> Tensor:
    r"""Largest relative error :math:`\max_k |\Delta P/P|` over the modes, shape () or (G,)."""
    return (sampled_power(sampler, levels, power) / power.double() - 1).abs().amax(-1)
