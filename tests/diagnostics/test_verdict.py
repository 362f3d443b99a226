"""Verdicts by equivalence: what passes was seen well enough, what fails is wrong, rates are those stated."""

import json

import numpy as np
import pytest
from scipy import stats

from physgen.diagnostics import (
    compare,
    compare_results,
    judge,
    make_result,
    metrics_of,
    moments,
    one_point,
    power_spectrum,
)
from physgen.diagnostics.equivalence import Deviation, Tolerance, decide, deviations, permuted_log_p
from physgen.diagnostics.pair import Pair

K = np.linspace(0.02, 1.0, 40)
RATIO = Tolerance(0.1, "ratio", "P(k)")


def spectra(factor, scatter=0.02, units=(50, 50), seed=0):
    """Reference and generated spectra of independent units; the generated ones are multiplied by factor(k)."""
    rng = np.random.default_rng(seed)
    reference, generated = (1 + scatter * rng.standard_normal((n, 40)) for n in units)
    attrs = {"diagnostic": "s", "kind": "spectrum", "nyquist": 1.0}
    return [make_result(x, ("k",), {"k": K}, **attrs) for x in (reference, generated * factor(K))]


def measured(comparison, **rules):
    """Metrics and verdict of a comparison."""
    verdict = judge(comparison, **rules)
    return metrics_of(comparison, verdict), verdict


@pytest.mark.parametrize(("ratio", "verdict"), [(1.02, "pass"), (0.7, "fail"), (1.2, "fail"), (1.098, "open")])
def test_a_constant_factor_is_judged_by_the_whole_band(ratio, verdict):
    metrics, found = measured(compare_results(*spectra(lambda k: ratio)))
    mean = metrics["mean_ratio"]
    assert abs(mean["value"] - ratio) < 4 * mean["error"] and found.status == verdict
    assert found.tolerance == 0.1 and found.tolerance_kind == "ratio" and found.low < found.deviation < found.high


def test_a_tilt_whose_mean_ratio_is_one_fails():
    """Ratio 1.6 to 0.4 over the band: the mean says nothing."""
    metrics, found = measured(compare_results(*spectra(lambda k: 1.6 - 1.7 * k)))
    assert abs(metrics["mean_ratio"]["value"] - 1) < 0.1
    assert found.status == "fail" and found.fail_p < 1e-6 and "joint test" in found.reason


def test_one_wrong_bin_fails_and_is_named():
    metrics, found = measured(compare_results(*spectra(lambda k: np.where(np.arange(40) == 12, 1.3, 1.0))))
    assert found.status == "fail" and found.where == f"k = {K[12]:.3g}"
    assert abs(metrics["worst_deviation"]["value"] - 0.3) < 4 * metrics["worst_deviation"]["error"]


def test_bins_outside_the_band_do_not_count():
    found = judge(compare_results(*spectra(lambda k: np.where(k > 0.7, 3.0, 1.0))))
    assert found.status == "pass" and "0.7 k_Nyquist" in found.reason


def test_a_difference_that_is_real_but_small_passes_and_is_named():
    """The joint test cannot stand silently beside a pass."""
    found = judge(compare_results(*spectra(lambda k: 1 + 0.04 * np.sign(k - 0.4), scatter=0.01)))
    assert found.status == "pass" and found.p_value < 1e-3 and "the difference is real" in found.reason


def test_where_nothing_could_be_seen_nothing_passes():
    """The truth, with four units of 30 % scatter: open, with the number of units that would decide."""
    found = judge(compare_results(*spectra(lambda k: 1.0, scatter=0.3, units=(4, 4))))
    assert found.status == "open" and found.detectable > found.tolerance
    assert found.needed > 20 and f"about {int(np.ceil(4 * found.needed))} independent units" in found.reason


def test_the_number_of_units_that_would_decide_decides():
    """Eight sets of twice the units that an open verdict on the truth asks for: most of them pass."""
    needed = judge(compare_results(*spectra(lambda k: 1.0, scatter=0.15, units=(20, 20)))).needed
    units = int(2 * 20 * needed)
    found = [judge(compare_results(*spectra(lambda k: 1.0, 0.15, (units, units), seed))) for seed in range(8)]
    assert needed > 1 and [v.status for v in found].count("pass") >= 6


def test_the_smallest_deviation_seen_is_seen_in_95_of_100():
    """Shift one bin by exactly the detectable deviation: the simultaneous band excludes zero there."""
    base = judge(compare_results(*spectra(lambda k: 1.0, units=(30, 30))))
    seen, trials = 0, 200
    for seed in range(trials):
        shift = np.where(np.arange(40) == 12, 1 + base.detectable, 1.0)
        pair = Pair(*(r["per_unit"].values for r in spectra(lambda k, f=shift: f, units=(30, 30), seed=seed)), False)
        found = deviations(pair, RATIO, None)
        half = stats.t.ppf(1 - 0.025 / base.points, found.freedom[12]) * found.error[12]
        seen += found.value[12] > half
    # detectable is that of the noisiest point: this one is seen at least as often
    assert seen / trials > 0.95 - 4 * np.sqrt(0.05 * 0.95 / trials)


@pytest.mark.parametrize(("units", "dex"), [((10, 10), 1.6), ((40, 10), 1.6), ((200, 10), 1.6), ((20, 20), 0.2)])
def test_equal_heavy_tailed_laws_fail_at_the_stated_rate(units, dex):
    """Means of units that are lognormal with 1.6 dex: Student's law alone fails up to 27 % at a rate of 1 %."""
    rng, trials, failed = np.random.default_rng(7), 300, 0
    for _ in range(trials):
        r, g = (10 ** (dex * rng.standard_normal((n, 5))) for n in units)
        pair = Pair(r, g, False)
        null = permuted_log_p(pair, RATIO, None, rng, draws=199)
        failed += decide(deviations(pair, RATIO, None), RATIO, false_alarms=0.01, null=null).status == "fail"
    assert failed / trials < 0.01 + 4 * np.sqrt(0.01 * 0.99 / trials)


def test_permutation_leaves_gaussian_units_alone():
    """Where Student's law is right, the corrected p of a gross deviation is within a factor e^2 of it in ln p."""
    rng = np.random.default_rng(8)
    pair = Pair(rng.standard_normal((40, 6)), rng.standard_normal((40, 6)) + 1.5, False)
    limit = Tolerance(0.1, "difference", "x")
    result = make_result(pair.reference, ("k",), {"k": np.arange(6.0)}, diagnostic="x", kind="curve", tolerance=0.1)
    plain = decide(deviations(pair, limit, result), limit)
    found = decide(deviations(pair, limit, result), limit, null=permuted_log_p(pair, limit, result, rng))
    assert plain.fail_p < 1e-6 and found.fail_p < 1e-6
    assert 1 <= np.log(found.fail_p) / np.log(plain.fail_p) * 2 <= 2 and found.status == "fail"


def test_distributions_are_judged_by_their_cumulative_difference(lattice):
    rng = np.random.default_rng(2)
    reference, equal, other = (lattice(s * rng.standard_normal((60, 16, 16))) for s in (1.0, 1.0, 1.6))

    def linear(ensemble):
        return one_point(ensemble, edges=np.linspace(-3, 3, 25), scale="linear")

    (good, passed), (bad, failed) = (measured(compare(reference, e, linear), tolerance=0.05) for e in (equal, other))
    assert passed.status == "pass" and failed.status == "fail" and failed.tolerance_kind == "distribution"
    x = np.sqrt(2 * np.log(1.6) / (1 - 1 / 1.6**2))  # where the densities cross, the difference is largest
    expected = stats.norm.cdf(x) - stats.norm.cdf(x / 1.6)
    assert abs(abs(failed.deviation) - expected) < 4 * failed.error + 0.01  # and a hundredth for the bins
    assert set(good["distance_tv"]) == {"value", "error", "floor"}
    assert bad["distance_tv_over_floor"]["value"] > 3 > good["distance_tv_over_floor"]["value"]


def test_a_yardstick_puts_a_difference_into_physical_terms():
    """Energies that differ by 2 % of dE/dlnT are 2 % in temperature, whatever the units of the energy."""
    rng = np.random.default_rng(3)
    attrs = {"diagnostic": "energy", "kind": "curve", "tolerance": 0.05, "tolerance_kind": "difference"}
    attrs["tolerance_of"] = "temperature"
    temperature = {"temperature": ("temperature", [1.0, 2.0], {"units": "J", "symbol": "T"})}
    results = [
        make_result(-5.0 + shift + 0.01 * rng.standard_normal((30, 2)), ("temperature",), temperature, **attrs)
        for shift in (0.0, np.array([0.0, 0.06]))
    ]
    results[0]["yardstick"] = ("temperature", np.array([1.0, 3.0]))
    found = judge(compare_results(*results))
    assert found.status == "pass" and found.where == "T = 2 J" and "2 %" in found.reason.replace("2.0 %", "2 %")
    assert abs(found.deviation - 0.02) < 4 * found.error


def test_points_that_never_vary_are_left_out_and_a_constant_difference_is_not_certain():
    rng = np.random.default_rng(4)
    r, g = (np.c_[np.full(20, 3.0), 1 + 0.01 * rng.standard_normal(20)] for _ in range(2))
    same = deviations(Pair(r, g, True), Tolerance(0.1, "difference", "x"), make_result(
        r, ("k",), {"k": [1.0, 2.0]}, diagnostic="x", kind="curve", tolerance=0.1))  # fmt: skip
    assert np.isnan(same.value[0]) and np.isfinite(same.value[1])
    other = deviations(Pair(r, g + np.array([0.5, 0.0]), True), RATIO, None)
    assert other.value[0] / other.error[0] == pytest.approx(np.sqrt(20))


def test_scalars_are_named_and_the_largest_z_stands_beside_its_null(lattice):
    rng = np.random.default_rng(3)
    reference, equal = (lattice(rng.standard_normal((60, 16, 16))) for _ in range(2))
    metrics, _ = measured(compare(reference, equal, moments))
    assert {"mean", "variance", "skewness", "kurtosis"} <= set(metrics)
    largest = metrics["max_abs_z"]
    assert largest["error"] is None and largest["null"] > 2 and largest["value"] < largest["null"] + 2


def test_identical_ensembles_are_not_called_equal(lattice):
    ensemble = lattice(np.random.default_rng(5).standard_normal((20, 12, 12)))
    ensemble["label"] = ("sample", np.arange(20.0))
    found = judge(compare(ensemble, ensemble, power_spectrum))
    assert found.status == "open" and "identical" in found.reason


def test_a_constant_that_differs_by_rounding_is_no_difference():
    """The mean of a periodic box: one to eight digits on both sides, whatever the joint test makes of the ninth."""
    rng = np.random.default_rng(6)
    attrs = {"diagnostic": "mean", "kind": "scalar", "tolerance": 0.02, "tolerance_kind": "ratio", "tolerance_of": "x"}
    sides = [make_result(1 + shift + 3e-9 * rng.standard_normal(30), (), {}, **attrs) for shift in (0, 1e-8)]
    found = judge(compare_results(*sides))
    assert found.status == "pass" and found.p_value is None and "rounding" in found.reason
    paired = [
        make_result(r["per_unit"].values, (), {}, range(30), **attrs) for r in sides
    ]  # the difference of pairs is all rounding
    assert judge(compare_results(*paired)).p_value is None
    other = make_result(1.1 + 3e-9 * rng.standard_normal(30), (), {}, **attrs)
    assert judge(compare_results(sides[0], other)).status == "fail"


def test_no_deviation_at_all_is_open():
    empty = Deviation(np.full(3, np.nan), np.ones(3), np.ones(3))
    assert decide(empty, RATIO) is None


def test_everything_is_plain_json(lattice, spin_ensemble):
    """NaN (one unit, no error) becomes null, never invalid JSON."""
    rng = np.random.default_rng(4)
    cases = [(lattice(rng.standard_normal((2, 12, 12))), d) for d in (power_spectrum, one_point, moments)]
    cases.append((spin_ensemble(rng, [1, 2, 3]), moments))
    for ensemble, diagnostic in cases:
        metrics, verdict = measured(compare(ensemble, ensemble, diagnostic))
        text = json.dumps([metrics, verdict.flat()], allow_nan=False)
        assert json.loads(text)[1]["verdict"] in ("pass", "open")
