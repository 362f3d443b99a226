r"""ln Z of ferromagnets that are too wide for the transfer matrix: thermodynamic integration over cluster moves.

:math:`\ln Z(\beta) = N \ln q + \int_0^\beta \langle n \rangle\,d\beta'`, n the number of bonds J = 1 with equal ends,
by Gauss's rule in pieces between the wanted :math:`\beta`; or from the other end, M bonds in all,
:math:`\ln Z(\beta) = \ln q + M\beta + \int_\beta^\infty (M - \langle n \rangle)\,d\beta'`. The two share no simulation,
and below the transition the second has the smaller error. The error is statistical, from blocks of each chain; that of
the rule is far below it, the integrand of a finite lattice being smooth.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from physgen.domains.integration import BLOCKS, Integrated, block_mean, gauss_nodes, integrated
from physgen.domains.potts.clusters import mean_bonds, neighbours_up
from physgen.domains.potts.lattice import cut_seams
from physgen.errors import InputError

# from order: ends of the pieces in units of beta, nodes of Gauss's rule in each, share of the sweeps at each node
PIECES = ((1.0, 1.15, 8, 1.0), (1.15, 1.4, 6, 0.6), (1.4, 2.0, 5, 0.4), (2.0, 3.0, 4, 0.2), (3.0, 6.0, 6, 0.1))
COLDEST = 6.0  # beta up to which is integrated at least: of a site with four neighbours e^(-4 beta) is left out


def integrated_log_partition(
    grid: tuple[int, ...],
    states: int,
    betas: Sequence[float],
    sweeps: int,
    seed: int,
    boundary: str = "periodic",
    nodes: int = 12,
) -> Integrated:
    r"""ln Z of the ferromagnet J = 1.

    Args:
        grid: lengths of the lattice. states: q. betas: inverse temperatures, increasing.
        sweeps: cluster moves at each node, and at each of ``betas`` for the energy; a tenth as many are discarded
            before. seed: any whole number. boundary: as in the domain. nodes: of Gauss's rule in each piece.

    Raises:
        InputError: betas that are not positive and increasing, or fewer than 20 sweeps.
    """
    up, sites = neighbours_up(grid), int(np.prod(grid))
    present = cut_seams(np.ones((1, len(grid), *grid), dtype=np.float32), boundary).reshape(len(grid), -1) > 0
    colours, rng = np.zeros(sites, dtype=np.int8), np.random.default_rng(seed)

    def measured(beta: float) -> tuple[float, float]:
        join = np.where(present, -np.expm1(-beta), 0.0)
        return _mean_bonds(colours, up, join, states, sweeps, rng)

    return integrated(betas, measured, sites * np.log(states), sites, sweeps, nodes)


def integrated_from_order(
    grid: tuple[int, ...], states: int, beta: float, sweeps: int, seed: int, boundary: str = "periodic"
) -> tuple[float, float]:
    r"""ln Z of the ferromagnet J = 1 at one beta, from the ordered end, with its standard error.

    Args:
        grid, states, seed, boundary: as in :func:`integrated_log_partition`. beta: inverse temperature, 1/J.
        sweeps: cluster moves at the nodes next to ``beta``, fewer far from it; 200 at least.

    Raises:
        InputError: a beta that is not positive, fewer sweeps.
    """
    if not beta > 0 or sweeps * PIECES[-1][-1] < BLOCKS:
        raise InputError(
            f"beta = {beta} must be positive, and sweeps = {sweeps} be {BLOCKS / PIECES[-1][-1]:.0f} at least"
        )
    up, rng = neighbours_up(grid), np.random.default_rng(seed)
    present = cut_seams(np.ones((1, len(grid), *grid), dtype=np.float32), boundary).reshape(len(grid), -1) > 0
    colours, bonds = np.zeros(int(np.prod(grid)), dtype=np.int8), int(present.sum())
    log_z, variance = np.log(states) + bonds * beta, 0.0
    for low, high, nodes, share in PIECES:
        start, end = beta * low, beta * high
        if high == PIECES[-1][1]:
            end = max(end, COLDEST)
        for place, weight in gauss_nodes(start, end, nodes):
            join = np.where(present, -np.expm1(-place), 0.0)
            value, error = _mean_bonds(colours, up, join, states, int(sweeps * share), rng)
            log_z, variance = log_z + weight * (bonds - value), variance + (weight * error) ** 2
    return float(log_z), float(np.sqrt(variance))


def _mean_bonds(
    colours: np.ndarray, up: np.ndarray, join: np.ndarray, states: int, sweeps: int, rng: np.random.Generator
) -> tuple[float, float]:
    """Mean number of bonds with equal ends and its error, from blocks; a tenth as many sweeps are discarded before."""
    mean_bonds(colours, up, join, states, sweeps // 10, rng)
    return block_mean(mean_bonds(colours, up, join, states, sweeps, rng))
