r"""Temperatures at which a mean-field glass changes: T_K, T_d, and T_tri, below which diffusion fails.

A fixed point of state evolution without noise has :math:`T^2 = \frac p2 g(X)^{p-1}/X`. So the highest temperature with
a second state is a maximum over X, the dynamical one :math:`T_d`; the Kauzmann temperature :math:`T_K` is where that
state has the free entropy of the paramagnet, :math:`\Psi(X) = \frac{p-1}{2p} X g(X)`. With noise the fixed points at
one temperature fold, and the denoiser that can be computed jumps, where :math:`\partial\gamma^2/\partial X = 0`; the
highest temperature with a fold is :math:`T_{tri}^2 = \frac p2 \max_X (p-1) g^{p-2} g'`. For p = 2 all three are one.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq, minimize_scalar

from physgen.domains.spins.mean_field.state_evolution import GRID, PSpin
from physgen.errors import InputError

SEARCHED = np.geomspace(1e-6, 60.0, GRID)
FINEST = 1e-12


class Lines(NamedTuple):
    """Temperatures in units of J: no static glass above T_K, no dynamical one above T_d, no jump above T_tri."""

    kauzmann: float
    dynamical: float
    tricritical: float


class Jump(NamedTuple):
    r"""The first-order transition that a denoiser meets as the noise falls, by :math:`\gamma^2 = 1/s^2`.

    Attributes:
        begins: :math:`\gamma^2` from which there is a second state.
        equal: :math:`\gamma^2` at which the exact denoiser jumps to it (equal free entropies).
        ends: :math:`\gamma^2` at which the computable denoiser jumps, because the first state ends.
        overlaps: (low, high) at ``equal``.
        divergence: nats per spin by which paths of the computable denoiser differ from those of the exact one,
            :math:`\frac12\int (q_{high} - q_{low}) d\gamma^2` from ``equal`` to ``ends``: relative entropy over N.
    """

    begins: float
    equal: float
    ends: float
    overlaps: tuple[float, float]
    divergence: float


@functools.cache
def critical_lines(p: int = 3, spherical: bool = False) -> Lines:
    """T_K, T_d and T_tri of a p-spin glass in units of J, each to about 1e-9.

    Raises:
        InputError: a model that :class:`PSpin` does not take.
    """
    model = PSpin(p, spherical)
    if p == 2:
        return Lines(1.0, 1.0, 1.0)  # the limit X -> 0 of all three, g = X - X^2 + ...

    def dynamical(ratio: np.ndarray | float) -> np.ndarray:
        return model.overlap(ratio) ** (p - 1) / ratio

    def tricritical(ratio: np.ndarray | float) -> np.ndarray:
        return (p - 1) * model.overlap(ratio) ** (p - 2) * model.slope(ratio)

    def difference(ratio: np.ndarray | float) -> np.ndarray:
        return model.information(ratio) - (p - 1) / (2 * p) * ratio * model.overlap(ratio)

    edge = _maximum(dynamical)
    static = brentq(difference, edge, SEARCHED[-1], xtol=FINEST)
    squares = (dynamical(static), dynamical(edge), tricritical(_maximum(tricritical)))
    return Lines(*(float(np.sqrt(p / 2 * value)) for value in squares))


def denoising_jump(temperature: float, p: int = 3, spherical: bool = False) -> Jump | None:
    """The first-order transition along the noise of a p-spin glass; None where there is none (above T_tri).

    Args:
        temperature: in units of J, above T_K: below, the replica-symmetric law of the posterior is not exact.

    Raises:
        InputError: a temperature of T_K or below.
    """
    model, lines = PSpin(p, spherical), critical_lines(p, spherical)
    if not temperature > lines.kauzmann:
        raise InputError(
            f"the temperature {temperature:g} J is not above T_K = {lines.kauzmann:.5f} J, where the glass itself "
            "breaks replica symmetry and these equations do not hold: choose one above"
        )
    if temperature >= lines.tricritical:
        return None
    strength = p / 2 / temperature**2

    def slope(ratio: float) -> float:  # of gamma^2 along the curve of fixed points
        return float(1 - strength * (p - 1) * model.overlap(ratio) ** (p - 2) * model.slope(ratio))

    def noise(ratio: float) -> float:
        return float(ratio - strength * model.overlap(ratio) ** (p - 1))

    middle = _maximum(lambda x: model.overlap(x) ** (p - 2) * model.slope(x))
    last = brentq(slope, SEARCHED[0], middle, xtol=FINEST)
    first = brentq(slope, middle, SEARCHED[-1], xtol=FINEST)

    def on_branches(gamma_squared: float) -> tuple[float, float]:
        """X on the lower and on the upper branch."""

        def gap(ratio: float) -> float:
            return noise(ratio) - gamma_squared

        return brentq(gap, 0.0, last, xtol=FINEST), brentq(gap, first, SEARCHED[-1], xtol=FINEST)

    def advantage(gamma_squared: float) -> float:
        """Free entropy of the upper state over that of the lower one."""
        low, high = (model.overlap(ratio) for ratio in on_branches(gamma_squared))
        upper = model.free_entropy(high, temperature, gamma_squared)
        return float(upper - model.free_entropy(low, temperature, gamma_squared))

    begins, ends = noise(first), noise(last)
    inner = 1e-9 * (ends - begins)
    equal = brentq(advantage, max(begins, 0.0) + inner, ends - inner, xtol=FINEST)
    low, high = (float(model.overlap(ratio)) for ratio in on_branches(equal))
    return Jump(begins, equal, ends, (low, high), advantage(ends - inner))


def _maximum(function: Callable[[np.ndarray | float], np.ndarray]) -> float:
    """Place of the largest value over the ratios X that are searched."""
    place = int(np.argmax(function(SEARCHED)))
    around = SEARCHED[max(place - 1, 0)], SEARCHED[min(place + 1, GRID - 1)]
    found = minimize_scalar(lambda x: -float(function(x)), bounds=around, method="bounded", options={"xatol": 1e-12})
    return float(found.x)
