"""The alarm of memorization: its rate where nothing is copied, and what it sees."""

import numpy as np
import pytest

from physgen.diagnostics.nearest import nearest_euclidean
from physgen.diagnostics.regimes.alarm import MemorizationAlarm

GAP = 1 / 3


def test_a_training_that_copies_nothing_rings_no_more_often_than_stated():
    """Two dimensions: a third squared of all fresh configurations have so small a gap, where the test is least
    conservative."""
    rng, looks, rings = np.random.default_rng(0), 10, 0
    alarm = MemorizationAlarm(looks, false_alarms=0.1)
    for _ in range(100):
        train, heldout = rng.standard_normal((64, 2)), rng.standard_normal((100, 2))
        null = np.mean(nearest_euclidean(heldout, train).gap < GAP)
        drawn = rng.standard_normal((looks * 100, 2))
        gaps = nearest_euclidean(drawn, train).gap.reshape(looks, 100)
        rings += any(alarm.rings(float(f), 100, float(null), 100) for f in np.mean(gaps < GAP, axis=1))
    assert 0.05 < null < 0.2  # the null is not trivial
    assert rings / 100 <= 0.1 + 4 * np.sqrt(0.1 * 0.9 / 100)


def test_it_sees_the_fraction_that_it_says_it_sees():
    alarm = MemorizationAlarm(40, 0.01)
    least = alarm.least_seen(256, 100)
    rng = np.random.default_rng(1)
    seen = np.mean([alarm.rings(rng.binomial(256, least) / 256, 256, 0.0, 100) for _ in range(400)])
    assert seen == pytest.approx(0.9, abs=4 * np.sqrt(0.09 / 400))
    assert 0.02 < least < 0.2


def test_too_few_configurations_never_ring():
    assert np.isnan(MemorizationAlarm(1000, 0.001).least_seen(8, 4))
    assert not MemorizationAlarm(1000, 0.001).rings(1.0, 8, 0.0, 4)
