r"""Symmetries of the law p(s | J) of a spin model, applied to a sample and to its bonds alike.

Shapes: x (B, 1, \*grid); channels (B, 2d, \*grid), for each space dim the bond up, then the bond down.
Every map here leaves :math:`\sum_{\langle ij\rangle} J_{ij} s_i s_j` of each sample unchanged.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from physgen.domains.spins.couplings import open_axes
from physgen.lattice import Moves


def random_symmetry(
    x: torch.Tensor, condition: Mapping[str, torch.Tensor], generator: torch.Generator, *, gauged: bool, boundary: str
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """One random symmetry per sample, drawn from all that the model and its boundary have.

    Args:
        gauged: use the gauge group: right where the law of J is even. Else the global flip alone.
        boundary: shifts go along periodic dims; axes are exchanged where their boundaries and lengths are equal.
    """
    if "matrix" in condition:
        x, matrix = gauge_matrix(x, condition["matrix"], generator)
        return x, {**condition, "matrix": matrix}
    channels = condition["channels"]
    if gauged:
        x, channels = gauge(x, channels, generator)
    else:
        x = spin_flip(x, generator)
    moves = random_moves(len(x), tuple(x.shape[2:]), generator, boundary)
    return moves.move(x), {**condition, "channels": moves.move_bonds(channels)}


def spin_flip(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Turn all spins of a random half of the samples around: a symmetry without external field."""
    return x * _signs((x.shape[0],) + (1,) * (x.ndim - 1), generator).to(x)


def gauge(x: torch.Tensor, channels: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    r"""Random gauge :math:`s_i \to \epsilon_i s_i,\ J_{ij} \to \epsilon_i J_{ij} \epsilon_j`, one for each sample."""
    signs = _signs(x.shape, generator).to(x)
    turned = []
    for axis in range(x.ndim - 2):
        turned += [signs * torch.roll(signs, -1, axis + 2), signs * torch.roll(signs, 1, axis + 2)]
    return x * signs, channels * torch.cat(turned, dim=1)


def random_moves(batch: int, grid: tuple[int, ...], generator: torch.Generator, boundary: str) -> Moves:
    """Shifts along periodic dims, reflections, and exchanges of dims of equal length and boundary, one of each sample.

    An open dim is not shifted and keeps its seam of zero bonds at the end. The numbers are drawn dim by dim, then for
    each pair of dims: the runs of a seed depend on this order.
    """
    dimension, device = len(grid), generator.device
    open_dims = open_axes(dimension, boundary)
    shift = torch.zeros(batch, dimension, dtype=torch.long, device=device)
    mirrored = torch.zeros(batch, dimension, dtype=torch.bool, device=device)
    for axis, side in enumerate(grid):
        if axis not in open_dims:
            shift[:, axis] = torch.randint(side, (batch,), generator=generator, device=device)
        mirrored[:, axis] = _signs((batch,), generator) > 0
    # sites move up by the number drawn where a dim is reflected, down where not
    shift = torch.where(mirrored, shift, -shift)
    order = torch.arange(dimension, device=device).expand(batch, dimension).clone()
    for a in range(dimension):
        for b in range(a + 1, dimension):
            if (a in open_dims) == (b in open_dims) and grid[a] == grid[b]:
                exchanged = _signs((batch,), generator) > 0
                order[:, [a, b]] = torch.where(exchanged[:, None], order[:, [b, a]], order[:, [a, b]])
    # the dims are exchanged last, a move exchanges them first: its reflections and shifts are those of the new dims
    return Moves(order, mirrored.gather(1, order), shift.gather(1, order))


def gauge_matrix(
    x: torch.Tensor, matrix: torch.Tensor, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """The gauge transformation of a general graph: x (B, 1, N), matrix (B, N, N)."""
    signs = _signs(x.shape, generator).to(x)
    return x * signs, matrix * signs * signs.transpose(1, 2)


def _signs(shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    return 2 * torch.randint(2, shape, generator=generator, device=generator.device) - 1
