"""The linear spectrum against CAMB and against its own definition."""

import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from scipy.integrate import quad

from physgen.domains.cosmology.background import CosmologyParams, growth_factor
from physgen.domains.cosmology.linear_power import linear_power
from physgen.errors import InputError

TABLE = np.loadtxt(Path(__file__).with_name("nonlinear_mead2020.txt"))


def test_eisenstein_hu_stays_in_its_band_around_camb():
    """Known deviations: -2.5 to +3.8 % for 0.01 < k < 0.3 (phase of the wiggles), 2 % beyond."""
    k, camb = TABLE[:, 0], TABLE[:, 1]
    ratio = linear_power(k, CosmologyParams()) / camb
    wiggles = k < 0.3
    assert ratio[wiggles].min() > 0.97 and ratio[wiggles].max() < 1.04
    np.testing.assert_allclose(ratio[~wiggles], 1, atol=0.02)


def test_the_amplitude_is_sigma_8():
    params = CosmologyParams(0.2, 0.93)

    def integrand(ln_k):
        k = np.exp(ln_k)
        x = 8 * k
        window = 3 * (np.sin(x) - x * np.cos(x)) / x**3
        return k**3 * linear_power(np.array([k]), params)[0] * window**2 / (2 * np.pi**2)

    variance = quad(integrand, np.log(1e-4), np.log(15.0), limit=200, epsrel=1e-5)[0]
    assert np.sqrt(variance) == pytest.approx(0.93, rel=1e-3)


def test_large_scales_keep_the_primordial_slope_and_grow_with_D_squared():
    params = CosmologyParams(n_s=0.9)
    k = np.array([2e-4, 3e-4])
    power = linear_power(k, params)
    slope = np.log(power[1] / power[0]) / np.log(k[1] / k[0])
    assert slope == pytest.approx(0.9, abs=0.02)
    early = linear_power(k, params, scale_factor=0.4)
    np.testing.assert_allclose(early / power, growth_factor(0.4, params.Omega_m) ** 2, rtol=1e-12)


def test_camb_is_used_where_it_is_asked_for():
    import_module("camb")
    k = TABLE[2::6, 0]
    np.testing.assert_allclose(linear_power(k, CosmologyParams(), "camb"), TABLE[2::6, 1], rtol=5e-3)


def test_missing_camb_and_unknown_methods_are_explained(monkeypatch):
    monkeypatch.setitem(sys.modules, "camb", None)
    with pytest.raises(InputError, match="pip install camb"):
        linear_power(np.array([0.1]), CosmologyParams(), "camb")
    with pytest.raises(InputError, match="'class' is unknown: choose one of eisenstein_hu, camb"):
        linear_power(np.array([0.1]), CosmologyParams(), "class")
