r"""Excess entropy from a denoiser: what it gains over the Wiener filter, summed over noise levels.

The information that :math:`y = x_0 + s z` holds is an integral of the least denoising error (Guo, Shamai, Verdu,
cs/0412108), and that of the Wiener filter W of the data's own spectrum is known in closed form, so that

.. math:: I(s) \le \frac12 \sum_k \ln(1 + P_k/s^2) - \int_s^\infty \frac{E|x_0 - W(y)|^2 - E|x_0 - D(y)|^2}{s'^2}
          \,d\ln s',

with equality for the exact denoiser of the law. A trained one errs more than the least error, so f by it is too low and
:math:`t_C` late, but it needs no data beyond those it is tried on, and is not bound by their number.

Shapes: n data, C channels, \*grid lattice, d = C x grid, T times, L noise levels.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.integrate import cumulative_simpson
from scipy.interpolate import CubicSpline
from torch import Tensor

from physgen.diagnostics.regimes.closed_forms import gaussian_information, noise_variance
from physgen.diagnostics.regimes.collapse import draw_noise
from physgen.diagnostics.regimes.jacobian import Denoiser
from physgen.diagnostics.regimes.left_out import Groups
from physgen.diagnostics.regimes.roots import Curve
from physgen.diagnostics.regimes.surrogate import ModePower
from physgen.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

LEVELS = 33  # of the integral, even in ln s
FARTHEST = 6.0  # the integral ends at this multiple of the root of the largest mode variance
BATCH = 256


def denoising_excess_entropy(
    denoiser: Denoiser,
    x: Tensor,
    times: ArrayLike,
    count: int,
    seed: int = 0,
    unit: ArrayLike | None = None,
    condition: Any = None,
) -> xr.Dataset:
    r"""Excess entropy of ``count`` data of the law that a denoiser has learned, tried on data that it has not.

    One noise for each datum serves all levels. The integral is Simpson's over 33 levels even in ln s, up to six times
    the root of the largest mode variance; what lies beyond, of order :math:`s^{-4}`, is left out.

    Args:
        denoiser: D(y, s, condition), treats samples independently.
        x: data (n, C, \*grid) of the law that the denoiser was not trained on: on its own training set it measures the
            empirical law instead.
        times: increasing, > 0; the curve is interpolated between levels.
        count: of the data whose collapse is asked for, times the number of images of each where the law is symmetric.
        seed: of the noise.
        unit: (n,) which data are dependent; None where none are.
        condition: given on; a tensor (n, ...) or a dict of them is cut with the data.

    Returns:
        Dataset over ``t`` with ``value``, ``error`` (jackknifed over units), ``gaussian`` (the Wiener filter's) and
        scalars ``t_C``, ``t_C_error``, nan where ``times`` do not hold the root.
    """
    import xarray as xr

    times = np.atleast_1d(np.asarray(times, dtype=float))
    lowest = math.sqrt(float(noise_variance(times).min()))
    if len(x) < 2 or count < 2 or np.any(np.diff(times) <= 0):
        raise InputError(f"needs at least 2 data, a count >= 2 and increasing times, got {len(x)}, {count}, {times}")
    groups = Groups.of(len(x), None if unit is None else np.asarray(unit), seed)
    power = ModePower.of(x, groups, stationary=True)
    highest = max(FARTHEST * math.sqrt(power.spectrum.max()), 2 * math.sqrt(float(noise_variance(times).max())))
    levels = np.geomspace(lowest, highest, LEVELS)
    gain = _gains(denoiser, x, levels, power.spectrum, seed, condition)  # (n, L)
    group = groups.group.numpy()
    rest = np.stack([gain[group != u].mean(0) for u in range(groups.count)])
    place = np.log(noise_variance(times)) / 2
    # the Wiener filter is tried on the data that its spectrum is of: closed form and errors go together, uncorrected
    information, without = power.information(times, corrected=False)
    saved = _integral(levels, np.concatenate([gain.mean(0)[None], rest]), place)
    d, target = x[0].numel(), math.log(count)
    curve = Curve(times, (target - information + saved[0]) / d, (target - without + saved[1:]) / d)
    t_c, t_c_error, _ = curve.root()
    named = {"long_name": "excess entropy by the denoiser", "units": "1", "symbol": "f"}
    return xr.Dataset(
        {
            "value": ("t", curve.value, named),
            "error": ("t", curve.error, {"long_name": "standard error", "units": "1"}),
            "gaussian": ("t", (target - gaussian_information(power.spectrum, times)) / d, {"units": "1"}),
            "t_C": ((), t_c, {"long_name": "collapse time", "units": "1", "symbol": "t_C"}),
            "t_C_error": ((), t_c_error, {"long_name": "standard error", "units": "1"}),
        },
        coords={"t": ("t", times, {"long_name": "Ornstein-Uhlenbeck time", "units": "1", "symbol": "t"})},
        attrs={"diagnostic": "denoising_excess_entropy", "count": count, "d": d, "alpha": target / d, "seed": seed},
    )


def _gains(
    denoiser: Denoiser, x: Tensor, levels: np.ndarray, spectrum: np.ndarray, seed: int, condition: Any
) -> np.ndarray:
    r""":math:`(|x_0 - W(y)|^2 - |x_0 - D(y)|^2)/s^2` of each datum at each level, (n, L)."""
    axes = tuple(range(2, x.ndim))
    mean = x.double().mean(dim=(0, *axes), keepdim=True)
    power = torch.as_tensor(spectrum).reshape(x.shape[1:])
    rows = []
    for first in range(0, len(x), BATCH):
        part = x[first : first + BATCH]
        noise = draw_noise(first, first + len(part), x.shape[1:], seed).to(part.device)
        given = _cut(condition, slice(first, first + BATCH), len(x))
        found = []
        for s in levels.tolist():
            y = part.double() + s * noise
            gain = (power / (power + s**2)).to(y.device)
            centred = y - mean
            wiener = (
                torch.fft.ifftn(gain * torch.fft.fftn(centred, dim=axes), dim=axes).real if axes else gain * centred
            )
            with torch.no_grad():
                denoised = denoiser(y.to(x.dtype), torch.full((len(y),), s, dtype=x.dtype, device=y.device), given)
            errors = [(part - guess).square().flatten(1).sum(1) for guess in (wiener + mean, denoised.double())]
            found.append((errors[0] - errors[1]) / s**2)
        rows.append(torch.stack(found, dim=1).cpu().numpy())
    return np.concatenate(rows)


def _cut(condition: Any, rows: slice, count: int) -> Any:
    """The part of a condition that belongs to some of the data."""
    if isinstance(condition, dict):
        return {name: _cut(value, rows, count) for name, value in condition.items()}
    cut = isinstance(condition, Tensor) and condition.ndim > 0 and len(condition) == count
    return condition[rows] if cut else condition


def _integral(levels: np.ndarray, gains: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Integral over ln s from each place to the last level, of curves (R, L): (R, places)."""
    log_s = np.log(levels)
    below = np.asarray(cumulative_simpson(gains, x=log_s, axis=1, initial=0))
    return np.asarray(CubicSpline(log_s, below[:, -1:] - below, axis=1)(place))
