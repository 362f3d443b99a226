r"""The random energy model: 2^N levels that are independent Gaussians, drawn exactly.

Convention, which texts mix up: the *total* energy of each state has variance N/2, the limit :math:`p \to \infty` of
:class:`physgen.domains.spins.mean_field.PSpin`. Then :math:`T_c = 1/(2\sqrt{\ln 2}) = 0.60056`,
:math:`e = -1/(2T)` above and :math:`-\sqrt{\ln 2}` below it. (Variance N gives :math:`\beta_c = \sqrt{2\ln 2}`.)
Two replicas are in one state, q = 1, with probability Y_2, and else at q of order :math:`N^{-1/2}`; for
:math:`T < T_c` :math:`[Y_2] = 1 - T/T_c` as N grows.
At any N and T exactly :math:`[e] = -(1 - [Y_2])/(2T)`, by parts over the Gaussian levels.
Source: Derrida, Phys. Rev. B 24, 2613 (1981); Gross and Mezard, Nucl. Phys. B 240, 431 (1984).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from physgen.errors import InputError

CRITICAL = 1 / (2 * math.sqrt(math.log(2)))
LARGEST = 24  # spins: 2^24 levels fill 128 MiB
COLDEST, MOST = 0.1, 60  # J, spins: of the quadrature
# of trapezoidal rules over analytic integrands that vanish at both ends: steps over u and over -beta E, reach of E
FINE, STEP, REACH = 0.1, 0.3, 12.0


class RandomEnergies(NamedTuple):
    """What is exact of one instance at temperatures (T,).

    Attributes:
        energy: (T,) mean energy per spin, units of J.
        free_energy: (T,) -T ln Z / N, units of J.
        participation: (T,) :math:`Y_2 = \\sum_a w_a^2`, the weight of q = 1 in P(q).
    """

    energy: np.ndarray
    free_energy: np.ndarray
    participation: np.ndarray


class Theory(NamedTuple):
    """The limit of large N at temperatures (T,): fields as in :class:`RandomEnergies`, of the disorder average."""

    energy: np.ndarray
    free_energy: np.ndarray
    participation: np.ndarray


def random_energy_levels(spins: int, rng: np.random.Generator) -> np.ndarray:
    """Total energies (2^N,) of one instance, of mean 0 and variance N/2, units of J.

    Raises:
        InputError: fewer than 1 or more than 24 spins.
    """
    if not 1 <= spins <= LARGEST:
        raise InputError(f"{spins} spins: all 2^N levels are drawn, so N is 1 to {LARGEST}")
    return rng.standard_normal(1 << spins) * math.sqrt(spins / 2)


def random_energy_figures(levels: np.ndarray, temperatures: np.ndarray) -> RandomEnergies:
    """Exact means of one instance with levels (2^N,) at temperatures (T,)."""
    levels = np.asarray(levels, dtype=np.float64)
    spins, lowest = math.log2(len(levels)), levels.min()
    found = []
    for temperature in np.atleast_1d(temperatures):
        weights = np.exp(-(levels - lowest) / temperature)
        total = weights.sum()
        free = (lowest - temperature * math.log(total)) / spins
        found.append((weights @ levels / total / spins, free, weights @ weights / total**2))
    return RandomEnergies(*np.array(found).T)


def random_energy_states(levels: np.ndarray, temperature: float, count: int, rng: np.random.Generator) -> np.ndarray:
    """Independent exact configurations (count, N) int8 of one instance; spin i of state j is +1 where bit i of j is 1.

    The levels are given to the states in their order, which is random already.
    """
    weights = np.exp(-(levels - levels.min()) / temperature)
    chosen = np.searchsorted(np.cumsum(weights), rng.random(count) * weights.sum())
    bits = chosen[:, None] >> np.arange(int(math.log2(len(levels)))) & 1
    return (2 * bits - 1).astype(np.int8)


def random_energy_theory(temperatures: np.ndarray) -> Theory:
    """Energy, free energy and Y_2 of the limit of large N at temperatures (T,), units of J."""
    temperatures = np.atleast_1d(np.asarray(temperatures, dtype=np.float64))
    ground = -math.sqrt(math.log(2))
    warm = temperatures > CRITICAL
    energy = np.where(warm, -1 / (2 * temperatures), ground)
    free = np.where(warm, -temperatures * math.log(2) - 1 / (4 * temperatures), ground)
    return Theory(energy, free, np.where(warm, 0.0, 1 - temperatures / CRITICAL))


def random_energy_average(spins: int, temperatures: np.ndarray) -> Theory:
    r"""The exact disorder average of N spins at temperatures (T,), by quadrature: no instance is drawn.

    Of :math:`M = 2^N` independent levels :math:`[\ln Z] = \int du\,(e^{-e^{u}} - \varphi(u)^M)` with
    :math:`\varphi(u) = E \exp(-e^{u - \beta E})`, from :math:`\ln z = \int (e^{-t} - e^{-tz})\,dt/t` and t = e^u. The
    energy is its derivative, and :math:`[Y_2] = 1 + 2T[e]`.

    Raises:
        InputError: fewer than 1 or more than 60 spins, or a temperature below .1 J: the quadrature ends there.
    """
    temperatures = np.atleast_1d(np.asarray(temperatures, dtype=np.float64))
    if not 1 <= spins <= MOST or not (temperatures >= COLDEST).all():
        raise InputError(f"{spins} spins at {temperatures.tolist()} J: give 1 to {MOST} spins, and {COLDEST} J or more")
    levels, found = 2.0**spins, []
    for temperature in temperatures:
        scale = math.sqrt(spins / 2) / temperature  # of -beta E
        step, top = STEP / max(scale, 1), scale * REACH
        normal = np.arange(-REACH, REACH + step / 2, step)
        weight = np.exp(-(normal**2) / 2) * step / math.sqrt(2 * math.pi)
        u = np.arange(-top - 40, top + 5, FINE)
        size = np.exp(np.minimum(u[:, None] + scale * normal, 700))
        missing = -np.expm1(-size) @ weight  # 1 - phi: all terms positive, so that few levels far out are not lost
        slope = (size * np.exp(-size) * normal * math.sqrt(spins / 2)) @ weight  # -d phi / d beta
        log_phi = np.log1p(-np.minimum(missing, 1 - 1e-16))
        power = np.exp(levels * log_phi)
        log_z = (np.exp(-np.exp(np.minimum(u, 700))) - power).sum() * FINE
        minus_energy = (levels * np.exp((levels - 1) * log_phi) * slope).sum() * FINE
        energy = -minus_energy / spins
        found.append((energy, -temperature * log_z / spins, 1 + 2 * temperature * energy))
    return Theory(*np.array(found).T)
