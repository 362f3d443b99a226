r"""A diffusion transformer on lattices of one to three dimensions (DiT; Peebles & Xie 2022, arXiv:2212.09748).

Patches of the lattice are the tokens; noise level and labels set shift, gain and gate of every block (adaLN-zero).
Where the original adds a position to each token, here attention knows the *difference* of two positions alone, on the
torus, as physics without a preferred place does: the network commutes with shifts of the lattice by a patch.

Shapes: B batch, C channels, \*grid lattice, p patch, T tokens = sites/p^d, W width, H heads.
"""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from physgen.networks.fused import full_precision, is_transformed
from physgen.networks.layers import CONVOLUTIONS, NoiseEmbedding, zeroed
from physgen.networks.patches import Patches, differences, lattice_phases, open_features

COUNTS = ("width", "depth", "heads", "patch", "expansion")


@dataclass(frozen=True)
class DiTOptions:
    """Shape of a transformer: the arguments of :class:`DiT` of these names."""

    width: int
    depth: int
    heads: int
    patch: int
    expansion: int
    overlap: int
    window: int
    dropout: float

    def __post_init__(self) -> None:
        for name in (*COUNTS, "overlap", "window"):
            value, least = getattr(self, name), int(name in COUNTS)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ValueError(f"{name} must be a whole number >= {least}, got {value!r}")
        if self.width % (2 * self.heads):
            raise ValueError(f"width must be a multiple of 2 x heads = {2 * self.heads}, got {self.width}")
        if self.overlap > self.patch:
            raise ValueError(f"overlap must be at most the patch ({self.patch} sites), got {self.overlap}")
        if isinstance(self.dropout, str) or not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is a probability below 1, got {self.dropout!r}")


class Positions:
    """What attention knows of the positions on one lattice of tokens, made once for all blocks.

    Either the cosines and sines (T, W/2H) by which queries and keys turn, or the differences (T, T) as rows of the
    tables of a window and which of them lie in it.
    """

    def __init__(self, tokens: tuple[int, ...], options: DiTOptions, periodic: bool, like: Tensor) -> None:
        self.turned: tuple[Tensor, Tensor] | None = None
        self.rows: tuple[Tensor, Tensor] | None = None
        if options.window:
            self.rows = differences(tokens, options.window, periodic, like.device)
        else:
            phases = lattice_phases(tokens, options.width // options.heads // 2, periodic, like)
            self.turned = phases.cos(), phases.sin()


def turn(x: Tensor, turned: tuple[Tensor, Tensor]) -> Tensor:
    """Pairs of channels of x (B, H, T, 2P), the first P with the last P, turned by angles whose cos and sin are (T, P).

    The product of a turned query and a turned key knows the difference of their angles alone (Su et al. 2104.09864).
    """
    (cosine, sine), (first, last) = turned, x.chunk(2, dim=-1)
    return torch.cat([first * cosine - last * sine, last * cosine + first * sine], dim=-1).to(x.dtype)


class RelativeAttention(nn.Module):
    """Attention of tokens, which knows of positions their differences alone: (B, T, W) -> (B, T, W)."""

    def __init__(self, dimension: int, options: DiTOptions) -> None:
        super().__init__()
        self.heads, self.dropout = options.heads, options.dropout
        # what a bias of queries and keys does for positions, the table does: a key's would have no gradient there
        self.query_key_value = nn.Linear(options.width, 3 * options.width, bias=not options.window)
        self.out = nn.Linear(options.width, options.width)
        count = (2 * options.window + 1) ** dimension
        self.table = nn.Parameter(torch.zeros(options.heads, count)) if options.window else None

    def forward(self, x: Tensor, positions: Positions, twice: bool) -> Tensor:
        """``twice``: a derivative of the derivative will be asked for, which the fused kernels do not have."""
        batch, tokens, width = x.shape
        split = self.query_key_value(x).reshape(batch, tokens, 3, self.heads, width // self.heads)
        query, key, value = split.permute(2, 0, 3, 1, 4).unbind(0)  # (B, H, T, W/H)
        bias = None
        if positions.turned is not None:
            query, key = turn(query, positions.turned), turn(key, positions.turned)
        if positions.rows is not None and self.table is not None:
            row, inside = positions.rows
            bias = self.table[:, row.reshape(-1)].reshape(self.heads, tokens, tokens)
            bias = torch.where(inside, bias, -math.inf)
        with sdpa_kernel(SDPBackend.MATH) if twice or is_transformed() else nullcontext():
            mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        return self.out(mixed.transpose(1, 2).reshape(batch, tokens, width))


class TransformerBlock(nn.Module):
    r"""adaLN-zero: :math:`x \to x + a_1 A(\tilde N_1(x))`, then :math:`x \to x + a_2 M(\tilde N_2(x))`.

    A attention, M two layers with GELU between, :math:`\tilde N_i = (1 + g_i) N(x) + b_i`, N the layer norm. Shifts b,
    gains g and gates a are linear in the embedding of noise level and labels, and zero before training: a block then
    is the identity.
    """

    def __init__(self, dimension: int, options: DiTOptions, embedding: int) -> None:
        super().__init__()
        width = options.width
        self.attention = RelativeAttention(dimension, options)
        self.perceptron = nn.Sequential(
            nn.Linear(width, options.expansion * width),
            nn.GELU(approximate="tanh"),
            nn.Dropout(options.dropout),
            nn.Linear(options.expansion * width, width),
        )
        self.modulation = zeroed(nn.Linear(embedding, 6 * width))

    def forward(self, x: Tensor, embedding: Tensor, positions: Positions, twice: bool) -> Tensor:
        """(B, T, W) and the embedding (B, E) -> (B, T, W)."""
        shift, gain, gate, *others = full_precision(self.modulation(embedding))[:, None].chunk(6, dim=-1)
        x = x + gate * self.attention(modulated(x, gain, shift), positions, twice)
        shift, gain, gate = others
        return x + gate * self.perceptron(modulated(x, gain, shift))


def modulated(x: Tensor, gain: Tensor, shift: Tensor) -> Tensor:
    """(1 + gain) N(x) + shift, N the layer norm over channels: x (B, T, W), gain and shift (B, 1, W)."""
    return torch.addcmul(shift, F.layer_norm(x, x.shape[-1:]), 1 + gain)


class DiT(nn.Module):
    r"""Transformer F(x, c_noise, condition) on patches of a lattice, zero before training.

    On a periodic lattice it commutes to rounding with shifts by ``stride`` = ``patch`` sites along any axis. Shifts by
    less are other patches, with which it does *not* commute: before it has learned to, the change is of the order of
    the output itself. With ``patch=1`` it commutes with every shift, at a cost that grows as the square of the sites.

    *Positions.* Without a window each token attends to all, and queries and keys are turned by the angles
    :math:`2\pi n\cdot r/N` of wavenumbers n of the lattice of N tokens, from the lowest to Nyquist's: the product then
    depends on the difference of positions on the torus. Those are wavenumbers of *this* lattice: on another one the
    network runs and knows nothing. With ``window=w`` each token attends to those at most w tokens away along every
    axis, with a learned bias of each difference: the network is local as convolutions are, and of a lattice with at
    least 2w + 1 tokens along each axis it does to any part what it does to the same part of a larger one. The window
    saves no time: all pairs are made.

    *Without periodicity* positions do not wrap, zeros surround the lattice where patches overlap, and cosines of the
    place in the box are added to the tokens, since the box has places: no shift commutes.

    Cost per site of a step: :math:`\propto (12 W^2 + 2 T W)\,\mathrm{depth}/p^d` for ``expansion`` 4.

    Args:
        dimension: 1, 2 or 3. in_channels, out_channels: channels of the field.
        condition_channels: channels of condition["channels"] (B, C', \*grid), joined to the input.
        labels: columns of condition["labels"] (B, labels); NaN says that a label is not given.
        periodic: whether opposite sides of the lattice touch.
        width: W, a multiple of 2 x heads. depth: blocks. heads: H.
        patch: p, sites of a patch along each axis; must divide the grid.
        expansion: inner width of the perceptron of a block in units of W.
        overlap: sites by which a patch reaches into its neighbours, reading and writing; at most p.
        window: reach of attention in tokens; 0 for all.
        dropout: probability of dropping an activation inside the perceptrons.

    Raises:
        ValueError: an option without meaning, or a grid that the patch does not divide.

    Example:
        >>> network = DiT(2, labels=2, width=96, depth=4, patch=4)  # maps of one channel, two parameters
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
        width: int = 96,
        depth: int = 4,
        heads: int = 2,
        patch: int = 2,
        expansion: int = 4,
        overlap: int = 0,
        window: int = 0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if dimension not in CONVOLUTIONS:
            raise ValueError(f"a lattice network has 1, 2 or 3 dimensions, got {dimension}")
        self.options = DiTOptions(width, depth, heads, patch, expansion, overlap, window, dropout)
        if not window and width // heads // 2 < dimension:
            raise ValueError(f"width must be at least 2 x heads x dimension = {2 * heads * dimension}, got {width}")
        self.dimension, self.condition_channels, self.periodic = dimension, condition_channels, periodic
        channels = in_channels + condition_channels
        self.patches = Patches(dimension, (channels, width, out_channels), patch, overlap, periodic)
        self.place = None if periodic else nn.Linear(dimension * width // (2 * heads), width, bias=False)
        self.embedding = NoiseEmbedding(width, labels)
        self.blocks = nn.ModuleList(TransformerBlock(dimension, self.options, width) for _ in range(depth))
        self.modulation = zeroed(nn.Linear(width, 2 * width))

    @property
    def stride(self) -> int:
        """The network commutes with shifts by this many sites, where the lattice is periodic."""
        return self.options.patch

    def forward(self, x: Tensor, c_noise: Tensor, condition: dict[str, Tensor] | None = None) -> Tensor:
        r"""x (B, C, \*grid), c_noise (B,) = ln(s)/4 -> (B, out_channels, \*grid)."""
        twice = x.requires_grad and torch.is_grad_enabled()
        channels = self._condition(x, condition)
        embedding = self.embedding(c_noise, condition)
        hidden, tokens = self.patches.read(x if channels is None else torch.cat([x, channels], dim=1))
        hidden = full_precision(hidden)  # what the blocks add up
        if self.place is not None:
            count = self.place.in_features // self.dimension
            hidden = hidden + self.place(open_features(tokens, count, hidden))
        positions = Positions(tokens, self.options, self.periodic, hidden)
        for block in self.blocks:
            hidden = block(hidden, embedding, positions, twice)
        shift, gain = full_precision(self.modulation(embedding))[:, None].chunk(2, dim=-1)
        return self.patches.write(modulated(hidden, gain, shift), tokens)

    def _condition(self, x: Tensor, condition: dict[str, Tensor] | None) -> Tensor | None:
        grid, patch = tuple(x.shape[2:]), self.options.patch
        if len(grid) != self.dimension:
            raise ValueError(f"this DiT has {self.dimension} dimensions, got a grid of shape {grid}")
        if any(size % patch for size in grid):
            raise ValueError(f"a DiT needs every grid size divisible by its patch of {patch} sites, got {grid}")
        channels = (condition or {}).get("channels")
        count = 0 if channels is None else channels.shape[1]
        if count != self.condition_channels:
            raise ValueError(f'this DiT needs {self.condition_channels} condition["channels"], got {count}')
        return channels
