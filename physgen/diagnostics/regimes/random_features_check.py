r"""Random features at finite size: the matrices themselves, diagonalised.

Two laws: *equivalent*, the Gaussian matrices of arXiv 2505.17638,
:math:`U \simeq HH^T/n + \kappa_b^2 WW^T/d + \kappa_s^2`, and *features*, the true
:math:`U = \frac1n\sum_\nu E_\xi\,\phi\phi^T` of sampled data and weights, whose expectation over the noise is summed in
Hermite polynomials: :math:`E\,\phi(m_i + \sigma_i g_i)\phi(m_j + \sigma_j g_j) = \sum_k \rho_{ij}^k c_k(i)c_k(j)/k!`.

Legend: p features, n data, d dimensions, R directions that training reaches, T times.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import ArrayLike

from physgen.diagnostics.regimes.random_features import Activation, FeatureModel
from physgen.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

Law = Literal["equivalent", "features"]
Matrices = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # U (p, p), V (p, d), population U and V


@dataclass(frozen=True)
class DiagonalFeatures:
    """One draw of weights and data in the eigenbasis of its U.

    Attributes:
        eigenvalues: (R,) of U, ascending, without the silent directions that V does not reach.
        reached, seen: (R,) of V V^T / d and of V V_population^T / d, diagonal.
        cross: (R, R) of V V^T (population U) / d.
        silent: how many eigenvalues were left out.
    """

    eigenvalues: np.ndarray
    reached: np.ndarray
    seen: np.ndarray
    cross: np.ndarray
    silent: int


def draw_features(
    model: FeatureModel, d: int, seed: int, law: Law = "equivalent", activation: Activation = np.tanh
) -> DiagonalFeatures:
    """Draw p = psi_p d weights and n = psi_n d data of the model's covariance, and diagonalise U.

    ``activation`` must be the one of ``model.constants``; it acts for the true features alone.
    """
    p, n = round(model.psi_p * d), round(model.psi_n * d)
    if min(p, n, d) < 1 or law not in ("equivalent", "features"):
        raise InputError(
            f"no matrices of p = {p}, n = {n}, d = {d}, law {law!r}: raise d, law is equivalent or features"
        )
    random = np.random.default_rng([seed, p, n, d])
    given = model.constants.data_variance if model.covariance is None else model.covariance
    spread = np.sqrt(np.resize(np.asarray(given, dtype=float), d))
    weights, data = random.standard_normal((p, d)), spread[:, None] * random.standard_normal((d, n))
    if law == "features":
        return diagonalise(_true_matrices(model, weights, data, spread, activation))
    return _equivalent(model, weights, data, spread, random.standard_normal((p, n)))


def _equivalent(
    model: FeatureModel, weights: np.ndarray, data: np.ndarray, spread: np.ndarray, nonlinear: np.ndarray
) -> DiagonalFeatures:
    """U - kappa_s^2 = F F^T with F of p x (d + n): its d + n modes come from the smaller of F F^T and F^T F."""
    c, (p, d), n = model.constants, weights.shape, data.shape[1]
    factor = np.empty((p, d + n))
    factor[:, :d] = c.kappa_b / math.sqrt(d) * weights  # V
    factor[:, d:] = math.sqrt(c.signal2 / (n * d)) * weights @ data + math.sqrt(c.kappa_v2 / n) * nonlinear
    linear = weights * np.sqrt((c.signal2 * spread**2 + c.kappa_b**2) / d)
    rest = c.kappa_v2 + c.kappa_s2
    if p <= d + n:
        population = linear @ linear.T + rest * np.eye(p)
        u, v = factor @ factor.T + c.kappa_s2 * np.eye(p), factor[:, :d]
        return diagonalise((u, v, population, v))
    gram = factor.T @ factor
    values, vectors = np.linalg.eigh(gram)
    values = np.maximum(values, 1e-300)
    reached = np.sqrt(values)[:, None] * vectors[:d].T  # (R, d): eigenvectors of U on V
    turned = (vectors.T @ (factor.T @ linear)) / np.sqrt(values)[:, None]
    weight = np.sum(reached**2, axis=1) / d
    cross = (reached @ reached.T) * (turned @ turned.T + rest * np.eye(d + n)) / d
    return DiagonalFeatures(values + c.kappa_s2, weight, weight, cross, p - d - n)


def diagonalise(matrices: Matrices) -> DiagonalFeatures:
    """The general case: U, V and their population versions as they are."""
    u, v, population, v_population = matrices
    d = v.shape[1]
    values, vectors = np.linalg.eigh(u)
    reached, seen = vectors.T @ v, vectors.T @ v_population
    cross = (reached @ reached.T) * (vectors.T @ population @ vectors) / d
    return DiagonalFeatures(values, np.sum(reached**2, 1) / d, np.sum(reached * seen, 1) / d, cross, 0)


def _true_matrices(
    model: FeatureModel, weights: np.ndarray, data: np.ndarray, spread: np.ndarray, activation: Activation
) -> Matrices:
    """U, V and their population versions of the true features, noise (and data) integrated out."""
    noise, decay, (p, d) = model.constants.noise_variance, math.exp(-model.constants.t), weights.shape
    mean = decay / math.sqrt(d) * weights @ data  # (p, n)
    overlap = noise / d * weights @ weights.T
    u, first = _second_moment(mean, overlap, activation, orders=6)
    direction = weights / np.linalg.norm(weights, axis=1, keepdims=True)
    total = weights * (decay**2 * spread**2 + noise) @ weights.T / d
    population, first_population = _second_moment(np.zeros((p, 1)), total, activation, orders=14)
    # E phi xi = E[phi'] sqrt(D) w / sqrt(d), and c_1 = sigma E[phi']
    slope = first_population / np.sqrt(np.diag(total))
    v_population = slope[:, None] * math.sqrt(noise / d) * weights
    return u, first[:, None] * direction, population, v_population


def _second_moment(
    mean: np.ndarray, covariance: np.ndarray, activation: Activation, orders: int
) -> tuple[np.ndarray, np.ndarray]:
    """Mean over columns nu of E phi(m_i + noise_i) phi(m_j + noise_j), (p, p), and of c_1, (p,).

    Off the diagonal the Hermite series stops at ``orders``, where rho^orders is below the last digits that matter;
    the diagonal is exact.
    """
    sigma = np.sqrt(np.diag(covariance))
    rho = covariance / np.outer(sigma, sigma)
    nodes, node_weights = np.polynomial.hermite_e.hermegauss(24 if orders < 10 else 60)
    node_weights = node_weights / node_weights.sum()
    polynomials = np.polynomial.hermite_e.hermevander(nodes, orders - 1) * node_weights[:, None]  # (nodes, orders)
    coefficients = np.zeros((orders, *mean.shape))
    square = np.zeros(mean.shape[0])
    for node, weight, polynomial in zip(nodes, node_weights, polynomials, strict=True):
        value = activation(mean + sigma[:, None] * node)
        coefficients += polynomial[:, None, None] * value
        square += weight * np.mean(value**2, axis=1)
    moment, power = np.zeros_like(rho), np.ones_like(rho)
    for order, coefficient in enumerate(coefficients):
        moment += power * (coefficient @ coefficient.T) / (mean.shape[1] * math.factorial(order))
        power = power * rho
    np.fill_diagonal(moment, square)
    return moment, coefficients[1].mean(axis=1)


def training_curves(tau: ArrayLike, model: FeatureModel, found: DiagonalFeatures) -> tuple[np.ndarray, np.ndarray]:
    """Train and test loss per dimension at times (T,), for one draw."""
    scaled = np.multiply.outer(np.atleast_1d(np.asarray(tau, dtype=float)), found.eigenvalues)
    rate = model.constants.noise_variance / model.psi_p
    learned = -np.expm1(-2 * rate * scaled) / found.eigenvalues
    train = 1 + np.expm1(-4 * rate * scaled) @ (found.reached / found.eigenvalues)
    test = 1 + np.sum(learned @ found.cross * learned, axis=1) - 2 * learned @ found.seen
    if found.seen is not found.reached:  # V of the training set is not that of the population
        train = 1 + (learned**2 * found.eigenvalues - 2 * learned) @ found.reached
    return train, test


def finite_losses(
    tau: ArrayLike, model: FeatureModel, d: int, seeds: Sequence[int], law: Law = "equivalent",
    activation: Activation = np.tanh,
) -> xr.Dataset:  # fmt: skip
    """Train and test loss at size d, averaged over draws: ``train, test, score_error`` each with ``..._error``.

    Errors are standard errors over the draws of ``seeds`` (NaN for one). ``score_error`` is that of
    :func:`physgen.diagnostics.regimes.random_features_training.random_features_losses`.
    """
    import xarray as xr

    tau = np.atleast_1d(np.asarray(tau, dtype=float))
    curves = np.array([training_curves(tau, model, draw_features(model, d, seed, law, activation)) for seed in seeds])
    excess = (curves[:, 1] - model.least_loss) / model.constants.noise_variance
    each = {"train": curves[:, 0], "test": curves[:, 1], "score_error": excess}
    error = {
        name: value.std(0, ddof=1) / math.sqrt(len(value)) if len(value) > 1 else np.full(len(tau), math.nan)
        for name, value in each.items()
    }
    return xr.Dataset(
        {name: ("tau", value.mean(0)) for name, value in each.items()}
        | {f"{name}_error": ("tau", value) for name, value in error.items()},
        coords={"tau": ("tau", tau, {"long_name": "training time", "symbol": r"\tau", "units": "1"})},
        attrs={"diagnostic": "random_features_finite", "law": law, "d": d, "draws": len(curves)},
    )
