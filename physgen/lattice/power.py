r"""Power of fields by shells of \|k\|, summed over the modes of a shell.

Single precision is transformed in single precision, after the mean is taken off, which would cost the other modes their
digits; sums are float64. Modes of equal \|k\| are added up mirror image by mirror image first: an eighth of them is
left in three dimensions, to be looked up in a table. Fields are shared out to threads; the sums do not depend on it.

Legend: B fields, \*grid = (n_1, ..., n_d) cells, N of them; \*rfft its half-spectrum; S shells.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from physgen.lattice.modes import multiplicity
from physgen.threads import shared_out

FFT_VALUES = 2**18  # values transformed at once: they stay in the cache


def power_by_shell(x: Tensor, shell: Tensor) -> Tensor:
    r"""Sum of :math:`|\tilde x_k|^2`, :math:`\tilde x_k = N^{-1/2}\sum_x x e^{-ikx}`, over each shell, (B, S) float64.

    Args:
        x: (B, \*grid) real, which may be mapped.
        shell: number of the shell of each mode, (\*rfft) int64; k = 0 is alone in 0, mirror images are in the same.
    """
    grid = tuple(x.shape[1:])
    place = shell[tuple(slice(n // 2 + 1) for n in grid)].reshape(-1)
    bins, weight = int(place.max()) + 1, multiplicity(grid).double()
    step = max(1, FFT_VALUES // math.prod(grid))

    sums = torch.empty(len(x), bins, dtype=torch.float64)

    def some(start: int) -> None:
        part = x[start : start + step].cpu()
        part = part if part.dtype in (torch.float32, torch.float64) else part.double()
        mean = part.flatten(1).mean(1, dtype=torch.float64)
        modes = torch.fft.rfftn(part - mean.to(part.dtype).view(-1, *[1] * len(grid)), dim=tuple(range(1, x.ndim)))
        power = modes.real.square().addcmul_(modes.imag, modes.imag)
        for axis, n in enumerate(grid[:-1], start=1):
            power = _folded(power, axis, n)
        power = (power.double() * weight).flatten(1)
        power[:, 0] = (mean * math.prod(grid)).square()
        rows = (place + bins * torch.arange(len(part))[:, None]).reshape(-1)
        found = torch.bincount(rows, power.reshape(-1), len(part) * bins) / math.prod(grid)
        # in place: a small result of its own would keep the large blocks, freed around it, from being used again
        sums[start : start + step] = found.view(-1, bins)

    shared_out(some, range(0, len(x), step))
    return sums


def _folded(power: Tensor, axis: int, n: int) -> Tensor:
    """Modes 0 ... n//2 along an axis, each with the power of its mirror image."""
    kept, images = power.narrow(axis, 0, n // 2 + 1).clone(), (n - 1) // 2
    kept.narrow(axis, 1, images).add_(power.narrow(axis, n - images, images).flip(axis))
    return kept
