r"""The denoiser of a mean-field glass as N grows, in one number: its overlap with the truth (state evolution).

:math:`H = -\sum_{i_1<\dots<i_p} J s_{i_1}\cdots s_{i_p}`, J of mean zero and variance :math:`p!/2N^{p-1}` (p = 2:
Sherrington and Kirkpatrick, 1/N), at the temperature :math:`T = 1/\beta`. A configuration of equilibrium is seen
through noise, y = x + s z. With :math:`\gamma^2 = 1/s^2` and q the overlap of the denoiser with x,

.. math:: q = g(X), \qquad X = \tfrac{p}{2}\beta^2 q^{p-1} + \gamma^2,

where g(X) is the overlap of one spin that is seen through a Gaussian channel of signal-to-noise ratio X:
:math:`E \tanh(X + \sqrt X z)` for Ising spins, X/(1 + X) for spherical ones. Fixed points are the stationary points of

.. math:: \Phi(q) = \Psi(X) - \tfrac{p-1}{4} \beta^2 q^p, \qquad \Psi' = g/2,

the free entropy (per spin, in nats) above that of the paramagnet. The mean of the posterior, which no computer finds
where there are two, is the point of the largest :math:`\Phi`; what message passing (AMP), and any denoiser that is
computed in steps of polynomial number, finds is the smallest fixed point. Exact in the phase without replica symmetry
breaking of the posterior, T > T_K.

Source: Ghio, Dandi, Krzakala and Zdeborova, arXiv:2308.14085; Alaoui, Montanari and Sellke, arXiv:2310.08912.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq

from physgen.errors import InputError

STEP, REACH = 0.04, 12.0  # of the trapezoidal rule over z, exact to rounding: tanh is analytic to a distance of 1/2
LOWEST, HIGHEST = 1e-9, 60.0  # signal-to-noise ratios X that are searched
GRID = 4000
_z = np.arange(-REACH, REACH + STEP / 2, STEP)
_weight = np.exp(-0.5 * _z**2) * STEP / np.sqrt(2 * np.pi)


@dataclass(frozen=True)
class PSpin:
    r"""A p-spin glass of Ising or spherical spins, as N grows.

    Args:
        p: spins in each interaction; 2 is the Sherrington-Kirkpatrick model.
        spherical: real spins with :math:`\sum_i x_i^2 = N` in the place of +-1.

    Raises:
        InputError: p below 2, or p = 2 with spherical spins, which are no glass.
    """

    p: int = 3
    spherical: bool = False

    def __post_init__(self) -> None:
        if self.p < 2 or self.spherical and self.p == 2:
            raise InputError(f"p = {self.p} with spherical={self.spherical} is no glass: give p >= 2 (spherical: 3)")

    def overlap(self, ratio: np.ndarray | float) -> np.ndarray:
        """g(X) of signal-to-noise ratios X >= 0, any shape."""
        ratio = np.asarray(ratio, dtype=np.float64)
        return ratio / (1 + ratio) if self.spherical else _mean(np.tanh, ratio)

    def slope(self, ratio: np.ndarray | float) -> np.ndarray:
        r"""g'(X), for Ising spins :math:`E (1 - \tanh^2)^2`."""
        ratio = np.asarray(ratio, dtype=np.float64)
        return (1 + ratio) ** -2 if self.spherical else _mean(lambda h: (1 - np.tanh(h) ** 2) ** 2, ratio)

    def information(self, ratio: np.ndarray | float) -> np.ndarray:
        r""":math:`\Psi(X) = \frac12\int_0^X g`, for Ising spins :math:`E \ln\cosh - X/2`, in nats."""
        ratio = np.asarray(ratio, dtype=np.float64)
        if self.spherical:
            return 0.5 * (ratio - np.log1p(ratio))
        return _mean(lambda h: np.logaddexp(h, -h) - np.log(2), ratio) - ratio / 2

    def free_entropy(self, overlap: np.ndarray | float, temperature: float, gamma_squared: float = 0.0) -> np.ndarray:
        r""":math:`\Phi(q)` of overlaps q in [0, 1), nats per spin above the paramagnet of the same temperature."""
        overlap = np.asarray(overlap, dtype=np.float64)
        beta_squared = temperature**-2.0
        ratio = 0.5 * self.p * beta_squared * overlap ** (self.p - 1) + gamma_squared
        return self.information(ratio) - 0.25 * (self.p - 1) * beta_squared * overlap**self.p

    def fixed_points(self, temperature: float, gamma_squared: float) -> np.ndarray:
        """All overlaps q that state evolution maps to themselves, increasing; of 3 the middle one is unstable."""
        strength = 0.5 * self.p / temperature**2

        def gap(ratio: np.ndarray | float) -> np.ndarray:
            return np.asarray(ratio) - strength * self.overlap(ratio) ** (self.p - 1) - gamma_squared

        grid = np.concatenate([[0.0], np.geomspace(LOWEST, HIGHEST + strength + gamma_squared, GRID)])
        values = gap(grid)
        found = [float(grid[i]) for i in np.flatnonzero(values == 0)]
        found += [
            brentq(gap, grid[i], grid[i + 1], xtol=1e-14, rtol=1e-14)
            for i in np.flatnonzero(values[:-1] * values[1:] < 0)
        ]
        return self.overlap(np.sort(found))


def _mean(function: Callable[[np.ndarray], np.ndarray], ratio: np.ndarray) -> np.ndarray:
    r""":math:`E f(X + \sqrt X z)` of a standard normal z, for each X."""
    field = ratio[..., None] + np.sqrt(ratio)[..., None] * _z
    return function(field) @ _weight
