"""Expansion and growth against independent integrals, differential equations and astropy."""

import numpy as np
import pytest
from scipy.integrate import quad, solve_ivp

from physgen.domains.cosmology.background import (
    CosmologyParams,
    growth_factor,
    growth_rate,
    hubble_rate,
    matter_fraction,
    second_order_growth,
)
from physgen.errors import InputError


@pytest.mark.parametrize("Omega_m", [0.1, 0.3175, 0.9, 1.0])
def test_growth_is_the_integral_of_heath(Omega_m):
    def heath(a):
        integral = quad(lambda b: (b * hubble_rate(b, Omega_m)) ** -3, 0, a, epsrel=1e-11)[0]
        return hubble_rate(a, Omega_m) * integral

    for a in (0.05, 0.3, 0.7):
        assert growth_factor(a, Omega_m) == pytest.approx(heath(a) / heath(1.0), rel=1e-8)


def test_growth_and_its_rate_solve_the_equation_of_motion():
    Omega_m, start = 0.25, np.log(1e-3)

    def motion(ln_a, y):
        fraction = matter_fraction(np.exp(ln_a), Omega_m)
        return [y[1], 1.5 * fraction * y[0] - (2 - 1.5 * fraction) * y[1]]

    ends = solve_ivp(motion, (start, 0.0), [1e-3, 1e-3], rtol=1e-10, atol=1e-14).y[:, -1]
    d0 = growth_factor(1e-3, Omega_m)
    assert 1e-3 / ends[0] == pytest.approx(d0, rel=1e-6)
    assert ends[1] / ends[0] == pytest.approx(growth_rate(1.0, Omega_m), rel=1e-6)


def test_the_matter_era_is_exact():
    a = np.array([0.01, 0.1, 1.0])
    np.testing.assert_allclose(growth_factor(a, 1.0), a, rtol=1e-12)
    d2, slope = second_order_growth(a, 1.0)
    np.testing.assert_allclose(d2, -3 / 7 * a**2, rtol=1e-6)
    np.testing.assert_allclose(slope, -6 / 7 * a**2, rtol=1e-6)


@pytest.mark.parametrize("Omega_m", [0.1, 0.3, 0.5])
def test_second_order_growth_follows_the_known_fit(Omega_m):
    """D2 = -(3/7) D^2 Omega_m(a)^(-1/143) (Bouchet et al. 1995), good to 0.6 % for Omega_m > 0.1."""
    for a in (0.1, 0.5, 1.0):
        fit = -3 / 7 * growth_factor(a, Omega_m) ** 2 * matter_fraction(a, Omega_m) ** (-1 / 143)
        assert second_order_growth(a, Omega_m)[0] == pytest.approx(fit, rel=6e-3)


def test_astropy_and_back_is_the_same_universe():
    params = CosmologyParams(0.3, 0.8, 0.05, 0.7, 0.96)
    there = params.to_astropy()
    assert CosmologyParams.from_astropy(there) == params
    assert there.efunc(1.0) == pytest.approx(hubble_rate(0.5, 0.3), rel=1e-12)


def test_what_astropy_does_not_know_is_asked_for():
    from astropy.cosmology import FlatLambdaCDM, LambdaCDM

    bare = FlatLambdaCDM(H0=70, Om0=0.3, Ob0=0.05)
    with pytest.raises(InputError, match="sigma_8 is not in this astropy cosmology"):
        CosmologyParams.from_astropy(bare)
    assert CosmologyParams.from_astropy(bare, sigma_8=0.8, n_s=0.96).sigma_8 == 0.8
    with pytest.raises(InputError, match="only flat"):
        CosmologyParams.from_astropy(LambdaCDM(H0=70, Om0=0.3, Ode0=0.5, Ob0=0.05), sigma_8=0.8, n_s=1.0)


@pytest.mark.parametrize(
    ("values", "message"), [((0.0,), "outside"), ((0.3, 0.8, 0.4), "Omega_b"), ((0.3, -1), "sigma_8")]
)
def test_impossible_universes_are_refused(values, message):
    with pytest.raises(InputError, match=message):
        CosmologyParams(*values)
