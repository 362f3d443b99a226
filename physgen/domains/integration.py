r"""Thermodynamic integration: ln Z along beta from where it is known, of any model that a Markov chain can measure.

:math:`\ln Z(\beta) = \ln Z(0) + \int_0^\beta u(\beta')\,d\beta'`, u the mean of what beta multiplies in the exponent,
by Gauss's rule in pieces between the wanted beta. Errors are statistical, from blocks of each chain; that of the rule
is far below them, the integrand of a finite lattice being smooth.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from physgen.errors import InputError

BLOCKS = 20


class Integrated(NamedTuple):
    """ln Z at each beta with its standard error; the mean energy per site there, units of J, with its own."""

    log_partition: np.ndarray
    error: np.ndarray
    energy: np.ndarray
    energy_error: np.ndarray


def gauss_nodes(begin: float, end: float, nodes: int) -> Iterator[tuple[float, float]]:
    """(place, weight) of Gauss's rule between two beta; the weights add up to their difference."""
    places, weights = np.polynomial.legendre.leggauss(nodes)
    half = (end - begin) / 2
    for place, weight in zip(places, weights, strict=True):
        yield begin + half * (1 + place), half * weight


def block_mean(series: np.ndarray) -> tuple[float, float]:
    """Mean of a series (T,) and its standard error from BLOCKS blocks; T is BLOCKS at least, what is over is left."""
    blocks = series[: len(series) // BLOCKS * BLOCKS].reshape(BLOCKS, -1).mean(axis=1)
    return float(blocks.mean()), float(blocks.std(ddof=1) / np.sqrt(BLOCKS))


def integrated(
    betas: Sequence[float],
    measured: Callable[[float], tuple[float, float]],
    at_zero: float,
    sites: int,
    sweeps: int,
    nodes: int,
) -> Integrated:
    """ln Z at each of ``betas``, from 0 upwards.

    Args:
        betas: increasing. measured: beta -> u, minus the energy in units of J, and its error; it may go on from where
            it stood. at_zero: ln Z(0). sites: for the energy per site.
        sweeps: of each measurement, for its check. nodes: of Gauss's rule in each piece.

    Raises:
        InputError: betas that are not positive and increasing, or fewer than 20 sweeps.
    """
    points = np.asarray(betas, dtype=np.float64)
    if not (np.diff(points, prepend=0.0) > 0).all() or sweeps < BLOCKS:
        raise InputError(
            f"betas {points.tolist()} must be positive and increase, and sweeps = {sweeps} be {BLOCKS} at least"
        )
    log_z, variance, begin, found = at_zero, 0.0, 0.0, []
    for beta in points:
        for place, weight in gauss_nodes(begin, beta, nodes):
            value, error = measured(place)
            log_z, variance = log_z + weight * value, variance + (weight * error) ** 2
        value, error = measured(beta)
        found.append((log_z, np.sqrt(variance), -value / sites, error / sites))
        begin = beta
    return Integrated(*np.array(found).T)
