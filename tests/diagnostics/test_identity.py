"""Verdicts on identities: their false alarms and their power are what they say."""

import numpy as np
import pytest
from scipy import stats

from physgen.diagnostics.identity import Identity, judge_identities, normal_quantile


def identity(deviations, **words):
    chosen = {"yardstick": 2.0, "tolerance": 0.5, "tolerance_of": "it"} | words
    mean = float(np.mean(deviations))
    return Identity("name", "here", np.asarray(deviations, dtype=float), mean, 0.0, **chosen)


def test_false_alarms_are_shared_by_all_rows():
    """5 % of 800 families of 4 rows; those of one row alone are as many."""
    rng = np.random.default_rng(1)
    for rows in (1, 4):
        families = rng.normal(size=(800, rows, 10))
        failed = [
            any(row.verdict == "fail" for row in judge_identities([identity(one) for one in family], 0.05))
            for family in families
        ]
        assert np.mean(failed) == pytest.approx(0.05, abs=4 * np.sqrt(0.05 * 0.95 / 800))


def test_a_deviation_of_the_detectable_size_is_seen_in_95_percent():
    """Its size is that of the error that was measured; of many units that is the true one."""
    rng = np.random.default_rng(2)
    size = 2 * np.mean([judge_identities([identity(rng.normal(size=400))])[0].detectable for _ in range(100)])
    seen = [judge_identities([identity(rng.normal(size, 1, 400))])[0].verdict == "fail" for _ in range(1000)]
    assert np.mean(seen) == pytest.approx(0.95, abs=0.03)


@pytest.mark.parametrize(
    ("deviations", "words", "verdict", "reason"),
    [
        (np.linspace(-1, 1, 100), {}, "pass", ""),
        (np.linspace(-1, 1, 100), {"tolerance": 0.01}, "open", "too few data to see 1 % of it: about"),
        (np.linspace(-1, 1, 100) + 1, {}, "fail", ""),
        (np.linspace(-1, 1, 100) + 1, {"withheld": "heavy"}, "open", "heavy"),
        (np.linspace(-1, 1, 7) + 9, {}, "open", "at least 8"),
        ([5.0], {}, "open", "at least 8"),
        (np.zeros(20), {}, "open", "no deviation and no scatter"),
        (np.full(20, 0.1), {}, "fail", ""),
    ],
)
def test_what_is_decided(deviations, words, verdict, reason):
    row = judge_identities([identity(deviations, **words)])[0]
    assert row.verdict == verdict and reason in row.reason
    assert all(value is None or value == value for value in row.flat().values())


def test_units_that_would_do_and_squares():
    row = judge_identities([identity(np.linspace(-1, 1, 100), tolerance=0.01)])[0]
    assert f"about {int(np.ceil((row.detectable / 0.01) ** 2 * 100))} units" in row.reason
    squared = judge_identities([identity(np.linspace(-1, 1, 100), tolerance=0.01, power=2)])[0]
    student = stats.t(99)
    smaller = (student.isf(0.01) + student.isf(0.05)) / (student.isf(0.005) + student.isf(0.05))
    assert squared.detectable == pytest.approx(np.sqrt(smaller * row.detectable))


def test_squares_fail_above_what_is_expected_alone():
    """An estimate of a square without bias is skew: its tail below zero is too long for Student."""
    for shift, verdict in ((1, "fail"), (-1, "pass")):
        row = judge_identities([identity(np.linspace(-1, 1, 100) + shift, power=2)])[0]
        assert row.verdict == verdict and np.sign(row.z) == shift


def test_normal_deviates_of_student_have_its_p_value():
    t = np.array([0.0, -2.0, 5.0])
    assert stats.norm.sf(np.abs(normal_quantile(t, 7))) == pytest.approx(stats.t.sf(np.abs(t), 7))
    assert np.array_equal(normal_quantile(t, np.inf), t)
    assert 100 < normal_quantile(np.array(np.inf), 3) < np.inf
