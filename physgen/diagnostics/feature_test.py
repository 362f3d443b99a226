r"""The last line of defence: do two ensembles agree in features that nobody chose to suit a theory?

A band-pass filter bank turns a field into a few fields of one scale each. Their *joint* law at one point is compared by
random Fourier features (Rahimi & Recht 2007): the mean of :math:`\cos(a\cdot b(x) + \varphi)` over places x is the real
part of a characteristic function, and all of them together would determine the law. It is what a maximum mean
discrepancy with a Gaussian kernel compares, but weighted by the inverse covariance over independent units (Hotelling's
T^2 of the comparison), so that its p value holds with maps that depend on each other within a unit, and has a tail.

Legend: B samples, C components, d dimensions, J bands, F features, U units, L labels.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from physgen.diagnostics.band_kernels import band_kernels
from physgen.diagnostics.bands import fundamental
from physgen.diagnostics.batches import BATCH_CELLS, each_sample, shared_out
from physgen.diagnostics.label_fit import LabelFit, unit_labels
from physgen.diagnostics.result import Units, result_of_samples, units
from physgen.diagnostics.spectrum import as_tensor
from physgen.diagnostics.transforms import irfftn, rfftn
from physgen.errors import InputError
from physgen.lattice import multiplicity, nyquist, wavenumber

if TYPE_CHECKING:
    import xarray as xr

    from physgen.diagnostics.batches import Transform


MOST_BANDS = 4
WIDTH = 0.5  # octaves; standard deviation of a band in log2 k
FINEST = 0.75  # of the Nyquist wavenumber
COARSEST = 1.5  # of the fundamental wavenumber
# length of the random frequencies in units of the rms of a band: 0.4 sees little but the variance, 1 feels single cells
FREQUENCY = 1.4
PLACES = 2**14  # cells of a field at which features are read; its neighbours add nothing
DEVICE_CELLS = 2**22  # that a GPU handles at once
EMPTY = 1e-3
TOLERANCE, RESPONSE_TOLERANCE = 0.5, 0.2
SCATTER_YARDSTICK = 2.0  # what the labels do not explain is accepted within a factor exp(2 * 0.2) = 1.5


def band_filters(grid: Sequence[int], spacing: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    r"""Filters :math:`\exp(-\log_2^2(k/k_j)/2w^2)`, w = 1/2, at k_j = 3/4 k_Nyquist / 2^j, k = 0 excluded.

    Args:
        grid, spacing: lattice of any shape.

    Returns:
        (J, *half-space grid) float32 for rfftn, from fine to coarse; (J,) wavenumbers k_j.
    """
    k = wavenumber(grid, spacing)
    centres = FINEST * nyquist(spacing) / 2.0 ** np.arange(MOST_BANDS)
    centres = centres[centres >= COARSEST * fundamental(grid, spacing)]
    if not len(centres):
        raise InputError(f"a grid of {tuple(grid)} cells holds no band of scales: give at least 4 cells a side")
    octaves = np.log2(np.where(k > 0, k, 1) / centres.reshape(-1, *[1] * k.ndim))
    return np.where(k > 0, np.exp(-(octaves**2) / (2 * WIDTH**2)), 0).astype(np.float32), centres


def random_frequencies(bands: int, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies (F, J) of random directions and length FREQUENCY, and phases (F,), from the arguments alone."""
    rng = np.random.default_rng([seed, bands, count])
    direction = rng.standard_normal((count, bands))
    phase = rng.uniform(0, 2 * np.pi, count)
    return FREQUENCY * direction / np.linalg.norm(direction, axis=1, keepdims=True), phase


def feature_array(
    field: np.ndarray | torch.Tensor, spacing: Sequence[float], features: int = 8, seed: int = 0
) -> np.ndarray:
    r"""Means over x of :math:`\cos(\sum_j a_{mj} b_j(x)/\sigma_j + \varphi_m)`, then :math:`\ln\sigma_j`.

    b_j is the field through :func:`band_filters`, :math:`\sigma_j` its rms in that field: the random features do not
    know the spectrum, only the joint one-point law of the bands in units of their rms; ln sigma_j knows nothing else.

    Args:
        field: (..., \*grid) array or tensor; d = len(spacing) trailing axes are space, periodic.
        spacing: cell sizes.
        features: F, the number of random features.
        seed: of the frequencies and phases.

    Returns:
        (..., F + J) float64.
    """
    whole, d = as_tensor(field), len(spacing)
    grid = tuple(whole.shape[-d:])
    flat = whole.reshape(-1, *grid)
    measure = _features_of(grid, tuple(spacing), features, seed, whole.device)
    at_once = BATCH_CELLS // 4 if whole.device.type == "cpu" else DEVICE_CELLS
    step = max(1, at_once // int(np.prod(grid)))
    pieces = range(0, len(flat), step)
    parts = shared_out(lambda start: measure(flat[start : start + step]), pieces)
    out = np.concatenate(parts) if parts else np.zeros((0, features + measure.bands))
    return out.reshape(*whole.shape[:-d], -1)


class _Features:
    """The filters, frequencies and phases of a lattice on one device, and the features of fields (B, *grid) by them."""

    def __init__(
        self, grid: Sequence[int], spacing: Sequence[float], features: int, seed: int, device: torch.device
    ) -> None:
        self.grid, self.features = grid, features
        self.filters = torch.from_numpy(band_filters(grid, spacing)[0]).to(device)
        self.bands = len(self.filters)
        frequency, phase = random_frequencies(self.bands, features, seed)
        self.frequency, self.phase = (torch.from_numpy(x).float().to(device) for x in (frequency, phase))
        self.stride = max(1, int(np.prod(grid)) // PLACES)
        weight = multiplicity(grid).to(device, torch.float64) / float(np.prod(grid)) ** 2
        # of |delta_k|^2 in the square of the rms of a band, (J, modes)
        self.shares = (self.filters.double().square() * weight).flatten(1).contiguous()

    def __call__(self, field: torch.Tensor) -> np.ndarray:
        axes = tuple(range(-len(self.grid), 0))
        modes = rfftn(field.float(), axes)
        rms = self._powers(modes.flatten(1)).sqrt().clamp_min(torch.finfo(torch.float32).tiny)  # Parseval
        if not self.features:  # no band need be seen in space
            return rms.log().cpu().numpy()
        bands = irfftn(modes[:, None] * self.filters, self.grid, axes).flatten(2)  # (b, J, N)
        argument = torch.matmul(self.frequency, bands[..., :: self.stride] / rms.float()[..., None])
        means = argument.add_(self.phase[:, None]).cos_().mean(2).double()
        return torch.cat([means, rms.log()], dim=1).cpu().numpy()

    def _powers(self, modes: torch.Tensor) -> torch.Tensor:
        """Mean squares of the bands (b, J), float64, of modes (b, n_half)."""
        loops = band_kernels() if modes.device.type == "cpu" else None
        if loops is None:
            power = torch.view_as_real(modes).square().sum(-1).double()
            return power @ self.shares.T
        found = np.empty((len(modes), self.bands))
        loops.window_powers(modes.numpy(), self.shares.numpy(), found)
        return torch.from_numpy(found)


@functools.lru_cache(maxsize=4)
def _features_of(
    grid: tuple[int, ...], spacing: tuple[float, ...], features: int, seed: int, device: torch.device
) -> _Features:
    return _Features(grid, spacing, features, seed, device)


def feature_statistics(
    ensemble: xr.Dataset, transform: Transform | None = None, features: int = 8, seed: int = 0
) -> xr.Dataset:
    r"""Random features of the joint law of four bands of scales; the joint p value of a comparison is the test.

    Convention: points 0 ... F-1 are means of cosines of random combinations of the bands in units of their rms
    (:func:`feature_array`), the others ln rms of each band, fine to coarse. ``yardstick`` is the standard deviation of
    a feature between single configurations, so a deviation of 1 is what tells two of them apart.

    Args:
        ensemble: periodic ``field`` on a lattice, any sample dims.
        transform: None or a function, as in :func:`physgen.diagnostics.power_spectrum`.
        features: F; with the bands at most half the units of an ensemble should be left, or neighbours are merged.
        seed: of the features.

    Returns:
        Dataset of kind curve over ``feature``.
    """
    from physgen.ensemble import spacing

    steps = spacing(ensemble)
    values = each_sample(ensemble, lambda v: feature_array(v, steps, features, seed), transform)  # (B, C, F + J)
    values[..., features:] = _bounded(values[..., features:])
    axis = {"long_name": "random feature, then ln rms of the bands", "units": "1", "symbol": "m"}
    result = result_of_samples(
        ensemble, values, ("feature",), {"feature": (np.arange(values.shape[-1]), axis)}, diagnostic="features",
        kind="scalar", long_name="mean feature", units="1", symbol=r"\langle\phi_m\rangle",
        tolerance=TOLERANCE, tolerance_kind="difference",
        tolerance_of="features, in standard deviations between configurations",
        convention=f"{features} random Fourier features of {values.shape[-1] - features} band-passed fields in units "
        "of their rms, then ln rms of each band; means over each configuration.",
    )  # fmt: skip
    return result.assign(yardstick=_yardstick(ensemble, result, values))


def _bounded(logs: np.ndarray) -> np.ndarray:
    """ln rms (B, C, J), at least that of EMPTY of the mean rms: a field that is constant has none."""
    with np.errstate(divide="ignore"):
        return np.maximum(logs, np.log(np.exp(logs).mean(axis=0) * EMPTY))


def _yardstick(ensemble: xr.Dataset, result: xr.Dataset, values: np.ndarray) -> tuple[Any, np.ndarray, dict[str, str]]:
    """Standard deviation between the configurations at one point of the kept dims, with the dims of the value."""
    group = units(ensemble)
    points = int(np.prod(group.shape))
    spread = np.stack([values[group.index % points == one].std(0) for one in range(points)])  # (K, C, F)
    described = {"long_name": "standard deviation between configurations", "units": "1"}
    return result["value"].dims, spread.reshape(result["value"].shape), described


# --- features as functions of the conditions ----------------------------------------------------------


def condition_response(ensemble: xr.Dataset, transform: Transform | None = None) -> xr.Dataset:
    r"""How the amplitude follows the labels, and what scatter they leave: wrong labels keep all averages.

    Convention: :math:`y_u`, the mean of :math:`\ln\sigma_j` over bands (:func:`feature_array`) in unit u, is fitted by
    :math:`\bar y + \sum_l \beta_l(z_{ul} - \bar z_l)`, z the labels, or the logarithms of those that are positive: the
    rms is nearly a power law of them. The points are :math:`\beta_l`, with jackknife pseudo-values per unit, and the
    mean of :math:`\ln|r_u|`, r the residual of a unit from the fit to all others. ``yardstick`` of a slope is the
    spread of y over that of z: a deviation of 1 is a response that is missing altogether. Of the scatter it is 2.

    Args:
        ensemble: ``field`` on a lattice, labels = floating-point variables on the dim of its units alone.
        transform: as in :func:`feature_statistics`.

    Returns:
        Dataset of kind curve over ``response``, named by the attr ``flag_meanings`` of the coordinate.
    """
    from physgen.ensemble import spacing

    group, names, labels = _conditions(ensemble)
    steps = spacing(ensemble)
    values = each_sample(ensemble, lambda v: feature_array(v, steps, 0), transform)
    amplitude = group.mean(_bounded(values)).reshape(group.count, -1).mean(axis=1)  # (U,)
    per_unit = _response(labels, amplitude)
    words = [*names, "scatter"]
    axis = {"long_name": "label, then scatter", "units": "1", "flag_meanings": " ".join(words)}
    result = group.result(
        per_unit, ("response",), {"response": (np.arange(len(words)), axis)}, diagnostic="condition_response",
        kind="scalar", long_name="response of ln rms to the labels", units="1", symbol=r"\beta",
        tolerance=RESPONSE_TOLERANCE, tolerance_kind="difference",
        tolerance_of="response to the labels, in spreads between conditions",
        convention="Slopes of the mean ln rms of the bands with the labels (logarithms of positive ones), then the "
        "mean of ln |residual|.",
    )  # fmt: skip
    spread = np.append(amplitude.std() / labels.std(axis=0), SCATTER_YARDSTICK)
    described = {"long_name": "spread of ln rms over that of the label; 2 for the scatter", "units": "1"}
    return result.assign(yardstick=("response", spread, described))


def _conditions(ensemble: xr.Dataset) -> tuple[Units, tuple[str, ...], np.ndarray]:
    """Units, names and values (U, L) of the labels that differ between units, logarithms of positive ones."""
    found = unit_labels(ensemble)
    if found.group.dims:
        raise InputError("the amplitude of a unit has further sample dims: the response to conditions needs one each")
    return found.group, found.names, np.where(found.values.min(axis=0) > 0, _safe_log(found.values), found.values)


def _safe_log(values: np.ndarray) -> np.ndarray:
    return np.log(np.where(values > 0, values, 1.0))


def _response(labels: np.ndarray, amplitude: np.ndarray) -> np.ndarray:
    """Pseudo-values of the slopes of the amplitude (U,) with labels (U, L), then ln of residuals: (U, L + 1)."""
    fit = LabelFit.of(labels)
    left = np.log(np.maximum(np.abs(fit.left_out(amplitude)), 1e-12))
    return np.append(fit.derivatives(amplitude), left[:, None], axis=1)
