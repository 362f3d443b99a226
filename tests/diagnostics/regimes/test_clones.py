"""U-turns and clones of one value whose posterior is known: both probabilities are E sum_j p_j^2."""

import math

import numpy as np
import pytest
import torch

from physgen.diagnostics.regimes.classes import magnetization_class
from physgen.diagnostics.regimes.clones import clone, cloning_gap, u_turn
from physgen.diagnostics.regimes.unit_means import frequency_and_error, level_of, white_noise
from physgen.errors import InputError

SIGNS = magnetization_class((1, 1))


def draw_sign(y, s, seed, tilt=1.0):
    """x0 = +-1 with equal weights, from its posterior given y: P(+1) = 1/(1 + exp(-2 y/s^2))."""
    uniform = torch.from_numpy(np.random.default_rng(seed).random(tuple(y.shape)))
    return torch.where(uniform < torch.sigmoid(2 * tilt * y / s**2), 1.0, -1.0).double()


def down(y, s, lower, seed):
    """The exact step: x0 from the posterior, then the bridge between it and y."""
    x0, rho = draw_sign(y, s, seed), 1 - lower**2 / s**2
    return (1 - rho) * y + rho * x0 + lower * math.sqrt(rho) * white_noise(y, seed + 1)


def exact(t):
    """(1 + E tanh^2(y/s^2))/2 over y = 1 + s z."""
    s = level_of(t)
    z = np.linspace(-9, 9, 4001)
    weight = np.exp(-(z**2) / 2)
    return 0.5 * (1 + (weight * np.tanh((1 + s * z) / s**2) ** 2).sum() / weight.sum())


def test_u_turn_and_clone_are_the_square_of_the_posterior_and_equal():
    times, n = [0.2, 0.5, 1.0], 4000
    theory = np.array([exact(t) for t in times])
    x0 = torch.where(white_noise(torch.zeros(n, 1, 1).double(), 3) > 0, 1.0, -1.0).double()
    turned = u_turn(x0, draw_sign, times, SIGNS, seed=0)
    start = 20 * white_noise(x0, 4)
    copies = clone(start, 20.0, down, draw_sign, times, SIGNS, seed=1, copies=3)
    for found in (turned, copies):
        assert np.all(np.abs(found["value"] - theory) < 4 * found["error"])
        assert np.all(found["error"] < 0.01)
    assert np.all(copies["error"] < turned["error"])  # three pairs in place of one
    gap = cloning_gap(copies, turned)
    assert float(gap["p_value"]) > 1e-3


def test_a_wrong_posterior_opens_the_gap():
    times, n = [0.5], 4000
    x0 = torch.where(white_noise(torch.zeros(n, 1, 1).double(), 3) > 0, 1.0, -1.0).double()

    def sure(y, s, seed):
        return draw_sign(y, s, seed, tilt=3.0)

    turned = u_turn(x0, sure, times, SIGNS, seed=0)
    gap = cloning_gap(clone(20 * white_noise(x0, 4), 20.0, down, sure, times, SIGNS, seed=1), turned)
    assert float(gap["p_value"]) < 1e-6 and float(gap["value"][0]) > 0


def test_errors_are_over_units_and_never_zero():
    hits = np.repeat([1.0, 0.0, 1.0, 1.0], 25)
    value, error = frequency_and_error(hits, np.repeat(np.arange(4), 25))
    assert value == 0.75 and error == pytest.approx(0.25)
    value, error = frequency_and_error(np.ones(20), np.arange(20))
    assert value == 1 and 0.02 < error < 0.04
    assert np.isnan(frequency_and_error(np.ones(20), np.zeros(20, int))[1])


def test_noise_of_a_sample_does_not_depend_on_the_number_of_samples():
    x = torch.zeros(7, 2, 3)
    assert torch.equal(white_noise(x, 5, 1)[:3], white_noise(x[:3], 5, 1))
    assert not torch.equal(white_noise(x, 5, 1), white_noise(x, 5, 2))


def test_what_cannot_be_measured_is_refused():
    start = white_noise(torch.zeros(5, 1, 1).double(), 0)

    def same(y, s, seed):
        return torch.sign(y)

    with pytest.raises(InputError, match="stochastic"):
        clone(start, 20.0, down, same, [1.0], SIGNS, seed=0)
    with pytest.raises(InputError, match="start higher"):
        clone(start, 1.0, down, draw_sign, [2.0], SIGNS, seed=0)
    with pytest.raises(InputError, match="above 0"):
        u_turn(start, draw_sign, [0.0], SIGNS, seed=0)
    with pytest.raises(InputError, match="at least 2 copies"):
        clone(start, 20.0, down, draw_sign, [1.0], SIGNS, seed=0, copies=1)
