r"""Skewness and kurtosis of a field scale by scale: in octave bands of wavenumbers, also of its phases alone.

Legend: B fields, d dimensions, \*grid cells, J octave bands. A Gaussian field has neither at any scale, whatever its
spectrum; filaments and peaks have both, strongest where they are thinnest.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from physgen.diagnostics.bands import crop, octave_bands, to_field, to_modes
from physgen.diagnostics.batches import cell_mean, each_sample
from physgen.diagnostics.mode_kernels import kernels
from physgen.diagnostics.result import result_of_samples

if TYPE_CHECKING:
    import xarray as xr

    from physgen.diagnostics.bands import Band
    from physgen.diagnostics.batches import Transform


MOMENTS = ("skewness", "kurtosis")
YARDSTICK = (1.0, 2.0)  # a kurtosis moves twice as far as a skewness for a like change of shape


def band_moments_array(
    field: np.ndarray, spacing: Sequence[float], phases_only: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    r"""Skewness :math:`\mu_3/\mu_2^{3/2}` and excess kurtosis :math:`\mu_4/\mu_2^2 - 3` of each field in octave bands.

    :math:`b_j(x) = N^{-1}\sum_k W_j(k)\, \delta_k e^{ikx}` with :math:`W_j = \cos(\frac\pi2\log_2 k/k_j)` for
    :math:`k_j/2 < k < 2k_j`, :math:`k_j = k_{Ny}/2^j`; :math:`\mu_p = \langle b_j^p \rangle_x`. Bands are sampled on
    lattices that hold four times their wavenumbers (at most the field's own), so that nothing is lost.

    Args:
        field: (..., \*grid) numpy array, periodic; d = len(spacing) trailing axes are space.
        spacing: cell size along each space axis.
        phases_only: replace :math:`\delta_k` by :math:`\delta_k/|\delta_k|`: every trace of the spectrum is gone.

    Returns:
        k_j (J,), finest last, and moments (..., 2, J); a band without power counts as 0.
    """
    field = np.asarray(field)
    d = len(spacing)
    grid = field.shape[-d:]
    bands = octave_bands(grid, spacing, oversampling=2.0)[::-1]
    return np.array([b.k for b in bands]), _moments(field, grid, bands, phases_only)


def _moments(field: np.ndarray, grid: Sequence[int], bands: list[Band], phases_only: bool) -> np.ndarray:
    d = len(grid)
    modes = to_modes(field, d)
    if phases_only:
        size = np.abs(modes)
        modes = np.divide(modes, size, out=np.zeros_like(modes), where=size > 0)
    found = np.zeros((*field.shape[:-d], len(MOMENTS), len(bands)))
    for j, band in enumerate(bands):
        kept = crop(modes, grid, band.grid) * band.window.astype(modes.real.dtype)
        b = to_field(kept, band.grid)
        second, third, fourth = _powers(b, d)
        with np.errstate(divide="ignore", invalid="ignore"):
            both = np.stack([third / second**1.5, fourth / second**2 - 3], axis=-1)
        found[..., j] = np.where((second > 0)[..., None], both, 0.0)
    return found


def _powers(b: np.ndarray, d: int) -> tuple[np.ndarray, ...]:
    """Means over cells of b^2, b^3, b^4, (...) float64."""
    loops, lead = kernels(), b.shape[:-d]
    if loops is None:
        square = b * b
        return tuple(cell_mean(x, d) for x in (square, square * b, square * square))
    found = np.empty((int(np.prod(lead)), 3))
    loops.mean_powers(b.reshape(len(found), -1), found)
    return tuple(np.moveaxis(found, -1, 0).reshape(3, *lead))


def band_moments(ensemble: xr.Dataset, transform: Transform | None = None, phases_only: bool = False) -> xr.Dataset:
    r"""Skewness and excess kurtosis of octave bands (:func:`band_moments_array`), averaged over configurations.

    Each configuration is normalised by its own variance in the band: the average does not depend on the number of
    configurations of a unit, and amplitudes that differ between units do not pass for kurtosis.

    Args:
        ensemble: periodic ``field`` in one to three dimensions.
        transform: None or a function, as in :func:`physgen.diagnostics.power_spectrum`.
        phases_only: the same of the field with every Fourier modulus set to 1: sees random phases even where every
            single modulus is right.

    Returns:
        Dataset of kind curve over (``moment``, ``k``): ``value``, ``error`` over independent units; ``yardstick`` 1 for
        the skewness, 2 for the kurtosis.
    """
    from physgen.diagnostics.spectrum import inverse_length
    from physgen.ensemble import space_dims, spacing

    steps = spacing(ensemble)
    grid = tuple(ensemble.sizes[d] for d in space_dims(ensemble))
    bands = octave_bands(grid, steps, oversampling=2.0)[::-1]
    found = each_sample(ensemble, lambda values: _moments(values, grid, bands, phases_only), transform)
    wave = {"long_name": "wavenumber", "units": inverse_length(ensemble), "symbol": "k", "scale": "log"}
    coords = {"moment": (np.array(MOMENTS), {"long_name": "moment"}), "k": (np.array([b.k for b in bands]), wave)}
    of = "phases alone" if phases_only else "octave band"
    said: dict[str, Any] = {
        "diagnostic": "phase_moments" if phases_only else "band_moments",
        "kind": "curve",
        "units": "1",
    }
    said["long_name"] = f"skewness, kurtosis ({of})"
    said["convention"] = (
        "Skewness and excess kurtosis of the field in octave bands, cos(pi/2 log2 k/k_j) from k_j/2 to 2 k_j"
        + (", every Fourier modulus set to 1" if phases_only else "")
        + "; of each configuration, averaged. A Gaussian field: 0."
    )
    said |= {"tolerance": 0.1, "tolerance_kind": "difference", "tolerance_of": "skewness (kurtosis / 2)"}
    result = result_of_samples(ensemble, found, ("moment", "k"), coords, **said)
    result["yardstick"] = ("moment", np.array(YARDSTICK), {"long_name": "yardstick of the moment", "units": "1"})
    result["yardstick"] = result["yardstick"].broadcast_like(result["value"])
    return result
