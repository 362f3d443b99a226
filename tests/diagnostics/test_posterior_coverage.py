"""Coverage of draws that are from the posterior, too narrow, or shifted."""

import numpy as np
import pytest

from physgen.diagnostics.posterior_coverage import band_coverage, coverage_table, posterior_coverage
from physgen.ensemble import from_array
from physgen.errors import InputError

FIELDS, DRAWS = 80, 11


def pair(width=1.0, shift=0.0, seed=0):
    """White posteriors of unit variance around a known mean, and draws with another width or shift."""
    rng = np.random.default_rng(seed)
    mean = rng.normal(size=(FIELDS, 8, 8))
    truth = from_array((mean + rng.normal(size=mean.shape)).astype(np.float32), "8 Mpc/h")
    drawn = mean[:, None] + shift + width * rng.normal(size=(FIELDS, DRAWS, 8, 8))
    posterior = truth.drop_vars("field").assign(field=(("sample", "draw", "y", "x"), drawn))
    return truth, posterior


def test_right_draws_cover_at_the_nominal_rate_in_cells_and_modes():
    truth, posterior = pair()
    found = posterior_coverage(truth, posterior)
    assert (np.abs(found["value"] - found["level"]) < 4 * found["error"]).all()
    assert found.attrs["n_independent"] == FIELDS and (found["seen"] < 0.04).all()
    assert (np.abs(found["mode_value"] - found["level"]) < 4.5 * found["mode_error"])[:, 1:].all()
    assert "would see" in coverage_table(found)
    value, error = band_coverage(found, 1.0, 3.0)
    assert (np.abs(value - found["level"]) < 4 * error).all()
    shell = np.flatnonzero((found["k"] >= 1) & (found["k"] < 3))
    weighted = np.average(found["mode_value"][:, shell], axis=1, weights=found["modes"][shell])
    assert value == pytest.approx(weighted, abs=0.01)  # imaginary parts of real modes do not count
    assert (error < found["mode_error"][:, shell].min("k")).all()
    with pytest.raises(InputError, match="wider band"):
        band_coverage(found, 100, 200)
    # truth and mean share half of their power
    r = found["mean_correlation"].isel(k=slice(1, None))
    expected = 1 / np.sqrt(2 * (1 + 1 / DRAWS))
    assert (np.abs(r - expected) < 4.5 * found["mean_correlation_error"].isel(k=slice(1, None))).all()


def test_narrow_and_shifted_draws_are_seen():
    narrow = posterior_coverage(*pair(width=0.8))
    assert (narrow["value"] < narrow["level"] - 4 * narrow["error"]).all()
    shifted = posterior_coverage(*pair(shift=0.5))
    assert shifted["ranks"][0] > 1.3 and shifted["ranks"][-1] < 0.7


def test_cells_that_were_seen_as_they_are_do_not_count():
    truth, posterior = pair()
    seen = np.zeros((FIELDS, 8, 8), np.int8)
    seen[:, :4] = 1
    told = {
        "observation": (("sample", "y", "x"), truth["field"].values),
        "observation_seen": (("sample", "y", "x"), seen),
    }
    assert posterior_coverage(truth, posterior.assign(told)).attrs["free"] == pytest.approx(0.5)
