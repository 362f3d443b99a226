"""Loss gap, agreement of two models, collapse of single trajectories: against exact laws and perfect memorizers."""

import math

import numpy as np
import pytest
import torch

from physgen.diagnostics.regimes.classes import nearest_class
from physgen.diagnostics.regimes.clones import clone
from physgen.diagnostics.regimes.losses_by_level import loss_gap
from physgen.diagnostics.regimes.trajectories import PathRecorder, collapse_of_trajectories
from physgen.diagnostics.regimes.two_models import agreement, sample_agreement
from physgen.diffusion.exact import EmpiricalMeasure, GaussianField
from physgen.diffusion.levels import levels_from, log_uniform
from physgen.diffusion.sampling.samplers import sample
from physgen.errors import InputError

WHITE = GaussianField(torch.ones(1, 16, dtype=torch.float64))
TIMES = (0.05, 0.3, 1.0)


def white(count, seed):
    return torch.randn(count, 1, 16, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_loss_gap_of_a_law_is_zero_and_that_of_a_memorizer_its_whole_error():
    train, heldout = white(60, 1), white(60, 2)
    exact = loss_gap(WHITE, train, heldout, TIMES, seed=3, reference=WHITE)
    assert (abs(exact["value"]) < 4 * exact["error"]).all() and (exact["error"] > 0).all()
    t = np.array(TIMES)
    bayes = 1 - np.exp(-2 * t)  # s^2 / (1 + s^2) per number
    assert (abs(exact["reference"] - bayes) < 4 * exact["reference_error"]).all()
    copied = loss_gap(EmpiricalMeasure(train), train, heldout, TIMES, seed=3, reference=WHITE)
    assert float(copied["train"][0]) < 1e-6 and (copied["relative"] > 4 * copied["relative_error"]).all()
    assert np.isclose(float(copied["relative"][0] * copied["reference"][0]), float(copied["value"][0]))


def test_the_same_noise_makes_the_gap_sharper_and_units_make_its_error_honest():
    train, heldout = white(40, 4), white(40, 5)
    paired = loss_gap(WHITE, train, heldout, (0.3,), seed=6)
    assert float(paired["error"][0]) < 1.0 * math.hypot(
        float(paired["train_error"][0]), float(paired["heldout_error"][0])
    )
    unit = np.arange(40) // 10
    apart = loss_gap(WHITE, train, heldout, (0.3,), seed=6, units=(unit, unit))
    assert float(apart["value"][0]) == pytest.approx(float(paired["value"][0]), rel=1e-12)  # FFTs round with alignment
    assert float(apart["error"][0]) > 0
    with pytest.raises(InputError, match="at least 2"):
        loss_gap(WHITE, train, heldout, (0.3,), seed=6, units=(unit * 0, unit))


def test_one_law_agrees_two_wiener_filters_nearly_and_two_memorizers_not():
    """Two memorizers part below their t_C (0.34 here); some of their error is shared: nearest points lie inwards."""
    half_a, half_b, fresh = white(300, 7), white(300, 8), white(80, 9)
    fits = (GaussianField.fit(half_a), GaussianField.fit(half_b))
    memorizers = (EmpiricalMeasure(half_a), EmpiricalMeasure(half_b))
    found = agreement((WHITE, WHITE), fresh, TIMES, 10, references={"wiener": fits, "memorizers": memorizers})
    assert (found["value"] == 0).all() and np.allclose(found["cosine"], 1)
    assert (found["wiener"] > 0).all() and (found["wiener"] < 0.02).all()
    assert (found["memorizers"] > 3 * found["wiener"]).all() and 0.4 < float(found["memorizers"][0]) < 1
    assert (np.diff(found["memorizers"]) < 0).all()
    # for the law, E (D - y).(x0 - y) = E |D - y|^2: the cosine is the ratio of the norms, 1/sqrt(1 + 1/s^2)
    s2 = np.expm1(2 * np.array(TIMES))
    assert (abs(found["cosine_to_data"] - np.sqrt(s2 / (1 + s2))) < 4 * found["cosine_to_data_error"]).all()
    assert np.allclose(found["loss"], 1 - np.exp(-2 * np.array(TIMES)), rtol=0.15)


def test_the_disagreement_of_wiener_filters_is_the_variance_of_their_spectra():
    r"""D = P/(P + s^2) y with dP of variance 2/n: E|D_a - D_b|^2 = 2 (2/n) s^4/(1 + s^2)^3, to first order in 1/n."""
    n, t = 400, 0.5
    s2 = math.expm1(2 * t)
    values = []
    for seed in range(6):
        fits = [GaussianField.fit(white(n, 100 + 2 * seed + i)) for i in range(2)]
        values.append(float(agreement((fits[0], fits[1]), white(50, seed), (t,), seed)["distance"][0]))
    # modes k and -k share one estimate, of variance P^2/n; the two real ones have 2 P^2/n; the mean of 1 adds O(1/nd)
    expected = 2 * (1 / n) * (14 + 2 * 2) / 16 * s2**2 / (1 + s2) ** 3
    assert abs(np.mean(values) - expected) < 4 * np.std(values) / math.sqrt(5) + 0.15 * expected


def test_conditions_go_with_their_rows():
    """A denoiser that is told x0 has no loss; told another row's, it has that of independent data."""
    train, heldout = white(40, 22), white(40, 23)
    known = ({"x0": train}, {"x0": heldout})
    told = loss_gap(lambda y, s, c: c["x0"], train, heldout, (0.3,), seed=1, conditions=known)
    assert float(told["train"][0]) == float(told["heldout"][0]) == 0
    both = (lambda y, s, c: c["x0"], lambda y, s, c: c["x0"].roll(1, 0))
    apart = agreement(both, heldout, (0.3,), 2, condition=known[1])
    assert abs(float(apart["distance"][0]) - 2) < 4 * float(apart["distance_error"][0])


def test_samples_from_the_same_noise_agree_as_far_as_the_maps_do():
    levels = log_uniform(20.0, 0.05, 12)
    draw = [sample(law, levels, (60, 1, 16), 11) for law in (WHITE, GaussianField.fit(white(300, 12)))]
    same, other = sample_agreement(draw[0], draw[1], 0), sample_agreement(draw[0], white(60, 13).float(), 0)
    assert float(same["value"]) < 0.05 and float(same["p_value"]) < 1e-6
    for name in ("value", "null"):
        error = float(other["error" if name == "value" else "null_error"])
        assert abs(float(other[name]) - 1) < 4 * error and error > 0
    assert float(other["p_value"]) > 1e-3
    with pytest.raises(InputError, match="at least 3"):
        sample_agreement(draw[0][:2], draw[1][:2], 0)


def test_the_last_change_is_read_off_a_path():
    path = np.array([[0, 1, 2, 5], [0, 3, 2, 4], [1, 3, 2, 5], [1, 3, 0, 5]])
    found = collapse_of_trajectories([3.0, 2.0, 1.0, 0.5], path)
    assert found["t_C_each"].values.tolist() == [1.5, 2.5, 0.75, 1.5]
    assert found["value"].values.tolist() == [0, 0.25, 0.75, 1] and found["at_last"].values.tolist() == [
        0.25,
        0.25,
        0.75,
        1,
    ]
    assert float(found["unchanged"]) == 0
    still = collapse_of_trajectories([3.0, 1.0], np.ones((2, 5)))
    assert float(still["unchanged"]) == 1 and float(still["t_C"]) == 3 and (still["error"] > 0).all()
    with pytest.raises(InputError, match="descending"):
        collapse_of_trajectories([1.0, 2.0], np.ones((2, 5)))


def test_a_memorizer_collapses_at_t_c_and_its_clones_as_y2():
    r"""t_C = ln(1 + 1/(n^{2/d} - 1)) / 2 of white data; trajectories settle around it, phi_C(t) = Y2(t)."""
    n, d = 64, 16
    train = white(n, 14)
    law, levels, count = EmpiricalMeasure(train), log_uniform(10.0, 0.05, 40), 96
    recorder = PathRecorder(law, nearest_class(train))
    drawn = sample(recorder, levels, (count, 1, d), 15, sampler="ancestral", dtype=torch.float64)
    assert torch.equal(drawn, sample(law, levels, (count, 1, d), 15, sampler="ancestral", dtype=torch.float64))
    times, path = recorder.indices(count)
    assert path.shape == (40, count) and (path[-1] == nearest_class(train)(drawn).numpy()).all()
    found = collapse_of_trajectories(times, path)
    t_c = 0.5 * math.log(1 + 1 / (n ** (2 / d) - 1))
    assert abs(float(found["t_C"]) - t_c) < 4 * float(found["t_C_error"]) + float(found["t_C_std"])
    s = math.sqrt(math.expm1(2 * t_c))

    def descend(y, top, bottom, seed):
        lower = torch.cat([levels_from(levels, top)[:1], torch.tensor([bottom], dtype=torch.float64)])
        steps = torch.tensor(np.geomspace(float(lower[0]), bottom, 20))
        return sample(law, steps, y.shape, seed, sampler="ancestral", start=y, from_level=top, dtype=torch.float64)

    def finish(y, level, seed):
        return sample(
            law, levels, y.shape, seed, sampler="ancestral", start=y, from_level=level, dtype=torch.float64
        )  # fmt: skip

    cloned = clone(10.0 * white(count, 16), 10.0, descend, finish, (t_c,), nearest_class(train), 17)
    y = train[torch.arange(count) % n] + s * white(count, 18)
    y2 = law.posterior(y, torch.tensor(s)).square().sum(1)
    error = math.hypot(float(cloned["error"][0]), float(y2.std()) / math.sqrt(count))
    assert abs(float(cloned["value"][0]) - float(y2.mean())) < 4 * error


def test_a_path_needs_one_level_a_call_and_tiles_of_equal_levels():
    train = white(8, 19)
    recorder = PathRecorder(WHITE, nearest_class(train), of="noisy")
    with pytest.raises(InputError, match="no path"):
        recorder.indices(1)
    with pytest.raises(InputError, match="one noise level"):
        recorder(white(2, 20), torch.tensor([1.0, 2.0], dtype=torch.float64))
    levels = log_uniform(10.0, 0.1, 6)
    sample(recorder, levels, (70, 1, 16), 21, tile=32, dtype=torch.float64)
    times, path = recorder.indices(70)
    assert path.shape == (6, 70) and np.allclose(np.expm1(2 * times), levels[:-1].numpy() ** 2)
    with pytest.raises(InputError, match="asked for"):
        recorder.indices(200)
    with pytest.raises(InputError, match="denoised"):
        PathRecorder(WHITE, nearest_class(train), of="mean")
