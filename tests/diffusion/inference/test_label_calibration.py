"""Recalibration of posteriors that are known in closed form: nothing is done to a right one, a wrong one is undone."""

import math

import numpy as np
import pytest

from physgen.diagnostics.ranks import ranks
from physgen.diffusion.inference.label_calibration import best_calibration, calibrate_labels, tempered
from physgen.diffusion.inference.label_posterior import label_posterior
from physgen.errors import InputError

CELLS, UNITS = 32, 100


def posteriors(seed, exponent=1.0, tilt=0.0, units=UNITS, labels=1):
    """ln of the standard deviation of Gaussian fields, and their mean: labels uniform in [-1, 1], exact ln p."""
    rng = np.random.default_rng(seed)
    truth = rng.uniform(-1, 1, (units, labels))
    mean = 0.5 * truth[:, 1:] if labels == 2 else np.zeros((units, 1))
    x = mean + np.exp(0.4 * truth[:, :1]) * rng.standard_normal((units, CELLS))

    def measure(which, at, last):
        centre = 0.5 * at[:, 1:] if labels == 2 else 0.0
        away = ((x[which] - centre) ** 2).sum(1)
        ln_p = -CELLS * 0.4 * at[:, 0] - 0.5 * away * np.exp(-0.8 * at[:, 0])
        return np.tile(exponent * ln_p + tilt * at[:, 0], (2, 1))

    return label_posterior(measure, units, labels), truth


def test_exact_posteriors_are_left_alone_within_the_error():
    """Over ten data sets: pulls of exponent and tilt of unit scatter, so that the errors are right as well."""
    pulls, gains, sloped = [], [], 0
    for seed in range(10):
        learned = calibrate_labels(*posteriors(seed))
        pulls.append((learned.parameters - [1, 0]) / learned.error)
        gains.append(learned.gain)
        alone = best_calibration(*posteriors(seed))
        assert alone.gain >= learned.gain and np.all(alone.covariance[1:] == 0) == (alone.tilt[0] == 0)
        sloped += alone.tilt[0] != 0
    pulls = np.array(pulls)
    assert np.all(np.abs(pulls.mean(0)) < 4 / math.sqrt(10))
    assert abs(np.mean(pulls**2) - 1) < 4 * math.sqrt(2 / 20)
    assert sloped <= 6  # by chance alone a slope gains in 16 % of cases: P(chi2_1 > 2)
    # each unit judged by the others loses m/(2 U) nats where there is nothing to learn, and scatters by as much
    loss = 2 / (2 * UNITS)
    assert abs(np.mean(gains) + loss) < 4 * loss / math.sqrt(10)


def test_overconfident_and_shifted_posteriors_are_undone_on_other_data():
    """ln p times 1.5 with a slope of 3: on 100 fields learned, on 400 others right."""
    wrong, truth = posteriors(20, 1.5, 3.0)
    learned = calibrate_labels(wrong, truth)
    assert abs(learned.exponent - 1 / 1.5) < 4 * learned.error[0] and 0.05 < learned.error[0] < 0.15
    assert abs(learned.tilt[0] + 3 / 1.5) < 4 * learned.error[1]
    assert learned.gain > 2 * learned.gain_error
    both = best_calibration(wrong, truth)
    np.testing.assert_array_equal(both.parameters, learned.parameters)  # a slope of 3 is seen
    (others, known), (exact, _) = posteriors(21, 1.5, 3.0, 400), posteriors(21, units=400)
    mended = learned.apply(others)
    assert float((others.std / exact.std).mean()) < 0.9  # sqrt(1.5) narrower, less where the prior cuts
    assert abs(float((mended.std / exact.std).mean()) - 1) < 4 * learned.widening_error[0]
    assert abs(float(((mended.mean - exact.mean) / exact.std).mean())) < 4 * learned.shift_error[0]
    before, after = (np.mean(((found.mean - known) / found.std) ** 2) for found in (others, mended))
    error = math.hypot(math.sqrt(2 / 400), learned.error[0] / learned.exponent)
    assert before > 1 + 4 * error > after > 1 - 4 * error
    shift = math.hypot(math.sqrt(1 / 12 / 400), 0.3 * learned.shift_error[0])  # a rank moves by .28 a deviation
    assert abs(ranks(mended.draw(400, 0), known).mean() - 0.5) < 4 * shift
    # few units leave the exponent open, and the posterior is averaged over that: wider than at the exponent itself
    assert np.all(mended.std.mean(0) > tempered(others, learned.parameters).std.mean(0))
    assert np.all(np.abs(mended.weight.sum(1) - 1) < 1e-9) and np.isnan(mended.ln_evidence).all()


def test_what_is_learned_of_a_factor_and_a_slope_is_exactly_what_undoes_them():
    """An exponential family, two labels: of p^a exp(t l) the exponent is that of p over a, the tilt follows."""
    right = calibrate_labels(*posteriors(22, units=30, labels=2))
    wrong = calibrate_labels(*posteriors(22, 1.5, 1.0, 30, 2))
    np.testing.assert_allclose(wrong.exponent, right.exponent / 1.5, rtol=0.01)  # boxes and polynomials differ
    expected = right.tilt - wrong.exponent * np.array([1.0, 0.0])
    np.testing.assert_allclose(wrong.tilt, expected, atol=0.05 * right.error[1:].min())
    np.testing.assert_allclose(wrong.error[[0, 2]], right.error[[0, 2]] * [1 / 1.5, 1], rtol=0.05)


def test_posteriors_of_one_unit_count_once_and_few_or_empty_ones_are_refused():
    found, truth = posteriors(30, units=40)
    alone = calibrate_labels(found, truth)
    again = np.repeat(np.arange(40), 2)
    doubled, true = found.of(again), truth[again]
    both = calibrate_labels(doubled, true, again)
    np.testing.assert_allclose(both.covariance, alone.covariance, rtol=1e-6)
    assert both.units == 40 and both.posteriors == 80
    with pytest.raises(InputError, match="at least 20 independent units"):
        calibrate_labels(doubled, true, again // 4)
    with pytest.raises(InputError, match="say nothing of the held-out labels"):
        calibrate_labels(found, -truth)
