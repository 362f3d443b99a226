"""Held-out data that are no null for memorization, since the training set holds them or their independent units."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from physgen.diagnostics.nearest import Nearest

if TYPE_CHECKING:
    import xarray as xr


def leaked_rows(
    nearest: Nearest, heldout: xr.Dataset, train: xr.Dataset, rows: np.ndarray, similarity: str
) -> np.ndarray:
    """Which held-out configurations are no null: in the training set themselves, or of one of its units.

    Where samples are independent given the conditions of their unit (``unit_within``), both may share units: then only
    the configurations themselves count.
    """
    from physgen.diagnostics.conditions import unit_conditions
    from physgen.ensemble import independent_units

    mine, theirs = independent_units(heldout), independent_units(train)
    if mine.within is not None:
        # configurations under one condition may repeat in equilibrium, but not nearly all of them
        exact = nearest.duplicate
        return exact if exact.mean() > 0.5 and similarity == "overlap" and not _repeats(heldout) else exact & False
    leaked = nearest.duplicate.copy()
    first, second = unit_conditions(heldout), unit_conditions(train)
    if mine.name != theirs.name or not mine.identified or first is None or second is None:
        return leaked
    # a number alone is no identity: the same number and the same, distinct, labels are
    distinct = [len(set(c.tolist())) == len(c) for c in (first, second)]
    if not all(distinct):
        return leaked
    known = set(zip(theirs.labels.tolist(), second.tolist(), strict=True))
    same = [pair in known for pair in zip(mine.labels.tolist(), first.tolist(), strict=True)]
    return leaked | np.array(same)[mine.index[rows]]


def _repeats(ensemble: xr.Dataset) -> bool:
    """Whether half of the configurations of an ensemble stand in it more than once."""
    from physgen.ensemble import flatten

    rows = flatten(ensemble)
    rows = (rows * np.sign(rows.reshape(len(rows), -1)[:, :1].reshape(-1, *[1] * (rows.ndim - 1)))).reshape(
        len(rows), -1
    )
    _, count = np.unique(rows, axis=0, return_counts=True)
    return bool(count[count > 1].sum() > 0.5 * len(rows))


def with_leak(result: xr.Dataset, leaked: np.ndarray, heldout: xr.Dataset) -> xr.Dataset:
    """The verdict where held-out data overlap with the training set."""
    from physgen.ensemble import independent_units

    if not leaked.any():
        return result
    words, units = f"{100 * leaked.mean():.3g} % of the reference are in the training set", independent_units(heldout)
    if units.identified and units.within is None:
        words += f" or share a {units.name} with it"
    duplicates = float(result["duplicates"])
    text = result.attrs["verdict_text"]
    if duplicates > 0:
        text = f"copies its training set: {100 * duplicates:.3g} % equal a training configuration exactly; {words}"
        return result.assign_attrs(verdict="fail", verdict_text=text, fail_p=0.0)
    if result.attrs["verdict"] != "fail":
        text = f"{words}: give a reference that no model has seen, then copies can be told from likeness"
        return result.assign_attrs(verdict="open", verdict_text=text)
    return result.assign_attrs(verdict_text=f"{text}; {words}")
