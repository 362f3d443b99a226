r"""Theory of a mixture of isotropic Gaussians: cloning probability, information on the class and its rate.

:math:`p(x_0) = \sum_j w_j N(\mu_j, \sigma^2 1)`. At the time t the classes have the variance
:math:`\Gamma = 1 - e^{-2t} + \sigma^2 e^{-2t}`; in units of its root they are white Gaussians around :math:`g \mu_j`
with :math:`g^2 = 1/(e^{2t} - 1 + \sigma^2)`, and all depends on the differences of the means, in at most J - 1
dimensions, by quadrature there.

For two classes of equal weights at +-c, with :math:`u = g^2 |c|^2`:
:math:`\varphi = \tfrac12 (1 + E \tanh^2(u + \sqrt u z))`, .77520 at u = 1; the rate of information for sigma = 1 is
:math:`u\,(1 - E\tanh(u + \sqrt u z))`, largest at u = 1.5085, a time .206 before :math:`t_S = \tfrac12 \ln |c|^2`.

Source: Biroli, Bonnaire, de Bortoli, Mezard, arXiv:2402.18491, eq. 6, for two classes; the rate by I-MMSE, Guo, Shamai,
Verdu, arXiv:cs/0412108.
"""

from __future__ import annotations

import math
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from physgen.diagnostics.regimes.unit_means import times_of
from physgen.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

REACH = 7.5  # of the quadrature in standard deviations, e^-28
SPACING = (0.05, 0.1, 0.25)  # in one, two, three dimensions
MOST_DIMENSIONS = 3


def mixture_cloning(
    means: ArrayLike, times: ArrayLike, sigma: float = 1.0, weights: ArrayLike | None = None
) -> xr.Dataset:
    r"""Cloning and U-turn probability, and information on the class, by quadrature.

    Args:
        means: (J, d), J >= 2, in any d; the differences may span three dimensions. A number m stands for two classes
            at a distance 2 m, :math:`m = |c| = \sqrt d \mu` of the source.
        times: t > 0, (T,). sigma: standard deviation of each class, >= 0. weights: (J,) > 0; None is equal weights.

    Returns:
        Dataset over ``t`` with ``value`` (phi), ``error`` (that of the quadrature is below 1e-6: given as 0),
        ``of_class`` (over ``class``: the probability of one class to come back), ``information`` (nats) and ``rate``
        = -dI/dt.
    """
    import xarray as xr

    centres, prior, ts = _centres(means), _prior(weights, means), times_of(times)
    if not sigma >= 0:
        raise InputError(f"sigma is a standard deviation, >= 0, got {sigma}")
    rows = [_at(centres, prior, float(t), sigma) for t in ts]
    of_class, information, rate = (np.array(column) for column in zip(*rows, strict=True))
    return xr.Dataset(
        {
            "value": ("t", of_class @ prior, {"long_name": "cloning probability", "units": "1", "symbol": r"\varphi"}),
            "error": ("t", np.zeros(len(ts)), {"long_name": "error of the quadrature, below 1e-6", "units": "1"}),
            "of_class": (("t", "class"), of_class, {"long_name": "probability to keep this class", "units": "1"}),
            "information": ("t", information, {"long_name": "information on the class", "units": "nat"}),
            "rate": ("t", rate, {"long_name": "loss of information on the class per time", "units": "nat"}),
        },
        coords={"t": ("t", ts, {"long_name": "Ornstein-Uhlenbeck time", "units": "1"})},
        attrs={"diagnostic": "mixture_cloning", "sigma": float(sigma)},
    )


def _at(centres: np.ndarray, prior: np.ndarray, t: float, sigma: float) -> tuple[np.ndarray, float, float]:
    """Probability (J,) of each class to be kept, information, rate, at one time."""
    square = 1 / (math.expm1(2 * t) + sigma**2)  # g^2
    scaled = math.sqrt(square) * centres
    nodes, weight = _quadrature(centres.shape[1])
    kept, information, error = np.empty(len(prior)), 0.0, 0.0
    for j, own in enumerate(scaled):
        log_joint = (nodes + own) @ scaled.T + (np.log(prior) - 0.5 * (scaled**2).sum(1))  # |y|^2 is common to all
        log_joint -= log_joint.max(1, keepdims=True)
        posterior = np.exp(log_joint)
        posterior /= posterior.sum(1, keepdims=True)
        kept[j] = weight @ posterior[:, j]
        log_own = log_joint[:, j] - np.log(np.exp(log_joint).sum(1))
        information += prior[j] * float(weight @ (log_own - np.log(prior[j])))
        error += prior[j] * float(weight @ ((posterior @ centres - centres[j]) ** 2).sum(1))
    # dI/d(g^2) = mmse/2 and -d(g^2)/dt = 2 e^{2t} g^4
    return kept, information, math.exp(2 * t) * square**2 * error


def _quadrature(dimensions: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes (K, r) and weights (K,) of a standard normal by the trapezoidal rule."""
    h = SPACING[dimensions - 1]
    line = h * np.arange(-math.ceil(REACH / h), math.ceil(REACH / h) + 1)
    nodes = np.array(list(product(line, repeat=dimensions))) if dimensions > 1 else line[:, None]
    weight = np.exp(-0.5 * (nodes**2).sum(1))
    return nodes, weight / weight.sum()


def _centres(means: ArrayLike) -> np.ndarray:
    """Means (J, r) in the space that their differences span."""
    given = np.asarray(means, dtype=float)
    if given.ndim == 0:
        return np.array([[-float(given)], [float(given)]])
    if given.ndim != 2 or len(given) < 2 or not np.isfinite(given).all():
        raise InputError(f"means are a number, or (J, d) with J >= 2 classes, got shape {given.shape}")
    _, values, axes = np.linalg.svd(given - given.mean(0), full_matrices=False)
    rank = max(1, int((values > 1e-12 * max(values[0], 1e-300)).sum()))
    if rank > MOST_DIMENSIONS:
        raise InputError(
            f"the means span {rank} dimensions, the quadrature takes up to {MOST_DIMENSIONS}: draw samples of an exact "
            "mixture and take class_information"
        )
    return (given - given.mean(0)) @ axes[:rank].T


def _prior(weights: ArrayLike | None, means: ArrayLike) -> np.ndarray:
    count = 2 if np.ndim(means) == 0 else len(np.asarray(means))
    found = np.ones(count) if weights is None else np.asarray(weights, dtype=float)
    if found.shape != (count,) or not (found > 0).all():
        raise InputError(f"weights are {count} positive numbers, got {found.tolist()}")
    return found / found.sum()
