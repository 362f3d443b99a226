r"""The published measures of copying beside each other, each with its error and with how often it accuses real data.

No threshold is taken from a paper. A metric calls a model memorizing where its excess over held-out data is larger than
that of all but a part ``level`` of the relabellings of generated and held-out configurations (whole independent units
change sides): if both follow one law, that happens with probability ``level`` at most, whatever the law, the distance
and the sizes. What it does not say, with figures of ``benchmarks/regimes/memorizers.py``: a law that is merely narrower
than the data is nearer to the training set too, and auc, ks, C_T and (less) authenticity, which see the nearest
distance alone, call it memorizing (a mixture of .8 of its width, nothing copied: in 23, 20, 23 and 8 of 24 trials; the
gap ratios and Y2 in none), so that comparison with the reference by other diagnostics comes first. And few copies hide:
5 % among 100 configurations are called in a third of the trials at most; among 400 by the gap ratios always, by the
others hardly.

With :math:`d_1, d_2` the distances to the two nearest training configurations modulo symmetries:
``f_mem`` (``_half``, ``_quarter``), part with :math:`d_1/d_2` below 1/3 (1/2, 1/4) (Yoon et al. 2023; 2505.17638);
``authenticity``, part farther from its nearest training configuration a than a is from its own nearest one
(Alaa et al., 2102.08921); ``Y2`` :math:`= \langle\sum_\mu w_\mu^2\rangle` of the posterior over the training set at
the level ``scale`` where training configurations have weight .9 on themselves (2402.18491); ``auc`` and
``ks`` of :math:`d_1` against that of held-out data, one-sided; ``C_T``, the Mann-Whitney z score of :math:`d_1`
averaged over cells with held-out weights, cells by k-means on principal components (Meehan et al.,
2004.05675), at least 20 generated configurations in each.

Legend: n generated, m held-out, N = n + m pooled configurations, P relabellings or bootstrap draws, M metrics.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from physgen.diagnostics.regimes.cells import cells_of
from physgen.diagnostics.regimes.copies import (
    FEWEST,
    Measure,
    check_shapes,
    distinct,
    measure_of,
    neighbours,
    posterior_scale,
)
from physgen.diagnostics.two_sample import relabelled, resample
from physgen.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

Units = tuple[np.ndarray | None, np.ndarray | None]  # independent unit of each generated and held-out configuration

GAPS = {"f_mem": 1 / 3, "f_mem_half": 1 / 2, "f_mem_quarter": 1 / 4}
PARTS = (*GAPS, "authenticity", "Y2")  # averages over configurations
METRICS = (*PARTS, "auc", "ks", "C_T")
DIRECTION = np.array([-1.0 if name in ("authenticity", "C_T") else 1.0 for name in METRICS])
NAMES = {
    "f_mem": "part with d1/d2 below 1/3",
    "f_mem_half": "part with d1/d2 below 1/2",
    "f_mem_quarter": "part with d1/d2 below 1/4",
    "authenticity": "part farther from its nearest training configuration than that is from its own nearest",
    "Y2": "condensation of the posterior over training configurations",
    "auc": "probability that a generated configuration is nearer than a held-out one",
    "ks": "largest excess of generated over held-out configurations within a distance",
    "C_T": "z-scored Mann-Whitney statistic in cells, negative where generated are nearer",
}
RELABELLINGS = 999
BOOTSTRAPS = 200
CELLS, IN_A_CELL = 3, 20
AT_ONCE = 2**22  # numbers of a table of labels
LIMIT = 1.6e10  # numbers compared, symmetries included: about a minute of one processor for fields


def copying_metrics(
    generated: Tensor,
    train: Tensor,
    heldout: Tensor,
    distance: str | Measure = "euclidean",
    seed: int = 0,
    units: Units = (None, None),
    level: float = 0.01,
) -> xr.Dataset:
    r"""Measures of copying of a training set, calibrated on held-out data of the same law; the module defines them.

    Args:
        generated, train, heldout: encoded configurations (n, C, \*grid); train and heldout share no unit.
        distance: "euclidean" (points), "field" (modulo translations and point group), "translations", "overlap" (+-1
            values up to a global flip), or a :class:`physgen.diagnostics.regimes.copies.Measure`.
        seed: of relabellings, bootstrap and cells; and of the choice of generated and held-out configurations where
            all of them would cost more than ``LIMIT`` (the training set is never thinned).
        units: independent unit (n,) and (m,) of generated and held-out; None where every one is independent.
        level: rate at which a model of the true law may be called memorizing by a metric.

    Returns:
        Dataset over ``metric``: ``value``; ``error`` (bootstrap over units; of all but C_T at least one unit);
        ``heldout``, the same of held-out data (of auc, ks and C_T: the mean over their random halves, whose
        ``heldout_error`` is nan); ``threshold``,
        beyond which ``memorizing`` is said, in the sense of ``direction`` (+1: above); ``p_value``;
        ``false_positive_rate`` and its ``_error``, part of random halves of the held-out data that are called
        memorizing against the other half, by a threshold from other halves (below ``level`` where a metric takes few
        values); 0-d ``any_false_positive_rate`` with error: called by at least one metric; ``scale`` of Y2. Attrs
        ``level``, ``n_generated`` and ``n_heldout`` (compared), ``n_train`` (distinct), ``cells``. C_T is nan, and
        calls nothing, where no cell holds 20 generated and a held-out configuration.

    Raises:
        InputError: different shapes; fewer than 8 independent units; held-out configurations that are in a training set
            of real values.
    """
    import xarray as xr

    if not 1 / (RELABELLINGS + 1) <= level < 0.5:
        raise InputError(f"level = {level}: a false-positive rate between {1 / (RELABELLINGS + 1):g} and 0.5")
    table, n = _table(generated, train, heldout, distance, seed, units)
    rng = np.random.default_rng(seed)
    value, excess, null = _tested(table, n, rng)
    critical, p = _critical(null, level), _p_values(excess, null)
    error, real_error = _errors(table, n, rng)
    real = _of_halves(table, n, level, rng)
    columns = {
        "value": value, "error": error, "heldout": real.value, "heldout_error": real_error,
        "threshold": value + DIRECTION * (critical - excess), "direction": DIRECTION, "p_value": p,
        "memorizing": p <= level + 1e-12, "false_positive_rate": real.rate, "false_positive_rate_error": real.error,
    }  # fmt: skip
    scalars = {"any_false_positive_rate": real.any_rate, "any_false_positive_rate_error": real.any_error}
    return xr.Dataset(
        {name: ("metric", column, {"units": "1"}) for name, column in columns.items()} | scalars
        | {"scale": table.scale},
        coords={"metric": list(METRICS), "description": ("metric", [NAMES[name] for name in METRICS])},
        attrs={
            "diagnostic": "copying_metrics", "level": level, "n_generated": n, "n_train": table.n_train,
            "n_heldout": len(table.distance) - n, "cells": table.cells,
        },
    )  # fmt: skip


def copying_p_values(
    generated: Tensor,
    train: Tensor,
    heldout: Tensor,
    distance: str | Measure = "euclidean",
    seed: int = 0,
    units: Units = (None, None),
    relabellings: int = RELABELLINGS,
) -> np.ndarray:
    """The p values (M,) of :func:`copying_metrics` in the order of ``METRICS`` alone, at a third of its cost.

    The least of them is 1 / (``relabellings`` + 1).
    """
    table, n = _table(generated, train, heldout, distance, seed, units)
    _, excess, null = _tested(table, n, np.random.default_rng(seed), relabellings)
    return _p_values(excess, null)


def _tested(
    table: _Table, n: int, rng: np.random.Generator, relabellings: int = RELABELLINGS
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Value and excess (M,), and the excess of the relabellings (P, M)."""
    is_first = (np.arange(len(table.distance)) < n)[None]
    value, excess = (a[0] for a in table.measured(is_first, ~is_first))
    labels = relabelled(*table.units, n, len(table.distance) - n, relabellings, rng)
    return value, excess, table.excess_of(labels)


def _p_values(excess: np.ndarray, null: np.ndarray) -> np.ndarray:
    """(M,); nan where the metric is."""
    p = (1 + (null >= excess - 1e-12).sum(axis=0)) / (1 + len(null))
    return np.where(np.isnan(excess), np.nan, p)


def _check(units: Units, n: int, m: int) -> None:
    counts = [count if unit is None else len(np.unique(unit)) for unit, count in zip(units, (n, m), strict=True)]
    if min(counts) < FEWEST or any(u is not None and len(u) != c for u, c in zip(units, (n, m), strict=True)):
        raise InputError(f"units of {counts} generated and held-out: at least {FEWEST}, one label a configuration")


def _check_fresh(distance: np.ndarray, measure: Measure) -> None:
    """+-1 values may repeat by chance, real ones do not."""
    if not measure.repeats and (distance == 0).any():
        raise InputError(
            f"{int((distance == 0).sum())} held-out configurations are in the training set: they are no null for "
            "copying; hold out data that no model has seen"
        )


@dataclass(frozen=True)
class _Table:
    """What the metrics need of the N pooled configurations, generated first."""

    parts: np.ndarray  # (N, len(PARTS))
    distance: np.ndarray  # (N,) to the nearest training configuration
    cell: np.ndarray  # (N,)
    cells: int
    scale: float
    units: Units
    n_train: int

    def measured(self, first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Value and excess (positive: nearer to the training set) of the M metrics, each (P, M).

        Args:
            first, second: (P, N) how often each configuration counts on either side.
        """
        one, two = (w @ self.parts / w.sum(axis=1, keepdims=True) for w in (first, second))
        auc, ks = _nearer(self.distance, first, second)
        value = np.c_[one, auc, ks, self.c_t(first, second)]
        none = np.zeros(len(auc))
        return value, DIRECTION * (value - np.c_[two, none + 0.5, none, none])

    def excess_of(self, labels: np.ndarray) -> np.ndarray:
        """The excess (P, M) of labelled configurations over the others, a few labellings at a time."""
        step = max(1, AT_ONCE // labels.shape[1])
        return np.concatenate([
            self.measured(part, ~part)[1] for part in np.split(labels, range(step, len(labels), step))
        ])  # fmt: skip

    def c_t(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        r""":math:`\sum_c P(c) z_c / \sum_c P(c)` over cells with enough generated ones, P by held-out ones; (P,)."""
        total, weight = np.zeros(len(first)), np.zeros(len(first))
        for cell in range(self.cells):
            inside = self.cell == cell
            if not inside.any():
                continue
            one, two = first[:, inside], second[:, inside]
            n, m = one.sum(axis=1), two.sum(axis=1)
            z = (0.5 - _nearer(self.distance[inside], one, two)[0]) * np.sqrt(12 * n * m / (n + m + 1))
            counts = m * ((n >= IN_A_CELL) | (self.cells == 1)) * (n > 0)
            total += np.where(counts > 0, counts * np.nan_to_num(z), 0)
            weight += counts
        with np.errstate(invalid="ignore"):
            return total / weight  # nan where no cell holds enough of both


def _table(
    generated: Tensor, train: Tensor, heldout: Tensor, distance: str | Measure, seed: int, units: Units
) -> tuple[_Table, int]:
    """The table and the number of generated configurations in it."""
    check_shapes(generated, train, heldout)
    _check(units, len(generated), len(heldout))
    measure = measure_of(distance)
    train = distinct(train, measure)
    if len(train) < 2:
        raise InputError("all training configurations are the same: a second nearest one is needed")
    rng = np.random.default_rng(seed)
    allowed = max(int(LIMIT / (4 * train.numel() * measure.order(train.shape[2:]))), 10 * FEWEST)
    rows = [np.sort(rng.permutation(len(x))[:allowed]) for x in (generated, heldout)]
    n, m = (len(r) for r in rows)
    pooled = torch.cat(
        [x[torch.as_tensor(r, device=x.device)] for x, r in zip((generated, heldout), rows, strict=True)]
    )
    scale, own = posterior_scale(train, measure, seed)
    near = neighbours(pooled, train, measure, scale, own)
    _check_fresh(near.distance[n:], measure)
    parts = np.c_[*(near.gap < limit for limit in GAPS.values()), near.distance > near.own, near.order].astype(float)
    cells = max(1, min(CELLS, min(n, m) // (2 * IN_A_CELL)))
    first, second = (None if u is None else np.asarray(u)[r] for u, r in zip(units, rows, strict=True))
    cell = cells_of(pooled, train, measure, cells, seed)
    return _Table(parts, near.distance, cell, cells, float(np.sqrt(scale)), (first, second), len(train)), n


def _nearer(distance: np.ndarray, first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    r"""P(first is nearer than second), ties half; :math:`\max_d [F_1(d) - F_2(d)]`; of weights (P, N): (P,) each."""
    order = np.argsort(distance, kind="stable")
    sorted_ = distance[order]
    start, end = (np.searchsorted(sorted_, sorted_, side=side) for side in ("left", "right"))
    one = first[:, order].astype(float)
    c1, c2 = (np.zeros((len(one), len(order) + 1)) for _ in range(2))
    np.cumsum(one, axis=1, out=c1[:, 1:])
    np.cumsum(second[:, order], axis=1, out=c2[:, 1:])
    if len(order) == len(np.unique(sorted_)):  # no ties: views instead of copies
        below, up_to, mine = c2[:, :-1], c2[:, 1:], c1[:, 1:]
    else:
        below, up_to, mine = c2[:, start], c2[:, end], c1[:, end]
    n, m = c1[:, -1:], c2[:, -1:]
    with np.errstate(invalid="ignore", divide="ignore"):
        auc = 1 - 0.5 * ((one * below).sum(axis=1) + (one * up_to).sum(axis=1)) / (n * m)[:, 0]
        return auc, np.maximum((mine / n - up_to / m).max(axis=1), 0)


def _critical(null: np.ndarray, level: float) -> np.ndarray:
    """Excess (M,) above which p <= level."""
    return np.sort(np.nan_to_num(null, nan=-np.inf), axis=0)[-max(int(level * (len(null) + 1) + 1e-9), 1)]


def _errors(table: _Table, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Bootstrap over units (M,) of the value, and of the held-out one (nan for auc, ks and C_T).

    Of all but C_T at least one unit, since none found does not mean no error.
    """
    m = len(table.distance) - n
    drawn = np.zeros((2, BOOTSTRAPS, n + m))
    for i in range(BOOTSTRAPS):
        rows, null_rows = resample(*table.units, n, m, rng)
        drawn[0, i, :n], drawn[1, i, n:] = np.bincount(rows, minlength=n), np.bincount(null_rows, minlength=m)
    error = table.measured(drawn[0], drawn[1])[0].std(axis=0, ddof=1)
    null = (drawn[1] @ table.parts / drawn[1].sum(axis=1, keepdims=True)).std(axis=0, ddof=1)
    least, least_null = (1 / (c if u is None else len(np.unique(u))) for c, u in zip((n, m), table.units, strict=True))
    error = np.where([name == "C_T" for name in METRICS], error, np.maximum(error, least))
    return error, np.append(np.maximum(null, least_null), [np.nan] * (len(METRICS) - len(PARTS)))


@dataclass(frozen=True)
class _Real:
    """The metrics of real data, and how often they are called memorizing."""

    value: np.ndarray
    rate: np.ndarray
    error: np.ndarray
    any_rate: float
    any_error: float


def _of_halves(table: _Table, n: int, level: float, rng: np.random.Generator) -> _Real:
    """Random halves of the held-out units against the others: half of the draws calibrate, half are called."""
    m, unit = len(table.distance) - n, table.units[1]
    block = np.arange(m) if unit is None else np.unique(unit, return_inverse=True)[1]
    count = block.max() + 1
    sides = rng.permuted(np.tile(np.arange(count) < count // 2, (2 * RELABELLINGS, 1)), axis=1)[:, block]
    real = replace(table, parts=table.parts[n:], distance=table.distance[n:], cell=table.cell[n:])
    excess = real.excess_of(sides)
    called = excess[RELABELLINGS:] > _critical(excess[:RELABELLINGS], level) + 1e-12
    value = np.nanmean(real.measured(sides[:BOOTSTRAPS], ~sides[:BOOTSTRAPS])[0], axis=0)
    value[: len(PARTS)] = real.parts.mean(axis=0)
    rates = np.append(called.mean(axis=0), called.any(axis=1).mean())
    errors = np.sqrt(np.maximum(rates * (1 - rates), 1 / RELABELLINGS) / RELABELLINGS)
    return _Real(value, rates[:-1], errors[:-1], float(rates[-1]), float(errors[-1]))
