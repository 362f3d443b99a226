r"""Message passing on the bonds of a periodic lattice of +-1 spins.

The network F(x; K) with couplings K = beta J obeys, by construction and exactly,

.. math:: F(\epsilon_i x_i;\ \epsilon_i \epsilon_j K_{ij}) = \epsilon_i F(x; K) \quad \text{for all signs } \epsilon,

the gauge symmetry of the Edwards-Anderson model, hence also F(-x; K) = -F(x; K), and it commutes with translations.
It carries two kinds of features: odd ones, which change sign with their site and move between sites only through an odd
function of the bond, and even ones, which are invariant and move freely. Even features gate odd ones; products of two
odd features of a site are even. Belief propagation (the Bethe approximation, exact on trees) runs inside the layers,
which correct its fields and messages for the loops of the lattice.

External fields beta h change sign with their site too, F(-x; K, -h) = -F(x; K, h). The law given y knows h and y as the
sum :math:`y/s^2 + \beta h` alone, so that sum is what the network sees of both: a field adds no parameters, and none is
the field 0. Its root mean square sets the size that local fields have at large s, where y alone tells O(1/s).

Shapes: B batch, *grid lattice, d its dimension, D = 2d directions (+dim, -dim for each space dim in order), F odd
and E even features. Inside, features and directions stand first: (F, B, *grid), so that what gates or sums them
runs along the lattice, and a linear map of the features is one product of two matrices.
"""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from physgen.lattice.moves import neighbour
from physgen.networks.gates import normalized, squashed
from physgen.networks.layers import NoiseEmbedding, full_precision, zeroed
from physgen.networks.passing import Features, has_kernel, passed

HEADS = 4  # gates of each bond
CERTAIN = 1 - 1e-6  # keeps atanh finite in float32
EPSILON = 1e-5  # added to a variance
State = tuple[Tensor, ...]


@dataclass(frozen=True)
class MessageOptions:
    """Shape of the network beside its width: the arguments of :class:`MessagePassing` of these names."""

    depth: int
    iterations: int
    damping: float

    def __post_init__(self) -> None:
        if self.depth < 1 or self.iterations < 0 or not 0 <= self.damping < 1:
            raise ValueError(f"message passing needs depth >= 1, iterations >= 0 and 0 <= damping < 1, got {self}")


def linear(layer: nn.Module, x: Tensor) -> Tensor:
    """An ``nn.Linear`` on the features that stand first: (F, B, *grid) -> (F', B, *grid)."""
    assert isinstance(layer, nn.Linear)
    flat = x.flatten(1)
    out = layer.weight @ flat if layer.bias is None else torch.addmm(layer.bias[:, None], layer.weight, flat)
    return out.unflatten(1, x.shape[1:])


def noise_scale(c_noise: Tensor) -> Tensor:
    """sqrt(1 + s^2) of ln(s)/4, (B,): one over the size of what y tells of the logit at large s."""
    return (1 + torch.exp(8 * full_precision(c_noise))).sqrt()


def plaquettes(t: Tensor) -> Tensor:
    """Gauge-invariant products of t around the squares at each site: (D, B, *grid) -> (2 d (d - 1), B, *grid)."""
    directions = len(t)
    products = []
    for a in range(directions):
        for b in range(a + 1, directions):
            if a // 2 != b // 2:
                far = neighbour(t[b], a, directions // 2) * neighbour(t[a], b, directions // 2)
                products.append(t[a] * t[b] * far)
    return torch.stack(products) if products else t[:0]


def believe(field: Tensor, incoming: Tensor, t: Tensor, damping: float) -> Tensor:
    r"""Belief propagation, :math:`u_{j \to i} = \mathrm{atanh}[t_{ij} \tanh(h_j + \sum_{k \ne i} u_{k \to j})]`.

    Damped. field h (B, *grid); incoming u (D, B, *grid): the message to each site from its neighbour in each direction;
    t = tanh K (D, B, *grid).
    """
    cavity = torch.tanh(field + incoming.sum(0) - incoming)
    sent = torch.stack([neighbour(cavity[a ^ 1], a, len(t) // 2) for a in range(len(t))])
    return damping * incoming + (1 - damping) * torch.atanh((t * sent).clamp(-CERTAIN, CERTAIN))


class MessageLayer(nn.Module):
    """Iterations of belief propagation, then an exchange of learned features that corrects its fields and messages."""

    def __init__(self, directions: int, width: int, embedding: int, options: MessageOptions) -> None:
        super().__init__()
        self.directions, self.options = directions, options
        self.read = nn.Linear(directions + 1, width, bias=False)
        self.modulation = nn.Linear(embedding, 2 * width)
        self.gate = nn.Linear(width, width + directions * HEADS)
        self.message = nn.Linear((directions + 1) * width, width, bias=False)
        self.even_message = nn.Linear((directions + 1) * width, width)
        self.invariant = nn.Linear(2 * width, width)
        self.even_out = zeroed(nn.Linear(width, width))
        self.out_gate = nn.Linear(width, width)
        self.odd_out = nn.Linear(width, width, bias=False)
        self.gain = zeroed(nn.Linear(width, directions))
        self.pull = zeroed(nn.Linear(width, 1, bias=False))

    def forward(
        self, state: tuple[Tensor, ...], bonds: Tensor, modulation: Tensor, scale: Tensor
    ) -> tuple[Tensor, ...]:
        """state: odd, even (F, B, *grid), field (B, *grid), incoming (D, B, *grid); bonds = tanh K (D, B, *grid);
        modulation (B, 2, F): gain and bias."""
        odd, even, field, incoming = state
        gain = 1 + linear(self.gain, even)
        for _ in range(self.options.iterations):
            incoming = believe(field, incoming, bonds, self.options.damping)
        incoming = incoming * gain
        belief = torch.tanh(field + incoming.sum(0))
        odd = odd + linear(self.read, torch.cat([belief[None], incoming]) * scale)
        odd, even = self.exchange(odd, even, bonds, modulation)
        return odd, even, field + linear(self.pull, odd)[0] / scale, incoming

    def exchange(self, odd: Tensor, even: Tensor, bonds: Tensor, modulation: Tensor) -> tuple[Tensor, Tensor]:
        """Odd features move with the bonds, even ones freely; products of odd ones feed even ones, which gate odd."""
        width, directions, dimension = len(odd), range(self.directions), self.directions // 2
        gain, bias = modulation.permute(1, 2, 0).reshape(2, width, -1, *[1] * dimension)
        quiet = torch.addcmul(bias, normalized(full_precision(even), EPSILON), 1 + gain)
        gates = 1 + linear(self.gate, quiet)
        source = normalized(odd, 1.0, centred=False) * gates[:width]
        heads = source.unflatten(0, (HEADS, -1))
        bond = (bonds[:, None] * gates[width:].unflatten(0, (self.directions, HEADS)))[:, :, None]  # (D, HEADS, 1, ...)
        moved = [(bond[a] * neighbour(heads, a, dimension)).flatten(0, 1) for a in directions]
        message = linear(self.message, torch.cat([source, *moved]))
        products = torch.cat([source * message, message.square()])
        seen = linear(self.even_message, torch.cat([quiet, *[neighbour(quiet, a, dimension) for a in directions]]))
        even = even + linear(self.even_out, F.silu(seen + linear(self.invariant, squashed(products))))
        return odd + linear(self.odd_out, message * torch.sigmoid(linear(self.out_gate, even))), even


class MessagePassing(nn.Module):
    r"""Gauge-equivariant network F(x, c_noise, condition) for the logit of spins seen through Gaussian noise.

    Input convention: :math:`x = y/\sqrt{1+s^2}`, c_noise = ln(s)/4, so that the local field is
    :math:`h = y/s^2 = x \sqrt{1+s^2}/s^2`; the output times :math:`1/\sqrt{1+s^2}` is added to the logit h. Before
    training that is belief propagation after a few iterations. With an external field ``condition["field"]`` the logit
    that it is added to, and the local field that it sees, is :math:`y/s^2 + \beta h`.

    Args:
        dimension: d of the lattice. in_channels, out_channels: 1, one spin a site.
        condition_channels: 2d, the bonds of each site, or None for the same.
        labels: columns of condition["labels"] (B, labels).
        width: features of each kind, a multiple of 4.
        depth: layers; each one moves information by one bond.
        iterations: of belief propagation in each layer (0: all is learned).
        damping: fraction of the old message kept by each iteration.

    Raises:
        ValueError: more than one spin a site, or sizes out of range.

    Example:
        >>> network = MessagePassing(2, labels=1, width=32, depth=6)
        >>> logit = network(x, s.log() / 4, {"channels": couplings, "labels": temperature})  # (B, 1, L, L)
    """

    fixed_operations = True  # see diffusion/recording.py

    def __init__(
        self,
        dimension: int,
        in_channels: int = 1,
        out_channels: int = 1,
        condition_channels: int | None = None,
        labels: int = 0,
        *,
        width: int = 32,
        depth: int = 6,
        iterations: int = 3,
        damping: float = 0.3,
    ) -> None:
        super().__init__()
        self.options = MessageOptions(depth, iterations, damping)
        self.dimension, directions = dimension, 2 * dimension
        if (in_channels, out_channels) != (1, 1):
            raise ValueError(
                f"message passing is for one spin a site, got {in_channels} channels in, {out_channels} out"
            )
        if condition_channels not in (None, directions):
            raise ValueError(
                f"bonds in {dimension} dimensions have {directions} condition channels, got {condition_channels}"
            )
        if width % HEADS:
            raise ValueError(f"the width must be a multiple of {HEADS}, got {width}")
        squares = 2 * dimension * (dimension - 1)
        self.embedding = NoiseEmbedding(2 * width, labels)
        self.odd_in = nn.Linear(2, width, bias=False)
        self.even_in = nn.Linear(directions + squares + 2, width)
        self.layers = nn.ModuleList(
            MessageLayer(directions, width, 2 * width, self.options) for _ in range(self.options.depth)
        )
        self.gate = nn.Linear(width, width)
        self.head = zeroed(nn.Linear(width, 1, bias=False))

    def forward(self, x: Tensor, c_noise: Tensor, condition: dict[str, Tensor] | None = None) -> Tensor:
        """x (B, 1, *grid), c_noise (B,) = ln(s)/4, condition["channels"] K (B, D, *grid), where the network has labels
        condition["labels"], and condition["field"] beta h (B, 1, *grid) or none -> (B, 1, *grid)."""
        couplings = (condition or {}).get("channels")
        if couplings is None or couplings.shape[1:] != (2 * self.dimension, *x.shape[2:]):
            given = "none" if couplings is None else f"shape {tuple(couplings.shape)}"
            expected = (2 * self.dimension, *x.shape[2:])
            raise ValueError(f'condition["channels"] must hold the bonds of each site, shape {expected}, got {given}')
        features = self._features(x, c_noise, couplings, condition)
        found = passed(self, features) if has_kernel(x, self.odd_in.weight) else self.composed(features)
        if (condition or {}).get("field") is not None:  # in units of what is added to the logit
            found = found * (noise_scale(c_noise) / features.scale).to(found.dtype).reshape(-1, *[1] * self.dimension)
        return found[:, None]

    def _features(self, x: Tensor, c_noise: Tensor, couplings: Tensor, condition: dict[str, Tensor] | None) -> Features:
        t = torch.tanh(couplings).transpose(0, 1).contiguous()  # (D, B, *grid)
        s2, scale = torch.exp(8 * full_precision(c_noise)), noise_scale(c_noise)
        ones = [1] * self.dimension
        seen, free = x[:, 0], x[:, 0] * (scale / s2).reshape(-1, *ones)  # y/s^2
        outer = (condition or {}).get("field")
        if outer is not None:
            outer = full_precision(outer).reshape(free.shape)
            free = free + outer
            scale = scale / (1 + s2 * outer.square().flatten(1).mean(1)).sqrt()
            seen = free * (scale * s2 / (1 + s2)).reshape(-1, *ones)  # x where there is no field
        odd = torch.stack([seen, torch.tanh(free) * scale.reshape(-1, *ones)])
        even = torch.cat([t.square(), plaquettes(t), odd.square() / (1 + odd.square())])
        linears = [cast("MessageLayer", layer).modulation for layer in self.layers]
        weight, bias = (torch.cat([getattr(one, name) for one in linears]) for name in ("weight", "bias"))
        modulation = F.linear(self.embedding(c_noise, condition), weight, bias).unflatten(1, (len(linears), 2, -1))
        return Features(odd, even, free, t, modulation, scale)

    def composed(self, features: Features) -> Tensor:
        """All layers by torch's operations: the definition. Shape (B, *grid)."""
        odd, even, free, t, modulation, scale = features.tensors()
        scale = scale.reshape(-1, *[1] * self.dimension)
        state = linear(self.odd_in, odd), linear(self.even_in, even), free, torch.zeros_like(t)
        for number, layer in enumerate(self.layers):
            state = layer(state, t, modulation[:, number], scale)
        odd, even, field, incoming = state
        correction = linear(self.head, odd * torch.sigmoid(linear(self.gate, even)))[0]
        return correction + (field - free + incoming.sum(0)) * scale
