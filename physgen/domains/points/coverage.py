r"""Density and coverage (Naeem et al. 2020, arXiv:2002.09797), each over what equal laws give.

Around each of N anchors, reference vectors that are measured nowhere else, lies a ball that reaches to its k-th nearest
other anchor. With the indicator :math:`b_{ja}` that vector j of M lies in ball a, and :math:`h_a = \sum_j b_{ja}`,

.. math:: \mathrm{density} = \frac{1}{kM} \sum_{ja} b_{ja}, \qquad
          \mathrm{coverage}_m = \frac1N \sum_a \Big[1 - \binom{M - h_a}{m}\Big/\binom{M}{m}\Big],

the part of the balls that m of the vectors, drawn without replacement, would hit. For equal laws the density is 1 and
:math:`\langle\mathrm{coverage}_m\rangle = 1 - \prod_{i<k} (N - 1 - i)/(N - 1 + m - i)`, exactly, since all orders of
distances are equally likely. A density below 1 is fuzz between the data, a coverage below 1 a part that is missing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.special import gammaln

from physgen.diagnostics.batches import each_sample
from physgen.diagnostics.result import result_of_samples
from physgen.domains.points.frame import NEIGHBOURS, distances, frame_of
from physgen.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

FIGURES = ("density", "coverage")


def density_and_coverage(ensemble: xr.Dataset) -> xr.Dataset:
    """Both figures of a set of vectors in the frame of the reference; errors by jackknife, given the anchors.

    Returns:
        Dataset of kind scalar over ``figure``, 1 where the laws are equal.
    """
    frame = frame_of(ensemble)

    def inside(x: np.ndarray) -> np.ndarray:
        apart = distances(x, frame.anchors)
        return ((apart < frame.radii) & (apart > 0))[:, None]  # an anchor that is measured does not count for itself

    hit = each_sample(ensemble, inside)[:, 0]  # (M, N)
    anchors, draws = len(frame.anchors), max(1, min(len(frame.anchors), len(hit) // 2))
    neighbours = min(NEIGHBOURS, anchors - 1)
    if neighbours < 1:
        raise InputError("density and coverage need at least 2 vectors of a reference, got 1: give more")
    covered = covered_pseudo_values(hit, draws) / expected_coverage(anchors, draws, neighbours)
    per_sample = np.stack([hit.sum(1) / neighbours, covered], axis=1)
    described = {"long_name": "density, coverage", "units": "1", "flag_meanings": " ".join(FIGURES)}
    return result_of_samples(
        ensemble, per_sample[:, None], ("figure",), {"figure": (np.array([1, 2]), described)},
        diagnostic="density_and_coverage", kind="scalar", long_name="density and coverage over those of equal laws",
        units="1", tolerance=0.1, tolerance_kind="difference", tolerance_of="that of equal laws",
    )  # fmt: skip


def expected_coverage(anchors: int, draws: int, neighbours: int) -> float:
    """Mean coverage of N anchors by m draws of the same law, balls to the k-th nearest other anchor."""
    i = np.arange(neighbours)
    return float(1 - np.prod((anchors - 1 - i) / (anchors - 1 + draws - i)))


def covered_pseudo_values(hit: np.ndarray, draws: int) -> np.ndarray:
    """Jackknife pseudo-values (M,) of the coverage by ``draws`` < M of the M vectors that ``hit`` (M, N) balls.

    Their mean is the coverage: it is a mean over all subsets of so many vectors, of which the jackknife takes nothing.
    """
    count = len(hit)
    if count < 2:
        return hit.mean(1)
    hits = hit.sum(0)
    whole = _covered(hits, count, draws).mean()
    missed, lost = _covered(hits, count - 1, draws), _covered(np.maximum(hits - 1, 0), count - 1, draws)
    left_out = missed.mean() + hit @ (lost - missed) / hit.shape[1]
    return count * whole - (count - 1) * left_out


def _covered(hits: np.ndarray, count: int, draws: int) -> np.ndarray:
    """Probability that ``draws`` of ``count`` vectors, without replacement, hold one of the ``hits``."""
    rest = count - hits
    enough = rest >= draws
    ln_none = (
        gammaln(rest + 1) - gammaln(np.maximum(rest - draws, 0) + 1) - gammaln(count + 1) + gammaln(count - draws + 1)
    )
    return 1 - np.where(enough, np.exp(ln_none), 0.0)
