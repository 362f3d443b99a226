r"""A convolutional autoencoder on the torus that starts as the linear one.

.. math:: z = (\mathrm{T} x, 0) + E(x), \qquad \hat x = \mathrm{T}^+ z_{1 \ldots C} + G(z)

T keeps the Fourier modes below the cut (:mod:`physgen.diffusion.latent.truncation`), E and G are convolutional and zero
before training: what is learned is what a linear map cannot keep.

Shapes: B batch, C components, K channels of the latent, \*grid lattice, f factor.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from physgen.diffusion.latent.truncation import interpolated, truncated
from physgen.networks.layers import PeriodicConvolution, zeroed
from physgen.networks.resolution import downsample, upsample


@dataclass(frozen=True)
class AutoencoderOptions:
    """Shape of an autoencoder.

    Attributes:
        channels: K, at least the components of the field. factor: f, a power of two.
        width: channels of the finest level, grown by as many at each coarser one; 0 for the linear part alone.
        blocks: residual blocks at each level.
    """

    channels: int = 1
    factor: int = 2
    width: int = 16
    blocks: int = 1

    def __post_init__(self) -> None:
        for name, least in (("channels", 1), ("factor", 2), ("width", 0), ("blocks", 1)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ValueError(f"{name} must be a whole number >= {least}, got {value!r}")
        if self.factor & (self.factor - 1):
            raise ValueError(f"factor must be a power of two, got {self.factor}")

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


class Residual(nn.Module):
    """x + A_2 SiLU(A_1 SiLU(x)) with periodic convolutions; A_2 starts at zero."""

    def __init__(self, dimension: int, channels: int) -> None:
        super().__init__()
        self.first = PeriodicConvolution(dimension, channels, channels)
        self.second = zeroed(PeriodicConvolution(dimension, channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        r"""(B, W, \*grid) -> the same shape."""
        return x + self.second(F.silu(self.first(F.silu(x))))


class Resized(nn.Module):
    """Block averages, or repeated sites: what changes the resolution, as a module."""

    def __init__(self, change: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.change = change

    def forward(self, x: Tensor) -> Tensor:
        """x at the other resolution."""
        return self.change(x)


class Autoencoder(nn.Module):
    r"""Latents of fields, and fields of latents; both commute with shifts by ``factor`` sites to rounding.

    Args:
        dimension: 1, 2 or 3. components: C of the field. options: its shape.

    Raises:
        ValueError: fewer channels than components.

    Example:
        >>> autoencoder = Autoencoder(2, 1, AutoencoderOptions(channels=2, factor=4))
        >>> z = autoencoder.encode(x)  # (B, 1, 64, 64) -> (B, 2, 16, 16)
    """

    def __init__(self, dimension: int, components: int, options: AutoencoderOptions) -> None:
        super().__init__()
        if options.channels < components:
            raise ValueError(f"channels must be at least the {components} components, got {options.channels}")
        self.components, self.options = components, options
        levels = options.factor.bit_length() - 1
        widths = [options.width * (level + 1) for level in range(levels + 1)]
        down: list[nn.Module] = [PeriodicConvolution(dimension, components, widths[0])] if options.width else []
        up: list[nn.Module] = [PeriodicConvolution(dimension, options.channels, widths[-1])] if options.width else []
        if options.width:
            for fine, coarse in pairwise(widths):
                down += [*_blocks(dimension, fine, options), Resized(downsample)]
                down += [PeriodicConvolution(dimension, fine, coarse, kernel=1)]
            for coarse, fine in pairwise(widths[::-1]):
                up += [*_blocks(dimension, coarse, options), PeriodicConvolution(dimension, coarse, fine, kernel=1)]
                up += [Resized(upsample)]
            down += [*_blocks(dimension, widths[-1], options), nn.SiLU()]
            up += [*_blocks(dimension, widths[0], options), nn.SiLU()]
            down += [zeroed(PeriodicConvolution(dimension, widths[-1], options.channels))]
            up += [zeroed(PeriodicConvolution(dimension, widths[0], components))]
        self.down, self.up = nn.Sequential(*down), nn.Sequential(*up)

    def encode(self, x: Tensor) -> Tensor:
        r"""(B, C, \*grid) -> (B, K, \*grid/f). Raises ValueError for a grid that the factor does not divide."""
        linear = truncated(x, self.options.factor)
        empty = self.options.channels - self.components
        if empty:
            linear = torch.cat([linear, linear.new_zeros(len(x), empty, *linear.shape[2:])], dim=1)
        return linear + self.down(x) if self.options.width else linear

    def decode(self, z: Tensor) -> Tensor:
        r"""(B, K, \*grid/f) -> (B, C, \*grid)."""
        linear = interpolated(z[:, : self.components], self.options.factor)
        return linear + self.up(z) if self.options.width else linear

    def forward(self, x: Tensor) -> Tensor:
        """What is left of x after both."""
        return self.decode(self.encode(x))


def _blocks(dimension: int, width: int, options: AutoencoderOptions) -> list[nn.Module]:
    return [Residual(dimension, width) for _ in range(options.blocks)]
