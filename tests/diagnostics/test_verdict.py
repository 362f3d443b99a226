"""Verdicts: thresholds with errors, flat and fit for JSON."""

import json

import numpy as np
import pytest

from physgen.diagnostics import compare, compare_results, judge, make_result, moments, one_point, power_spectrum
from physgen.diagnostics.verdict import decide


@pytest.mark.parametrize(
    ("value", "error", "verdict"),
    [(0.05, 0.02, "pass"), (0.09, 0.02, "undecided"), (0.15, 0.02, "fail"), (0.05, np.nan, "undecided")],
)
def test_a_verdict_needs_two_errors(value, error, verdict):
    assert decide(value, error, 0.1) == verdict


def spectra(factor, scatter=0.02):
    rng = np.random.default_rng(0)
    k = np.linspace(0.02, 1.0, 40)
    reference, generated = (1 + scatter * rng.standard_normal((50, 40)) for _ in range(2))
    attrs = {"diagnostic": "s", "kind": "spectrum", "nyquist": 1.0}
    return [make_result(x, ("k",), {"k": k}, **attrs) for x in (reference, generated * factor(k))]


@pytest.mark.parametrize(("ratio", "verdict"), [(1.02, "pass"), (0.7, "fail"), (1.1, "undecided")])
def test_spectrum_is_judged_by_its_mean_ratio(ratio, verdict):
    found = judge(compare_results(*spectra(lambda k: ratio)))
    mean = found["mean_ratio"]
    assert abs(mean["value"] - ratio) < 4 * mean["error"] and found["verdict"] == verdict
    assert found["max_deviation"]["value"] == pytest.approx(abs(ratio - 1), abs=4 * 0.02 * ratio / np.sqrt(25))


def test_bins_outside_the_band_do_not_count():
    found = judge(compare_results(*spectra(lambda k: np.where(k > 0.7, 3.0, 1.0))))
    assert found["verdict"] == "pass" and "0.7 k_Nyquist" in found["threshold"]


def test_error_of_the_mean_ratio_knows_the_covariance_of_the_bins():
    """Bins that move together: the mean is no better known than one bin."""
    rng = np.random.default_rng(1)
    k = np.linspace(0.1, 0.6, 10)
    both = [1 + 0.1 * rng.standard_normal((40, 1)) + np.zeros(10) for _ in range(2)]
    attrs = {"diagnostic": "s", "kind": "spectrum", "nyquist": 1.0}
    comparison = compare_results(*(make_result(x, ("k",), {"k": k}, **attrs) for x in both))
    assert judge(comparison)["mean_ratio"]["error"] == pytest.approx(float(comparison["ratio_error"][0]))


def test_histogram_is_judged_by_its_floor(lattice):
    rng = np.random.default_rng(2)
    reference, equal, other = (lattice(s * rng.standard_normal((60, 16, 16))) for s in (1.0, 1.0, 1.3))

    def linear(ensemble):
        return one_point(ensemble, edges=np.linspace(-3, 3, 25), scale="linear")

    good, bad = (judge(compare(reference, e, linear)) for e in (equal, other))
    assert good["verdict"] == "pass" and bad["verdict"] == "fail"
    assert set(good["distance_tv"]) == {"value", "error", "floor", "null"}
    assert bad["distance_tv_over_floor"]["value"] > 3 > good["distance_tv_over_floor"]["value"]


def test_scalars_are_named_and_judged_by_the_joint_p_value(lattice):
    rng = np.random.default_rng(3)
    reference, equal, other = (lattice(rng.standard_normal((60, 16, 16)) + m) for m in (0.0, 0.0, 0.05))
    good, bad = (judge(compare(reference, e, moments)) for e in (equal, other))
    assert {"mean", "variance", "skewness", "kurtosis"} <= set(good)
    assert (good["verdict"], bad["verdict"]) == ("pass", "fail") and abs(bad["mean"]["z"]) > 4


def test_everything_is_plain_json(lattice, spin_ensemble):
    """NaN (one unit, no error) becomes null, never invalid JSON."""
    rng = np.random.default_rng(4)
    cases = [(lattice(rng.standard_normal((2, 12, 12))), d) for d in (power_spectrum, one_point, moments)]
    cases.append((spin_ensemble(rng, [1, 2, 3]), moments))
    for ensemble, diagnostic in cases:
        text = json.dumps(judge(compare(ensemble, ensemble, diagnostic)), allow_nan=False)
        assert json.loads(text)["verdict"] in ("pass", "undecided")
