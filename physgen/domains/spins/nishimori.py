r"""The Nishimori line: laws of couplings in which energies and magnetizations are known exactly.

Where :math:`P(J)/P(-J) = e^{2J/T}` for every bond, in the gauge of the file or in that of the variable ``planted``,

.. math:: [\langle J_b s_i s_j\rangle] = [\,|J_b|\tanh(|J_b|/T)\,], \qquad [\langle m^k\rangle] = [\langle q^k\rangle]

in any dimension, at any size and on any graph: :math:`e = -d\tanh(1/T)` for +-1 on a periodic lattice,
:math:`-\frac z2 J_0` for Gaussian couplings of mean :math:`J_0 = \Delta^2/T`.
Source: H. Nishimori, Prog. Theor. Phys. 66, 1169 (1981).

Legend: D disorder instances, M bonds.
"""

from __future__ import annotations

import numpy as np

from physgen.domains.spins.callen import fitted_temperature

BELIEVED = 4.0  # |z| up to which couplings follow the law of the line
BIASED = 6.0  # excess of positive bonds, in standard errors of symmetric couplings, from which on there is a line
MINORITY = 10.0  # expected bonds against the majority; of fewer, the line is not told from a ferromagnet


def line_obstacle(couplings: np.ndarray, temperature: float) -> str:
    """Why couplings (D, M) do not lie on the Nishimori line of T, in words; empty where they do.

    Given its modulus a bond is positive with probability :math:`1/(1 + e^{-2|J|/T})`: the sum of the bonds and that of
    :math:`|J| J` are compared with what that says.
    """
    size = np.abs(couplings[couplings != 0]).astype(np.float64)
    sign = np.sign(couplings[couplings != 0]).astype(np.float64)
    if not len(size) or (sign * size).sum() < BIASED * np.sqrt((size**2).sum()):
        return "the couplings are not biased towards plus, as they are on the Nishimori line"
    mean_sign = np.tanh(size / temperature)
    if ((1 - mean_sign) / 2).sum() < MINORITY:
        return "too few couplings are negative to tell the Nishimori line from a ferromagnet"
    for weight in (size, size**2):
        spread = np.sqrt((weight**2 * (1 - mean_sign**2)).sum())
        if abs((weight * (sign - mean_sign)).sum()) > BELIEVED * spread:
            fitted = fitted_temperature(sign, size)
            return (
                f"the couplings do not follow the law of the Nishimori line there (their mean does at T = {fitted:.4g})"
            )
    return ""


def line_energy(couplings: np.ndarray, temperature: float, spins: int) -> np.ndarray:
    r"""Energy per spin :math:`-\frac1N\sum_b |J_b|\tanh(|J_b|/T)` on the line, given the moduli; (D,)."""
    size = np.abs(couplings.astype(np.float64))
    return np.asarray(-(size * np.tanh(size / temperature)).sum(axis=1) / spins)


def controlled(deviation: np.ndarray, control: np.ndarray) -> np.ndarray:
    r"""Deviations (D,) minus the part that a control (D,) of mean zero explains; their mean stays what it is.

    The slope that instance i is corrected with is that of all others, so that it does not know of i. Where the control
    explains all, the deviations are returned as they are.
    """
    count = len(deviation)
    product, square = deviation * control, control**2
    if count < 3 or product.sum() ** 2 > (1 - 1e-9) * square.sum() * (deviation**2).sum():
        return deviation
    slope = (product.sum() - product) / (square.sum() - square)
    return np.asarray(deviation - slope * control)


def gaussian_obstacle(couplings: np.ndarray) -> str:
    """Why couplings (D, M) do not look like Gaussian ones of mean zero, in words; empty where they do."""
    bonds = couplings[couplings != 0].astype(np.float64)
    if len(np.unique(bonds)) <= max(2, len(bonds) // 2):
        return "the couplings are not Gaussian"
    if abs(bonds.sum()) > BELIEVED * np.sqrt((bonds**2).sum()):
        return "the couplings have no mean of zero"
    kurtosis = np.mean(bonds**4) / np.mean(bonds**2) ** 2
    if abs(kurtosis - 3) > BELIEVED * np.sqrt(24 / len(bonds)):
        return "the couplings are not Gaussian"
    return ""
