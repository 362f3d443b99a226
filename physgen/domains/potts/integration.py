r"""ln Z of ferromagnets that are too wide for the transfer matrix: thermodynamic integration over cluster moves.

:math:`\ln Z(\beta) = N \ln q + \int_0^\beta \langle n \rangle\,d\beta'`, n the number of bonds J = 1 with equal ends,
by Gauss's rule in pieces between the wanted :math:`\beta`. The error is statistical, from blocks of each chain; that of
the rule is far below it, the integrand of a finite lattice being smooth.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from physgen.domains.potts.clusters import mean_bonds, neighbours_up
from physgen.domains.potts.lattice import cut_seams
from physgen.errors import InputError

BLOCKS = 20


class Integrated(NamedTuple):
    """ln Z at each beta with its standard error; the mean energy per site there, units of J, with its own."""

    log_partition: np.ndarray
    error: np.ndarray
    energy: np.ndarray
    energy_error: np.ndarray


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
    points = np.asarray(betas, dtype=np.float64)
    if not (np.diff(points, prepend=0.0) > 0).all() or sweeps < BLOCKS:
        raise InputError(f"betas {points.tolist()} must be positive and increase, and sweeps = {sweeps} be 20 at least")
    up, sites = neighbours_up(grid), int(np.prod(grid))
    present = cut_seams(np.ones((1, len(grid), *grid), dtype=np.float32), boundary).reshape(len(grid), -1) > 0
    colours, rng = np.zeros(sites, dtype=np.int8), np.random.default_rng(seed)

    def measured(beta: float) -> tuple[float, float]:
        join = np.where(present, -np.expm1(-beta), 0.0)
        mean_bonds(colours, up, join, states, sweeps // 10, rng)
        series = mean_bonds(colours, up, join, states, sweeps, rng)
        blocks = series[: sweeps // BLOCKS * BLOCKS].reshape(BLOCKS, -1).mean(axis=1)
        return float(blocks.mean()), float(blocks.std(ddof=1) / np.sqrt(BLOCKS))

    places, weights = np.polynomial.legendre.leggauss(nodes)
    log_z, variance, start = sites * np.log(states), 0.0, 0.0
    found = []
    for beta in points:
        half = (beta - start) / 2
        for place, weight in zip(places, weights, strict=True):
            value, error = measured(start + half * (1 + place))
            log_z, variance = log_z + half * weight * value, variance + (half * weight * error) ** 2
        value, error = measured(beta)
        found.append((log_z, np.sqrt(variance), -value / sites, error / sites))
        start = beta
    return Integrated(*np.array(found).T)
