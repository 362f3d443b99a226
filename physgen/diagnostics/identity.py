r"""Verdicts on identities: averages that a law fixes exactly, so that a sampler is tested without a reference.

An identity says that a deviation has mean zero in every independent unit. Its error is the scatter between units
alone (Student's t), so that whatever correlates within a unit does not matter. There is no null that could be
approximately true: a row *fails* where the deviation differs from zero at a family-wise rate of false alarms
(Bonferroni over the rows), however small it is. It *passes* where it does not differ and a deviation of the stated
size would have been seen with 95 % probability; else it is *open*.

Legend: U independent units.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy import stats

from physgen.diagnostics.equivalence import FALSE_ALARMS

FEWEST = 8  # units whose scatter may be taken as an error
POWER = 0.95  # probability with which a deviation of the size ``detectable`` is seen
SMALL = 1e-12  # a deviation that rounding makes


@dataclass(frozen=True)
class Identity:
    """One identity, measured.

    Attributes:
        name: of the identity.
        where: at what condition, in words: "T = 1.5".
        deviations: (U,) of each independent unit, whose mean is zero where the identity holds.
        value: what was measured.
        expected: what the law says; ``value - expected`` is the mean of the deviations.
        yardstick: the deviation that counts as 1, positive.
        tolerance: of it, the deviation that a pass must be able to exclude.
        tolerance_of: what the yardstick is, in words: a deviation of 3 % of it.
        units: of value, expected and deviations.
        withheld: why these data cannot decide, whatever they say; empty if they can.
        power: 2 where deviations are squares of what the tolerance is of, else 1. Squares are never below what is
            expected, so only a positive deviation fails: that of finite data is skew, and its lower tail is long.
    """

    name: str
    where: str
    deviations: np.ndarray
    value: float
    expected: float
    yardstick: float
    tolerance: float
    tolerance_of: str
    units: str = "1"
    withheld: str = ""
    power: int = 1


@dataclass(frozen=True)
class Absent:
    """An identity that does not apply to an ensemble, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Row:
    """What was decided about one identity.

    Attributes:
        name, where, value, expected, units, tolerance, tolerance_of: of the :class:`Identity`.
        error: standard error of the mean deviation; NaN of fewer than two units.
        z: normal deviate with the p-value of the mean deviation; NaN without an error.
        verdict: ``pass``, ``fail`` or ``open``.
        detectable: smallest deviation that would have been seen with 95 % probability, in units of the yardstick.
        reason: of an open row, why, and what would decide; else empty.
    """

    name: str
    where: str
    value: float
    expected: float
    error: float
    z: float
    verdict: Literal["pass", "fail", "open"]
    detectable: float
    tolerance: float
    tolerance_of: str
    units: str = "1"
    reason: str = ""

    def flat(self) -> dict[str, Any]:
        """The fields by name, numbers that are not finite as None: the form of a JSON file."""
        return {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in vars(self).items()
        }


def judge_identities(identities: Sequence[Identity], false_alarms: float = FALSE_ALARMS) -> list[Row]:
    """A verdict on each identity; ``false_alarms`` is the probability that any row of an exact law fails."""
    rate = false_alarms / max(len(identities), 1)
    return [_judge(one, rate) for one in identities]


def _judge(one: Identity, rate: float) -> Row:
    units = len(one.deviations)
    mean = float(np.mean(one.deviations))
    error = float(np.std(one.deviations, ddof=1) / math.sqrt(units)) if units > 1 else math.nan
    flat = error < SMALL * one.yardstick
    freedom = max(units - 1, 1)
    z = math.nan
    if units > 1:
        t = 0.0 if abs(mean) < SMALL * one.yardstick else math.copysign(math.inf, mean) if flat else mean / error
        z = float(normal_quantile(np.array(t), freedom))
    tail = rate / (1 if one.power == 2 else 2)
    seen = stats.t.isf(tail, freedom) + stats.t.isf(1 - POWER, freedom)
    detectable = float(seen * error / one.yardstick) ** (1 / one.power)
    verdict, reason = _decide(one, units, z, tail, flat, detectable)
    return Row(
        one.name, one.where, one.value, one.expected, error, z, verdict, detectable, one.tolerance, one.tolerance_of,
        one.units, reason,
    )  # fmt: skip


def _decide(
    one: Identity, units: int, z: float, tail: float, flat: bool, detectable: float
) -> tuple[Literal["pass", "fail", "open"], str]:
    if one.withheld:
        return "open", one.withheld
    if units < FEWEST:
        return "open", f"{units} independent units give no error to rely on: at least {FEWEST} are needed"
    if (z if one.power == 2 else abs(z)) > stats.norm.isf(tail):
        return "fail", ""
    if flat:
        return "open", "no deviation and no scatter: nothing that these data could have shown"
    if detectable > one.tolerance:
        more = math.ceil((detectable / one.tolerance) ** (2 * one.power) * units)
        return "open", f"too few data to see {100 * one.tolerance:g} % of {one.tolerance_of}: about {more} units would"
    return "pass", ""


def normal_quantile(t: np.ndarray, freedom: float) -> np.ndarray:
    """Normal deviate with the two-sided p-value of Student's t; the logarithm reaches far tails.

    Args:
        t: any shape.
        freedom: degrees of freedom; infinity for t that are normal already.
    """
    if not np.isfinite(freedom):
        return t
    log_p = stats.t.logsf(np.abs(t), freedom)
    bounded = np.maximum(log_p, -700)
    far = np.sqrt(-2 * np.maximum(log_p, -1e6))
    return np.sign(t) * np.where(log_p > -700, -stats.norm.ppf(np.exp(bounded)), far)
