"""The diagnostics of density fields: each says what it tolerates, and structure is seen where spectra are right."""

import numpy as np
import pytest
import xarray as xr
from scipy.special import ndtr, ndtri

from physgen.diagnostics.result import make_result
from physgen.domains.cosmology.statistics import DIAGNOSTICS

STRUCTURE = ("log_bispectrum", "band_moments", "phase_moments", "scattering", "peaks", "minima", "euler_characteristic")
UNITS, MAPS, CELLS = 16, 2, 64


def gaussian(rng, power):
    white = np.fft.rfft2(rng.standard_normal((UNITS * MAPS, CELLS, CELLS)))
    return np.fft.irfft2(white * np.sqrt(power), s=(CELLS, CELLS))


def ensemble(log_density):
    rho = np.exp(log_density)
    side = (np.arange(CELLS) + 0.5) * 2.0
    coords = {d: (d, side, {"units": "Mpc/h"}) for d in ("y", "x")}
    variables = {
        "field": (("sample", "y", "x"), (rho - 1).astype(np.float32)),
        "simulation": ("sample", np.repeat(np.arange(UNITS), MAPS)),
    }
    return xr.Dataset(variables, coords=coords, attrs={"field_kind": "delta", "independent_unit": "simulation"})


@pytest.fixture(scope="module")
def web_and_copula():
    """Ridges where a Gaussian field vanishes; a field of their one-point law and nearly their spectrum, no ridges."""
    rng = np.random.default_rng(1)
    k = np.hypot(np.fft.fftfreq(CELLS)[:, None], np.fft.rfftfreq(CELLS)) * CELLS
    red = np.exp(-(k**2) / 32) * (k > 0)
    field = gaussian(rng, red)
    field /= field.std()
    web = -np.log(np.abs(field) + 0.05)
    scores = ndtri((np.argsort(np.argsort(web, axis=None)) + 0.5) / web.size).reshape(web.shape)
    power = (np.abs(np.fft.rfft2(scores)) ** 2).mean(axis=0) / CELLS**2
    drawn = gaussian(rng, power)
    copula = np.quantile(web, ndtr(drawn / drawn.std()).ravel()).reshape(web.shape)
    return ensemble(web), ensemble(copula)


@pytest.fixture(scope="module")
def results(web_and_copula):
    labelled = []
    for one in web_and_copula:  # any label that varies, for the response to it
        units = one["simulation"] if "simulation" in one else np.arange(one.sizes["sample"])
        labelled.append(one.assign(Omega_m=("sample", 0.1 + 0.01 * np.asarray(units, float))))
    return {name: tuple(diagnostic(e) for e in labelled) for name, diagnostic in DIAGNOSTICS.items()}


@pytest.mark.parametrize("name", DIAGNOSTICS)
def test_each_states_its_tolerance_and_a_yardstick_that_fits(results, name):
    for result in results[name]:
        assert result.attrs["tolerance"] > 0 and result.attrs["tolerance_of"]
        assert result.attrs["tolerance_kind"] in ("ratio", "difference", "distribution")
        if "yardstick" in result:
            assert result["yardstick"].dims in ((), result["value"].dims)
            assert result["yardstick"].attrs["units"] == result["value"].attrs["units"]
            assert result["yardstick"].attrs["long_name"] and (result["yardstick"] > 0).all()
        if result.attrs["tolerance_kind"] == "ratio":
            assert (result["value"] > 0).all()
    reference, other = results[name]
    for dim in reference["value"].dims:
        np.testing.assert_array_equal(reference[dim], other[dim])


@pytest.mark.parametrize("name", STRUCTURE)
def test_random_phases_with_the_right_one_point_law_are_convicted_by_each(results, name):
    """At five standard errors of the units or more, at the point that sees it best; one-point laws agree within 4."""
    reference, copula = results[name]
    difference = (copula["value"] - reference["value"]) / np.hypot(copula["error"], reference["error"])
    assert float(np.abs(difference).max()) > 5
    one_point = results["one_point"]
    agree = (one_point[1]["value"] - one_point[0]["value"]) / np.hypot(one_point[0]["error"], one_point[1]["error"])
    assert float(np.abs(agree.where(one_point[0]["value"] > 0.01)).max()) < 4


def test_averages_of_maps_do_not_depend_on_how_many_a_unit_has(web_and_copula):
    """What is nonlinear is taken of each map: two maps of a unit give the mean of the two, exactly."""
    web = web_and_copula[0]
    alone = web.drop_vars("simulation")
    for name in ("bispectrum", "band_moments", "scattering", "peaks", "euler_characteristic", "power_spectrum"):
        grouped, single = (DIAGNOSTICS[name](e)["per_unit"] for e in (web, alone))
        pairs = single.values.reshape(UNITS, MAPS, *single.shape[1:]).mean(axis=1)
        np.testing.assert_allclose(grouped.transpose("unit", ...).values, pairs, rtol=1e-9, atol=1e-12)
        assert make_result(grouped.values, grouped.dims[1:], {}, kind="curve", diagnostic=name)["value"].notnull().all()
