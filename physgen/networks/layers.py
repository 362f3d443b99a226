"""Layers on a periodic lattice in one, two or three dimensions.

Shapes: B batch, C channels, *grid lattice (1 to 3 axes), E embedding.
Every layer commutes with lattice translations; padding is circular unless a convolution is told otherwise.
"""

import inspect
import math
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from physgen.networks import gpu
from physgen.networks.fused import (
    GROUP,
    MEMORY_FORMATS,
    activated,
    activated_beside,
    full_precision,
    group_norm,
    is_transformed,
    pad,
)
from physgen.networks.narrow import fits, to_one_channel

Layer = TypeVar("Layer", bound=nn.Module)
CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


class PeriodicConvolution(nn.Module):
    """Convolution on the torus: (B, in_channels, *grid) -> (B, out_channels, *grid).

    ``kernel`` is odd, its sites are ``dilation`` sites apart; dilation * (kernel // 2) must not exceed a grid size.
    With the attribute ``periodic`` = False zeros surround the lattice: opposite sides then do not touch.
    """

    periodic = True

    def __init__(self, dimension: int, in_channels: int, out_channels: int, kernel: int = 3, dilation: int = 1) -> None:
        super().__init__()
        if dimension not in CONVOLUTIONS:
            raise ValueError(f"a lattice network has 1, 2 or 3 dimensions, got {dimension}")
        self.padding = dilation * (kernel // 2)
        convolution = CONVOLUTIONS[dimension](in_channels, out_channels, kernel, dilation=dilation)
        # the stubs of torch do not know the keyword
        self.convolution = convolution.to(memory_format=MEMORY_FORMATS[dimension])  # type: ignore[call-overload]

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, *grid) -> (B, out_channels, *grid)."""
        padded = pad(x, self.padding, self.periodic)
        return self._in_eights(padded) if gpu.here(x) else self.convolution(padded)

    def of_activated(self, x: Tensor, gain: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
        """The convolution of SiLU((1 + gain) N(x) + bias), N the group normalisation; gain, bias (B, in_channels)."""
        if gpu.fits(x, self.padding, self.periodic):
            return self._in_eights(gpu.activated(x, gain, bias, None, self.padding, self.periodic))
        return self._of_padded(activated(x, gain, bias, self.padding, self.periodic))

    def beside(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """:meth:`of_activated` of x, and x for its other user (see activated_beside)."""
        hidden, x = activated_beside(x, None, None, self.padding, self.periodic)
        return self._of_padded(hidden), x

    def _of_padded(self, x: Tensor) -> Tensor:
        if fits(self.convolution, x):
            return to_one_channel(x, self.convolution.weight, self.convolution.bias)
        return self.convolution(x)

    def without_bias(self, padded: Tensor) -> Tensor:
        """The convolution of a field that is padded, but for its bias."""
        return self.convolution._conv_forward(padded, self.convolution.weight, None)

    def _in_eights(self, padded: Tensor) -> Tensor:
        """The convolution of a padded field on a GPU; zeros make up for channels below eight, for its fast kernels.

        And a field of one channel is channels last and is not: the convolution would answer in the other order.
        """
        weight, bias = self.convolution.weight, self.convolution.bias
        outputs, inputs = (max(0, GROUP - size) for size in weight.shape[:2])
        if not inputs and not outputs:
            return self.convolution(padded)
        weight = F.pad(weight, [0] * (2 * weight.ndim - 4) + [0, inputs, 0, outputs])
        padded = gpu.with_zeros(padded, inputs) if inputs else padded
        out = self.convolution._conv_forward(padded, weight, F.pad(bias, [0, outputs]))
        return out[:, : len(self.convolution.weight)]


def option_names(network: type[nn.Module]) -> list[str]:
    """Names of the keyword-only arguments of a network: what a configuration may set, beside the sizes of the data."""
    parameters = inspect.signature(network).parameters.values()
    return [parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY]


def zeroed(layer: Layer) -> Layer:
    """The same layer with all its parameters zero."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


class Normalization(nn.Module):
    r"""Group normalisation :math:`(x - \mu_g) / \sqrt{v_g + \epsilon}`.

    The moments are over a group of channels and the whole grid, at least in float32. Without learned scale and shift
    (the block's modulation has them).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        if channels % GROUP:
            raise ValueError(
                f"the width must be a multiple of {GROUP} (channels of a normalisation group), got {channels}"
            )
        self.groups = channels // GROUP

    def forward(self, x: Tensor) -> Tensor:
        """Shape of x, float32 or float64."""
        return group_norm(x, self.groups)


def noise_phases(count: int) -> Tensor:
    """Angular frequencies (count,) of cosines and sines of c_noise: 2 pi times 1/8 to 2, even in the logarithm."""
    return 2 * math.pi * torch.logspace(-3, 1, count, base=2.0)


NULL = -4.0  # labels lie in [-1, 1]: where "no label" stands for the layers, far from any that is learned


def labels_of(condition: Mapping[str, Tensor] | None, count: int) -> Tensor:
    """``condition["labels"]`` (B, count), NULL in the place of NaN, which says that a label is not given.

    Raises ValueError where they are missing or of another number.
    """
    labels = (condition or {}).get("labels")
    if labels is None or labels.shape[1] != count:
        given = "none" if labels is None else str(labels.shape[1])
        raise ValueError(f'this network needs condition["labels"] with {count} columns, got {given}')
    return torch.where(torch.isnan(labels), torch.full_like(labels, NULL), labels)


NEXT_LEVEL = "next_level"  # of the condition: the noise level (B,) at which a flow map ends


class NextLevel(nn.Module):
    r"""What the embedding of a flow map adds for the level r where it ends: :math:`L_2 f(L_1 \vartheta)`, f = SiLU.

    :math:`\vartheta_j = \frac2\pi \arctan(r/\sigma_j)`: the angle between noise of level r and signals of nine
    standard deviations :math:`\sigma_j` from 0.001 to 10; it is exact at r = 0. L_2 starts at zero: nothing is added.

    Args:
        size: of the embedding.
    """

    scales: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("scales", torch.logspace(-3, 1, 9), persistent=False)
        self.layers = nn.Sequential(nn.Linear(9, size), nn.SiLU(), zeroed(nn.Linear(size, size)))

    def forward(self, condition: Mapping[str, Tensor] | None) -> Tensor:
        """condition["next_level"] (B,), 0 where it is left out -> (B, size), or (1, size)."""
        level = (condition or {}).get(NEXT_LEVEL)
        level = self.scales.new_zeros(1) if level is None else level.to(self.scales)
        return self.layers(torch.atan(level[:, None] / self.scales) * (2 / math.pi))


class NoiseEmbedding(nn.Module):
    r"""Embedding :math:`f(M_2 f(M_1 \phi(c) + L_2 f(L_1 l)))`, f = SiLU, of noise level c and labels l.

    :math:`\phi(c) = (\cos 2\pi f_j c, \sin 2\pi f_j c)` with frequencies from 1/8 to 2, since c = ln(s)/4 lies
    within (-2, 2).

    ``next_level`` is that of a flow map (:class:`NextLevel`), None of a denoiser.

    Args:
        size: E. labels: number of labels, 0 for none.
    """

    frequencies: Tensor
    next_level: NextLevel | None

    def __init__(self, size: int, labels: int = 0, frequencies: int = 16) -> None:
        super().__init__()
        self.labels = labels
        self.register_buffer("frequencies", noise_phases(frequencies))
        self.noise = nn.Linear(2 * frequencies, size)
        self.label = nn.Sequential(nn.Linear(labels, size), nn.SiLU(), nn.Linear(size, size)) if labels else None
        self.mix = nn.Linear(size, size)
        self.next_level = None

    def forward(self, c_noise: Tensor, condition: dict[str, Tensor] | None) -> Tensor:
        """(B,) and condition["labels"] (B, labels) -> (B, E)."""
        phase = c_noise.to(self.frequencies.dtype)[:, None] * self.frequencies
        embedding = self.noise(torch.cat([phase.cos(), phase.sin()], dim=1))
        if self.label is not None:
            embedding = embedding + self.label(labels_of(condition, self.labels))
        if self.next_level is not None:
            embedding = embedding + self.next_level(condition)
        return F.silu(self.mix(F.silu(embedding)))


class ResidualBlock(nn.Module):
    r"""Pre-activated block :math:`x + A_2\,\mathrm{SiLU}((1 + g)\,N(A_1 \mathrm{SiLU}(N(x))) + b)`.

    The gain g and bias b are linear in the embedding: the layer ``modulation`` of it, see :func:`modulations`. The
    last convolution starts at zero: an untrained block is the identity (or its 1x1 projection).
    """

    def __init__(
        self, dimension: int, channels: tuple[int, int], embedding: int, dropout: float, dilation: int = 1
    ) -> None:
        super().__init__()
        in_channels, out_channels = channels
        self.first = PeriodicConvolution(dimension, in_channels, out_channels, dilation=dilation)
        self.second = zeroed(PeriodicConvolution(dimension, out_channels, out_channels, dilation=dilation))
        self.modulation = nn.Linear(embedding, 2 * out_channels)
        self.dropout = nn.Dropout(dropout)
        self.project: nn.Module = nn.Identity()
        if in_channels != out_channels:
            self.project = PeriodicConvolution(dimension, in_channels, out_channels, kernel=1)

    def forward(self, x: Tensor, modulation: tuple[Tensor, Tensor]) -> Tensor:
        """(B, in_channels, *grid) and (g, b), each (B, out_channels) -> (B, out_channels, *grid)."""
        if gpu.fits(x, self.first.padding, self.first.periodic) and not (self.dropout.p and self.training):
            return self._on_gpu(x, modulation)
        hidden, x = self.first.beside(x)
        if self.dropout.p and self.training:
            hidden = self.second(self.dropout(activated(hidden, *modulation)))
        else:
            hidden = self.second.of_activated(hidden, *modulation)
        return hidden.add_(self.project(x))  # in place: no gradient needs a convolution's output

    def _on_gpu(self, x: Tensor, modulation: tuple[Tensor, Tensor]) -> Tensor:
        """The same; what a convolution would add is added by whoever reads its field next."""
        first, second = self.first, self.second
        hidden, x = gpu.activated_beside(x, first.padding, first.periodic)
        hidden = first.without_bias(hidden)
        hidden = gpu.activated(hidden, *modulation, first.convolution.bias, second.padding, second.periodic)
        hidden, offset = second.without_bias(hidden), second.convolution.bias
        if isinstance(self.project, PeriodicConvolution):
            x, offset = self.project.without_bias(x), offset + self.project.convolution.bias
        return gpu.joined(x, hidden, offset)


def modulations(layers: Sequence[nn.Linear], embedding: Tensor) -> list[tuple[Tensor, Tensor]]:
    """(g, b) of each of these layers, in one product: a small one costs what it costs to start it."""
    weight, bias = (torch.cat(parts) for parts in zip(*((layer.weight, layer.bias) for layer in layers), strict=True))
    sizes = [layer.out_features // 2 for layer in layers for _ in range(2)]
    rows = full_precision(F.linear(embedding, weight, bias)).split(sizes, dim=1)
    return list(zip(rows[::2], rows[1::2], strict=True))


class Attention(nn.Module):
    """Self-attention among all sites, without position: commutes with translations. Cost grows as sites squared."""

    def __init__(self, dimension: int, channels: int, heads: int = 4) -> None:
        super().__init__()
        if channels % heads:
            raise ValueError(f"attention needs channels divisible by its {heads} heads, got {channels}")
        self.heads = heads
        self.norm = Normalization(channels)
        self.query_key_value = PeriodicConvolution(dimension, channels, 3 * channels, kernel=1)
        self.out = zeroed(PeriodicConvolution(dimension, channels, channels, kernel=1))

    def forward(self, x: Tensor) -> Tensor:
        """Shape of x."""
        batch, channels, *grid = x.shape
        tokens = self.query_key_value(self.norm(x)).reshape(batch, 3, self.heads, channels // self.heads, -1)
        query, key, value = tokens.transpose(-1, -2).unbind(1)  # (B, heads, sites, channels per head)
        with sdpa_kernel(SDPBackend.MATH) if is_transformed() else nullcontext():  # the fused ones have no tangent
            mixed = F.scaled_dot_product_attention(query, key, value).transpose(-1, -2)
        return x + self.out(mixed.reshape(batch, channels, *grid))
