r"""Message passing of +-1 spins on any graph, from sparse ones to the complete one.

The network F(x; K) with couplings K = beta J (a symmetric matrix, zero where there is no edge, or the list of edges:
:mod:`physgen.networks.bonds`) obeys, by construction and exactly,

.. math:: F(\epsilon_i x_i;\ \epsilon_i \epsilon_j K_{ij}) = \epsilon_i F(x; K) \quad \text{for all signs } \epsilon,

the gauge symmetry of a spin glass, hence F(-x; K) = -F(x; K), and it commutes with every renumbering of the spins. Its
weights do not know the number of spins. Features are odd (they change sign with their spin and move through an odd
function of the bond) or even (invariant; they move through the square of the bond), as on a lattice
(message_passing.py). External fields beta h change sign with their spin too, :math:`F(\epsilon_i x_i;
\epsilon_i \epsilon_j K_{ij}, \epsilon_i h_i) = \epsilon_i F(x; K, h)`, and enter as on a lattice: the network sees the
sum y/s^2 + beta h, with no parameter more, and none is the field 0.

Inside the layers runs a mean-field theory of the graph, which the layers correct: the equations of Thouless, Anderson
and Palmer in the order of approximate message passing, right where many weak couplings meet in a spin; or those of
Bethe, right where the graph is a tree near every spin.

Shapes: B batch, N spins, F odd and F even features, which stand last.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from physgen.networks.bonds import Bonds, bonds_of
from physgen.networks.layers import NoiseEmbedding, full_precision, zeroed
from physgen.networks.message_passing import MessageOptions, noise_scale

THEORIES = ("tap", "bethe")
Theory = Literal["tap", "bethe"]


class TAP(nn.Module):
    r"""Approximate message passing, damped.

    .. math:: u_i \leftarrow \sum_j K_{ij} m_j - m_i' \sum_j K_{ij}^2 (1 - m_j^2), \quad m_i = \tanh(h_i + u_i),

    with m' of the step before (Onsager's reaction of site i on its neighbours). The fixed point is that of Thouless,
    Anderson and Palmer 1977; the order of the times is Bolthausen's (2014), which converges wherever that fixed
    point is stable.
    """

    def start(self, field: Tensor, bonds: Bonds) -> Tensor:
        """Nothing has been said: u = 0, m' = 0. Shape (2, B, N)."""
        return torch.zeros_like(field).expand(2, *field.shape)

    def forward(self, field: Tensor, said: Tensor, bonds: Bonds, damping: float) -> Tensor:
        """One step: field h (B, N), said (2, B, N) -> said."""
        incoming, before = said
        now = torch.tanh(field + incoming)
        pulled = bonds.moved(now[..., None])[..., 0]
        reaction = before * bonds.spread((1 - now.square())[..., None])[..., 0]
        return torch.stack([damping * incoming + (1 - damping) * (pulled - reaction), now])

    def incoming(self, said: Tensor, bonds: Bonds) -> Tensor:
        """The field u of the other spins, (B, N)."""
        return said[0]


class Bethe(nn.Module):
    r"""Belief propagation, :math:`u_{j\to i} = \mathrm{atanh}[\tanh K_{ij} \tanh(h_j + \sum_{k\ne i} u_{k\to j})]`.

    Damped. Bethe 1935, Pearl 1988; exact on trees. One number for each directed edge.
    """

    def start(self, field: Tensor, bonds: Bonds) -> Tensor:
        """Nothing has been said: u = 0 on every directed edge, in the form of the bonds."""
        return bonds.silence()

    def forward(self, field: Tensor, said: Tensor, bonds: Bonds, damping: float) -> Tensor:
        """One step: field h (B, N), said -> said."""
        return damping * said + (1 - damping) * bonds.believed(field, said)

    def incoming(self, said: Tensor, bonds: Bonds) -> Tensor:
        """The sum of what a spin is told, (B, N)."""
        return bonds.told(said)


MeanFieldTheory = TAP | Bethe


class GraphLayer(nn.Module):
    """Steps of the mean-field theory, then an exchange of learned features that corrects fields and messages."""

    def __init__(self, width: int, theory: MeanFieldTheory, options: MessageOptions) -> None:
        super().__init__()
        self.theory: MeanFieldTheory = theory
        self.options = options
        self.read = nn.Linear(2, width, bias=False)
        self.modulation = nn.Linear(2 * width, 2 * width)
        self.gate = nn.Linear(width, width)
        self.receive = nn.Linear(width, width)
        self.message = nn.Linear(2 * width, width, bias=False)
        self.even_message = nn.Linear(2 * width, width)
        self.invariant = nn.Linear(2 * width, width)
        self.even_out = zeroed(nn.Linear(width, width))
        self.out_gate = nn.Linear(width, width)
        self.odd_out = nn.Linear(width, width, bias=False)
        self.gain = zeroed(nn.Linear(width, 1))
        self.pull = zeroed(nn.Linear(width, 1, bias=False))

    def forward(self, state: tuple[Tensor, ...], bonds: Bonds, embedding: Tensor, scale: Tensor) -> tuple[Tensor, ...]:
        """state: odd, even (B, N, F), field (B, N), what was said; scale (B, 1)."""
        odd, even, field, said = state
        for _ in range(self.options.iterations):
            said = self.theory(field, said, bonds, self.options.damping)
        incoming = self.theory.incoming(said, bonds)
        belief = torch.tanh(field + incoming)
        odd = odd + self.read(torch.stack([belief, incoming], -1) * scale[..., None])
        odd, even = self.exchange(odd, even, bonds, embedding)
        field = field + self.pull(odd)[..., 0] / scale + incoming * self.gain(even)[..., 0]
        return odd, even, field, said

    def exchange(self, odd: Tensor, even: Tensor, bonds: Bonds, embedding: Tensor) -> tuple[Tensor, Tensor]:
        """Odd features move with the couplings, even ones with their squares; products of odd ones feed even ones."""
        gain, bias = self.modulation(embedding)[:, None].chunk(2, -1)
        quiet = F.layer_norm(full_precision(even), even.shape[-1:]) * (1 + gain) + bias
        source = odd * (odd.square().mean(-1, keepdim=True) + 1).rsqrt() * (1 + self.gate(quiet))
        moved = bonds.moved(source) * (1 + self.receive(quiet))
        message = self.message(torch.cat([source, moved], -1))
        products = torch.cat([source * message, message.square()], -1)
        seen = self.even_message(torch.cat([quiet, bonds.spread(quiet)], -1))
        even = even + self.even_out(F.silu(seen + self.invariant(products / (1 + products.abs()))))
        return odd + self.odd_out(message * torch.sigmoid(self.out_gate(even))), even


class GraphPassing(nn.Module):
    r"""Gauge-equivariant network F(x, c_noise, condition) for the logit of spins on a graph, seen through noise.

    Input convention: :math:`x = y/\sqrt{1+s^2}`, c_noise = ln(s)/4, so that the local field is
    :math:`h = y/s^2 = x \sqrt{1+s^2}/s^2`; the output times :math:`1/\sqrt{1+s^2}` is added to the logit h. Before
    training that is the field of the mean-field theory after depth * iterations steps. With an external field
    ``condition["field"]`` the logit that it is added to, and the local field that it sees, is :math:`y/s^2 + \beta h`.

    Args:
        labels: columns of condition["labels"] (B, labels).
        width: features of each kind.
        depth: layers; each one moves information by one edge.
        iterations: of the mean-field theory in each layer (0: all is learned).
        damping: fraction of the old messages kept by each iteration.
        theory: ``tap`` for dense graphs of weak couplings, ``bethe`` for sparse ones (a message each way of an edge).

    Raises:
        ValueError: sizes out of range, an unknown theory.

    Example:
        >>> network = GraphPassing(labels=1, width=32, depth=6)
        >>> logit = network(x, s.log() / 4, {"matrix": couplings, "labels": temperature})  # (B, 1, N)
    """

    def __init__(
        self,
        labels: int = 0,
        *,
        width: int = 32,
        depth: int = 6,
        iterations: int = 3,
        damping: float = 0.2,
        theory: Theory = "tap",
    ) -> None:
        super().__init__()
        self.options = MessageOptions(depth, iterations, damping)
        if theory not in THEORIES:
            raise ValueError(f"the mean-field theory {theory!r} is unknown; choose one of {', '.join(THEORIES)}")
        self.theory: MeanFieldTheory = TAP() if theory == "tap" else Bethe()
        self.embedding = NoiseEmbedding(2 * width, labels)
        self.odd_in = nn.Linear(2, width, bias=False)
        self.even_in = nn.Linear(4, width)
        self.layers = nn.ModuleList(GraphLayer(width, self.theory, self.options) for _ in range(depth))
        self.gate = nn.Linear(width, width)
        self.head = zeroed(nn.Linear(width, 1, bias=False))

    def forward(self, x: Tensor, c_noise: Tensor, condition: dict[str, Tensor] | None = None) -> Tensor:
        """x (B, 1, N), c_noise (B,) = ln(s)/4, condition["matrix"] K (B, N, N) or ["edges"] (B, M, 2) and ["bonds"] K
        (B, M), condition["labels"] where the network has labels, condition["field"] beta h (B, 1, N) or none
        -> (B, 1, N)."""
        bonds = bonds_of(condition, x.shape[-1])
        s2, full = torch.exp(8 * full_precision(c_noise))[:, None], noise_scale(c_noise)[:, None]
        seen, free, scale = x[:, 0], x[:, 0] * full / s2, full  # y/s^2
        outer = (condition or {}).get("field")
        if outer is not None:
            outer = full_precision(outer).reshape(free.shape)
            free = free + outer
            scale = full / (1 + s2 * outer.square().mean(1, keepdim=True)).sqrt()
            seen = free * (scale * s2 / (1 + s2))  # x where there is no field
        odd = torch.stack([seen, torch.tanh(free) * scale], -1)
        degree = bonds.degree()
        even = torch.cat([degree / (1 + degree), odd.square() / (1 + odd.square())], -1)
        embedding = self.embedding(c_noise, condition)
        state = self.odd_in(odd), self.even_in(even), free, self.theory.start(free, bonds)
        for layer in self.layers:
            state = layer(state, bonds, embedding, scale)
        odd, even, field, said = state
        correction = self.head(odd * torch.sigmoid(self.gate(even)))[..., 0]
        found = correction + (field - free + self.theory.incoming(said, bonds)) * scale
        return (found * (full / scale) if outer is not None else found)[:, None]  # in units of what adds to the logit
