r"""Learning curves of the random-features score in closed form, at any training time and infinite size.

Gradient descent from A = 0 gives :math:`A/\sqrt p = -D^{-1/2}\,V^T g_\tau(U)` with
:math:`g_\tau(\lambda) = (1 - e^{-2 D\lambda\tau/\psi_p})/\lambda` (arXiv 2505.17638), so that per dimension

.. math::
    L_{train} = 1 - \frac1d\mathrm{Tr}\,V^T\frac{1 - e^{-4DU\tau/\psi_p}}{U}V, \qquad
    L_{test} = 1 + \frac1d\mathrm{Tr}\,V^T g_\tau\tilde U g_\tau V - \frac2d\mathrm{Tr}\,V^T g_\tau V.

Each trace is a contour integral over deterministic equivalents. Given the data, :math:`U - \kappa_s^2 = Z S Z^T` with
Z of p x (d + n) normal entries and S built of one 2 x 2 block per singular value of the data: with
:math:`h = 1/(\psi_p q)`, :math:`G(z) = Z^T(U - z)^{-1}Z \simeq \Gamma = (S + h)^{-1}` and

.. math:: G_1 B G_2 \simeq \Gamma_1 B\Gamma_2 + \Gamma_1\Gamma_2\,
    \frac{h_1 h_2\,\mathrm{Tr}\,\Gamma_1 B\Gamma_2}{p - \mathrm{Tr}\,S^2\Gamma_1\Gamma_2}

(derived here, not in the paper; checked by diagonalisation). Legend: T training times, M nodes of the contour,
J atoms of the Marchenko-Pastur law of the data.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from physgen.diagnostics.regimes.random_features import FeatureModel, random_features_spectrum, saddle_point
from physgen.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

BULGE = 0.75  # of the contour in the angle of z: twice it stays below pi/2, where exp(-z tau) is bounded


def random_features_losses(tau: ArrayLike, model: FeatureModel, nodes: int = 320, atoms: int = 48) -> xr.Dataset:
    r"""Train and test loss and error of the score against training time, in the limit of infinite size.

    Args:
        tau: (T,) times k lr / d^2 after k steps of gradient descent.
        model: sizes and constants; the data covariance must be a multiple of the identity.
        nodes, atoms: of the contour and of the data's spectrum; both converge geometrically, the defaults to 1e-9.

    Returns:
        Dataset over ``tau``: ``train``, ``test`` (denoising losses per dimension, 1 at tau = 0) and ``score_error``
        = :math:`E\|S_A - S\|^2/d` with the true score :math:`S = -x/(1 + e^{-2t}(\sigma_x^2 - 1))`. No error: a limit.
        At size d a run differs from it by O(1/d), or more where a curve is steep.
    """
    import xarray as xr

    tau = np.atleast_1d(np.asarray(tau, dtype=float))
    if len(model.data_spectrum[0]) > 1:
        raise InputError(
            "the closed form of the test loss needs data of one variance in all directions; "
            "take random_features_check.finite_losses for others"
        )
    if np.any(tau < 0) or tau.ndim != 1:
        raise InputError("training times must be >= 0, in one row")
    c = model.constants
    z, dz = _contour(model, nodes)
    one, two = _equivalents(z, model, atoms)
    rate = c.noise_variance / model.psi_p
    g = -np.expm1(-2 * rate * np.multiply.outer(tau, z)) / z  # (T, M)
    twice = -np.expm1(-4 * rate * np.multiply.outer(tau, z)) / z
    train = 1 + (twice * one) @ dz
    first, square = -(g * one) @ dz, -(g**2 * one) @ dz * (c.kappa_v2 + c.kappa_s2)
    linear = c.signal2 * c.data_variance + c.kappa_b**2
    test = 1 + square + linear * np.sum((g * dz) @ two * (g * dz), axis=1) - 2 * first
    least = 1 - c.noise_variance / (1 + math.exp(-2 * c.t) * (c.data_variance - 1))  # the loss of the true score
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


def _contour(model: FeatureModel, nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes around the spectrum and weights dz/(2 pi i), counter-clockwise: an ellipse in log z, foci at its ends.

    Training times span many decades, as the eigenvalues do: in log z the trapezoid rule sees all of them alike.
    """
    low, high = model.constants.kappa_s2, model.largest
    centre, half = math.log(low * high) / 2, math.log(high / low) / 2
    angle = 2 * math.pi * (np.arange(nodes) + 0.5) / nodes - 1j * math.asinh(BULGE / half)
    z = np.exp(centre + half * np.cos(angle))
    dz = -half * np.sin(angle) * z / (1j * nodes)
    return z, dz


def _data_law(model: FeatureModel, atoms: int) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues and weights of X X^T / n: the law of Marchenko and Pastur by Gauss-Chebyshev nodes."""
    ratio, variance = 1 / model.psi_n, model.constants.data_variance
    angle = math.pi * np.arange(1, atoms + 1) / (atoms + 1)
    half = 2 * variance * math.sqrt(ratio)
    values = variance * (1 + ratio) + half * np.cos(angle)
    weights = half**2 * np.sin(angle) ** 2 / ((atoms + 1) * 2 * ratio * variance * values)
    if ratio > 1:  # directions without data
        values, weights = np.append(values, 0.0), np.append(weights, 1 - 1 / ratio)
    return values, weights


def _equivalents(z: np.ndarray, model: FeatureModel, atoms: int) -> tuple[np.ndarray, np.ndarray]:
    r"""One and two resolvents between the directions of V, per dimension: (M,) and (M, M).

    :math:`\frac1d\mathrm{Tr} V^T R V` and :math:`\frac1{d^2}\mathrm{Tr} V^T R_1 W W^T R_2 V`.
    """
    c = model.constants
    upper = z.imag > 0
    h = np.empty_like(z)
    h[upper] = 1 / (model.psi_p * saddle_point(z[upper], model).q)
    h[~upper] = h[::-1][~upper].conj()  # nodes come in conjugate pairs, first and last
    data, weights = _data_law(model, atoms)
    single = c.kappa_v2 / model.psi_n  # eigenvalue of S of a datum alone
    noise = c.kappa_b**2
    column = h[:, None]
    determinant = (single + column) * (column + noise) + column * c.signal2 * data  # (M, J)
    law = (single + column) / determinant  # the entries of the blocks of Gamma
    mixed = -np.sqrt(c.signal2 * single * data) / determinant
    datum = (c.signal2 * data + noise + column) / determinant
    first = (law * weights) @ law.T
    mixture = (mixed * weights) @ mixed.T
    product = h[:, None] * h[None, :]
    alone = single / (single + h)
    traced = h * ((law + datum) @ weights)
    whole = 2 - traced[:, None] - traced[None, :] + product * (first + 2 * mixture + (datum * weights) @ datum.T)
    whole = whole + (model.psi_n - 1) * alone[:, None] * alone[None, :]  # Tr S^2 Gamma_1 Gamma_2 / d
    two = first + product * (first + mixture) ** 2 / (model.psi_p - whole)
    return noise * (law @ weights), noise * two
