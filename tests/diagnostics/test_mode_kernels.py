"""The same statistics without compiled loops, and of fields that share a transform."""

import importlib

import numpy as np
import pytest

from physgen.diagnostics.band_moments import band_moments_array
from physgen.diagnostics.bispectrum import bispectrum_array
from physgen.diagnostics.correlation import correlation_array
from physgen.diagnostics.scattering import scattering_array

STATISTICS = {
    "band moments": lambda field, spacing: [band_moments_array(field, spacing)[1]],
    "bispectrum": lambda field, spacing: bispectrum_array(field, spacing)[:2],
    "correlation": lambda field, spacing: [correlation_array(field, spacing)[1]],
    "scattering": scattering_array,
}


@pytest.mark.parametrize("name", STATISTICS)
@pytest.mark.parametrize(("grid", "spacing"), [((24, 36), (1.0, 0.8)), ((16, 12, 18), (1.0, 1.2, 0.9))])
def test_a_machine_without_numba_finds_the_same(monkeypatch, name, grid, spacing):
    field = np.random.default_rng(1).exponential(size=(3, *grid))
    compiled = STATISTICS[name](field, spacing)
    for module in ("mode_sums", "bispectrum", "band_moments", "scattering"):
        monkeypatch.setattr(importlib.import_module(f"physgen.diagnostics.{module}"), "kernels", lambda: None)
    for found, expected in zip(STATISTICS[name](field, spacing), compiled, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-10 * np.abs(expected).max(initial=0))


def test_a_field_is_not_spoilt_by_the_one_that_shares_its_transform():
    """A partner a million times as large, or constant: what single precision leaves, 1e-4 of the largest B."""
    one, other = np.random.default_rng(2).exponential(size=(2, 32, 32)).astype(np.float32)
    alone = bispectrum_array(one, (1.0, 1.0))[0]
    for partner in (1e6 * other, np.full_like(other, 3.0)):
        pair = bispectrum_array(np.stack([partner, one]), (1.0, 1.0))[0]
        np.testing.assert_allclose(pair[1], alone, atol=1e-4 * np.abs(alone).max())
    np.testing.assert_array_equal(pair[0], 0.0)
