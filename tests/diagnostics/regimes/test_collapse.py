"""Collapse on single data, against the closed forms of Gaussian laws and by brute force."""

import math

import numpy as np
import pytest
import torch

from physgen.diagnostics.regimes import collapse
from physgen.diagnostics.regimes.closed_forms import (
    gaussian_collapse_time,
    gaussian_excess_entropy,
    mixture_collapse_time,
)
from physgen.diagnostics.regimes.collapse import draw_noise, excess_entropy, starts
from physgen.diagnostics.regimes.left_out import Groups
from physgen.diagnostics.regimes.surrogate import ModePower
from physgen.errors import InputError

N, D = 300, 12
T_C = mixture_collapse_time(N, D, 1.0)
TIMES = T_C * np.array([0.5, 0.75, 1.0, 1.25, 1.5])


def gaussian(y, s):
    variance = 1 + s**2
    return -0.5 * y.flatten(1).square().sum(1) / variance - 0.5 * D * torch.log(2 * math.pi * variance)


@pytest.fixture(scope="module")
def data():
    return torch.as_tensor(np.random.default_rng(5).standard_normal((N, 1, D)))


@pytest.fixture(scope="module")
def measured(data):
    return excess_entropy(data, TIMES, draws=1200, seed=3, log_density=gaussian)


def test_the_closed_forms_are_the_same_law():
    assert gaussian_collapse_time(np.ones(D), N) == pytest.approx(T_C, rel=1e-9)
    assert gaussian_excess_entropy(np.ones(D), N, T_C) == pytest.approx(0.0, abs=1e-12)
    assert gaussian_excess_entropy(np.ones(D), N, 20.0) == pytest.approx(math.log(N) / D, rel=1e-9)
    assert mixture_collapse_time(N, D, 1.0, orbit_size=8) == mixture_collapse_time(8 * N, D, 1.0) < T_C


def test_excess_entropy_and_its_root_agree_with_the_closed_form(measured):
    pull = (measured["value"] - gaussian_excess_entropy(np.ones(D), N, TIMES)) / measured["error"]
    assert float(abs(pull).max()) < 4
    assert abs(float(measured["t_C"]) - T_C) < 4 * float(measured["t_C_error"])
    assert float(measured["t_C_error"]) < 0.05 * T_C


def test_the_estimates_of_an_unknown_law_are_biased_to_their_sides(measured, data):
    theory = gaussian_excess_entropy(np.ones(D), N, TIMES)
    assert np.all(measured["empirical"] > theory)
    assert np.all(measured["held_out"] < theory)
    assert float(measured["empirical"].min()) > 0
    unknown = excess_entropy(data, TIMES, draws=1200, seed=3)
    assert abs(float(unknown["t_C"]) - T_C) < 3 * float(unknown["t_C_error"])
    assert float(unknown["t_C_held_out"]) > T_C
    np.testing.assert_array_equal(unknown["value"], measured["held_out"])


def test_own_weight_is_the_order_parameter(measured):
    """Nishimori: of all draws from the posterior the true datum is one."""
    assert float(abs(measured["nishimori"] / measured["nishimori_error"]).max()) < 4
    assert 0.53 < float(measured["order_parameter"].sel(t=T_C)) < 0.62


def test_weights_are_those_of_a_softmax(data):
    few, t, seed, draws = data[:20], 0.3, 7, 50
    s = math.sqrt(math.expm1(2 * t))
    own = starts(20, draws, seed)
    y = few[own] + s * draw_noise(0, draws, few.shape[1:], seed)
    w = torch.softmax(-(y[:, None] - few[None]).flatten(2).square().sum(2) / (2 * s**2), dim=1).numpy()
    control = draw_noise(0, draws, few.shape[1:], seed).square().flatten(1).sum(1).numpy()

    def mean(per_draw):
        slope = np.cov(per_draw, control)[0, 1] / np.cov(per_draw, control)[1, 1]
        return per_draw.mean() - slope * (control.mean() - D)

    found = excess_entropy(few, [t], draws, seed)
    assert float(found["order_parameter"][0]) == pytest.approx(mean((w**2).sum(1)), rel=1e-9)
    assert float(found["own_weight"][0]) == pytest.approx(mean(w[np.arange(draws), own]), rel=1e-9)
    assert float(found["participation"][0]) == pytest.approx(mean(1 / (w**2).sum(1)), rel=1e-9)
    assert float(found["empirical"][0]) == pytest.approx(mean(-np.log(w[np.arange(draws), own])) / D, rel=1e-9)


def test_dependent_data_widen_the_error_and_do_not_count_as_held_out(data):
    """Ten copies of thirty data: taken for independent they look collapsed on themselves."""
    copies = data[:30].repeat_interleave(10, dim=0)
    unit = np.repeat(np.arange(30), 10)
    blind = excess_entropy(copies, TIMES, draws=600, seed=3)
    told = excess_entropy(copies, TIMES, draws=600, seed=3, unit=unit)
    assert np.all(told["error"] > 1.5 * blind["error"])
    assert np.all(told["held_out"] < blind["held_out"])
    np.testing.assert_allclose(told["empirical"], blind["empirical"], rtol=1e-12)


@pytest.mark.parametrize(("n", "stationary"), [(100, False), (100, True)])
def test_the_gaussian_surrogate_of_few_data_is_not_too_sure(n, stationary):
    """Fitted variances lose up to 5 per cent of the information here if nothing is made good."""
    d, times, found, raw = 24, np.array([0.3, 1.0]), [], []
    for seed in range(25):
        x = torch.as_tensor(np.random.default_rng(seed).standard_normal((n, 1, d)))
        power = ModePower.of(x, Groups.of(n, None, 0), stationary)
        found.append(power.information(times)[0])
        raw.append(power.information(times, corrected=False)[0])
    exact = 0.5 * d * np.log1p(1 / np.expm1(2 * times))
    bias, error = np.mean(found, axis=0) / exact - 1, np.std(found, axis=0, ddof=1) / math.sqrt(25) / exact
    assert np.all(np.abs(bias) < 4 * error + (d / n) ** 2 / 4), "of second order in d/n"
    assert np.all(np.abs(np.mean(found, axis=0) - exact) < np.abs(np.mean(raw, axis=0) - exact))


def test_draws_of_a_block_do_not_matter(data, monkeypatch):
    whole = excess_entropy(data[:40], TIMES, draws=60, seed=3)
    monkeypatch.setattr(collapse, "BLOCK", 40 * 7)
    parts = excess_entropy(data[:40], TIMES, draws=60, seed=3)
    for name in whole:
        np.testing.assert_allclose(parts[name], whole[name], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("changed", "rule"),
    [
        ({"times": [0.0, 1.0]}, "times > 0"),
        ({"times": [1.0, 0.5]}, "must increase"),
        ({"draws": 1}, "at least 2 draws"),
        ({"unit": [1, 2]}, "one unit for each"),
        ({"orbit": "knots"}, "orbit must be"),
    ],
)
def test_input_that_cannot_be_used_is_named(data, changed, rule):
    with pytest.raises(InputError, match=rule):
        excess_entropy(data, **changed)
