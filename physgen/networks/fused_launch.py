r"""Launches the kernels of :mod:`physgen.networks.fused_triton`, for fields (B, C, \*grid) that are channels last.

Legend: B batch, C channels, G = C/8 groups.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from physgen.networks.fused import GROUP
from physgen.networks.fused_triton import kernels
from physgen.networks.jitted import present
from physgen.networks.streams_triton import blocks_of

PIECE, PIECES = 256, 512  # fewest sites of a sample that one program sums, and most pieces of a sample
STEP = 32  # pieces added at once
EPSILON = 1e-5  # of torch's group_norm


class Lattice:
    """Sizes of a padded field of channels, and how its blocks are cut."""

    def __init__(self, shape: Sequence[int], pad: int, periodic: bool) -> None:
        self.batch, self.channels, *grid = shape
        missing = 3 - len(grid)
        self.sizes, self.pads = [1] * missing + grid, [0] * missing + [pad] * len(grid)
        self.periodic = periodic
        self.sites = math.prod(self.sizes)
        self.padded = math.prod(n + 2 * p for n, p in zip(self.sizes, self.pads, strict=True))
        self.blocks = blocks_of(self.channels)
        self.rows, self.columns = self.blocks["ROWS"], self.blocks["COLUMNS"]
        self.piece = max(PIECE, 2 ** math.ceil(math.log2(self.sites / PIECES)))
        self.pieces = -(-self.sites // self.piece)

    def programs(self, sites: int, rows: int) -> tuple[int]:
        """One for each block of the channels of so many sites."""
        return (self.batch * (self.channels // self.columns) * -(-sites // rows),)

    @property
    def groups(self) -> tuple[int]:
        """Programs of which each has a group of channels of a sample."""
        return (self.batch * (self.channels // GROUP),)

    @property
    def padding(self) -> dict[str, int | bool]:
        return dict(zip(("PAD_D", "PAD", "PAD_W"), self.pads, strict=True), PERIODIC=self.periodic)


def one_image(x: Tensor, width: int, periodic: bool) -> bool:
    """Whether the kernels take this padding of x: no site has more than one image along an axis."""
    sites = math.prod(size + 2 * width for size in x.shape[2:])  # counted in 32 bits
    return (not periodic or min(x.shape[2:]) >= 2 * width) and sites < 2**30


@dataclass(frozen=True)
class Modulation:
    r"""What the layer adds to the field and what it does to the normalised one; all contiguous or None.

    Attributes:
        gain, bias: (B, C), both or neither. offset: (C,), of the convolution that made the field.
    """

    gain: Tensor | None
    bias: Tensor | None
    offset: Tensor | None

    @property
    def options(self) -> dict[str, int | bool]:
        return {"MODULATED": self.gain is not None, "OFFSET": self.offset is not None, "GROUP": GROUP}


def forward(x: Tensor, modulation: Modulation, y: Tensor, width: int, periodic: bool) -> tuple[Tensor, Tensor]:
    """Fills y; the moments (2, B, G) and the sums (B, C) of the normalised field, float64. x and y: channels last."""
    made, lattice = present(kernels()), Lattice(x.shape, width, periodic)
    sums = torch.empty(lattice.batch, lattice.pieces, 2, lattice.channels, device=x.device)
    moments = torch.empty(2, lattice.batch, lattice.channels // GROUP, dtype=torch.float64, device=x.device)
    normals = torch.empty(lattice.batch, lattice.channels, dtype=torch.float64, device=x.device)
    constants = torch.empty(3, lattice.batch, lattice.channels, device=x.device)
    offset, gain, bias = (sums if t is None else t for t in (modulation.offset, modulation.gain, modulation.bias))
    made["add_moments"][lattice.programs(lattice.sites, lattice.piece)](
        x, sums, lattice.sites, lattice.pieces, PIECE=lattice.piece, **lattice.blocks
    )
    made["normalise"][lattice.groups](
        x, offset, sums, gain, bias, moments, normals, constants, lattice.sites, lattice.pieces,
        CHANNELS=lattice.channels, STEP=STEP, EPSILON=EPSILON, **modulation.options,
    )  # fmt: skip
    made["activate"][lattice.programs(lattice.padded, lattice.rows)](
        x, constants, y, lattice.batch, *lattice.sizes, **lattice.padding, **lattice.blocks
    )
    return moments, normals


def backward(
    gradient: Tensor,
    beside: Tensor | None,
    x: Tensor,
    modulation: Modulation,
    made_of: tuple[Tensor, Tensor],
    padding: tuple[int, bool],
) -> tuple[Tensor | None, ...]:
    """Gradients of x, gain, bias and offset. gradient, ``beside`` (added to that of x) and x are channels last;
    ``made_of`` comes from forward, ``padding`` is (width, periodic)."""
    made, lattice = present(kernels()), Lattice(x.shape, *padding)
    moments, normals = made_of
    sums = torch.empty(lattice.batch, lattice.pieces, 2, lattice.channels, device=x.device)
    constants = torch.empty(3, lattice.batch, lattice.channels, device=x.device)
    out, of_offset = torch.empty_like(x), torch.empty_like(normals)
    offset, gain, bias = (sums if t is None else t for t in (modulation.offset, modulation.gain, modulation.bias))
    of_gain, of_bias = torch.empty_like(gain), torch.empty_like(bias)
    options = {**lattice.padding, **lattice.blocks, **modulation.options}
    given = (gradient, x, offset, moments, gain, bias)
    made["add_slopes"][lattice.programs(lattice.sites, lattice.piece)](
        *given, sums, lattice.batch, *lattice.sizes, lattice.pieces, PIECE=lattice.piece, **options
    )
    made["combine"][lattice.groups](
        sums, offset, moments, normals, gain, of_gain, of_bias, of_offset, constants, lattice.sites, lattice.pieces,
        CHANNELS=lattice.channels, STEP=STEP, **modulation.options,
    )  # fmt: skip
    made["slope_of_x"][lattice.programs(lattice.sites, lattice.rows)](
        *given, constants, x if beside is None else beside, out, lattice.batch, *lattice.sizes,
        -(-lattice.sites // lattice.rows), BESIDE=beside is not None, **options,
    )  # fmt: skip
    modulated = modulation.gain is not None
    whole = None if modulation.offset is None else of_offset.sum(0).to(modulation.offset.dtype)
    return out, of_gain if modulated else None, of_bias if modulated else None, whole
