"""The linear spectrum against CAMB and against its own definition."""

import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import yaml
from scipy.integrate import quad

from physgen.config import check_config
from physgen.domains.cosmology import Domain
from physgen.domains.cosmology import linear_power as linear_power_module
from physgen.domains.cosmology.background import CosmologyParams, growth_factor
from physgen.domains.cosmology.linear_power import linear_power
from physgen.errors import InputError

CONFIGS = Path(__file__).resolve().parents[3] / "configs" / "cosmology"
TABLE = np.loadtxt(Path(__file__).with_name("nonlinear_mead2020.txt"))


def test_eisenstein_hu_stays_in_its_band_around_camb():
    """Known deviations: -2.5 to +3.8 % for 0.01 < k < 0.3 (phase of the wiggles), 2 % beyond."""
    k, camb = TABLE[:, 0], TABLE[:, 1]
    ratio = linear_power(k, CosmologyParams()) / camb
    wiggles = k < 0.3
    assert ratio[wiggles].min() > 0.97 and ratio[wiggles].max() < 1.04
    np.testing.assert_allclose(ratio[~wiggles], 1, atol=0.02)


@pytest.mark.parametrize(("Omega_m", "low", "high"), [(0.1, -13.4, 12.1), (0.5, -0.6, 2.4)])
def test_the_stated_errors_of_the_fit_at_the_ends_of_the_label_range(Omega_m, low, high):
    """Row of the table of the module, 0.1 < k < 0.3 h/Mpc, to 0.2 per cent."""
    import_module("camb")
    k = np.geomspace(0.1, 0.3, 60)
    error = 100 * (linear_power(k, CosmologyParams(Omega_m)) / linear_power(k, CosmologyParams(Omega_m), "camb") - 1)
    assert error.min() == pytest.approx(low, abs=0.2) and error.max() == pytest.approx(high, abs=0.2)


def test_auto_is_settled_once_and_recorded(monkeypatch):
    """What a configuration says after it was read is a method, in its digest and in the data; files do not mix."""
    said = {"schema_version": 1, "name": "t", "domain": "cosmology"}
    found = {}
    for there in (True, False):
        monkeypatch.setattr(linear_power_module.importlib.util, "find_spec", lambda name, there=there: there or None)
        found[there] = check_config(said)
    assert [found[there].data.linear_power for there in (True, False)] == ["camb", "eisenstein_hu"]
    assert found[True].digest() != found[False].digest()
    again = check_config(found[True].resolved())  # read where camb is missing: it stays what it was
    assert again.data.linear_power == "camb" and again.digest() == found[True].digest()
    tiny = {"cells": 8, "particles": 8, "box_size": 32.0, "thickness": 8.0, "simulations": 2, "steps": 2}
    made = Domain(**tiny).simulate(1)
    assert made.attrs["linear_power"] == "eisenstein_hu"
    with pytest.raises(InputError, match="linear_power differs"):
        Domain().confront(made, made.assign_attrs(linear_power="camb"), "other")


@pytest.mark.parametrize("config", sorted(CONFIGS.glob("*.yaml")), ids=lambda p: p.stem)
def test_shipped_configurations_name_their_linear_power(config):
    """What they make must not depend on what else is installed."""
    text = yaml.safe_load(config.read_text())
    if "extends" in text:
        text = yaml.safe_load((CONFIGS / text["extends"]).read_text())
    assert text["data"]["linear_power"] in ("camb", "eisenstein_hu")


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
    linear_power_module._shape.cache_clear()
    with pytest.raises(InputError, match="pip install camb"):
        linear_power(np.array([0.1]), CosmologyParams(), "camb")
    with pytest.raises(InputError, match="'class' is unknown: choose one of eisenstein_hu, camb"):
        linear_power(np.array([0.1]), CosmologyParams(), "class")
