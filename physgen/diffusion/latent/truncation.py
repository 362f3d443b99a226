r"""The linear autoencoder of fields: Fourier modes below a cut, on the coarser lattice that just holds them.

Of a stationary Gaussian field whose power falls with \|k\| no linear map to as many numbers keeps more, but for the
corners between a sphere and the cube of modes that a lattice holds.

Shapes: B batch, C components, \*grid lattice, f factor; n = N/f sites along a coarse axis of N fine ones.
"""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor


@functools.lru_cache(maxsize=32)
def _kernel(size: int, factor: int) -> Tensor:
    r"""(n, N) float64: :math:`D_{ji} = \frac1N \sum_{|m| < n/2} e^{2\pi i m (f j - i)/N}`."""
    coarse = size // factor
    angle = torch.arange(coarse, dtype=torch.float64)[:, None] * factor - torch.arange(size, dtype=torch.float64)
    modes = torch.arange(1, (coarse + 1) // 2, dtype=torch.float64)
    waves = torch.cos(2 * math.pi * (modes[:, None, None] * angle % size) / size)
    return (1 + 2 * waves.sum(0)) / size


def _along(x: Tensor, kernels: list[Tensor]) -> Tensor:
    for axis, kernel in enumerate(kernels, start=2):
        x = torch.tensordot(x, kernel.to(x), dims=([axis], [1])).movedim(-1, axis)
    return x


def truncated(x: Tensor, factor: int) -> Tensor:
    r"""Values at every ``factor``-th site of the part of x with \|k_i\| below the coarse Nyquist wavenumber.

    (B, C, \*grid) -> (B, C, \*grid/f). The coarse Nyquist modes themselves, of which a lattice holds cosines alone, are
    left out; so it commutes with shifts by f sites. :func:`interpolated` gives that part of x back exactly.

    Raises:
        ValueError: a grid that the factor does not divide.
    """
    if factor < 1 or any(size % factor for size in x.shape[2:]):
        raise ValueError(f"every grid size must be divisible by the factor {factor}, got {tuple(x.shape[2:])}")
    return _along(x, [_kernel(size, factor) for size in x.shape[2:]])


def interpolated(z: Tensor, factor: int) -> Tensor:
    r"""The field without modes beyond the coarse Nyquist that has the values z: (B, C, \*grid/f) -> (B, C, \*grid)."""
    return _along(z, [factor * _kernel(size * factor, factor).T for size in z.shape[2:]])
