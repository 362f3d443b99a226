"""Fourier transforms of fields whose digits do not depend on what else is transformed with them.

torch's are those of MKL, 1.4 to 1.6 times as fast (64^2 to 512^2, one thread of the machine below). On some machines
(AMD EPYC, MKL 2024.2) they round a field in another way alone than in a batch, whatever ``MKL_CBWR`` says: a number of
a configuration would then depend on its company. There scipy's take their place. Which it is is found out once in a
process, on fields of a few sizes.

Precision as it comes in; ``norm`` as of numpy.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import scipy.fft
import torch

PROBES = ((32, 32), (64, 64), (48, 80), (27, 25), (16, 12, 18), (20,))  # grids on which the company is tried


@cache
def torch_is_steady() -> bool:
    """Whether torch transforms a field to the same bits alone and in a batch, on this machine."""
    for grid in PROBES:
        fields = torch.linspace(0.1, 1.7, 5 * int(np.prod(grid))).cos().reshape(5, *grid)
        axes = tuple(range(1, len(grid) + 1))
        for dtype in (torch.float32, torch.float64):
            x = fields.to(dtype)
            modes = torch.fft.rfftn(x, dim=axes)
            apart = torch.cat([torch.fft.rfftn(one[None].clone(), dim=axes) for one in x])
            if not torch.equal(modes, apart):
                return False
    return True


def rfftn(x: torch.Tensor, axes: Sequence[int], norm: str | None = None) -> torch.Tensor:
    """Transform of real tensors along ``axes``, the last of them halved."""
    if x.device.type != "cpu" or torch_is_steady():
        return torch.fft.rfftn(x, dim=tuple(axes), norm=norm)
    return torch.from_numpy(scipy.fft.rfftn(x.numpy(), axes=tuple(axes), norm=norm))


def irfftn(modes: torch.Tensor, grid: Sequence[int], axes: Sequence[int]) -> torch.Tensor:
    """Back from half of the modes to real tensors whose sizes along ``axes`` are ``grid``."""
    if modes.device.type != "cpu" or torch_is_steady():
        return torch.fft.irfftn(modes, s=tuple(grid), dim=tuple(axes))
    return torch.from_numpy(scipy.fft.irfftn(modes.numpy(), s=tuple(grid), axes=tuple(axes)))


def ifftn(modes: torch.Tensor, axes: Sequence[int], norm: str | None = None) -> torch.Tensor:
    """Back from all modes, complex."""
    if modes.device.type != "cpu" or torch_is_steady():
        return torch.fft.ifftn(modes, dim=tuple(axes), norm=norm)
    return torch.from_numpy(scipy.fft.ifftn(modes.numpy(), axes=tuple(axes), norm=norm))


def fft(x: torch.Tensor, axis: int) -> torch.Tensor:
    """Transform of complex tensors along one axis."""
    if x.device.type != "cpu" or torch_is_steady():
        return torch.fft.fft(x, dim=axis)
    return torch.from_numpy(scipy.fft.fft(x.numpy(), axis=axis))
