"""The peers of the emulators: their pieces run and say the truth, and their table refuses nonsense."""

import numpy as np
import pytest
import torch

from benchmarks.emulators import peers_table
from benchmarks.emulators.peers_crps import Generator, almost_fair, apart, generate, train_crps
from benchmarks.emulators.peers_edm import edm_levels, edm_recipe, edm_state, timed, train_for
from benchmarks.emulators.peers_surrogates import SURROGATES, Scattering, TrainingMaps, full
from physgen.diagnostics.scattering import scattering_array
from physgen.diffusion.learning.prior_spectrum import fit_spectrum
from physgen.diffusion.learning.training import Recipe, TrainingState
from physgen.diffusion.sampling.samplers import sample
from physgen.runs.encoded import Encoded


@pytest.fixture(scope="module")
def encoded():
    made = torch.Generator().manual_seed(1)
    return Encoded(torch.randn(12, 1, 8, 8, generator=made), {"labels": torch.rand(12, 2, generator=made) * 2 - 1})


def still(x, condition, draws):
    return x, condition


@pytest.fixture
def two_steps():
    """A clock that lets two steps pass."""
    ticks = iter(range(100))
    return lambda recipe: replace_clock(timed(recipe, 2.0), lambda: float(next(ticks)))


def replace_clock(recipe, clock):
    object.__setattr__(recipe, "clock", clock)
    return recipe


def test_edm_trains_and_draws(encoded, two_steps):
    pytest.importorskip("azula")
    state = edm_state(encoded, "azula", edm_recipe(1.0, 1, 4, 1e-3, "float32"), 8)
    state.recipe = two_steps(state.recipe)
    train_for(state, encoded, still, None)
    assert state.step >= 1
    levels = edm_levels(1.0, 3)
    assert levels[0] == 160 and levels[-2] == pytest.approx(0.004) and levels[-1] == 0
    told = {k: v[:3] for k, v in encoded.condition.items()}
    assert torch.isfinite(sample(state.ema, levels, (3, 1, 8, 8), 0, told, "heun")).all()


def test_crps_starts_as_the_gaussian_field_and_trains(encoded, two_steps):
    spectrum = fit_spectrum(encoded.x, encoded.condition["labels"])
    state = TrainingState(Generator(spectrum, 2, 8, (1, 2)), two_steps(Recipe(1, 2)))
    told = {"labels": torch.zeros(400, 2)}
    power = spectrum.modes(generate(state.ema, told, 1)).abs().square().mean(0)[0] / 64
    wanted = spectrum({"labels": told["labels"][:1]})[0, 0]
    assert float((power / wanted - 1).abs().max()) < 4 * np.sqrt(2 / 400)
    train_crps(state, encoded, still)
    assert state.step >= 1


def test_the_fair_score_is_least_for_the_true_law():
    rng = torch.Generator().manual_seed(2)
    truth = torch.randn(40_000, generator=rng)
    scores = {s: float(almost_fair(apart, s * torch.randn(4, 40_000, generator=rng), truth)) for s in (0.5, 1.0, 2.0)}
    assert min(scores, key=scores.get) == 1.0
    assert scores[1.0] == pytest.approx(1 / np.sqrt(np.pi) * (1 + 0.05 / 4), abs=4 * 0.8 / 200)


def lognormal_maps(count, rng):
    k = np.hypot(*np.meshgrid(*[np.fft.fftfreq(16, 1 / 16)] * 2))
    g = np.fft.ifft2(np.fft.fft2(rng.standard_normal((count, 16, 16))) * np.exp(-k / 4)).real
    return np.exp(g - g.var() / 2)


def test_surrogates_have_the_spectrum_and_the_cells_of_their_training_maps():
    rng = np.random.default_rng(3)
    truth = lognormal_maps(240, rng)
    maps = TrainingMaps(
        truth, torch.from_numpy(rng.uniform(-1, 1, (60, 1))).repeat_interleave(4, 0), np.arange(240) // 4
    )
    labels = torch.zeros(160, 1, dtype=torch.float64)
    for name in ("Gaussian copula", "lognormal"):
        made = SURROGATES[name](maps)(labels, rng)
        assert made.mean() == pytest.approx(truth.mean(), rel=0.02)
        assert made.var() == pytest.approx(truth.var(), rel=0.1)
        ratio = np.abs(np.fft.fft2(made - 1)).mean(0)[0, 1:6] / np.abs(np.fft.fft2(truth - 1)).mean(0)[0, 1:6]
        assert np.abs(ratio - 1).max() < 4 * 0.52 * np.sqrt(1 / 160 + 1 / 240)


def test_scattering_with_a_gradient_is_that_of_the_judge():
    x = np.random.default_rng(4).lognormal(size=(2, 16, 16))
    first, second = scattering_array(x, (1.0, 1.0))
    octaves, pairs = first.shape[1], second.shape[2]
    found = Scattering(16)(torch.from_numpy(x - x.mean((1, 2), keepdims=True)).float()).numpy()
    np.testing.assert_allclose(found[:, octaves : 2 * octaves], first, rtol=0.01)
    np.testing.assert_allclose(found[:, 2 * octaves :].reshape(2, pairs, 2).transpose(0, 2, 1), second, rtol=0.05)


def test_half_spectrum_made_whole():
    rng = np.random.default_rng(5)
    for n in (6, 7):
        power = np.abs(np.fft.fft2(rng.standard_normal((2, n, n)))) ** 2
        np.testing.assert_allclose(full(power[:, :, : n // 2 + 1], n), power)


def result(arm, deviation, seed=1, error=0.01):
    verdict = {"status": "pass", "deviation": deviation, "error": error, "percent": True, "points": 1}
    bands = {"power_spectrum": [[1 + deviation, error]], "log_power_spectrum": [[1.0, error]]}
    return {"arm": arm, "seed": seed, "bands": bands, "band_edges": [[0.1, 0.2]], "verdicts": {"mean_density": verdict}}


def test_the_table_names_the_nearest_and_refuses_nonsense():
    good = [result("ours", 0.01), result("ours", 0.02, 2), result("other", 0.5)]
    made = peers_table.tables(good, ["ours", "other"], [])
    assert "| mean density, % | **1.5(1.0) ± 0.71 p/p** | 50.0(1.0) p |" in made
    with pytest.raises(ValueError, match="nothing to compare"):
        peers_table.tables(good[2:], ["ours", "other"], [])
    with pytest.raises(ValueError, match="unknown arms"):
        peers_table.tables(good, ["ours"], [])
    with pytest.raises(ValueError, match="numbers"):
        peers_table.tables([result("ours", np.nan)], ["ours"], [])
    with pytest.raises(ValueError, match="different bands"):
        peers_table.tables([*good, result("other", 0) | {"band_edges": [[0, 1]]}], ["ours", "other"], [])


def test_changes_are_taken_seed_by_seed():
    ours = [result("ours", d, seed) for seed, d in ((1, 0.0), (2, 0.5), (3, 0.1))]
    other = [result("wide", d, seed) for seed, d in ((1, 0.02), (2, 0.521), (3, 0.119))]
    for one in (*ours, *other):
        one["verdicts"] |= {row: one["verdicts"]["mean_density"] for row in peers_table.CHANGED}
    made = peers_table.tables([*ours, *other], ["ours"], ["wide"])
    assert "| wide | **2.000(58)** |" in made.splitlines()[-1]
