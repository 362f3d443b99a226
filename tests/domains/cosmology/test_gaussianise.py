"""The one-point law becomes Gaussian, and comes back exactly."""

import numpy as np
import pytest
import torch
from scipy.stats import kstest, kurtosis, skew

from physgen.domains.cosmology import Domain
from physgen.domains.cosmology.arrays import make_ensemble
from physgen.domains.cosmology.gaussianise import LAST_SCORE, fit_knots, from_scores, to_scores


def skewed_fields(seed, n=60, side=32):
    """Independent cells whose ln density has skewness 1.4 and excess kurtosis 2.8: nothing that a logarithm cures."""
    g = np.random.default_rng(seed).normal(size=(n, side, side))
    return make_ensemble(np.exp(0.6 * g + 0.15 * g**2) - 1, "delta", 64.0, {}, np.arange(n), {})


def test_held_out_fields_have_a_gaussian_one_point_law():
    """Moments within 4 standard errors of independent cells, those of the fit and of the test added."""
    domain, train, test = Domain(transform="gaussian"), skewed_fields(1), skewed_fields(2)
    x = domain.encode(test, domain.fit_encoding(train))[0].numpy().ravel()
    per_cell = 2 / x.size
    assert abs(x.mean()) < 4 * np.sqrt(per_cell) and abs(x.var() - 1) < 4 * np.sqrt(2 * per_cell)
    assert abs(skew(x)) < 4 * np.sqrt(6 * per_cell) and abs(kurtosis(x)) < 4 * np.sqrt(24 * per_cell)
    plain = Domain(transform="log")
    raw = plain.encode(test, plain.fit_encoding(train))[0].numpy().ravel()
    assert skew(raw) > 0.5 and np.abs(raw).max() > 1.3 * np.abs(x).max()


def test_a_gaussian_field_decodes_to_the_training_law():
    """Kolmogorov-Smirnov distance of decoded white noise from the training cells: below its 0.1 % critical value."""
    domain, train = Domain(transform="gaussian"), skewed_fields(3)
    x = torch.randn(60, 1, 32, 32, generator=torch.Generator().manual_seed(4))
    drawn = domain.decode(x, train, domain.fit_encoding(train))
    distance = kstest(drawn.field.values.ravel(), train.field.values.ravel()).statistic
    assert distance < 1.95 * np.sqrt(2 / x.numel())


@pytest.mark.parametrize("law", ["smooth", "atoms", "one value", "far apart"])
def test_the_map_is_increasing_and_exactly_inverse_far_beyond_the_knots(law):
    rng = np.random.default_rng(5)
    values = {
        "smooth": rng.gamma(2.0, size=20000),
        "atoms": np.log(rng.poisson(0.7, 20000) + 0.01),
        "one value": np.r_[np.zeros(19999), 1.0],
        "far apart": np.r_[rng.normal(size=10000), 50 + rng.normal(size=10000)],
    }[law]
    knots = fit_knots(values)
    assert len(knots["value"]) == len(knots["score"]) <= 48 and max(knots["score"]) <= LAST_SCORE
    wide = np.ptp(values) + 1
    at = np.sort(np.r_[values, knots["value"], np.linspace(values.min() - wide, values.max() + wide, 20001)])
    score = to_scores(at, knots)
    assert np.isfinite(score).all() and (np.diff(score)[np.diff(at) > 1e-9] > 0).all()
    np.testing.assert_allclose(from_scores(score, knots), at, atol=1e-9 * wide, rtol=0)
    # scores travel as float32
    np.testing.assert_allclose(from_scores(score.astype(np.float32).astype(float), knots), at, atol=2e-5 * wide, rtol=0)


def test_the_map_and_its_slope_have_no_steps():
    knots = fit_knots(np.random.default_rng(6).gamma(2.0, size=20000))
    inner, step = np.array(knots["value"]), 1e-5
    left, middle, right = (to_scores(inner + shift, knots) for shift in (-step, 0, step))
    np.testing.assert_allclose(middle, knots["score"], atol=1e-12)
    np.testing.assert_allclose(right - middle, middle - left, rtol=2e-3)
