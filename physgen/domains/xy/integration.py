r"""ln Z of lattices that are too wide for the transfer matrix: thermodynamic integration over Markov chains.

:math:`\ln Z(\beta) = N \ln 2\pi - \int_0^\beta \langle H \rangle\,d\beta'` by Gauss's rule in pieces between the wanted
:math:`\beta`. The error is statistical, from blocks of each chain; that of the rule is far below it, the integrand of a
finite lattice being smooth.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from physgen.domains.xy.chains import run, start, tables_of
from physgen.errors import InputError

BLOCKS = 20


class Integrated(NamedTuple):
    """ln Z at each beta with its standard error; the mean energy per site there, units of J, with its own."""

    log_partition: np.ndarray
    error: np.ndarray
    energy: np.ndarray
    energy_error: np.ndarray


def integrated_log_partition(
    couplings: np.ndarray, betas: Sequence[float], sweeps: int, seed: int, nodes: int = 8
) -> Integrated:
    r"""ln Z per radian of each angle, of one instance.

    Args:
        couplings: J (d, \*grid). betas: inverse temperatures, increasing.
        sweeps: at each node, and at each of ``betas`` for the energy; a tenth as many are discarded before.
        seed: any whole number. nodes: of Gauss's rule in each piece.

    Raises:
        InputError: betas that are not positive and increasing, or fewer than 20 sweeps.
    """
    points, sites = np.asarray(betas, dtype=np.float64), int(np.prod(couplings.shape[1:]))
    if not (np.diff(points, prepend=0.0) > 0).all() or sweeps < BLOCKS:
        raise InputError(f"betas {points.tolist()} must be positive and increase, and sweeps = {sweeps} be 20 at least")
    rng = np.random.default_rng(seed)
    vectors = start(sites, False, rng)

    def measured(beta: float) -> tuple[float, float]:
        tables = tables_of(beta * couplings.astype(np.float64))
        run(vectors, *tables, sweeps // 10, rng)
        series = run(vectors, *tables, sweeps, rng) / beta
        blocks = series[: sweeps // BLOCKS * BLOCKS].reshape(BLOCKS, -1).mean(axis=1)
        return float(blocks.mean()), float(blocks.std(ddof=1) / np.sqrt(BLOCKS))

    places, weights = np.polynomial.legendre.leggauss(nodes)
    log_z, variance, begin = sites * math.log(2 * math.pi), 0.0, 0.0
    found = []
    for beta in points:
        half = (beta - begin) / 2
        for place, weight in zip(places, weights, strict=True):
            value, error = measured(begin + half * (1 + place))
            log_z, variance = log_z + half * weight * value, variance + (half * weight * error) ** 2
        value, error = measured(beta)
        found.append((log_z, np.sqrt(variance), -value / sites, error / sites))
        begin = beta
    return Integrated(*np.array(found).T)
