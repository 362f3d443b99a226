r"""Learning curves of the random-features score in closed form, at any training time and infinite size.

Gradient descent from A = 0 gives :math:`A/\sqrt p = -D^{-1/2}\,V^T g_\tau(U)` with
:math:`g_\tau(\lambda) = (1 - e^{-2 D\lambda\tau/\psi_p})/\lambda` (arXiv 2505.17638), so that per dimension

.. math::
    L_{train} = 1 - \frac1d\mathrm{Tr}\,V^T\frac{1 - e^{-4DU\tau/\psi_p}}{U}V, \qquad
    L_{test} = 1 + \frac1d\mathrm{Tr}\,V^T g_\tau\tilde U g_\tau V - \frac2d\mathrm{Tr}\,V^T g_\tau V.

Each trace is a contour integral over deterministic equivalents. Given the data, :math:`U - \kappa_s^2 = Z S Z^T` with
Z of p x (d + n) normal entries and S made of one 2 x 2 block per singular value of the data X: with
:math:`h = 1/(\psi_p q)`, :math:`G(z) = Z^T(U - z)^{-1}Z \simeq \Gamma = (S + h)^{-1}` and

.. math:: G_1 B G_2 \simeq \Gamma_1 B\Gamma_2 + \Gamma_1\Gamma_2\,
    \frac{h_1 h_2\,\mathrm{Tr}\,\Gamma_1 B\Gamma_2}{p - \mathrm{Tr}\,S^2\Gamma_1\Gamma_2}

(derived here, not in the paper; checked by diagonalisation). Traces over X follow by the same formula for
:math:`XX^T/n`. Legend: T training times, M nodes of a contour, K atoms of the data spectrum.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from physgen.diagnostics.regimes.random_features import FeatureModel, random_features_spectrum, saddle_point
from physgen.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

BULGE = 0.75  # of the contour in the angle of z: twice it stays below pi/2, where exp(-z tau) is bounded


def random_features_losses(tau: ArrayLike, model: FeatureModel, nodes: int = 480) -> xr.Dataset:
    r"""Train and test loss and error of the score against training time, in the limit of infinite size.

    Args:
        tau: (T,) times k lr / d^2 after k steps of gradient descent.
        model: sizes, constants and the data covariance.
        nodes: of each of two contours, one within the other; converges geometrically, the default to 1e-9 or better.

    Returns:
        Dataset over ``tau``: ``train``, ``test`` (denoising losses per dimension, 1 at tau = 0) and ``score_error``
        = :math:`E\|S_A - S\|^2/d` with the true score :math:`S = -(e^{-2t}\Sigma + D)^{-1} x` of Gaussian data.
        No error: a limit. At size d a run differs from it by O(1/d), or more where a curve is steep.
    """
    import xarray as xr

    tau = np.atleast_1d(np.asarray(tau, dtype=float))
    if np.any(tau < 0) or tau.ndim != 1:
        raise InputError("training times must be >= 0, in one row")
    c = model.constants
    rate = c.noise_variance / model.psi_p
    (z, dz), (other, d_other) = _contour(model, nodes, BULGE), _contour(model, nodes, BULGE / 2)
    left, right = _Nodes.of(z, model), _Nodes.of(other, model)
    g, g_other = (-np.expm1(-2 * rate * np.multiply.outer(tau, x)) / x for x in (z, other))  # (T, M)
    twice = -np.expm1(-4 * rate * np.multiply.outer(tau, z)) / z
    one = c.kappa_b**2 * model.psi_p * left.s1 * dz  # Tr V^T R V / d
    train = 1 + twice @ one
    linear = np.sum((g * dz) @ _two_resolvents(left, right, model) * (g_other * d_other), axis=1)
    test = 1 + linear - g**2 @ one * (c.kappa_v2 + c.kappa_s2) + 2 * g @ one
    least = model.least_loss
    curves = {"train": train.real, "test": test.real, "score_error": (test.real - least) / c.noise_variance}
    names = {"train": "train loss", "test": "test loss", "score_error": "error of the score"}
    return xr.Dataset(
        {name: ("tau", curve, {"long_name": names[name], "units": "1"}) for name, curve in curves.items()},
        coords={"tau": ("tau", tau, {"long_name": "training time", "symbol": r"\tau", "units": "1"})},
        attrs={"diagnostic": "random_features_losses", "psi_p": model.psi_p, "psi_n": model.psi_n, "t": c.t},
    )


def random_features_window(model: FeatureModel, gap: float = 0.1, points: int = 400) -> xr.Dataset:
    r"""When to stop: the window between generalization and memorization, predicted without training.

    Returns:
        Dataset of scalars: ``tau_best`` and ``score_error`` where the error of the score is least, ``tau_gap`` where
        test minus train loss reaches ``gap`` (NaN if never), and ``tau_gen, tau_mem, tau_mem_onset`` of the spectrum
        (:func:`physgen.diagnostics.regimes.random_features.random_features_spectrum`). Times to ``points`` per
        twelve decades or better. ``tau_gap`` grows faster than psi_n where psi_n is not large: its local slope in
        ln psi_n is 1.25 to 1.5 at psi_p = 64, psi_n <= 32, and 1 only for 1 << psi_n << psi_p.
    """
    import xarray as xr

    c = model.constants
    slow = model.psi_p / (c.noise_variance * c.kappa_s2)
    tau = np.geomspace(1e-9 * slow, 1e3 * slow, points)
    losses = random_features_losses(tau, model)
    at, least = _least(np.log(tau), losses["score_error"].values)
    difference = losses["test"].values - losses["train"].values
    past = int(np.argmax(difference > gap))
    reached = math.nan
    if past:
        reached = math.exp(np.interp(gap, difference[past - 1 : past + 1], np.log(tau[past - 1 : past + 1])))
    spectrum = random_features_spectrum(model)
    times = {name: float(spectrum[name]) for name in ("tau_gen", "tau_mem", "tau_mem_onset")}
    found = {"tau_best": math.exp(at), "score_error": least, "tau_gap": reached} | times
    return xr.Dataset({name: ((), value) for name, value in found.items()}, attrs=losses.attrs | {"gap": gap})


def _least(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Place and value of the minimum, by the parabola through the three lowest neighbours."""
    i = int(np.clip(np.argmin(y), 1, len(y) - 2))
    curve = np.polyfit(x[i - 1 : i + 2] - x[i], y[i - 1 : i + 2], 2)
    if curve[0] <= 0:
        return float(x[i]), float(y[i])
    offset = -curve[1] / (2 * curve[0])
    return float(x[i] + offset), float(np.polyval(curve, offset))


def _contour(model: FeatureModel, nodes: int, bulge: float) -> tuple[np.ndarray, np.ndarray]:
    """Nodes around the spectrum and weights dz/(2 pi i), counter-clockwise: an ellipse in log z, foci at its ends.

    Training times span many decades, as the eigenvalues do: in log z the trapezoid rule sees all of them alike.
    """
    low, high = model.constants.kappa_s2, model.largest
    centre, half = math.log(low * high) / 2, math.log(high / low) / 2
    angle = 2 * math.pi * (np.arange(nodes) + 0.5) / nodes - 1j * math.asinh(bulge / half)
    z = np.exp(centre + half * np.cos(angle))
    dz = -half * np.sin(angle) * z / (1j * nodes)
    return z, dz


@dataclass(frozen=True)
class _Nodes:
    """The saddle point at the nodes of a contour, in the words of the data covariance C = X X^T / n; (M,) each.

    The block of Gamma in the directions of the weights is 1 / (signal2 h single (C + w)) with ``single`` of a datum
    alone, and (C + w)^-1 is equivalent to 1 / (w + lambda theta) in a direction of data variance lambda.
    """

    zeta: np.ndarray
    h: np.ndarray
    w: np.ndarray
    theta: np.ndarray
    s1: np.ndarray

    @classmethod
    def of(cls, z: np.ndarray, model: FeatureModel) -> _Nodes:
        c, ratio = model.constants, model.psi_p / model.psi_n
        upper = z.imag > 0  # the nodes come in conjugate pairs, first and last
        found = saddle_point(z[upper], model)
        q, s1, r1 = (np.empty_like(z) for _ in range(3))
        for whole, half in ((q, found.q), (s1, found.s1), (r1, found.r1)):
            whole[upper] = half
            whole[~upper] = whole[::-1][~upper].conj()
        h, single = 1 / (model.psi_p * q), c.kappa_v2 / model.psi_n
        den = 1 + c.signal2 * ratio * r1 + c.kappa_v2 * ratio * q
        w = (single + h) * (h + c.kappa_b**2) / (c.signal2 * h)
        return cls(z - c.kappa_s2, h, w, (h + single) / (h * den), s1)


def _two_resolvents(left: _Nodes, right: _Nodes, model: FeatureModel) -> np.ndarray:
    r""":math:`\frac1d\mathrm{Tr}\,V^T R_1 W L W^T R_2 V/d` with L the linear part of the population, (M, M').

    Functions of C alone come apart into single resolvents; :math:`(C + w_1)^{-1} L (C + w_2)^{-1}` needs two.
    """
    c, single = model.constants, model.constants.kappa_v2 / model.psi_n
    data, weights = model.data_spectrum
    linear = c.signal2 * data + c.kappa_b**2
    one, two = (1 / (n.w[:, None] + data * n.theta[:, None]) for n in (left, right))  # (M, K)

    def pair(weight: np.ndarray) -> np.ndarray:
        """Integral over the data spectrum of both resolvents' equivalents."""
        return (one * (weights * weight)) @ two.T

    between = left.theta[:, None] * right.theta[None, :] / model.psi_n
    both = pair(linear) + pair(data) * between * pair(data * linear) / (1 - between * pair(data**2))
    outside = (single + left.h)[:, None] * (single + right.h)[None, :]
    scale = c.signal2**2 * left.h[:, None] * right.h[None, :]
    apart = left.w[:, None] - right.w[None, :]

    def block(weight: np.ndarray) -> np.ndarray:
        """Trace of (Gamma_1 Gamma_2) in the directions of the weights, times ``weight`` of the data variance."""
        first, second = (one @ (weights * weight))[:, None], (two @ (weights * weight))[None, :]
        flat, rising = second - first, left.w[:, None] * first - right.w[None, :] * second  # of 1 and of C
        return (outside * flat + c.signal2 * single * rising) / (scale * apart)

    unit = np.ones_like(data)
    product = left.h[:, None] * right.h[None, :]
    corrected = product * block(unit) * block(linear) / (model.psi_p - _whole(left, right, model))
    return c.kappa_b**2 * (outside * both / scale + corrected)


def _whole(left: _Nodes, right: _Nodes, model: FeatureModel) -> np.ndarray:
    r""":math:`\mathrm{Tr}\,S^2\Gamma_1\Gamma_2/d` = Tr (1 - h_1 Gamma_1)(1 - h_2 Gamma_2)/d.

    From the equation of h, :math:`\zeta = h (1 + \psi_n - \psi_p - h\,\mathrm{Tr}\,\Gamma/d)`, and
    :math:`\Gamma_1\Gamma_2 = (\Gamma_1 - \Gamma_2)/(h_2 - h_1)`.
    """
    modes = 1 + model.psi_n
    trace = [(modes - model.psi_p - n.zeta / n.h) / n.h for n in (left, right)]  # Tr Gamma / d
    h1, h2 = left.h[:, None], right.h[None, :]
    t1, t2 = trace[0][:, None], trace[1][None, :]
    return modes - h1 * t1 - h2 * t2 + h1 * h2 * (t1 - t2) / (h2 - h1)
