r"""Couplings of a graph as a network moves along them: a symmetric matrix, or a list of the edges that are there.

Both forms say the same and give the same numbers up to rounding. The matrix holds N^2 couplings for each sample and
moves features by a product of matrices, right where most pairs are joined. The list holds M edges and sends along 2M
directed ones, in memory and time proportional to them.

Shapes: B batch, N spins, M edges, F features.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from physgen.networks.layers import full_precision
from physgen.networks.message_passing import CERTAIN


class Bonds(Protocol):
    """Couplings K of a graph, and the messages of belief propagation that stand on its directed edges."""

    def degree(self) -> Tensor:
        r""":math:`\sum_j K_{ij}^2` and :math:`\sum_j K_{ij}^4`, (B, N, 2)."""

    def moved(self, values: Tensor) -> Tensor:
        r""":math:`\sum_j K_{ij} v_j` of v (B, N, F)."""

    def spread(self, values: Tensor) -> Tensor:
        r""":math:`\sum_j K_{ij}^2 v_j` of v (B, N, F)."""

    def silence(self) -> Tensor:
        """Messages of 0, in the shape of this form."""

    def told(self, messages: Tensor) -> Tensor:
        r"""What each spin is told in all, :math:`\sum_j u_{j \to i}` (B, N)."""

    def believed(self, field: Tensor, messages: Tensor) -> Tensor:
        r""":math:`\mathrm{atanh}[\tanh K_{ij} \tanh(h_j + \sum_{k \ne i} u_{k \to j})]` of h (B, N), messages u."""


class MatrixBonds:
    """K (B, N, N), symmetric; the message from j to i stands at [b, i, j]."""

    def __init__(self, couplings: Tensor) -> None:
        self.couplings, self.squares = couplings, couplings.square()

    def degree(self) -> Tensor:
        return torch.stack([self.squares.sum(-1), self.squares.square().sum(-1)], -1)

    def moved(self, values: Tensor) -> Tensor:
        return torch.bmm(self.couplings, values)

    def spread(self, values: Tensor) -> Tensor:
        return torch.bmm(self.squares, values)

    def silence(self) -> Tensor:
        return torch.zeros_like(self.couplings)

    def told(self, messages: Tensor) -> Tensor:
        return messages.sum(-1)

    def believed(self, field: Tensor, messages: Tensor) -> Tensor:
        cavity = torch.tanh((field + messages.sum(-1))[..., None] - messages)  # [b, j, i]: of j without i
        return _sent(self.couplings, cavity.transpose(1, 2))


class EdgeBonds:
    """Edges (B, M, 2) of spins with couplings (B, M); an edge of K = 0 says nothing, whatever its ends.

    The directed edges of all samples stand in one list, ordered by the spin that they lead to, so that sums over the
    neighbours of a spin are sums over one piece of it (``embedding_bag``): in a fixed order, on any device.
    """

    def __init__(self, edges: Tensor, couplings: Tensor, spins: int) -> None:
        batch, count = couplings.shape
        first, second = edges.long().unbind(-1)
        start = spins * torch.arange(batch, device=edges.device)[:, None]
        origin = (torch.cat([first, second], 1) + start).flatten()
        target = (torch.cat([second, first], 1) + start).flatten()
        places = torch.arange(len(target), device=edges.device).reshape(batch, -1)
        order = torch.argsort(target, stable=True)
        inverse = torch.empty_like(order).index_copy_(0, order, places.flatten())
        self.shape = batch, spins
        self.origin, target = origin[order], target[order]
        self.backward = inverse[places.roll(count, 1).flatten()[order]]  # the same edge the other way
        self.couplings = torch.cat([couplings, couplings], 1).flatten()[order]
        self.squares = self.couplings.square()
        self.begin = torch.searchsorted(target, torch.arange(batch * spins, device=edges.device))
        self.places = places.flatten()

    def degree(self) -> Tensor:
        return torch.stack([self.told(self.squares), self.told(self.squares.square())], -1)

    def moved(self, values: Tensor) -> Tensor:
        return self._summed(values, self.couplings)

    def spread(self, values: Tensor) -> Tensor:
        return self._summed(values, self.squares)

    def silence(self) -> Tensor:
        return torch.zeros_like(self.couplings)

    def told(self, messages: Tensor) -> Tensor:
        return F.embedding_bag(self.places, messages[:, None], self.begin, mode="sum").reshape(self.shape)

    def believed(self, field: Tensor, messages: Tensor) -> Tensor:
        whole = (field + self.told(messages)).flatten()
        return _sent(self.couplings, torch.tanh(whole[self.origin] - messages[self.backward]))

    def _summed(self, values: Tensor, strengths: Tensor) -> Tensor:
        table = full_precision(values).flatten(0, 1)
        given = strengths.to(table.dtype)
        found = F.embedding_bag(self.origin, table, self.begin, mode="sum", per_sample_weights=given)
        return found.reshape(values.shape)


def _sent(couplings: Tensor, cavity: Tensor) -> Tensor:
    return torch.atanh((torch.tanh(couplings) * cavity).clamp(-CERTAIN, CERTAIN))


def bonds_of(condition: Mapping[str, Tensor] | None, spins: int) -> Bonds:
    """The couplings of a condition: ``matrix`` K (B, N, N), or ``edges`` (B, M, 2) and ``bonds`` K (B, M).

    Raises:
        ValueError: neither, or another number of spins.
    """
    given = condition or {}
    if "edges" in given and "bonds" in given:
        edges, couplings = given["edges"], given["bonds"]
        if edges.shape != (*couplings.shape, 2):
            raise ValueError(
                f'condition["edges"] must hold two ends of each of the bonds, shape {(*couplings.shape, 2)}, got '
                f"{tuple(edges.shape)}"
            )
        return EdgeBonds(edges, couplings, spins)
    matrix = given.get("matrix")
    if matrix is None or matrix.shape[1:] != (spins, spins):
        shape = "none" if matrix is None else f"shape {tuple(matrix.shape)}"
        raise ValueError(f'condition["matrix"] must hold beta J, shape (B, {spins}, {spins}), got {shape}')
    return MatrixBonds(matrix)
