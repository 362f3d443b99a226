"""Control variates on correlated numbers whose law is known: unbiased, with honest errors, from few pairs."""

import numpy as np
import pytest
from scipy import stats

from physgen.diagnostics.control_variate import controlled_covariance, controlled_mean, expected_gain, shrinkage
from physgen.errors import InputError

POINTS, MEAN = 3, 10.0


def draws(rng, count, rho, skew=False):
    """(x, c): x = MEAN + 2 rho g + 2 sqrt(1 - rho^2) e, c = 3 + g; points correlated by 0.5, g lognormal if skew."""
    mix = np.linalg.cholesky(0.5 * np.eye(POINTS) + 0.5)
    g, e = (rng.standard_normal((count, POINTS)) @ mix.T for _ in range(2))
    if skew:
        g = (np.exp(0.5 * g) - np.exp(0.125)) / np.sqrt(np.exp(0.5) - np.exp(0.25))
    return MEAN + 2 * rho * g + 2 * np.sqrt(1 - rho**2) * e, 3 + g


def trials(count, pairs, cheap, rho, estimate, skew=False):
    found = []
    for trial in range(count):
        rng = np.random.default_rng([trial, pairs])
        x, c = draws(rng, pairs, rho, skew)
        found.append(estimate(x, c, draws(rng, cheap, rho, skew)[1]))
    return found


def in_sigmas(values, truth):
    """Mean deviation of the trials in units of its standard error."""
    return (values.mean(axis=0) - truth) / (values.std(axis=0, ddof=1) / np.sqrt(len(values)))


@pytest.mark.parametrize(
    ("count", "pairs", "rho", "skew", "multivariate"),
    [(150, 6, 0.95, True, False), (60, 30, 0.9, False, False), (40, 7, 0.95, False, True)],
)
def test_mean_is_unbiased_and_its_error_covers(count, pairs, rho, skew, multivariate):
    found = trials(count, pairs, 100, rho, lambda *a: controlled_mean(*a, multivariate=multivariate), skew)
    value, error, plain = (np.array([getattr(f, n) for f in found]) for n in ("value", "error", "plain"))
    assert np.abs(in_sigmas(value, MEAN)).max() < 4
    assert (plain.var(axis=0) > 1.5 * value.var(axis=0)).all()  # the gain is there
    inside = np.abs(value - MEAN) < error * stats.t.ppf(0.975, found[0].freedom)
    assert inside.mean() > 0.9  # 0.95; few pairs err on the safe side


def test_a_slope_fitted_to_all_pairs_would_be_biased_where_this_one_is_not():
    """x = c^2: the textbook coefficient of skewed pairs is off by many errors, that of the other pairs is not."""
    textbook, ours = [], []
    for trial in range(600):
        rng = np.random.default_rng(trial)
        c, cheap = rng.exponential(size=(6, 1)), rng.exponential(size=(200, 1))
        slope = np.cov(c[:, 0] ** 2, c[:, 0])
        textbook.append(np.mean(c**2) - slope[0, 1] / slope[1, 1] * (c.mean() - cheap.mean()))
        ours.append(controlled_mean(c**2, c, cheap).value[0])
    assert abs(in_sigmas(np.array(textbook), 2.0)) > 5
    assert abs(in_sigmas(np.array(ours), 2.0)) < 4


def test_covariance_is_unbiased_entry_by_entry():
    truth = 4 * (0.5 * np.eye(POINTS) + 0.5)
    found = trials(80, 9, 400, 0.98, controlled_covariance)
    value, plain = (np.array([getattr(f, n) for f in found]) for n in ("value", "plain"))
    assert np.abs(in_sigmas(value, truth)).max() < 4
    assert (plain.var(axis=0) > 4 * value.var(axis=0)).all()
    inside = np.abs(value - truth) < np.array([f.error for f in found]) * stats.t.ppf(0.975, found[0].freedom)
    assert inside.mean() > 0.9


def test_sample_covariance_is_what_stands_before_the_control():
    rng = np.random.default_rng(1)
    x, c = draws(rng, 60, 0.9)  # more pairs than groups
    found = controlled_covariance(x, c, draws(rng, 50, 0.9)[1])
    np.testing.assert_allclose(found.plain, np.cov(x, rowvar=False), rtol=1e-12)
    given = controlled_covariance(x, c, draws(rng, 50, 0.9)[1], slope=0.0)
    np.testing.assert_allclose(given.value, np.cov(x, rowvar=False), rtol=1e-12)


def test_a_perfect_surrogate_gives_the_mean_of_all_draws():
    """x = 2 c + 1: what is left is the error of the mean of N + M draws of c."""
    rng = np.random.default_rng(2)
    c, cheap = rng.standard_normal((8, 2)), rng.standard_normal((92, 2))
    found = controlled_mean(2 * c + 1, c, cheap)
    np.testing.assert_allclose(found.value, 2 * np.concatenate([c, cheap]).mean(axis=0) + 1, atol=1e-12)
    np.testing.assert_allclose(found.gain, 12.5, rtol=1e-6)  # 100/8
    np.testing.assert_allclose(expected_gain(1.0, 8, 92), 12.5)


def test_a_surrogate_that_does_not_vary_controls_nothing():
    x = np.random.default_rng(3).standard_normal((8, 2))
    c, cheap = np.ones((8, 2)), np.ones((20, 2))
    for multivariate in (False, True):
        found = controlled_mean(x, c, cheap, multivariate=multivariate)
        np.testing.assert_allclose(found.value, x.mean(axis=0))
        assert np.isfinite(found.error).all()


def test_too_few_pairs_are_refused_unless_the_slope_is_known():
    rng = np.random.default_rng(4)
    x, c = draws(rng, 4, 0.9)
    cheap = draws(rng, 30, 0.9)[1]
    with pytest.raises(InputError, match="4 pairs are too few: give at least 5"):
        controlled_mean(x, c, cheap)
    assert np.isfinite(controlled_mean(x, c, cheap, slope=2.0).error).all()
    with pytest.raises(InputError, match="1 cheap draws"):
        controlled_mean(x, c, cheap[:1], slope=2.0)


def test_shrinkage_is_full_for_noise_and_none_for_many_related_points():
    rng = np.random.default_rng(5)
    assert shrinkage(np.corrcoef(rng.standard_normal((6, 40)), rowvar=False), 6) > 0.6
    assert shrinkage(np.corrcoef(draws(rng, 4000, 0.5)[1], rowvar=False), 4000) < 0.01
