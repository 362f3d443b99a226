"""One-point statistics: normalisation, known laws, jackknife errors."""

import numpy as np
import pytest

from physgen.diagnostics.distribution import histogram_array, moments, one_point
from physgen.errors import InputError


def test_mass_outside_the_bins_is_kept_in_the_end_bins():
    found = histogram_array(np.array([[-9.0, 0.5, 1.5, 99.0], [0.0, 1.0, 2.0, 3.0]]), np.array([0.0, 1.0, 2.0]))
    np.testing.assert_array_equal(found, [[0.5, 0.5], [0.25, 0.75]])


def test_density_integrates_to_one_and_follows_the_normal_law(lattice):
    """The logarithm of a lognormal field; expected mass of each bin from the error function."""
    from scipy.stats import norm

    rng, spread = np.random.default_rng(0), 0.8
    field = np.exp(spread * rng.standard_normal((400, 8, 8)))
    axis = ("ln_field", {"long_name": "logarithm of the field", "units": "1"})
    found = one_point(lattice(field), np.linspace(-4, 4, 41), "linear", np.log, axis)
    x, width = found["ln_field"].values, found["width"].values
    assert (found["value"] * found["width"]).sum() == pytest.approx(1.0, rel=1e-12)
    law = norm(0, spread)
    expected = law.cdf(x + width / 2) - law.cdf(x - width / 2)
    likely = expected * 400 * 64 > 50
    z = ((found["value"] * width - expected) / (found["error"] * width)).values[likely]
    assert np.abs(z).max() < 4.5 and abs((z**2).mean() - 1) < 4 * np.sqrt(2 / likely.sum())


def test_the_standardised_field_does_not_depend_on_units(lattice):
    field = np.random.default_rng(1).standard_normal((10, 8, 8))
    one, two = (one_point(lattice(f * field)) for f in (1.0, 3e11))
    np.testing.assert_allclose(one["value"], two["value"], rtol=1e-12)
    assert one["value"].dims == ("standardised_field",)
    with pytest.raises(InputError, match="linear"):
        one_point(lattice(field), scale="linear")


def test_mass_outside_counts_and_nan_is_refused(lattice):
    field = np.full((2, 4, 4), -1.0)
    assert float(one_point(lattice(field), [0.0, 0.1, 0.2], "linear")["value"][0]) == pytest.approx(10.0)
    field[0, 0, 0] = np.nan
    with pytest.raises(InputError, match="finite"):
        one_point(lattice(field), [0.0, 0.1, 0.2], "linear")


def test_moments_of_independent_spins_are_those_of_a_coin(spin_ensemble):
    """+-1 with equal odds: 0, 1, 0, -2; every temperature and instance alike."""
    found = moments(spin_ensemble(np.random.default_rng(2), range(60)))
    assert found["value"].dims == ("temperature", "moment")
    z = (found["value"] - [0.0, 1.0, 0.0, -2.0]) / found["error"]
    assert np.abs(z).max() < 4


def test_moments_of_an_exponential_law_lie_within_their_errors(lattice):
    """Mean, variance, skewness, excess kurtosis 1, 1, 2, 6; far from the origin no digits are lost."""
    values = np.random.default_rng(3).exponential(size=(400, 32, 32))
    for offset in (0.0, 1e6):
        found = moments(lattice(values + offset))
        z = (found["value"] - [1.0 + offset, 1.0, 2.0, 6.0]) / found["error"]
        assert np.abs(z).max() < 4
