r"""Random-features score: the spectrum that decides when it generalizes and when it memorizes, with no training at all.

Model: :math:`S_A(x) = (A/\sqrt p)\,\phi(W x/\sqrt d)`, A is d x p and learned, W is p x d with N(0, 1) entries. With
:math:`\psi_p = p/d`, :math:`\psi_n = n/d`, :math:`D = 1 - e^{-2t}` and training time :math:`\tau = k\,\eta/d^2` after
k steps of rate :math:`\eta`, gradient descent acts through :math:`U = \frac1n\sum_\nu E_\xi\,\phi\phi^T`: an
eigendirection is learned after :math:`\tau = \psi_p/(2 D\lambda)`.

Legend: K atoms of the data spectrum, M points z. Source: arXiv 2505.17638 (equations 12-14, theorems 3.1 and 3.2),
each checked here against diagonalised matrices (:mod:`physgen.diagnostics.regimes.random_features_check`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from physgen.errors import InputError

Activation = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class FeatureConstants:
    r"""What a nonlinearity is worth at one time, for data of variance :math:`\sigma_x^2` per dimension.

    With :math:`F(u, g) = \phi(e^{-t}\sigma_x u + \sqrt D g)` and u, g, g' normal: the part linear in the data
    :math:`\kappa_a = E[uF]/(e^{-t}\sigma_x)`, linear in the noise :math:`\kappa_b = E[gF]`, nonlinear in the datum
    :math:`\kappa_v^2 = E[F(u,g)F(u,g')] - \kappa_a^2 e^{-2t}\sigma_x^2`, and the rest :math:`\kappa_s^2`.
    """

    t: float
    kappa_a: float
    kappa_b: float
    kappa_v2: float
    kappa_s2: float
    data_variance: float = 1.0

    @property
    def noise_variance(self) -> float:
        """D = 1 - exp(-2t)."""
        return -math.expm1(-2 * self.t)

    @property
    def signal2(self) -> float:
        r""":math:`\kappa_a^2 e^{-2t}`, the strength of the data's linear part."""
        return self.kappa_a**2 * math.exp(-2 * self.t)


def feature_constants(
    t: float, activation: Activation = np.tanh, data_variance: float = 1.0, order: int = 120
) -> FeatureConstants:
    """The constants by Gauss-Hermite quadrature of ``order`` nodes per normal (smooth activations: 10 digits)."""
    if not (t > 0 and data_variance > 0):
        raise InputError(f"random features need t > 0 and a positive variance of the data, got {t} and {data_variance}")
    nodes, weights = np.polynomial.hermite_e.hermegauss(order)
    weights = weights / weights.sum()
    noise = -math.expm1(-2 * t)
    scale = math.exp(-t) * math.sqrt(data_variance)
    values = activation(scale * nodes[:, None] + math.sqrt(noise) * nodes[None, :])  # F(u, g)
    over_noise = values @ weights
    kappa_a = float(weights @ (nodes * over_noise)) / scale
    kappa_b = float(weights @ (values @ (weights * nodes)))
    kappa_v2 = float(weights @ over_noise**2) - (kappa_a * scale) ** 2
    square = float(weights @ activation(math.sqrt(scale**2 + noise) * nodes) ** 2)
    kappa_s2 = square - (kappa_a * scale) ** 2 - kappa_v2 - kappa_b**2
    return FeatureConstants(t, kappa_a, kappa_b, kappa_v2, kappa_s2, data_variance)
