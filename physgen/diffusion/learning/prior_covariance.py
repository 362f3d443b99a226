r"""The second moments of encoded vectors: what the spectrum is to a field on a lattice.

Shapes: B samples, C components, F label features.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

TINY = 1e-20


@dataclass(frozen=True)
class Vectors:
    """Encoded vectors x (B, C), float64."""

    x: Tensor


def principal_axes(x: Tensor) -> tuple[Tensor, Tensor]:
    r"""Axes (C, C), in columns, of :math:`\langle x x^T \rangle`, the largest first, and the power (B, C) along them.

    The second moments, means included, are drawn towards a multiple of the unit matrix by as much as their noise from B
    samples asks for (Ledoit and Wolf 2004, J. Multivar. Anal. 88, 365): no direction has zero power where there are
    fewer samples than components, and for many samples nothing changes.

    Args:
        x: (B, C), float64.
    """
    count, components = x.shape
    second = x.T @ x / count
    level = second.diagonal().mean()
    apart = (second - level * torch.eye(components, dtype=x.dtype)).square().sum()
    fourth = x.square().sum(1).square().mean()  # <|x|^4>, so that <|x x^T - S|^2> = <|x|^4> - |S|^2
    noise = (fourth - second.square().sum()) / count
    share = float((noise / apart.clamp(min=TINY)).clamp(0, 1))
    values, axes = torch.linalg.eigh(second)
    axes = axes.flip(1)
    largest = axes.gather(0, axes.abs().argmax(0, keepdim=True))
    axes = axes * torch.where(largest < 0, -1.0, 1.0)  # the sign of an axis is free: its largest entry is positive
    return axes, (1 - share) * (x @ axes).square() + share * level
