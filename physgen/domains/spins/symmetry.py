r"""Symmetries of the law p(s | J) of a spin model, applied to a sample and to its bonds alike.

Shapes: x (B, 1, \*grid); channels (B, 2d, \*grid), for each space dim the bond up, then the bond down.
Every map here leaves :math:`\sum_{\langle ij\rangle} J_{ij} s_i s_j` of each sample unchanged.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import torch

from physgen.domains.spins.couplings import open_axes
from physgen.lattice import Draws, Moves, whole_numbers


def random_symmetry(
    x: torch.Tensor, condition: Mapping[str, torch.Tensor], draws: Draws, *, gauged: bool, boundary: str
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """One random symmetry per sample, drawn from all that the model and its boundary have.

    Args:
        gauged: use the gauge group: right where the law of J is even. Else the global flip alone.
        boundary: shifts go along periodic dims; axes are exchanged where their boundaries and lengths are equal.
    """
    if "matrix" in condition:
        x, matrix = gauge_matrix(x, condition["matrix"], draws)
        return x, {**condition, "matrix": matrix}
    channels = condition["channels"]
    if gauged:
        x, channels = gauge(x, channels, draws)
    else:
        x = spin_flip(x, draws)
    moves = random_moves(tuple(x.shape[2:]), draws, boundary)
    return moves.move(x), {**condition, "channels": moves.move_bonds(channels)}


def spin_flip(x: torch.Tensor, draws: Draws) -> torch.Tensor:
    """Turn all spins of a random half of the samples around: a symmetry without external field."""
    return x * _signs((1,) * (x.ndim - 1), draws).to(x)


def gauge(x: torch.Tensor, channels: torch.Tensor, draws: Draws) -> tuple[torch.Tensor, torch.Tensor]:
    r"""Random gauge :math:`s_i \to \epsilon_i s_i,\ J_{ij} \to \epsilon_i J_{ij} \epsilon_j`, one for each sample."""
    signs = _signs(x.shape[1:], draws).to(x)
    turned = []
    for axis in range(x.ndim - 2):
        turned += [signs * torch.roll(signs, -1, axis + 2), signs * torch.roll(signs, 1, axis + 2)]
    return x * signs, channels * torch.cat(turned, dim=1)


def random_moves(grid: tuple[int, ...], draws: Draws, boundary: str) -> Moves:
    """Shifts along periodic dims, reflections, and exchanges of dims of equal length and boundary, one of each sample.

    An open dim is not shifted and keeps its seam of zero bonds at the end.
    """
    dimension, open_dims = len(grid), open_axes(len(grid), boundary)
    pairs = [
        (a, b)
        for a, b in itertools.combinations(range(dimension), 2)
        if (a in open_dims) == (b in open_dims) and grid[a] == grid[b]
    ]
    sides = [1 if axis in open_dims else side for axis, side in enumerate(grid)]
    numbers = whole_numbers(draws, [*sides, *[2] * (dimension + len(pairs))])
    mirrored = torch.stack(numbers[dimension : 2 * dimension], dim=1).bool()
    # sites move up by the number drawn where a dim is reflected, down where not
    shift = torch.stack(numbers[:dimension], dim=1) * torch.where(mirrored, 1, -1)
    columns = [torch.full_like(numbers[0], axis) for axis in range(dimension)]
    for (a, b), exchanged in zip(pairs, numbers[2 * dimension :], strict=True):
        first, second = columns[a], columns[b]
        columns[a], columns[b] = (torch.where(exchanged > 0, *both) for both in ((second, first), (first, second)))
    order = torch.stack(columns, dim=1)
    # the dims are exchanged last, a move exchanges them first: its reflections and shifts are those of the new dims
    return Moves(order, mirrored.gather(1, order), shift.gather(1, order))


def gauge_matrix(x: torch.Tensor, matrix: torch.Tensor, draws: Draws) -> tuple[torch.Tensor, torch.Tensor]:
    """The gauge transformation of a general graph: x (B, 1, N), matrix (B, N, N)."""
    signs = _signs(x.shape[1:], draws).to(x)
    return x * signs, matrix * signs * signs.transpose(1, 2)


def _signs(shape: Sequence[int], draws: Draws) -> torch.Tensor:
    r"""Random signs (B, \*shape)."""
    return 2 * draws.integers(2, shape) - 1
