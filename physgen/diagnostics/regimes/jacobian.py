r"""Spectrum of the score's Jacobian: how many directions the law has at each noise level.

With :math:`y = e^t x_t` and the denoiser :math:`D(y, s)`, :math:`\nabla_{x_t} S = (\partial D/\partial y - I)/(1 -
e^{-2t})`. An eigenvalue g >= 0 of :math:`\partial D/\partial y`, at most 1 where :math:`p_t` is log-concave, says how
much of a displacement the denoiser keeps. On a linear manifold :math:`x = F u`, u standard normal, F (d, m):

.. math:: g = 0 \ (d - m\ \text{times}), \qquad g = \lambda/(\lambda + s^2),

with the eigenvalues :math:`\lambda` of :math:`F^T F`, which for entries of variance v/d fill the Marchenko-Pastur law
of ratio m/d. The number of eigenvalues above the largest gap is the dimension. Large noise leaves no gap inside: the
largest is then above all (dimension 0).

Source: Ventura, Achilli, Silvestri, Lucibello, Ambrogioni, arXiv:2410.05898; Stanczuk et al., arXiv:2212.12611.

Shapes: B batch, C channels, \*grid lattice, d = C x grid.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from physgen.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

Denoiser = Callable[[Tensor, Tensor, Any], Tensor]  # (y (B, C, *grid), s (B,), condition) -> (B, C, *grid)
LARGEST = 2**13  # d above which the d x d numbers of one sample are too many


def denoiser_jacobian(denoiser: Denoiser, y: Tensor, s: float, condition: Any = None, chunk: int = 64) -> Tensor:
    r""":math:`\partial D_i/\partial y_j` of each sample, (B, d, d), row = output.

    Args:
        denoiser: treats samples independently; torch must be able to differentiate it.
        y: (B, C, \*grid). s: one noise level > 0. condition: given on to the denoiser.
        chunk: backward passes done at once; those that a layer cannot batch are done one by one.
    """
    size = y[0].numel()
    if size > LARGEST:
        raise InputError(f"a Jacobian of {size} x {size} numbers is too large, at most {LARGEST}: use smaller fields")
    if not (math.isfinite(s) and s > 0):
        raise InputError(f"a noise level must be positive, got s = {s}")
    with torch.enable_grad():
        at = y.detach().requires_grad_()
        value = denoiser(at, torch.full((len(y),), float(s), dtype=y.dtype, device=y.device), condition)
    if not value.requires_grad:
        raise InputError("the denoiser's output does not depend on y by differentiable steps: remove its no_grad")
    rows = []
    for part in torch.arange(size, device=y.device).split(chunk):
        unit = torch.nn.functional.one_hot(part, size).to(y.dtype)
        vectors = unit.reshape(len(part), 1, *y.shape[1:]).expand(-1, *y.shape)
        rows.append(_pulled_back(value, at, vectors).flatten(2))
    return torch.cat(rows).transpose(0, 1)


def _pulled_back(value: Tensor, at: Tensor, vectors: Tensor) -> Tensor:
    """Products v^T J (k, B, C, *grid)."""
    try:
        (rows,) = torch.autograd.grad(value, at, vectors, retain_graph=True, is_grads_batched=True)
    except RuntimeError:  # some compiled layers know no batch of slopes; what else fails, fails again
        rows = torch.stack([torch.autograd.grad(value, at, v, retain_graph=True)[0] for v in vectors])
    return rows


def jacobian_spectrum(denoiser: Denoiser, y: Tensor, s: float, condition: Any = None, chunk: int = 64) -> xr.Dataset:
    r"""Eigenvalues of the symmetric part of the denoiser's and the score's Jacobian, at each y.

    The Jacobian of a true score is symmetric; ``asymmetry`` :math:`|J - J^T|/|J + J^T|` (Frobenius) says how far the
    denoiser is from one.

    Args:
        as :func:`denoiser_jacobian`.

    Returns:
        Dataset over ``sample`` and ``index`` with ``denoiser`` g, decreasing, and ``score`` :math:`(g - 1)/(1 -
        e^{-2t})`, the eigenvalues of :math:`\nabla_{x_t} S`; ``asymmetry`` over ``sample``; attributes s and t.
    """
    import xarray as xr

    jacobian = denoiser_jacobian(denoiser, y, s, condition, chunk).double()
    flipped = jacobian.transpose(1, 2)
    kept = torch.linalg.eigvalsh(0.5 * (jacobian + flipped)).flip(1).cpu().numpy()
    norms = [part.flatten(1).norm(dim=1) for part in (jacobian - flipped, jacobian + flipped)]
    share = s**2 / (1 + s**2)  # 1 - e^{-2t}
    return xr.Dataset(
        {
            "denoiser": (
                ("sample", "index"),
                kept,
                {"long_name": "share of a displacement that is kept", "units": "1"},
            ),
            "score": (
                ("sample", "index"),
                (kept - 1) / share,
                {"long_name": "score Jacobian eigenvalue", "units": "1"},
            ),
            "asymmetry": ("sample", (norms[0] / norms[1].clamp_min(1e-300)).cpu().numpy(), {"units": "1"}),
        },
        attrs={"diagnostic": "jacobian_spectrum", "s": float(s), "t": 0.5 * math.log1p(s**2)},
    )


def intrinsic_dimension(spectrum: xr.Dataset) -> xr.Dataset:
    r"""Dimension by the largest gap between neighbouring g, with 1 above all and 0 below all; g is cut to [0, 1].

    Args:
        spectrum: of :func:`jacobian_spectrum`.

    Returns:
        Dataset: ``dimension`` over ``sample``; ``value``, ``error`` its mean over samples and standard error (nan for
        one sample); ``gap`` over ``sample`` and ``second_gap``, the next largest: a dimension whose gap is not well
        above the second is none.
    """
    import xarray as xr

    g = np.clip(spectrum["denoiser"].values, 0.0, 1.0)
    ends = np.ones((len(g), 1))
    gaps = -np.diff(np.concatenate([ends, g, 0 * ends], axis=1), axis=1)  # gap k lies below k eigenvalues
    dimension = gaps.argmax(axis=1)
    ordered = np.sort(gaps, axis=1)
    error = dimension.std(ddof=1) / math.sqrt(len(g)) if len(g) > 1 else math.nan
    return xr.Dataset(
        {
            "dimension": ("sample", dimension, {"long_name": "intrinsic dimension", "units": "1"}),
            "value": ((), float(dimension.mean()), {"long_name": "intrinsic dimension", "units": "1"}),
            "error": ((), float(error), {"long_name": "standard error over samples", "units": "1"}),
            "gap": ("sample", ordered[:, -1], {"long_name": "largest gap", "units": "1"}),
            "second_gap": ("sample", ordered[:, -2], {"long_name": "second largest gap", "units": "1"}),
        },
        attrs={"diagnostic": "intrinsic_dimension"} | {k: spectrum.attrs[k] for k in ("s", "t")},
    )


# --- the bulk -------------------------------------------------------------------------------------------


def manifold_variances(spectrum: xr.Dataset, dimension: int) -> np.ndarray:
    r"""Variances :math:`\lambda = s^2 g/(1 - g)` of the directions that are kept, (samples, dimension), decreasing."""
    g = spectrum["denoiser"].values[:, :dimension]
    return np.asarray(spectrum.attrs["s"] ** 2 * g / (1 - g))


def marchenko_pastur(ratio: float, variance: float = 1.0, points: int = 4096) -> tuple[np.ndarray, np.ndarray]:
    r"""The law of the eigenvalues of :math:`F^T F`, F (d, m) of entries of variance v/d, as m, d grow, m/d = ratio < 1.

    :math:`\rho(\lambda) = \sqrt{(\lambda_+ - \lambda)(\lambda - \lambda_-)}/(2\pi q v \lambda)`,
    :math:`\lambda_\pm = v(1 \pm \sqrt q)^2`.

    Returns:
        increasing lambda (points,) and the distribution function there.
    """
    if not 0 < ratio < 1:
        raise InputError(f"the ratio m/d of a manifold must be between 0 and 1, got {ratio}")
    centre, half = variance * (1 + ratio), 2 * variance * math.sqrt(ratio)
    angle = np.linspace(math.pi, 0, points)
    grid = centre + half * np.cos(angle)
    density = half**2 * np.sin(angle) ** 2 / (2 * math.pi * ratio * variance * grid)  # of the angle
    steps = 0.5 * (density[1:] + density[:-1]) * -np.diff(angle)
    cumulative = np.concatenate([[0.0], np.cumsum(steps)])
    return grid, cumulative / cumulative[-1]


def bulk_distance(
    variances: ArrayLike, d: int, variance: float = 1.0, draws: int = 200, seed: int = 0
) -> dict[str, float]:
    r"""Kolmogorov-Smirnov distance of eigenvalues (m,) from the Marchenko-Pastur law, beside its floor.

    Eigenvalues repel, so their distance is far below that of m independent numbers: the floor is that of random F (d,
    m) of normal entries.

    Returns:
        {"distance", "floor" (mean over F), "floor_95" (their 95 per cent quantile), "p" (share of F at least as far)}.
    """
    found = np.sort(np.asarray(variances, dtype=float))
    law = marchenko_pastur(len(found) / d, variance)
    rng = np.random.default_rng(seed)
    scale = math.sqrt(variance / d)
    factors = (scale * rng.standard_normal((d, len(found))) for _ in range(draws))
    floor = np.array([_distance(np.linalg.eigvalsh(f.T @ f), law) for f in factors])
    distance = _distance(found, law)
    return {
        "distance": distance,
        "floor": float(floor.mean()),
        "floor_95": float(np.quantile(floor, 0.95)),
        "p": float((1 + (floor >= distance).sum()) / (1 + draws)),
    }


def _distance(found: np.ndarray, law: tuple[np.ndarray, np.ndarray]) -> float:
    """Largest difference of distribution functions, on either side of each step."""
    below = np.interp(found, *law, left=0.0, right=1.0)
    steps = np.arange(len(found) + 1) / len(found)
    return float(max(np.abs(below - steps[1:]).max(), np.abs(below - steps[:-1]).max()))
