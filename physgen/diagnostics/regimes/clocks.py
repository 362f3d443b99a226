r"""Clocks of diffusion: what a configuration has become at a time, for values under noise and for binary ones.

- :data:`OU`: :math:`y = x_0 + s z` at the Ornstein-Uhlenbeck time t, :math:`s^2 = e^{2t} - 1`.
- :data:`FLIPS`: values +-1, each flipped with probability :math:`(1 - e^{-t})/2`, so that it keeps the correlation
  :math:`e^{-t}` with what it was: the uniform noise of discrete diffusion.
- :data:`REVEALED`: the fraction of sites that are known, chosen at random, the others being 0: masked diffusion, which
  runs from 0 to 1 when it generates. A fraction stands for a whole number of sites, :meth:`Clock.rounded`.

With one seed the numbers are the same at all times, sites that are known stay known: differences between times are
then measured better than the values themselves.

Legend: B configurations x0 (B, C, \*grid), N = C x grid sites.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from physgen.diagnostics.regimes.unit_means import level_of, times_of, uniform_noise, white_noise
from physgen.errors import InputError

PASSED = 4  # stream of random numbers


@dataclass(frozen=True)
class Clock:
    """What a time does to a configuration.

    Attributes:
        name: of the coordinate. long_name: in words. end: the largest time.
        corrupt: (x0, time, seed) -> configuration at that time.
        argument: time -> the number that a model is told: s, the correlation, or the known fraction.
        scale: times -> where interpolation is done.
        later_is_noisier: whether information decreases along the clock.
    """

    name: str
    long_name: str
    end: float
    corrupt: Callable[[Tensor, float, int], Tensor]
    argument: Callable[[float], float]
    scale: Callable[[np.ndarray], np.ndarray]
    later_is_noisier: bool

    def times(self, times: ArrayLike, sites: int) -> np.ndarray:
        """The times, checked, ascending; on the clock of known sites in whole sites."""
        found = np.sort(times_of(times))
        if found[-1] > self.end:
            raise InputError(f"the {self.long_name} is at most {self.end:g}, got {found[-1]:g}")
        if self.later_is_noisier:
            return found
        return np.unique(np.maximum(np.rint(found * sites), 1)) / sites

    def told(self, x0: Tensor, t: float) -> Tensor:
        """The argument of a model, (B,) float64."""
        return torch.full((len(x0),), self.argument(t), dtype=torch.float64, device=x0.device)


def _noised(x0: Tensor, t: float, seed: int) -> Tensor:
    return x0 + level_of(t) * white_noise(x0, seed, PASSED)


def _flipped(x0: Tensor, t: float, seed: int) -> Tensor:
    flips = uniform_noise(x0, seed, PASSED) < -0.5 * math.expm1(-t)
    return torch.where(flips, -x0, x0)


def _revealed(x0: Tensor, fraction: float, seed: int) -> Tensor:
    """Zero where a site is not known; each sample has an order of its own."""
    rank = uniform_noise(x0, seed, PASSED).flatten(1).argsort(1).argsort(1)
    known = rank < round(fraction * x0[0].numel())
    return torch.where(known.reshape(x0.shape), x0, torch.zeros_like(x0))


OU = Clock("t", "Ornstein-Uhlenbeck time", math.inf, _noised, level_of, lambda t: t, True)
FLIPS = Clock("t", "time of random flips", math.inf, _flipped, lambda t: math.exp(-t), lambda t: t, True)
REVEALED = Clock("revealed", "fraction of known sites", 1.0, _revealed, lambda f: f, np.log, False)
