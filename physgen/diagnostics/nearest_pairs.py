r"""The nearest training configurations to look at: both fields of a pair after the move that makes them most alike.

Legend: Q queries, T training configurations, C components, \*grid lattice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from physgen.diagnostics.spectrum import as_tensor
from physgen.lattice import Symmetry, point_group

if TYPE_CHECKING:
    from physgen.diagnostics.nearest import Nearest


def best_move(
    query: np.ndarray, other: np.ndarray, spacing: Sequence[float] | None = None, periodic: bool = True
) -> tuple[Symmetry, float]:
    r"""The symmetry g of the box that maximises :math:`\mathrm{corr}(a, g\,b)`, and that correlation.

    Args:
        query, other: a and b, (C, \*grid). spacing: cell sizes; None for equal ones.
        periodic: whether fields may be shifted; else the point group alone.
    """
    a, b = (_unit(as_tensor(np.ascontiguousarray(x))) for x in (query, other))
    grid, found = tuple(a.shape[1:]), (-2.0, Symmetry())
    axes = tuple(range(1, a.ndim))
    for g in point_group(grid, spacing):
        moved = g.move(b[None])[0]
        if not periodic:
            value, shift = float((a * moved).sum()), tuple[int, ...]()
        else:
            modes = torch.fft.rfftn(a, dim=axes) * torch.fft.rfftn(moved, dim=axes).conj()
            overlap = torch.fft.irfftn(modes.sum(0), s=grid)
            value = float(overlap.max())
            shift = tuple(int(i) for i in np.unravel_index(int(overlap.argmax()), grid))
        if value > found[0]:
            found = value, Symmetry(g.axes, g.mirrored, shift)
    return found[1], found[0]


def _unit(x: torch.Tensor) -> torch.Tensor:
    centred = x.double() - x.double().mean(dim=tuple(range(1, x.ndim)), keepdim=True)
    return centred / centred.norm().clamp_min(torch.finfo(torch.float64).tiny)


def likest_pairs(
    queries: Mapping[str, tuple[np.ndarray, Nearest]],
    train: np.ndarray,
    dims: Sequence[str],
    spacing: Sequence[float],
    periodic: bool = True,
    count: int = 3,
) -> dict[str, tuple[tuple[str, ...], Any] | tuple[tuple[str, ...], Any, dict[str, str]]]:
    r"""The likest pairs of each kind of query with the training set, as variables of the memorization test.

    Args:
        queries: name -> fields (Q, C, \*grid) and the nearest training configurations of each.
        train: (T, C, \*grid). dims: names of the axes of the grid. spacing, periodic: of :func:`best_move`.
        count: pairs of each kind, the most similar first; as many of each.

    Returns:
        ``pair_field`` (kind, pair, side, \*dims), the first component of each field less its mean over its standard
        deviation, ``pair_similarity`` (kind, pair), the correlation after the best move, and ``kind``.
    """
    count = min(count, *(len(fields) for fields, _ in queries.values()))
    shown, similar = [], []
    for fields, nearest in queries.values():
        order = np.argsort(-np.nan_to_num(nearest.similarity[:, 0], nan=-np.inf), kind="stable")[:count]
        for query in order:
            one, other = fields[query], train[nearest.index[query, 0]]
            move, value = best_move(one, other, spacing, periodic)
            moved = move.move(as_tensor(np.ascontiguousarray(other))[None])[0].numpy()
            shown.append([_standard(one[0]), _standard(moved[0])])
            similar.append(value)
    said = {"long_name": "map less its mean over its standard deviation", "units": "1"}
    stacked = np.reshape(np.asarray(shown, np.float32), (len(queries), count, 2, *train.shape[2:]))
    return {
        "kind": (("kind",), list(queries)),
        "pair_field": (("kind", "pair", "side", *dims), stacked, said),
        "pair_similarity": (("kind", "pair"), np.reshape(similar, (len(queries), count)), {"units": "1"}),
    }


def _standard(x: np.ndarray) -> np.ndarray:
    return (x - x.mean()) / (x.std() or 1.0)
