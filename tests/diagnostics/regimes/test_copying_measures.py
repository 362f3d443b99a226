"""Measures of copying: their definitions by brute force, memorizers and exact laws of three kinds, their rates."""

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.spatial.distance import cdist

from physgen.diagnostics.regimes.copies import field_measure, measure_of
from physgen.diagnostics.regimes.copying_measures import METRICS, copying_metrics, copying_p_values
from physgen.diagnostics.regimes.kinds_of_copies import copy_classes
from physgen.errors import InputError
from physgen.lattice import point_group


def points(rng, count, d=8):
    sign = rng.choice([-1.0, 1.0], size=(count, 1, 1))
    return torch.tensor(rng.standard_normal((count, 1, d)) + sign)


def fields(rng, count, n=8):
    k = np.hypot(*np.meshgrid(np.fft.fftfreq(n), np.fft.fftfreq(n))) * n
    modes = np.fft.fft2(rng.standard_normal((count, 1, n, n))) / (1 + k)
    return torch.tensor(np.fft.ifft2(modes).real)


def signs(rng, count, sites=24):
    """Independent blocks of 2 equal values with a common tendency: many states, a global flip as symmetry."""
    tendency = np.tanh(0.5 * rng.standard_normal((count, 1)))
    half = np.where(rng.random((count, sites // 2)) < (1 + tendency) / 2, 1.0, -1.0)
    return torch.tensor(np.repeat(half, 2, axis=1)[:, None])


def shifted(rng, x):
    moves = point_group(x.shape[2:])
    return torch.stack([
        moves[rng.integers(len(moves))].move(one[None])[0].roll(tuple(rng.integers(8, size=2).tolist()), (1, 2))
        for one in x
    ])  # fmt: skip


def flipped(rng, x):
    return x * torch.tensor(rng.choice([-1.0, 1.0], size=(len(x), 1, 1)))


def slid(rng, x):
    return torch.stack([one.roll(tuple(rng.integers(8, size=2).tolist()), (1, 2)) for one in x])


def turned(rng, x):
    return torch.stack([point_group(x.shape[2:])[rng.integers(8)].move(one[None])[0] for one in x])


KINDS = {
    "euclidean": (points, lambda rng, x: x),
    "field": (fields, shifted),
    "translations": (fields, slid),
    "in place": (fields, turned),
    "overlap": (signs, flipped),
}
MEASURES = {name: name for name in KINDS} | {"in place": field_measure(periodic=False)}


def test_each_metric_is_what_it_says_by_brute_force():
    rng = np.random.default_rng(0)
    generated, train, heldout = points(rng, 30), points(rng, 25), points(rng, 34)
    generated[:9] = train[:9] + 0.2 * torch.tensor(rng.standard_normal((9, 1, 8)))
    result = copying_metrics(generated, train, heldout)
    found = {name: float(result["value"].sel(metric=name)) for name in METRICS}
    d, null = (np.sort(cdist(x[:, 0], train[:, 0]), axis=1) for x in (generated, heldout))
    gap = d[:, 0] / d[:, 1]
    assert [found[f"f_mem{w}"] for w in ("", "_half", "_quarter")] == [np.mean(gap < k) for k in (1 / 3, 1 / 2, 1 / 4)]
    pairs = cdist(train[:, 0], train[:, 0])
    own = np.sort(pairs, axis=1)[:, 1][cdist(generated[:, 0], train[:, 0]).argmin(axis=1)]
    assert found["authenticity"] == np.mean(d[:, 0] > own)
    u = stats.mannwhitneyu(d[:, 0], null[:, 0], use_continuity=False, method="asymptotic")
    assert np.isclose(found["auc"], 1 - u.statistic / (30 * 34))
    assert np.isclose(found["C_T"], (u.statistic - 30 * 34 / 2) / np.sqrt(30 * 34 * 65 / 12))
    assert np.isclose(found["ks"], stats.ks_2samp(d[:, 0], null[:, 0], alternative="greater").statistic)
    scale = float(result["scale"]) ** 2
    weights = np.exp(-(cdist(generated[:, 0], train[:, 0]) ** 2) / (2 * scale))
    weights /= weights.sum(axis=1, keepdims=True)
    assert np.isclose(found["Y2"], (weights**2).sum(axis=1).mean())
    others = np.exp(-(pairs**2) / (2 * scale)).sum(axis=1)
    assert np.isclose((1 / others).mean(), 0.9, atol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_a_memorizer_is_called_by_every_metric_and_the_law_by_none(kind):
    """Random shifts, turns and flips of the copies hide nothing; the measure knows the symmetries."""
    draw, move = KINDS[kind]
    rng = np.random.default_rng(1)
    train, heldout, exact = (draw(rng, 80) for _ in range(3))
    copies = move(rng, train[torch.as_tensor(rng.integers(80, size=80))])
    called = copying_metrics(copies, train, heldout, MEASURES[kind])
    assert called["memorizing"].all()
    assert (called["error"] > 0).all() and called.attrs["n_train"] <= 80
    assert float(called["value"].sel(metric="f_mem")) == 1 and float(called["value"].sel(metric="authenticity")) == 0
    assert not (copying_p_values(exact, train, heldout, MEASURES[kind]) <= 0.01).any()


def test_the_threshold_is_where_the_call_changes():
    rng = np.random.default_rng(2)
    train, heldout, generated = (points(rng, 60) for _ in range(3))
    result = copying_metrics(generated, train, heldout, level=0.2)
    beyond = result["direction"] * (result["value"] - result["threshold"]) > 1e-12
    assert (beyond == result["memorizing"]).all() and (beyond == (result["p_value"] <= 0.2)).all()
    rates = result["false_positive_rate"]
    assert (rates <= 0.2 + 4 * result["false_positive_rate_error"]).all() and float(rates.max()) > 0.1
    assert float(rates.max()) <= float(result["any_false_positive_rate"])


def test_exact_laws_are_called_at_the_stated_rate():
    """Over fresh draws of everything; continuous metrics reach the rate, counts stay below."""
    rng = np.random.default_rng(3)
    p = np.stack(
        [copying_p_values(*(points(rng, 30, 4) for _ in range(3)), seed=i, relabellings=99) for i in range(160)]
    )
    rates = dict(zip(METRICS, (p <= 0.1).mean(axis=0), strict=True))
    error = np.sqrt(0.1 * 0.9 / 160)
    assert max(rates.values()) < 0.1 + 4 * error
    assert all(rates[name] > 0.1 - 4 * error for name in ("Y2", "auc", "C_T"))


def test_a_narrow_law_is_near_but_copies_nothing():
    """Nearest distances alone take it for memorizing; the second nearest tells it apart."""
    rng = np.random.default_rng(10)
    train, heldout, law = (points(rng, 100) for _ in range(3))
    p = dict(zip(METRICS, copying_p_values(0.6 * law, train, heldout), strict=True))
    assert max(p["auc"], p["ks"], p["C_T"]) <= 0.01
    assert min(p[name] for name in ("f_mem", "f_mem_half", "f_mem_quarter")) > 0.05


def test_training_fields_that_repeat_when_moved_break_nothing():
    rng = np.random.default_rng(12)
    train = fields(rng, 12)
    train, generated, heldout = torch.cat([train, shifted(rng, train)]), fields(rng, 20), fields(rng, 20)
    assert np.isfinite(copying_metrics(generated, train, heldout, "field")["value"]).all()


def test_copies_within_one_unit_do_not_pass_for_many():
    """Eight repetitions of each unit: relabelling single configurations would call their chance nearness copying."""
    rng = np.random.default_rng(4)
    unit = np.repeat(np.arange(12), 8)
    calls = []
    for seed in range(8):
        train = points(rng, 40, 4)
        generated, heldout = (points(rng, 12, 4)[unit] + 0.01 * points(rng, 96, 4) for _ in range(2))
        alone = copying_p_values(generated, train, heldout, seed=seed)
        whole = copying_p_values(generated, train, heldout, seed=seed, units=(unit, unit + 100))
        calls.append([np.nanmin(alone) <= 0.01, np.nanmin(whole) <= 0.01])
    alone, whole = np.sum(calls, axis=0)
    assert alone >= 2 > whole


def test_repeated_training_configurations_count_once():
    rng = np.random.default_rng(5)
    train = signs(rng, 40)
    repeated = torch.cat([train, -train, train[:7]])
    generated, heldout = signs(rng, 40), signs(rng, 40)
    one, other = (copying_metrics(generated, t, heldout, "overlap") for t in (train, repeated))
    assert (
        other.attrs["n_train"] == one.attrs["n_train"] == len(np.unique(train.numpy() * train.numpy()[..., :1], axis=0))
    )
    np.testing.assert_allclose(one["value"], other["value"])


def test_constant_fields_are_no_copies_and_break_nothing():
    rng = np.random.default_rng(11)
    generated, train, heldout = (fields(rng, 24) for _ in range(3))
    generated[0], train[1] = 1.0, 0.0
    result = copying_metrics(generated, train, heldout, "field")
    assert np.isfinite(result["value"]).all() and float(result["value"].sel(metric="f_mem")) == 0


def test_what_cannot_be_judged_is_said():
    rng = np.random.default_rng(6)
    x = points(rng, 40)
    with pytest.raises(InputError, match="at least 8"):
        copying_metrics(x[:5], x[5:20], x[20:])
    with pytest.raises(InputError, match="in the training set"):
        copying_metrics(x[:20], x[20:], x[20:])
    with pytest.raises(InputError, match="unknown"):
        copying_metrics(x[:20], x[20:], x[20:], "cosine")
    with pytest.raises(InputError, match="level"):
        copying_metrics(x[:12], x[12:25], x[25:], level=1e-4)
    with pytest.raises(InputError, match="at least 8"):
        copying_metrics(x[:12], x[12:25], x[25:], units=(np.arange(12) // 4, None))


def test_classes_of_a_memorizer_of_a_repeater_and_of_the_law():
    rng = np.random.default_rng(7)
    train, heldout, law = (points(rng, 150) for _ in range(3))
    copies = train[torch.as_tensor(rng.integers(150, size=100))]
    repeater = points(rng, 10)[torch.as_tensor(rng.integers(10, size=100))] + 0.01 * points(rng, 100)
    found = {name: copy_classes(x, train, heldout) for name, x in (("c", copies), ("r", repeater), ("law", law))}
    assert found["c"]["value"].sel({"class": "memorized"}) == 1
    assert found["r"]["value"].sel({"class": "spurious"}) > 0.9
    exact = found["law"]
    assert np.allclose(exact["rate"][:2], [1 / 151, 2 / 150])
    for name in ("memorized", "spurious"):
        value, error = (float(exact[v].sel({"class": name})) for v in ("value", "error"))
        assert value < 2 / 150 + 4 * error and float(exact["real"].sel({"class": name})) < 0.1
    assert np.isclose(exact["value"].sum(), 1) and np.isclose(exact["real"].sum(), 1)


def test_a_repetition_is_spurious_where_it_is_only_near_itself():
    """Neither a configuration's own place among the generated nor more of them makes it spurious."""
    rng = np.random.default_rng(8)
    train, heldout = points(rng, 60), points(rng, 60)
    many = points(rng, 600)
    assert copy_classes(many, train, heldout)["value"].sel({"class": "spurious"}) < 0.1


def test_the_invariants_of_a_measure_do_not_change_under_its_symmetries():
    rng = np.random.default_rng(9)
    for kind in ("field", "translations", "in place", "overlap"):
        draw, move = KINDS[kind]
        x, measure = draw(rng, 12), measure_of(MEASURES[kind])
        before, after = measure.invariants(x, x), measure.invariants(move(rng, x), x)
        assert torch.allclose(before, after, atol=1e-6)
        assert float(measure.between(move(rng, x), x).diagonal().max()) == 0
