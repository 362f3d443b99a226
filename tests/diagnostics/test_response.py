"""The response of statistics to the labels: known derivatives within their errors, equal conditions, one frame."""

import json

import numpy as np
import pytest
import xarray as xr

from physgen.diagnostics import compare_results, judge, power_spectrum
from physgen.diagnostics.distribution import one_point
from physgen.diagnostics.label_fit import FRAME, LabelFit, label_frame, unit_labels
from physgen.diagnostics.response import response
from physgen.errors import InputError

CELLS = 16


def maps(rng, amplitude, tilt=None, noise=None):
    """White noise of rms ``amplitude`` (U,), two maps a unit; labels are the amplitude and one that does nothing."""
    units = len(amplitude)
    noise = rng.standard_normal((2 * units, CELLS, CELLS)) if noise is None else noise
    axis = ("sample", np.repeat(np.arange(units), 2))
    other = np.linspace(0, 1, units) if tilt is None else tilt
    variables = {
        "field": (("sample", "y", "x"), noise * np.repeat(amplitude, 2)[:, None, None]),
        "simulation": axis,
        "amplitude": ("sample", np.repeat(amplitude, 2)),
        "tilt": ("sample", np.repeat(other, 2)),
    }
    return xr.Dataset(variables, {d: np.arange(float(CELLS)) for d in "yx"}, {"independent_unit": "simulation"})


def coarse(ensemble):
    return power_spectrum(ensemble, 3)


def labels(rng, units=60):
    return rng.uniform(0.8, 1.2, units), rng.uniform(0, 1, units)


def test_the_derivative_of_ln_P_is_that_of_the_law_and_zero_for_an_idle_label():
    """P ~ amplitude^2: d ln P / d amplitude = 2/1 at the centre; the cubic left out of 2 ln a is 0.01 here."""
    rng = np.random.default_rng(0)
    ensemble = maps(rng, *labels(rng))
    ensemble.attrs[FRAME] = json.dumps({"at": {"amplitude": 1.0, "tilt": 0.5}, "order": 2})
    found = response(ensemble, coarse, logarithm=True)
    assert found["value"].dims == ("label", "k")
    assert found["label"].values.tolist() == ["amplitude", "tilt"]
    pull = (found["value"] - xr.DataArray([2.0, 0.0], dims="label")) / found["error"]
    assert float(abs(pull).max()) < 4  # six numbers, 60 units
    assert float(found["error"].max()) < 0.5
    assert "quadratic" in found.attrs["convention"]


def test_leaving_one_out_is_what_the_fit_without_it_says():
    rng = np.random.default_rng(1)
    theta, y = rng.uniform(-1, 1, (30, 2)), rng.standard_normal((30, 2, 3))
    fit = LabelFit.of(theta, np.zeros(2), 2)
    keep = np.arange(30) != 7
    coefficients = np.linalg.lstsq(fit.design[keep], y[keep].reshape(29, -1), rcond=None)[0]
    np.testing.assert_allclose(fit.left_out(y)[7].ravel(), y[7].ravel() - fit.design[7] @ coefficients, rtol=1e-9)
    whole = np.linalg.lstsq(fit.design, y.reshape(30, -1), rcond=None)[0][1:3]
    np.testing.assert_allclose(fit.derivatives(y)[7].reshape(2, -1), 30 * whole - 29 * coefficients[1:3], rtol=1e-9)


def test_equal_conditions_cancel_the_common_noise_and_a_wrong_response_fails():
    rng = np.random.default_rng(2)
    amplitude, tilt = labels(rng)
    noise = rng.standard_normal((120, CELLS, CELLS))
    truth = maps(rng, amplitude, tilt, noise)
    near = noise + 0.05 * rng.standard_normal(noise.shape)
    right, deaf = maps(rng, amplitude, tilt, near), maps(rng, np.ones(60), tilt, near)
    deaf = deaf.assign(amplitude=truth["amplitude"])
    frame = label_frame(truth)
    results = [response(e.assign_attrs({FRAME: frame}), coarse, True) for e in (truth, right, deaf)]
    same, other = (compare_results(results[0], one) for one in results[1:])
    assert same.attrs["paired"] == 1
    assert float(same["difference_error"].max()) < 0.2 * float(results[0]["error"].max())
    assert judge(same).status == "pass"
    assert judge(other).status == "fail"
    missing = float(abs(other["deviation"].sel(label="amplitude")).mean())
    assert missing == pytest.approx(2**0.5, abs=0.1)  # all of 2, in units of the rms of (2, 0)


def test_the_response_of_a_distribution_integrates_to_nothing():
    rng = np.random.default_rng(3)
    found = response(maps(rng, *labels(rng)), lambda e: one_point(e, np.linspace(-4, 4, 17), "linear"))
    assert float(abs(found["value"].sum("field_value") * 0.5).max()) < 1e-10
    assert float(found["value"].sel(label="amplitude").min()) < -4 * float(found["error"].max())
    assert (found["yardstick"] > 0).all()


@pytest.mark.parametrize(("units", "order"), [(9, 1), (17, 1), (18, 2)])
def test_few_units_have_a_linear_fit(units, order):
    rng = np.random.default_rng(4)
    assert json.loads(label_frame(maps(rng, *labels(rng, units))))["order"] == order


def test_a_label_that_every_unit_takes_alike_tells_none_apart():
    rng = np.random.default_rng(6)
    ensemble = maps(rng, *labels(rng, 12))
    ensemble["time"] = ("sample", np.tile([0.0, 1.0], 12))  # of two snapshots of each unit
    assert unit_labels(ensemble).names == ("amplitude", "tilt")


def test_bad_input_is_said():
    rng = np.random.default_rng(5)
    few = maps(rng, *labels(rng, 6))
    with pytest.raises(InputError, match="give at least 7"):
        response(few, coarse)
    plain = maps(rng, *labels(rng, 12)).drop_vars(["amplitude", "tilt"])
    assert label_frame(plain) == ""
    with pytest.raises(InputError, match="no label varies"):
        unit_labels(plain)
    with pytest.raises(InputError, match="'tilt' varies in one"):
        response(maps(rng, *labels(rng, 12)).assign_attrs({FRAME: label_frame(few.drop_vars("tilt"))}), coarse)
    with pytest.raises(InputError, match="not positive"):
        response(maps(rng, *labels(rng, 12)), lambda e: one_point(e, np.linspace(-9, 9, 5), "linear"), logarithm=True)
