r"""Log-likelihood from denoising errors alone: no gradients, and noise that many conditions share.

For an exact denoiser of a law p, at a fixed configuration x,

.. math:: E_z \ln p_{s_{min}}(x + s_{min} z) = -\tfrac d2 \ln(2 \pi e\, s_{min}^2)
          - KL\big(N(x, s_{max}^2)\,\|\,p_{s_{max}}\big)
          - \int_{\ln s_{min}}^{\ln s_{max}} \frac{E_z |x - D(x + s z, s)|^2}{s^2}\, d\ln s ,

the mean over the noise of what :mod:`physgen.diffusion.inference.likelihood` finds by the probability flow. For a
denoiser that is not the exact one of any law the right-hand side is a lower bound of the variational kind: the ln p of
the stochastic sampler is at least this. Of a denoiser that knows its linear part W, the Wiener filter of a spectrum P
(``FieldDenoiser``), the bound of W is known in closed form, and only :math:`|x - D|^2 - |x - W|^2` is drawn: nothing is
drawn of a Gaussian field.

Sources: Kingma et al., arXiv:2107.00630, eq. 17 (continuous time); Guo, Shamai, Verdu 2005 and Kong, Brekelmans, Ver
Steeg, arXiv:2302.03792 (equality at each x); Mudur, Cuesta-Lazaro, Finkbeiner, arXiv:2405.05255 (labels from it).

Shapes: N rows, B batch, C channels, \*grid lattice, d = C x grid, R draws.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from physgen.diffusion.convention import Condition, Denoiser, in_dtype
from physgen.diffusion.exact.law import LOG_2PI
from physgen.diffusion.noise import Stream, noise_like
from physgen.diffusion.recording import recorded
from physgen.diffusion.sampling.tiles import check_condition, tile_of

FEWEST_VALUES = 2**14  # in one call of the denoiser: small configurations are many


@dataclass(frozen=True)
class BoundSettings:
    """How :func:`denoising_bound` draws.

    Args:
        draws: R, independent estimates, from whose scatter the error comes: one has none.
        strata: noise levels of each: one at random in each of so many equal intervals of ln s.
        seed: of levels and noise.
        dtype: what the denoiser sees.
    """

    draws: int = 4
    strata: int = 16
    seed: int = 0
    dtype: torch.dtype = torch.float32

    def __post_init__(self) -> None:
        if self.draws < 1 or self.strata < 1:
            raise ValueError(f"a bound needs draws >= 1 and strata >= 1, got {self.draws} and {self.strata}")


@torch.no_grad()
def denoising_bound(
    denoiser: Denoiser,
    noise_range: tuple[float, float],
    x: Tensor,
    condition: Condition = None,
    streams: Sequence[int] | None = None,
    settings: BoundSettings | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    r"""Estimates (R, N), float64, of the right-hand side above, in nats; their mean is unbiased.

    Args:
        denoiser: D(y, s, condition). noise_range: (s_min, s_max).
        x: (N, C, \*grid), without noise. condition: tensors that lead with N.
        streams: N numbers of noise streams; rows of one number share levels and noise, so that what differs between
            their conditions is precise. None: the position.
        settings: how to draw; None for the defaults.
        progress: called as progress(done, total) with rows.
    """
    plan, (s_min, s_max) = settings or BoundSettings(), noise_range
    if not 0 < s_min < s_max:
        raise ValueError(f"a range of noise levels needs 0 < s_min < s_max, got {s_min} and {s_max}")
    check_condition(condition, len(x))
    numbers = torch.arange(len(x)) if streams is None else torch.as_tensor(list(streams))
    if len(numbers) != len(x):
        raise ValueError(f"streams must name one stream for each of the {len(x)} rows, got {len(numbers)}")
    levels, width = _levels(plan, s_min, s_max)
    call = recorded(denoiser, x.device)
    found = torch.empty(plan.draws, len(x), dtype=torch.float64)
    size = max(tile_of(tuple(x.shape[1:]), x.device.type), FEWEST_VALUES // x[0].numel())
    for first in range(0, len(x), size):
        rows = slice(first, first + size)
        given = in_dtype(condition and {name: value[rows] for name, value in condition.items()}, plan.dtype)
        block = _Block((denoiser, call), x[rows].to(plan.dtype), given, numbers[rows].to(x.device), plan.seed)
        start = block.known(s_min, s_max)
        for draw, row in enumerate(levels):
            drawn = sum(block.excess(float(s), draw * plan.strata + i) for i, s in enumerate(row))
            found[draw, rows] = (start - width * drawn).cpu()
        if progress is not None:
            progress(min(first + size, len(x)), len(x))
    return found


def _levels(plan: BoundSettings, s_min: float, s_max: float) -> tuple[Tensor, float]:
    """Noise levels (R, strata), one in each stratum, the same for every row, and the width of a stratum in ln s."""
    width = math.log(s_max / s_min) / plan.strata
    place = Stream(plan.seed, "bound levels").uniform(range(plan.draws), (plan.strata,)).double().cpu()
    return s_min * torch.exp(width * (torch.arange(plan.strata) + place)), width


class _Block:
    """Rows that are computed together."""

    def __init__(
        self, denoiser: tuple[Any, Denoiser], x: Tensor, condition: Condition, numbers: Tensor, seed: int
    ) -> None:
        self.denoiser, self.call = denoiser  # itself, and as it is called: on a GPU it may be a recording
        self.x, self.condition = x, condition
        self.numbers, self.seed = numbers, seed
        self.linear = hasattr(self.denoiser, "surrogate_log_density")

    def known(self, s_min: float, s_max: float) -> Tensor:
        """What needs no draw (B,): the bound of the linear part, or the entropy of the noise less the prior's KL."""
        if self.linear:
            return self.denoiser.surrogate_log_density(self.x, self._level(s_min), self.condition).double()
        square = self.x.double().square().flatten(1).sum(1)
        return -0.5 * self.x[0].numel() * (LOG_2PI + 1 + 2 * math.log(s_min)) - 0.5 * square / s_max**2

    def excess(self, s: float, step: int) -> Tensor:
        """The integrand (B,) at one level, less that of the linear part where it is known."""
        shape = tuple(self.x.shape[1:])
        z = noise_like(self.seed, "bound noise", self.numbers, shape, step, self.x.dtype, self.x.device)
        y, level = self.x + s * z, self._level(s)
        guess = self.call(y, level, self.condition).to(y.dtype)
        if not self.linear:
            return (self.x - guess).double().square().flatten(1).sum(1) / s**2
        filtered = self.denoiser.baseline(y, level, self.condition).to(y.dtype)
        more = (guess - filtered).double()
        return (more * (more - 2 * (self.x - filtered).double())).flatten(1).sum(1) / s**2

    def _level(self, s: float) -> Tensor:
        return torch.full((len(self.x),), s, dtype=self.x.dtype, device=self.x.device)
