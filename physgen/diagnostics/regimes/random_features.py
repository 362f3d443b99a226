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
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from physgen.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

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
    """The constants by Gauss-Hermite quadrature of ``order`` nodes per normal (smooth activations: 10 digits).

    The activation acts on arrays, must have mean zero under the data (an odd one has) and be nonlinear.
    """
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
    mean = float(weights @ over_noise)
    if mean**2 > 1e-6 * square:
        raise InputError(
            f"the theory is for activations of mean zero, this one has {mean:.3g}: take an odd one or centre it"
        )
    if min(kappa_v2, kappa_s2) < 1e-12 * square:
        raise InputError("the activation is linear: its features have no nonlinear part that could memorize")
    return FeatureConstants(t, kappa_a, kappa_b, kappa_v2, kappa_s2, data_variance)


@dataclass(frozen=True)
class Resolvent:
    r"""Solution of the saddle point at points z; all (M,).

    Attributes:
        q: :math:`\frac1p\mathrm{Tr}(U - z)^{-1}`.
        s1, r1: the two integrals over the data spectrum. In the directions in which training acts,
            :math:`\frac1d\mathrm{Tr}\,V^T(U - z)^{-1}V = \kappa_b^2\psi_p s_1` (derived here).
    """

    z: np.ndarray
    q: np.ndarray
    s1: np.ndarray
    r1: np.ndarray


@dataclass(frozen=True)
class FeatureModel:
    """Sizes of the model per dimension and of its data.

    Attributes:
        psi_p, psi_n: features and data per dimension.
        constants: of the nonlinearity at one time.
        covariance: eigenvalues of the data covariance, each with the same weight; None for
            ``constants.data_variance`` in every direction. Their mean must be that variance.
    """

    psi_p: float
    psi_n: float
    constants: FeatureConstants
    covariance: ArrayLike | None = None

    def __post_init__(self) -> None:
        if not (self.psi_p > 0 and self.psi_n > 0):
            raise InputError(f"features and data per dimension must be positive, got {self.psi_p} and {self.psi_n}")
        atoms, weights = self.data_spectrum
        if not np.all(np.isfinite(atoms)) or atoms[0] < 0:
            raise InputError("the data spectrum holds negative or infinite values: pass eigenvalues of a covariance")
        if abs(atoms @ weights / self.constants.data_variance - 1) > 1e-6:
            raise InputError(
                f"the mean of the data spectrum is {atoms @ weights:g}, the constants were made for "
                f"{self.constants.data_variance:g}: pass feature_constants(..., data_variance=mean of the eigenvalues)"
            )

    @property
    def data_spectrum(self) -> tuple[np.ndarray, np.ndarray]:
        """Distinct eigenvalues of the data covariance and their weights, (K,) each."""
        given = self.constants.data_variance if self.covariance is None else self.covariance
        atoms, counts = np.unique(np.asarray(given, dtype=float), return_counts=True)
        return atoms, counts / counts.sum()

    @property
    def largest(self) -> float:
        """A bound above the whole spectrum: the product of the bounds of the two Wishart factors."""
        c = self.constants
        within = c.signal2 * self.data_spectrum[0][-1] * (1 + self.psi_n**-0.5) ** 2 + c.kappa_b**2
        within += c.kappa_v2 / self.psi_n
        return c.kappa_s2 + within * (math.sqrt(self.psi_p) + math.sqrt(1 + self.psi_n)) ** 2

    @property
    def least_loss(self) -> float:
        """Denoising loss per dimension of the true score of Gaussian data, mean of 1 - D/(exp(-2t) lambda + D)."""
        noise, (atoms, weights) = self.constants.noise_variance, self.data_spectrum
        return 1 - float(weights @ (noise / (math.exp(-2 * self.constants.t) * atoms + noise)))

    @property
    def silent(self) -> float:
        r"""Weight of the delta at :math:`\kappa_s^2`: directions that no datum and no noise reaches."""
        return max(0.0, 1 - (1 + self.psi_n) / self.psi_p)


def saddle_point(z: ArrayLike, model: FeatureModel) -> Resolvent:
    r"""Solve theorem 3.1 at points (M,) of the upper half plane, continued straight down from :math:`z \to i\infty`.

    There :math:`q = -1/z`. No branch point lies above the real axis, so Newton's method from the solution above it
    keeps the branch where the steps are short: they are halved where the answer breaks :math:`\mathrm{Im}\,q > 0`,
    which the resolvent of a symmetric matrix must keep. Residuals end at rounding.
    """
    z = np.asarray(z, dtype=complex)
    if np.any(z.imag <= 0):
        raise InputError("the saddle point is solved above the real axis: pass z with a positive imaginary part")
    for step in (0.6, 0.3, 0.1):
        with np.errstate(all="ignore"):
            q, r1, s1 = _continued(z, model, step)
        if np.all(np.isfinite(q)) and np.all(q.imag > 0):
            return Resolvent(z, q, s1, r1)
    raise InputError(
        f"the saddle point could not be followed down to z = {z[np.argmin(z.imag)]}: raise its imaginary part"
    )


def _continued(z: np.ndarray, model: FeatureModel, step: float) -> tuple[np.ndarray, ...]:
    """Solutions at z, reached from far above with heights that fall by exp(-step) or less."""
    atoms, weights = model.data_spectrum
    top = 30 * model.largest + 3 * float(np.abs(z).max())
    q = -1 / (z.real + 1j * top)
    r1 = (weights @ atoms) * q / (1 + q * model.constants.kappa_b**2 * model.psi_p)
    count = 2 + int(math.log(top / z.imag.min()) / step)
    for i, height in enumerate(np.exp(np.linspace(math.log(top), np.log(z.imag), count))):
        q, r1, s1 = _newton(z.real + 1j * height, q, r1, model, 1e-4 if i + 1 < count else 1e-12)
    return q, r1, s1


def _newton(
    z: np.ndarray, q: np.ndarray, r1: np.ndarray, model: FeatureModel, tolerance: float
) -> tuple[np.ndarray, ...]:
    """Newton's method for q and r1: the definition of r1, and the last equation of theorem 3.1 times q^2."""
    c, psi_p = model.constants, model.psi_p
    atoms, weights = model.data_spectrum
    by_r1, by_q = c.signal2 * psi_p / model.psi_n, c.kappa_v2 * psi_p / model.psi_n  # derivatives of den
    for _ in range(12):
        den = 1 + by_r1 * r1 + by_q * q
        hat_s, hat_r = c.kappa_b**2 * psi_p + 1 / q, psi_p * c.signal2 / den
        inverse = 1 / (hat_s[:, None] + hat_r[:, None] * atoms)  # (M, K)
        s1, first = inverse @ weights, r1 - inverse @ (weights * atoms)
        second = psi_p * (c.kappa_s2 - z) * q**2 + psi_p * c.kappa_v2 * q**2 / den + (1 - psi_p) * q - s1
        square = inverse**2
        m0, m1, m2 = (square @ (weights * atoms**power) for power in (0, 1, 2))
        slope = -hat_r / den  # of hat_r by den
        first_q, first_r = -m1 / q**2 + m2 * slope * by_q, 1 + m2 * slope * by_r1
        second_q = m1 * slope * by_q - m0 / q**2 + 2 * psi_p * (c.kappa_s2 - z) * q + 1 - psi_p
        second_q = second_q + psi_p * c.kappa_v2 * (2 * q / den - q**2 * by_q / den**2)
        second_r = m1 * slope * by_r1 - psi_p * c.kappa_v2 * q**2 * by_r1 / den**2
        determinant = first_q * second_r - first_r * second_q
        step = (first * second_r - first_r * second) / determinant
        q, r1 = q - step, r1 - (first_q * second - second_q * first) / determinant
        if np.max(np.abs(step / q)) < tolerance:
            break
    return q, r1, s1


def random_features_spectrum(model: FeatureModel, points: int = 800) -> xr.Dataset:
    r"""Limiting spectral density of U, its bulks and the times at which they are learned.

    From below: a delta at :math:`\kappa_s^2` of weight :math:`1 - (1 + \psi_n)/\psi_p`; d modes of the noise's linear
    part (weight :math:`1/\psi_p`, which the paper's limit :math:`\psi_n \gg 1` passes over); the n - d modes of single
    data, *memorization*; the d modes of the data's law, *generalization*, at the scale of :math:`\psi_p`.

    Args:
        model: sizes and constants. points: of the grid, geometric above :math:`\kappa_s^2`.

    Returns:
        Dataset over ``eigenvalue``: ``value``, the density without the delta; over ``bulk``: ``low, high, weight``
        (edges to 1e-6, weights by the trapezoid rule to about 1e-3); scalars ``delta_weight``,
        ``memorization_low, memorization_high, generalization_low, generalization_high`` (NaN where bulks are merged,
        or at psi_n <= 1), ``tau_gen`` = psi_p / (D generalization_low), ``tau_mem`` = psi_p / (D memorization_low) as
        in the paper, ``tau_mem_onset`` with memorization_high in its place. A limit of infinite size: no error.
    """
    import xarray as xr

    c = model.constants
    above = np.geomspace(1e-4 * c.kappa_s2, model.largest, points)
    density = _density(above, model)
    bulks = _bulks(above, density, model)
    names = "memorization", "generalization"
    found = dict(zip(names, _roles(bulks, model), strict=True))
    scalars = {f"{name}_{end}": found[name][i] for name in names for i, end in enumerate(("low", "high"))}
    per = model.psi_p / c.noise_variance
    times = {
        "tau_gen": per / scalars["generalization_low"],
        "tau_mem": per / scalars["memorization_low"],
        "tau_mem_onset": per / scalars["memorization_high"],
    }
    attrs = {"diagnostic": "random_features_spectrum", "psi_p": model.psi_p, "psi_n": model.psi_n, "t": c.t}
    return xr.Dataset(
        {"value": ("eigenvalue", density, {"long_name": "spectral density", "symbol": r"\rho", "units": "1"})}
        | {name: ("bulk", bulks[:, i]) for i, name in enumerate(("low", "high", "weight"))}
        | {name: ((), value) for name, value in (scalars | times | {"delta_weight": model.silent}).items()},
        coords={"eigenvalue": ("eigenvalue", c.kappa_s2 + above, {"long_name": "eigenvalue of U", "units": "1"})},
        attrs=attrs | {"delta_place": c.kappa_s2},
    )


def _density(above: np.ndarray, model: FeatureModel, height: float = 1e-9) -> np.ndarray:
    """Spectral density at distances ``above`` the delta, from a point ``height`` of the distance over the axis."""
    return saddle_point(model.constants.kappa_s2 + above * (1 + 1j * height), model).q.imag / math.pi


def _inside(above: np.ndarray, model: FeatureModel) -> np.ndarray:
    """Whether a density stands there: outside the support Im q falls with the height over the axis, inside not."""
    return _density(above, model, 1e-9) < 10 * _density(above, model, 1e-11)


def _bulks(above: np.ndarray, density: np.ndarray, model: FeatureModel) -> np.ndarray:
    """Low edge, high edge and weight of each bulk, (bulks, 3)."""
    inside = np.concatenate([[False], _inside(above, model), [False]])
    edge = np.flatnonzero(inside[1:] != inside[:-1])  # low, high, low, high, ...: edge between places edge - 1 and edge
    left, right = above[np.maximum(edge - 1, 0)], above[np.minimum(edge, len(above) - 1)]
    running = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2 * np.diff(above))])
    weight = running[np.minimum(edge[1::2], len(above) - 1)] - running[np.maximum(edge[::2] - 1, 0)]
    places = model.constants.kappa_s2 + _refined(left, right, model)
    return np.stack([places[::2], places[1::2], weight], axis=1)


def _refined(left: np.ndarray, right: np.ndarray, model: FeatureModel) -> np.ndarray:
    """Where between two neighbours of the grid a bulk begins or ends: twice sixty-four sections, all edges at once."""
    for _ in range(2):
        places = np.geomspace(left, right, 65)  # (65, edges)
        inside = _inside(places.ravel(), model).reshape(places.shape)
        change = np.argmax(inside[1:] != inside[:-1], axis=0)
        each = np.arange(len(left))
        left, right = places[change, each], places[change + 1, each]
    return np.sqrt(left * right)


def _roles(bulks: np.ndarray, model: FeatureModel) -> tuple[tuple[float, float], tuple[float, float]]:
    """Edges of the memorizing and of the generalizing bulks, told apart by how many modes they must hold."""
    unknown = math.nan, math.nan
    law = 1 / model.psi_p
    data = (model.psi_n - 1) / model.psi_p if model.psi_p > 1 + model.psi_n else 1 - law
    above = np.cumsum(bulks[::-1, 2])[::-1]  # weight of this bulk and all higher ones
    general = np.flatnonzero(np.abs(above / law - 1) < 0.03)
    if model.psi_n <= 1 or model.psi_p <= 1 or not len(general):
        return unknown, unknown
    generalization = float(bulks[general[0], 0]), float(bulks[-1, 1])
    single = np.flatnonzero(np.abs((above - law) / data - 1) < 0.03)
    if not len(single) or single[0] >= general[0]:
        return unknown, generalization
    return (float(bulks[single[0], 0]), float(bulks[general[0] - 1, 1])), generalization
