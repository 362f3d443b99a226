"""Bands of power by which emulated maps and cubes are held against simulated ones."""

import numpy as np
import pytest

from benchmarks.emulators.fidelity import BANDS, _band_powers, reference_file


@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_a_point_has_equal_power_in_all_bands_and_a_wave_in_its_own(dimension):
    """|FFT|^2 of one cell of height h is h^2 in every mode; of h cos(k x) it is (h N / 2)^2 in two of them."""
    side, height = 32, 3.0
    grid = (side,) * dimension
    point = np.zeros((1, *grid))
    point[(0, *(1,) * dimension)] = height
    np.testing.assert_allclose(_band_powers(point), height**2)
    for number, (low, high) in enumerate(BANDS):
        wave = round((low + high) / 2 * side / 2)
        along = height * np.cos(2 * np.pi * wave * np.arange(side) / side)
        power = _band_powers(np.broadcast_to(along.reshape(-1, *(1,) * (dimension - 1)), (1, *grid)))[0]
        assert power[number] > 0 and np.delete(power, number).max() < 1e-20 * power[number]


def test_all_wavenumbers_of_a_band_count_alike():
    """White power times f(|k|) has the mean of f over |k|, not over the modes, most of which are at the upper end."""
    side = 64
    k = 2 * np.sqrt(sum(k**2 for k in np.meshgrid(*[np.fft.fftfreq(side)] * 3, indexing="ij")))
    field = np.fft.ifftn(np.sqrt(k)).real[None]
    low, high = np.array(list(BANDS)).T
    np.testing.assert_allclose(_band_powers(field)[0], (low + high) / 2, atol=1 / side)  # half of the least |k|


def test_a_folder_of_a_run_stands_for_its_test_part(tmp_path):
    assert reference_file(str(tmp_path)) == tmp_path / "data" / "test.h5"
    assert reference_file(str(tmp_path / "maps.h5")) == tmp_path / "maps.h5"
