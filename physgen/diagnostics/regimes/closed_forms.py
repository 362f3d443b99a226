r"""Excess entropy and collapse time in closed form: isotropic Gaussian data (and mixtures of them), Gaussian fields.

With n data in d dimensions and :math:`x_t = e^{-t} a + \sqrt{D} z`, :math:`D = 1 - e^{-2t}`, the excess entropy is

.. math:: f(t) = \frac{\ln n}{d} + \frac12 \ln(2\pi e D) - h(t) = \frac{\ln n - I(t)}{d},

where h is the entropy per dimension of the law :math:`p_t` and I the information, in nats, that :math:`x_t` holds about
the datum it came from. The n data can be told apart from :math:`x_t` where f < 0; the collapse time is
:math:`f(t_C) = 0`. A law that a group of |G| symmetries leaves alone gives n |G| data: :math:`\ln n` becomes
:math:`\ln(n|G|)`.

Source: Biroli, Bonnaire, de Bortoli, Mezard, arXiv:2402.18491, Eq. 5; the field and the orbits are derived here.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq

from physgen.errors import InputError

WIDEST = 60.0  # ln s^2 in which roots are looked for


def noise_variance(times: ArrayLike) -> np.ndarray:
    r"""Relative noise variance :math:`s^2 = e^{2t} - 1` at times t > 0 of the Ornstein-Uhlenbeck process."""
    t = np.asarray(times, dtype=float)
    if not np.all(np.isfinite(t)) or np.any(t <= 0):
        raise InputError(
            f"an excess entropy needs Ornstein-Uhlenbeck times > 0, got {t.tolist()}: at 0 it is -infinity"
        )
    return np.expm1(2 * t)


def mixture_collapse_time(n: float, d: float, sigma: float, orbit_size: int = 1) -> float:
    r""":math:`t_C = \frac12 \ln\bigl(1 + \sigma^2 / ((n|G|)^{2/d} - 1)\bigr)` of isotropic Gaussian data.

    For a mixture of a few such Gaussians it is right up to the entropy of the classes, at most ln(classes)/d in f.

    Args:
        n: number of data, above 1 with their images.
        d: dimension.
        sigma: standard deviation of every coordinate about its class centre.
        orbit_size: |G|.

    Source: arXiv:2402.18491, Sec. III.
    """
    exponent = 2 * math.log(_atoms(n, orbit_size)) / d
    return 0.5 * math.log1p(sigma**2 / math.expm1(exponent))


def gaussian_information(spectrum: ArrayLike, times: ArrayLike) -> np.ndarray:
    r"""Information :math:`I(t) = \frac12 \sum_k \ln(1 + P_k/s^2)` in nats, shape of ``times``.

    Among all laws of one covariance the Gaussian one has the most: for any other law this is an upper bound.

    Args:
        spectrum: variances P_k >= 0 of all d independent real modes (the eigenvalues of the covariance), any shape. In
            the layout of ``fftn`` with unitary norm, the mean of :math:`|F_k|^2` counts as such.
        times: t > 0.
    """
    power = np.asarray(spectrum, dtype=float).ravel()
    if power.size == 0 or not np.all(np.isfinite(power)) or np.any(power < 0):
        raise InputError("a spectrum needs finite variances >= 0, one for each mode: check the law it was taken from")
    s2 = noise_variance(times)
    return np.asarray(0.5 * np.array([np.log1p(power / v).sum() for v in s2.ravel()]).reshape(s2.shape))


def gaussian_excess_entropy(spectrum: ArrayLike, n: float, times: ArrayLike, orbit_size: int = 1) -> np.ndarray:
    r""":math:`f(t) = \ln(n|G|)/d - \frac{1}{2d} \sum_k \ln(1 + P_k e^{-2t}/D)` of a Gaussian law, shape of ``times``.

    For another law of the same covariance it is a lower bound of f, and its root a latest possible collapse time.

    Args:
        spectrum: variances of all d modes, see :func:`gaussian_information`.
        n, orbit_size: number of data, and of the images of each.
        times: t > 0.
    """
    size = np.asarray(spectrum).size
    return np.asarray((math.log(_atoms(n, orbit_size)) - gaussian_information(spectrum, times)) / size)


def gaussian_collapse_time(spectrum: ArrayLike, n: float, orbit_size: int = 1) -> float:
    r"""Root :math:`t_C` of :func:`gaussian_excess_entropy`; relative accuracy 1e-12."""
    target = math.log(_atoms(n, orbit_size))
    power = np.asarray(spectrum, dtype=float)

    def excess(log_s2: float) -> float:
        return target - float(gaussian_information(power, 0.5 * np.log1p(np.exp(log_s2))))

    if not np.any(power > 0) or excess(-WIDEST) > 0:
        raise InputError("a law without variance never collapses: its spectrum must hold variances above 0")
    return float(0.5 * np.log1p(np.exp(brentq(excess, -WIDEST, WIDEST, xtol=1e-12))))


def _atoms(n: float, orbit_size: int) -> float:
    if not n * orbit_size > 1:
        raise InputError(f"a collapse needs more than one datum to tell apart, got n |G| = {n} * {orbit_size}")
    return n * orbit_size
