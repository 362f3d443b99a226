r"""Fisher information of a statistic about labels, from samples at scattered labels: what any unbiased estimate
of the labels from this statistic can reach.

.. math:: F_{ij} = \frac{\partial \mu}{\partial \theta_i}^T C^{-1} \frac{\partial \mu}{\partial \theta_j}, \qquad
          \sigma_i \ge \sqrt{(F^{-1})_{ii}} .

The mean :math:`\mu(\theta)` is a polynomial fitted to all samples, C the covariance of what the fit leaves over.
An inverse of an estimated covariance is too large: by the factor of Hartlap, Simon, Schneider 2007
(astro-ph/0608064), or, for a posterior in which C is integrated out, that of Sellentin and Heavens (1511.05969). The
derivatives carry noise too, which adds information that is not there: its mean is taken off. Jackknife over units
gives the errors.

Shapes: B samples, n labels, m numbers of the statistic, U units.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from physgen.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

CORRECTIONS = ("hartlap", "sellentin", "none")
BLOCKS = 30  # of units, each left out once


def fisher_matrix(
    statistic: ArrayLike,
    labels: ArrayLike,
    at: ArrayLike,
    names: list[str] | None = None,
    *,
    units: ArrayLike | None = None,
    degree: int = 2,
    width: float | None = None,
    correction: str = "hartlap",
) -> xr.Dataset:
    r"""Fisher matrix of one sample's statistic at one point of the labels, with its error.

    Args:
        statistic: (B, m), e.g. ln P(k) of each map beside its bispectrum. Numbers that are nearly Gaussian: take
            logarithms of powers.
        labels: (B, n) of each sample. at: (n,), within their range.
        names: of the labels. units: (B,) what is independent, left out whole; None: every sample.
        degree: of the polynomial in all labels together.
        width: samples weigh as a Gaussian of this width around ``at``, in units of the standard deviation of each
            label: for means or covariances that change over the range. None: all alike.
        correction: of the inverse covariance: ``hartlap``, (N - m - 2)/(N - 1); ``sellentin``, N (N - m)/((N + 2)
            (N - 1)), the information of its t law; ``none``. N is the effective number of units, less the terms of the
            polynomial.

    Returns:
        Dataset over ``label`` and ``other``: ``fisher`` and ``fisher_error``, ``sigma`` (marginal bound) and
        ``sigma_error``; attributes ``effective_count`` N, ``correction_factor``, ``statistics`` m. ``sigma`` is nan
        where the information is consistent with none.

    Raises:
        InputError: shapes that do not fit, a point outside the labels, too few units for the covariance.
    """
    x, theta, point = (np.asarray(value, dtype=float) for value in (statistic, labels, at))
    index = np.unique(np.arange(len(x)) if units is None else np.asarray(units), return_inverse=True)[1]
    _check(x, theta, point, index, correction)
    scale = theta.std(0)
    weight = np.ones(len(x))
    if width is not None:
        weight = np.exp(-0.5 * (((theta - point) / (width * scale)) ** 2).sum(1))
    features, slope = _features((theta - point) / scale, degree), np.arange(1, 1 + theta.shape[1])
    full = _information(x, features, slope, weight, index, correction)
    blocks = np.random.default_rng(0).permutation(index.max() + 1) % min(BLOCKS, index.max() + 1)
    left_out = []
    for block in range(blocks.max() + 1):
        kept = blocks[index] != block
        parts = (x[kept], features[kept], slope, weight[kept], index[kept], correction)
        left_out.append(_information(*parts)[0])
    scaled = 1 / np.outer(scale, scale)
    fisher, others = full[0] * scaled, np.stack(left_out) * scaled
    factor = (len(others) - 1) / len(others)
    error = np.sqrt(factor * ((others - others.mean(0)) ** 2).sum(0))
    sigma, sigmas = _bound(fisher), np.stack([_bound(one) for one in others])
    sigma_error = np.sqrt(factor * ((sigmas - sigmas.mean(0)) ** 2).sum(0))
    called = names or [f"label_{i}" for i in range(theta.shape[1])]
    said = {"effective_count": full[1], "correction_factor": full[2], "statistics": x.shape[1]}
    return _as_dataset((fisher, error), (sigma, sigma_error), point, called, said)


def _as_dataset(
    information: tuple[np.ndarray, np.ndarray],
    bound: tuple[np.ndarray, np.ndarray],
    point: np.ndarray,
    called: list[str],
    said: dict[str, Any],
) -> xr.Dataset:
    """What :func:`fisher_matrix` returns; each figure with its error."""
    import xarray as xr

    over, (fisher, error), (sigma, sigma_error) = ("label", "other"), information, bound
    return xr.Dataset(
        {
            "fisher": (over, fisher, {"long_name": "Fisher information of one sample"}),
            "fisher_error": (over, error, {"long_name": "standard error of the information"}),
            "sigma": ("label", sigma, {"long_name": "smallest standard deviation of an unbiased estimate"}),
            "sigma_error": ("label", sigma_error, {"long_name": "its standard error"}),
            "at": ("label", point, {"long_name": "labels at which it is taken"}),
        },
        {"label": called, "other": called},
        {"diagnostic": "fisher", **said},
    )


def correction_factor(count: float, size: int, correction: str) -> float:
    """What an inverse covariance of ``size`` numbers, estimated from ``count`` independent ones, is multiplied by."""
    if correction == "none":
        return 1.0
    if count <= size + 2:
        raise InputError(
            f"a covariance of {size} numbers needs more than {size + 2} independent units beyond the terms of the fit, "
            f"got {count:.0f}: bin the statistic more coarsely, or take more samples"
        )
    if correction == "hartlap":
        return (count - size - 2) / (count - 1)
    return count * (count - size) / ((count + 2) * (count - 1))


def _check(x: np.ndarray, theta: np.ndarray, point: np.ndarray, index: np.ndarray, correction: str) -> None:
    if x.ndim != 2 or theta.ndim != 2 or len(theta) != len(x) or point.shape != theta.shape[1:] or len(index) != len(x):
        raise InputError(
            f"a Fisher matrix needs a statistic (B, m), labels (B, n), a point (n,) and units (B,), got {x.shape}, "
            f"{theta.shape}, {point.shape} and {index.shape}"
        )
    if correction not in CORRECTIONS:
        raise InputError(f"correction = {correction!r} is unknown: choose one of {', '.join(CORRECTIONS)}")
    if not np.isfinite(x).all():
        raise InputError("the statistic holds numbers that are not finite: leave those bins out")
    if (point < theta.min(0)).any() or (point > theta.max(0)).any():
        raise InputError(f"the point {point.tolist()} lies outside the labels: derivatives are known inside alone")


def _features(offset: np.ndarray, degree: int) -> np.ndarray:
    """Monomials (B, K) up to a total degree: 1, the n labels in order, then the others."""
    columns = [np.ones(len(offset)), *offset.T]
    previous: list[tuple[tuple[int, ...], np.ndarray]] = [((i,), offset[:, i]) for i in range(offset.shape[1])]
    for _ in range(degree - 1):
        previous = [((*p, i), c * offset[:, i]) for p, c in previous for i in range(p[-1], offset.shape[1])]
        columns += [column for _, column in previous]
    return np.stack(columns, axis=1)


def _information(
    x: np.ndarray, features: np.ndarray, slope: np.ndarray, weight: np.ndarray, index: np.ndarray, correction: str
) -> tuple[np.ndarray, float, float]:
    """Information (n, n) in units of the scaled labels, effective number of units, factor of the inverse."""
    normal = np.linalg.inv((features * weight[:, None]).T @ features)
    hat = normal @ (features * weight[:, None]).T  # (K, B)
    rest = x - features @ (hat @ x)
    per_unit = np.bincount(index, weight)
    count = per_unit.sum() ** 2 / (per_unit**2).sum() - features.shape[1]
    freedom = 1 - features.shape[1] * (weight**2).sum() / weight.sum() ** 2
    covariance = (rest * weight[:, None]).T @ rest / weight.sum() / max(freedom, 1e-9)
    factor = correction_factor(count, x.shape[1], correction)
    precision = factor * np.linalg.inv(covariance)
    gradient = (hat @ x)[slope]  # (n, m)
    # noise of the gradient, by units, since samples of one unit err together
    scores = np.zeros((int(index.max()) + 1, len(slope), x.shape[1]))
    np.add.at(scores, index, hat[slope].T[:, :, None] * rest[:, None, :])
    noise = np.einsum("uim,mk,ujk->ij", scores, precision, scores)
    return gradient @ precision @ gradient.T - noise, float(count), factor


def _bound(fisher: np.ndarray) -> np.ndarray:
    """Marginal standard deviations (n,); nan where the matrix is not positive."""
    if np.linalg.eigvalsh(fisher).min() <= 0:
        return np.full(len(fisher), math.nan)
    return np.asarray(np.sqrt(np.diag(np.linalg.inv(fisher))))
