r"""Bispectrum of periodic lattice fields by FFT: the phases of three waves whose wavevectors close a triangle.

Legend: B fields, d dimensions, \*grid cells, V volume, N cells, S shells of wavenumbers, T triangles of shells.

Estimator (Scoccimarro 2015, arXiv:1506.02729, section 3): with :math:`D_i(x)` the field of the modes of shell i alone
and :math:`I_i(x)` the same of unit modes, :math:`B = (V^2/N^3) \sum_x D_1D_2D_3 / \sum_x I_1I_2I_3`, the mean over all
closed triples of modes. The mean of a product of three fields is exact on any lattice that holds their modes and whose
number of points along each side exceeds the sum of their largest wavenumbers, in units of the fundamental one: each
triangle costs the FFT of its own coarse lattice.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import fft

from physgen.diagnostics.band_kernels import band_kernels
from physgen.diagnostics.bands import Windows, filtered, fundamental, half_modes, quick_grid, unit_rms
from physgen.diagnostics.batches import each_sample
from physgen.diagnostics.result import result_of_samples
from physgen.diagnostics.triangles import Triangles, configurations, reach
from physgen.diagnostics.window import Correction, without_transform
from physgen.errors import InputError
from physgen.lattice import half_grid, multiplicity, wavenumber

if TYPE_CHECKING:
    import xarray as xr

    from physgen.diagnostics.batches import Transform


CONFIGURATIONS = ("equilateral", "squeezed", "folded")
TRIPLES = {"long_name": "closed triples of modes", "units": "1"}
CHUNK_CELLS = 2**16  # cells at once: all shells of them stay in the cache


def all_triangles(grid: Sequence[int], spacing: Sequence[float], bins: int | ArrayLike = 8) -> Triangles:
    """Every triple of shells with modes that close; ``bins``: linear shells up to two thirds of Nyquist, or edges."""
    unit, top = fundamental(grid, spacing), reach(grid, spacing)
    edges = np.linspace(unit / 2, top, bins + 1) if isinstance(bins, int) else np.asarray(bins, dtype=float)
    if edges.ndim != 1 or len(edges) < 2 or np.any(np.diff(edges) <= 0) or edges[-1] > top * (1 + 1e-6):
        raise InputError(f"shell edges must increase and end below 2/3 of Nyquist, {top:g}; got {edges.tolist()}")
    low, high = edges[:-1], edges[1:]
    count = len(low)
    shells = [
        (i, j, m) for i in range(count) for j in range(i, count) for m in range(j, count) if low[m] < high[i] + high[j]
    ]
    edges = np.stack([low, high], axis=1)
    closed = TrianglePlan(grid, spacing, Triangles(edges, np.array(shells), (len(shells),))).triples > 0
    return Triangles(edges, np.array(shells)[closed], (int(closed.sum()),))


class TrianglePlan:
    """What the triangles of a lattice share: coarse lattices, shells on them, numbers of triples and of modes."""

    def __init__(self, grid: Sequence[int], spacing: Sequence[float], triangles: Triangles) -> None:
        self.grid, self.spacing, self.shells = tuple(grid), tuple(spacing), triangles.shells
        self.edges = triangles.edges
        self.volume = float(np.prod(spacing) * np.prod(grid))
        highest = triangles.edges[:, 1]
        self.lattices: dict[tuple[int, ...], list[int]] = {}  # coarse grid -> triangles on it
        for t, shells in enumerate(triangles.shells):
            together = max(highest[shells].sum(), 2 * highest[shells].max())
            coarse = quick_grid(grid, spacing, together * (1 + 1e-6))
            self.lattices.setdefault(coarse, []).append(t)
        self.members = {coarse: np.unique(self.shells[t]) for coarse, t in self.lattices.items()}  # shells on it
        self.windows, self.places = {}, {}  # of a coarse grid: its shells; those of its triangles among them
        self.triples = np.zeros(len(triangles.shells))
        for coarse, members in self.lattices.items():
            masks, axes = self._masks(coarse), tuple(range(1, 1 + len(coarse)))
            self.windows[coarse] = Windows(masks)
            self.places[coarse] = np.searchsorted(self.members[coarse], self.shells[members])
            ones = fft.ifftn(masks, axes=axes, norm="forward").real.reshape(len(masks), -1)
            for t, (a, b, c) in zip(members, self.places[coarse], strict=True):
                self.triples[t] = np.round(np.mean(ones[a] * ones[b] * ones[c]))
        k, twice = wavenumber(self.grid, spacing).ravel(), multiplicity(self.grid).numpy().astype(float)
        inside = [np.flatnonzero((k >= low) & (k < high)) for low, high in self.edges]
        self.index, self.ends = np.concatenate(inside), np.cumsum([0, *map(len, inside)])  # of the modes of each shell
        self.weight = np.tile(twice, len(k) // len(twice))[self.index]
        self.modes = np.add.reduceat(np.append(self.weight, 0), self.ends[:-1]) * (np.diff(self.ends) > 0)

    def _masks(self, coarse: tuple[int, ...]) -> np.ndarray:
        """Which modes of a coarse lattice are in each shell that it holds, (S, *coarse)."""
        step = [n * a / m for n, a, m in zip(self.grid, self.spacing, coarse, strict=True)]
        k, edges = wavenumber(coarse, step, half=False), self.edges[self.members[coarse]]
        return np.stack([(k >= low) & (k < high) for low, high in edges])

    def measure(self, field: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        r"""B (..., T) and P (..., S) of fields (..., \*grid)."""
        if np.any(self.triples < 1):
            empty = self.edges[self.shells[np.argmin(self.triples)]]
            raise InputError(f"no three modes close a triangle in the shells {empty.round(4).tolist()}: widen them")
        lead, flat = field.shape[: -len(self.grid)], field.reshape(-1, *self.grid)
        triple, power = np.zeros((len(flat), len(self.triples))), np.zeros((len(flat), len(self.modes)))
        step = max(1, CHUNK_CELLS // int(np.prod(self.grid)))
        for start in range(0, len(flat), step):
            rows = slice(start, start + step)
            self._measure(flat[rows], triple[rows], power[rows])
        triple, power = self.volume**2 * triple / self.triples, self.volume * power / self.modes
        return triple.reshape(*lead, -1), power.reshape(*lead, -1)

    def _measure(self, field: np.ndarray, triple: np.ndarray, power: np.ndarray) -> None:
        """Means of D_a D_b D_c, and of D_s^2, of fields (B, *grid); two shells of a field share a transform."""
        unit, rms = unit_rms(field)
        modes = half_modes(unit)
        power[:] = self._powers(modes.reshape(len(modes), -1)) * rms[:, None] ** 2
        for coarse, members in self.lattices.items():
            parts = filtered(modes, self.windows[coarse], self.windows[coarse].paired)
            triple[:, members] = _means(parts, self.places[coarse]) * rms[:, None] ** 3

    def shell_means(self, values: np.ndarray | float) -> np.ndarray:
        """Mean over each shell of a function of the modes in the layout of rfftn, or of a constant, (S,)."""
        inside = np.broadcast_to(values, half_grid(self.grid)).ravel()[self.index] * self.weight
        return np.add.reduceat(np.append(inside, 0), self.ends[:-1]) * (np.diff(self.ends) > 0) / self.modes

    def _powers(self, modes: np.ndarray) -> np.ndarray:
        """Sums of |F|^2 of each shell (B, S)."""
        found, loops = np.zeros((len(modes), len(self.edges))), band_kernels()
        if loops is None:
            square = np.abs(modes.astype(complex)) ** 2
            for s, (start, end) in enumerate(itertools.pairwise(self.ends)):
                found[:, s] = square[:, self.index[start:end]] @ self.weight[start:end]
        else:
            loops.shell_powers(modes, self.index, self.weight, self.ends, found)
        return found


def _means(parts: np.ndarray, triples: np.ndarray) -> np.ndarray:
    """Means over points of products of three fields of (B, P, *m), two in a complex one: (B, T)."""
    flat = parts.reshape(*parts.shape[:2], -1)
    loops = band_kernels()
    if loops is None:
        fields = np.stack([flat.real, flat.imag], axis=2).reshape(len(flat), -1, flat.shape[2]).astype(float)
        a, b, c = (fields[:, triples[:, i]] for i in range(3))
        return np.mean(a * b * c, axis=-1)
    found = np.empty((len(flat), len(triples)))
    loops.mean_products(flat.view(flat.real.dtype).reshape(*flat.shape, 2), triples, found)
    return found


def bispectrum_array(
    field: np.ndarray, spacing: Sequence[float], triangles: Triangles | None = None
) -> tuple[np.ndarray, ...]:
    r"""Bispectrum :math:`B = (V^2/N^3) \langle\delta_{k_1}\delta_{k_2}\delta_{k_3}\rangle`, :math:`k_1+k_2+k_3=0`.

    :math:`\delta_k = \sum_x \delta(x) e^{-ikx}`. Independent cells of third cumulant :math:`\kappa_3` have
    :math:`B = \kappa_3 (V/N)^2`. One Gaussian field has mean 0 and variance :math:`s V P_1P_2P_3/\mathrm{triples}` with
    s = 6, 2, 1 for three, two, no equal shells.

    Args:
        field: (..., \*grid) numpy array; d = len(spacing) trailing axes are space, periodic.
        spacing: cell size along each space axis.
        triangles: of :func:`configurations` (the default) or :func:`all_triangles`.

    Returns:
        B (..., T) float64, P (..., S) mean power of the shells, triples (T,) of modes that close, modes (S,).
    """
    field = np.asarray(field)
    grid = field.shape[-len(spacing) :]
    plan = TrianglePlan(grid, spacing, triangles or configurations(grid, spacing))
    return *plan.measure(field), plan.triples, plan.modes


def permutations(power: np.ndarray, shells: np.ndarray) -> np.ndarray:
    r""":math:`P_1P_2 + P_2P_3 + P_3P_1` of each triangle, from the power of the shells (..., S)."""
    first, second, third = (power[..., shells[:, i]] for i in range(3))
    return first * second + second * third + third * first


def bispectrum(
    ensemble: xr.Dataset,
    triangles: str | None = None,
    transform: Transform | None = None,
    reduced: bool = True,
    bins: int | Sequence[float] | np.ndarray = 8,
    points: int = 5,
    correction: Correction | None = None,
) -> xr.Dataset:
    r"""Bispectrum of an ensemble, reduced (:math:`Q = B/(P_1P_2+P_2P_3+P_3P_1)` of each configuration) or raw.

    Q of each configuration, averaged, does not depend on the number of configurations of a unit, and hardly on the
    amplitude of a unit, so that its scatter is that of the shapes. Gaussian fields have Q = 0, to lowest order
    :math:`\delta + f\delta^2` has Q = 2f, gravity Q of order 1 for delta.

    Args:
        ensemble: periodic ``field`` in two or three dimensions.
        triangles: None for equilateral, squeezed and folded ones; "all" for every triple of shells.
        transform: None or a function, as in :func:`physgen.diagnostics.power_spectrum`.
        reduced: False gives B itself, units length^2d, with a ``yardstick`` so that deviations are those of Q.
        bins: shells for "all": a number or edges.
        points: wavenumbers for the three configurations, at most.
        correction: window and shot noise that are taken off: :math:`N(P_1+P_2+P_3) + N^2`, P free of noise; its images
            are in P alone, of points without correlation, CIC, shells below 2/3 of Nyquist, up to 0.1 N^2 is left.

    Returns:
        Dataset of kind curve over (``configuration``, ``k``), or over ``triangle`` with ``k1``, ``k2``, ``k3``:
        ``value``, ``error`` over independent units, ``triples`` of modes averaged.
    """
    from physgen.ensemble import space_dims, spacing

    steps, grid = spacing(ensemble), tuple(ensemble.sizes[d] for d in space_dims(ensemble))
    shape, plan, shell_k = _planned(grid, tuple(steps), triangles, _hashable(bins), points)
    count = len(shape.shells)
    removal = (correction or Correction()).of(ensemble)
    noise, level = _shot_noise(plan, removal)

    def measure(values: np.ndarray) -> np.ndarray:
        found, power = plan.measure(values)
        if level:
            power -= noise
            found -= level * power[..., shape.shells].sum(axis=-1) + level**2
        return np.concatenate([found, permutations(power, shape.shells)], axis=-1)

    both = each_sample(ensemble, measure, without_transform(removal, transform))
    raw, scale = both[..., :count], both[..., count:]
    value = np.divide(raw, scale, out=np.zeros_like(raw), where=scale > 0) if reduced else raw
    dims, coords = _coordinates(ensemble, shape, shell_k)
    attrs = _said(ensemble, reduced) | removal.attrs
    attrs["convention"] += f" {removal.words.capitalize()}." if removal.attrs else ""
    value, scale = (x.reshape(*x.shape[:2], *shape.shape) for x in (value, scale))
    result = result_of_samples(ensemble, value, dims, coords, **attrs)
    result["triples"] = (dims, plan.triples.reshape(shape.shape), TRIPLES)
    if triangles == "all":
        result = _with_sides(result, shell_k[shape.shells], _inverse(ensemble))
    if reduced:
        return result
    yardstick = result_of_samples(ensemble, scale, dims, coords, **attrs)["value"]
    said = {"long_name": "P1 P2 + P2 P3 + P3 P1", "units": attrs["units"]}
    return result.assign(yardstick=yardstick.assign_attrs(said))


def _hashable(bins: int | Sequence[float] | np.ndarray) -> int | tuple[float, ...]:
    return bins if isinstance(bins, int) else tuple(np.asarray(bins, dtype=float).tolist())


def _with_sides(result: xr.Dataset, sides: np.ndarray, units: str) -> xr.Dataset:
    """The result with the sides (triangles, 3) of its triangles."""
    return result.assign({f"k{i + 1}": ("triangle", sides[:, i], {"units": units}) for i in range(3)})


def _shot_noise(plan: TrianglePlan, removal: Any) -> tuple[np.ndarray, float]:
    """Its mean over the shells with its aliases, and its level."""
    if removal.level and removal.smoothed:
        raise InputError(
            "the shot noise of a bispectrum has no closed form on a smoothed field: give deconvolve=window as well"
        )
    return plan.shell_means(removal.noise()), removal.level


@functools.lru_cache(maxsize=4)
def _planned(
    grid: tuple[int, ...], spacing: tuple[float, ...], triangles: str | None, bins: int | tuple[float, ...], points: int
) -> tuple[Triangles, TrianglePlan, np.ndarray]:
    """Triangles, their plan, mean wavenumbers of their shells: the same for a reference, its halves and all else."""
    shape = all_triangles(grid, spacing, bins) if triangles == "all" else configurations(grid, spacing, points)
    return shape, TrianglePlan(grid, spacing, shape), _shell_wavenumbers(grid, spacing, shape)


def _inverse(ensemble: xr.Dataset) -> str:
    from physgen.diagnostics.spectrum import inverse_length

    return inverse_length(ensemble)


def _shell_wavenumbers(grid: Sequence[int], spacing: Sequence[float], triangles: Triangles) -> np.ndarray:
    r"""Mean \|k\| of the modes of each shell."""
    k = wavenumber(grid, spacing)
    weight = np.full(k.shape, 2.0)
    weight[..., 0] = 1.0
    inside = [(k >= low) & (k < high) for low, high in triangles.edges]
    return np.array([np.average(k[m], weights=weight[m]) if m.any() else np.nan for m in inside])


def _coordinates(ensemble: xr.Dataset, triangles: Triangles, k: np.ndarray) -> tuple[tuple[str, ...], dict[str, Any]]:
    if len(triangles.shape) == 1:
        said = {"long_name": "triangle of wavevectors", "units": "1"}
        return ("triangle",), {"triangle": (np.arange(1, triangles.shape[0] + 1), said)}
    side = k[1 : 1 + triangles.shape[1]]
    said = {"long_name": "wavenumber", "units": _inverse(ensemble), "symbol": "k", "scale": "log"}
    name = {"long_name": "triangles"}
    return ("configuration", "k"), {"configuration": (np.array(CONFIGURATIONS), name), "k": (side, said)}


def _said(ensemble: xr.Dataset, reduced: bool) -> dict[str, Any]:
    from physgen.diagnostics.result import length_unit
    from physgen.ensemble import space_dims

    length = length_unit(ensemble)
    units = "1" if reduced or length == "1" else f"({length})^{2 * len(space_dims(ensemble))}"
    said = {"diagnostic": "bispectrum", "kind": "curve", "units": units, "symbol": "Q" if reduced else "B"}
    said["long_name"] = "reduced bispectrum" if reduced else "bispectrum"
    said["convention"] = (
        "Q = B/(P1 P2 + P2 P3 + P3 P1) of each configuration, averaged. Equilateral: sides (k, k, k); squeezed: "
        "(lowest shell, k, k); folded: (k, k/2, k/2)."
    )
    return said | {"tolerance": 0.1, "tolerance_kind": "difference", "tolerance_of": "reduced bispectrum Q"}
