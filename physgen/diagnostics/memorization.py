"""Does a model copy its training set? Nearest training configuration of generated data beside that of held-out data.

Held-out configurations are compared with the same training set as the generated ones, so both nearest similarities
are extremes of the same number of comparisons, and their law is the null: no threshold is guessed.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy import stats

from physgen.diagnostics.copying import FEWEST, find_copies
from physgen.diagnostics.leak import leaked_rows, with_leak
from physgen.diagnostics.nearest import Nearest, in_box, nearest_euclidean, nearest_field, nearest_spins
from physgen.diagnostics.result import make_result, units
from physgen.diagnostics.spectrum import transformed
from physgen.diagnostics.two_sample import auc, ks_p_value, ks_statistic, resample
from physgen.diagnostics.verdict import Verdict
from physgen.errors import InputError

GAP = 1 / 3  # d1/d2 below which a configuration counts as memorised (Yoon et al. 2023; Bonnaire et al. 2505.17638)
DRAWS = 200
FIGURES = (
    "auc", "fraction_above_null", "copied_fraction", "gap_fraction", "f_mem", "f_mem_heldout", "duplicates",
    "duplicates_heldout",
)  # fmt: skip
SEARCHES = {
    "field": nearest_field,
    "translations": partial(nearest_field, group="none"),
    "overlap": nearest_spins,
    "euclidean": nearest_euclidean,
}
TOLERANCE = 0.01  # accepted part of copies
FALSE_ALARMS = 0.001
REPEATS = 0.01  # held-out configurations that repeat in the training set, above which copies cannot be told
LIMIT = 1.6e10  # numbers compared, symmetries included: a minute of one processor for fields


def memorization(generated, train, heldout, similarity="field", transform=None, limit=LIMIT, seed=0, **judged):
    r"""Nearest-neighbour memorization test of an ensemble against held-out data.

    Held-out configurations that are in the training set, or come from one of its simulations, are no null: they are
    taken out of it, and where that leaves fewer than 8 the verdict rests on exact duplicates alone and is never pass.

    Args:
        generated, train, heldout: ensembles on one lattice; held-out and training data share no simulation
            (for spins they may share the disorder: then each configuration is compared within its own instance).
        similarity: "field": correlation coefficient, maximal over translations and the point group of the lattice;
            "translations": the same over translations alone (for 3-D at less cost);
            "overlap": of spins, \|s.s'\|/N up to a global flip; "euclidean": minus the distance.
        transform: None, "log10" (of the density) or a function, applied before; as in ``power_spectrum``.
        limit: most numbers to compare (configurations times training set times symmetries times cells). Above it fewer
            configurations, at least 20 and chosen by ``seed``, are tested. The training set is never thinned.
        seed: of that choice, the permutations and the bootstrap.
        **judged: ``tolerance`` and ``false_alarms`` of :func:`memorization_test`.

    Returns:
        Dataset of :func:`memorization_test`.
    """
    if similarity not in SEARCHES:
        raise InputError(f"similarity {similarity!r} is unknown: choose one of {', '.join(SEARCHES)}")
    rng = np.random.default_rng(seed)
    arrays = {name: transformed(e, transform) for name, e in (("g", generated), ("t", train), ("h", heldout))}
    shapes = {a.shape[1:] for a in arrays.values()}
    if len(shapes) > 1 or len(arrays["t"]) < 2:
        raise InputError(
            f"configurations of shapes {sorted(map(str, shapes))} against {len(arrays['t'])} training configurations: "
            "memorization needs one lattice and at least 2 training configurations"
        )
    search, symmetries = in_box(SEARCHES[similarity], train)
    allowed = int(limit / (2 * arrays["t"].size * symmetries))
    found, labels, groups = {}, {}, {}
    for name, ensemble in (("g", generated), ("h", heldout)):
        rows = np.sort(rng.permutation(len(arrays[name]))[: max(allowed, 20)])
        found[name] = _nearest(arrays[name], arrays["t"], _instances(ensemble, train), rows, search)
        labels[name], groups[name] = _unit_labels(ensemble, rows)
        if name == "h":
            leaked = leaked_rows(found["h"], heldout, train, rows, similarity)
    kept = np.flatnonzero(~leaked)
    test = partial(memorization_test, distance=similarity == "euclidean", seed=seed, **judged)
    if len(kept) >= FEWEST:
        null = _chosen(found["h"], kept)
        null_labels = None if labels["h"] is None else labels["h"][kept]
        result = test(found["g"], null, labels["g"], null_labels, groups=(groups["g"], groups["h"][kept]))
    else:
        result = test(found["g"], found["h"], labels["g"], labels["h"], groups=(groups["g"], groups["h"]))
    facts = {"similarity": similarity, "n_train": len(arrays["t"]), "leaked": int(leaked.sum())}
    return with_leak(result, leaked).assign_attrs(facts)


def _chosen(nearest, rows):
    parts = (getattr(nearest, name)[rows] for name in ("similarity", "index", "gap", "duplicate"))
    return Nearest(*parts, nearest.compared)


def _unit_labels(ensemble, rows):
    """Name of the unit of each row (None where every row is independent), and its point of the kept dims."""
    group = units(ensemble)
    kept = max(int(np.prod(group.shape)), 1)
    ids = np.arange(group.count) if group.ids is None and "disorder" in ensemble.dims else group.ids
    unit = None if ids is None else np.asarray(ids)[group.index[rows] // kept]
    return unit, group.index[rows] % kept


def _instances(ensemble, train):
    """Couplings of the samples of both by their digest, if the training set holds every instance of the ensemble."""
    from physgen.diagnostics.conditions import entry_conditions
    from physgen.ensemble import sample_dims

    if "disorder" not in ensemble.dims or "disorder" not in train.dims:
        return None
    labels = []
    for one in (ensemble, train):
        known, dims = entry_conditions(one, "disorder"), sample_dims(one)
        if known is None:
            return None
        shape = [one.sizes[d] for d in dims]
        labels.append(known[np.indices(shape)[dims.index("disorder")].reshape(-1)])
    mine, theirs = labels
    return (mine, theirs) if np.isin(mine, theirs).all() else None


def _nearest(queries, train, instances, rows, search):
    if instances is None:
        return search(queries[rows], train)
    mine, theirs = instances[0][rows], instances[1]
    parts = {}
    for name in np.unique(mine):
        at, members = np.flatnonzero(mine == name), np.flatnonzero(theirs == name)
        one = search(queries[rows[at]], train[members])
        parts[name] = (at, Nearest(one.similarity, members[one.index], one.gap, one.duplicate, one.compared))
    order = np.argsort(np.concatenate([at for at, _ in parts.values()]))
    joined = [
        np.concatenate([getattr(p, f) for _, p in parts.values()])[order]
        for f in ("similarity", "index", "gap", "duplicate")
    ]
    return Nearest(*joined, max(p.compared for _, p in parts.values()))


def memorization_test(
    generated, heldout, generated_unit=None, heldout_unit=None, level=None, seed=0, groups=None, distance=False,
    tolerance=TOLERANCE, false_alarms=FALSE_ALARMS,
):  # fmt: skip
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
        generated_unit, heldout_unit: simulation or disorder of each; None if every one is independent.
        level: null quantile; default leaves 5 held-out configurations or 1 % above, whichever is more.
        seed: of permutations and bootstrap.
        groups: labels of both whose laws differ, such as the temperature (:func:`physgen.diagnostics.copying`).
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
    for name, source in (("generated", generated), ("held_out", heldout)):
        result[f"{name}_similarity"] = (f"{name}_query", source.similarity[:, 0])
        result[f"{name}_nearest"] = (f"{name}_query", source.index[:, 0])
        result[f"{name}_gap"] = (f"{name}_query", source.gap)
    copies = find_copies(generated, heldout, groups, distance, false_alarms)
    found = _verdict(result, copies, tolerance, false_alarms, n, m)
    result["copies"], result["copies_error"] = found.copied, np.sqrt(max(found.copied * n, 1)) / n
    result["copied_upper"] = found.upper
    said = {"verdict": found.verdict, "verdict_text": found.text, "fail_p": found.p_value}
    result = result.assign_attrs(said, tolerance=tolerance, false_alarms=false_alarms)
    counts = {"n_generated": n, "n_heldout": m, "n_compared": generated.compared, "level": level}
    return result.assign_attrs(counts)


def _figures(generated, heldout, rows, null_rows, level):
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


def _histograms(generated, heldout, generated_unit, heldout_unit):
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
        per_query = np.eye(30)[bins] / width
        if unit is not None:
            ids, inverse = np.unique(unit, return_inverse=True)
            per_query = np.stack([per_query[inverse == i].mean(axis=0) for i in range(len(ids))])
        ids = None if unit is None else ids
        results.append(make_result(per_query, ("similarity",), coords, ids, long_name="probability density", **attrs))
    result, null = results
    result["heldout"] = ("similarity", null["value"].values, {"long_name": "held-out data", "units": "1"})
    result["heldout_error"] = ("similarity", null["error"].values, {"long_name": "standard error", "units": "1"})
    return result


@dataclass(frozen=True)
class Finding:
    """The verdict on memorization: copied fraction, its upper end, p value of no copies, one sentence."""

    verdict: str
    p_value: float
    copied: float
    upper: float
    text: str


def _verdict(result, copies, tolerance, false_alarms, n, m):
    f = {name: float(result[name]) for name in FIGURES}
    e = {name: float(result[f"{name}_error"]) for name in FIGURES}
    if copies.count:
        share = copies.count / n
        words = f"{copies.count} of {n} configurations ({100 * share:.2g} %), p = {copies.p_value:.1g}"
        return Finding("fail", copies.p_value, share, copies.upper, f"copies its training set: {words}")
    more = {name: _excess_p(f[name], n, f[f"{name}_heldout"], m) for name in ("duplicates", "f_mem")}
    name = min(more, key=more.get)
    if more[name] < false_alarms / 2:  # two such counts are looked at
        copied = f[name] - f[f"{name}_heldout"]
        words = f"about {100 * copied:.2g} % of the configurations, p = {2 * more[name]:.1g}"
        return Finding("fail", 2 * more[name], copied, 1.0, f"copies its training set: {words}")
    near = f["copied_fraction"] > 3 * e["copied_fraction"]
    if near or (f["auc"] - 0.5) > 3 * e["auc"]:
        return Finding("open", copies.p_value, 0.0, copies.upper, (
            f"nearer to the training set than held-out data are (AUC {f['auc']:.2f}) but not to single configurations "
            "of it: partial memorization or a law that differs, see the other diagnostics"
        ))  # fmt: skip
    return _bounded(copies, f["duplicates"], f["duplicates_heldout"], tolerance, n)


def _excess_p(fraction, n, null_fraction, m):
    """Fisher's exact p value of more hits among n generated than among m held-out configurations."""
    hits, null = round(fraction * n), round(null_fraction * m)
    return float(stats.hypergeom.sf(hits - 1, n + m, hits + null, n)) if hits else 1.0


def memorization_verdict(result):
    """The verdict of a memorization test as :class:`physgen.diagnostics.verdict.Verdict`."""
    attrs = result.attrs
    return Verdict(
        "memorization", attrs["verdict"], attrs["verdict_text"], attrs["tolerance"], "ratio", "copies", percent=True,
        deviation=float(result["copies"]), error=float(result["copies_error"]), low=0.0,
        high=float(result["copied_upper"]), fail_p=float(np.nan_to_num(attrs["fail_p"], nan=1.0)),
        detectable=float(result["copied_upper"]), confidence=0.95, false_alarms=attrs["false_alarms"],
    )  # fmt: skip


def _bounded(copies, duplicates, null_duplicates, tolerance, n):
    """What can be said where nothing is copied: an upper bound, of exact copies alone where others cannot be told."""
    blind, upper, exact = int((~copies.seen).sum()), copies.upper, round(duplicates * n)
    if blind == n and (null_duplicates > REPEATS or copies.threshold == -np.inf):
        return Finding("open", 1.0, 0.0, 1.0, (
            "a copy could not be told from an equilibrium configuration or from a chance neighbour (too few held-out "
            "configurations, or so few degrees of freedom that configurations repeat): larger systems would decide"
        ))  # fmt: skip
    bound = "no copy found"
    if blind == n:
        upper = float(stats.beta.ppf(0.95, exact + 1, max(n - exact, 1)))
        bound = "no more exact copies than in held-out data (copies with a few changes could not be told here)"
    bound += f": at most {100 * upper:.2g} % are copies (95 % confidence)"
    if 0 < blind < n:
        bound += f", of the {n - blind} configurations of which a copy would be seen"
    limit = f"tolerance {100 * tolerance:.2g} %"
    if upper > tolerance:
        wanted = int(np.ceil(np.log(0.05) / np.log1p(-tolerance)))
        text = f"{bound}, {limit}; {wanted} configurations would decide"
        return Finding("open", copies.p_value, 0.0, upper, text)
    text = f"{bound}; would have seen {100 * upper:.2g} % of copies, {limit}"
    return Finding("pass", copies.p_value, 0.0, upper, text)
