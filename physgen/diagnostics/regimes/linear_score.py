r"""Learning a linear score of a Gaussian field: which modes are learned when, and why depth removes the slowing down.

A translation-invariant linear network multiplies mode k of :math:`y = x_0 + s z` by w_k. With the mode variances
:math:`V_k = P_k + s^2` and the covariance :math:`b_k` of target and input, its denoising loss is
:math:`\sum_k (V_k w_k^2 - 2 b_k w_k)`, the same in Fourier space and for the kernel in real space (Parseval). Targets:
*score* :math:`S = -w y`, :math:`b = 1`, solution :math:`1/V`; *denoiser* :math:`D = w y`, :math:`b = P`, solution
:math:`P/V`. With N equal layers, :math:`w = u^N`, gradient flow is

.. math:: \dot w_k = N\,w_k^{2 - 2/N}\,(b_k - V_k w_k), \qquad
    N = 1:\ w = w^* + (w_0 - w^*)e^{-V\tau}, \qquad
    N = 2:\ w = \frac{w^*}{1 + (w^*/w_0 - 1)\,e^{-2b\tau}},

and close to the solution :math:`w^* = b/V` it relaxes at the rate :math:`N b^{2 - 2/N} V^{2/N - 1}`. Descent with one
learning rate for all modes must be stable for the fastest, so what counts is the ratio of fastest and slowest. At a
critical point :math:`V_{max}/V_{min} \propto L^2`: one layer needs :math:`L^2` steps; two layers of a *score* relax at
the rate 2 in every mode and need only the :math:`\frac12\ln(w^*/w_0) \sim \ln L` of growing from a start that is small
enough to be stable. All this is derived here. arXiv 2605.12597 states in its abstract, for the O(n) model at large n,
:math:`L^2` for one layer and log L for two, and the same for a local score; its derivation was not at hand.

Legend: K modes, T training times (learning rate times steps, for the gradient :math:`V w - b`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq

from physgen.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

Target = Literal["score", "denoiser"]


@dataclass(frozen=True)
class LinearScore:
    """A linear network on a Gaussian field at one noise level.

    Attributes:
        spectrum: (*grid) or (K,) variance P_k > 0 of each mode.
        t: Ornstein-Uhlenbeck time of the noise level, s^2 = exp(2t) - 1.
        layers: 1 or 2, of equal weights.
        target: what the network predicts.
    """

    spectrum: np.ndarray
    t: float
    layers: int = 1
    target: Target = "score"

    def __post_init__(self) -> None:
        if self.layers not in (1, 2) or self.target not in ("score", "denoiser"):
            raise InputError(
                "closed forms are for layers 1 or 2 and target score or denoiser, "
                f"got {self.layers} and {self.target!r}"
            )
        if not (self.t > 0 and np.all(np.asarray(self.spectrum) > 0) and np.all(np.isfinite(self.spectrum))):
            raise InputError(f"a linear score needs t > 0 and finite positive mode variances, got t = {self.t}")

    @property
    def variance(self) -> np.ndarray:
        """V = P + s^2, in the shape of the spectrum."""
        return np.asarray(self.spectrum, dtype=float) + math.expm1(2 * self.t)

    @property
    def covariance(self) -> np.ndarray:
        """b, of target and input."""
        return np.ones_like(self.variance) if self.target == "score" else np.asarray(self.spectrum, dtype=float)

    @property
    def solution(self) -> np.ndarray:
        """w* = b / V."""
        return self.covariance / self.variance

    @property
    def rate(self) -> np.ndarray:
        """Relaxation rate of each mode close to the solution, :math:`N b^{2 - 2/N} V^{2/N - 1}`."""
        return self.variance if self.layers == 1 else 2 * self.covariance

    @property
    def start(self) -> float:
        """Weight before training: 0 for one layer; for two the least solution over ten, so that no mode overshoots."""
        return 0.0 if self.layers == 1 else 0.1 * float(self.solution.min())

    @property
    def largest_step(self) -> float:
        """Half the learning rate at which descent would become unstable: the fastest mode is solved in one step."""
        return 1 / float(self.rate.max())

    def weights(self, tau: ArrayLike) -> np.ndarray:
        """Gradient flow in closed form, (T, *grid)."""
        tau = np.atleast_1d(np.asarray(tau, dtype=float)).reshape(-1, *(1,) * self.variance.ndim)
        if self.layers == 1:
            return self.solution + (self.start - self.solution) * np.exp(-self.variance * tau)
        return self.solution / (1 + (self.solution / self.start - 1) * np.exp(-2 * self.covariance * tau))

    def error(self, weights: np.ndarray) -> np.ndarray:
        r"""Error of the score (or denoiser) over its mean square, :math:`\sum V(w - w^*)^2 / \sum V w^{*2}`, (T,)."""
        axes = tuple(range(1, weights.ndim))
        return np.sum(self.variance * (weights - self.solution) ** 2, axis=axes) / np.sum(
            self.variance * self.solution**2
        )


def linear_score_times(model: LinearScore, tolerance: float = 0.01) -> xr.Dataset:
    """Training time and number of steps until the error of the score is ``tolerance``, in closed form.

    Returns:
        Dataset of scalars ``tau`` (flow), ``steps`` = tau / largest stable learning rate (no fewer than the flow needs;
        descent of :func:`descend` measures it), ``condition`` (fastest over slowest rate), and over ``mode`` the time
        ``value`` at which each mode is within sqrt(tolerance) of its solution. Exact: no error.
    """
    import xarray as xr

    if not 0 < tolerance < 1:
        raise InputError(f"the tolerance is a relative mean square, between 0 and 1, got {tolerance}")
    per_mode = _mode_times(model, math.sqrt(tolerance)).ravel()
    tau = brentq(
        lambda x: float(model.error(model.weights(x))[0]) - tolerance, 0.0, 1.001 * float(per_mode.max()) + 1e-12
    )
    scalars = {
        "tau": tau,
        "steps": tau / model.largest_step,
        "condition": float(model.rate.max() / model.rate.min()),
    }
    return xr.Dataset(
        {"value": ("mode", per_mode, {"long_name": "learning time of a mode", "symbol": r"\tau", "units": "1"})}
        | {name: ((), value) for name, value in scalars.items()},
        coords={"variance": ("mode", model.variance.ravel(), {"long_name": "variance of the mode", "units": "1"})},
        attrs={"diagnostic": "linear_score_times", "layers": model.layers, "target": model.target, "t": model.t},
    )


def _mode_times(model: LinearScore, within: float) -> np.ndarray:
    """When each mode is within a fraction of its solution."""
    if model.layers == 1:
        return math.log(1 / within) / model.variance
    ratio = model.solution / model.start - 1
    return np.log(ratio * (1 - within) / within) / (2 * model.covariance)


def descend(
    model: LinearScore,
    learning_rate: float,
    steps: int,
    radius: int | None = None,
    watch: Callable[[int, np.ndarray], bool] | None = None,
) -> np.ndarray:
    """Gradient descent itself on the kernel in real space: weights (*grid) of the modes after ``steps``.

    Args:
        model: its spectrum must have the shape of the lattice, zero mode first as of an FFT.
        learning_rate, steps: of plain descent on half the loss per mode.
        radius: kernels (of each layer) are zero beyond this distance along any axis: a local score. None: no limit.
        watch: called with (step, weights) before each step; descent ends where it answers True.

    The weights start where the closed form does: a delta kernel in each layer.
    """
    covariance, variance = model.covariance, model.variance
    mask = _window(variance.shape, radius)
    kernel = np.zeros(variance.shape)
    kernel.flat[0] = model.start ** (1 / model.layers)  # of each layer, which stay equal
    for step in range(steps):
        layer = np.fft.fftn(kernel).real
        weights = layer if model.layers == 1 else layer**2
        if watch is not None and watch(step, weights):
            break
        downhill = covariance - variance * weights
        if model.layers == 2:
            downhill = downhill * layer
        kernel = kernel + learning_rate * mask * np.fft.ifftn(downhill).real
    layer = np.fft.fftn(kernel).real
    return layer if model.layers == 1 else layer**2


def _window(shape: tuple[int, ...], radius: int | None) -> np.ndarray:
    """1 within ``radius`` of the origin along every axis of the periodic lattice, 0 beyond."""
    window = np.ones(shape)
    for axis, size in enumerate(shape):
        place = np.arange(size)
        near = np.minimum(place, size - place) <= (size if radius is None else radius)
        window = window * near.reshape([-1 if i == axis else 1 for i in range(len(shape))])
    return window
