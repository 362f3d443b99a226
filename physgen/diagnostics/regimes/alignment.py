"""A configuration moved onto another one by the symmetries of the lattice, to look at both side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from physgen.lattice import Symmetry, point_group


def aligned(x: Tensor, target: Tensor, group: str = "point", spacing: Sequence[float] | None = None) -> Tensor:
    r"""The image of x under translations, and the point group, that correlates most with the target.

    Args:
        x, target: (1, C, \*grid), periodic; components are summed.
        group, spacing: as in :func:`physgen.diagnostics.nearest.nearest_field`.
    """
    grid, dims = tuple(x.shape[2:]), tuple(range(2, x.ndim))
    best, value = x, -math.inf
    for move in point_group(grid, spacing) if group == "point" else (Symmetry(),):
        image = move.move(x)
        product = torch.fft.fftn(target, dim=dims) * torch.fft.fftn(image, dim=dims).conj()
        correlation = torch.fft.ifftn(product, dim=dims).real.sum(1)[0]
        if float(correlation.max()) > value:
            value = float(correlation.max())
            shift = np.unravel_index(int(correlation.argmax()), grid)
            best = torch.roll(image, [int(i) for i in shift], dims)
    return best
