"""Symmetries of an isotropic law on a periodic square or cube: translations and the lattice point group."""

from __future__ import annotations

from itertools import permutations

import torch


def random_symmetry(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    r"""Each sample moved by its own translation, reflections and permutation of axes (8 in 2-D, 48 in 3-D).

    Cells are only reordered, so sums over cells stay exact. Scalar fields only: vectors would change sign.

    Args:
        x: (B, C, \*grid), all sides of the grid equal.
        generator: CPU generator of the moves.
    """
    batch, dimension = len(x), x.ndim - 2
    side = x.shape[-1]
    orders = list(permutations(range(dimension)))
    order = torch.randint(len(orders), (batch,), generator=generator)
    shift = torch.randint(side, (batch, dimension), generator=generator)
    sign = 1 - 2 * torch.randint(2, (batch, dimension), generator=generator)
    cells = torch.arange(side)
    # index of the source cell along each axis: shift +- i, periodic
    source = ((sign[..., None] * cells + shift[..., None]) % side).to(x.device)
    moved = torch.empty_like(x)
    for number, axes in enumerate(orders):
        members = torch.nonzero(order == number).flatten().to(x.device)
        if len(members) == 0:
            continue
        selected = x[members].permute(0, 1, *(2 + axis for axis in axes))
        moved[members] = _gather_cells(selected, source[members])
    return moved


def _gather_cells(x: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
    # x (B, C, *grid), source (B, d, side): advanced indices on batch and grid, channel last, then back
    batch, dimension, side = source.shape
    index = [torch.arange(batch, device=x.device).view(-1, *[1] * dimension)]
    for axis in range(dimension):
        view = [batch, *[1] * dimension]
        view[1 + axis] = side
        index.append(source[:, axis].reshape(view))
    return x.movedim(1, -1)[tuple(index)].movedim(-1, 1)
