"""Symmetries of an isotropic law in a box: translations of a periodic one, reflections, exchange of equal axes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

import torch


def equal_axes(grid: Sequence[int], cell_size: Sequence[float] | None = None) -> list[tuple[int, ...]]:
    """Orders of the axes that leave the box as it is: those that exchange axes of equal cells and equal lengths."""
    sizes = cell_size or [1.0] * len(grid)

    def same(i: int, j: int) -> bool:
        return grid[i] == grid[j] and abs(sizes[i] - sizes[j]) <= 1e-6 * abs(sizes[j])

    return [order for order in permutations(range(len(grid))) if all(same(i, j) for i, j in enumerate(order))]


def random_symmetry(
    x: torch.Tensor,
    generator: torch.Generator,
    cell_size: Sequence[float] | None = None,
    periodic: bool = True,
) -> torch.Tensor:
    r"""Each sample moved by its own symmetry of the box: 8 point operations in a square, 48 in a cube.

    A box of unequal sides, or of unequal cells, has fewer (4 in a rectangle); one that is not periodic is not
    translated. Cells are only reordered, so sums over cells stay exact. Scalar fields only: vectors would change sign.

    Args:
        x: (B, C, \*grid). generator: CPU generator of the moves.
        cell_size: of each axis; None where they are equal.
        periodic: whether opposite sides touch.
    """
    batch, grid = len(x), tuple(x.shape[2:])
    dimension = len(grid)
    orders = equal_axes(grid, cell_size)
    order = torch.randint(len(orders), (batch,), generator=generator)
    shift = _shifts(batch, grid, generator) if periodic else None
    sign = 1 - 2 * torch.randint(2, (batch, dimension), generator=generator)
    source = []
    for axis, side in enumerate(grid):
        # index of the source cell: shift +- i, periodic; without translations the last cell becomes the first
        start = (sign[:, axis] < 0).long() * (side - 1) if shift is None else shift[:, axis]
        source.append(((sign[:, axis, None] * torch.arange(side) + start[:, None]) % side).to(x.device))
    moved = torch.empty_like(x)
    for number, axes in enumerate(orders):
        members = torch.nonzero(order == number).flatten().to(x.device)
        if len(members) == 0:
            continue
        selected = x[members].permute(0, 1, *(2 + axis for axis in axes))
        moved[members] = _gather_cells(selected, [index[members] for index in source])
    return moved


def _shifts(batch: int, grid: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    if len(set(grid)) == 1:
        return torch.randint(grid[0], (batch, len(grid)), generator=generator)
    return torch.stack([torch.randint(side, (batch,), generator=generator) for side in grid], dim=1)


def _gather_cells(x: torch.Tensor, source: list[torch.Tensor]) -> torch.Tensor:
    # x (B, C, *grid), source (B, side) of each axis: advanced indices on batch and grid, channel last, then back
    batch, dimension = len(x), len(source)
    index = [torch.arange(batch, device=x.device).view(-1, *[1] * dimension)]
    for axis, cells in enumerate(source):
        view = [batch, *[1] * dimension]
        view[1 + axis] = cells.shape[1]
        index.append(cells.reshape(view))
    return x.movedim(1, -1)[tuple(index)].movedim(-1, 1)
