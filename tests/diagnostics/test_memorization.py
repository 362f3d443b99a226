"""The memorization test: symmetric nearest neighbours by brute force, planted copies, a calibrated null."""

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.spatial.distance import cdist

from physgen.diagnostics import memorization
from physgen.diagnostics.copying import find_copies
from physgen.diagnostics.memorization import memorization_test
from physgen.diagnostics.nearest import (
    Nearest,
    nearest_euclidean,
    nearest_field,
    nearest_spins,
)
from physgen.diagnostics.two_sample import auc, ks_p_value, ks_statistic
from physgen.errors import InputError
from physgen.lattice import point_group


@pytest.mark.parametrize(("grid", "count"), [((8,), 2), ((8, 8), 8), ((6, 8), 4), ((4, 4, 4), 48), ((4, 4, 6), 16)])
def test_point_group_has_its_order_and_its_elements_differ(grid, count):
    field = torch.arange(float(np.prod(grid))).reshape(1, 1, *grid)
    images = {tuple(g(field).flatten().tolist()) for g in point_group(grid)}
    assert len(point_group(grid)) == count == len(images)


def test_similarity_is_the_largest_correlation_over_shifts_and_symmetries():
    rng = np.random.default_rng(0)
    query, train = rng.standard_normal((3, 1, 5, 5)), rng.standard_normal((4, 1, 5, 5))
    best = np.empty((3, 4))
    for i, a in enumerate(query[:, 0]):
        for j, b in enumerate(train[:, 0]):
            images = [np.rot90(m, r) for m in (a, a.T) for r in range(4)]
            shifted = [np.roll(m, s, (0, 1)) for m in images for s in np.ndindex(5, 5)]
            best[i, j] = max(np.corrcoef(m.ravel(), b.ravel())[0, 1] for m in shifted)
    found = nearest_field(query, train)
    np.testing.assert_allclose(found.similarity, -np.sort(-best, axis=1)[:, :2], atol=1e-5)
    np.testing.assert_array_equal(found.index, np.argsort(-best, axis=1)[:, :2])
    np.testing.assert_allclose(found.gap, np.sqrt((1 - found.similarity[:, 0]) / (1 - found.similarity[:, 1])))


def test_shifted_rotated_rescaled_copies_are_found_in_two_and_three_dimensions(red_noise):
    rng = np.random.default_rng(1)
    flat, cube = red_noise(rng, 12, (16, 16)), red_noise(rng, 6, (8, 8, 8))
    moved = np.stack([3 * np.rot90(np.roll(f, (i, 5), (0, 1)), i) + 1 for i, f in enumerate(flat)])
    found = nearest_field(moved[:, None], flat[:, None])
    assert found.index[:, 0].tolist() == list(range(12)) and found.duplicate.all() and (found.gap < 1 / 3).all()
    turned = np.stack([np.roll(f.transpose(2, 0, 1)[::-1], i, 1) for i, f in enumerate(cube)])
    assert nearest_field(turned[:, None], cube[:, None]).duplicate.all()
    assert not nearest_field(turned[:, None], cube[:, None], group="none").duplicate.any()


def test_noisy_copies_have_the_expected_similarity(red_noise):
    """A field plus independent noise of equal variance correlates as 1/sqrt 2."""
    field = np.random.default_rng(2).standard_normal((4, 1, 32, 32))
    noisy = field + np.random.default_rng(3).standard_normal(field.shape)
    found = nearest_field(noisy, field, group="none")
    assert np.all(np.abs(found.similarity[:, 0] - 2**-0.5) < 5 / 32)


def test_overlaps_and_distances_equal_the_direct_ones():
    rng = np.random.default_rng(4)
    query, train = rng.choice([-1, 1], size=(7, 4, 5)), rng.choice([-1, 1], size=(9, 4, 5))
    overlap = np.abs(query.reshape(7, -1) @ train.reshape(9, -1).T) / 20
    found = nearest_spins(query.astype(np.int8), train.astype(np.int8))
    np.testing.assert_allclose(found.similarity, -np.sort(-overlap, axis=1)[:, :2])
    assert nearest_spins(-train, train).duplicate.all() and not nearest_spins(-train, train, fold=False).duplicate.all()
    x, y = rng.standard_normal((6, 11)), rng.standard_normal((8, 11))
    found = nearest_euclidean(x, y)
    np.testing.assert_allclose(-found.similarity, np.sort(cdist(x, y), axis=1)[:, :2])
    np.testing.assert_allclose(found.gap, found.similarity[:, 0] / found.similarity[:, 1])


def synthetic(rng, count, copies=0):
    """Nearest of independent numbers; the first ``copies`` are planted."""
    similarity = np.sort(rng.normal(0.2, 0.03, (count, 2)), axis=1)[:, ::-1]
    similarity[:copies, 0] = 1.0
    gap = np.sqrt((1 - similarity[:, 0]) / (1 - similarity[:, 1]))
    return Nearest(similarity, np.zeros((count, 2), int), gap, similarity[:, 0] > 0.999, 100)


def test_p_value_is_uniform_for_independent_data():
    """Permutation p on a grid of 1/100: compared with the uniform law by Kolmogorov-Smirnov, 300 repetitions."""
    rng = np.random.default_rng(5)
    for make in (lambda n: rng.standard_normal(n), lambda n: rng.integers(0, 6, n) / 6):
        p = [ks_p_value(make(30), make(40), draws=99, rng=rng) for _ in range(300)]
        assert stats.kstest(np.array(p) - rng.uniform(0, 0.01, 300), "uniform").statistic < 1.9 / np.sqrt(300)


@pytest.mark.parametrize("shared", [True, False])
def test_p_value_is_uniform_for_data_that_depend_within_units(shared):
    """Ten numbers of a simulation share an offset; permuting single numbers would reject far too often."""
    rng = np.random.default_rng(6)
    unit = np.repeat(np.arange(12), 10)
    p, naive = [], []
    for _ in range(200):
        common = rng.standard_normal(12)
        first, second = (
            (common if shared else rng.standard_normal(12))[unit] + 0.7 * rng.standard_normal(12)[unit]
            + 0.1 * rng.standard_normal(120) for _ in range(2)
        )  # fmt: skip
        p.append(ks_p_value(first, second, unit, unit if shared else unit + 100, draws=99, rng=rng))
        naive.append(ks_p_value(first, second, draws=99, rng=rng))
    assert abs(np.mean(np.array(p) < 0.1) - 0.1) < 4 * np.sqrt(0.09 / 200)
    assert np.mean(np.array(naive) < 0.1) > 0.3


def test_ks_and_auc_equal_scipy():
    rng = np.random.default_rng(7)
    first, second = rng.integers(0, 9, 50), rng.integers(0, 9, 35)
    assert ks_statistic(first, second) == pytest.approx(stats.ks_2samp(first, second).statistic)
    assert auc(first, second) == pytest.approx(stats.mannwhitneyu(first, second).statistic / (50 * 35))


def test_planted_copies_are_counted_with_their_fraction():
    found = memorization_test(synthetic(np.random.default_rng(8), 400, 80), synthetic(np.random.default_rng(9), 400))
    for name in ("copied_fraction", "gap_fraction", "f_mem", "duplicates"):
        assert abs(float(found[name]) - 0.2) < 4 * float(found[f"{name}_error"]), name
    assert found.attrs["verdict"] == "fail" and "20 %" in found.attrs["verdict_text"]
    assert abs(float(found["auc"]) - 0.6) < 4 * float(found["auc_error"])
    assert float((found["value"] * np.diff(found["similarity"])[0]).sum()) == pytest.approx(1.0)


def test_independent_data_seldom_fail():
    """Over 40 repetitions the estimates scatter around the null as stated, and three-error alarms are rare."""
    rng = np.random.default_rng(10)
    found = [memorization_test(synthetic(rng, 200), synthetic(rng, 200), seed=i) for i in range(40)]
    assert sum(f.attrs["verdict"] == "fail" for f in found) <= 2
    pulls = np.array([(float(f["auc"]) - 0.5) / float(f["auc_error"]) for f in found])
    assert abs(pulls.mean()) < 4 / np.sqrt(40) and abs(pulls.var() - 1) < 4 * np.sqrt(2 / 40)


def test_a_smoother_law_is_not_called_copying():
    """All similarities moved up together: nearer than held-out data, but not to single configurations."""
    smooth, null = synthetic(np.random.default_rng(11), 300), synthetic(np.random.default_rng(12), 300)
    moved = Nearest(smooth.similarity + 0.15, smooth.index, smooth.gap, smooth.duplicate, 100)
    assert memorization_test(moved, null).attrs["verdict"] == "open"


def test_ensembles_of_fields_with_planted_copies(lattice, red_noise):
    rng = np.random.default_rng(13)
    train, heldout, generated = (red_noise(rng, n, (16, 16)) for n in (60, 50, 50))
    for i in range(15):
        generated[i] = np.roll(np.rot90(train[3 * i], i), (i, 2 * i), (0, 1))
    sets = [lattice(f) for f in (generated, train, heldout)]
    found = memorization(*sets)
    assert found.attrs["verdict"] == "fail" and found.attrs["n_train"] == 60
    assert abs(float(found["f_mem"]) - 0.3) < 1e-12 and float(found["f_mem_heldout"]) == 0
    assert found["generated_nearest"].values[:15].tolist() == [3 * i for i in range(15)]
    clean = memorization(lattice(red_noise(rng, 50, (16, 16))), *sets[1:], similarity="translations", tolerance=0.1)
    assert clean.attrs["verdict"] == "pass"
    few = memorization(*sets, limit=60 * 256 * 8 * 2 * 25)
    assert few.attrs["n_generated"] == few.attrs["n_heldout"] == 25


def test_spins_are_compared_within_their_own_instance_when_training_holds_it(spin_ensemble):
    rng = np.random.default_rng(14)
    train, heldout, generated = (spin_ensemble(rng, [5, 8, 2], replicas=20) for _ in range(3))
    generated["field"][{"replica": slice(0, 5)}] = -train["field"][{"replica": slice(0, 5)}].values
    found = memorization(generated, train, heldout, similarity="overlap")
    assert found.attrs["n_compared"] == 40 and found["unit"].values.tolist() == [2, 5, 8]
    assert abs(float(found["duplicates"]) - 0.25) < 1e-12 and found.attrs["verdict"] == "fail"
    copied = found["generated_similarity"].values == 1.0
    np.testing.assert_array_equal(found["generated_nearest"].values[copied], np.flatnonzero(copied))
    renamed = train.assign_coords(disorder=[11, 12, 13])  # a number is no identity: the couplings are
    assert memorization(generated, renamed, heldout, similarity="overlap").attrs["n_compared"] == 40
    others = train.assign(couplings=2 * train["couplings"])
    assert memorization(generated, others, heldout, similarity="overlap").attrs["n_compared"] == 120


def test_every_copy_is_convicted_and_few_are_bounded():
    """3 copies in 400 are convicted at p < 1e-6; none in 400 leaves at most 1 - 0.05^(1/400) = 0.75 %."""
    found = memorization_test(synthetic(np.random.default_rng(16), 400, 3), synthetic(np.random.default_rng(17), 400))
    assert found.attrs["verdict"] == "fail" and found.attrs["fail_p"] < 1e-6
    assert float(found["copies"]) == 3 / 400
    clean = memorization_test(synthetic(np.random.default_rng(18), 400), synthetic(np.random.default_rng(17), 400))
    assert clean.attrs["verdict"] == "pass" and "0.75 %" in clean.attrs["verdict_text"]
    assert float(clean["copied_upper"]) == pytest.approx(1 - 0.05 ** (1 / 400))
    few = memorization_test(synthetic(np.random.default_rng(18), 40), synthetic(np.random.default_rng(17), 400))
    assert few.attrs["verdict"] == "open" and "299 configurations would decide" in few.attrs["verdict_text"]


def test_single_configurations_are_convicted_at_the_stated_rate():
    """Maxima of Gaussian correlations, 300 trials at a rate of 5 %."""
    rng, trials, convicted = np.random.default_rng(19), 300, 0
    for _ in range(trials):
        both = [np.tanh(0.1 * np.sort(rng.standard_normal((60, 500)), axis=1)[:, :-3:-1]) for _ in range(2)]
        near = [
            Nearest(x, np.zeros((60, 2), int), np.sqrt((1 - x[:, 0]) / (1 - x[:, 1])), x[:, 0] > 1, 500) for x in both
        ]
        convicted += find_copies(*near, false_alarms=0.05).count > 0
    assert convicted / trials < 0.05 + 4 * np.sqrt(0.05 * 0.95 / trials)


def test_where_configurations_repeat_in_equilibrium_a_copy_cannot_be_told():
    """Four spins: every configuration is in the training set."""
    rng = np.random.default_rng(20)
    sets = [nearest_spins(rng.choice([-1, 1], (200, 4)), rng.choice([-1, 1], (300, 4))) for _ in range(2)]
    found = memorization_test(*sets)
    assert found.attrs["verdict"] == "open" and "could not be told" in found.attrs["verdict_text"]


def test_a_reference_that_is_the_training_set_never_passes(lattice, red_noise):
    rng = np.random.default_rng(21)
    train, fresh = red_noise(rng, 60, (16, 16)), red_noise(rng, 40, (16, 16))
    copied = memorization(lattice(train[:24]), lattice(train), lattice(train))
    assert copied.attrs["verdict"] == "fail" and "100 %" in copied.attrs["verdict_text"]
    clean = memorization(lattice(fresh), lattice(train), lattice(train), tolerance=0.2)
    assert clean.attrs["verdict"] == "open" and "no model has seen" in clean.attrs["verdict_text"]
    # half of the reference is free of training data: the null is that half
    mixed = memorization(lattice(fresh), lattice(train), lattice(np.r_[red_noise(rng, 30, (16, 16)), train[:30]]))
    assert mixed.attrs["leaked"] == 30 and mixed.attrs["verdict"] == "open"


def test_simulations_shared_with_the_training_set_are_no_null(lattice, red_noise):
    """Other maps of the same simulations: the same number and the same labels."""
    rng = np.random.default_rng(22)
    sets = [lattice(red_noise(rng, 40, (16, 16))) for _ in range(3)]
    for ensemble in sets:
        ensemble["simulation"] = ("sample", np.repeat(np.arange(10), 4))
        ensemble["Omega_m"] = ("sample", np.repeat(np.linspace(0.1, 0.5, 10), 4))
    assert memorization(*sets).attrs["leaked"] == 40
    other = sets[2].assign(Omega_m=sets[2]["Omega_m"] + 0.01)
    assert memorization(*sets[:2], other).attrs["leaked"] == 0


def test_unequal_lattices_and_unknown_similarities_are_refused(lattice):
    rng = np.random.default_rng(15)
    small, large = lattice(rng.standard_normal((4, 6, 6))), lattice(rng.standard_normal((4, 8, 8)))
    with pytest.raises(InputError, match="one lattice"):
        memorization(small, large, small)
    with pytest.raises(InputError, match="choose one of"):
        memorization(small, small, small, similarity="pixels")
