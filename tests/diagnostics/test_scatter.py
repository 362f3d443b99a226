"""Scatter and correlation of power between configurations, and the memory that statistics take."""

import tracemalloc

import numpy as np
import pytest
from scipy.special import polygamma

from physgen.diagnostics.batches import BATCH_CELLS, batches, each_sample
from physgen.diagnostics.scatter import power_correlation, power_scatter
from physgen.diagnostics.spectrum import power_spectrum, power_spectrum_array
from physgen.errors import InputError


def test_scatter_of_gaussian_power_counts_modes_and_its_bands_are_independent(lattice):
    """ln of a mean of n exponentials has variance psi_1(n); correlations of independent bands vanish."""
    ensemble = lattice(np.random.default_rng(3).standard_normal((300, 32, 32)))
    found, coupled = power_scatter(ensemble), power_correlation(ensemble)
    edges = 2 * np.pi / 32 * np.array([0.6, 1.2, 2.4, 4.8, 9.6, 16.0])
    modes = power_spectrum_array(np.zeros((32, 32)), (1.0, 1.0), edges)[2]
    z = (found["value"] - np.sqrt(polygamma(1, modes))) / found["error"]
    assert np.abs(z).max() < 4
    assert np.abs(coupled["value"] / coupled["error"]).max() < 4 and coupled.sizes["pair"] == 10


def test_a_common_amplitude_scatters_and_correlates_the_power(lattice):
    """ln P = ln A_u + noise, std ln A = 0.6: one and the same at every scale."""
    rng = np.random.default_rng(4)
    amplitude = np.exp(0.3 * rng.standard_normal(80)).repeat(3)
    fields = amplitude[:, None, None] * rng.standard_normal((240, 32, 32))
    ensemble = lattice(fields).assign(simulation=("sample", np.arange(240) // 3))
    found, coupled = power_scatter(ensemble), power_correlation(ensemble)
    last = found.isel(k=-1)
    assert abs(float(last["value"]) - np.std(2 * np.log(amplitude))) < 0.02
    assert float(coupled["value"][-1]) > 0.95
    assert float(last["error"]) > 0.6 / np.sqrt(2 * 240)  # three maps of a unit are one


def test_an_empty_map_has_no_logarithm_of_its_power(lattice):
    fields = np.random.default_rng(5).standard_normal((4, 16, 16))
    fields[2] = 0.0
    with pytest.raises(InputError, match="no power"):
        power_scatter(lattice(fields))


def test_batches_follow_the_samples_and_keep_their_precision(lattice):
    field = np.random.default_rng(6).standard_normal((50, 16, 16)).astype(np.float32)
    ensemble = lattice(field)
    pieces = list(batches(ensemble, cells=7 * 256))
    assert [len(p) for p in pieces] == [7] * 7 + [1] and pieces[0].dtype == np.float32
    np.testing.assert_array_equal(np.concatenate(pieces)[:, 0], field)
    big_endian = lattice(field.astype(">f4"))
    for e in (ensemble, big_endian):
        np.testing.assert_allclose(each_sample(e, lambda v: v.sum(axis=(2, 3))), field.sum(axis=(1, 2))[:, None])
    assert next(batches(lattice((field > 0).astype(np.int8)))).dtype == np.float64


def test_statistics_of_a_large_ensemble_hold_no_second_copy_of_it(lattice):
    fields = np.random.default_rng(7).random((24 * 2**20 // (64 * 64 * 4), 64, 64), dtype=np.float32)
    ensemble = lattice(fields, field_kind="density")
    tracemalloc.start()
    try:
        power_spectrum(ensemble, transform=np.log1p)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert fields.nbytes >= 24 * BATCH_CELLS * 4
    assert peak < fields.nbytes
