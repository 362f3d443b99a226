"""Densities in units of their mean: the logarithm, the mean and its scatter, whatever kind of density a file holds."""

import numpy as np
import pytest
import xarray as xr

from physgen.diagnostics.comparison import compare_results
from physgen.diagnostics.spectrum import power_spectrum
from physgen.diagnostics.verdict import judge
from physgen.domains.cosmology import Domain
from physgen.domains.cosmology.arrays import make_ensemble
from physgen.domains.cosmology.density import density_scatter, log10, logarithm, mean_density
from physgen.domains.cosmology.statistics import DIAGNOSTICS
from physgen.errors import InputError


def fields(values, kind="delta", simulation=None, **attrs):
    values = np.asarray(values, dtype=float)
    numbers = np.arange(len(values)) if simulation is None else simulation
    made = make_ensemble(values, kind, 64.0, {}, numbers, {"domain": "cosmology"})
    made = made.drop_vars("mean_density", errors="ignore").assign(field=made["field"].astype(float).copy(data=values))
    made.attrs.pop("mean_density", None)
    return made.assign_attrs(attrs)


def test_mean_density_is_that_of_each_unit_in_the_reference_frame():
    rho = np.random.default_rng(1).gamma(4.0, 0.25, size=(12, 16, 16))
    unit = np.repeat(np.arange(4), 3)
    found = mean_density(fields(rho - 1, simulation=unit))
    np.testing.assert_allclose(np.sort(found["per_unit"]), np.sort(rho.reshape(4, -1).mean(axis=1)), rtol=1e-12)
    counts = fields(20 * rho, "counts", unit, mean_density=10.0)
    assert float(mean_density(counts)["value"]) == pytest.approx(2 * rho.mean(), rel=1e-6)
    assert float(mean_density(fields(7 * rho, "counts", unit))["value"]) == pytest.approx(1.0, rel=1e-6)
    with pytest.raises(InputError, match="kind 'real' has no mean density"):
        mean_density(fields(rho, "real"))


def test_scatter_of_the_mean_is_found_within_its_error_whatever_the_number_of_maps_of_a_unit():
    """Means of standard deviation 0.1: with one and with four maps of a unit."""
    rng = np.random.default_rng(2)
    for maps in (1, 4):
        means = 0.1 * rng.standard_normal(240)
        found = density_scatter(
            fields(np.broadcast_to(means[:, None, None], (240, 8, 8)) + 0.0, simulation=np.arange(240) // maps)
        )
        error = float(found["error"])
        assert abs(float(found["value"]) - 0.1) < 4 * error and error == pytest.approx(0.1 / np.sqrt(480), rel=0.3)


def test_boxes_that_hold_the_mean_scatter_alike_whatever_their_rounding_and_one_that_does_not_is_seen():
    """Means to 1e-9 and to 1e-7 are equal; their ratio used to be a hundred. A scatter of 1 % beside them fails."""
    rng = np.random.default_rng(3)
    means = rng.standard_normal((3, 40, 1, 1)) * np.array([1e-9, 1e-7, 1e-2]).reshape(-1, 1, 1, 1)
    found = [density_scatter(fields(np.broadcast_to(mean, (40, 8, 8)) + 0.0)) for mean in means]
    assert float(found[0]["value"]) == pytest.approx(1e-5, rel=1e-3)
    same, other = (compare_results(found[0], one) for one in found[1:])
    assert judge(same).status == "pass" and judge(other).status == "fail"


def test_the_logarithm_is_of_the_density_and_the_same_for_every_kind():
    rho = np.exp(np.random.default_rng(10).standard_normal((6, 16, 16)))
    rho /= rho.mean()
    log = DIAGNOSTICS["log_power_spectrum"]
    one, counts = log(fields(rho - 1)), log(fields(7 * rho, "counts"))
    direct = power_spectrum(fields(np.log10(np.maximum(rho, 1e-3)), "real"))
    np.testing.assert_allclose(one["value"], direct["value"], rtol=1e-6)
    np.testing.assert_allclose(counts["value"], direct["value"], rtol=1e-4)  # contrasts are of single precision
    assert one.attrs["diagnostic"] == "power_spectrum_log10"
    np.testing.assert_allclose(log10(np.array([-1.0, -1.5, 0.0, 9.0])), [-3, -3, 0, 1], atol=1e-12)


def test_real_fields_are_not_taken_for_densities():
    """Their logarithm used to be that of 1 + field, without a word."""
    values = np.random.default_rng(11).standard_normal((6, 16, 16))
    real = fields(values, "real")
    assert logarithm(real) is None
    np.testing.assert_allclose(DIAGNOSTICS["log_power_spectrum"](real)["value"], power_spectrum(real)["value"])
    assert DIAGNOSTICS["one_point"](real)["value"].dims == ("standardised_field",)
    for name in ("peaks", "minima", "boundary", "euler_characteristic"):
        with pytest.raises(InputError, match="no default"):
            DIAGNOSTICS[name](real)
    both = xr.Dataset({"field": (("sample", "component", "y", "x"), np.stack([values, values], axis=1))})
    both = both.assign_attrs(field_kind="delta, real")
    mixed = logarithm(both)(both["field"].values)
    np.testing.assert_array_equal(mixed[:, 1], values)
    np.testing.assert_allclose(mixed[:, 0], log10(values))
    with pytest.raises(InputError, match="field_kind = 'temperature' is unknown"):
        DIAGNOSTICS["log_power_spectrum"](real.assign_attrs(field_kind="temperature"))


def test_one_point_law_of_a_lognormal_density():
    """1 + delta = exp(g - var/2): log10 of it is Gaussian; empty cells count in the first bin."""
    from scipy.stats import norm

    rng, spread = np.random.default_rng(0), 0.8
    found = DIAGNOSTICS["one_point"](fields(np.exp(spread * rng.standard_normal((400, 8, 8)) - spread**2 / 2) - 1))
    x, width = found["log10_density"].values, found["width"].values
    law = norm(-(spread**2) / 2 / np.log(10), spread / np.log(10))
    expected = law.cdf(x + width / 2) - law.cdf(x - width / 2)
    likely = expected * 400 * 64 > 50
    z = ((found["value"] * width - expected) / (found["error"] * width)).values[likely]
    assert np.abs(z).max() < 4.5
    assert float(DIAGNOSTICS["one_point"](fields(np.full((2, 4, 4), -1.0)))["value"][0]) == pytest.approx(10.0)


def test_a_reference_that_states_no_mean_is_halved_in_one_frame():
    rho = np.random.default_rng(3).gamma(4.0, 1.0, size=(8, 8, 8))
    reference, other = fields(rho, "counts"), fields(2 * rho, "counts")
    seen = Domain().confront(reference, other, "generated")
    stated = Domain().restrict(reference, seen)
    assert stated.attrs["mean_density"] == seen.attrs["mean_density"] == pytest.approx(rho.mean())
    assert float(mean_density(seen)["value"]) == pytest.approx(2.0, rel=1e-6)
    half = stated.isel(sample=slice(0, 4))
    assert float(mean_density(half)["value"]) == pytest.approx(rho[:4].mean() / rho.mean(), rel=1e-6)
