r"""Wavelet scattering: how sparse a field is at each scale, and how its fine structure is arranged on coarser ones.

Legend: d dimensions, \*grid cells, J octaves (1 the finest), l orientations n_l, \*m_j the coarse lattice of octave j.

Wavelets in Fourier space, one-sided: :math:`\psi_{jl}(k) = \cos(\frac\pi2\log_2 k/k_j)\, \max(0, \hat k\cdot n_l)^2`
for :math:`k_j/2 < k < 2k_j`, :math:`k_j = k_{Ny}/2^j`. Four orientations, 45 degrees apart, in two dimensions; the axes
in three. (Mallat 2012; Cheng and Menard 2021, arXiv:2112.01288; steerable pyramid of Simoncelli and Freeman 1995)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from physgen.diagnostics.band_kernels import band_kernels
from physgen.diagnostics.bands import Windows, coarse_grid, filtered, half_modes, octave, octave_centres, unit_rms
from physgen.diagnostics.batches import cell_mean, each_sample
from physgen.diagnostics.result import result_of_samples

if TYPE_CHECKING:
    import xarray as xr

    from physgen.diagnostics.batches import Transform


FARTHEST = 3  # octaves between the two wavelets of a pair
CHUNK_CELLS = 2**16  # of an octave's lattice at once: all orientations of them stay in the cache
ORIENTATIONS = ("parallel", "perpendicular")


def directions(d: int) -> np.ndarray:
    """Unit vectors n_l (L, d): 0, 45, 90, 135 degrees in two dimensions, the axes in any other."""
    if d != 2:
        return np.eye(d)
    angle = np.arange(4) * np.pi / 4
    return np.stack([np.sin(angle), np.cos(angle)], axis=1)  # (y, x)


@dataclass(frozen=True)
class Wavelets:
    """The wavelets of one lattice: of each octave its centre, coarse lattice and filters."""

    grid: tuple[int, ...]
    k: tuple[float, ...]
    lattices: tuple[tuple[int, ...], ...]
    filters: tuple[Windows, ...]  # L of them on *m_j
    pairs: tuple[tuple[int, int], ...]  # (finer, coarser) octaves


def wavelets(grid: Sequence[int], spacing: Sequence[float], most: int | None = None) -> Wavelets:
    """Wavelets of a lattice, every octave from Nyquist down to twice the fundamental wavenumber (``most`` at most)."""
    k = octave_centres(grid, spacing, most)
    lattices = tuple(coarse_grid(grid, spacing, 4 * centre) for centre in k)
    steps = [[n * a / m for n, a, m in zip(grid, spacing, lattice, strict=True)] for lattice in lattices]
    filters = tuple(map(_filters, lattices, steps, k))
    pairs = tuple((i, j) for i in range(len(k)) for j in range(i + 1, min(i + FARTHEST, len(k) - 1) + 1))
    return Wavelets(tuple(grid), tuple(map(float, k)), lattices, filters, pairs)


def _filters(grid: Sequence[int], spacing: Sequence[float], centre: float) -> Windows:
    axes = np.meshgrid(*(2 * np.pi * np.fft.fftfreq(n, a) for n, a in zip(grid, spacing, strict=True)), indexing="ij")
    k = np.sqrt(sum(np.square(x) for x in axes))
    along = np.tensordot(directions(len(grid)), np.stack(axes), axes=1) / np.where(k > 0, k, 1.0)
    return Windows(octave(k, centre) * np.maximum(along, 0.0) ** 2)


def scattering_array(
    field: np.ndarray, spacing: Sequence[float], bank: Wavelets | None = None
) -> tuple[np.ndarray, np.ndarray]:
    r"""First and second order scattering coefficients of each field, free of its amplitude.

    :math:`u_{jl} = |f * \psi_{jl}|` on the lattice that just holds octave j, :math:`s_1(j) = \langle\, \langle
    u_{jl}\rangle_x^2/\langle u_{jl}^2\rangle_x \,\rangle_l`; 0.79 (pi/4) for a Gaussian field, less for a sparse one.
    :math:`s_2(j, j', \parallel) = \langle\, \langle |u_{jl} * \psi_{j'l'}| \rangle_x/\langle u_{jl}\rangle_x
    \,\rangle` over pairs of parallel orientations l, l', for j' > j (coarser); likewise :math:`\perp`.

    Args:
        field: (..., \*grid) numpy array, periodic.
        spacing: cell size along each space axis.
        bank: :class:`Wavelets` of the lattice, if at hand.

    Returns:
        first (..., J), finest first, and second (..., 2, pairs), parallel and perpendicular, pairs as in
        ``Wavelets.pairs``; 0 for a field without power.
    """
    field = np.asarray(field)
    d = len(spacing)
    bank = bank or wavelets(field.shape[-d:], spacing)
    flat = field.reshape(-1, *bank.grid)
    first = np.zeros((len(flat), len(bank.k)))
    second = np.zeros((len(flat), 2, len(bank.pairs)))
    modes = half_modes(unit_rms(flat)[0])
    related = _related(d)
    for j, lattice in enumerate(bank.lattices):
        step = max(1, CHUNK_CELLS // int(np.prod(lattice)))
        for start in range(0, len(flat), step):
            rows = slice(start, start + step)
            u, mean, square = _modulus(filtered(modes[rows], bank.filters[j], bank.filters[j].alone))
            first[rows, j] = _over(mean**2, square).mean(axis=1)
            _add_second(second[rows], bank, j, u, mean, related)
    lead = field.shape[:-d]
    return first.reshape(*lead, -1), second.reshape(*lead, 2, -1)


def _related(d: int) -> np.ndarray:
    """For each orientation the parallel one, then the perpendicular ones, (L, P, 2) of :func:`filtered`."""
    cosine = np.abs(directions(d) @ directions(d).T)
    found = [[*np.flatnonzero(np.isclose(row, 1)), *np.flatnonzero(np.isclose(row, 0))] for row in cosine]
    return np.stack([found, np.full_like(found, -1)], axis=-1)


def _modulus(z: np.ndarray) -> tuple[np.ndarray, ...]:
    r"""u = \|z\| of (b, L, \*m), with its mean and mean square over \*m, (b, L)."""
    lead, loops = z.shape[:2], band_kernels()
    if loops is None:
        u = np.abs(z)
        return u, cell_mean(u, z.ndim - 2), cell_mean(u * u, z.ndim - 2)
    u, mean, square = np.empty(z.shape, z.real.dtype), np.empty(lead), np.empty(lead)
    count = z[0, 0].size
    loops.modulus(z.reshape(-1, count), u.reshape(-1, count), mean.reshape(-1), square.reshape(-1))
    return u, mean, square


def _mean_modulus(z: np.ndarray) -> np.ndarray:
    r"""Mean of \|z\| of (R, P, \*m) over \*m, (R, P)."""
    loops = band_kernels()
    if loops is None:
        return cell_mean(np.abs(z), z.ndim - 2)
    mean = np.empty(z.shape[:2])
    loops.mean_modulus(z.reshape(mean.size, -1), mean.reshape(-1))
    return mean


def _over(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.divide(a, b, out=np.zeros_like(a), where=b > 0)


def _add_second(
    second: np.ndarray, bank: Wavelets, j: int, u: np.ndarray, mean: np.ndarray, related: np.ndarray
) -> None:
    """Second order of octave j, u (b, L, *m_j) of mean (b, L), into (b, 2, pairs)."""
    coarser = [(pair, b) for pair, (a, b) in enumerate(bank.pairs) if a == j]
    if not coarser:
        return
    modes = half_modes(u.reshape(-1, *u.shape[2:]))
    for pair, b in coarser:
        means = _mean_modulus(filtered(modes, bank.filters[b], related)).reshape(*mean.shape, -1)
        for which, part in enumerate((means[..., :1], means[..., 1:])):
            second[:, which, pair] = _over(part.mean(axis=2), mean).mean(axis=1)


def scattering(ensemble: xr.Dataset, transform: Transform | None = None, most: int | None = None) -> xr.Dataset:
    r"""Scattering coefficients (:func:`scattering_array`) of an ensemble, averaged over configurations.

    They see filaments where every spectrum and the one-point law are right: a sparse field has small first
    coefficients, and its fine structure is arranged on coarser scales along its own direction.

    Args:
        ensemble: periodic ``field`` in two or three dimensions.
        transform: None or a function, as in :func:`physgen.diagnostics.power_spectrum`.
        most: octaves at most, from the finest.

    Returns:
        Dataset of kind scalar over ``path``: the first order of each octave, then the second order of each pair,
        parallel, then perpendicular; ``k``, ``k_coarser`` (nan for the first order) and ``orientation`` of each.
    """
    from physgen.diagnostics.spectrum import inverse_length
    from physgen.ensemble import space_dims, spacing

    steps = spacing(ensemble)
    bank = wavelets(tuple(ensemble.sizes[d] for d in space_dims(ensemble)), steps, most)

    def measure(values: np.ndarray) -> np.ndarray:
        first, second = scattering_array(values, steps, bank)
        return np.concatenate([first, second.reshape(*second.shape[:-2], -1)], axis=-1)

    found = each_sample(ensemble, measure, transform)
    said: dict[str, Any] = {
        "diagnostic": "scattering",
        "kind": "scalar",
        "long_name": "scattering coefficient",
        "units": "1",
    }
    said["convention"] = (
        "First order: <u>^2/<u^2> of the modulus u in an oriented octave band, finest first. Second order: mean "
        "modulus of u in a coarser band over <u>, orientations parallel, then perpendicular. Of each configuration, "
        "averaged."
    )
    said |= {"tolerance": 0.05, "tolerance_kind": "ratio", "tolerance_of": "scattering coefficient"}
    path = {"path": (np.arange(1, found.shape[-1] + 1), {"long_name": "scattering path", "units": "1"})}
    result = result_of_samples(ensemble, found, ("path",), path, **said)
    k = np.array(bank.k)
    fine, coarse = (k[[pair[i] for pair in bank.pairs]] if bank.pairs else np.zeros(0) for i in (0, 1))
    wave = {"long_name": "wavenumber of the band", "units": inverse_length(ensemble)}
    result["k"] = ("path", np.concatenate([k, fine, fine]), wave)
    result["k_coarser"] = ("path", np.concatenate([np.full(len(k), np.nan), coarse, coarse]), wave)
    orders = ["first order"] * len(k) + [o for o in ORIENTATIONS for _ in bank.pairs]
    result["orientation"] = ("path", np.array(orders), {"long_name": "orientation of the second wavelet to the first"})
    return result
