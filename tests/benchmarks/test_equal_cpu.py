"""What a run is worth: as many configurations as it holds, no more for ladders that move together."""

import numpy as np
import pytest

from benchmarks.equal_cpu import Series, _number, _with_error


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("memory", [0.0, 0.8])
def test_a_series_is_worth_what_it_holds(together, memory):
    """Of an autoregressive series of n values (1 - a)/(1 + a) n are independent."""
    count, ladders, rng = 20_000, 4, np.random.default_rng(1)
    noise = rng.normal(size=(count, 1 if together else ladders, 9)) * np.ones((1, ladders, 1))
    values = np.empty_like(noise)
    values[0] = noise[0]
    for t in range(1, count):
        values[t] = memory * values[t - 1] + np.sqrt(1 - memory**2) * noise[t]
    run = Series.__new__(Series)
    run.energy, run.overlap = list(values[..., 0]), list(values[..., 1:])
    found, tau, _ = run.worth()
    expected = count * (1 if together else ladders) * (1 - memory) / (1 + memory)
    assert found == pytest.approx(expected, rel=0.12) and tau == pytest.approx(
        0.5 * (1 + memory) / (1 - memory), rel=0.12
    )


def test_numbers_are_read_without_exponents():
    assert [_number(x) for x in (66432.0, 15.12, 0.0123)] == ["66400", "15.1", "0.0123"]
    assert _with_error([1.0, 2.0, 3.0]) == "2.00 ± 0.58" and _with_error([float("nan")] * 3) == ""
