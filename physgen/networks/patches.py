r"""Patches of a lattice as tokens, and the differences of their positions on the torus or in an open box.

Shapes: B batch, C channels, \*grid lattice, p patch, N tokens along an axis = size/p, T tokens in all, W width.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from physgen.networks.fused import pad
from physgen.networks.layers import CONVOLUTIONS, zeroed

TRANSPOSED = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}


class Patches(nn.Module):
    """Linear maps from patches to tokens, and from tokens back to patches: that zero before training.

    Each patch of p^d sites is read together with ``overlap`` sites around it, and written so: what several tokens write
    to a site is summed. Both commute with shifts of a periodic lattice by p sites; in an open box zeros surround it.

    Args:
        dimension: d. channels: (C read, W, C written).
    """

    def __init__(
        self, dimension: int, channels: tuple[int, int, int], patch: int, overlap: int, periodic: bool
    ) -> None:
        super().__init__()
        inputs, width, outputs = channels
        self.overlap, self.periodic = overlap, periodic
        size = patch + 2 * overlap
        self.embed = CONVOLUTIONS[dimension](inputs, width, size, stride=patch)
        self.head = zeroed(TRANSPOSED[dimension](width, outputs, size, stride=patch, bias=False))
        self.bias = nn.Parameter(torch.zeros(outputs, *[1] * dimension))  # once a site, however many write there

    def read(self, x: Tensor) -> tuple[Tensor, tuple[int, ...]]:
        r"""(B, C, \*grid) -> tokens (B, T, W) in C order, and how many there are along each axis."""
        hidden = self.embed(pad(x, self.overlap, self.periodic))
        return hidden.flatten(2).transpose(1, 2), tuple(hidden.shape[2:])

    def write(self, hidden: Tensor, tokens: Sequence[int]) -> Tensor:
        r"""(B, T, W) -> (B, C, \*grid)."""
        written = self.head(hidden.transpose(1, 2).unflatten(2, tuple(tokens)))
        for axis in range(2, written.ndim):
            written = _folded(written, axis, self.overlap, self.periodic)
        return written + self.bias


def _folded(x: Tensor, axis: int, width: int, periodic: bool) -> Tensor:
    """What was written beyond both ends of an axis goes to the opposite ends, or is dropped: the adjoint of padding."""
    if not width:
        return x
    size = x.shape[axis] - 2 * width
    inner = x.narrow(axis, width, size)
    if not periodic:
        return inner
    behind = [0, 0] * (x.ndim - 1 - axis)
    first, last = x.narrow(axis, size + width, width), x.narrow(axis, 0, width)
    return inner + F.pad(first, [*behind, 0, size - width]) + F.pad(last, [*behind, size - width, 0])


def lattice_phases(tokens: Sequence[int], pairs: int, periodic: bool, like: Tensor) -> Tensor:
    r"""Angles :math:`2\pi n r/N` of each token (T, pairs) by which pairs of channels turn; they share out the axes.

    The wavenumbers n of an axis are whole numbers spread evenly from 1, which alone tells all positions apart, to N/2,
    which tells neighbours apart. In an open box N stands for twice the tokens: opposite ends then do not touch.
    """
    columns = []
    places = torch.meshgrid(*(torch.arange(n, device=like.device) for n in tokens), indexing="ij")
    for pair in range(pairs):
        axis, number = pair % len(tokens), pair // len(tokens)
        count = len(range(axis, pairs, len(tokens)))
        around = tokens[axis] * (1 if periodic else 2)
        highest = around // 2
        wavenumber = round(1 + number * (highest - 1) / max(1, count - 1)) if highest else 0
        # the remainder is exact: a phase does not depend on how often the torus was gone around
        columns.append(((wavenumber * places[axis].reshape(-1)) % around).to(like.dtype) / around)
    return 2 * math.pi * torch.stack(columns, dim=1)


def differences(
    tokens: Sequence[int], window: int, periodic: bool, device: torch.device | str = "cpu"
) -> tuple[Tensor, Tensor]:
    """Of each pair of tokens, the row (T, T) of its difference in a table of (2 window + 1)^d, and if it is in there.

    On a torus a difference is the shortest one, from -N/2 to N/2 - 1. Those beyond the window get the row at its edge.
    """
    dimension = len(tokens)
    row = torch.zeros([1] * (2 * dimension), dtype=torch.long, device=device)
    inside = torch.ones([1] * (2 * dimension), dtype=torch.bool, device=device)
    for axis, count in enumerate(tokens):
        place = torch.arange(count, device=device)
        apart = place[None, :] - place[:, None]
        if periodic:
            apart = (apart + count // 2) % count - count // 2
        shape = [1] * (2 * dimension)
        shape[axis], shape[dimension + axis] = count, count
        apart = apart.reshape(shape)
        row = row * (2 * window + 1) + apart.clamp(-window, window) + window
        inside = inside & (apart.abs() <= window)
    total = math.prod(tokens)
    return row.reshape(total, total), inside.reshape(total, total)


def open_features(tokens: Sequence[int], count: int, like: Tensor) -> Tensor:
    r"""Cosines :math:`\cos(\pi n (j + 1/2)/N)`, n = 1 ... ``count`` of each axis, at each token: (T, d count)."""
    axes = []
    for n in tokens:
        place = (torch.arange(n, device=like.device, dtype=torch.float64) + 0.5) / n
        axes.append(torch.cos(math.pi * place[:, None] * torch.arange(1, count + 1, device=like.device)))
    chosen = itertools.product(*(range(n) for n in tokens))
    rows = torch.tensor(list(chosen), device=like.device)
    return torch.cat([axis[rows[:, i]] for i, axis in enumerate(axes)], dim=1).to(like.dtype)
