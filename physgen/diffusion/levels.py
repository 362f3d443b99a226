r"""Noise levels of samplers: float64 tensors on the CPU, descending, the last one 0. No schedule, no solver.

``steps`` levels above 0 cost ``steps`` evaluations of a one-evaluation solver. Read as times of a schedule:
``sde.t_of_s(levels)``. Range: starting from :math:`s_{max} z` misses the signal, a relative error about
:math:`-P/s_{max}^2` in the variance of a mode of variance P; stopping at :math:`s_{min}` gives :math:`P^2/(P +
s_{min}^2)`, so about :math:`-s_{min}^2/P`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def log_uniform(s_max: float, s_min: float, steps: int) -> Tensor:
    r"""Uniform in log s: :math:`s_i = s_{max} (s_{min}/s_{max})^{i/(steps-1)}, s_{steps} = 0`; shape (steps + 1,).

    Args:
        s_max: first level, well above the standard deviation of the largest mode.
        s_min: last level above 0, well below the standard deviation of the smallest mode.
        steps: number of levels above 0, at least 2.
    """
    _check(s_max, s_min, steps)
    ramp = torch.linspace(0, 1, steps, dtype=torch.float64)
    return _close(torch.exp(math.log(s_max) + ramp * (math.log(s_min) - math.log(s_max))), s_max, s_min)


def karras(s_max: float, s_min: float, steps: int, rho: float = 7.0) -> Tensor:
    r"""Levels :math:`s_i = (s_{max}^{1/\rho} + \frac{i}{steps-1}(s_{min}^{1/\rho} - s_{max}^{1/\rho}))^\rho,
    s_{steps} = 0`.

    rho to infinity is :func:`log_uniform`, which spends the steps better on broad spectra. Arguments as there.
    Source: Karras et al., arXiv:2206.00364, eq. 5.
    """
    _check(s_max, s_min, steps)
    if not rho > 0:
        raise ValueError(f"rho must be positive, got {rho}; 7 is Karras' choice")
    ramp = torch.linspace(0, 1, steps, dtype=torch.float64)
    first, last = s_max ** (1 / rho), s_min ** (1 / rho)
    return _close((first + ramp * (last - first)) ** rho, s_max, s_min)


def check_levels(levels: Tensor) -> list[float]:
    """The levels as Python floats (float64), after the check that they descend strictly to a last one >= 0.

    Raises:
        ValueError: not one-dimensional, fewer than two levels, not strictly descending, negative, infinite or NaN.
    """
    values = torch.as_tensor(levels, dtype=torch.float64).tolist()
    if not isinstance(values, list) or len(values) < 2 or isinstance(values[0], list):
        raise ValueError(f"noise levels must be one-dimensional and at least two, got shape {tuple(levels.shape)}")
    descending = all(a > b for a, b in zip(values, values[1:], strict=False))
    if not (descending and values[-1] >= 0 and math.isfinite(values[0])):
        raise ValueError(
            f"noise levels must be finite and descend strictly to a last one >= 0, got {values}; log_uniform and "
            "karras make such levels"
        )
    return values


def levels_from(levels: Tensor, s: float) -> Tensor:
    r"""The levels for a start at the level s: s itself, then those of ``levels`` below it; higher ones are dropped.

    Args:
        levels: (steps + 1,), descending, as :func:`check_levels` wants them.
        s: above the last level and at most the first one; need not be one of them.

    Raises:
        ValueError: s outside this range: from above the first level the first step would be of any size.

    Example:
        ``levels_from(tensor([8, 4, 2, 1, 0]), 3.0)`` is ``[3, 2, 1, 0]``.
    """
    values = check_levels(levels)
    if not values[-1] < s <= values[0]:
        raise ValueError(
            f"a start lies within the noise levels, {values[-1]:g} < s <= {values[0]:g}, got s = {s:g}; give levels "
            "that begin at s or above"
        )
    return torch.tensor([s, *(level for level in values if level < s)], dtype=torch.float64)


def _check(s_max: float, s_min: float, steps: int) -> None:
    if not (0 < s_min < s_max < math.inf):
        raise ValueError(f"noise levels need 0 < s_min < s_max < infinity, got s_min = {s_min}, s_max = {s_max}")
    if int(steps) != steps or steps < 2:
        raise ValueError(f"noise levels need a whole number of at least 2 steps, got {steps}")


def _close(levels: Tensor, s_max: float, s_min: float) -> Tensor:
    levels[0], levels[-1] = s_max, s_min  # exact ends, so that equal arguments give equal levels in any formula
    return torch.cat([levels, levels.new_zeros(1)])
