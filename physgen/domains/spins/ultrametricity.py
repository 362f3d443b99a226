r"""Whether the states of a glass form a tree: of three replicas, how the two smaller overlaps differ.

On a tree any three leaves have overlaps :math:`q_1 \ge q_2 = q_3`. The statistic is the law of
:math:`K = (q_2 - q_3)/\sigma(q)` over triples of replicas of one instance, sorted
:math:`q_1 \ge q_2 \ge q_3`, with :math:`\sigma(q)` the width of P(q): ultrametric where it narrows to 0 as N grows.
After Katzgraber and Hartmann, Phys. Rev. Lett. 102, 037207 (2009), arXiv:0807.3513; here every triple counts.
Without a field |q| takes the place of q, as the global flip of a replica changes the sign of two of the overlaps.

Neither is of the set that ``physgen evaluate`` judges by: call them on an ensemble.
Legend: D disorder instances, T temperatures, R replicas, N spins.
"""

from __future__ import annotations

from functools import partial
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from physgen.domains.spins.glass_statistics import overlap_matrix
from physgen.domains.spins.layout import disorder_of
from physgen.domains.spins.measurement import Tolerance, measured, pair_mean, spins_of

if TYPE_CHECKING:
    import xarray as xr

GROUP = 48  # replicas among which all triples are formed, 17296
STEPS = 400  # into which the law of q2 - q3 is divided at most
WIDEST, BINS = 4.0, 20  # bins of K; what lies beyond falls into the last one
SMALLEST_WIDTH = 1e-9  # of P(q), to divide by


# --- array functions ----------------------------------------------------------------------------


def triple_differences(overlaps: np.ndarray) -> np.ndarray:
    """The middle minus the smallest of the overlaps of each triple of replicas, (..., R, R) -> (..., M), R >= 3.

    All triples of up to 48 replicas; of more, all triples within groups of at most 48, replicas r, r + G, r + 2G, ...
    """
    replicas = overlaps.shape[-1]
    groups = -(-replicas // GROUP)
    members = [np.arange(start, replicas, groups) for start in range(groups)]
    a, b, c = np.concatenate([one[list(combinations(range(len(one)), 3))] for one in members if len(one) > 2]).T
    ordered = np.sort(np.stack([overlaps[..., a, b], overlaps[..., b, c], overlaps[..., a, c]]), axis=0)
    difference: np.ndarray = ordered[1] - ordered[0]
    return difference


def overlap_width(moments: np.ndarray) -> np.ndarray:
    r""":math:`\sigma(q) = \sqrt{[\langle q^2\rangle] - [\langle q\rangle]^2}` of both moments (..., 2), q first."""
    return np.sqrt(np.maximum(moments[..., 1] - moments[..., 0] ** 2, SMALLEST_WIDTH**2))


def law_of_ratio(differences: np.ndarray, width: np.ndarray, spacing: float) -> np.ndarray:
    r"""Density of K in 20 bins over [0, 4] from the law of :math:`q_2 - q_3` on the multiples of ``spacing``.

    Each multiple n counts evenly over :math:`[n - \frac12, n + \frac12]` spacings, reflected at 0, so that bins do not
    show the steps of the overlap.

    Args:
        differences: (..., n), probabilities. width: (...), sigma(q) > 0.
    """
    edges = np.linspace(0, WIDEST, BINS + 1)
    edges[-1] = np.inf
    place = np.minimum(edges * width[..., None] / spacing, differences.shape[-1])  # in spacings
    upto = place[..., None] - np.arange(differences.shape[-1])
    share = np.clip(upto + 0.5, 0, 1)
    share[..., 0] = np.clip(2 * place, 0, 1)
    below = np.einsum("...jn,...n->...j", share, differences)
    density: np.ndarray = np.diff(below, axis=-1) * BINS / WIDEST
    return density


# --- ensembles ----------------------------------------------------------------------------------


def ultrametricity(ensemble: xr.Dataset) -> xr.Dataset:
    r"""Mean of :math:`K = (q_2 - q_3)/\sigma(q)` over ``temperature``: [<q_2 - q_3>] over the width of the mean P(q).

    Needs 3 replicas. Disorder is averaged before the ratio; errors by jackknife over instances, of which
    :math:`\sigma(q)` is a part. 0 on a tree of states.
    """
    spins_of(ensemble, 3)
    attrs: dict[str, Any] = {"long_name": "mean deviation from ultrametricity", "units": "1"}
    attrs["symbol"] = r"[\langle K\rangle]"
    attrs |= {"diagnostic": "ultrametricity", "kind": "scalar", "convention": _convention(ensemble)}

    def estimate(part: xr.Dataset) -> np.ndarray:
        overlaps = _overlaps(part)
        differences = np.stack([triple_differences(one).mean(axis=-1) for one in overlaps])
        return np.stack([pair_mean(overlaps), pair_mean(overlaps**2), differences], axis=-1)

    def ratio(moments: np.ndarray) -> np.ndarray:
        return np.asarray(moments[..., 2] / overlap_width(moments[..., :2]))

    return measured(ensemble, estimate, {}, Tolerance(0.1, "difference", "K"), ratio, **attrs)


def ultrametricity_law(ensemble: xr.Dataset) -> xr.Dataset:
    """Density of K over ``temperature`` and ``K``, 20 bins over [0, 4]; see :func:`ultrametricity`."""
    count = spins_of(ensemble, 3).shape[-1]
    spacing = 2 / count * -(-count // STEPS)  # a whole number of the steps of the overlap
    attrs: dict[str, Any] = {"long_name": "law of the deviation from ultrametricity", "units": "1", "symbol": "P(K)"}
    attrs |= {"diagnostic": "ultrametricity_law", "kind": "histogram", "measure": "density"}
    centres = (np.arange(BINS) + 0.5) * WIDEST / BINS
    axis = {"long_name": "difference of the smaller overlaps over the width of P(q)", "units": "1", "symbol": "K"}

    def estimate(part: xr.Dataset) -> np.ndarray:
        overlaps = _overlaps(part)
        counts = np.array([[_counted(row, spacing) for row in one] for one in overlaps])
        return np.concatenate([np.stack([pair_mean(overlaps), pair_mean(overlaps**2)], axis=-1), counts], axis=-1)

    law = partial(law_of_ratio, spacing=spacing)
    result = measured(
        ensemble, estimate, {"K": (centres, axis)}, Tolerance(0.05, "distribution", "probability"),
        lambda m: law(m[..., 2:], overlap_width(m[..., :2])), convention=_convention(ensemble), **attrs,
    )  # fmt: skip
    return result.assign(width=("K", np.full(BINS, WIDEST / BINS), {"long_name": "width of the bin", "units": "1"}))


def _overlaps(ensemble: xr.Dataset) -> np.ndarray:
    """Overlaps (D, T, R, R), moduli where the global flip is a symmetry."""
    overlaps = overlap_matrix(spins_of(ensemble, 3))
    return overlaps if _in_a_field(ensemble) else np.abs(overlaps)


def _in_a_field(ensemble: xr.Dataset) -> bool:
    outer = disorder_of(ensemble).external_field
    return outer is not None and bool(np.any(outer))


def _convention(ensemble: xr.Dataset) -> str:
    folded = "q" if _in_a_field(ensemble) else "the modulus of q"
    return f"K = (q2 - q3)/sigma, q1 >= q2 >= q3 of three replicas, of {folded}; sigma of [P]; jackknife over disorder."


def _counted(overlaps: np.ndarray, spacing: float) -> np.ndarray:
    """Law of the differences of one (R, R) on multiples of ``spacing``, up to 2."""
    steps = np.rint(triple_differences(overlaps) / spacing).astype(np.int64)
    return np.bincount(steps, minlength=int(2 / spacing) + 2) / len(steps)
