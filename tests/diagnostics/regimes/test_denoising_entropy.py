"""Excess entropy from a denoiser, against the density of a law that is known."""

import math

import numpy as np
import pytest
import torch

from physgen.diagnostics.regimes.closed_forms import gaussian_excess_entropy, mixture_collapse_time
from physgen.diagnostics.regimes.collapse import excess_entropy
from physgen.diagnostics.regimes.denoising_entropy import denoising_excess_entropy
from physgen.errors import InputError

D, N = 6, 1000
MEAN = torch.full((D,), 1.0, dtype=torch.float64)
TIMES = np.array([0.03, 0.05, 0.08, 0.15, 0.35, 0.7, 1.2])


def mixture(y, s, condition=None):
    """E[x0|y] of two Gaussians of variance 1/4 at +-MEAN."""
    variance = 0.25 + s[0] ** 2
    wide = y.flatten(1)
    centre = torch.tanh(wide @ MEAN / variance)[:, None] * MEAN
    return (centre + 0.25 / variance * (wide - centre)).reshape(y.shape)


def log_density(y, s):
    variance = 0.25 + s**2
    wide = y.flatten(1)
    quadratic = -0.5 * (wide.square().sum(1) + D) / variance
    return quadratic + torch.log(torch.cosh(wide @ MEAN / variance)) - 0.5 * D * torch.log(2 * math.pi * variance)


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(2)
    x = rng.choice([-1.0, 1.0], (N, 1, 1)) + 0.5 * rng.standard_normal((N, 1, D))
    return torch.as_tensor(x)


@pytest.fixture(scope="module")
def exact(data):
    return denoising_excess_entropy(mixture, data, TIMES, count=60)


def test_an_exact_denoiser_gives_the_entropy_of_its_law(data, exact):
    by_denoiser = exact
    by_density = excess_entropy(data[:60], TIMES, draws=1000, seed=1, log_density=log_density)
    error = np.hypot(by_denoiser["error"], by_density["error"])
    assert float(abs((by_denoiser["value"] - by_density["value"]) / error).max()) < 4
    assert float(by_denoiser["error"].max()) < 0.02
    assert np.all(by_denoiser["gaussian"] < by_denoiser["value"])
    theory = mixture_collapse_time(30, D, 0.5)  # the class is known there
    assert abs(float(by_denoiser["t_C"]) - theory) < 4 * float(by_denoiser["t_C_error"])
    assert float(by_denoiser["t_C_error"]) < 0.1 * theory


def test_the_wiener_filter_gives_the_gaussian_bound_and_a_poor_denoiser_less(data, exact):
    def wiener(y, s, condition):
        modes = torch.fft.fft(data - data.mean(), norm="ortho").abs().square().mean(0)
        gain = modes / (modes + s[0] ** 2)
        return torch.fft.ifft(gain * torch.fft.fft(y - data.mean())).real + data.mean()

    found = denoising_excess_entropy(wiener, data, TIMES, count=60)
    np.testing.assert_allclose(found["value"], found["gaussian"], atol=1e-9)
    power = torch.fft.fft(data - data.mean(), norm="ortho").abs().square().mean(0)
    np.testing.assert_allclose(found["gaussian"], gaussian_excess_entropy(power, 60, TIMES), rtol=1e-9)
    poor = denoising_excess_entropy(lambda y, s, c: 0.9 * mixture(y, s), data, TIMES, count=60)
    assert np.all(poor["value"] < exact["value"])


def test_times_that_do_not_increase_are_refused(data):
    with pytest.raises(InputError, match="increasing times"):
        denoising_excess_entropy(mixture, data, [1.0, 0.5], count=60)
