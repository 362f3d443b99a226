r"""Message passing of +-1 spins on any graph, from sparse ones to the complete one.

The network F(x; K) with couplings K = beta J (a symmetric matrix, zero where there is no edge) obeys, by construction
and exactly,

.. math:: F(\epsilon_i x_i;\ \epsilon_i \epsilon_j K_{ij}) = \epsilon_i F(x; K) \quad \text{for all signs } \epsilon,

the gauge symmetry of a spin glass, hence F(-x; K) = -F(x; K), and it commutes with every renumbering of the spins. Its
weights do not know the number of spins. Features are odd (they change sign with their spin and move through an odd
function of the bond) or even (invariant; they move through the square of the bond), as on a lattice
(message_passing.py).

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

from physgen.networks.layers import NoiseEmbedding, full_precision, zeroed
from physgen.networks.message_passing import CERTAIN, MessageOptions

THEORIES = ("tap", "bethe")
Theory = Literal["tap", "bethe"]


class TAP(nn.Module):
    r"""Approximate message passing, damped.

    .. math:: u_i \leftarrow \sum_j K_{ij} m_j - m_i' \sum_j K_{ij}^2 (1 - m_j^2), \quad m_i = \tanh(h_i + u_i),

    with m' of the step before (Onsager's reaction of site i on its neighbours). The fixed point is that of Thouless,
    Anderson and Palmer 1977; the order of the times is Bolthausen's (2014), which converges wherever that fixed
    point is stable.
    """

    def start(self, couplings: Tensor) -> Tensor:
        """Nothing has been said: u = 0, m' = 0. Shape (2, B, N)."""
        return couplings.new_zeros(2, *couplings.shape[:2])

    def forward(self, field: Tensor, said: Tensor, couplings: Tensor, squares: Tensor, damping: float) -> Tensor:
        """One step: field h (B, N), said (2, B, N), K and K^2 (B, N, N) -> said."""
        incoming, before = said
        now = torch.tanh(field + incoming)
        pulled = torch.bmm(couplings, now[..., None])[..., 0]
        reaction = before * torch.bmm(squares, (1 - now.square())[..., None])[..., 0]
        return torch.stack([damping * incoming + (1 - damping) * (pulled - reaction), now])

    def incoming(self, said: Tensor) -> Tensor:
        """The field u of the other spins, (B, N)."""
        return said[0]


class Bethe(nn.Module):
    r"""Belief propagation, :math:`u_{j\to i} = \mathrm{atanh}[\tanh K_{ij} \tanh(h_j + \sum_{k\ne i} u_{k\to j})]`.

    Damped. Bethe 1935, Pearl 1988; exact on trees. One number for each ordered pair of spins.
    """

    def start(self, couplings: Tensor) -> Tensor:
        """Nothing has been said: u_{j to i} = 0 at [b, i, j]. Shape (B, N, N)."""
        return torch.zeros_like(couplings)

    def forward(self, field: Tensor, said: Tensor, couplings: Tensor, squares: Tensor, damping: float) -> Tensor:
        """One step: field h (B, N), said (B, N, N), K (B, N, N) -> said."""
        cavity = torch.tanh((field + said.sum(-1))[..., None] - said)  # [b, j, i]: of j without i
        heard = (torch.tanh(couplings) * cavity.transpose(1, 2)).clamp(-CERTAIN, CERTAIN)
        return damping * said + (1 - damping) * torch.atanh(heard)

    def incoming(self, said: Tensor) -> Tensor:
        """The sum of what a spin is told, (B, N)."""
        return said.sum(-1)


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

    def forward(
        self, state: tuple[Tensor, ...], bonds: tuple[Tensor, Tensor], embedding: Tensor, scale: Tensor
    ) -> tuple[Tensor, ...]:
        """state: odd, even (B, N, F), field (B, N), what was said; bonds: K and its squares; scale (B, 1)."""
        odd, even, field, said = state
        for _ in range(self.options.iterations):
            said = self.theory(field, said, *bonds, self.options.damping)
        incoming = self.theory.incoming(said)
        belief = torch.tanh(field + incoming)
        odd = odd + self.read(torch.stack([belief, incoming], -1) * scale[..., None])
        odd, even = self.exchange(odd, even, bonds, embedding)
        field = field + self.pull(odd)[..., 0] / scale + incoming * self.gain(even)[..., 0]
        return odd, even, field, said

    def exchange(
        self, odd: Tensor, even: Tensor, bonds: tuple[Tensor, Tensor], embedding: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Odd features move with the couplings, even ones with their squares; products of odd ones feed even ones."""
        gain, bias = self.modulation(embedding)[:, None].chunk(2, -1)
        quiet = F.layer_norm(full_precision(even), even.shape[-1:]) * (1 + gain) + bias
        source = odd * (odd.square().mean(-1, keepdim=True) + 1).rsqrt() * (1 + self.gate(quiet))
        moved = torch.bmm(bonds[0], source) * (1 + self.receive(quiet))
        message = self.message(torch.cat([source, moved], -1))
        products = torch.cat([source * message, message.square()], -1)
        seen = self.even_message(torch.cat([quiet, torch.bmm(bonds[1], quiet)], -1))
        even = even + self.even_out(F.silu(seen + self.invariant(products / (1 + products.abs()))))
        return odd + self.odd_out(message * torch.sigmoid(self.out_gate(even))), even


class GraphPassing(nn.Module):
    r"""Gauge-equivariant network F(x, c_noise, condition) for the logit of spins on a graph, seen through noise.

    Input convention: :math:`x = y/\sqrt{1+s^2}`, c_noise = ln(s)/4, so that the local field is
    :math:`h = y/s^2 = x \sqrt{1+s^2}/s^2`; the output times :math:`1/\sqrt{1+s^2}` is added to the logit h. Before
    training that is the field of the mean-field theory after depth * iterations steps.

    Args:
        labels: columns of condition["labels"] (B, labels).
        width: features of each kind.
        depth: layers; each one moves information by one edge.
        iterations: of the mean-field theory in each layer (0: all is learned).
        damping: fraction of the old messages kept by each iteration.
        theory: ``tap`` for dense graphs of weak couplings, ``bethe`` for sparse ones (N^2 messages for each sample).

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
        """x (B, 1, N), c_noise (B,) = ln(s)/4, condition["matrix"] K (B, N, N) and, where the network has labels,
        condition["labels"] -> (B, 1, N)."""
        couplings, spins = (condition or {}).get("matrix"), x.shape[-1]
        if couplings is None or couplings.shape[1:] != (spins, spins):
            given = "none" if couplings is None else f"shape {tuple(couplings.shape)}"
            raise ValueError(f'condition["matrix"] must hold beta J, shape (B, {spins}, {spins}), got {given}')
        bonds = couplings, couplings.square()
        s2 = torch.exp(8 * full_precision(c_noise))[:, None]
        scale = (1 + s2).sqrt()
        free = x[:, 0] * scale / s2  # y/s^2
        odd = torch.stack([x[:, 0], torch.tanh(free) * scale], -1)
        degree = torch.stack([bonds[1].sum(-1), bonds[1].square().sum(-1)], -1)
        even = torch.cat([degree / (1 + degree), odd.square() / (1 + odd.square())], -1)
        embedding = self.embedding(c_noise, condition)
        state = self.odd_in(odd), self.even_in(even), free, self.theory.start(couplings)
        for layer in self.layers:
            state = layer(state, bonds, embedding, scale)
        odd, even, field, said = state
        correction = self.head(odd * torch.sigmoid(self.gate(even)))[..., 0]
        return (correction + (field - free + self.theory.incoming(said)) * scale)[:, None]
