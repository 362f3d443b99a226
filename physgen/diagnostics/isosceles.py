r"""Bispectrum of isosceles triangles against the angle between their equal sides: the shape of clusters and filaments.

Squeezed and folded triangles are its ends, the equilateral one lies at :math:`2\pi/3`.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from physgen.diagnostics.bands import fundamental
from physgen.diagnostics.batches import each_sample
from physgen.diagnostics.bispectrum import TrianglePlan, permutations
from physgen.diagnostics.result import result_of_samples
from physgen.diagnostics.spectrum import inverse_length
from physgen.diagnostics.triangles import HALF_WIDTH, Triangles, reach
from physgen.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

    from physgen.diagnostics.batches import Transform

ANGLES = 8
FIRST, LAST = 0.2, 0.9  # of pi: the third side is long enough to be told from zero, short enough to be below its reach
SIDES = (0.4, 0.9)  # of the longest equal sides whose third side is still measured
FEWEST = 1.5  # fundamental wavenumbers of an equal side


def isosceles_triangles(grid: tuple[int, ...], spacing: tuple[float, ...]) -> tuple[Triangles, np.ndarray, np.ndarray]:
    r"""Triangles (k, k, :math:`2k\cos(\vartheta/2)`) of one or two sides k and ANGLES angles :math:`\vartheta`.

    Shells are 15 % of their wavenumber wide to either side, at least half a fundamental one.

    Returns:
        the triangles of shape (sides, angles), the sides (S,), the angles (A,) between the wavevectors of the equal
        sides in units of pi: 0 where they are parallel (folded), 1 where they cancel (squeezed).
    """
    unit, top = fundamental(grid, spacing), reach(grid, spacing)
    angle = np.linspace(FIRST, LAST, ANGLES)
    longest = (top - unit / 2) / max(1 + HALF_WIDTH, 2 * np.cos(np.pi * FIRST / 2) * (1 + HALF_WIDTH))
    sides = longest * np.array(SIDES)
    sides = sides[sides >= FEWEST * unit]
    if not len(sides):
        raise InputError(f"a grid of {tuple(grid)} cells is too small for isosceles triangles of waves: use more cells")
    third = 2 * sides[:, None] * np.cos(np.pi * angle / 2)  # |k1 + k2| for wavevectors at this angle
    k = np.concatenate([sides, third.ravel()])
    half = np.maximum(HALF_WIDTH * k, unit / 2)
    equal = np.repeat(np.arange(len(sides)), ANGLES)
    shells = np.stack([equal, equal, len(sides) + np.arange(len(sides) * ANGLES)], axis=1)
    return Triangles(np.stack([k - half, k + half], axis=1), shells, (len(sides), ANGLES)), sides, angle


@functools.lru_cache(maxsize=4)
def _planned(grid: tuple[int, ...], spacing: tuple[float, ...]) -> tuple[Any, ...]:
    triangles, sides, angle = isosceles_triangles(grid, spacing)
    return triangles, TrianglePlan(grid, spacing, triangles), sides, angle


def isosceles_bispectrum(ensemble: xr.Dataset, transform: Transform | None = None) -> xr.Dataset:
    r"""Reduced bispectrum :math:`Q = B/(P_1P_2+P_2P_3+P_3P_1)` of triangles (k, k, |k_1+k_2|) against their angle.

    Convention: that of :func:`physgen.diagnostics.bispectrum`; the angle is that between the wavevectors k_1 and k_2 of
    the equal sides, 0 where they are parallel. Gravity has Q larger at both ends than between them (filaments),
    Gaussian fields have Q = 0.

    Args:
        ensemble: periodic ``field`` in two or three dimensions.
        transform: None or a function, as in :func:`physgen.diagnostics.power_spectrum`.

    Returns:
        Dataset of kind curve over (``side``, ``angle``): ``value``, ``error`` over independent units, ``triples`` of
        modes averaged.

    Source: Scoccimarro 2015, arXiv:1506.02729, section 3; Q of the angle as in Scoccimarro 1997, astro-ph/9612207.
    """
    from physgen.ensemble import space_dims, spacing

    grid = tuple(ensemble.sizes[d] for d in space_dims(ensemble))
    triangles, plan, sides, angle = _planned(grid, tuple(spacing(ensemble)))

    def measure(values: np.ndarray) -> np.ndarray:
        found, power = plan.measure(values)
        scale = permutations(power, triangles.shells)
        return np.divide(found, scale, out=np.zeros_like(found), where=scale > 0)

    value = each_sample(ensemble, measure, transform)
    dims, units = ("side", "angle"), inverse_length(ensemble)
    coords = {
        "side": (sides, {"long_name": "equal sides", "units": units, "symbol": "k"}),
        "angle": (angle, {"long_name": "angle over pi", "symbol": r"\vartheta/\pi", "units": "1"}),
    }
    said: dict[str, Any] = {"diagnostic": "isosceles_bispectrum", "kind": "curve", "units": "1", "symbol": "Q"}
    said |= {"long_name": "reduced bispectrum", "tolerance": 0.1, "tolerance_kind": "difference"}
    said["tolerance_of"] = "reduced bispectrum Q"
    said["convention"] = (
        "Q = B/(P1 P2 + P2 P3 + P3 P1) of each configuration, averaged; two sides k, against their angle."
    )
    result = result_of_samples(ensemble, value.reshape(*value.shape[:2], *triangles.shape), dims, coords, **said)
    described = {"long_name": "closed triples of modes", "units": "1"}
    return result.assign(triples=(dims, plan.triples.reshape(triangles.shape), described))
