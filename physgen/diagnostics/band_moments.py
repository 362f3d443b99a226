r"""Skewness and kurtosis of a field scale by scale: in octave bands of wavenumbers, also of its phases alone.

Legend: B fields, d dimensions, \*grid cells, J octave bands. A Gaussian field has neither at any scale, whatever its
spectrum; filaments and peaks have both, strongest where they are thinnest.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from physgen.diagnostics.band_kernels import band_kernels
from physgen.diagnostics.bands import Windows, filtered, octave_bands, to_modes
from physgen.diagnostics.batches import each_sample
from physgen.diagnostics.result import result_of_samples

if TYPE_CHECKING:
    import xarray as xr

    from physgen.diagnostics.batches import Transform


MOMENTS = ("skewness", "kurtosis")
CHUNK_CELLS = 2**17  # of the lattice of a band at once: they stay in the cache
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
    bank = _bank(tuple(field.shape[-len(spacing) :]), tuple(spacing))
    return np.array(bank.k), _moments(field, bank, phases_only)


@dataclass(frozen=True)
class _Bank:
    """The bands of a lattice, by the coarse lattices that hold them."""

    grid: tuple[int, ...]
    k: tuple[float, ...]
    parts: tuple[tuple[list[int], Windows], ...]  # which bands, and their windows


@functools.lru_cache(maxsize=4)
def _bank(grid: tuple[int, ...], spacing: tuple[float, ...]) -> _Bank:
    bands = octave_bands(grid, spacing, oversampling=2.0)[::-1]
    members = {
        lattice: [j for j, band in enumerate(bands) if band.grid == lattice] for lattice in {b.grid for b in bands}
    }
    parts = tuple((which, Windows(np.stack([bands[j].window for j in which]))) for which in members.values())
    return _Bank(grid, tuple(band.k for band in bands), parts)


def _moments(field: np.ndarray, bank: _Bank, phases_only: bool) -> np.ndarray:
    modes = to_modes(field.reshape(-1, *bank.grid))
    if phases_only:
        modes = _phases(modes)
    found = np.zeros((len(modes), len(MOMENTS), len(bank.k)))
    for members, windows in bank.parts:
        step = max(1, CHUNK_CELLS // int(np.prod(windows.grid)))
        for start in range(0, len(modes), step):
            rows = slice(start, start + step)
            second, third, fourth = _powers(filtered(modes[rows], windows, windows.paired), len(members))
            with np.errstate(divide="ignore", invalid="ignore"):
                both = np.stack([third / second**1.5, fourth / second**2 - 3], axis=1)
            found[rows, :, members] = np.where((second > 0)[:, None], both, 0.0)
    return found.reshape(*field.shape[: -len(bank.grid)], len(MOMENTS), len(bank.k))


def _phases(modes: np.ndarray) -> np.ndarray:
    """Modes over their moduli; 0 where they are 0."""
    loops = band_kernels()
    found = np.zeros_like(modes)
    if loops is None:
        size = np.abs(modes)
        return np.divide(modes, size, out=found, where=size > 0)
    flat, out = (x.view(x.real.dtype).reshape(-1, 2) for x in (modes, found))
    loops.unit_moduli(flat, out)
    return found


def _powers(parts: np.ndarray, count: int) -> np.ndarray:
    """Means over cells of b^2, b^3, b^4 of ``count`` fields (B, P, *m), two in a complex one: (3, B, count) float64."""
    flat = parts.reshape(*parts.shape[:2], -1)
    loops = band_kernels()
    if loops is None:
        fields = np.stack([flat.real, flat.imag], axis=2).reshape(len(flat), -1, flat.shape[2])[:, :count].astype(float)
        return np.stack([np.mean(fields**power, axis=-1) for power in (2, 3, 4)])
    found = np.empty((3, len(flat), count))
    loops.mean_powers(flat.view(flat.real.dtype).reshape(*flat.shape, 2), found)
    return found


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
    bank = _bank(grid, tuple(steps))
    found = each_sample(ensemble, lambda values: _moments(values, bank, phases_only), transform)
    wave = {"long_name": "wavenumber", "units": inverse_length(ensemble), "symbol": "k", "scale": "log"}
    coords = {"moment": (np.array(MOMENTS), {"long_name": "moment"}), "k": (np.array(bank.k), wave)}
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
