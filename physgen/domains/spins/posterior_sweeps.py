r"""Means of spins given y along heat-bath sweeps of :math:`p(\sigma|y)` that begin at the configuration itself.

A training pair :math:`(\sigma, y)` is a draw of the joint law, so that :math:`\sigma` is a draw of
:math:`p(\sigma|y)`, and so is every later state of a chain that leaves this law unchanged: no burn-in, no bias at any
number of sweeps. The mean of Callen's conditional means over its states,

.. math:: \tau = \frac{1}{K + 1} \sum_{k=0}^{K} E[\sigma_i | y, \{\sigma^{(k)}_{j \ne i}\}, \pm],
    \qquad E[\tau | y] = E[\sigma | y],

scatters less the more sweeps K, and comes to :math:`E[\sigma|y]` itself where the chain mixes: a nearly exact mean
for any lattice or graph, at a cost in proportion to its bonds, where transfer matrices end. :math:`\pm`: the state and
its mirror image are both counted, each by its probability, since at large s they differ by little that y knows.
Source: Rao-Blackwell and the tower rule; Gelfand and Smith, J. Am. Stat. Assoc. 85 (1990), 398, section 2.

Shapes: B batch, \*grid lattice or N spins, M edges.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from physgen.lattice import neighbour
from physgen.networks.bonds import bonds_of

Condition = Mapping[str, Tensor] | None
Moved = Callable[[Tensor], Tensor]


def own_fields(y: Tensor, s: Tensor, condition: Condition) -> Tensor:
    r"""What acts on each spin but its neighbours, :math:`y/s^2 + \beta h`, shape of y (B, 1, \*grid)."""
    field = y / s.reshape(-1, *[1] * (y.ndim - 1)).square()
    outer = (condition or {}).get("field")
    return field if outer is None else field + outer.reshape(y.shape)


def of_neighbours(condition: Condition, spins: int) -> Moved:
    r""":math:`\sigma \to \beta \sum_j J_{ij} \sigma_j`, both (B, 1, \*grid), of the couplings of a condition.

    Args:
        condition: ``channels`` (B, 2d, \*grid), or ``matrix`` (B, N, N), or ``edges`` (B, M, 2) and ``bonds`` (B, M).
        spins: N of a graph.
    """
    given = condition or {}
    if "channels" in given:
        return partial(_along_bonds, given["channels"])
    bonds = bonds_of(given, spins)
    return lambda x: bonds.moved(x.flatten(1)[..., None]).reshape(x.shape)


def _along_bonds(channels: Tensor, x: Tensor) -> Tensor:
    dimension = x.ndim - 2
    moved = [bond[:, None] * neighbour(x, way, dimension) for way, bond in enumerate(channels.unbind(1))]
    return torch.stack(moved).sum(0)


@dataclass(frozen=True)
class PosteriorSweeps:
    r"""The training target :math:`\tau(\sigma, y, s, condition)` of this module, (B, 1, \*grid).

    Random numbers are torch's own, which the training loop seeds for every step.

    Attributes:
        sweeps: K; each updates every spin once and then the sign of the whole (on sparse graphs most spins).
    """

    sweeps: int

    def __call__(self, x0: Tensor, y: Tensor, s: Tensor, condition: Condition = None) -> Tensor:
        field, moved = own_fields(y, s, condition), of_neighbours(condition, x0.shape[-1])
        x, sets = x0, _sets(x0, condition)
        total = _both_signs(x, field, moved(x))
        for _ in range(self.sweeps):
            for apart in sets():
                up = torch.sigmoid(2 * (field + moved(x)))
                x = torch.where(apart, _spins(up), x)
            x = x * _spins(_probability_of(x, field))
            total = total + _both_signs(x, field, moved(x))
        return total / (self.sweeps + 1)


def _spins(up: Tensor) -> Tensor:
    """+-1, up with these probabilities."""
    return torch.where(torch.rand_like(up) < up, 1.0, -1.0).to(up)


def _probability_of(x: Tensor, field: Tensor) -> Tensor:
    r"""Of x against -x, :math:`1/(1 + e^{-2 f\cdot x})`, (B, 1, ...)."""
    along = (x * field).flatten(1).sum(1)
    return torch.sigmoid(2 * along).reshape(-1, *[1] * (x.ndim - 1))


def _both_signs(x: Tensor, field: Tensor, moved: Tensor) -> Tensor:
    weight = _probability_of(x, field)
    return weight * torch.tanh(field + moved) + (1 - weight) * torch.tanh(field - moved)


def _sets(x: Tensor, condition: Condition) -> Callable[[], Iterable[Tensor]]:
    """Gives, for each sweep, masks chosen without a look at x of spins that do not see each other."""
    given = condition or {}
    if "channels" in given:
        grid = tuple(x.shape[2:])
        colour = lattice_colours(grid, x.device)
        masks = [colour == c for c in range(_colours(grid))]
        return lambda: masks
    if "edges" in given:
        edges, bonds, spins = given["edges"], given["bonds"], x.shape[-1]
        rounds = 1 + int(_degrees(edges, bonds, spins).max())
        return lambda: (independent_set(edges, bonds, spins)[:, None] for _ in range(rounds))
    alone = list(torch.eye(x.shape[-1], dtype=torch.bool, device=x.device))  # all are joined: one after the other
    return lambda: alone


def lattice_colours(grid: tuple[int, ...], device: torch.device | str = "cpu") -> Tensor:
    r"""A colour (\*grid) for each site that none of its neighbours has, periodic boundaries included.

    Two colours, the parity of :math:`\sum_d x_d`, where all lengths are even; else three, :math:`\sum_d c_d` modulo 3
    with :math:`c_d = x_d` mod 2, and 2 at the last place of an odd length.
    """
    total = torch.zeros(grid, dtype=torch.long, device=device)
    for axis, length in enumerate(grid):
        own = torch.arange(length, device=device) % 2
        if length % 2 and length > 1:
            own[-1] = 2
        total = total + own.reshape(-1, *[1] * (len(grid) - axis - 1))
    return total % _colours(grid)


def _colours(grid: tuple[int, ...]) -> int:
    return 3 if any(length % 2 and length > 1 for length in grid) else 2


def _degrees(edges: Tensor, bonds: Tensor, spins: int) -> Tensor:
    ends = edges.long().flatten(1)
    there = (bonds != 0).long().repeat_interleave(2, 1)
    return torch.zeros(len(ends), spins, dtype=torch.long, device=ends.device).scatter_add(1, ends, there)


def independent_set(edges: Tensor, bonds: Tensor, spins: int) -> Tensor:
    """A random set of spins of which no two are joined, (B, N) bool: those of a rank above that of all neighbours.

    Source: Luby, SIAM J. Comput. 15 (1986), 1036, one round.
    """
    first, second = edges.long().unbind(-1)
    rank = torch.rand(len(edges), spins, device=edges.device)
    highest = torch.full_like(rank, -1.0)
    for here, there in ((first, second), (second, first)):
        seen = torch.where(bonds != 0, rank.gather(1, there), -1.0)
        highest = highest.scatter_reduce(1, here, seen, "amax")
    return rank > highest
