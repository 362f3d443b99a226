"""Does a model copy its training set? Nearest training configuration of generated data beside that of held-out data.

Held-out configurations are compared with the same training set as the generated ones, so both nearest similarities
are extremes of the same number of comparisons, and their law is the null: no threshold is guessed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from physgen.diagnostics.copy_verdict import FIGURES, finding
from physgen.diagnostics.copying import FEWEST, find_copies
from physgen.diagnostics.leak import leaked_rows, with_leak
from physgen.diagnostics.nearest import Nearest, in_box, nearest_binary, nearest_euclidean, nearest_field
from physgen.diagnostics.nearest_pairs import likest_pairs
from physgen.diagnostics.result import make_result, units
from physgen.diagnostics.spectrum import transformed
from physgen.diagnostics.two_sample import auc, ks_p_value, ks_statistic, resample
from physgen.diagnostics.verdict import Verdict
from physgen.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

    from physgen.diagnostics.batches import Transform


Pairs = tuple[np.ndarray, np.ndarray]  # of the generated and of the held-out configurations
Search = Callable[[np.ndarray, np.ndarray], Nearest]
ARRAYS = ("similarity", "index", "gap", "duplicate")  # of Nearest
GAP = 1 / 3  # d1/d2 below which a configuration counts as memorised (Yoon et al. 2023; Bonnaire et al. 2505.17638)
DRAWS = 200
SEARCHES: dict[str, Callable[..., Any]] = {
    "field": nearest_field,
    "translations": partial(nearest_field, group="none"),
    "overlap": nearest_binary,
    "euclidean": nearest_euclidean,
}
TOLERANCE = 0.01  # accepted part of copies
FALSE_ALARMS = 0.001
LIMIT = 3.2e10  # numbers compared, symmetries included: a minute of one processor for fields, half of it if pruned


def memorization(
    generated: xr.Dataset,
    train: xr.Dataset,
    heldout: xr.Dataset,
    similarity: str = "field",
    transform: Transform | None = None,
    limit: float = LIMIT,
    seed: int = 0,
    tolerance: float = TOLERANCE,
    false_alarms: float = FALSE_ALARMS,
) -> xr.Dataset:
    r"""Nearest-neighbour memorization test of an ensemble against held-out data.

    Held-out configurations that are in the training set, or share an independent unit with it, are no null: they are
    taken out of it, and where that leaves fewer than 8 the verdict rests on exact duplicates alone and is never pass.

    Args:
        generated, train, heldout: ensembles on one lattice; held-out and training data share no unit
            (where samples are independent given the conditions of a unit, ``unit_within``, they may: then each
            configuration is compared with those under its own conditions).
        similarity: "field": correlation coefficient, maximal over translations and the point group of the lattice;
            "translations": the same over translations alone (for 3-D at less cost);
            "overlap": of +-1 values, \|s.s'\|/N up to a global flip; "euclidean": minus the distance.
        transform: None or a function of the fields, applied before.
        limit: most numbers to compare (configurations times training set times symmetries times cells). Above it fewer
            configurations, at least 20 and chosen by ``seed``, are tested. The training set is never thinned.
        seed: of that choice, the permutations and the bootstrap.
        tolerance, false_alarms: of :func:`memorization_test`.

    Returns:
        Dataset of :func:`memorization_test`; of fields with the likest pairs of each kind to look at, ``pair_field``
        (kind, pair, side, \*grid) and ``pair_similarity`` (:func:`physgen.diagnostics.nearest_pairs.likest_pairs`).
    """
    if similarity not in SEARCHES:
        raise InputError(f"similarity {similarity!r} is unknown: choose one of {', '.join(SEARCHES)}")
    rng = np.random.default_rng(seed)
    arrays = {name: transformed(e, transform) for name, e in (("g", generated), ("t", train), ("h", heldout))}
    _check_lattices(arrays)
    search, symmetries = in_box(SEARCHES[similarity], train)
    allowed = int(limit / (2 * arrays["t"].size * symmetries))
    found, labels, groups, queries = {}, {}, {}, {}
    for name, ensemble in (("g", generated), ("h", heldout)):
        queries[name] = rows = np.sort(rng.permutation(len(arrays[name]))[: max(allowed, 20)])
        found[name] = _nearest(arrays[name], arrays["t"], _same_conditions(ensemble, train), rows, search)
        labels[name], groups[name] = _unit_labels(ensemble, rows)
        if name == "h":
            leaked = leaked_rows(found["h"], heldout, train, rows, similarity)
    null, kept = found["h"], np.flatnonzero(~leaked)
    if len(kept) >= FEWEST:  # else the verdict rests on exact duplicates alone, see with_leak
        null, queries["h"] = _chosen(null, kept), queries["h"][kept]
        labels["h"], groups["h"] = None if labels["h"] is None else labels["h"][kept], groups["h"][kept]
    result = memorization_test(
        found["g"], null, labels["g"], labels["h"], seed=seed, groups=(groups["g"], groups["h"]),
        distance=similarity == "euclidean", tolerance=tolerance, false_alarms=false_alarms,
    )  # fmt: skip
    facts = {"similarity": similarity, "n_train": len(arrays["t"]), "leaked": int(leaked.sum())}
    if similarity == "field":
        shown = {n: (arrays[n][rows], null if n == "h" else found[n]) for n, rows in queries.items()}
        result = result.assign(_pairs_of(shown, arrays["t"], train))
    return with_leak(result, leaked, heldout).assign_attrs(facts)


def _pairs_of(queries: dict[str, tuple[np.ndarray, Nearest]], train: np.ndarray, ensemble: xr.Dataset) -> Any:
    """The likest pairs, to look at: ``pair_field``, ``pair_similarity``."""
    from physgen.ensemble import space_dims, spacing

    periodic = bool(int(ensemble.attrs.get("periodic", 1)))
    queries = {{"g": "generated", "h": "held-out"}[name]: fields for name, fields in queries.items()}
    return likest_pairs(queries, train, space_dims(ensemble), spacing(ensemble), periodic)


def _check_lattices(arrays: dict[str, np.ndarray]) -> None:
    shapes = {a.shape[1:] for a in arrays.values()}
    if len(shapes) > 1 or len(arrays["t"]) < 2:
        raise InputError(
            f"configurations of shapes {sorted(map(str, shapes))} against {len(arrays['t'])} training configurations: "
            "memorization needs one lattice and at least 2 training configurations"
        )


def _chosen(nearest: Nearest, rows: np.ndarray) -> Nearest:
    similarity, index, gap, duplicate = (getattr(nearest, name)[rows] for name in ARRAYS)
    return Nearest(similarity, index, gap, duplicate, nearest.compared)


def _unit_labels(ensemble: xr.Dataset, rows: np.ndarray) -> tuple[np.ndarray | None, np.ndarray]:
    """Name of the unit of each row (None where every row is independent), and its point of the kept dims."""
    group = units(ensemble)
    kept = max(int(np.prod(group.shape)), 1)
    ids = np.arange(group.count) if group.ids is None and group.count < len(group.index) else group.ids
    unit = None if ids is None else np.asarray(ids)[group.index[rows] // kept]
    return unit, group.index[rows] % kept


def _same_conditions(ensemble: xr.Dataset, train: xr.Dataset) -> Pairs | None:
    """Conditions of the samples of both by their digest, if the training set holds all those of the ensemble.

    Only where samples are independent given the conditions of their unit: a configuration is then compared with those
    under the same conditions.
    """
    from physgen.diagnostics.conditions import entry_conditions
    from physgen.ensemble import at_samples, independent_units

    labels = []
    for one in (ensemble, train):
        unit = independent_units(one)
        known = None if unit.within is None or unit.condition_dim is None else entry_conditions(one, unit.condition_dim)
        if known is None:
            return None
        labels.append(at_samples(one, str(unit.condition_dim), known))
    mine, theirs = labels
    return (mine, theirs) if np.isin(mine, theirs).all() else None


def _nearest(queries: np.ndarray, train: np.ndarray, pairs: Pairs | None, rows: np.ndarray, search: Search) -> Nearest:
    if pairs is None:
        return search(queries[rows], train)
    mine, theirs = pairs[0][rows], pairs[1]
    parts = {}
    for name in np.unique(mine):
        at, members = np.flatnonzero(mine == name), np.flatnonzero(theirs == name)
        one = search(queries[rows[at]], train[members])
        parts[name] = (at, Nearest(one.similarity, members[one.index], one.gap, one.duplicate, one.compared))
    order = np.argsort(np.concatenate([at for at, _ in parts.values()]))
    similarity, index, gap, duplicate = (
        np.concatenate([getattr(p, f) for _, p in parts.values()])[order] for f in ARRAYS
    )
    return Nearest(similarity, index, gap, duplicate, max(p.compared for _, p in parts.values()))


def memorization_test(
    generated: Nearest,
    heldout: Nearest,
    generated_unit: np.ndarray | None = None,
    heldout_unit: np.ndarray | None = None,
    level: float | None = None,
    seed: int = 0,
    groups: Pairs | None = None,
    distance: bool = False,
    tolerance: float = TOLERANCE,
    false_alarms: float = FALSE_ALARMS,
) -> xr.Dataset:
    r"""Compare the nearest similarities of generated and held-out configurations to one training set.

    Figures, each with an ``_error`` (bootstrap over units, at least one configuration):
    ``auc`` = P(generated is nearer than held-out), 1/2 without memorization; ``fraction_above_null`` of generated
    configurations nearer than the ``level`` quantile of held-out ones, ``copied_fraction`` = the excess
    :math:`(f - f_0)/(1 - f_0)` over the held-out fraction :math:`f_0`; ``gap_fraction``, the same excess for the gap
    :math:`d_1/d_2` below the held-out quantile, which a merely smoother law hardly moves; ``f_mem``, part with
    :math:`d_1/d_2 < 1/3`, and ``f_mem_heldout``; ``duplicates`` and ``duplicates_heldout``, parts equal to a training
    configuration. Besides ``ks`` and ``ks_p_value`` (permutation of units).

    Args:
        generated, heldout: :class:`physgen.diagnostics.nearest.Nearest` against the same training set.
        generated_unit, heldout_unit: independent unit of each; None if every one is independent.
        level: null quantile; default leaves 5 held-out configurations or 1 % above, whichever is more.
        seed: of permutations and bootstrap.
        groups: labels of both whose laws differ (:func:`physgen.diagnostics.copying`).
        distance: similarities are minus distances.
        tolerance: accepted fraction of copies.
        false_alarms: probability of a fail where nothing is copied.

    Returns:
        Dataset of kind histogram over ``similarity``: ``value`` and ``error`` (generated), ``heldout``,
        ``heldout_error``, the figures above, the similarities themselves, ``copied_upper``, the upper end (95 %) of the
        copied fraction; attrs ``verdict`` (pass, fail, open), ``verdict_text``, ``fail_p``, ``tolerance``.
    """
    rng = np.random.default_rng(seed)
    n, m = len(generated.similarity), len(heldout.similarity)
    level = 1 - min(max(5 / m, 0.01), 0.5) if level is None else level
    result = _histograms(generated, heldout, generated_unit, heldout_unit)
    estimate = _figures(generated, heldout, slice(None), slice(None), level)
    drawn = [
        _figures(generated, heldout, *resample(generated_unit, heldout_unit, n, m, rng), level) for _ in range(DRAWS)
    ]
    spread = np.maximum(np.std(drawn, axis=0, ddof=1), 1 / min(n, m))  # none found does not mean no error
    for name, value, error in zip(FIGURES, estimate, spread, strict=True):
        result[name], result[f"{name}_error"] = value, error
    nearest, null = generated.similarity[:, 0], heldout.similarity[:, 0]
    result["ks"] = ks_statistic(nearest, null)
    result["ks_p_value"] = ks_p_value(nearest, null, generated_unit, heldout_unit, rng=rng)
    result["null_quantile"] = np.quantile(null, level, method="higher")
    result = result.assign(_of_each(generated, "generated") | _of_each(heldout, "held_out"))
    copies = find_copies(generated, heldout, groups, distance, false_alarms)
    found = finding(result, copies, tolerance, false_alarms, n, m)
    result["copies"], result["copies_error"] = found.copied, np.sqrt(max(found.copied * n, 1)) / n
    result["copied_upper"] = found.upper
    said = {"verdict": found.verdict, "verdict_text": found.text, "fail_p": found.p_value, "tolerance": tolerance}
    said |= {"false_alarms": false_alarms, "n_generated": n, "n_heldout": m, "n_compared": generated.compared}
    return result.assign_attrs(said, level=level)


def _of_each(nearest: Nearest, name: str) -> dict[str, tuple[str, np.ndarray]]:
    """The similarity, the nearest training configuration and the gap of each single configuration."""
    columns = {"similarity": nearest.similarity[:, 0], "nearest": nearest.index[:, 0], "gap": nearest.gap}
    return {f"{name}_{key}": (f"{name}_query", column) for key, column in columns.items()}


def _figures(
    generated: Nearest, heldout: Nearest, rows: np.ndarray | slice, null_rows: np.ndarray | slice, level: float
) -> np.ndarray:
    """FIGURES of the chosen configurations."""
    near, null = generated.similarity[rows, 0], heldout.similarity[null_rows, 0]
    gap, null_gap = generated.gap[rows], heldout.gap[null_rows]
    threshold = np.quantile(null, level, method="higher")
    above, expected = np.mean(near > threshold), np.mean(null > threshold)
    small = np.quantile(null_gap, 1 - level, method="lower")
    below, expected_gap = np.mean(gap < small), np.mean(null_gap < small)
    return np.array([
        auc(near, null), above, (above - expected) / (1 - expected), (below - expected_gap) / (1 - expected_gap),
        np.mean(gap < GAP), np.mean(null_gap < GAP), np.mean(generated.duplicate[rows]),
        np.mean(heldout.duplicate[null_rows]),
    ])  # fmt: skip


def _histograms(
    generated: Nearest, heldout: Nearest, generated_unit: np.ndarray | None, heldout_unit: np.ndarray | None
) -> xr.Dataset:
    values = [generated.similarity[:, 0], heldout.similarity[:, 0]]
    low, high = min(v.min() for v in values), max(v.max() for v in values)
    edges = np.linspace(low, high + 1e-9 * max(abs(high), 1.0) if high > low else low + 1.0, 31)
    width = edges[1] - edges[0]
    described = {"long_name": "similarity to the nearest training configuration", "units": "1"}
    coords = {"similarity": ((edges[1:] + edges[:-1]) / 2, described)}
    attrs = {"diagnostic": "memorization", "kind": "histogram", "measure": "density", "units": "1"}
    results = []
    for value, unit in zip(values, (generated_unit, heldout_unit), strict=True):
        bins = np.clip(np.searchsorted(edges, value, side="right") - 1, 0, 29)
        ids, per_query = None, np.eye(30)[bins] / width
        if unit is not None:
            ids, inverse = np.unique(unit, return_inverse=True)
            per_query = np.stack([per_query[inverse == i].mean(axis=0) for i in range(len(ids))])
        results.append(make_result(per_query, ("similarity",), coords, ids, long_name="probability density", **attrs))
    result, null = results
    result["heldout"] = ("similarity", null["value"].values, {"long_name": "held-out data", "units": "1"})
    result["heldout_error"] = ("similarity", null["error"].values, {"long_name": "standard error", "units": "1"})
    return result


def memorization_verdict(result: xr.Dataset) -> Verdict:
    """The verdict of a memorization test as :class:`physgen.diagnostics.verdict.Verdict`."""
    attrs = result.attrs
    return Verdict(
        "memorization", attrs["verdict"], attrs["verdict_text"], attrs["tolerance"], "ratio", "copies", True,
        deviation=float(result["copies"]), error=float(result["copies_error"]), low=0.0,
        high=float(result["copied_upper"]), fail_p=float(np.nan_to_num(attrs["fail_p"], nan=1.0)),
        detectable=float(result["copied_upper"]), confidence=0.95, false_alarms=attrs["false_alarms"],
    )  # fmt: skip
