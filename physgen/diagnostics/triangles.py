"""Triangles of waves: which triples of shells of wavenumbers a bispectrum is taken at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from physgen.diagnostics.bands import fundamental
from physgen.errors import InputError

HALF_WIDTH = 0.15  # of a shell, in units of its wavenumber; at least half a fundamental wavenumber
STEP = 1.35  # smallest ratio of neighbouring wavenumbers: shells of half-width 0.15 just touch


@dataclass(frozen=True)
class Triangles:
    """Triples of shells of wavenumbers."""

    edges: np.ndarray  # (S, 2)
    shells: np.ndarray  # (T, 3) which shells
    shape: tuple[int, ...]  # of the result: (3, K) for the configurations, (T,) for all


def reach(grid: Sequence[int], spacing: Sequence[float]) -> float:
    """Largest wavenumber of a shell: two thirds of Nyquist, beyond which triangles close over the lattice's edge."""
    return 2 / 3 * np.pi / max(spacing) * (1 - 1e-9)


def configurations(grid: Sequence[int], spacing: Sequence[float], points: int = 5) -> Triangles:
    r"""Equilateral (k, k, k), squeezed (k_long, k, k) and folded (k, k/2, k/2) triangles at a few wavenumbers.

    The wavenumbers are geometric, from 5.5 fundamental ones to two thirds of Nyquist; k_long is the lowest shell, half
    to two and a half of the fundamental.
    """
    unit, top = fundamental(grid, spacing), reach(grid, spacing)
    highest = min(top / (1 + HALF_WIDTH), top - unit / 2)
    if highest < 2 * unit:
        raise InputError(f"a grid of {tuple(grid)} cells is too small for triangles of waves: use 8 cells or more")
    lowest = min(5.5 * unit, highest)
    count = min(points, int(np.log(highest / lowest) / np.log(STEP) * (1 + 1e-9)) + 1)
    k = np.geomspace(lowest, highest, count) if count > 1 else np.array([highest])
    half = [np.maximum(HALF_WIDTH * q, unit / 2) for q in (k, k / 2)]
    long = unit * np.array([[0.5, 2.5 if lowest >= 5 * unit else 1.5]])
    edges = np.concatenate([long, *(np.stack([q - h, q + h], 1) for q, h in zip((k, k / 2), half, strict=True))])
    side, folded = 1 + np.arange(count), 1 + count + np.arange(count)
    zero = np.zeros(count, int)
    shells = [np.stack(t, 1) for t in ((side, side, side), (zero, side, side), (side, folded, folded))]
    return Triangles(edges, np.concatenate(shells), (3, count))
