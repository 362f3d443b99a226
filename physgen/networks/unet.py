"""One periodic U-Net for one, two and three dimensions.

Shapes: B batch, C channels, *grid lattice.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from physgen.networks import gpu
from physgen.networks.fused import laid_out
from physgen.networks.layers import (
    Attention,
    NoiseEmbedding,
    PeriodicConvolution,
    ResidualBlock,
    modulations,
    zeroed,
)
from physgen.networks.resolution import downsample_beside, moving_average, raised


@dataclass(frozen=True)
class UNetOptions:
    """Shape of a U-Net beside its width: the arguments of :class:`UNet` of these names."""

    multipliers: tuple[int, ...]
    blocks: int
    attention: bool
    dropout: float
    inject: bool
    undecimated: bool

    def __post_init__(self) -> None:
        listed = isinstance(self.multipliers, (tuple, list)) and len(self.multipliers) > 0
        if not listed or not all(_is_count(multiplier) for multiplier in self.multipliers):
            raise ValueError(f"multipliers must be whole numbers >= 1 such as [1, 2, 4], got {self.multipliers!r}")
        object.__setattr__(self, "multipliers", tuple(self.multipliers))
        if not _is_count(self.blocks):
            raise ValueError(f"blocks must be a whole number >= 1, got {self.blocks!r}")
        if isinstance(self.dropout, str) or not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is a probability below 1, got {self.dropout!r}")
        for name in ("attention", "inject", "undecimated"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name} is true or false, got {getattr(self, name)!r}")


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


class Level(nn.Module):
    """The blocks of one resolution, number ``level`` from the finest."""

    def __init__(
        self, dimension: int, channels: tuple[int, int], embedding: int, options: UNetOptions, level: int
    ) -> None:
        super().__init__()
        sizes = [channels[0]] + [channels[1]] * options.blocks
        dilation = 2**level if options.undecimated else 1
        self.blocks = nn.ModuleList(
            ResidualBlock(dimension, pair, embedding, options.dropout, dilation) for pair in pairwise(sizes)
        )

    def forward(self, x: Tensor, modulation: Iterator[tuple[Tensor, Tensor]]) -> Tensor:
        """(B, C, *grid) and the next gains and biases (B, C') of each block -> (B, C', *grid)."""
        for block in self.blocks:
            x = block(x, next(modulation))
        return x


class UNet(nn.Module):
    r"""Periodic U-Net F(x, c_noise, condition), zero before training.

    It commutes exactly with translations by ``stride`` sites along any axis, and only approximately with smaller ones
    (block averages): after 150 steps on lognormal 32x32 fields with random symmetries a shift by one site changed D by
    0.8 % of its spread at s = 0.3 and 3 % at s = 1, which is 5 and 8 % of its denoising error
    (benchmarks/conformance/trained_symmetry.py).

    With ``undecimated`` the stride is 1: it commutes with every translation, on any grid. Level l keeps all sites (a
    trous), its convolutions have dilation 2^l, the block average over 2^d sites becomes the moving average over
    :math:`\{0, 2^{l-1}\}^d`, the repetition of sites its adjoint. Parameters and their names stay those of the
    decimated network. Measured on one CPU core, levels (1, 2, 3) of width 16: a training step takes 3.9 times as long
    on 64^2 (3.2 without gradients) and 1.7 times on 32^3 (1.6); what is kept for the gradients grows 2.5 and 3.1 times.
    Attention then sees all sites, not those of the coarsest level: its cost grows by stride^(2d).

    Args:
        dimension: 1, 2 or 3. in_channels, out_channels: channels of the field.
        condition_channels: channels of condition["channels"] (B, C', *grid), joined to the input.
        labels: columns of condition["labels"] (B, labels).
        periodic: whether opposite sides of the lattice touch; else zeros surround it, and no translation commutes.
        width: channels of the finest level, a multiple of 8.
        multipliers: channels of each level in units of the width; len(multipliers) - 1 halvings of the grid.
        blocks: residual blocks of each level on the way down, and again on the way up.
        attention: self-attention at the coarsest level.
        dropout: probability of dropping an activation inside the blocks.
        inject: add the (block-averaged) condition channels at every level, not at the input alone.
        undecimated: keep the full grid at every level, so that the network commutes with every translation.

    Raises:
        ValueError: wrong dimension, a grid that the stride does not divide, or one smaller than the dilation.

    Example:
        >>> network = UNet(2, labels=2, width=32, multipliers=(1, 2, 4))  # maps of one channel, two parameters
    """

    fixed_operations = True  # see diffusion/recording.py

    def __init__(
        self,
        dimension: int,
        in_channels: int = 1,
        out_channels: int = 1,
        condition_channels: int = 0,
        labels: int = 0,
        periodic: bool = True,
        *,
        width: int = 32,
        multipliers: tuple[int, ...] = (1, 2, 4),
        blocks: int = 1,
        attention: bool = False,
        dropout: float = 0.0,
        inject: bool = False,
        undecimated: bool = False,
    ) -> None:
        super().__init__()
        self.options = UNetOptions(multipliers, blocks, attention, dropout, inject, undecimated)
        if not _is_count(width) or width % 8:
            raise ValueError(f"width must be a multiple of 8 (channels of a normalisation group), got {width!r}")
        if inject and not condition_channels:
            raise ValueError("inject adds condition channels, of which these data have none: leave it out")
        self.dimension, self.condition_channels = dimension, condition_channels
        self.half_precision_channels = width * self.options.multipliers[0]  # see diffusion/learning/precision.py
        sizes = [width * multiplier for multiplier in self.options.multipliers]
        embedding = 4 * width
        self.embedding = NoiseEmbedding(embedding, labels)
        self.stem = PeriodicConvolution(dimension, in_channels + condition_channels, width)
        self.down = nn.ModuleList(
            Level(dimension, pair, embedding, self.options, level)
            for level, pair in enumerate(pairwise([width, *sizes]))
        )
        self.attention = Attention(dimension, sizes[-1]) if self.options.attention else nn.Identity()
        self.up = nn.ModuleList(
            Level(dimension, (size, size), embedding, self.options, level) for level, size in enumerate(sizes[:-1])
        )
        self.lift = nn.ModuleList(
            PeriodicConvolution(dimension, coarse, fine, kernel=1) for fine, coarse in pairwise(sizes)
        )
        self.inject = nn.ModuleList(
            zeroed(PeriodicConvolution(dimension, condition_channels, size, kernel=1))
            for size in (sizes if self.options.inject and condition_channels else [])
        )
        self.head = zeroed(PeriodicConvolution(dimension, sizes[0], out_channels))
        if not periodic:
            self._open_boundaries()

    def _open_boundaries(self) -> None:
        if self.options.undecimated:
            raise ValueError("an undecimated U-Net is periodic: leave undecimated out for a box that is not")
        for module in self.modules():
            if isinstance(module, PeriodicConvolution):
                module.periodic = False

    @property
    def stride(self) -> int:
        """The network commutes with shifts by this many sites: those of the finest grid per site of the coarsest."""
        return 1 if self.options.undecimated else self._reach

    @property
    def _reach(self) -> int:
        return 2 ** (len(self.options.multipliers) - 1)

    def forward(self, x: Tensor, c_noise: Tensor, condition: dict[str, Tensor] | None = None) -> Tensor:
        """x (B, C, *grid), c_noise (B,) = ln(s)/4 -> (B, out_channels, *grid)."""
        channels = self._condition(x, condition)
        modulation = self._modulations(self.embedding(c_noise, condition))
        hidden = x if channels is None else torch.cat([x, channels], dim=1)
        hidden = self.stem(laid_out(hidden))
        passed = []
        for level, blocks in enumerate(self.down):
            if level:
                hidden, kept = self._coarser_beside(hidden, level)
                passed.append(kept)
            hidden = blocks(hidden, modulation)
            if self.inject and channels is not None:
                channels = self._coarser(channels, level) if level else channels
                hidden = hidden + self.inject[level](channels)
        hidden = self.attention(hidden)
        for level in reversed(range(len(self.up))):
            hidden = self.up[level](self._joined(passed.pop(), hidden, level), modulation)
        return self.head.of_activated(hidden).contiguous()

    def _modulations(self, embedding: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Those of all blocks, in the order in which they are passed."""
        levels = (*self.down, *reversed(self.up))
        return iter(modulations([block.modulation for level in levels for block in level.blocks], embedding))

    def _joined(self, skip: Tensor, hidden: Tensor, level: int) -> Tensor:
        """``skip`` of a level plus what comes from the level below."""
        lift = self.lift[level]
        assert isinstance(lift, PeriodicConvolution)
        if self.options.undecimated:  # the adjoint of the way down: centred
            return moving_average(lift(hidden), 2**level).add_(skip)
        if gpu.halves(skip):
            return gpu.raised(skip, lift.without_bias(hidden), lift.convolution.bias)
        return raised(lift(hidden), skip)

    def _coarser(self, x: Tensor, level: int) -> Tensor:
        """x of level - 1, on the sites of ``level``."""
        return self._coarser_beside(x, level)[0]

    def _coarser_beside(self, x: Tensor, level: int) -> tuple[Tensor, Tensor]:
        """:meth:`_coarser`, and x for the way up."""
        if self.options.undecimated:
            return moving_average(x, -(2 ** (level - 1))), x
        return downsample_beside(x)

    def _condition(self, x: Tensor, condition: dict[str, Tensor] | None) -> Tensor | None:
        grid = tuple(x.shape[2:])
        if len(grid) != self.dimension:
            raise ValueError(f"this U-Net has {self.dimension} dimensions, got a grid of shape {grid}")
        levels = len(self.options.multipliers)
        if self.options.undecimated and min(grid) < self._reach:
            raise ValueError(
                f"an undecimated U-Net of {levels} levels needs every grid size >= {self._reach}, got {grid}; "
                "use fewer multipliers"
            )
        if any(size % self.stride for size in grid):
            raise ValueError(
                f"a U-Net of {levels} levels needs every grid size divisible by {self.stride}, got {grid}; "
                "use fewer multipliers"
            )
        channels = (condition or {}).get("channels")
        count = 0 if channels is None else channels.shape[1]
        if count != self.condition_channels:
            raise ValueError(f'this U-Net needs {self.condition_channels} condition["channels"], got {count}')
        return channels
