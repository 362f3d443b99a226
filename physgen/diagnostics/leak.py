"""Held-out data that are no null for memorization, since the training set holds them or their simulations."""

import numpy as np

from physgen.diagnostics.result import units


def leaked_rows(nearest, heldout, train, rows, similarity):
    """Which held-out configurations are no null: in the training set themselves, or of one of its simulations."""
    from physgen.diagnostics.conditions import unit_conditions
    from physgen.ensemble import units_of_samples

    mine, theirs = units(heldout), units(train)
    if "disorder" in heldout.dims:
        # configurations of one instance may repeat in equilibrium, but not nearly all of them
        exact = nearest.duplicate
        return exact if exact.mean() > 0.5 and similarity == "overlap" and not _repeats(heldout) else exact & False
    leaked = nearest.duplicate.copy()
    first, second = unit_conditions(heldout), unit_conditions(train)
    if mine.name != theirs.name or mine.ids is None or first is None or second is None:
        return leaked
    # a number alone is no identity: the same number and the same, distinct, labels are
    distinct = [len(set(c.tolist())) == len(c) for c in (first, second)]
    if not all(distinct):
        return leaked
    known = set(zip(theirs.ids.tolist(), second.tolist(), strict=True))
    same = {name for name, c in zip(mine.ids.tolist(), first.tolist(), strict=True) if (name, c) in known}
    return leaked | np.isin(units_of_samples(heldout)[rows], list(same))


def _repeats(ensemble):
    """Whether half of the configurations of an ensemble stand in it more than once."""
    from physgen.ensemble import flatten

    rows = flatten(ensemble)
    rows = (rows * np.sign(rows.reshape(len(rows), -1)[:, :1].reshape(-1, *[1] * (rows.ndim - 1)))).reshape(
        len(rows), -1
    )
    _, count = np.unique(rows, axis=0, return_counts=True)
    return count[count > 1].sum() > 0.5 * len(rows)


def with_leak(result, leaked):
    """The verdict where held-out data overlap with the training set."""
    if not leaked.any():
        return result
    words = f"{100 * leaked.mean():.3g} % of the reference are in the training set or come from its simulations"
    duplicates = float(result["duplicates"])
    text = result.attrs["verdict_text"]
    if duplicates > 0:
        text = f"copies its training set: {100 * duplicates:.3g} % equal a training configuration exactly; {words}"
        return result.assign_attrs(verdict="fail", verdict_text=text, fail_p=0.0)
    if result.attrs["verdict"] != "fail":
        text = f"{words}: give a reference that no model has seen, then copies can be told from likeness"
        return result.assign_attrs(verdict="open", verdict_text=text)
    return result.assign_attrs(verdict_text=f"{text}; {words}")
