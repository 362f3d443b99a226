"""Several runs over one reference: what is common is drawn once, another reference is refused with what differs."""

import re

import numpy as np
import pytest

import physgen as pg
from physgen.cli import main
from physgen.errors import InputError
from physgen.stages.comparison import compare, evaluation_folder, log_comparison
from physgen.tracking.server import Store

pytestmark = pytest.mark.usefixtures("blank_figures")
RNG = np.random.default_rng(3)
REFERENCE = RNG.standard_normal((40, 16, 16))


def judged(folder, scale=1.0, reference=REFERENCE, box="25 Mpc/h"):
    generated = scale * np.random.default_rng(int(100 * scale)).standard_normal(REFERENCE.shape)
    pg.evaluate(generated[..., : reference.shape[-2], : reference.shape[-1]], reference, box_size=box).write(folder)
    return folder


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    return judged(folder / "plain"), judged(folder / "loud", 1.5)


def test_the_page_shows_every_run_and_the_fault_of_one(two, rendered, tmp_path):
    found = compare(two)
    assert found.names == ["plain", "loud"]
    assert set(found.diagnostics) == {"power_spectrum", "correlation", "one_point", "band_moments"}
    row = next(line for line in found.table.splitlines() if line.startswith("power spectrum"))
    assert row.count("fail") == 1 and row.index("fail") > row.index("open")
    page = found.write(tmp_path / "page")
    text = (page.folder / "report.html").read_text()
    assert "plain" in text and "loud" in text and "power spectrum" in text
    assert len(re.findall(r'src="data:image/svg', text)) == len(found.diagnostics)
    assert not re.search(r'(src|href)="(?!data:|#)', text)  # nothing is fetched from elsewhere
    assert {p.name for p in (page.folder / "figures").glob("*.png")} == {f"{name}.png" for name in found.diagnostics}


def test_the_figure_has_the_curve_of_each_run_where_it_was_measured(two):
    figure = compare(two).figure("power_spectrum")
    main_panel = figure.axes[0]
    assert [text.get_text() for text in main_panel.get_legend().get_texts()] == ["reference", "plain", "loud"]
    drawn = [container.lines[0].get_ydata() for container in main_panel.containers]
    for folder, curve in zip(two, drawn, strict=True):
        generated = compare(two).judged[two.index(folder)].results["power_spectrum"][1]
        assert np.allclose(curve, generated["value"])
    with pytest.raises(InputError, match="choose one of power_spectrum"):
        compare(two).figure("spectrum")


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"reference": np.roll(REFERENCE, 1, 0) * 1.01}, r"values differ by up to \d"),
        ({"reference": REFERENCE[:30]}, "40 and 30 independent units"),
        ({"box": "50 Mpc/h"}, "k is 7 points from"),
        ({"reference": REFERENCE[:, :8, :8]}, "points"),
    ],
)
def test_another_reference_is_refused_with_what_differs(two, tmp_path, changed, message):
    with pytest.raises(InputError, match=message) as refused:
        compare([two[0], judged(tmp_path / "other", **changed)])
    assert "plain and other" in str(refused.value)
    assert "evaluate both against one file" in str(refused.value)


def test_what_was_not_judged_is_refused(two, tmp_path):
    with pytest.raises(InputError, match="at least two different"):
        compare([two[0], two[0]])
    with pytest.raises(InputError, match="neither a run nor an evaluation"):
        compare([two[0], tmp_path])
    (tmp_path / "experiment.yaml").write_text("name: x")
    with pytest.raises(InputError, match="was not judged yet"):
        evaluation_folder(tmp_path)
    assert evaluation_folder(judged(tmp_path / "later").parent) == tmp_path / "later"
    (two[1] / "diagnostics.nc").rename(tmp_path / "kept.nc")
    with pytest.raises(InputError, match="is damaged"):
        compare(two)
    (tmp_path / "kept.nc").rename(two[1] / "diagnostics.nc")


def test_names_are_the_shortest_that_tell_the_folders_apart(two, tmp_path):
    (tmp_path / "a").mkdir()
    other = judged(tmp_path / "a" / "plain", 1.2)
    assert compare([two[0], other]).names == ["two0/plain", "a/plain"]


def test_mlflow_gets_a_run_of_its_own(two, tmp_path):
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    page = compare(two).write(tmp_path / "page")
    assert log_comparison(page, page.folder) is None  # these evaluations belong to no tracked run
    assert log_comparison(page, page.folder, uri) == uri
    client = Store(uri).client
    experiment = client.get_experiment_by_name("physgen")
    (logged,) = client.search_runs([experiment.experiment_id])
    assert logged.data.tags["physgen.kind"] == "comparison"
    assert logged.data.metrics["comparison_power_spectrum/mean_ratio/loud"] == pytest.approx(2.25, rel=0.2)
    assert [a.path for a in client.list_artifacts(logged.info.run_id, "comparison")] == ["comparison/report.html"]


def test_the_command_compares_arrays_that_it_judged_itself(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    np.save("reference.npy", REFERENCE)
    for name, scale in (("good", 1.0), ("bad", 1.5)):
        np.save(f"{name}.npy", scale * RNG.standard_normal(REFERENCE.shape))
        assert main(["evaluate", f"{name}.npy", "--reference", "reference.npy", "--box", "25 Mpc/h"]) == 0
    assert main(["compare", "good", "bad"]) == 0
    assert "wrote comparison/report.html" in capsys.readouterr().out
    assert main(["compare", "good", "bad"]) == 0
    assert "wrote comparison-2/report.html" in capsys.readouterr().out  # nothing is overwritten
    assert main(["compare", "good", "nowhere"]) == 2
    assert "neither a run nor an evaluation" in capsys.readouterr().err
