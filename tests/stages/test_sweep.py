"""A sweep: the runs that it is made of, which of them are trained, and what its table says. Nothing is trained here."""

from pathlib import Path

import pytest

from physgen.cli import main
from physgen.domains.contract import list_domains
from physgen.errors import InputError
from physgen.runs.folder import FACTS, write_config, write_json
from physgen.stages import sweep as stage
from physgen.stages.sweep import plan_sweep, split_values, train_sweep
from physgen.stages.sweep_table import describe_times, sweep_table, sweep_times, write_sweep
from physgen.tracking.journal import Journal

CONFIG = Path(__file__).resolve().parents[2] / "configs" / list_domains()[-1] / "smoke.yaml"
N = (16, 32, 64)


def test_values_between_commas_outside_brackets_and_quotes():
    assert split_values("1, 2,3") == ("1", "2", "3")
    assert split_values("[1,2],[1,2,4]") == ("[1,2]", "[1,2,4]")
    assert split_values('"1 J, 2 J",x') == ('"1 J, 2 J"', "x")
    with pytest.raises(InputError, match="empty value"):
        split_values("1,,2")


def test_the_runs_are_the_product_of_the_values():
    sweep = plan_sweep(CONFIG, ["training.steps=7", "training.learning_rate=1e-3,2e-3", "seed=1,2,3"])
    assert len(sweep.experiments) == 6 and list(sweep.axes) == ["training.learning_rate", "seed"]
    for name, one in sweep.experiments.items():
        assert one.name == name and one.training.steps == 7 and one.tracking.sweep == sweep.name
        assert one.dataset == f"data/{CONFIG.parent.name}-smoke.h5"  # all on the data of the experiment
        assert (str(one.seed), one.training.learning_rate) == (
            sweep.points[name]["seed"], float(sweep.points[name]["training.learning_rate"]),
        )  # fmt: skip
    assert f"{CONFIG.parent.name}-smoke-learning_rate1em3-seed2" in sweep.experiments


def test_data_that_vary_have_files_of_their_own():
    key = next(f for f in ("data.replicas", "data.simulations", "data.n", "data.samples") if _takes(f))
    sweep = plan_sweep(CONFIG, [f"{key}=6,7", "seed=1,2"])
    assert len({one.dataset for one in sweep.experiments.values()}) == 4


def _takes(key):
    try:
        plan_sweep(CONFIG, [f"{key}=6,7"])
    except InputError:
        return False
    return True


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["training.steps=7"], "a sweep needs a key with several values"),
        (["training.steps"], "not of the form key=value or key=a,b,c"),
        (["seed=1,1"], "two runs of the sweep would be called"),
        (["training.stepz=7,8"], "did you mean"),
        (["name=a,b"], "name of the runs is made from their settings"),
    ],
)
def test_a_sweep_that_is_none_is_refused_before_anything_is_trained(words, message, capsys):
    assert main(["sweep", str(CONFIG), *words]) == 2
    assert message in capsys.readouterr().err


@pytest.fixture
def swept(tmp_path):
    """A sweep over n and two seeds, and the folders of runs that memorise at 50 n^1.2."""
    sweep = plan_sweep(CONFIG, [f"split.train_units={','.join(map(str, N))}", "seed=1,2"])
    for name, one in sweep.experiments.items():
        n = one.split.train_units
        with Journal(tmp_path / name) as journal:
            journal.log(100, {"validation/ratio_mean": 0.5, "validation/ratio_mean_error": 0.1, "regimes/f_mem": 0.25})
            times = {"tau_mem": (50 + one.seed) * n**1.2, "tau_mem_error": 1.0 * n, "tau_gen": 300.0 + one.seed}
            journal.log(200, {f"regimes/{key}": value for key, value in times.items()})
        write_json(tmp_path / name / FACTS, {"configurations_of_parts": {"train": n}, "made_from_this_section": True})
        write_config(one, tmp_path / name / "experiment.yaml")
    return sweep, tmp_path


def test_complete_runs_are_skipped_partial_ones_resumed_and_a_stop_ends_the_sweep(swept, monkeypatch):
    sweep, runs = swept
    names, called = list(sweep.experiments), []
    done = {runs / names[0]}
    (runs / names[2] / "experiment.yaml").unlink()

    def train(experiment, folder, resume, device, progress):
        called.append((experiment.name, resume))
        if experiment.name != names[3]:
            done.add(folder / experiment.name)

    monkeypatch.setattr(stage, "train", train)
    monkeypatch.setattr(stage, "is_complete", lambda folder: folder in done)
    assert not train_sweep(sweep, runs)
    assert called == [(names[1], True), (names[2], False), (names[3], True)]


def test_the_table_has_a_line_for_each_run_with_errors(swept):
    table = sweep_table(*swept).splitlines()
    assert len(table) == 2 + 6 + 1
    assert table[0].split()[:4] == ["split.train_units", "seed", "n", "step"]
    assert "0.50(10)" in table[2] and "0.25" in table[2]


def test_times_against_n_have_their_law_and_its_prediction(swept):
    times = sweep_times(*swept)
    assert list(times) == [""]
    law = times[""]
    assert float(law.exponent) == pytest.approx(1.2, abs=4 * float(law.exponent_error))
    assert 0 < float(law.exponent_error) < 0.1
    assert "tau_mem ~ n^1.2" in describe_times(times) and "predicted at n = 256" in describe_times(times)


def test_table_and_figure_are_written(swept, tmp_path):
    written = write_sweep(*swept, tmp_path / "out")
    assert sorted(path.name for path in written) == ["table.txt", "times.png", "times.svg"]
    assert all(path.stat().st_size > 100 for path in written)
