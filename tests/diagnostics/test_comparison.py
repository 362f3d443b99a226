"""Comparisons: calibrated p-values, pairing, floors. Every figure with the law it must follow."""

import numpy as np
import pytest
from scipy import stats

from physgen.diagnostics import compare, compare_results, make_result, one_point, power_spectrum
from physgen.diagnostics.hotelling import mean_is_zero, means_are_equal
from physgen.diagnostics.pair import Pair, total_variation
from physgen.errors import InputError

POINTS = 24
CORRELATED = np.linalg.cholesky(0.9 ** np.abs(np.subtract.outer(np.arange(POINTS), np.arange(POINTS))))
BINS = np.array([0.02, 0.05, 0.1, 0.2, 0.26, 0.2, 0.1, 0.05, 0.02])


def noise(rng, units):
    """Gaussian units whose points are strongly correlated."""
    return rng.standard_normal((units, POINTS)) @ CORRELATED.T


def spectrum(per_unit, ids=None):
    k = np.arange(1.0, per_unit.shape[1] + 1)
    return make_result(per_unit, ("k",), {"k": k}, ids, diagnostic="s", kind="spectrum", nyquist=k[-1])


def histogram(per_unit, ids=None, samples=None):
    x = np.arange(per_unit.shape[1]) * 0.5
    attrs = {"diagnostic": "h", "kind": "histogram", "measure": "probability"}
    return make_result(per_unit, ("x",), {"x": x}, ids, n_samples=samples or len(per_unit), **attrs)


def binned(rng, units, draws=64):
    return rng.multinomial(draws, BINS, size=units) / draws


CASES = {
    "paired, more points than units": lambda rng: mean_is_zero(noise(rng, 12)),
    "paired, few units": lambda rng: mean_is_zero(noise(rng, 4)),
    "paired, many units": lambda rng: mean_is_zero(noise(rng, 100)),
    "unpaired, unequal covariances and numbers": lambda rng: means_are_equal(noise(rng, 15), 3 * noise(rng, 60)),
    "histograms that sum to one": lambda rng: means_are_equal(binned(rng, 30), binned(rng, 40)),
    "histograms of few units": lambda rng: mean_is_zero(binned(rng, 6) - binned(rng, 6)),
    "histograms at several temperatures": lambda rng: mean_is_zero(
        np.hstack([binned(rng, 20) - binned(rng, 20) for _ in range(4)])
    ),
    "lognormal units": lambda rng: mean_is_zero(np.exp(0.5 * noise(rng, 30)) - np.exp(0.5 * noise(rng, 30))),
}


@pytest.mark.parametrize("case", CASES)
def test_p_value_is_uniform_under_the_null(case):
    """Kolmogorov-Smirnov against the uniform law, and the rate below 0.05 within its binomial error."""
    rng = np.random.default_rng(0)
    found = [CASES[case](rng) for _ in range(600)]
    p = np.array([x[2] for x in found])
    assert stats.kstest(p, "uniform").pvalue > 1e-3
    assert abs((p < 0.05).mean() - 0.05) < 4 * np.sqrt(0.05 * 0.95 / 600)


def test_chi_square_with_the_debiased_covariance_has_mean_dof():
    rng = np.random.default_rng(1)
    found = np.array([mean_is_zero(noise(rng, 40))[:2] for _ in range(600)])
    per_dof = found[:, 0] / found[:, 1]
    assert abs(per_dof.mean() - 1) < 4 * per_dof.std() / np.sqrt(600)
    assert found[0, 1] == 19  # half of the 39 degrees of freedom


def test_a_constraint_costs_no_information():
    """Nine bins that sum to one have eight free directions; six units allow two, whatever is merged."""
    rng = np.random.default_rng(14)
    assert mean_is_zero(binned(rng, 100) - binned(rng, 100))[1] == 8
    assert mean_is_zero(binned(rng, 6) - binned(rng, 6))[1] == 2
    assert mean_is_zero(np.hstack([binned(rng, 100) for _ in range(4)]) - np.tile(BINS, 4))[1] == 32


def test_whole_comparison_has_a_uniform_p_value_on_fields(lattice):
    """From the fields to p: white noise, unpaired samples, 60 repetitions."""
    rng = np.random.default_rng(2)
    p = []
    for _ in range(60):
        results = [power_spectrum(lattice(rng.standard_normal((20, 12, 12)))) for _ in range(2)]
        p.append(float(compare_results(*results)["p_value"]))
    assert stats.kstest(p, "uniform").pvalue > 1e-3


def test_a_real_difference_is_found():
    rng = np.random.default_rng(3)
    reference, shifted = 1 + 0.1 * noise(rng, 60), 1.2 + 0.1 * noise(rng, 60)
    assert float(compare_results(spectrum(reference), spectrum(shifted))["p_value"]) < 1e-6


@pytest.mark.parametrize("ids", [None, range(30)], ids=["unpaired", "paired"])
def test_errors_of_ratio_and_difference_cover_the_truth(ids):
    """Pulls of 50 x 24 independent points follow Student's t of 29 (58) degrees of freedom: variance nu / (nu - 2)."""
    rng = np.random.default_rng(4)
    pulls = []
    for _ in range(50):
        common = 0.0 if ids is None else 0.3 * rng.standard_normal((30, POINTS))
        first, second = (1 + common + 0.05 * rng.standard_normal((30, POINTS)) for _ in range(2))
        found = compare_results(spectrum(first, ids), spectrum(1.2 * second, ids))
        difference_pull = (found["difference"] - 0.2) / found["difference_error"]
        pulls.append([(found["ratio"] - 1.2) / found["ratio_error"], difference_pull])
    nu = 58 if ids is None else 29
    for pull in np.array(pulls, float).transpose(1, 0, 2):
        assert abs(pull.var() / (nu / (nu - 2)) - 1) < 4 * np.sqrt(2 / pull.size) + 0.02


def test_pairing_removes_the_variance_of_the_labels():
    """Unit i holds label_i + noise: the error falls from sqrt(2 (L^2 + e^2) / n) to sqrt(2 e^2 / n)."""
    rng = np.random.default_rng(5)
    label = rng.standard_normal((200, 1))
    first, second = (10 + label + 0.1 * rng.standard_normal((200, 6)) for _ in range(2))
    order = rng.permutation(200)
    paired = compare_results(spectrum(first, range(200)), spectrum(second[order], order))
    unpaired = compare_results(spectrum(first), spectrum(second))
    assert paired.attrs["paired"] == 1 and unpaired.attrs["paired"] == 0
    gain = (unpaired["difference_error"] / paired["difference_error"]).values
    expected = np.sqrt((label.var(ddof=1) + 0.01) / 0.01)
    assert np.all(np.abs(gain / expected - 1) < 4 / np.sqrt(2 * 199))


def test_order_of_units_does_not_matter():
    rng = np.random.default_rng(6)
    first, second = 1 + noise(rng, 20) * 0.1, 1 + noise(rng, 20) * 0.1
    order = rng.permutation(20)
    one = compare_results(spectrum(first, range(20)), spectrum(second, range(20)))
    two = compare_results(spectrum(first, range(20)), spectrum(second[order], order))
    assert float(one["p_value"]) == pytest.approx(float(two["p_value"]), rel=1e-9)
    np.testing.assert_allclose(one["ratio_error"], two["ratio_error"])


def test_distances_are_those_of_the_mean_histograms():
    p, q = np.array([[0.5, 0.5, 0.0]] * 3), np.array([[0.25, 0.25, 0.5]] * 4)
    found = compare_results(histogram(p), histogram(q))
    assert float(found["distance_tv"]) == pytest.approx(0.5)
    assert float(found["distance_w1"]) == pytest.approx(0.5 * 0.25 + 0.5 * 0.5)  # bins 0.5 apart


def test_density_and_probability_give_the_same_distance():
    rng = np.random.default_rng(7)
    p, q = binned(rng, 10), binned(rng, 10)
    one = compare_results(histogram(p), histogram(q))
    dense = [histogram(h / 0.5).assign_attrs(measure="density") for h in (p, q)]
    for result in dense:
        result["value"].attrs["measure"] = "density"
    two = compare_results(*dense)
    assert float(one["distance_tv"]) == pytest.approx(float(two["distance_tv"]))
    assert float(one["distance_w1"]) == pytest.approx(float(two["distance_w1"]))


def test_floor_and_null_are_what_equal_laws_give_and_fall_as_one_over_root_n():
    """Means over 150 repetitions; TV of binomial noise scales as 1/sqrt(units)."""
    rng = np.random.default_rng(8)
    means = {}
    for units in (40, 160):
        rows = []
        for _ in range(150):
            reference, generated = binned(rng, units), binned(rng, units)
            halves = np.split(reference, 2)
            pair = Pair(reference, generated, paired=False)
            floor = Pair(*halves, paired=False).distance(total_variation)[0]
            rows.append([pair.distance(total_variation)[0], floor / np.sqrt(2), pair.null(total_variation, rng)])
        rows = np.array(rows)
        means[units] = rows.mean(axis=0), rows.std(axis=0) / np.sqrt(150)
        for other in (1, 2):
            error = np.hypot(means[units][1][0], means[units][1][other])
            assert abs(means[units][0][0] - means[units][0][other]) < 4 * error
    ratio = means[40][0] / means[160][0]
    error = ratio * np.hypot(means[40][1] / means[40][0], means[160][1] / means[160][0])
    assert np.all(np.abs(ratio - 2) < 4 * error)


@pytest.mark.parametrize(("samples", "scale"), [((100, 100, 50, 50), 2**-0.5), ((100, 300, 50, 50), 3**-0.5)])
def test_floor_is_scaled_to_equal_statistics(samples, scale):
    """sqrt((1/N_r + 1/N_g) / (1/N_a + 1/N_b))."""
    rng = np.random.default_rng(13)
    results = [histogram(binned(rng, 20), samples=n) for n in samples]
    found = compare_results(*results)
    assert found.attrs["floor_scale"] == pytest.approx(scale)
    raw = total_variation(*(r["value"].values for r in results[2:]))
    assert float(found["distance_tv_floor"]) == pytest.approx(raw * scale)


def test_jackknife_error_of_a_clear_distance_is_its_scatter():
    rng = np.random.default_rng(9)
    tilted = BINS * np.linspace(0.5, 1.5, 9)
    tilted /= tilted.sum()
    rows = []
    for _ in range(200):
        generated = rng.multinomial(64, tilted, size=50) / 64
        rows.append(Pair(binned(rng, 50), generated, paired=False).distance(total_variation))
    scatter, stated = np.std(rows, axis=0)[0], np.sqrt(np.mean(np.square(rows), axis=0)[1])
    assert abs(stated / scatter - 1) < 4 / np.sqrt(2 * 200)


def test_compare_halves_within_conditions_when_paired(lattice):
    """A strong label effect would make the floor of halves over simulations huge; within them it is the noise."""
    rng = np.random.default_rng(10)
    amplitude = np.repeat(np.linspace(0.5, 3.0, 10), 6)[:, None, None]
    reference, generated = (lattice(amplitude * rng.standard_normal((60, 12, 12))) for _ in range(2))
    for ensemble in (reference, generated):
        ensemble["simulation"] = ("sample", np.repeat(np.arange(10), 6))
        ensemble["amplitude"] = ("sample", np.repeat(np.linspace(0.5, 3.0, 10), 6))
    paired = compare(reference, generated, power_spectrum, seed=3)
    loose = compare(reference.drop_vars("amplitude"), generated.drop_vars("amplitude"), power_spectrum, seed=3)
    assert paired.attrs["paired"] == 1 and loose.attrs["paired"] == 0
    assert paired.attrs["floor_scale"] == pytest.approx(np.sqrt((2 / 60) / (2 / 30)))
    assert float(paired["difference_error"].mean()) < 0.7 * float(loose["difference_error"].mean())
    assert float(paired["mean_abs_log_ratio"]) < 3 * float(paired["mean_abs_log_ratio_floor"])


def test_different_bins_are_refused(lattice):
    rng = np.random.default_rng(11)
    first, second = (power_spectrum(lattice(rng.standard_normal((4, n, n)))) for n in (12, 16))
    with pytest.raises(InputError, match="different values of 'k'"):
        compare_results(first, second)
    with pytest.raises(InputError, match="same diagnostic"):
        compare_results(first, one_point(lattice(rng.standard_normal((4, 12, 12)))))


def test_identical_results_differ_by_nothing():
    data = 1 + 0.1 * noise(np.random.default_rng(12), 10)
    found = compare_results(spectrum(data, range(10)), spectrum(data, range(10)))
    assert not found["difference"].values.any() and np.isnan(found["p_value"])
    assert float(found["mean_abs_log_ratio"]) == 0
