r"""Transfer matrix of Potts models whose layers are narrow, with couplings and fields of their own for each sample.

A layer of W sites has :math:`S = q^W` states; the state number is written in base q, the first site its leading digit.
The matrix between two layers is a product of W bonds :math:`1 + (e^K - 1)\,\delta(a, b)`, applied one after the other.
Source: the transfer matrix is textbook, the draw is the forward-filtering backward-sampling of hidden Markov chains.

Shapes: B batch (or 1, where all have the same couplings), L layers, W sites of a layer, M bonds inside a layer.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional as F

from physgen.errors import InputError

MOST_STATES = 3**9  # of a layer: 3^9 take 160 KB for each vector
MOST_RING = 3**8  # each state of the first layer is then an open chain: 8 x 8 sites of 3 states take 20 s
CHUNK = 2**22  # numbers of one forward pass held at once


@dataclass(frozen=True, eq=False)
class Layers:
    r"""Open chains of layers with the weight :math:`e^{\sum K_{ij} \delta(s_i, s_j)}`, all strengths times beta.

    Args:
        colours: q.
        inside: K (B, L, M) of the bonds inside each layer.
        ends: (M, 2) the two sites of each of these bonds, 0..W-1.
        links: K (B, L - 1, W) between site x of a layer and site x of the next one.

    Raises:
        InputError: a layer with more than 3^9 states.
    """

    colours: int
    inside: Tensor
    ends: Tensor
    links: Tensor

    def __post_init__(self) -> None:
        check_states(self.colours, self.links.shape[-1])

    @cached_property
    def digits(self) -> Tensor:
        """Colour of each site in each state, (W, S)."""
        return digits(self.colours, self.links.shape[-1])

    @cached_property
    def table(self) -> Tensor:
        """Whether a site has a colour in a state, (W q, S) float64."""
        return F.one_hot(self.digits, self.colours).transpose(1, 2).reshape(-1, self.digits.shape[1]).double()

    def log_partition(self, field: Tensor) -> Tensor:
        """ln Z (B,) in fields (B, L, W, q), which add to the exponent."""
        return torch.cat([layers._forward(part)[1] for layers, part in self._blocks(field)])

    def probabilities(self, field: Tensor) -> Tensor:
        """Probability of each colour at each site, (B, L, W, q), in fields of that shape."""
        return torch.cat([layers._probabilities(part) for layers, part in self._blocks(field)])

    def sample(self, field: Tensor, count: int, generator: torch.Generator) -> Tensor:
        """``count`` independent configurations (B, count, L, W) of colours in fields (B, L, W, q)."""
        drawn = []
        for layers, part in self._blocks(field):
            rows = max(1, CHUNK // (len(part) * self.digits.shape[1]))
            pieces = [min(rows, count - done) for done in range(0, count, rows)]
            forward = layers._forward(part)[0]
            drawn.append(torch.cat([layers._backward(forward, piece, generator) for piece in pieces], dim=1))
        return torch.cat(drawn)

    def _blocks(self, field: Tensor) -> list[tuple[Layers, Tensor]]:
        """Parts of the batch whose passes fit the memory."""
        rows = max(1, CHUNK // (field.shape[1] * self.digits.shape[1]))
        if len(self.links) == 1:
            return [(self, part) for part in field.split(rows)]
        split = (x.split(rows) for x in (self.inside, self.links, field))
        return [
            (Layers(self.colours, inside, self.ends, links), part) for inside, links, part in zip(*split, strict=True)
        ]

    def _weights(self, field: Tensor) -> Tensor:
        """ln weight of each state of each layer by itself, (B, L, S)."""
        weights = field.double().flatten(2) @ self.table
        if self.inside.shape[2]:
            same = (self.digits[self.ends[:, 0]] == self.digits[self.ends[:, 1]]).double()
            weights = weights + self.inside @ same
        return weights

    def _passed(self, vector: Tensor, links: Tensor) -> Tensor:
        """A vector (B, S) through the bonds K (B, W) to the next layer; the matrix is symmetric."""
        states, excess = vector.shape[1], torch.expm1(links)
        for site in range(links.shape[1]):
            split = vector.reshape(len(vector), self.colours**site, self.colours, -1)
            vector = (split.sum(2, keepdim=True) + excess[:, site].reshape(-1, 1, 1, 1) * split).reshape(-1, states)
        return vector

    def _forward(self, field: Tensor) -> tuple[list[Tensor], Tensor]:
        """ln weight of each state summed over all layers before it, (B, S) for each layer, and ln Z."""
        weights = self._weights(field)
        forward = [weights[:, 0]]
        for layer in range(1, weights.shape[1]):
            top = forward[-1].amax(1, keepdim=True)
            passed = self._passed((forward[-1] - top).exp(), self.links[:, layer - 1])
            forward.append(weights[:, layer] + passed.log() + top)
        return forward, forward[-1].logsumexp(1)

    def _probabilities(self, field: Tensor) -> Tensor:
        weights = self._weights(field)
        forward, _ = self._forward(field)
        after, found = torch.zeros_like(forward[-1]), []
        for layer in range(len(forward) - 1, -1, -1):
            found.append((forward[layer] + after).softmax(1) @ self.table.T)
            if layer:
                later = weights[:, layer] + after
                top = later.amax(1, keepdim=True)
                after = self._passed((later - top).exp(), self.links[:, layer - 1]).log()
        return torch.stack(found[::-1], 1).reshape(field.shape)

    def _backward(self, forward: list[Tensor], count: int, generator: torch.Generator) -> Tensor:
        drawn, known = [], forward[-1].new_zeros(len(forward[-1]), count, 1)
        for layer in range(len(forward) - 1, -1, -1):
            logits = forward[layer][:, None] + known  # (B, count, S)
            uniform = torch.rand(logits.shape, generator=generator, dtype=torch.float64)
            state = (logits - (-uniform.clamp(min=1e-300).log()).log()).argmax(-1)
            drawn.append(self.digits.T[state])
            if layer:
                held = F.one_hot(drawn[-1], self.colours).double() * self.links[:, layer - 1][:, None, :, None]
                known = held.flatten(2) @ self.table
        return torch.stack(drawn[::-1], 2)


def digits(colours: int, sites: int) -> Tensor:
    """Colour of each of W sites in each of q^W states, (W, S) int64."""
    axes = [torch.arange(colours)] * sites
    return torch.stack([axis.reshape(-1) for axis in torch.meshgrid(*axes, indexing="ij")])


def check_states(colours: int, sites: int, ring: bool = False) -> None:
    """Refuse layers with too many states; of a ring fewer are allowed."""
    most = MOST_RING if ring else MOST_STATES
    if colours**sites > most:
        raise InputError(
            f"a layer of {sites} sites with {colours} states each has {colours}^{sites} states, too many for the "
            f"transfer matrix (at most {MOST_STATES}, or {MOST_RING} where the first dim is periodic): shorten the "
            "lattice, or use method cluster or heat_bath"
        )


def chain_of(couplings: Tensor, colours: int) -> tuple[Layers, Tensor]:
    r"""Layers along the first dim of bonds K (B, d, \*grid), and the links (B, W) that close them into a ring."""
    batch, layers, width = len(couplings), couplings.shape[2], couplings[0, 0, 0].numel()
    ends, columns = torch.zeros((0, 2), dtype=torch.long), [couplings.new_zeros(batch, layers, 0)]
    site = torch.arange(width).reshape(couplings.shape[3:])
    for axis in range(site.ndim):
        pairs = torch.stack([site.reshape(-1), site.roll(-1, axis).reshape(-1)], dim=1)
        ends = torch.cat([ends, pairs])
        columns.append(couplings[:, 1 + axis].reshape(batch, layers, width))
    links = couplings[:, 0].reshape(batch, layers, width).double()
    return Layers(colours, torch.cat(columns, 2).double(), ends, links[:, :-1]), links[:, -1]


def solve(couplings: Tensor, colours: int, count: int, generator: torch.Generator) -> tuple[float, Tensor]:
    r"""ln Z and ``count`` independent configurations (count, \*grid) int64 of one instance, bonds K (d, \*grid)."""
    chain, seam = chain_of(couplings[None], colours)
    layers, width = couplings.shape[1], seam.shape[1]
    if not seam.any():
        field = torch.zeros(1, layers, width, colours, dtype=torch.float64)
        found = chain.sample(field, count, generator)[0] if count else torch.zeros(0, layers, width, dtype=torch.long)
        return float(chain.log_partition(field)), found.reshape(count, *couplings.shape[1:])
    rest, field, own = _opened(chain, seam)
    log_weights = own + rest.log_partition(field)
    chosen = torch.multinomial(log_weights.softmax(0), count, True, generator=generator) if count else own[:0].long()
    first = chain.digits.T[chosen]
    later = rest.sample(field[chosen], 1, generator)[:, 0] if count else first.new_zeros(0, layers - 1, width)
    found = torch.cat([first[:, None], later], dim=1)
    return float(log_weights.logsumexp(0)), found.reshape(count, *couplings.shape[1:])


def _opened(chain: Layers, seam: Tensor) -> tuple[Layers, Tensor, Tensor]:
    """The open chain of layers 1 ... L-1 in the fields of layer 0, held in each of its S states: chain, fields
    (S, L - 1, W, q), and the exponent of layer 0 itself (S,)."""
    check_states(chain.colours, seam.shape[1], ring=True)
    held = F.one_hot(chain.digits.T, chain.colours).double()  # (S, W, q)
    layers = chain.links.shape[1]
    field = torch.zeros(len(held), layers, *held.shape[1:], dtype=torch.float64)
    field[:, 0] += chain.links[0, 0][:, None] * held
    field[:, -1] += seam[0][:, None] * held
    own = chain._weights(torch.zeros(1, layers + 1, *held.shape[1:], dtype=torch.float64))[0, 0]
    return Layers(chain.colours, chain.inside[:, 1:], chain.ends, chain.links[:, 1:]), field, own
