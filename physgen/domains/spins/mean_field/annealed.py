r"""Mean-field glasses above their transition: the annealed average is right up to terms of order one.

:math:`H = -\sum_{i<j} J_{ij} s_i s_j`, J Gaussian of mean 0 and variance 1/N, no field, T > 1, :math:`\beta = 1/T`;
and :math:`H = -\sum_{i<j<k} J_{ijk} s_i s_j s_k`, J of variance :math:`3/N^2`, T > T_K.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from physgen.domains.spins.mean_field.lines import critical_lines
from physgen.errors import InputError


class Annealed(NamedTuple):
    r"""What is known of N spins above the transition, up to corrections that vanish as N grows.

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


def annealed_p_spin(spins: int, temperature: float) -> Annealed:
    r"""Averages of the glass of all triples of N Ising spins (p = 3) at T > T_K = .6514, with their corrections 1/N.

    .. math::

        [\ln Z] &= N\ln 2 + \tfrac{(N-1)(N-2)}{4N}\beta^2 - \tfrac12\sigma^2, \quad
        \sigma^2 = \mathrm{var}\ln Z = \tfrac{3(N-1)(N-2)}{4N^3}\beta^4, \\
        [e] &= -\tfrac{(N-1)(N-2)}{2N^2}\beta + \tfrac{3(N-1)(N-2)}{2N^4}\beta^3, \quad
        N[\langle q^2\rangle] = 1 + \tfrac{9(N-1)(N-2)(N-3)}{2N^4}\beta^4.

    So :math:`e \to -\beta/2` and :math:`N\langle q^2\rangle \to 1`. The first term of [ln Z] is exactly ln [Z]; the
    variance is that of [Z^2]/[Z]^2 to leading order, and the overlap that of
    :math:`\langle s_i s_j\rangle = \beta^2\sum_{k<l} J_{ikl}J_{jkl}`. What is left out is smaller by
    :math:`\beta^2/N` and more, much more near T_K.

    Source: Gardner, Nucl. Phys. B 257, 747 (1985) for the limit; the corrections are derived here and held to
    enumeration by tests.

    Args:
        spins: N. temperature: T in units of J.

    Raises:
        InputError: a temperature at or below T_K, fewer than three spins.
    """
    if not temperature > critical_lines(3).kauzmann or spins < 3:
        raise InputError(f"T = {temperature:g} J, N = {spins}: the annealed average needs T > T_K = .6514 J and N >= 3")
    beta, pairs = 1 / temperature, (spins - 1) * (spins - 2)
    variance = 3 * pairs * beta**4 / (4 * spins**3)
    log_partition = spins * np.log(2) + pairs * beta**2 / (4 * spins) - variance / 2
    energy = -pairs * beta / (2 * spins**2) + 3 * pairs * beta**3 / (2 * spins**4)
    squared = 1 + 9 * pairs * (spins - 3) * beta**4 / (2 * spins**4)
    return Annealed(float(log_partition), float(variance**0.5), float(energy), float(squared))
