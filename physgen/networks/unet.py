"""One periodic U-Net for one, two and three dimensions.

Shapes: B batch, C channels, *grid lattice.
"""

from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from physgen.networks.layers import (
    MEMORY_FORMATS,
    Attention,
    NoiseEmbedding,
    Normalization,
    PeriodicConvolution,
    ResidualBlock,
    downsample,
    upsample,
    zeroed,
)


@dataclass(frozen=True)
class UNetOptions:
    """Shape of a U-Net beside its width.

    Attributes:
        multipliers: channels of each level in units of the width; len(multipliers) - 1 halvings of the grid.
        blocks: residual blocks of each level on the way down, and again on the way up.
        attention: self-attention at the coarsest level.
        dropout: probability of dropping an activation inside the blocks.
        inject: add the (block-averaged) condition channels at every level, not at the input alone.
    """

    multipliers: tuple[int, ...] = (1, 2, 4)
    blocks: int = 1
    attention: bool = False
    dropout: float = 0.0
    inject: bool = False

    def __post_init__(self) -> None:
        if not self.multipliers or min(self.multipliers) < 1 or self.blocks < 1:
            raise ValueError(f"a U-Net needs multipliers >= 1 and blocks >= 1, got {self.multipliers}, {self.blocks}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is a probability below 1, got {self.dropout}")


class Level(nn.Module):
    """The blocks of one resolution."""

    def __init__(self, dimension: int, channels: tuple[int, int], embedding: int, options: UNetOptions) -> None:
        super().__init__()
        sizes = [channels[0]] + [channels[1]] * options.blocks
        self.blocks = nn.ModuleList(
            ResidualBlock(dimension, before, after, embedding, options.dropout)
            for before, after in zip(sizes[:-1], sizes[1:], strict=True)
        )

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x, embedding)
        return x


class UNet(nn.Module):
    """Periodic U-Net F(x, c_noise, condition), zero before training.

    It commutes exactly with translations by ``stride`` sites along any axis, and only approximately with smaller ones
    (block averages): trained on lognormal 32x32 fields with random translations, a shift by one site changed D by 1-2 %
    of its spread, which is 5 % of its error.

    Args:
        dimension: 1, 2 or 3. in_channels, out_channels: channels of the field.
        condition_channels: channels of condition["channels"] (B, C', *grid), joined to the input.
        labels: columns of condition["labels"] (B, labels). width: channels of the finest level, a multiple of 8.
        **options: fields of UNetOptions.

    Raises:
        ValueError: unknown option, wrong dimension, or a grid that the stride does not divide.
    """

    def __init__(
        self,
        dimension: int,
        in_channels: int = 1,
        out_channels: int = 1,
        condition_channels: int = 0,
        labels: int = 0,
        width: int = 32,
        **options: object,
    ) -> None:
        super().__init__()
        known = {field.name for field in fields(UNetOptions)}
        if unknown := set(options) - known:
            raise ValueError(f"unknown U-Net option {sorted(unknown)}; known options: {sorted(known)}")
        self.options = UNetOptions(**options)
        self.dimension, self.condition_channels = dimension, condition_channels
        sizes = [width * multiplier for multiplier in self.options.multipliers]
        embedding = 4 * width
        self.embedding = NoiseEmbedding(embedding, labels)
        self.stem = PeriodicConvolution(dimension, in_channels + condition_channels, width)
        pairs = list(zip([width, *sizes[:-1]], sizes, strict=True))
        self.down = nn.ModuleList(Level(dimension, pair, embedding, self.options) for pair in pairs)
        self.attention = Attention(dimension, sizes[-1]) if self.options.attention else nn.Identity()
        self.up = nn.ModuleList(Level(dimension, (size, size), embedding, self.options) for size in sizes[:-1])
        self.lift = nn.ModuleList(
            PeriodicConvolution(dimension, coarse, fine, kernel=1)
            for fine, coarse in zip(sizes, sizes[1:], strict=False)
        )
        self.inject = nn.ModuleList(
            zeroed(PeriodicConvolution(dimension, condition_channels, size, kernel=1))
            for size in (sizes if self.options.inject and condition_channels else [])
        )
        self.norm = Normalization(width * self.options.multipliers[0])
        self.head = zeroed(PeriodicConvolution(dimension, sizes[0], out_channels))

    @property
    def stride(self) -> int:
        """Sites of the finest grid per site of the coarsest."""
        return 2 ** (len(self.options.multipliers) - 1)

    def forward(self, x: Tensor, c_noise: Tensor, condition: dict[str, Tensor] | None = None) -> Tensor:
        """x (B, C, *grid), c_noise (B,) = ln(s)/4 -> (B, out_channels, *grid)."""
        channels = self._condition(x, condition)
        embedding = self.embedding(c_noise, condition)
        hidden = x if channels is None else torch.cat([x, channels], dim=1)
        hidden = self.stem(hidden.contiguous(memory_format=MEMORY_FORMATS[self.dimension]))
        passed = []
        for level, blocks in enumerate(self.down):
            if level:
                passed.append(hidden)
                hidden = downsample(hidden)
            hidden = blocks(hidden, embedding)
            if self.inject:
                hidden = hidden + self.inject[level](channels)
                channels = downsample(channels) if level + 1 < len(self.down) else channels
        hidden = self.attention(hidden)
        for blocks, lift in zip(reversed(self.up), reversed(self.lift), strict=True):
            hidden = blocks(passed.pop() + upsample(lift(hidden)), embedding)
        return self.head(F.silu(self.norm(hidden))).contiguous()

    def _condition(self, x: Tensor, condition: dict[str, Tensor] | None) -> Tensor | None:
        grid = tuple(x.shape[2:])
        if len(grid) != self.dimension:
            raise ValueError(f"this U-Net has {self.dimension} dimensions, got a grid of shape {grid}")
        if any(size % self.stride for size in grid):
            levels = len(self.options.multipliers)
            raise ValueError(
                f"a U-Net of {levels} levels needs every grid size divisible by {self.stride}, got {grid}; "
                "use fewer multipliers"
            )
        channels = (condition or {}).get("channels")
        found = 0 if channels is None else channels.shape[1]
        if found != self.condition_channels:
            raise ValueError(f'this U-Net needs {self.condition_channels} condition["channels"], got {found}')
        return channels
