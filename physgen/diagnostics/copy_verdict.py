"""What the figures of a memorization test say: pass, fail or open, and what fraction of copies it would have seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from physgen.diagnostics.copying import Copies

if TYPE_CHECKING:
    import xarray as xr

FIGURES = (
    "auc", "fraction_above_null", "copied_fraction", "gap_fraction", "f_mem", "f_mem_heldout", "duplicates",
    "duplicates_heldout",
)  # fmt: skip
REPEATS = 0.01  # held-out configurations that repeat in the training set, above which copies cannot be told


@dataclass(frozen=True)
class Finding:
    """The verdict on memorization: copied fraction, its upper end, p value of no copies, one sentence."""

    verdict: str
    p_value: float
    copied: float
    upper: float
    text: str


def finding(result: xr.Dataset, copies: Copies, tolerance: float, false_alarms: float, n: int, m: int) -> Finding:
    """What the figures of :func:`physgen.diagnostics.memorization.memorization_test` and the copies among them say.

    Args:
        result: holds FIGURES and their errors.
        copies: convicted configurations.
        tolerance: accepted fraction of copies.
        false_alarms: probability of a fail where nothing is copied.
        n, m: numbers of generated and of held-out configurations.
    """
    f = {name: float(result[name]) for name in FIGURES}
    e = {name: float(result[f"{name}_error"]) for name in FIGURES}
    if copies.count:
        share = copies.count / n
        words = f"{copies.count} of {n} configurations ({100 * share:.2g} %), p = {copies.p_value:.1g}"
        return Finding("fail", copies.p_value, share, copies.upper, f"copies its training set: {words}")
    more = {name: excess_p(f[name], n, f[f"{name}_heldout"], m) for name in ("duplicates", "f_mem")}
    name = min(more, key=lambda key: more[key])
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


def excess_p(fraction: float, n: int, null_fraction: float, m: int) -> float:
    """Fisher's exact p value of more hits among n generated than among m held-out configurations."""
    hits, null = round(fraction * n), round(null_fraction * m)
    return float(stats.hypergeom.sf(hits - 1, n + m, hits + null, n)) if hits else 1.0


def _bounded(copies: Copies, duplicates: float, null_duplicates: float, tolerance: float, n: int) -> Finding:
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
