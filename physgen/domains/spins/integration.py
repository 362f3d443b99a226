r"""ln Z of spins on any lattice or graph by thermodynamic integration along the temperatures of parallel tempering.

.. math:: \ln Z(\beta) = N \ln 2 - \int_0^\beta \langle H \rangle_{\beta'}\, d\beta',

by Gauss's rule in pieces, whose nodes are the temperatures of one ladder: where transfer matrices end, and without a
network. Ladders share nothing, so that the scatter of their integrals is the error of the mean, correlations between
temperatures and along the chains included. The error of the rule is far below: the integrand of a finite system is
smooth, and pieces are short beside the width of what varies in it.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from physgen.domains.integration import gauss_nodes
from physgen.domains.spins import monte_carlo
from physgen.errors import InputError

NODES = 8  # of Gauss's rule in each piece
BETWEEN = 2.0  # an exchange is taken about half the time where T differs by 2/sqrt(N) at a specific heat of order one


class LogPartition(NamedTuple):
    """ln Z at one temperature with its standard error, and the mean energy per spin there with its own, units of J."""

    log_partition: float
    error: float
    energy: float
    energy_error: float


def integrated_log_partition(
    edges: np.ndarray,
    couplings: np.ndarray,
    spins: int,
    temperature: float,
    seed: int,
    *,
    external_field: np.ndarray | None = None,
    sweeps: int = 4000,
    ladders: int = 16,
) -> LogPartition:
    r"""ln Z of one law.

    Args:
        edges: (M, 2), each bond once, e.g. of :func:`physgen.domains.spins.couplings.lattice_edges`. couplings: J (M,).
        spins: N. temperature: units of J (k_B = 1). seed: any whole number.
        external_field: h (N,), units of J, or None.
        sweeps: of each ladder; a third as many are left out before. ladders: 4 at least, for the error.

    Raises:
        InputError: a temperature that is not positive, fewer than 4 ladders or 20 sweeps.
    """
    if not temperature > 0 or ladders < 4 or sweeps < 20:
        raise InputError(
            f"integration takes a temperature above 0, 4 ladders and 20 sweeps at least, got {temperature:g}, "
            f"{ladders} and {sweeps}"
        )
    end = 1 / temperature
    pieces = max(2, math.ceil(math.sqrt(spins) / (BETWEEN * NODES) * 1.5))
    points = np.linspace(0, end, pieces + 1)
    places = [node for low, high in zip(points[:-1], points[1:], strict=True) for node in gauss_nodes(low, high, NODES)]
    betas = np.array([place for place, _ in places] + [end])
    weights = np.array([weight for _, weight in places] + [0.0])
    temperatures = 1 / betas[::-1]
    graph = monte_carlo.make_graph(edges, np.asarray(couplings).reshape(-1), spins, external_field)
    walkers = monte_carlo.start(graph, temperatures, ladders, np.random.default_rng(seed))
    monte_carlo.advance(walkers, graph, temperatures, sweeps // 3)
    total = np.zeros((ladders, len(temperatures)))
    for _ in range(sweeps):
        monte_carlo.advance(walkers, graph, temperatures, 1)
        total += walkers.energy[walkers.lane_at]
    energy = (total / sweeps)[:, ::-1]  # by rising beta
    each = spins * math.log(2) - energy @ weights
    coldest = energy[:, -1] / spins
    return LogPartition(float(each.mean()), _standard_error(each), float(coldest.mean()), _standard_error(coldest))


def _standard_error(values: np.ndarray) -> float:
    return float(values.std(ddof=1) / math.sqrt(len(values)))
