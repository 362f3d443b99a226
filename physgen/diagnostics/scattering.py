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
import torch

from physgen.diagnostics.bands import coarse_grid, crop, crop_all, octave, octave_centres, unit_rms
from physgen.diagnostics.batches import cell_mean, each_sample
from physgen.diagnostics.mode_kernels import kernels
from physgen.diagnostics.result import result_of_samples

if TYPE_CHECKING:
    import xarray as xr

    from physgen.diagnostics.batches import Transform


FARTHEST = 3  # octaves between the two wavelets of a pair
ORIENTATIONS = ("parallel", "perpendicular")


def directions(d: int) -> np.ndarray:
    """Unit vectors n_l (L, d): 0, 45, 90, 135 degrees in two dimensions, the axes in any other."""
    if d != 2:
        return np.eye(d)
    angle = np.arange(4) * np.pi / 4
    return np.stack([np.sin(angle), np.cos(angle)], axis=1)  # (y, x)


@dataclass(frozen=True)
class Wavelets:
    """The wavelets of one lattice: of each octave its centre, coarse lattice and filters (L, *m) in the fftn layout."""

    grid: tuple[int, ...]
    k: tuple[float, ...]
    lattices: tuple[tuple[int, ...], ...]
    filters: tuple[np.ndarray, ...]  # (L, *m_j)
    pairs: tuple[tuple[int, int], ...]  # (finer, coarser) octaves


def wavelets(grid: Sequence[int], spacing: Sequence[float], most: int | None = None) -> Wavelets:
    """Wavelets of a lattice, every octave from Nyquist down to twice the fundamental wavenumber (``most`` at most)."""
    k = octave_centres(grid, spacing, most)
    lattices = tuple(coarse_grid(grid, spacing, 4 * centre) for centre in k)
    steps = [[n * a / m for n, a, m in zip(grid, spacing, lattice, strict=True)] for lattice in lattices]
    filters = tuple(map(_filters, lattices, steps, k))
    pairs = tuple((i, j) for i in range(len(k)) for j in range(i + 1, min(i + FARTHEST, len(k) - 1) + 1))
    return Wavelets(tuple(grid), tuple(map(float, k)), lattices, filters, pairs)


def _filters(grid: Sequence[int], spacing: Sequence[float], centre: float) -> np.ndarray:
    axes = np.meshgrid(*(2 * np.pi * np.fft.fftfreq(n, a) for n, a in zip(grid, spacing, strict=True)), indexing="ij")
    k = np.sqrt(sum(np.square(x) for x in axes))
    along = np.tensordot(directions(len(grid)), np.stack(axes), axes=1) / np.where(k > 0, k, 1.0)
    return (octave(k, centre) * np.maximum(along, 0.0) ** 2).astype(np.float32)


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
    axes = tuple(range(1, d + 1))
    first = np.zeros((len(flat), len(bank.k)))
    second = np.zeros((len(flat), 2, len(bank.pairs)))
    unit = unit_rms(flat)[0]
    whole = torch.fft.fftn(torch.from_numpy(unit), dim=axes, norm="forward").numpy()
    related = _related(d)
    for j, lattice in enumerate(bank.lattices):
        modes = crop_all(whole, lattice)
        for psi, others in zip(bank.filters[j], related, strict=True):
            u, mean, square = _modulus(modes, psi, axes)
            first[:, j] += _over(mean**2, square) / len(related)
            _add_second(second, bank, j, u, mean, others)
    second /= len(related)
    lead = field.shape[:-d]
    return first.reshape(*lead, -1), second.reshape(*lead, 2, -1)


def _related(d: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each orientation the indices of the parallel ones and of the perpendicular ones."""
    cosine = np.abs(directions(d) @ directions(d).T)
    return [(np.flatnonzero(np.isclose(row, 1)), np.flatnonzero(np.isclose(row, 0))) for row in cosine]


def _filtered(modes: np.ndarray, psi: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    return torch.fft.ifftn(torch.from_numpy(modes * psi), dim=axes, norm="forward").numpy()


def _modulus(modes: np.ndarray, psi: np.ndarray, axes: tuple[int, ...]) -> tuple[np.ndarray, ...]:
    r"""u = \|f * psi\| (b, \*m) with its mean and mean square (b,)."""
    z, loops = _filtered(modes, psi, axes), kernels()
    if loops is None:
        u = np.abs(z)
        return u, cell_mean(u, len(axes)), cell_mean(u * u, len(axes))
    u, mean, square = np.empty(z.shape, z.real.dtype), np.empty(len(z)), np.empty(len(z))
    loops.modulus(z.reshape(len(z), -1), u.reshape(len(z), -1), mean, square)
    return u, mean, square


def _mean_modulus(modes: np.ndarray, psi: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """Mean of the modulus alone, over ``axes``."""
    z, loops = _filtered(modes, psi, axes), kernels()
    if loops is None:
        return cell_mean(np.abs(z), len(axes))
    lead = z.shape[: -len(axes)]
    mean = np.empty(int(np.prod(lead)))
    loops.mean_modulus(z.reshape(len(mean), -1), mean)
    return mean.reshape(lead)


def _whole(half: np.ndarray, grid: Sequence[int]) -> np.ndarray:
    """Modes (b, *half) of a real field in the layout of fftn, by F(-k) = conj F(k)."""
    found = np.empty((len(half), *grid), half.dtype)
    last = grid[-1] // 2 + 1
    found[..., :last] = half
    mirror = half[..., grid[-1] - last : 0 : -1]
    for axis, n in enumerate(grid[:-1], start=1):
        mirror = np.take(mirror, -np.arange(n) % n, axis=axis)
    np.conjugate(mirror, out=found[..., last:])
    return found


def _over(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.divide(a, b, out=np.zeros_like(a), where=b > 0)


def _add_second(
    second: np.ndarray, bank: Wavelets, j: int, u: np.ndarray, mean: np.ndarray, others: tuple[np.ndarray, np.ndarray]
) -> None:
    """Add the second order of one u_jl (b, *m_j) to the sums over orientations."""
    coarser = [(pair, b) for pair, (a, b) in enumerate(bank.pairs) if a == j]
    if not coarser:
        return
    d = u.ndim - 1
    modes = torch.fft.rfftn(torch.from_numpy(u), dim=tuple(range(1, d + 1)), norm="forward").numpy()
    for pair, b in coarser:
        kept = _whole(crop(modes, bank.lattices[j], bank.lattices[b]), bank.lattices[b])[:, None]
        psi = bank.filters[b][np.concatenate(others)]
        means = _mean_modulus(kept, psi, tuple(range(2, d + 2)))  # (b, parallel and perpendicular ones)
        parts = np.split(means, [len(others[0])], axis=1)
        for which, part in enumerate(parts):
            second[:, which, pair] += _over(part.mean(axis=1), mean)


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
