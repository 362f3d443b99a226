r"""Message passing on the bonds of a periodic lattice whose sites have one of q colours.

The network F(x; K) with couplings K = beta J (the weight :math:`e^K` of equal colours at both ends of a bond) uses the
same weights for every colour and sees the others through means over colours alone, so that by construction and exactly
it commutes with all permutations of the colours, for any number q of them, and with translations. Belief propagation
(the Bethe approximation, exact on trees) runs inside the layers, which correct its fields and messages for the loops
of the lattice: a message is :math:`u_{j \to i}(a) = \ln(1 + (e^{K_{ij}} - 1)\, p_j(a))`, p the cavity probability.

Shapes: B batch, q colours, *grid lattice, d its dimension, D = 2d directions (+dim, -dim for each space dim in order),
F features. Inside, features and directions stand first, then colours: (F, q, B, *grid).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from physgen.lattice.moves import neighbour
from physgen.networks.gates import normalized
from physgen.networks.layers import NoiseEmbedding, full_precision, zeroed
from physgen.networks.message_passing import linear, plaquettes

STRONGEST = 12.0  # of |K|: exp(K) stays exact enough in float32
RAREST = 1e-6  # of 1 + (e^K - 1) p, so that its logarithm is finite
State = tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class ColourOptions:
    """Shape of the network beside its width: the arguments of :class:`ColourPassing` of these names."""

    depth: int
    iterations: int
    damping: float

    def __post_init__(self) -> None:
        if self.depth < 1 or self.iterations < 0 or not 0 <= self.damping < 1:
            raise ValueError(f"colour passing needs depth >= 1, iterations >= 0 and 0 <= damping < 1, got {self}")


def believe(field: Tensor, incoming: Tensor, excess: Tensor, damping: float) -> Tensor:
    r"""One damped iteration of belief propagation.

    field (q, B, *grid); incoming (D, q, B, *grid): the message to each site from its neighbour in each direction, of
    mean 0 over colours; excess = e^K - 1 (D, B, *grid).
    """
    directions = len(excess)
    cavity = (field + incoming.sum(0) - incoming).softmax(1)
    sent = torch.stack([neighbour(cavity[a ^ 1], a, directions // 2) for a in range(directions)])
    message = torch.log1p((excess[:, None] * sent).clamp(min=RAREST - 1))
    return damping * incoming + (1 - damping) * centred(message, 1)


def centred(x: Tensor, dim: int) -> Tensor:
    """x less its mean over the colours, which stand at ``dim``."""
    return x - x.mean(dim, keepdim=True)


class ColourLayer(nn.Module):
    """Iterations of belief propagation, then an exchange of learned features that corrects its fields and messages."""

    def __init__(self, directions: int, width: int, embedding: int, options: ColourOptions) -> None:
        super().__init__()
        self.directions, self.options = directions, options
        self.read = nn.Linear(directions + 1, width, bias=False)
        self.modulation = nn.Linear(embedding, 2 * width)
        self.message = nn.Linear((directions + 1) * width, 2 * width)
        self.pooled = nn.Linear(2 * width, 2 * width, bias=False)
        self.out = zeroed(nn.Linear(2 * width, width))
        self.gain = zeroed(nn.Linear(width, directions))
        self.pull = zeroed(nn.Linear(width, 1, bias=False))

    def forward(self, state: State, bonds: tuple[Tensor, Tensor], modulation: Tensor, scale: Tensor) -> State:
        """state: features (F, q, B, *grid), field (q, B, *grid), incoming (D, q, B, *grid); bonds: e^K - 1 and t, both
        (D, B, *grid); modulation (B, 2 F): gain and bias; scale (B, 1, ...) = sqrt(1 + s^2)."""
        features, field, incoming = state
        excess, t = bonds
        incoming = incoming * (1 + linear(self.gain, features.mean(1)))[:, None]
        for _ in range(self.options.iterations):
            incoming = believe(field, incoming, excess, self.options.damping)
        belief = centred((field + incoming.sum(0)).softmax(0), 0)
        features = features + linear(self.read, torch.cat([belief[None], incoming]) * scale)
        gain, bias = modulation.T.reshape(2, features.shape[0], 1, -1, *[1] * (t.ndim - 2))
        quiet = normalized(features, 1.0, centred=False) * (1 + gain) + bias
        moved = [t[a] * neighbour(quiet, a, t.ndim - 2) for a in range(self.directions)]
        hidden = linear(self.message, torch.cat([quiet, *moved]))
        around = torch.cat([quiet.mean(1), sum(moved[1:], moved[0]).mean(1)])
        hidden = hidden + linear(self.pooled, around)[:, None]
        features = features + linear(self.out, F.silu(hidden))
        return features, field + centred(linear(self.pull, features)[0], 0) / scale, incoming


class ColourPassing(nn.Module):
    r"""Network F(x, c_noise, condition) for the logits of colours seen through Gaussian noise.

    Input convention: :math:`x = y/\sqrt{1+s^2}`, c_noise = ln(s)/4, so that the local field is
    :math:`h = y/s^2 = x \sqrt{1+s^2}/s^2`; the output times :math:`1/\sqrt{1+s^2}` is added to the logits h. Before
    training that is belief propagation after a few iterations. Weights are those of any number of colours.

    Args:
        dimension: d of the lattice.
        labels: columns of condition["labels"] (B, labels).
        width: features of each colour.
        depth: layers; each one moves information by one bond.
        iterations: of belief propagation in each layer (0: all is learned).
        damping: fraction of the old message kept by each iteration.

    Raises:
        ValueError: sizes out of range.

    Example:
        >>> network = ColourPassing(2, labels=1, width=24, depth=6)
        >>> logits = network(x, s.log() / 4, {"channels": couplings, "labels": temperature})  # (B, q, L, L)
    """

    def __init__(
        self,
        dimension: int,
        labels: int = 0,
        *,
        width: int = 24,
        depth: int = 6,
        iterations: int = 2,
        damping: float = 0.3,
    ) -> None:
        super().__init__()
        self.options = ColourOptions(depth, iterations, damping)
        self.dimension, directions = dimension, 2 * dimension
        if width < 1:
            raise ValueError(f"the width must be at least 1, got {width}")
        squares = 2 * dimension * (dimension - 1)
        self.embedding = NoiseEmbedding(2 * width, labels)
        self.features = nn.Linear(2 * directions + squares + 3, width)
        self.layers = nn.ModuleList(
            ColourLayer(directions, width, 2 * width, self.options) for _ in range(self.options.depth)
        )
        self.hidden = nn.Linear(width, width)
        self.head = zeroed(nn.Linear(width, 1, bias=False))

    def forward(self, x: Tensor, c_noise: Tensor, condition: dict[str, Tensor] | None = None) -> Tensor:
        """x (B, q, *grid), c_noise (B,) = ln(s)/4, condition["channels"] K (B, D, *grid) and, where the network has
        labels, condition["labels"] -> (B, q, *grid)."""
        couplings = (condition or {}).get("channels")
        expected = (2 * self.dimension, *x.shape[2:])
        if couplings is None or couplings.shape[1:] != expected:
            given = "none" if couplings is None else f"shape {tuple(couplings.shape)}"
            raise ValueError(f'condition["channels"] must hold the bonds of each site, shape {expected}, got {given}')
        ones = [1] * self.dimension
        excess = torch.expm1(couplings.clamp(-STRONGEST, STRONGEST)).transpose(0, 1).contiguous()
        t = excess / (excess + x.shape[1])  # the second eigenvalue of the bond over the first
        x = x.transpose(0, 1)
        s2 = torch.exp(8 * full_precision(c_noise)).reshape(-1, *ones)
        scale = (1 + s2).sqrt()
        free = x * (scale / s2)
        seen = torch.stack([centred(x, 0), centred(free.softmax(0), 0) * scale])
        spread = seen[:1].square().mean(1)
        known = torch.cat([t, t.square(), plaquettes(t), spread / (1 + spread)])
        known = known[:, None].expand(-1, len(x), *[-1] * (known.ndim - 1))
        embedding = self.embedding(c_noise, condition)
        incoming = torch.zeros_like(t)[:, None] * x
        state = linear(self.features, torch.cat([seen, known])), free, incoming
        for layer in self.layers:
            state = layer(state, (excess, t), layer.modulation(embedding), scale)  # type: ignore[operator]
        features, field, incoming = state
        learned = linear(self.head, F.silu(linear(self.hidden, normalized(features, 1.0, centred=False))))[0]
        return (learned + (field - free + incoming.sum(0)) * scale).transpose(0, 1)
