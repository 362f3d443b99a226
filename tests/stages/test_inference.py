"""Likelihoods and posteriors through the doors, on Gaussian fields whose law the untrained denoiser nearly is."""

import json

import numpy as np
import pytest
import xarray as xr

import physgen as pg
from physgen.cli.commands import main
from physgen.config import load_config
from physgen.errors import InputError
from physgen.stages import train
from physgen.stages.inference import InferenceOptions
from physgen.stages.inference_summary import summary_of

SMOKE = "configs/cosmology/smoke.yaml"


def fields(seed, count, maps=2):
    """White Gaussian maps (8, 8), two a simulation, of standard deviation exp(amplitude)."""
    rng = np.random.default_rng(seed)
    amplitude = np.repeat(rng.uniform(-0.4, 0.4, count), maps)
    values = np.exp(amplitude)[:, None, None] * rng.standard_normal((count * maps, 8, 8))
    space = {d: (d, np.arange(8) + 0.5, {"units": "Mpc/h"}) for d in "yx"}
    variables = {
        "field": (("sample", "y", "x"), values.astype(np.float32)),
        "amplitude": ("sample", amplitude),
        "simulation": ("sample", np.repeat(np.arange(count), maps)),
    }
    return xr.Dataset(variables, space, {"domain": "cosmology", "field_kind": "real"})


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inference")
    path = pg.save_ensemble(fields(0, 40), folder / "data.h5")
    words = ["tracking.uri=off", "training.steps=1", "data.transform=asinh", "sampling.levels=log-uniform"]
    words = [f"dataset={path}", *words]
    return pg.open_run(train(load_config(SMOKE, words), folder, device="cpu"))


def test_likelihood_of_a_file_by_two_methods_with_table_file_and_figure(run, tmp_path, capsys):
    data = fields(1, 4)
    found = run.log_likelihood(data, method="hutchinson", probes=4, steps=6, progress=False)
    bound = pg.likelihood(run, data, method="bound", progress=False)
    # asinh of white noise is nearly Gaussian, and two steps of training change next to nothing
    error = np.hypot(found.values.ln_p_error, bound.values.ln_p_error) + 0.02 * 64
    assert bool((abs(found.values.ln_p - bound.values.ln_p) < 4 * error).all())
    # the entropy of N(0, sigma^2) in 64 cells, in units of the field: its scatter is that of chi-squared
    sigma = np.exp(data.amplitude.values)
    expected = -64 * (0.5 * np.log(2 * np.pi * np.e) + np.log(sigma))
    assert abs(float((found.values.ln_p_field.values - expected).mean())) < 4 * np.sqrt(32 / 8) + 0.1 * 64
    file = pg.save_ensemble(data, tmp_path / "data.h5")
    words = ["--probes", "2", "--steps", "2", "--method", "bound", "-o", str(tmp_path / "out")]
    assert main(["likelihood", str(run.folder), str(file), *words]) == 0
    assert "bits_per_dimension" in capsys.readouterr().out
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["independent_units"] == 4 and summary["ln_p"]["error"] > 0
    written = xr.open_dataset(tmp_path / "out" / "likelihood.nc", group="likelihood", engine="h5netcdf")
    assert {"ln_p", "ln_p_error", "ln_p_field", "amplitude"} <= set(written.variables)
    assert (tmp_path / "out" / "figures" / "likelihood.svg").exists()


def test_inference_of_a_file_ranks_combines_and_warns(run, tmp_path, capsys):
    data = fields(2, 30)
    found = run.infer(data, draws=2, steps=2, limit=30, progress=False)
    posterior = found.posterior
    assert posterior.sizes["unit"] == 30 and len(np.unique(posterior.unit_name)) == 30
    # 64 cells of known mean: the amplitude is known to 1/sqrt(128); asinh and a spectrum fitted to 60 maps widen it
    width = float(posterior["std"].mean()) * np.sqrt(128)
    assert 0.8 < width < 1.3
    assert abs(found.summary["bias_amplitude"]["value"]) < 4 * found.summary["bias_amplitude"]["error"] + 0.5
    both = run.infer(data.isel(sample=slice(8)), combine=True, draws=2, steps=2, progress=False)
    assert both.posterior.sizes["unit"] == 4 and any("as if they were independent" in n for n in both.summary["notes"])
    ratio = float(both.posterior["std"].mean() / posterior["std"].mean())
    assert ratio == pytest.approx(1 / np.sqrt(2), rel=0.2)
    wrong = data.assign(amplitude=("sample", np.repeat(np.linspace(-0.4, 0.4, 30)[::-1], 2)))
    seen = pg.infer(run, wrong, draws=2, steps=2, limit=30, progress=False)
    assert any("MISCALIBRATED" in note for note in seen.summary["notes"])
    middle = 0.5 * posterior["truth"]  # truths that keep to the middle of the prior
    told = summary_of(posterior.assign(truth=middle), found.coverage, InferenceOptions(), 0)
    assert any("not uniform over the prior" in note for note in told["notes"])
    assert not any("not uniform over the prior" in note for note in found.summary["notes"])
    file = pg.save_ensemble(data.isel(sample=slice(4)).drop_vars("amplitude"), tmp_path / "data.h5")
    words = ["--probes", "2", "--steps", "2", "-o", str(tmp_path / "out")]
    assert main(["infer", str(run.folder), str(file), *words]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "ks_p" not in out  # a file without labels has no ranks
    assert "nothing here tells whether these posteriors are right" in out
    assert any("4 independent units would hardly show" in note for note in both.summary["notes"])
    assert not any("hardly" in note or "nothing here" in note for note in found.summary["notes"])
    assert (tmp_path / "out" / "posteriors.nc").exists() and (tmp_path / "out" / "figures" / "posteriors.png").exists()
    assert main(["infer", str(run.folder), str(file), "--labels", "colour", "-o", str(tmp_path / "no")]) == 2
    assert "amplitude" in capsys.readouterr().err


def test_recalibration_is_beside_the_raw_posterior_and_never_learned_from_what_is_tested(run, tmp_path, capsys):
    tested, held_out = fields(5, 24, maps=1), fields(6, 40, maps=1)
    options = {"draws": 2, "steps": 2, "progress": False}
    found = run.infer(tested, calibrate=held_out, **options)
    np.testing.assert_array_equal(found.posterior["mean"], run.infer(tested, **options).posterior["mean"])  # raw stays
    one, summary = found.recalibrated, found.summary
    exponent = summary["calibration_exponent"]
    assert exponent["value"] == float(one.calibration["value"][0]) and one.calibration.attrs["independent_units"] == 40
    # the law that was fitted is nearly that of the fields: nothing to correct within the error of 40 units
    assert abs(exponent["value"] - 1) < 4 * exponent["error"] and 0.1 < exponent["error"] < 0.5
    ratio = float((one.posterior["std"] / found.posterior["std"]).mean())
    widening = summary["calibration_widening_amplitude"]
    assert abs(ratio - widening["value"]) < 3 * widening["error"]
    assert {"recalibrated_ks_p_amplitude", "recalibrated_coverage_68", "recalibrated_width_amplitude"} <= set(summary)
    uneven = fields(7, 80, maps=1)  # a slope would learn that these labels keep to one half of the prior
    half = run.infer(tested, calibrate=uneven.isel(sample=uneven.amplitude.values < 0), **options)
    assert float(half.recalibrated.calibration["value"][1]) == 0
    assert any("their labels are not uniform" in note for note in half.summary["notes"])
    with pytest.raises(InputError, match="calibrated on and tested"):  # other maps, or another name, of the same
        run.infer(held_out, calibrate=held_out.isel(sample=slice(20)), **options)
    with pytest.raises(InputError, match="calibrated on and tested"):
        run.infer(held_out.drop_vars("amplitude"), calibrate=held_out, **options)
    with pytest.raises(InputError, match="trained on"):
        run.infer(tested, calibrate="train", **options)
    with pytest.raises(InputError, match="are known"):
        run.infer(tested, calibrate=held_out.drop_vars("amplitude"), **options)
    with pytest.raises(InputError, match="got 0"):  # labels that the prior excludes teach nothing
        run.infer(tested, calibrate=held_out.assign(amplitude=held_out.amplitude + 2), **options)
    files = [str(pg.save_ensemble(data, tmp_path / f"{i}.h5")) for i, data in enumerate((tested, held_out))]
    words = ["--probes", "2", "--steps", "2", "-o", str(tmp_path / "out"), "--calibrate"]
    assert main(["infer", str(run.folder), files[0], *words, files[1]]) == 0
    assert "calibration_exponent" in capsys.readouterr().out
    written = xr.open_dataset(tmp_path / "out" / "posteriors.nc", group="recalibrated", engine="h5netcdf")
    np.testing.assert_allclose(written["std"], one.posterior["std"], rtol=1e-5)
    assert main(["infer", str(run.folder), files[0], *words]) == 2  # the validation part has too few units
    assert "at least 20 independent units" in capsys.readouterr().err
