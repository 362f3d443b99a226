"""Nearest training configuration of each query: modulo lattice symmetry, by spin overlap, or Euclidean. Torch only.

Legend: Q queries, T training configurations, C components, *grid lattice, D numbers per configuration, G symmetries.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from physgen.diagnostics.spectrum import Array, as_tensor
from physgen.lattice import Symmetry, multiplicity, point_group

# numbers held at once in a block of comparisons: a processor's cache, or a fair share of an accelerator's memory
CHUNK = {"cpu": 2**18, "cuda": 2**26}


if TYPE_CHECKING:
    import xarray as xr

Search = Callable[..., Any]  # (query, train) -> Nearest


@dataclass(frozen=True)
class Nearest:
    """The two nearest training configurations of each query, the nearest first."""

    similarity: np.ndarray  # (Q, 2) decreasing; its meaning is the function's that made it
    index: np.ndarray  # (Q, 2) positions in the training set
    gap: np.ndarray  # (Q,) d1/d2, distance to the nearest over distance to the second nearest
    duplicate: np.ndarray  # (Q,) bool: equal to its nearest up to rounding and symmetry
    compared: int  # configurations that each query was compared with (symmetries not counted)


def nearest_field(
    query: Array,
    train: Array,
    group: str = "point",
    spacing: Sequence[float] | None = None,
    periodic: bool = True,
) -> Nearest:
    r"""Nearest neighbour modulo translations and the point group: :math:`\rho = \max_{g,s} \mathrm{corr}(g\,a, T_s b)`.

    :math:`\rho_{\max} = \max_s \mathrm{IFFT}(F_a F_b^*)_s / (|a||b|)` with the mean of each field subtracted; the
    distance of the normalised orbits is :math:`d = \sqrt{2(1-\rho)}`. Cost: Q T G inverse FFTs.

    Args:
        query, train: (Q, C, *grid) and (T, C, *grid), numpy or torch on one device; components are summed.
        group: "point", the reflections and the exchange of equal axes (:func:`physgen.lattice.point_group`), which is
            right for scalar components only; "none": the identity alone.
        spacing: cell size along each axis; axes of unequal cells are not exchanged. None where all are equal.
        periodic: whether opposite sides touch; if not, fields are compared in place, s = 0.

    Returns:
        Nearest with similarity rho in [-1, 1]; nan for a constant field.
    """
    query, train = _normalised(query), _normalised(train)
    grid = tuple(query.shape[2:])
    dims = tuple(range(-len(grid), 0))
    f_train = torch.fft.rfftn(train, dim=dims).conj()  # (T, C, *half)
    peak = _peak if periodic else _in_place
    cells = int(np.prod(grid))
    pairs = max(1, CHUNK.get(query.device.type, 2**18) // cells)
    columns = min(len(train), pairs)
    rows = max(1, pairs // columns)
    rho = torch.empty(len(query), len(train))
    for q in range(0, len(query), rows):
        best = torch.full((len(query[q : q + rows]), len(train)), -torch.inf, device=query.device)
        for g in _group(grid, group, spacing):
            f_query = torch.fft.rfftn(g.move(query[q : q + rows]), dim=dims)
            parts = [peak(f_query, f_train[t : t + columns], grid, dims) for t in range(0, len(train), columns)]
            best = torch.maximum(best, torch.cat(parts, dim=1))
        rho[q : q + rows] = best.cpu()
    return _two_nearest(rho, lambda s: np.sqrt(np.maximum(1 - s, 0)), tolerance=1e-5)


def in_box(search: Search, ensemble: xr.Dataset) -> tuple[Search, int]:
    """A search among fields that follows the box of an ensemble, and the number of symmetries that it goes through.

    The box: cells from the coordinates, and whether opposite sides touch from the attribute ``periodic`` (1 if absent).
    Other searches stay as they are, with one symmetry.
    """
    from physgen.ensemble import space_dims, spacing

    given = search.keywords if isinstance(search, partial) else {}
    if (search.func if isinstance(search, partial) else search) is not nearest_field:
        return search, 1
    steps, grid = spacing(ensemble), [ensemble.sizes[d] for d in space_dims(ensemble)]
    count = len(_group(grid, given.get("group", "point"), steps))
    return partial(search, spacing=steps, periodic=bool(int(ensemble.attrs.get("periodic", 1)))), count


def _group(grid: Sequence[int], group: str, spacing: Sequence[float] | None) -> tuple[Symmetry, ...]:
    """Symmetries besides translations."""
    if group not in ("point", "none"):
        raise ValueError(f"group must be 'point' or 'none', got {group!r}")
    return point_group(grid, spacing) if group == "point" else (Symmetry(),)


def _normalised(x: Array) -> torch.Tensor:
    x = as_tensor(x).to(torch.float32)
    dims = tuple(range(2, x.ndim))
    x = x - x.mean(dim=dims, keepdim=True)
    return x / x.flatten(1).norm(dim=1).reshape(-1, *[1] * (x.ndim - 1))


def _peak(f_query: torch.Tensor, f_train: torch.Tensor, grid: tuple[int, ...], dims: tuple[int, ...]) -> torch.Tensor:
    """Largest value over shifts of the cross correlation of every pair, (q, C, *half) x (t, C, *half) -> (q, t)."""
    cross = sum(f_query[:, None, c] * f_train[None, :, c] for c in range(f_query.shape[1]))
    return torch.fft.irfftn(cross, s=grid, dim=dims).flatten(2).amax(dim=2)


def _in_place(
    f_query: torch.Tensor, f_train: torch.Tensor, grid: tuple[int, ...], dims: tuple[int, ...]
) -> torch.Tensor:
    """The cross correlation of every pair without a shift, by Parseval's theorem."""
    cells = int(np.prod(grid))
    weight = multiplicity(grid).to(f_query.device)
    left, right = (torch.view_as_real(f).flatten(1) for f in (f_query * weight, f_train.conj()))
    return left @ right.T / cells


def nearest_spins(query: Array, train: Array, fold: bool = True) -> Nearest:
    r"""Nearest neighbour by overlap :math:`o = |s\cdot s^\mu|/N` of +-1 spins; Hamming distance is :math:`N(1-o)/2`.

    Args:
        query, train: (Q, ...) and (T, ...) of +-1, flattened to D = N spins.
        fold: s and -s count as one (no external field); else the signed overlap.

    Returns:
        Nearest with similarity o.
    """
    query, train = (as_tensor(x).flatten(1).to(torch.float32) for x in (query, train))
    rows = max(1, 2**24 // len(train))
    blocks = []
    for q in range(0, len(query), rows):
        overlap = query[q : q + rows] @ train.T / query.shape[1]
        blocks.append((overlap.abs() if fold else overlap).cpu())
    return _two_nearest(torch.cat(blocks), lambda s: 1 - s, tolerance=1e-6)


def nearest_euclidean(query: Array, train: Array) -> Nearest:
    r"""Nearest neighbour by Euclidean distance; similarity is :math:`-d`, gap is :math:`d_1/d_2`.

    Args:
        query, train: (Q, ...) and (T, ...), flattened to D numbers.
    """
    query, train = (as_tensor(x).flatten(1).to(torch.float64) for x in (query, train))
    # the direct difference: |a|^2 + |b|^2 - 2ab would lose the small distances of copies to rounding
    distance = torch.cdist(query, train, compute_mode="donot_use_mm_for_euclid_dist")
    scale = train.norm(dim=1).mean().item() or 1.0
    found = _two_nearest(-distance.cpu(), lambda s: -s, tolerance=0.0)
    duplicate = -found.similarity[:, 0] <= 1e-6 * scale
    return Nearest(found.similarity, found.index, found.gap, duplicate, found.compared)


def _two_nearest(similarity: torch.Tensor, distance: Callable[[np.ndarray], np.ndarray], tolerance: float) -> Nearest:
    """Top two of each row of (Q, T); gap from ``distance(similarity)``."""
    count = similarity.shape[1]
    top = torch.topk(similarity, min(2, count), dim=1)
    values, index = top.values.numpy().astype(float), top.indices.numpy()
    if count == 1:
        values, index = np.c_[values, np.full(len(values), np.nan)], np.c_[index, -np.ones_like(index)]
    d = distance(values)
    with np.errstate(invalid="ignore", divide="ignore"):
        gap = np.where(d[:, 1] > 0, d[:, 0] / d[:, 1], 1.0)  # two equal copies in the training set: no gap
    gap = np.where(np.isnan(d[:, 1]), np.nan, gap)
    return Nearest(values, index, gap, values[:, 0] >= 1 - tolerance, count)
