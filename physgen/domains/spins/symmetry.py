r"""Symmetries of the law p(s | J) of a lattice spin model, applied to a sample and to its bonds alike.

Shapes: x (B, 1, \*grid); channels (B, 2d, \*grid), for each space dim the bond up, then the bond down.
Every map here leaves :math:`\sum_{\langle ij\rangle} J_{ij} s_i s_j` of each sample unchanged.
"""

from __future__ import annotations

import torch

from physgen.domains.spins.couplings import open_axes


def random_symmetry(
    x: torch.Tensor, condition: dict[str, torch.Tensor], generator: torch.Generator, *, gauged: bool, boundary: str
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
    dimension = x.ndim - 2
    open_dims = open_axes(dimension, boundary)
    if gauged:
        x, channels = gauge(x, channels, generator)
    else:
        x = spin_flip(x, generator)
    for axis in range(dimension):
        if axis not in open_dims:
            x, channels = roll(x, channels, axis, generator)
        x, channels = reflect(x, channels, axis, generator)
    for a in range(dimension):
        for b in range(a + 1, dimension):
            if (a in open_dims) == (b in open_dims) and x.shape[a + 2] == x.shape[b + 2]:
                x, channels = transpose(x, channels, (a, b), generator)
    return x, {**condition, "channels": channels}


def spin_flip(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Turn all spins of a random half of the samples around: a symmetry without external field."""
    return x * _signs((x.shape[0],) + (1,) * (x.ndim - 1), x, generator)


def gauge(x: torch.Tensor, channels: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    r"""Random gauge :math:`s_i \to \epsilon_i s_i,\ J_{ij} \to \epsilon_i J_{ij} \epsilon_j`, one for each sample."""
    signs = _signs(x.shape, x, generator)
    turned = []
    for axis in range(x.ndim - 2):
        turned += [signs * torch.roll(signs, -1, axis + 2), signs * torch.roll(signs, 1, axis + 2)]
    return x * signs, channels * torch.cat(turned, dim=1)


def roll(
    x: torch.Tensor, channels: torch.Tensor, axis: int, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Shift each sample by its own random number of sites along a space dim; a seam of zero bonds travels along."""
    length = x.shape[axis + 2]
    shift = torch.randint(length, (x.shape[0], 1), generator=generator, device=generator.device).to(x.device)
    place = (torch.arange(length, device=x.device) + shift) % length
    place = place.reshape(x.shape[0], *(length if d == axis + 2 else 1 for d in range(1, x.ndim)))
    return x.gather(axis + 2, place.expand_as(x)), channels.gather(axis + 2, place.expand_as(channels))


def reflect(
    x: torch.Tensor, channels: torch.Tensor, axis: int, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mirror a random half of the samples along a space dim: what was the bond up becomes the bond down."""
    order = list(range(channels.shape[1]))
    order[2 * axis], order[2 * axis + 1] = order[2 * axis + 1], order[2 * axis]
    chosen = _signs((x.shape[0],) + (1,) * (x.ndim - 1), x, generator) > 0
    mirrored = channels[:, order].flip(axis + 2)
    return torch.where(chosen, x.flip(axis + 2), x), torch.where(chosen, mirrored, channels)


def transpose(
    x: torch.Tensor, channels: torch.Tensor, axes: tuple[int, int], generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Exchange two space dims of equal length, with their bonds, in a random half of the samples."""
    a, b = axes
    order = list(range(channels.shape[1]))
    order[2 * a : 2 * a + 2], order[2 * b : 2 * b + 2] = order[2 * b : 2 * b + 2], order[2 * a : 2 * a + 2]
    chosen = _signs((x.shape[0],) + (1,) * (x.ndim - 1), x, generator) > 0
    swapped = channels[:, order].transpose(a + 2, b + 2)
    return torch.where(chosen, x.transpose(a + 2, b + 2), x), torch.where(chosen, swapped, channels)


def gauge_matrix(
    x: torch.Tensor, matrix: torch.Tensor, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """The gauge transformation of a general graph: x (B, 1, N), matrix (B, N, N)."""
    signs = _signs(x.shape, x, generator)
    return x * signs, matrix * signs * signs.transpose(1, 2)


def _signs(shape: tuple[int, ...], like: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    drawn = torch.randint(2, shape, generator=generator, device=generator.device)
    return (2 * drawn - 1).to(device=like.device, dtype=like.dtype)
