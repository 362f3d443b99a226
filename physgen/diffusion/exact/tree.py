r"""Ising models on trees and rings by belief propagation: disordered, exact, and linear in the number of spins.

Summing over a spin in the field h that is tied to its parent by the bond K leaves a field on the parent,
:math:`\sum_S e^{hS + KSS'} = A e^{uS'}, u = \mathrm{artanh}(\tanh K \tanh h), A = 2\sqrt{\cosh(h + K)\cosh(h - K)}`.
Shapes: B batch, N sites, \*shape = (C, \*grid) of one configuration in C order.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from physgen.diffusion.exact.spins import SpinLaw, draw_spins, log_cosh


@dataclass(frozen=True, eq=False)
class IsingTree(SpinLaw):
    r"""Weights :math:`e^{-\beta H}, H = -\sum_i J_i S_i S_{\mathrm{parent}(i)} - \sum_i h_i S_i`, on trees.

    Args:
        parents: (N,) whole numbers, -1 for a root. ``tree_chain(N)`` is the open chain.
        couplings: J (N,), the bond of each site with its parent; a root's is not used.
        beta: inverse temperature in the units of 1/J.
        shape: (C, \*grid) with N sites.
        external_field: h (N,), None is no field.

    Raises:
        ValueError: shapes that do not fit, or parents that form a loop.
    """

    parents: Tensor
    couplings: Tensor
    beta: float
    shape: tuple[int, ...]
    external_field: Tensor | None = None
    _generations: list[Tensor] = field(init=False, repr=False)  # sites by their distance from the root
    _places: list[Tensor] = field(init=False, repr=False)  # of their parents in the generation before
    _order: Tensor = field(init=False, repr=False)  # sites, generation after generation
    _sizes: list[int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        count = math.prod(self.shape)
        for name in ("parents", "couplings", "external_field"):
            value = getattr(self, name)
            if value is not None and value.shape != (count,):
                raise ValueError(f"{name} must have shape ({count},), one for each site, got {tuple(value.shape)}")
        generations = _generations(self.parents)
        place = torch.zeros(count, dtype=torch.long)
        for sites in generations:
            place[sites] = torch.arange(len(sites))
        object.__setattr__(self, "_generations", generations)
        object.__setattr__(self, "_places", [place[self.parents[sites]] for sites in generations])
        object.__setattr__(self, "_order", torch.cat(generations))
        object.__setattr__(self, "_sizes", [len(sites) for sites in generations])

    @property
    def sites(self) -> int:
        return len(self.parents)

    @cached_property
    def _own(self) -> tuple[Tensor, Tensor]:
        """Bonds and fields, beta included, float64."""
        fields = torch.zeros(self.sites) if self.external_field is None else self.external_field
        return self.beta * self.couplings.double(), self.beta * fields.double()

    def _upward(self, fields: Tensor) -> tuple[list[Tensor], list[Tensor], Tensor]:
        """By generation: field on each site from itself and its descendants, its message to its parent; and log Z."""
        bonds, own = (value.to(fields.device) for value in self._own)
        totals = list((fields + own)[:, self._order.to(fields.device)].split(self._sizes, dim=1))
        messages, log_z = [torch.zeros_like(total) for total in totals], torch.zeros_like(fields[:, 0])
        for depth in range(len(totals) - 1, 0, -1):
            bond = bonds[self._generations[depth]]
            plus, minus = log_cosh(totals[depth] + bond), log_cosh(totals[depth] - bond)
            messages[depth] = 0.5 * (plus - minus)
            log_z = log_z + 0.5 * (plus + minus).sum(1)
            totals[depth - 1] = totals[depth - 1].index_add(1, self._places[depth].to(bonds.device), messages[depth])
        return totals, messages, log_z + log_cosh(totals[0]).sum(1)

    def log_partition(self, field: Tensor) -> Tensor:
        return self._upward(field)[2]

    def magnetisation(self, field: Tensor) -> Tensor:
        bonds = self._own[0].to(field.device)
        totals, messages, _ = self._upward(field)
        for depth in range(1, len(totals)):
            bond = bonds[self._generations[depth]]
            cavity = totals[depth - 1][:, self._places[depth].to(bonds.device)] - messages[depth]
            totals[depth] = totals[depth] + 0.5 * (log_cosh(cavity + bond) - log_cosh(cavity - bond))
        return torch.tanh(torch.cat(totals, dim=1)[:, self._order.argsort().to(field.device)])

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        drawn = self.sample_in_field(torch.zeros(n, self.sites, dtype=torch.float64), generator)
        return drawn.reshape(n, *self.shape).to(self.couplings.device, torch.float32)

    def sample_in_field(self, field: Tensor, generator: torch.Generator) -> Tensor:
        """One exact sample (B, N) in each of the fields (B, N): roots first, then child after parent."""
        bonds = self._own[0].to(field.device)
        spins: list[Tensor] = []
        for depth, local in enumerate(self._upward(field)[0]):
            if depth:
                local = local + bonds[self._generations[depth]] * spins[-1][:, self._places[depth].to(bonds.device)]
            spins.append(draw_spins(local, generator))
        return torch.cat(spins, dim=1)[:, self._order.argsort().to(field.device)]


@dataclass(frozen=True, eq=False)
class IsingRing(SpinLaw):
    r"""Weights :math:`e^{-\beta H}, H = -\sum_i J_i S_i S_{i+1} - \sum_i h_i S_i`, site N + 1 being site 1.

    The first spin is fixed at +1 and at -1; the rest is a chain. Cost: that of two chains.

    Args:
        couplings: J (N,), J[i] ties the sites i and i + 1; N >= 3.
        beta: inverse temperature in the units of 1/J.
        shape: (C, \*grid) with N sites.
        external_field: h (N,), None is no field.
    """

    couplings: Tensor
    beta: float
    shape: tuple[int, ...]
    external_field: Tensor | None = None
    _chain: IsingTree = field(init=False, repr=False)

    def __post_init__(self) -> None:
        count = math.prod(self.shape)
        if count < 3 or self.couplings.shape != (count,):
            raise ValueError(f"a ring has N >= 3 sites and (N,) bonds, got {count} and {tuple(self.couplings.shape)}")
        fields = None if self.external_field is None else self.external_field[1:]
        bonds = torch.cat([self.couplings[:1] * 0, self.couplings[1:-1]])
        chain = IsingTree(tree_chain(count - 1), bonds, self.beta, (count - 1,), fields)
        object.__setattr__(self, "_chain", chain)

    @property
    def sites(self) -> int:
        return len(self.couplings)

    def _fixed(self, field: Tensor) -> tuple[Tensor, Tensor]:
        """Fields (2, B, N - 1) on the chain for the first spin up and down, and its own exponent (B,) when up."""
        own = self.beta * self.couplings.to(field)
        ends = torch.zeros(self.sites - 1, dtype=field.dtype, device=field.device)
        ends[0], ends[-1] = ends[0] + own[0], ends[-1] + own[-1]
        first = field[:, 0]
        if self.external_field is not None:
            first = first + self.beta * self.external_field[0].to(field)
        return torch.stack([field[:, 1:] + ends, field[:, 1:] - ends]), first

    def log_partition(self, field: Tensor) -> Tensor:
        fixed, first = self._fixed(field)
        up, down = self._chain.log_partition(fixed.flatten(0, 1)).unflatten(0, (2, -1))
        return torch.logaddexp(up + first, down - first)

    def magnetisation(self, field: Tensor) -> Tensor:
        fixed, first = self._fixed(field)
        up, down = self._chain.log_partition(fixed.flatten(0, 1)).unflatten(0, (2, -1))
        odds = (up - down + 2 * first)[:, None]
        rest_up, rest_down = self._chain.magnetisation(fixed.flatten(0, 1)).unflatten(0, (2, -1))
        rest = torch.sigmoid(odds) * rest_up + torch.sigmoid(-odds) * rest_down
        return torch.cat([torch.tanh(0.5 * odds), rest], dim=1)

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        zero = torch.zeros(n, self.sites, dtype=torch.float64)
        fixed, first = self._fixed(zero)
        up, down = self._chain.log_partition(fixed.flatten(0, 1)).unflatten(0, (2, -1))
        start = draw_spins(0.5 * (up - down) + first, generator)[:, None]
        rest = self._chain.sample_in_field(torch.where(start > 0, fixed[0], fixed[1]), generator)
        spins = torch.cat([start, rest], dim=1)
        return spins.reshape(n, *self.shape).to(self.couplings.device, torch.float32)


def tree_chain(sites: int) -> Tensor:
    """Parents of an open chain: site i - 1 is the parent of site i."""
    return torch.arange(sites) - 1


def _generations(parents: Tensor) -> list[Tensor]:
    """Sites by their distance from the root."""
    depth = [-1] * len(parents)
    ancestors = parents.tolist()
    if any(not -1 <= parent < len(parents) for parent in ancestors):
        raise ValueError(
            f"parents must lie between -1 (a root) and {len(parents) - 1}, got {min(ancestors)} to {max(ancestors)}"
        )
    for site in range(len(parents)):
        path: list[int] = []
        node = site
        while node >= 0 and depth[node] < 0:
            if len(path) > len(parents):
                raise ValueError(f"parents must form a tree, got a loop through site {node}")
            path.append(node)
            node = ancestors[node]
        base = depth[node] if node >= 0 else -1
        for step, member in enumerate(reversed(path)):
            depth[member] = base + 1 + step
    return [
        torch.tensor([site for site, level in enumerate(depth) if level == wanted]) for wanted in range(max(depth) + 1)
    ]
