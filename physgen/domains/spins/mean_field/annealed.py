r"""The Sherrington-Kirkpatrick model above its transition: the annealed average is right up to terms of order one.

:math:`H = -\sum_{i<j} J_{ij} s_i s_j`, J Gaussian of mean 0 and variance 1/N, no field, T > 1, :math:`\beta = 1/T`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from physgen.errors import InputError


class Annealed(NamedTuple):
    r"""What is known of N spins at T > 1, up to corrections that vanish as N grows.

    Attributes:
        log_partition: disorder mean of ln Z.
        scatter: standard deviation of ln Z over instances, which are Gaussian.
        energy: disorder mean of the energy per spin, units of J.
        overlap_squared: disorder mean of :math:`N\langle q^2\rangle`, which is the spin-glass susceptibility.
    """

    log_partition: float
    scatter: float
    energy: float
    overlap_squared: float


def annealed_glass(spins: int, temperature: float) -> Annealed:
    r"""Averages of the Sherrington-Kirkpatrick glass of N spins at T > 1.

    .. math::

        [\ln Z] &= N\ln 2 + \tfrac{N-1}{4}\beta^2 - \tfrac12\sigma^2, \quad
        \sigma^2 = \mathrm{var} \ln Z = -\tfrac12[\ln(1-\beta^2) + \beta^2], \\
        [e] &= -\tfrac1N \partial_\beta [\ln Z], \quad
        N[\langle q^2\rangle] = 1/(1-\beta^2).

    Source: Aizenman, Lebowitz and Ruelle, Commun. Math. Phys. 112 (1987) 3. Corrections are of relative order
    :math:`1/N(1-\beta^2)^3`.

    Args:
        spins: N. temperature: T > 1 in units of J.

    Raises:
        InputError: a temperature at or below the transition, fewer than two spins.
    """
    if not temperature > 1 or spins < 2:
        raise InputError(f"T = {temperature:g} J, N = {spins}: the annealed average needs T > 1 J and N >= 2")
    beta = 1 / temperature
    variance = -0.5 * (np.log1p(-(beta**2)) + beta**2)
    slope = beta / (1 - beta**2) - beta  # of the variance
    log_partition = spins * np.log(2) + (spins - 1) * beta**2 / 4 - variance / 2
    energy = -((spins - 1) * beta / 2 - slope / 2) / spins
    return Annealed(float(log_partition), float(variance**0.5), float(energy), float(1 / (1 - beta**2)))
