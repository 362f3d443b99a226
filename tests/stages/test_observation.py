"""Fields given observations: an untrained network is the exact denoiser of its Gaussian surrogate."""

from pathlib import Path

import numpy as np
import pytest

import physgen as pg
from physgen.cli import main
from physgen.ensemble import load_ensemble, save_ensemble
from physgen.errors import InputError
from physgen.stages.operators import parse_operator

CONFIG = Path(__file__).resolve().parents[2] / "configs" / "cosmology" / "smoke.yaml"
WORDS = ["tracking.uri=off", "training.steps=1", "training.warmup=0", "diffusion.label_dropout=0.5"]
WORDS += ["sampling.levels=log-uniform", "sampling.steps=6"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    from physgen.config import load_config
    from physgen.stages import simulate, train

    folder = tmp_path_factory.mktemp("observation")
    asked = load_config(CONFIG, [*WORDS, f"dataset={folder / 'data.h5'}"])
    simulate(asked, folder / "data.h5")
    return train(asked, folder / "runs", device="cpu")


@pytest.fixture(scope="module")
def opened(run):
    return pg.open_run(run)


@pytest.fixture(scope="module")
def truth(opened):
    return opened.data("test").isel(sample=slice(0, 2))


def test_known_cells_are_kept_and_a_draw_depends_on_its_own_number_alone(opened, truth):
    seen = opened.observe(truth, "mask hole=0.5", seed=3)
    drawn = opened.sample_given(seen, draws=3, progress=False)
    assert drawn["field"].dims[:2] == ("sample", "draw") and drawn.attrs["observation_operator"] == "mask hole=0.5"
    known = drawn["observation_seen"].values == 1
    spread = np.abs(drawn["field"] - truth["field"]).max("draw").values
    assert known.mean() == pytest.approx(0.75) and spread[known].max() < 0.02 < spread[~known].max()
    fewer = opened.sample_given(seen.isel(sample=slice(0, 1)), draws=2, progress=False)
    np.testing.assert_allclose(fewer["field"].values, drawn["field"].values[:1, :2], rtol=2e-3, atol=2e-3)


def test_averages_are_met_and_the_table_states_its_power(run, truth, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("physgen.figures.style.DOTS_PER_INCH", 40)
    save_ensemble(truth, tmp_path / "truth.h5")
    words = ["--truth", tmp_path / "truth.h5", "--operator", "downsample", "factor=2", "-n", 4, "-o", tmp_path / "x.h5"]
    assert main(["sample", str(run), *map(str, words)]) in (0, None)
    drawn = load_ensemble(tmp_path / "x.h5")
    coarse = drawn["field"].coarsen(y=2, x=2).mean().mean("draw").values
    error = np.abs(np.log1p(coarse) - np.log1p(drawn["observation"].values))
    assert np.median(error) < 0.05
    said = capsys.readouterr().out
    assert "would see" in said and (tmp_path / "x-coverage" / "posterior.png").is_file()


def test_an_array_needs_its_labels(opened, truth):
    values = truth["field"].values.astype(float)
    values[:, :4] = np.nan
    with pytest.raises(InputError, match="give Omega_m, sigma_8"):
        opened.sample_given(values, draws=1, progress=False)
    labels = {"Omega_m": 0.3, "sigma_8": 0.8}
    drawn = opened.sample_given(values, draws=1, condition=labels, progress=False)
    assert float(drawn["Omega_m"][0]) == 0.3 and drawn.sizes["sample"] == 2


def test_wrong_observations_are_refused(opened, truth):
    for given, operator, message in (
        (truth, "mask", "every cell was seen"),
        (truth, "downsample factor=2", "give the observation as the operator leaves it"),
        (truth, "downsample factor=3", "do not divide"),
        (truth.assign(field=truth["field"].assign_attrs(units="K")), "noise sigma=1", "units"),
    ):
        with pytest.raises(InputError, match=message):
            opened.sample_given(given, operator, draws=1, progress=False)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sharpen", "unknown operator"),
        ("noise", "is written noise sigma"),
        ("noise sigma=x", "not a number"),
        ("noise sigma=1, blur fwhm=3 cells", "blur after noise"),
        ("downsample factor=1", "out of range"),
        ("blur fwhm=3", "needs a unit"),
    ],
)
def test_operators_that_mean_nothing_say_what_would(text, message):
    with pytest.raises(InputError, match=message):
        parse_operator(text, (1.0, 1.0), "Mpc/h")


def test_operators_are_read_from_left_to_right():
    found = parse_operator(["downsample", "factor=2,", "blur", "fwhm=4 Mpc/h,", "noise", "sigma=0.1"], (1, 1), "Mpc/h")
    assert found.linear.steps[1].fwhm == (2.0, 2.0) and found.factor == 2 and found.sigma == 0.1
    assert found.text == "downsample factor=2, blur fwhm=4 Mpc/h, noise sigma=0.1"


def test_guidance_of_one_is_none_and_weights_come_with_the_state_of_their_tail(run, opened, tmp_path, capsys):
    labels = {"Omega_m": 0.3, "sigma_8": 0.9}
    plain = opened.sample(2, condition=labels, progress=False)
    one = opened.sample(2, condition=labels, guidance=1.0, progress=False)
    np.testing.assert_allclose(one["field"].values, plain["field"].values, atol=1e-4)
    words = [
        "--guidance",
        2,
        "--weights",
        "--condition",
        "Omega_m=0.3",
        "sigma_8=0.9",
        "-n",
        6,
        "-o",
        tmp_path / "w.h5",
    ]
    assert main(["sample", str(run), *map(str, words)]) in (0, None)
    assert "log_weight" in load_ensemble(tmp_path / "w.h5") and "too few to judge" in capsys.readouterr().out


def test_exact_guided_draws_come_in_populations_of_one_law(run, opened, tmp_path, capsys):
    """30 fields of one row of labels: equal weights, copies where the weights were uneven, fewer ancestors."""
    words = ["--guidance", 3, "--exact", "-n", 30, "-o", tmp_path / "g.h5", "--condition", "Omega_m=0.3", "sigma_8=0.8"]
    assert main(["sample", str(run), *map(str, words)]) in (0, None)
    assert "drawn of the guided law itself" in capsys.readouterr().out
    drawn = load_ensemble(tmp_path / "g.h5")
    left, least = (float(drawn[f"guided_{name}"][0]) for name in ("ancestors", "least_fraction"))
    assert 1 <= left <= 30 and 0 < least <= 1 and "log_weight" not in drawn
    different = len(np.unique(drawn["field"].values.reshape(30, -1), axis=0))
    assert left <= different <= 30
    with pytest.raises(InputError, match="hold the labels with --condition"):
        opened.sample(2, guidance=3.0, exact=True, progress=False)
    with pytest.raises(InputError, match="give guidance, no weights"):
        opened.sample(2, exact=True, progress=False)


def test_guidance_of_a_run_that_never_left_out_its_labels_is_refused(opened):
    from physgen.stages.guidance import check_guidance

    diffusion = opened.experiment.diffusion.model_copy(update={"label_dropout": 0.0})
    with pytest.raises(InputError, match="diffusion.label_dropout"):
        check_guidance(opened.experiment.model_copy(update={"diffusion": diffusion}), 2.0)
    with pytest.raises(InputError, match="give guidance"):
        opened.sample(2, weights=True, progress=False)
