"""Does a model copy its training set? Nearest training configuration of generated data beside that of held-out data.

Held-out configurations are compared with the same training set as the generated ones, so both nearest similarities
are extremes of the same number of comparisons, and their law is the null: no threshold is guessed.
"""

from functools import partial

import numpy as np

from physgen.diagnostics.nearest import Nearest, lattice_symmetries, nearest_euclidean, nearest_field, nearest_spins
from physgen.diagnostics.result import make_result, units
from physgen.diagnostics.spectrum import transformed
from physgen.diagnostics.two_sample import auc, ks_p_value, ks_statistic, resample
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
LIMIT = 8e9  # numbers compared, symmetries included: half a minute of one processor for fields


def memorization(generated, train, heldout, similarity="field", transform=None, limit=LIMIT, seed=0):
    r"""Nearest-neighbour memorization test of an ensemble against held-out data.

    Args:
        generated, train, heldout: ensembles on one lattice; held-out and training data share no simulation/disorder
            (for spins they may share the disorder: then each configuration is compared within its own instance).
        similarity: "field": correlation coefficient, maximal over translations and the point group of the lattice;
            "translations": the same over translations alone (for 3-D at less cost);
            "overlap": of spins, \|s.s'\|/N up to a global flip; "euclidean": minus the distance.
        transform: None, "log10" (of the density) or a function, applied before; as in ``power_spectrum``.
        limit: most numbers to compare (configurations times training set times symmetries times cells). Above it fewer
            configurations, at least 20 and chosen by ``seed``, are tested. The training set is never thinned.
        seed: of that choice, the permutations and the bootstrap.

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
    symmetries = len(lattice_symmetries(arrays["t"].shape[2:])) if similarity == "field" else 1
    allowed = int(limit / (2 * arrays["t"].size * symmetries))
    found, labels = {}, {}
    for name, ensemble in (("g", generated), ("h", heldout)):
        rows = np.sort(rng.permutation(len(arrays[name]))[: max(allowed, 20)])
        found[name] = _nearest(arrays[name], arrays["t"], _instances(ensemble, train), rows, similarity)
        labels[name] = _unit_labels(ensemble, rows)
    result = memorization_test(found["g"], found["h"], labels["g"], labels["h"], seed=seed)
    return result.assign_attrs(similarity=similarity, n_train=len(arrays["t"]))


def _unit_labels(ensemble, rows):
    group = units(ensemble)
    if group.ids is None and group.name == "sample" and group.count == len(group.index):
        return None
    ids = np.arange(group.count) if group.ids is None else np.asarray(group.ids)
    return ids[group.index[rows] // max(int(np.prod(group.shape)), 1)]


def _instances(ensemble, train):
    """Instances of the samples of both, if the training set holds every instance of the ensemble."""
    if "disorder" not in ensemble.dims or "disorder" not in train.dims:
        return None
    mine, theirs = _instance_labels(ensemble), _instance_labels(train)
    return (mine, theirs) if np.isin(mine, theirs).all() else None


def _instance_labels(ensemble):
    """The coordinate ``instance`` on ``disorder`` (what the instance is), else its number, of each sample."""
    from physgen.ensemble import sample_dims

    name = "instance" if "instance" in ensemble.coords else "disorder"
    dims = sample_dims(ensemble)
    shape = [ensemble.sizes[d] for d in dims]
    view = [size if d == "disorder" else 1 for d, size in zip(dims, shape, strict=True)]
    return np.broadcast_to(ensemble[name].values.reshape(view), shape).reshape(-1)


def _nearest(queries, train, instances, rows, similarity):
    search = SEARCHES[similarity]
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


def memorization_test(generated, heldout, generated_unit=None, heldout_unit=None, level=None, seed=0):
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

    Returns:
        Dataset of kind histogram over ``similarity``: ``value`` and ``error`` (generated), ``heldout``,
        ``heldout_error``, the figures above, the similarities themselves; attrs ``verdict`` (pass, fail, undecided) and
        ``verdict_text``.
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
    verdict, text = _verdict(result)
    counts = {"n_generated": n, "n_heldout": m, "n_compared": generated.compared, "level": level}
    return result.assign_attrs(verdict=verdict, verdict_text=text, **counts)


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


def _verdict(result):
    """(pass | fail | undecided, one sentence)."""
    f = {name: float(result[name]) for name in FIGURES}
    e = {name: float(result[f"{name}_error"]) for name in FIGURES}

    def excess(name):
        spread = np.hypot(e[name], e[f"{name}_heldout"])
        return (f[name] - f[f"{name}_heldout"]) > 3 * spread

    limit = max(f["copied_fraction"], 0.0) + 1.645 * e["copied_fraction"]
    near = f["copied_fraction"] > 3 * e["copied_fraction"]
    if excess("duplicates") or excess("f_mem") or (near and f["gap_fraction"] > 3 * e["gap_fraction"]):
        copied = max(f["f_mem"] - f["f_mem_heldout"], f["duplicates"] - f["duplicates_heldout"])
        copied = copied if excess("duplicates") or excess("f_mem") else f["copied_fraction"]
        return "fail", f"copies its training set: about {100 * copied:.2g} % of the configurations"
    if near or (f["auc"] - 0.5) > 3 * e["auc"]:
        return "undecided", (
            f"nearer to the training set than held-out data are (AUC {f['auc']:.2f}) but not to single configurations "
            "of it: partial memorization or a law that differs, see the other diagnostics"
        )
    return "pass", f"no sign of copying: at most {100 * limit:.2g} % of the configurations (95 % confidence)"
