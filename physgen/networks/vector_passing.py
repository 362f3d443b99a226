r"""Message passing on the bonds of a periodic lattice whose sites have a unit vector of the plane, or of any space.

The network F(x; K) with couplings K = beta J (the weight :math:`e^{K e_i \cdot e_j}` of a bond) works on features that
are vectors: it adds them up with coefficients, and what is not linear are factors that depend on their lengths alone.
So it commutes, by construction and exactly, with all rotations and reflections of the vectors, and with translations.
Belief propagation runs inside the layers, which correct its fields and messages for the loops of the lattice: the
message of a neighbour whose cavity field is c is the vector u along c with :math:`A(|u|) = A(K)\,A(|c|)`, the first
harmonic of what the bond passes on, with :math:`A(c) \approx c/(1/2 + \sqrt{c^2 + 9/4})`.

Shapes: B batch, *grid lattice, d its dimension, D = 2d directions (+dim, -dim for each space dim in order), F features.
Inside, features and directions stand first, then the two components: (F, 2, B, *grid).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from physgen.lattice.moves import neighbour
from physgen.networks.layers import NoiseEmbedding, full_precision, zeroed
from physgen.networks.message_passing import linear, plaquettes

SMALLEST = 1e-6  # length of a vector that has a slope
State = tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class VectorOptions:
    """Shape of the network beside its width: the arguments of :class:`VectorPassing` of these names."""

    depth: int
    iterations: int
    damping: float

    def __post_init__(self) -> None:
        if self.depth < 1 or self.iterations < 0 or not 0 <= self.damping < 1:
            raise ValueError(f"vector passing needs depth >= 1, iterations >= 0 and 0 <= damping < 1, got {self}")


def shortened(square: Tensor) -> Tensor:
    r""":math:`A(c)/c` of :math:`c^2`, 1/3 to 1/2 and less: within 5 %, right at both ends."""
    return 1 / (0.5 + (square + 2.25).sqrt())


def believe(field: Tensor, incoming: Tensor, held: Tensor, damping: float) -> Tensor:
    r"""One damped iteration of belief propagation.

    field (2, B, *grid); incoming (D, 2, B, *grid): the message to each site from its neighbour in each direction;
    held = A(K) (D, B, *grid).
    """
    cavity = field + incoming.sum(0) - incoming
    square = cavity.square().sum(1)
    mean = cavity * shortened(square)[:, None]
    sent = torch.stack([neighbour(mean[a ^ 1], a, held.ndim - 2) for a in range(len(held))]) * held[:, None]
    return damping * incoming + (1 - damping) * lengthened(sent)


def lengthened(mean: Tensor) -> Tensor:
    r"""The inverse of :math:`c \to c\,A(|c|)/|c|` for vectors (D, 2, ...) inside the unit disc."""
    square = mean.square().sum(1, keepdim=True).clamp(max=1 - 1e-6)
    rest = 1 - square
    return mean * (0.5 + 0.5 * (square + (square.square() + rest * (square + 9)).sqrt()) / rest)


class VectorLayer(nn.Module):
    """Iterations of belief propagation, then an exchange of learned features that corrects its fields and messages."""

    def __init__(self, sizes: tuple[int, int], width: int, embedding: int, options: VectorOptions) -> None:
        super().__init__()
        self.directions, known = sizes
        self.options = options
        self.read = nn.Linear(self.directions + 1, width, bias=False)
        self.modulation = nn.Linear(embedding, 3 * width)
        self.message = nn.Linear((self.directions + 1) * width, 2 * width, bias=False)
        self.gate = nn.Linear(2 * width + known, 2 * width, bias=False)
        self.out = zeroed(nn.Linear(2 * width, width, bias=False))
        self.gain = zeroed(nn.Linear(2 * width, self.directions))
        self.pull = zeroed(nn.Linear(width, 1, bias=False))

    def forward(self, state: State, bonds: tuple[Tensor, Tensor], modulation: Tensor, scale: Tensor) -> State:
        """state: features (F, 2, B, *grid), field (2, B, *grid), incoming (D, 2, B, *grid); bonds: A(K) (D, B, *grid)
        and what is known of them (G, B, *grid); modulation (B, 3 F); scale (B, 1, ...) = sqrt(1 + s^2)."""
        features, field, incoming = state
        held, known = bonds
        for _ in range(self.options.iterations):
            incoming = believe(field, incoming, held, self.options.damping)
        total = field + incoming.sum(0)
        belief = total * shortened(total.square().sum(0))
        features = features + linear(self.read, torch.cat([belief[None], incoming]) * scale)
        rows = modulation.T.reshape(3 * len(features), -1, *[1] * (held.ndim - 2))
        gain, bias = rows[: len(features)], rows[len(features) :]
        power = features.square().sum(1).mean(0)
        quiet = features * ((1 + gain) * (power + 1).rsqrt())[:, None]
        moved = [held[a] * neighbour(quiet, a, held.ndim - 2) for a in range(self.directions)]
        hidden = linear(self.message, torch.cat([quiet, *moved]))
        lengths = (hidden.square().sum(1) + SMALLEST**2).sqrt()
        gates = torch.sigmoid(linear(self.gate, torch.cat([lengths, known])) + bias)
        features = features + linear(self.out, hidden * gates[:, None])
        incoming = incoming * (1 + linear(self.gain, gates))[:, None]
        return features, field + linear(self.pull, features)[0] / scale, incoming


class VectorPassing(nn.Module):
    r"""Network F(x, c_noise, condition) for the fields of unit vectors seen through Gaussian noise.

    Input convention: :math:`x = y/\sqrt{1+s^2}`, c_noise = ln(s)/4, so that the local field is
    :math:`h = y/s^2 = x \sqrt{1+s^2}/s^2`; the output times :math:`1/\sqrt{1+s^2}` is added to h. Before training that
    is belief propagation after a few iterations: the exact field where there are no bonds.

    Args:
        dimension: d of the lattice.
        labels: columns of condition["labels"] (B, labels).
        width: features, each a vector.
        depth: layers; each one moves information by one bond, and each iteration by one more.
        iterations: of belief propagation in each layer (0: all is learned).
        damping: fraction of the old message kept by each iteration.

    Raises:
        ValueError: sizes out of range.

    Example:
        >>> network = VectorPassing(2, labels=1, width=16, depth=6)
        >>> field = network(x, s.log() / 4, {"channels": couplings, "labels": temperature})  # (B, 2, L, L)
    """

    def __init__(
        self,
        dimension: int,
        labels: int = 0,
        *,
        width: int = 16,
        depth: int = 6,
        iterations: int = 2,
        damping: float = 0.3,
    ) -> None:
        super().__init__()
        self.options = VectorOptions(depth, iterations, damping)
        if width < 1:
            raise ValueError(f"the width must be at least 1, got {width}")
        self.dimension, directions = dimension, 2 * dimension
        known = 2 * directions + 2 * dimension * (dimension - 1)
        self.embedding = NoiseEmbedding(2 * width, labels)
        self.features = nn.Linear(2, width, bias=False)
        self.layers = nn.ModuleList(
            VectorLayer((directions, known), width, 2 * width, self.options) for _ in range(self.options.depth)
        )
        self.head = zeroed(nn.Linear(width, 1, bias=False))

    def forward(self, x: Tensor, c_noise: Tensor, condition: dict[str, Tensor] | None = None) -> Tensor:
        """x (B, 2, *grid), c_noise (B,) = ln(s)/4, condition["channels"] K (B, D, *grid) and, where the network has
        labels, condition["labels"] -> (B, 2, *grid)."""
        couplings = (condition or {}).get("channels")
        expected = (2 * self.dimension, *x.shape[2:])
        if couplings is None or couplings.shape[1:] != expected:
            given = "none" if couplings is None else f"shape {tuple(couplings.shape)}"
            raise ValueError(f'condition["channels"] must hold the bonds of each site, shape {expected}, got {given}')
        bonds = couplings.transpose(0, 1).contiguous()
        held = bonds * shortened(bonds.square())
        known = torch.cat([held, held.square(), plaquettes(held)])
        x = x.transpose(0, 1)
        s2 = torch.exp(8 * full_precision(c_noise)).reshape(-1, *[1] * self.dimension)
        scale = (1 + s2).sqrt()
        free = x * (scale / s2)
        belief = free * shortened(free.square().sum(0)) * scale
        embedding = self.embedding(c_noise, condition)
        state = linear(self.features, torch.stack([x, belief])), free, torch.zeros_like(bonds)[:, None] * x
        for layer in self.layers:
            state = layer(state, (held, known), layer.modulation(embedding), scale)  # type: ignore[operator]
        features, field, incoming = state
        learned = linear(self.head, features)[0]
        return (learned + (field - free + incoming.sum(0)) * scale).transpose(0, 1)
