"""Nearest training configuration of each query: modulo lattice symmetry, by overlap, or Euclidean. Torch only.

Legend: Q queries, T training configurations, C components, *grid lattice, D numbers per configuration, G symmetries.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from physgen.diagnostics.batches import shared_out
from physgen.diagnostics.shift_search import correlations
from physgen.diagnostics.spectrum import Array, as_tensor
from physgen.lattice import Symmetry, point_group

if TYPE_CHECKING:
    import xarray as xr

Search = Callable[..., Any]  # (query, train) -> Nearest
BLOCK = 2**24  # overlaps held at once by a thread


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
    prune: bool = True,
) -> Nearest:
    r"""Nearest neighbour modulo translations and the point group: :math:`\rho = \max_{g,s} \mathrm{corr}(g\,a, T_s b)`.

    :math:`\rho_{\max} = \max_s \mathrm{IFFT}(F_a F_b^*)_s / (|a||b|)` with the mean of each field subtracted; the
    distance of the normalised orbits is :math:`d = \sqrt{2(1-\rho)}`. Pairs and symmetries whose upper bound
    (:mod:`physgen.diagnostics.shift_bounds`) is below the second nearest are not transformed: the result is that of all
    Q T G inverse FFTs.

    Args:
        query, train: (Q, C, *grid) and (T, C, *grid), numpy or torch on one device; components are summed.
        group: "point", the reflections and the exchange of equal axes (:func:`physgen.lattice.point_group`), which is
            right for scalar components only; "none": the identity alone.
        spacing: cell size along each axis; axes of unequal cells are not exchanged. None where all are equal.
        periodic: whether opposite sides touch; if not, fields are compared in place, s = 0.
        prune: False to transform every pair.

    Returns:
        Nearest with similarity rho in [-1, 1]; nan for a constant query. A constant training field is nearest to none.
    """
    rho = field_correlations(query, train, group, spacing, periodic, prune)
    found = (rho > -torch.inf).any(dim=0)  # a constant training field, and one that is far from all, is nearest to none
    kept = np.append(found.nonzero().flatten().numpy(), -1)
    rho = rho[:, found] if len(kept) > 1 else torch.full((len(rho), 1), torch.nan)
    near = _two_nearest(rho, lambda s: np.sqrt(np.maximum(1 - s, 0)), tolerance=1e-5)
    return replace(near, index=kept[near.index], compared=len(train))


def field_correlations(
    query: Array,
    train: Array,
    group: str = "point",
    spacing: Sequence[float] | None = None,
    periodic: bool = True,
    prune: bool = False,
) -> torch.Tensor:
    r"""The correlation :math:`\rho_{\max}` of :func:`nearest_field` of every pair, (Q, T) on the CPU.

    -inf for a constant training field, and with ``prune`` where a pair is not among the two nearest of its query;
    nan for a constant query. Arguments as there.
    """
    query, train = _normalised(query), _normalised(train)
    varies = torch.isfinite(train.flatten(1)[:, 0])
    rho = torch.full((len(query), len(train)), -torch.inf)
    if varies.any():
        search = correlations if periodic else _in_place
        rho[:, varies.cpu()] = search(query, train[varies], _group(tuple(query.shape[2:]), group, spacing), prune).cpu()
    rho[query.flatten(1)[:, 0].cpu().isnan()] = torch.nan
    return rho


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
    """Mean 0 in each component, norm 1; nan where the values are constant up to rounding."""
    x = as_tensor(x).to(torch.float32)
    dims = tuple(range(2, x.ndim))
    centred = x - x.mean(dim=dims, keepdim=True)
    norm = centred.flatten(1).norm(dim=1)
    norm = torch.where(norm > 1e-6 * x.flatten(1).norm(dim=1), norm, torch.nan)
    return centred / norm.reshape(-1, *[1] * (x.ndim - 1))


def _in_place(query: torch.Tensor, train: torch.Tensor, symmetries: Sequence[Symmetry], prune: bool) -> torch.Tensor:
    """The largest correlation over symmetries of every pair without a shift, (Q, T)."""
    columns = train.flatten(1).T
    return torch.stack([g.move(query).flatten(1) @ columns for g in symmetries]).amax(dim=0)


def nearest_binary(query: Array, train: Array, fold: bool = True) -> Nearest:
    r"""Nearest neighbour by overlap :math:`o = |s\cdot s^\mu|/N` of +-1 values; Hamming distance is :math:`N(1-o)/2`.

    Args:
        query, train: (Q, ...) and (T, ...) of +-1, flattened to D = N sites.
        fold: s and -s count as one (no external field); else the signed overlap.

    Returns:
        Nearest with similarity o.
    """
    query, train = (as_tensor(x).flatten(1).to(torch.float32) for x in (query, train))
    rows, threads = max(1, BLOCK // len(train)), torch.get_num_threads() if query.device.type == "cpu" else 1

    def nearest(block: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        agreement = block @ train.T  # whole numbers
        top = torch.topk(agreement.abs_() if fold else agreement, min(2, len(train)), dim=1)
        return top.values.cpu() / query.shape[1], top.indices.cpu()

    blocks = query.split(min(rows, max(1, math.ceil(len(query) / threads))))
    found = shared_out(nearest, blocks) if query.device.type == "cpu" else [nearest(block) for block in blocks]
    values, index = (torch.cat(parts) for parts in zip(*found, strict=True))
    return _nearest(values, index, len(train), lambda s: 1 - s, tolerance=1e-6)


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
    top = torch.topk(similarity, min(2, similarity.shape[1]), dim=1)
    return _nearest(top.values, top.indices, similarity.shape[1], distance, tolerance)


def _nearest(
    similarity: torch.Tensor,
    index: torch.Tensor,
    count: int,
    distance: Callable[[np.ndarray], np.ndarray],
    tolerance: float,
) -> Nearest:
    """Of the top two (Q, 2) among ``count``, or the only one (Q, 1)."""
    values, places = similarity.numpy().astype(float), index.numpy()
    if count == 1:
        values, places = np.c_[values, np.full(len(values), np.nan)], np.c_[places, -np.ones_like(places)]
    d = distance(values)
    with np.errstate(invalid="ignore", divide="ignore"):
        gap = np.where(d[:, 1] > 0, d[:, 0] / d[:, 1], 1.0)  # two equal copies in the training set: no gap
    gap = np.where(np.isnan(d[:, 1]), np.nan, gap)
    return Nearest(values, places, gap, values[:, 0] >= 1 - tolerance, count)
