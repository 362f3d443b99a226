"""The two-sample test on random features: what it is, that it keeps its rate, and what it sees."""

import numpy as np
import pytest
from scipy import stats

from physgen.diagnostics import hotelling
from physgen.diagnostics.feature_test import (
    band_filters,
    condition_response,
    feature_array,
    feature_statistics,
    random_frequencies,
)
from physgen.errors import InputError

CELLS, MAPS = 32, 2


def gaussian_maps(rng, count, slope=-1.0):
    k = np.hypot(*np.meshgrid(np.fft.fftfreq(CELLS, 1 / CELLS), np.fft.fftfreq(CELLS, 1 / CELLS)))
    gain = np.where(k > 0, np.maximum(k, 1) ** np.reshape(slope, (-1, 1, 1)), 0)
    return np.fft.ifft2(np.fft.fft2(rng.standard_normal((count, CELLS, CELLS))) * gain).real


def ensemble(fields, label=None):
    import xarray as xr

    units = len(fields) // MAPS
    variables = {
        "field": (("sample", "y", "x"), fields),
        "simulation": ("sample", np.repeat(np.arange(units), MAPS)),
    }
    if label is not None:
        variables["amplitude"] = ("sample", np.repeat(label, MAPS))
    axis = np.arange(CELLS, dtype=float)
    return xr.Dataset(variables, {"x": axis, "y": axis}, {"independent_unit": "simulation"})


def test_features_are_their_definition_in_numpy():
    """cos of random combinations of band-passed fields in units of their rms, by complex transforms in float64."""
    field = gaussian_maps(np.random.default_rng(0), 2)
    k = 2 * np.pi * np.hypot(*np.meshgrid(np.fft.fftfreq(CELLS), np.fft.fftfreq(CELLS)))
    k[0, 0] = 1e-30
    bands = np.stack([
        np.fft.ifft2(np.fft.fft2(field) * np.exp(-(np.log2(k / (0.75 * np.pi / 2**j)) ** 2) / (2 * 0.5**2))).real
        for j in range(4)
    ])  # fmt: skip
    rms = np.sqrt((bands**2).mean((-2, -1), keepdims=True))
    frequency, phase = random_frequencies(4, 3, seed=5)
    expected = [
        np.cos(np.tensordot(a, bands / rms, 1) + c).mean((-2, -1)) for a, c in zip(frequency, phase, strict=True)
    ]
    found = feature_array(field, (1.0, 1.0), features=3, seed=5)
    # float32 transforms: 1e-7 of rounding in each of some hundred operations
    np.testing.assert_allclose(found, np.concatenate([expected, np.log(rms[..., 0, 0])]).T, atol=1e-5)


def test_random_features_do_not_know_the_amplitude_and_do_not_move_with_the_origin():
    field = gaussian_maps(np.random.default_rng(1), 3)
    found = feature_array(field, (1.0, 1.0))
    scaled = feature_array(7 * np.roll(field, (5, 9), (1, 2)), (1.0, 1.0))
    np.testing.assert_allclose(scaled[:, :8], found[:, :8], atol=1e-5)
    np.testing.assert_allclose(scaled[:, 8:] - found[:, 8:], np.log(7), atol=1e-5)


@pytest.mark.parametrize(("grid", "bands"), [((8,), 2), ((64, 32), 4), ((16, 16, 16), 3)])
def test_bands_in_any_dimension_stay_above_the_fundamental(grid, bands):
    filters, centres = band_filters(grid, (1.0,) * len(grid))
    assert len(filters) == len(centres) == bands
    assert centres[-1] >= 1.5 * 2 * np.pi / min(grid)
    assert np.all(filters.reshape(bands, -1)[:, 0] == 0)  # the mean is not seen


def test_a_lattice_without_scales_is_refused():
    with pytest.raises(InputError, match="4 cells"):
        band_filters((2, 2), (1.0, 1.0))


def joint_p(first, second):
    pair = [feature_statistics(e)["per_unit"].values for e in (first, second)]
    return hotelling.means_are_equal(*pair).p_value


def test_p_is_uniform_for_one_law_with_dependent_maps():
    """Maps of a unit share their slope; 10 units a side, 80 trials: Kolmogorov-Smirnov at 1e-3."""
    rng = np.random.default_rng(2)

    def draw():
        slopes = -1 + 0.3 * rng.standard_normal(10)
        return ensemble(gaussian_maps(rng, MAPS * 10, np.repeat(slopes, MAPS)))

    p = [joint_p(draw(), draw()) for _ in range(80)]
    assert stats.kstest(p, "uniform").pvalue > 1e-3


def test_phases_are_seen_where_spectra_agree():
    """chi^2 fields against Gaussian ones of the same modulus of every mode."""
    rng = np.random.default_rng(3)
    field = gaussian_maps(rng, 24) ** 2
    phase = np.fft.fft2(rng.standard_normal(field.shape))
    scrambled = np.fft.ifft2(np.abs(np.fft.fft2(field)) * phase / np.abs(phase)).real
    assert joint_p(ensemble(field), ensemble(scrambled)) < 1e-6


def labelled(rng, units=30):
    label = np.linspace(0.5, 2.0, units)
    scatter = np.exp(0.05 * rng.standard_normal(units))
    return ensemble(gaussian_maps(rng, MAPS * units) * np.repeat(label * scatter, MAPS)[:, None, None], label), label


def test_the_slope_is_that_of_the_power_law():
    found = condition_response(labelled(np.random.default_rng(4))[0])
    assert abs(float(found["value"][0]) - 1) < 4 * float(found["error"][0])
    assert found["response"].attrs["flag_meanings"] == "amplitude scatter"


def test_swapped_labels_are_seen_and_averages_are_not():
    truth, _ = labelled(np.random.default_rng(5))
    other, label = labelled(np.random.default_rng(6))
    swapped = other.assign(amplitude=("sample", np.repeat(np.random.default_rng(7).permutation(label), MAPS)))
    p = [
        hotelling.mean_is_zero(condition_response(e)["per_unit"].values - condition_response(truth)["per_unit"].values)
        for e in (other, swapped)
    ]
    assert p[0].p_value > 1e-3
    assert p[1].p_value < 1e-6


def test_no_labels_no_response():
    with pytest.raises(InputError, match="no label varies"):
        condition_response(ensemble(gaussian_maps(np.random.default_rng(8), 20)))


def test_constant_maps_keep_the_features_finite():
    fields = gaussian_maps(np.random.default_rng(9), 20)
    fields[3] = 0.0
    found = feature_statistics(ensemble(fields))
    assert np.isfinite(found["per_unit"]).all()
    assert float(found["per_unit"].std("unit").max()) < np.log(1e3)
