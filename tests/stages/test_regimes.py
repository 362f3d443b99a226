"""The front door of the regimes: known times are found, a page says them, bad input is one message."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

import physgen as pg
from physgen.cli import main
from physgen.errors import InputError
from physgen.figures.regimes import DRAWINGS
from physgen.stages import regimes_collapse, regimes_model
from physgen.stages.regimes_data import encoded_samples, one_law

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
HALF = 3.0  # distance of a class from the middle, in standard deviations of a cell
GRID = (3, 4)  # no equal axes: fewer symmetries to go through


@pytest.fixture(scope="module", autouse=True)
def few_draws():
    with pytest.MonkeyPatch.context() as patch:
        for module, settings in (
            (regimes_collapse, {"DRAWS": 48, "PARTS_OF_N": (4,), "REACH": np.linspace(0.4, 1.6, 6)}),
            (regimes_model, {"MOST_TURNS": 8, "TURN_TIMES": 2, "MOST_DRAWN": 16, "TRAJECTORIES": 2, "FEWEST_STEPS": 8}),
            (regimes_model, {"MOST_LOSSES": 32, "LOSS_LEVELS": 3}),
        ):
            for name, value in settings.items():
                patch.setattr(module, name, value)
        yield


def two_classes(count, seed=0):
    """Fields that are +-1 everywhere with white noise: along their mean the variance is 1 + d HALF^2 / d."""
    rng = np.random.default_rng(seed)
    sign = rng.choice([-1.0, 1.0], size=(count, 1, 1))
    return (HALF / math.sqrt(math.prod(GRID)) * sign + rng.standard_normal((count, *GRID))).astype(np.float32)


@pytest.fixture(scope="module")
def found():
    return pg.regimes(two_classes(200), box_size=["3 mm", "4 mm"])


def test_speciation_of_two_classes_is_found_within_its_error(found):
    """Encoding divides by the standard deviation of a cell, sqrt(1 + HALF^2/d)."""
    eigenvalue = (1 + HALF**2) / (1 + HALF**2 / math.prod(GRID))
    t_s = found.values["t_S"]
    assert abs(t_s.value - 0.5 * math.log(eigenvalue)) < 4 * t_s.error < 0.4


def test_symmetric_copies_lower_the_collapse_time(found):
    plain, moved = (found.values[name] for name in ("t_C_plain", "t_C"))
    assert found.metrics["orbit_size"]["value"] == 3 * 4 * 4  # shifts and reflections, no exchange of axes
    assert moved.value < plain.value - 2 * math.hypot(moved.error, plain.error)


def test_u_turns_through_the_samples_follow_the_two_classes(found):
    """Where the sides of the plane are apart by more than their width, the mixture is the law itself."""
    cloning = found.results["cloning"]
    theory = np.interp(cloning["t"], cloning["t_line"], cloning["mixture"])
    pulls = (cloning["samples"] - theory) / cloning["samples_error"]
    assert np.abs(pulls[3:]).max() < 4.5  # the first times are at the collapse, where few samples share the weight


def test_the_page_and_its_files(found, tmp_path):
    written = found.write(tmp_path / "page")
    page = (written.folder / "regimes.html").read_text()
    assert 'src="http' not in page and 'href="http' not in page and page.count("data:image/svg+xml") == 5
    summary = json.loads((written.folder / "summary.json").read_text())
    assert summary["t_S"]["value"] == pytest.approx(found.metrics["t_S"]["value"])
    assert {"name", "verdict", "outcome", "reason"} == set(summary["findings"][0])
    assert (written.folder / "regimes.nc").is_file() and (written.folder / "figures" / "film_strip.png").is_file()
    with pytest.raises(InputError, match="no figure 'phases'.*phase_diagram"):
        found.figure("phases")


def test_the_seed_decides():
    one, again = (pg.regimes(two_classes(24), seed=2) for _ in range(2))
    assert one.metrics == again.metrics and one.results["film_strip"].identical(again.results["film_strip"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["few.npy"], "15 samples of one law; at least 16"),
        (["maps.npy", "--box", "25"], "length with a unit"),
        (["maps.npy", "--domain", "spinz"], "unknown domain 'spinz'"),
        (["gone.npy"], "does not exist"),
        (["."], "is not a run"),
    ],
)
def test_bad_input_is_one_message(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    np.save("few.npy", two_classes(15))
    np.save("maps.npy", two_classes(40))
    assert main(["regimes", *words]) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1 and said.startswith("physgen regimes: ")


def test_one_condition_is_chosen_of_many():
    domain = pg.load_config(CONFIGS / "spins" / "smoke.yaml", ["data.replicas=20", "data.instances=3"]).data
    chosen, words = one_law(domain.simulate(seed=3))
    assert dict(chosen["field"].sizes)["replica"] == 20 and words.count(",") == 1 and "1.0 J" in words
    samples = encoded_samples(domain.simulate(seed=3), domain)
    assert samples.orbit == "flip" and len(set(samples.unit)) == 20


def test_a_run_gets_its_page_and_its_metrics(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 1)  # no second process that imports all anew
    drawn = {
        name: DRAWINGS[name] for name in ("film_strip", "cloning", "loss_gap")
    }  # the page of data draws the others
    monkeypatch.setattr("physgen.figures.regimes.DRAWINGS", drawn)
    words = ["tracking.uri=off", "training.steps=2", "training.log_every=2", "name=trial"]
    experiment = pg.load_config(CONFIGS / "cosmology" / "smoke.yaml", words)
    run = pg.train(experiment, pg.simulate(experiment, progress=False), runs=tmp_path, device="cpu", progress=False)
    assert main(["regimes", str(run.folder), "--device", "cpu"]) == 0
    said = capsys.readouterr().out
    assert "copies" in said and "next: physgen ui" in said
    logged = {name for entry in run.journal for name in entry.get("metrics", {})}
    assert {"regimes/t_S", "regimes/t_S_error", "regimes/t_C", "regimes/f_mem", "regimes/cloning_gap"} <= logged
    page = (run.folder / "regimes" / "regimes.html").read_text()
    assert "the run trial" in page and "loss of unseen samples" in page
