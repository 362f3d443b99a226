"""The random-features score: spectrum and learning curves of the saddle point against diagonalised matrices."""

import math

import numpy as np
import pytest
import torch

from physgen.diagnostics.regimes.random_features import (
    FeatureModel,
    feature_constants,
    random_features_spectrum,
    saddle_point,
)
from physgen.diagnostics.regimes.random_features_check import (
    diagonalise,
    draw_features,
    finite_losses,
    training_curves,
)
from physgen.diagnostics.regimes.random_features_training import random_features_losses, random_features_window
from physgen.errors import InputError

CONSTANTS = feature_constants(0.01)
SMALL = FeatureModel(8, 3, CONSTANTS)


@pytest.fixture(scope="module")
def spectrum():
    return random_features_spectrum(FeatureModel(64, 8, CONSTANTS))


def test_constants_of_tanh_are_those_of_an_independent_integration():
    found = CONSTANTS.kappa_a, CONSTANTS.kappa_b**2, CONSTANTS.kappa_v2, CONSTANTS.kappa_s2
    assert found == pytest.approx((0.605706, 0.0072647, 0.0255418, 0.00187355), rel=1e-5)


def test_constants_of_a_cubic_are_those_of_its_hermite_series():
    """For x^3 with x = a u + b g, a^2 + b^2 = 1: E[u x^3] = 3 a, E[(E_g x^3)^2] = a^6 15 + 18 a^4 b^2 + 9 a^2 b^4."""
    found = feature_constants(0.3, lambda x: x**3)
    a2, b2 = math.exp(-0.6), -math.expm1(-0.6)
    over_noise = 15 * a2**3 + 18 * a2**2 * b2 + 9 * a2 * b2**2
    expected = 3.0, 3 * math.sqrt(b2), over_noise - 9 * a2, 15 - over_noise - 9 * b2
    assert (found.kappa_a, found.kappa_b, found.kappa_v2, found.kappa_s2) == pytest.approx(expected)


@pytest.mark.parametrize("covariance", [None, (0.5, 1.5)])
def test_resolvent_is_that_of_sampled_matrices(covariance):
    """Linear statistics fluctuate by O(1/p) around their limit: at p = 800 and |z - spectrum| ~ 0.1 that is 1e-3."""
    model = FeatureModel(8, 3, CONSTANTS, covariance)
    z = np.array([0.05 + 0.1j, 0.5 + 0.2j, 3.0 + 1.0j])
    limit = saddle_point(z, model)
    draws = [draw_features(model, 100, seed) for seed in range(3)]
    sampled = np.array([(1 / (f.eigenvalues - z[:, None])).sum(1) + f.silent / (CONSTANTS.kappa_s2 - z) for f in draws])
    reached = np.array([(f.reached / (f.eigenvalues - z[:, None])).sum(1) for f in draws])
    assert sampled.mean(0) / 800 == pytest.approx(limit.q, rel=3e-3)
    assert reached.mean(0) == pytest.approx(CONSTANTS.kappa_b**2 * 8 * limit.s1, rel=2e-2)  # d = 100: 1/d


def test_spectrum_has_the_bulks_and_weights_of_the_mode_count(spectrum):
    assert spectrum["weight"].values == pytest.approx([1 / 64, 7 / 64, 1 / 64], rel=5e-3)
    assert float(spectrum["delta_weight"]) == pytest.approx(1 - 9 / 64)
    # d = 100 sampled: [10.33, 43.29] and 0.357; edges of a sample lie inside by d^(-2/3), a few per cent
    assert float(spectrum["generalization_low"]) == pytest.approx(9.836, rel=1e-3)
    assert float(spectrum["generalization_high"]) == pytest.approx(44.69, rel=1e-3)
    assert float(spectrum["memorization_high"]) == pytest.approx(0.3595, rel=1e-3)
    assert float(spectrum["tau_gen"]) < float(spectrum["tau_mem_onset"]) < float(spectrum["tau_mem"])


def test_sampled_edges_lie_just_inside_the_limit(spectrum):
    values = draw_features(FeatureModel(64, 8, CONSTANTS), 60, seed=1).eigenvalues
    general = values[-60:]
    low, high = float(spectrum["generalization_low"]), float(spectrum["generalization_high"])
    assert 0.98 * low < general[0] < 1.25 * low
    assert 0.85 * high < general[-1] < 1.05 * high
    assert values[-61] == pytest.approx(float(spectrum["memorization_high"]), rel=0.05)


def test_merged_bulks_have_no_times():
    assert np.isnan(float(random_features_spectrum(FeatureModel(4, 0.5, CONSTANTS))["tau_mem"]))


@pytest.mark.parametrize("sizes", [(8, 3), (2, 4), (3, 0.5)])
@pytest.mark.parametrize("covariance", [None, (0.25, 0.5, 1.25, 2.0)])
def test_losses_agree_with_diagonalised_matrices_at_every_time(sizes, covariance):
    tau = np.geomspace(1, 1e7, 15)
    model = FeatureModel(*sizes, CONSTANTS, covariance)
    limit = random_features_losses(tau, model)
    found = finite_losses(tau, model, 60, seeds=range(8))
    for name in ("train", "test"):
        pull = (found[name] - limit[name]) / np.hypot(found[f"{name}_error"], abs(limit[name] - 1) / 60)
        assert np.abs(pull).max() < 4


def test_error_of_true_features_falls_with_the_dimension():
    """The true features differ from their Gaussian equivalents by O(1/d): halved when d doubles."""
    tau = [1e5, 1e7]
    limit = random_features_losses(tau, SMALL)["test"].values
    off = [finite_losses(tau, SMALL, d, range(4), "features")["test"].values / limit - 1 for d in (24, 48)]
    assert np.all(np.abs(off[1]) < 0.2)
    assert np.all(np.abs(off[1]) < 0.8 * np.abs(off[0]))


def test_train_loss_of_the_true_features_is_the_denoising_loss():
    """The loss as a sum over data and drawn noise, no algebra: within four standard errors of the closed expression."""
    model, d = FeatureModel(3, 2, feature_constants(0.2)), 12
    random = np.random.default_rng([0, 36, 24, d])  # as draw_features draws
    weights, data = random.standard_normal((36, d)), random.standard_normal((d, 24))
    found = draw_features(model, d, 0, "features")
    # at infinite time A V^T... is least squares: compare its loss with one on fresh noise for the same data
    noise = np.random.default_rng(5).standard_normal((d, 24, 4000))
    amount = model.constants.noise_variance
    x = math.exp(-0.2) * data[:, :, None] + math.sqrt(amount) * noise
    features = np.tanh(np.einsum("pi,ink->pnk", weights, x) / math.sqrt(d)).reshape(36, -1)
    target = noise.reshape(d, -1)
    u, v = features @ features.T / target.shape[1], features @ target.T / target.shape[1]
    direct = 1 - np.trace(v.T @ np.linalg.solve(u, v)) / d
    train, _ = training_curves([1e9], model, found)
    assert train[0] == pytest.approx(direct, abs=4 / math.sqrt(target.size / d))


def test_training_time_is_steps_times_rate_over_the_square_of_the_dimension():
    """Plain gradient descent of the denoising loss per dimension, on drawn noise: 60 small steps."""
    random, d, p, draws = np.random.default_rng(2), 6, 18, 40
    model = FeatureModel(p / d, 1, feature_constants(0.2))
    amount = model.constants.noise_variance
    noise = torch.from_numpy(random.standard_normal((d, draws)))
    x = math.exp(-0.2) * torch.from_numpy(random.standard_normal((d, draws))) + math.sqrt(amount) * noise
    features = torch.tanh(torch.from_numpy(random.standard_normal((p, d))) @ x / math.sqrt(d))
    a, rate, steps = torch.zeros(d, p, dtype=torch.float64, requires_grad=True), 2.0, 60

    def loss(a):
        return ((math.sqrt(amount / p) * a @ features + noise) ** 2).sum() / draws / d

    for _ in range(steps):
        (slope,) = torch.autograd.grad(loss(a), a)
        a = (a - rate * slope).detach().requires_grad_()
    u, v = (features @ features.T / draws).numpy(), (features @ noise.T / draws).numpy()
    found = diagonalise((u, v, u, v))
    train, _ = training_curves([steps * rate / d**2], model, found)
    learned = float((noise**2).sum() / draws / d) - float(loss(a).detach())
    assert learned > 0.05
    assert 1 - train[0] == pytest.approx(learned, rel=0.03)  # a step moves the fastest mode by 2 D lambda rate / (p d)


def test_window_matches_the_diagonalised_times():
    """Time to a gap of 0.1 at psi_p = 64, d = 40, sampled: 2991 and 9381 for psi_n = 4, 8."""
    times = [float(random_features_window(FeatureModel(64, n, CONSTANTS))["tau_gap"]) for n in (4, 8)]
    assert times == pytest.approx([2991, 9381], rel=0.15)
    assert math.log2(times[1] / times[0]) > 1.25  # not yet the slope 1 of the limit


def test_bad_input_is_refused_in_words():
    with pytest.raises(InputError, match="mean of the data spectrum"):
        FeatureModel(8, 3, CONSTANTS, (1.0, 3.0))
    with pytest.raises(InputError, match="training times"):
        random_features_losses(-1.0, SMALL)
    with pytest.raises(InputError, match="positive imaginary"):
        saddle_point(np.array([1.0 + 0j]), SMALL)
    with pytest.raises(InputError, match="mean zero"):
        feature_constants(0.1, lambda x: np.maximum(x, 0))
    with pytest.raises(InputError, match="linear"):
        feature_constants(0.1, lambda x: x)
    with pytest.raises(InputError, match="t > 0"):
        feature_constants(0.0)
