"""The same statistics without compiled loops, and of a field in any company."""

import importlib

import numpy as np
import pytest

from physgen.diagnostics.band_moments import band_moments_array
from physgen.diagnostics.bispectrum import bispectrum_array
from physgen.diagnostics.correlation import correlation_array
from physgen.diagnostics.feature_test import feature_array
from physgen.diagnostics.morphology import extrema_array, minkowski_array
from physgen.diagnostics.scattering import scattering_array
from physgen.diagnostics.spectrum import power_spectrum_array

LEVELS = [0.3, 1.0, 1.1, 2.0]
STATISTICS = {
    "band moments": lambda field, spacing: [band_moments_array(field, spacing)[1]],
    "phase moments": lambda field, spacing: [band_moments_array(field, spacing, phases_only=True)[1]],
    "bispectrum": lambda field, spacing: bispectrum_array(field, spacing)[:2],
    "correlation": lambda field, spacing: [correlation_array(field, spacing)[1]],
    "scattering": scattering_array,
    "minkowski": lambda field, spacing: [minkowski_array(field, LEVELS, spacing)],
    "extrema": lambda field, spacing: [extrema_array(field, LEVELS, spacing, minima) for minima in (False, True)],
}


@pytest.mark.parametrize("name", STATISTICS)
@pytest.mark.parametrize(("grid", "spacing"), [((24, 36), (1.0, 0.8)), ((16, 12, 18), (1.0, 1.2, 0.9))])
def test_a_machine_without_numba_finds_the_same(monkeypatch, name, grid, spacing):
    field = np.random.default_rng(1).exponential(size=(3, *grid))
    compiled = STATISTICS[name](field, spacing)
    loops = {module: "band_kernels" for module in ("bands", "bispectrum", "band_moments", "scattering")}
    for module, name_of_loops in (loops | {"mode_sums": "kernels", "morphology": "cell_kernels"}).items():
        monkeypatch.setattr(importlib.import_module(f"physgen.diagnostics.{module}"), name_of_loops, lambda: None)
    for found, expected in zip(STATISTICS[name](field, spacing), compiled, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-10 * np.abs(expected).max(initial=0))


OF_ONE_FIELD = {
    **STATISTICS,
    "power": lambda f, a: [power_spectrum_array(f, a)[1]],
    "features": lambda f, a: [feature_array(f, a)],
    "amplitudes": lambda f, a: [feature_array(f, a, 0)],
}


@pytest.mark.parametrize("name", OF_ONE_FIELD)
@pytest.mark.parametrize("grid", [(32, 32), (48, 80), (27, 25), (16, 12, 18)])
def test_no_digit_of_a_field_depends_on_the_others_of_its_batch(name, grid):
    """Alone, among others, beside one that is a million times as large, beside a constant: the same bits."""
    spacing = (1.0, 0.9, 1.1)[: len(grid)]
    fields = np.random.default_rng(2).exponential(size=(7, *grid)).astype(np.float32)
    fields[1] *= 1e6
    fields[4] = 3.0

    def measure(some):
        return np.concatenate([x.reshape(len(some), -1) for x in OF_ONE_FIELD[name](some, spacing)], axis=1)

    alone = np.concatenate([measure(field[None]) for field in fields])
    for rows in (slice(7), slice(1, 4), slice(2), slice(2, 7)):
        np.testing.assert_array_equal(measure(fields[rows]), alone[rows])
