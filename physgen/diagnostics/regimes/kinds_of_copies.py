r"""Memorized, spurious, generalized: the three classes of generated configurations, with their rates on real data.

After Pham et al., arXiv:2505.21777, where patterns that a model repeats without having seen them are the spurious
states of an associative memory beyond its capacity.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from physgen.diagnostics.regimes.copies import Measure, check_shapes, distinct, measure_of

if TYPE_CHECKING:
    import xarray as xr

CLASSES = ("memorized", "spurious", "generalized")


def copy_classes(
    generated: Tensor,
    train: Tensor,
    heldout: Tensor,
    distance: str | Measure = "euclidean",
    rate: float = 0.01,
    seed: int = 0,
) -> xr.Dataset:
    r"""Parts of the generated configurations that are memorized, spurious, generalized.

    Memorized: nearer to a training configuration than :math:`\delta_m`. Spurious: not so, but nearer to another
    generated one than :math:`\delta_s`: a pattern that the model repeats and was never shown. Generalized: neither.
    Where the paper reads both distances off histograms, they are calibrated here on m held-out configurations:
    :math:`\delta_m` is the k-th smallest of their distances to the training set, :math:`k = \lfloor r (m + 1) \rfloor
    \ge 1`, below which a fresh independent configuration is with probability k/(m + 1). Nearest neighbours within a set
    come in pairs: :math:`\delta_s` is the distance of its j-th closest pair, :math:`j = \lfloor r m / 2 \rfloor \ge 1`,
    below which 2j/m of a fresh set are in the mean (where such pairs are rare). Generated and held-out sets are
    compared in equal numbers, since a larger set holds nearer neighbours. A distance of 0 to the training set is a copy
    whatever the thresholds: +-1 values that repeat by chance then show in ``real``.

    Args:
        generated, train, heldout: encoded configurations (n, C, \*grid) of independent units.
        distance: "euclidean", "field", "translations", "overlap", or a :class:`Measure`.
        rate: r, at which a real configuration may be called memorized, and again spurious.
        seed: of the choice of equal numbers and of the halves.

    Returns:
        Dataset over ``class``: ``value`` (part of the generated), ``error`` (binomial, at least one configuration),
        ``real`` and ``real_error``, the same of one random half of the held-out data by distances from the other
        half (mean of 64 such halves, error binomial of the halves' size; coarser where halves are small); ``rate``, the
        stated one, k/(m + 1) and 2j/m; 0-d ``memorized_below``, ``spurious_below``; ``label`` (n,) the class of each
        configuration.

    Raises:
        InputError: different shapes, fewer than 8 generated or held-out.

    Source: Pham et al., arXiv:2505.21777.
    """
    import xarray as xr

    check_shapes(generated, train, heldout)
    measure, rng = measure_of(distance), np.random.default_rng(seed)
    train = distinct(train, measure)
    count = min(len(generated), len(heldout))
    real = heldout[torch.as_tensor(rng.permutation(len(heldout))[:count])]
    to_train, real_to_train = (measure.between(x, train).amin(dim=1).numpy() for x in (generated, real))
    pairs = measure.between(real, real).fill_diagonal_(torch.inf).numpy()
    below, stated = _thresholds(real_to_train, pairs.min(axis=1), rate)
    label = _classes(to_train, _to_others(generated, count, measure, rng), *below)
    value = np.bincount(label, minlength=3) / len(label)
    null = np.mean([_classes_of_half(real_to_train, pairs, rate, rng) for _ in range(64)], axis=0)
    columns = {"value": value, "error": _binomial(value, len(label)), "real": null}
    columns |= {"real_error": _binomial(null, count // 2), "rate": np.append(stated, np.nan)}
    scalars = dict(zip(("memorized_below", "spurious_below"), below, strict=True))
    return xr.Dataset(
        {name: ("class", column) for name, column in columns.items()} | {"label": ("generated", label)} | scalars,
        coords={"class": list(CLASSES)},
        attrs={"diagnostic": "copy_classes", "n_train": len(train), "n_heldout": len(heldout)},
    )


def _thresholds(
    to_train: np.ndarray, to_others: np.ndarray, rate: float
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Distances below which real configurations are called memorized and spurious, and how often they are."""
    m = len(to_train)
    k, pair = max(int(rate * (m + 1)), 1), max(int(rate * m / 2), 1)
    below = float(np.sort(to_train)[k - 1]), float(np.sort(to_others)[2 * pair - 1])
    return below, (k / (m + 1), 2 * pair / m)


def _to_others(x: Tensor, count: int, measure: Measure, rng: np.random.Generator) -> np.ndarray:
    """Distance of each configuration to the nearest of ``count`` among the others, (n,)."""
    among = torch.as_tensor(rng.permutation(len(x))[:count])
    distance = measure.between(x, x[among])
    distance[among, torch.arange(count)] = torch.inf
    return distance.numpy().min(axis=1)


def _classes(to_train: np.ndarray, to_others: np.ndarray, memorized: float, spurious: float) -> np.ndarray:
    """0 memorized, 1 spurious, 2 generalized; a distance of 0 is a copy whatever the threshold."""
    near = (to_train < memorized) | (to_train == 0)
    return np.where(near, 0, np.where(to_others < spurious, 1, 2))


def _classes_of_half(to_train: np.ndarray, pairs: np.ndarray, rate: float, rng: np.random.Generator) -> np.ndarray:
    """Parts of the classes in one half of the real data, by thresholds of the other."""
    order = rng.permutation(len(to_train))
    one, other = order[: len(order) // 2], order[len(order) // 2 : 2 * (len(order) // 2)]
    mine, others = (pairs[np.ix_(half, half)].min(axis=1) for half in (one, other))
    label = _classes(to_train[one], mine, *_thresholds(to_train[other], others, rate)[0])
    return np.bincount(label, minlength=3) / len(label)


def _binomial(part: np.ndarray, count: int) -> np.ndarray:
    """Standard error of a part of ``count``; none found does not mean no error."""
    return np.sqrt(np.maximum(part * (1 - part), 1 / count) / count)
