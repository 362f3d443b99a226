r"""Moves that change many spins at once, between the sweeps of :mod:`physgen.domains.spins.monte_carlo`.

*Whole lattices*: somebody, a trained network say, proposes a configuration for each of many lanes, and gives the
logarithm of the ratio with which it is to be accepted. What makes that ratio exact is the proposer's business
(:mod:`physgen.diffusion.inference.path_moves`); here it is drawn against, and energies follow.

*Isoenergetic clusters*: two configurations s, s' of one temperature from two ladders exchange the spins of a connected
cluster of sites where they differ. The overlaps :math:`s_i s'_i` stay as they are, and so do the clusters and
:math:`H(s) + H(s')`, with fields or without: the way back is as likely, and every move is accepted. Nothing new comes
of it where that cluster percolates (in three dimensions above T of about 1.5).
Source: Houdayer, Eur. Phys. J. B 22, 479 (2001); Zhu, Ochoa, Katzgraber, Phys. Rev. Lett. 115, 077201 (2015).

The exchange joins the pasts of two ladders, not their laws: at one time they are independent, as without it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from physgen.domains.spins import monte_carlo, move_kernels
from physgen.domains.spins.many_body_kernels import Triples
from physgen.domains.spins.tempering_kernels import Graph, Walkers
from physgen.errors import InputError

# (configurations (levels, ladders, N) int8, number of the move) -> (configurations, ln of the ratio (levels, ladders))
Propose = Callable[[np.ndarray, int], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Moves:
    """What is done between sweeps.

    Attributes:
        levels: places in the ladder at which lattices are proposed and clusters exchanged.
        propose: of whole lattices; None for none.
        every: sweeps between proposals.
        clusters: exchange clusters after every sweep.
    """

    levels: np.ndarray
    propose: Propose | None = None
    every: int = 1
    clusters: bool = False

    def __post_init__(self) -> None:
        if self.every < 1:
            raise InputError(f"{self.every} sweeps between proposals: give at least 1")


def advance(
    walkers: Walkers, graph: Graph | Triples, temperatures: np.ndarray, sweeps: int, moves: Moves
) -> np.ndarray:
    """Run ``sweeps`` more sweeps in place, with moves between them.

    A run that is stopped and continued makes the same moves: they are numbered by the sweeps done.

    Returns:
        (2, levels) int64, proposals made and accepted.

    Raises:
        InputError: moves where three spins interact at a time.
    """
    counted = np.zeros((2, len(moves.levels)), dtype=np.int64)
    if isinstance(graph, Triples):
        if moves.clusters or moves.propose is not None:
            raise InputError("clusters and proposals are moves in couplings of two spins: leave them out")
        monte_carlo.advance(walkers, graph, temperatures, sweeps)
        return counted
    end = int(walkers.sweeps[0]) + sweeps
    while (done := int(walkers.sweeps[0])) < end:
        until = end if moves.propose is None else done - done % moves.every + moves.every
        step = 1 if moves.clusters else until - done
        monte_carlo.advance(walkers, graph, temperatures, min(step, end - done))
        if moves.clusters:
            exchange_clusters(walkers, graph, moves.levels)
        done = int(walkers.sweeps[0])
        if moves.propose is not None and done % moves.every == 0:
            taken = propose_lattices(walkers, graph, moves.levels, moves.propose, done // moves.every)
            counted += np.stack([np.full(len(taken), taken.shape[1]), taken.sum(axis=1)])
    return counted


def propose_lattices(walkers: Walkers, graph: Graph, levels: np.ndarray, propose: Propose, number: int) -> np.ndarray:
    """Propose another configuration for every ladder at these levels; what was accepted, (levels, ladders) bool.

    Args:
        propose: called once, with configurations (levels, ladders, N).
        number: of the move, another one each time.

    Raises:
        InputError: a ratio that is not a number, or configurations of another shape.
    """
    lanes = walkers.lane_at[:, levels].T
    here = monte_carlo.configurations(walkers, levels)
    proposed, log_ratio = propose(here, number)
    if np.shape(proposed) != here.shape or np.shape(log_ratio) != lanes.shape or np.isnan(log_ratio).any():
        raise InputError(
            f"proposals of shape {np.shape(proposed)} with log-ratios of shape {np.shape(log_ratio)} for "
            f"configurations {here.shape}: give as many, and ratios that are numbers"
        )
    taken = np.empty(lanes.size, dtype=np.bool_)
    move_kernels.take_proposals(
        walkers, graph, lanes.reshape(-1), np.ascontiguousarray(proposed, dtype=np.int8).reshape(lanes.size, -1),
        np.ascontiguousarray(log_ratio, dtype=np.float64).reshape(-1), taken,
    )  # fmt: skip
    return taken.reshape(lanes.shape)


def exchange_clusters(walkers: Walkers, graph: Graph, levels: np.ndarray) -> np.ndarray:
    """One isoenergetic cluster move of each pair of ladders at these levels; sizes of the clusters (pairs, levels).

    The first and second ladder are a pair, the third and fourth, ...; after an odd number of sweeps the second and
    third, ..., the last and first.
    """
    ladders = len(walkers.lane_at)
    if ladders < 2:
        raise InputError(f"{ladders} ladder has no other to exchange clusters with: take 2 or more")
    first = int(walkers.sweeps[0]) % 2 + 2 * np.arange(ladders // 2)
    pairs = np.stack([first, (first + 1) % ladders], axis=1)
    sizes = np.empty((len(pairs), len(levels)), dtype=np.int64)
    move_kernels.exchange_clusters(walkers, graph, np.asarray(levels, dtype=np.int64), pairs, sizes)
    return sizes
