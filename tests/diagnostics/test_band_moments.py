"""Moments in octave bands: their definition on the full lattice, Gaussian fields, phases alone."""

import numpy as np
import pytest

from physgen.diagnostics.band_moments import band_moments, band_moments_array

BOXES = [((64, 64), (1.0, 1.0)), ((40, 64), (0.5, 0.4)), ((24, 16, 20), (1.0, 1.5, 1.2))]


def wavenumber(grid, spacing):
    axes = [2 * np.pi * np.fft.fftfreq(n, a) for n, a in zip(grid, spacing, strict=True)]
    return np.sqrt(sum(np.square(x) for x in np.meshgrid(*axes, indexing="ij")))


@pytest.mark.parametrize(("grid", "spacing"), BOXES)
def test_they_are_those_of_the_filtered_field_on_its_own_lattice(grid, spacing):
    """The coarse lattices of the wide bands lose nothing of the fourth power."""
    field = np.random.default_rng(1).gamma(0.5, size=grid)
    k, found = band_moments_array(field, spacing)
    assert len(k) >= 2 and np.allclose(np.diff(np.log2(k)), 1) and k[-1] == pytest.approx(np.pi / max(spacing) / 2)
    for j, centre in enumerate(k):
        octaves = np.log2(np.maximum(wavenumber(grid, spacing), 1e-9) / centre)
        window = np.cos(np.pi / 2 * octaves) * (np.abs(octaves) < 1)
        b = np.fft.ifftn(np.fft.fftn(field) * window).real
        expected = [np.mean(b**3) / np.mean(b**2) ** 1.5, np.mean(b**4) / np.mean(b**2) ** 2 - 3]
        np.testing.assert_allclose(found[:, j], expected, rtol=1e-6, atol=1e-6)


def test_gaussian_fields_have_none_at_any_scale(lattice, red_noise):
    """The kurtosis of one field is biased by -6 / its independent cells; bands of many modes are left."""
    for alone in (False, True):
        found = band_moments(lattice(red_noise(np.random.default_rng(2), 200, (64, 64))), phases_only=alone)
        z = (found["value"] / found["error"]).isel(k=slice(-2, None))
        assert np.abs(z.sel(moment="skewness")).max() < 4
        assert np.abs(found["value"].sel(moment="kurtosis").values[-1]) < 0.02


def test_phases_alone_know_nothing_of_the_spectrum_and_vanish_when_random(lattice):
    rng = np.random.default_rng(3)
    field = rng.gamma(0.3, size=(30, 48, 48))
    modes = np.fft.rfft2(field)
    filtered = np.fft.irfft2(modes * np.exp(rng.standard_normal((30, 1, 1)) - 0.1 * np.arange(25)), s=(48, 48))
    one, two = (band_moments(lattice(f), phases_only=True) for f in (field, filtered))
    np.testing.assert_allclose(one["value"], two["value"], rtol=1e-9, atol=1e-12)
    assert (one["value"] / one["error"]).sel(moment="skewness").max() > 20
    shuffled = np.abs(modes) * np.exp(1j * np.angle(np.fft.rfft2(rng.standard_normal(field.shape))))
    none = band_moments(lattice(np.fft.irfft2(shuffled, s=(48, 48))), phases_only=True)
    assert np.abs(none["value"] / none["error"]).sel(moment="skewness").max() < 4


def test_amplitude_offset_shift_and_symmetries_leave_them_alone_and_a_sign_turns_the_skewness():
    field = np.random.default_rng(4).exponential(size=(32, 32))
    _, reference = band_moments_array(field, (1.0, 1.0))
    for moved in (5 * field + 3, np.roll(field, (3, 7), (0, 1)), np.rot90(field), field.T):
        np.testing.assert_allclose(band_moments_array(moved, (1.0, 1.0))[1], reference, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(band_moments_array(-field, (1.0, 1.0))[1], reference * [[-1], [1]], atol=1e-12)


def test_a_constant_map_counts_as_shapeless(lattice):
    fields = np.random.default_rng(5).exponential(size=(4, 32, 32))
    fields[0] = 2.0
    assert np.isfinite(band_moments(lattice(fields))["value"]).all()
