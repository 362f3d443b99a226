"""Times of generalisation and of memorization from curves, and the law of the one against n."""

import numpy as np
import pytest

from physgen.diagnostics.regimes.training_dynamics import (
    collapse_exponent,
    crossing_times,
    learning_times,
    predicted_window,
)
from physgen.errors import InputError

TAU = np.geomspace(10, 1e5, 60)


def f_mem(n, exponent=1.0, noise=0.0, seed=0, tau=TAU):
    """Rises to 0.9 about tau = 50 n^exponent."""
    rise = 0.9 / (1 + (50 * float(n) ** exponent / tau) ** 2)
    return rise + noise * np.random.default_rng([seed, n]).standard_normal(len(tau))


def test_a_level_is_crossed_where_a_clean_curve_crosses_it():
    level = 0.45  # at tau = 50 n exactly; linear interpolation in ln tau errs by less than a tenth of the grid
    assert crossing_times(TAU, f_mem(16), [level])[0] == pytest.approx(800, rel=0.015)
    falling = crossing_times(TAU, 1 - f_mem(16), [1 - level], rising=False)[0]
    assert falling == pytest.approx(800, rel=0.015)
    assert crossing_times(TAU, f_mem(16), [-1.0, 2.0]).tolist() == [0.0, np.inf]


def test_one_fluctuation_is_no_crossing():
    curve = f_mem(64)
    curve[5] = 0.6
    assert crossing_times(TAU, curve, [0.45])[0] == pytest.approx(3200, rel=0.05)


def test_errors_of_the_times_are_those_of_repeated_trainings():
    """The bootstrap error of one noisy curve is the scatter of the times of many, within a third."""
    found = [
        learning_times(TAU, 1 - f_mem(8), f_mem(64, noise=0.02, seed=s), None, np.full(60, 0.02)) for s in range(40)
    ]
    times = np.array([float(one.tau_mem) for one in found])
    errors = np.array([float(one.tau_mem_error) for one in found])
    assert errors.mean() == pytest.approx(times.std(ddof=1), rel=0.35)
    assert (
        abs(times.mean() - crossing_times(TAU, f_mem(64), [0.1])[0])
        < 4 * times.std() / np.sqrt(40) + 0.03 * times.mean()
    )


def test_what_is_not_reached_is_unknown_and_bounded():
    found = learning_times(TAU[:20], 1 - f_mem(1, tau=TAU[:20]), f_mem(1024, tau=TAU[:20]))
    assert np.isnan(found.tau_mem) and np.isnan(found.tau_mem_error) and float(found.tau_mem_reached) == 0
    assert float(found.tau_mem_after) == TAU[19] and float(found.tau_mem_before) == np.inf
    assert np.isfinite(found.tau_gen) and np.isnan(found.tau_gen_error)  # no errors of the curve were given


def test_a_distance_that_falls_by_less_than_its_error_has_no_time():
    """Noise has a lowest value too: 90 % of the way down to it is no generalisation."""
    noise = np.random.default_rng(0).normal(0.2, 0.01, 60)
    flat = learning_times(TAU, noise, f_mem(64), np.full(60, 0.01), np.full(60, 0.02))
    assert np.isnan(flat.tau_gen) and np.isnan(flat.tau_gen_error) and float(flat.tau_gen_reached) == 0
    falling = learning_times(TAU, noise + 1 / (1 + TAU / 100), f_mem(64), np.full(60, 0.01), np.full(60, 0.02))
    assert np.isfinite(falling.tau_gen) and float(falling.tau_gen_reached) == 1


@pytest.mark.parametrize("exponent", [1.0, 1.3])
def test_the_exponent_of_the_collapse_is_found_within_its_error(exponent):
    pulls = []
    for first in range(0, 60, 3):
        curves = {
            n: (TAU, np.stack([f_mem(n, exponent, 0.03, first + s) for s in range(3)])) for n in (16, 32, 64, 128)
        }
        found = collapse_exponent(curves)
        pulls.append((float(found.exponent) - exponent) / float(found.exponent_error))
    # Student's law with 10 degrees of freedom: standard deviation 1.12; 20 draws, 4 standard errors
    assert abs(np.mean(pulls)) < 4 * 1.12 / np.sqrt(20)
    assert 0.4 < np.std(pulls) < 1.9
    assert found.attrs["freedom"] == 10


def test_relative_levels_do_not_know_the_height():
    curves = {n: (TAU, f_mem(n) * h) for n, h in ((16, 1.0), (32, 0.8), (64, 0.6))}
    assert float(collapse_exponent(curves, relative=True).exponent) == pytest.approx(1, abs=0.01)
    assert abs(float(collapse_exponent(curves).exponent) - 1) > 0.02


def test_the_window_at_a_larger_n_is_predicted_from_smaller_ones():
    """A further run falls into the interval of 95 % in about 95 % of the cases."""
    rng, n, inside = np.random.default_rng(3), np.repeat([16, 32, 64, 128], 3), 0
    for _ in range(100):
        found = predicted_window(n, 50 * n**1.1 * np.exp(0.1 * rng.standard_normal(12)), tau_gen=300 + 0 * n, at=512)
        new = 50 * 512**1.1 * np.exp(0.1 * rng.standard_normal())
        inside += int(found.low[0] < new < found.high[0])
    assert abs(inside / 100 - 0.95) < 4 * np.sqrt(0.95 * 0.05 / 100)
    assert float(found.smallest_n) == pytest.approx(6 ** (1 / 1.1), rel=0.3)
    exact = predicted_window([16, 32], [800, 1600], [8, 16], at=64)
    assert float(exact.tau_mem[0]) == pytest.approx(3200)
    assert 0 < float(exact.tau_mem_error[0]) < 100 and np.isnan(exact.tau_gen)
    assert np.isnan(predicted_window([16, 32], [800, 1600], at=64).low[0])  # two points without errors have no error


def test_bad_curves_are_refused():
    with pytest.raises(InputError, match="leave the untrained network"):
        crossing_times([0, 1, 2], [0, 0, 1], [0.5])
    with pytest.raises(InputError, match="at least 2 numbers of samples"):
        collapse_exponent({16: (TAU, f_mem(16))})
    with pytest.raises(InputError, match="n = 4096: the levels .* are not all crossed"):
        collapse_exponent({16: (TAU, f_mem(16)), 4096: (TAU, f_mem(4096))})
