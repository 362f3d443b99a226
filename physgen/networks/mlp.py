r"""A residual network of vectors: any number of values, none of which is the neighbour of another.

Shapes: B batch, d = C x grid values of a sample in C order, W width, E embedding.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from physgen.networks.layers import NextLevel, NoiseEmbedding, labels_of, modulations, noise_phases, zeroed

MODULATIONS = ("gain", "added")


@dataclass(frozen=True)
class MLPOptions:
    """Shape of the network: the arguments of :class:`MLP` of these names."""

    width: int
    blocks: int
    modulation: str
    dropout: float

    def __post_init__(self) -> None:
        for name in ("width", "blocks"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(f"{name} must be a whole number >= 1, got {value!r}")
        if self.modulation not in MODULATIONS:
            raise ValueError(f"modulation must be one of {', '.join(MODULATIONS)}, got {self.modulation!r}")
        if self.modulation == "added" and self.width % 2:
            raise ValueError(f"width must be even where cosines and sines are added, got {self.width}")
        if isinstance(self.dropout, str) or not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is a probability below 1, got {self.dropout!r}")


class GainBlock(nn.Module):
    r""":math:`x + A_2\,\mathrm{SiLU}((1 + g)\,N(A_1 \mathrm{SiLU}(N(x))) + b)`, N the layer norm; A_2 starts at zero.

    Gain g and bias b (B, W) are linear in the embedding: :func:`physgen.networks.layers.modulations`.
    """

    def __init__(self, width: int, embedding: int, dropout: float) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(width, width), zeroed(nn.Linear(width, width))
        self.modulation = nn.Linear(embedding, 2 * width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, modulation: tuple[Tensor, Tensor]) -> Tensor:
        """(B, W) and (g, b) -> (B, W)."""
        gain, bias = modulation
        hidden = self.first(F.silu(F.layer_norm(x, x.shape[1:])))
        hidden = F.silu((1 + gain) * F.layer_norm(hidden, hidden.shape[1:]) + bias)
        return x + self.second(self.dropout(hidden))


class AddedBlock(nn.Module):
    r""":math:`N(x + A_2\,\mathrm{GELU}(A_1 (x + e)))`, N the layer norm with scale and shift, e the noise level."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.first, self.second, self.norm = nn.Linear(width, width), nn.Linear(width, width), nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """(B, W) and e (B, W) -> (B, W)."""
        return self.norm(x + self.second(self.dropout(F.gelu(self.first(x + embedding)))))


class MLP(nn.Module):
    r"""Residual network F(x, c_noise, condition) of d values, zero before training.

    With ``modulation="added"`` the noise level enters as W cosines and sines without parameters, added in each block.
    Without labels the number of parameters is then :math:`2 B W^2 + (2d + 4B + 1) W + d` for B blocks: of 3 blocks
    :math:`p = W(2d + 13) + d + 6W^2`, 102024 at d = 8, W = 128, the ResMLP of Bonnaire et al., arXiv:2505.17638.

    Args:
        values: d = C x grid of a sample.
        labels: number of scalar labels in ``condition["labels"]``.
        width: W. blocks: residual blocks of two linear layers.
        modulation: "gain", a learned embedding of noise level and labels sets gain and bias in each block; "added".
        dropout: probability, inside the blocks.

    Raises:
        ValueError: an option without meaning, a sample of another size, labels that are missing.

    Example:
        >>> network = MLP(8, width=128, blocks=3, modulation="added")
    """

    fixed_operations = True  # see diffusion/recording.py

    def __init__(
        self,
        values: int,
        labels: int = 0,
        *,
        width: int = 128,
        blocks: int = 3,
        modulation: str = "gain",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.options = MLPOptions(width, blocks, modulation, dropout)
        self.values, self.labels = values, labels
        self.stem = nn.Linear(values, width)
        self.embedding: nn.Module
        if modulation == "gain":
            self.embedding = NoiseEmbedding(2 * width, labels)
            self.blocks = nn.ModuleList(GainBlock(width, 2 * width, dropout) for _ in range(blocks))
        else:
            self.embedding = AddedNoise(width, labels)
            self.blocks = nn.ModuleList(AddedBlock(width, dropout) for _ in range(blocks))
        self.head = zeroed(nn.Linear(width, values))

    def forward(self, x: Tensor, c_noise: Tensor, condition: dict[str, Tensor] | None = None) -> Tensor:
        r"""x (B, C, \*grid) of d values, c_noise (B,) = ln(s)/4 -> shape of x."""
        if x[0].numel() != self.values:
            raise ValueError(f"this network was built for samples of {self.values} values, got {x[0].numel()}")
        embedding = self.embedding(c_noise, condition)
        hidden = self.stem(x.flatten(1))
        if self.options.modulation == "gain":
            for block, pair in zip(self.blocks, modulations(self._modulation_layers(), embedding), strict=True):
                hidden = block(hidden, pair)
        else:
            for block in self.blocks:
                hidden = block(hidden, embedding)
        return self.head(hidden).reshape(x.shape)

    def _modulation_layers(self) -> list[nn.Linear]:
        return [block.modulation for block in self.blocks if isinstance(block, GainBlock)]


class AddedNoise(nn.Module):
    """The noise level as W cosines and sines, and a linear map of the labels: no parameter without labels."""

    frequencies: Tensor
    next_level: NextLevel | None

    def __init__(self, width: int, labels: int) -> None:
        super().__init__()
        self.labels = labels
        self.register_buffer("frequencies", noise_phases(width // 2))
        self.label = nn.Linear(labels, width) if labels else None
        self.next_level = None

    def forward(self, c_noise: Tensor, condition: Mapping[str, Tensor] | None) -> Tensor:
        """(B,) and condition["labels"] (B, labels) -> (B, W)."""
        phase = c_noise.to(self.frequencies.dtype)[:, None] * self.frequencies
        embedding = torch.cat([phase.cos(), phase.sin()], dim=1)
        if self.label is not None:
            embedding = embedding + self.label(labels_of(condition, self.labels))
        return embedding if self.next_level is None else embedding + self.next_level(condition)
