r"""The second moments of encoded vectors: what the spectrum is to a field on a lattice.

Shapes: B samples, C components.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

FLOOR = 1e-6  # least power, in units of the mean one
FOLDS, FEW_FOLDS, LARGE = 10, 3, 512  # so many folds, and above so many components


@dataclass(frozen=True)
class Vectors:
    """Encoded vectors x (B, C), float64."""

    x: Tensor


def principal_axes(x: Tensor) -> tuple[Tensor, Tensor]:
    r"""Axes (C, C), in columns, of :math:`\langle x x^T \rangle`, the largest first, and the power (B, C) along them.

    Along an axis that was fitted to them the samples have too much power where it is large, and too little where it is
    small: none at all beyond the B-th. The mean power is therefore that of a tenth of the samples along the axes of the
    others, averaged over ten such parts and made to decrease: cross-validated eigenvalues, which tend to the best that
    these axes allow (Lamrani, Bongiorno, Potters, arXiv:2503.15186). For many samples it is the eigenvalue.

    Args:
        x: (B, C), float64; second moments, means included.
    """
    values, axes = _axes(x)
    largest = axes.gather(0, axes.abs().argmax(0, keepdim=True))
    axes = axes * torch.where(largest < 0, -1.0, 1.0)  # the sign of an axis is free: its largest entry is positive
    mean = _decreasing(_cross_validated(x) if len(x) > 1 else values)
    mean = mean.clamp(min=FLOOR * float(mean.mean()))
    own = (x @ axes).square()
    share = own.mean(0)
    resolved = share > FLOOR * share.mean()
    return axes, torch.where(resolved, own * (mean / torch.where(resolved, share, 1.0)), mean)


def _axes(x: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues (C,), decreasing, and eigenvectors (C, C) in columns, of <x x^T>."""
    values, axes = torch.linalg.eigh(x.T @ x / len(x))
    return values.flip(0), axes.flip(1)


def _cross_validated(x: Tensor) -> Tensor:
    """Mean square (C,) of the samples of a part along the axes of the others; each sample is once in a part."""
    folds = min(FOLDS if x.shape[1] <= LARGE else FEW_FOLDS, len(x))
    part = torch.arange(len(x)) % folds
    found = [(x[part == k] @ _axes(x[part != k])[1]).square().sum(0) for k in range(folds)]
    return torch.stack(found).sum(0) / len(x)


def _decreasing(values: Tensor) -> Tensor:
    """The nearest decreasing sequence, in least squares: neighbours in the wrong order take their mean."""
    blocks: list[tuple[float, int]] = []
    for value in values.tolist():
        mean, size = value, 1
        while blocks and blocks[-1][0] < mean:
            other, count = blocks.pop()
            mean, size = (mean * size + other * count) / (size + count), size + count
        blocks.append((mean, size))
    return torch.tensor([mean for mean, size in blocks for _ in range(size)], dtype=values.dtype)
