r"""Transfer matrix of Ising models whose layers are narrow, with couplings of their own for each sample.

A layer of W spins has :math:`S = 2^W` states, numbered as in :func:`physgen.diffusion.exact.atoms.enumerate_spins`.
The matrix between two layers is a product of W two-state bonds; it is applied as two dense factors, one for the low
and one for the high half of the bits: :math:`2 S^{3/2}` multiplications in place of :math:`S^2`, and 2 S numbers.

Shapes: B batch (or 1, where all samples have the same couplings), L layers, W spins of a layer, M bonds inside a layer.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from physgen.diffusion.exact.atoms import enumerate_spins
from physgen.diffusion.exact.spins import SpinLaw
from physgen.errors import InputError

# 2^20 states are 8 MiB for each vector, of which a solution keeps three for each layer: 20 x 20 spins take 1.2 GiB and
# 5 s of a core here (16 x 16: 60 MiB, 0.1 s), and each spin more four times that
WIDEST = 20
CHUNK = 2**21  # numbers of one forward pass held at once


def check_width(width: int, ring: bool = False) -> None:
    """Refuse layers that are too wide for a transfer matrix, whoever applies it.

    Args:
        width: W, spins of a layer.
        ring: whether the layers close into a ring; each of the 2^W states of the first one is then an open chain.
    """
    most = WIDEST // 2 if ring else WIDEST
    if width > most:
        raise InputError(
            f"a layer of {width} spins is too wide for the transfer matrix (at most {WIDEST}, or {WIDEST // 2} where "
            "the first dim is periodic): shorten the lattice, or use method parallel_tempering"
        )


@dataclass(frozen=True, eq=False)
class Layers:
    r"""Open chains of layers with the weight :math:`e^{\sum K_{ij} S_i S_j}`, all strengths times beta.

    Args:
        inside: K (B, L, M) of the bonds inside each layer.
        ends: (M, 2) the two spins of each of these bonds, 0..W-1.
        links: K (B, L - 1, W) between spin x of a layer and spin x of the next one.

    Raises:
        InputError: a layer wider than 20 spins.
    """

    inside: Tensor
    ends: Tensor
    links: Tensor

    def __post_init__(self) -> None:
        check_width(self.links.shape[-1])

    @cached_property
    def states(self) -> Tensor:
        """Spins of each state (W, S), float64."""
        return enumerate_spins(self.links.shape[-1]).T.to(self.links.device, torch.float64).contiguous()

    @cached_property
    def bonds(self) -> Tensor:
        """Products of the two spins of each bond inside a layer, (M, S)."""
        return self.states[self.ends[:, 0]] * self.states[self.ends[:, 1]]

    def log_partition(self, field: Tensor) -> Tensor:
        r""":math:`\log Z` (B,) in fields (B, L, W)."""
        return torch.cat([layers._log_partition(part) for layers, part in self._blocks(field)])

    def magnetisation(self, field: Tensor) -> Tensor:
        r""":math:`\langle S\rangle` (B, L, W) in fields (B, L, W), by a forward and a backward pass."""
        return torch.cat([layers._magnetisation(part) for layers, part in self._blocks(field)])

    def sample(self, field: Tensor, generator: torch.Generator) -> Tensor:
        """Independent configurations (B, L, W) in fields (B, L, W): forward filtering, backward sampling."""
        return torch.cat([layers._sample(part, generator) for layers, part in self._blocks(field)])

    def _blocks(self, field: Tensor) -> list[tuple[Layers, Tensor]]:
        """Parts of the batch whose passes fit the memory."""
        rows = max(1, CHUNK // (field.shape[1] << field.shape[2]))
        if len(self.links) == 1:
            return [(self, part) for part in field.split(rows)]
        split = (t.split(rows) for t in (self.inside, self.links, field))
        return [(Layers(inside, self.ends, links), part) for inside, links, part in zip(*split, strict=True)]

    def _passes(self) -> list[tuple[Tensor, Tensor]]:
        """The two factors of the matrix between each pair of layers."""
        half = self.links.shape[2] // 2
        return [(_kronecker(links[:, :half]), _kronecker(links[:, half:])) for links in self.links.unbind(1)]

    def _weights(self, field: Tensor) -> Tensor:
        """ln weight of each state of each layer by itself, (B, L, S)."""
        weights = field @ self.states
        return weights + self.inside @ self.bonds if self.inside.shape[2] else weights

    def _forward(self, weights: Tensor, passes: list[tuple[Tensor, Tensor]]) -> tuple[list[Tensor], Tensor]:
        """Weight of each state summed over all layers before it, largest 1, (B, S) for each layer; the ln taken out."""
        first, taken = _scaled(weights[:, 0])
        forward = [first]
        for layer, factors in enumerate(passes, 1):
            vector, log = _scaled(weights[:, layer] + _passed(forward[-1], factors).log())
            forward.append(vector)
            taken = taken + log + self.links[:, layer - 1].abs().sum(1)
        return forward, taken

    def _log_partition(self, field: Tensor) -> Tensor:
        forward, taken = self._forward(self._weights(field), self._passes())
        return forward[-1].sum(1).log() + taken

    def _magnetisation(self, field: Tensor) -> Tensor:
        weights, passes = self._weights(field), self._passes()
        forward, _ = self._forward(weights, passes)
        after = torch.ones_like(forward[-1])  # sum over all later layers, given the state of this one
        means = []
        for layer in range(len(forward) - 1, -1, -1):
            law = forward[layer] * after
            means.append(law @ self.states.T / law.sum(dim=1, keepdim=True))
            if layer:
                after = _passed(_scaled(weights[:, layer] + after.log())[0], passes[layer - 1])
        return torch.stack(means[::-1], dim=1)

    def _sample(self, field: Tensor, generator: torch.Generator) -> Tensor:
        forward, _ = self._forward(self._weights(field), self._passes())
        probability, layers = forward[-1], []
        for layer in range(len(forward) - 1, -1, -1):
            state = torch.multinomial(probability.to(generator.device), 1, generator=generator)[:, 0]
            layers.append(self.states.T[state.to(probability.device)])
            if layer:
                pulled = (self.links[:, layer - 1] * layers[-1]) @ self.states
                probability = forward[layer - 1] * torch.exp(pulled - pulled.amax(1, keepdim=True))
        return torch.stack(layers[::-1], dim=1)


def _kronecker(links: Tensor) -> Tensor:
    """Bond weights exp(K o s - |K|) between all states of the given bits: (B, 2^n, 2^n), symmetric."""
    batch = links.shape[0]
    full = links.new_ones(batch, 1, 1)
    for strength in links.unbind(1):
        signs = torch.stack([torch.stack([strength, -strength], 1), torch.stack([-strength, strength], 1)], 1)
        bond = torch.exp(signs - strength.abs()[:, None, None])
        full = bond[:, :, None, :, None] * full[:, None, :, None, :]  # a later bit is more significant
        full = full.reshape(batch, 2 * full.shape[2], -1)
    return full


def _passed(vector: Tensor, factors: tuple[Tensor, Tensor]) -> Tensor:
    """Sum over the states of one layer, (B, S) -> (B, S)."""
    low, high = factors
    table = vector.reshape(-1, high.shape[1], low.shape[1])
    return (high @ table @ low).reshape(vector.shape)


def _scaled(log_weights: Tensor) -> tuple[Tensor, Tensor]:
    """Weights with largest 1, (B, S), and the logarithm (B,) taken out."""
    largest = log_weights.amax(dim=1, keepdim=True)
    return torch.exp(log_weights - largest), largest[:, 0]


@dataclass(frozen=True, eq=False)
class IsingStrip(SpinLaw):
    r"""Weights :math:`e^{-\beta H}, H = -\sum_{\langle ij\rangle} J_{ij} S_i S_j - \sum_i h_i S_i`, on a strip of shape
    (1, L, W), free along L and periodic along W.

    Args:
        couplings: J (2, L, W): ``couplings[0, i, j]`` joins (i, j) and (i + 1, j), zero in the last layer;
            ``couplings[1, i, j]`` joins (i, j) and (i, j + 1 mod W), zero at the seam for a free boundary.
        beta: inverse temperature in the units of 1/J.
        external_field: h (L, W), None is no field.

    Raises:
        InputError: a layer wider than 20 spins.
        ValueError: couplings of another shape, or bonds across the ends.
    """

    couplings: Tensor
    beta: float
    external_field: Tensor | None = None
    _chain: Layers = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.couplings.ndim != 3 or len(self.couplings) != 2 or self.couplings.shape[2] < 2:
            raise ValueError(f"couplings must be (2, L, W) with W >= 2, got {tuple(self.couplings.shape)}")
        if bool(self.couplings[0, -1].any()):
            raise ValueError(
                "a strip is free along its length: couplings[0, -1] must be zero, got bonds across the ends"
            )
        bonds = self.beta * self.couplings.double()
        spins = torch.arange(self.couplings.shape[2])
        ends = torch.stack([spins, spins.roll(-1)], dim=1)
        object.__setattr__(self, "_chain", Layers(bonds[None, 1], ends, bonds[None, 0, :-1]))

    @property
    def sites(self) -> int:
        """Spins of the strip, L W."""
        return self.couplings[0].numel()

    def log_partition(self, field: Tensor) -> Tensor:
        """As :class:`SpinLaw` says; field (B, N)."""
        return self._on(field.device).log_partition(self._field(field))

    def magnetisation(self, field: Tensor) -> Tensor:
        """As :class:`SpinLaw` says, by a forward and a backward pass; field (B, N)."""
        return self._on(field.device).magnetisation(self._field(field)).flatten(1)

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """n independent configurations (n, 1, L, W) float32."""
        none = torch.zeros(n, self.sites, dtype=torch.float64, device=self.couplings.device)
        return self._chain.sample(self._field(none), generator)[:, None].float()

    def _field(self, field: Tensor) -> Tensor:
        wide = field.unflatten(1, tuple(self.couplings.shape[1:]))
        return wide if self.external_field is None else wide + self.beta * self.external_field.to(wide)

    def _on(self, device: torch.device) -> Layers:
        chain = self._chain
        if chain.links.device == device:
            return chain
        return Layers(chain.inside.to(device), chain.ends.to(device), chain.links.to(device))
