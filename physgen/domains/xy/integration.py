r"""ln Z of lattices that are too wide for the transfer matrix: thermodynamic integration over Markov chains.

:math:`\ln Z(\beta) = N \ln 2\pi - \int_0^\beta \langle H \rangle\,d\beta'` by Gauss's rule in pieces between the wanted
:math:`\beta`. The error is statistical, from blocks of each chain; that of the rule is far below it, the integrand of a
finite lattice being smooth.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from physgen.domains.integration import Integrated, block_mean, integrated
from physgen.domains.xy.chains import run, start, tables_of


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
    sites, rng = int(np.prod(couplings.shape[1:])), np.random.default_rng(seed)
    vectors = start(sites, False, rng)

    def measured(beta: float) -> tuple[float, float]:
        tables = tables_of(beta * couplings.astype(np.float64))
        run(vectors, *tables, sweeps // 10, rng)
        return block_mean(run(vectors, *tables, sweeps, rng) / beta)

    return integrated(betas, measured, sites * math.log(2 * math.pi), sites, sweeps, nodes)
