r"""Symmetries of the law p(s | J, h) of a spin model, applied to a sample, to its bonds and its external field alike.

Shapes: x (B, 1, \*grid); channels (B, 2d, \*grid), for each space dim the bond up, then the bond down, or on graphs
matrix (B, N, N), or edges (B, M, 2) and bonds (B, M); field (B, 1, \*grid) where there is one. Every map here leaves
:math:`\sum_{\langle ij\rangle} J_{ij} s_i s_j + \sum_i h_i s_i` of each sample unchanged: what turns a spin turns its
field.
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
        gauged: use the gauge group: right where the law of J is even. Else the global flip alone, of spins and field.
        boundary: shifts go along periodic dims; axes are exchanged where their boundaries and lengths are equal.
    """
    whole = gauged or "channels" not in condition
    signs = _signs(x.shape[1:] if whole else (1,) * (x.ndim - 1), draws).to(x)
    x, given = x * signs, dict(condition)
    if "field" in condition:
        given["field"] = condition["field"] * signs
    if "matrix" in condition:
        return x, given | {"matrix": condition["matrix"] * signs * signs.transpose(1, 2)}
    if "edges" in condition:
        first, second = (signs[:, 0].gather(1, ends.long()) for ends in condition["edges"].unbind(-1))
        return x, given | {"bonds": condition["bonds"] * first * second}
    if whole:
        given["channels"] = turned_bonds(condition["channels"], signs)
    moves = random_moves(tuple(x.shape[2:]), draws, boundary)
    given["channels"] = moves.move_bonds(given["channels"])
    if "field" in given:
        given["field"] = moves.move(given["field"])
    return moves.move(x), given


def turned_bonds(channels: torch.Tensor, signs: torch.Tensor) -> torch.Tensor:
    r"""Bonds in another gauge, :math:`J_{ij} \to \epsilon_i J_{ij} \epsilon_j`: channels, and signs (B, 1, \*grid)."""
    found = []
    for axis in range(2, signs.ndim):
        found += [signs * torch.roll(signs, -1, axis), signs * torch.roll(signs, 1, axis)]
    return channels * torch.cat(found, dim=1)


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


def _signs(shape: Sequence[int], draws: Draws) -> torch.Tensor:
    r"""Random signs (B, \*shape)."""
    return 2 * draws.integers(2, shape) - 1
