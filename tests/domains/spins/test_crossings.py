"""Finite-size crossings: curves equal the diagnostics, places and errors those of a law that is known."""

import json

import numpy as np
import pytest
from mlflow import MlflowClient

from physgen.cli import main
from physgen.domains.spins import Spins, crossings
from physgen.domains.spins.crossings import bootstrap, crossing
from physgen.domains.spins.glass_statistics import binder_ratio, correlation_length
from physgen.ensemble import save_ensemble
from physgen.errors import InputError
from physgen.figures import size_crossings

TEMPERATURES = np.linspace(0.5, 1.5, 6)


def synthetic(rng, size, where=1.03, instances=64):
    """Rows (D, T) whose mean is 0.7 - size (T - where)/10, with noise that the temperatures of an instance share."""
    common, own = rng.standard_normal((instances, 1)), rng.standard_normal((instances, len(TEMPERATURES)))
    return 0.7 - size * (TEMPERATURES - where) / 10 + 0.2 * common + 0.1 * own


def test_the_error_of_a_crossing_is_its_scatter():
    rng, found = np.random.default_rng(0), []
    for _ in range(100):
        rows = [synthetic(rng, size) for size in (4, 8)]
        draws = np.stack([bootstrap(one, lambda mean: mean, rng, 100) for one in rows])
        found.append(crossing(TEMPERATURES, np.stack([one.mean(axis=0) for one in rows]), draws))
    places, errors = np.array([one.place for one in found]), np.array([one.error for one in found])
    known = np.isfinite(errors)
    assert known.mean() > 0.95
    # a straight line of slope 0.4, and an error of about (0.2^2 + 0.1^2/2)^(1/2) (2/64)^(1/2) / 0.4
    assert abs(places[known].mean() - 1.03) < 4 * places[known].std() / np.sqrt(known.sum())
    assert 0.8 < places[known].std() / errors[known].mean() < 1.25


def test_curves_that_do_not_cross_have_no_crossing():
    rng = np.random.default_rng(1)
    rows = [synthetic(rng, size, where=9.0, instances=400) for size in (4, 8)]
    draws = np.stack([bootstrap(one, lambda mean: mean, rng) for one in rows])
    found = crossing(TEMPERATURES, np.stack([one.mean(axis=0) for one in rows]), draws)
    assert np.isnan(found.place) and np.isnan(found.error) and found.crossed == 0


@pytest.fixture(scope="module")
def lattices():
    return [
        Spins(dimension=2, length=length, temperatures=(0.7, 1.2, 2.0), instances=12, replicas=8, boundary="cylinder",
              method="transfer_matrix").simulate(seed=length)
        for length in (5, 3, 4)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("statistic", "diagnostic"), [("binder", binder_ratio), ("correlation_length", correlation_length)]
)
def test_the_curves_are_those_of_the_diagnostic(lattices, statistic, diagnostic):
    """Sizes in order; in 2-D the glass has no transition and larger lattices lie below at all these temperatures."""
    found = crossings(lattices, statistic)
    assert found["size"].values.tolist() == [3, 4, 5] and found["small"].values.tolist() == [3, 4]
    for one in lattices:
        length = one.sizes["y"]
        alone = diagnostic(one)
        # the diagnostic takes the bias of order 1/D out by the jackknife
        expected = alone["value"].values / (length if statistic == "correlation_length" else 1)
        error = alone["error"].values / (length if statistic == "correlation_length" else 1)
        row = found.sel(size=length)
        assert (np.abs(row["value"].values - expected) < error).all()
        np.testing.assert_allclose(row["error"].values, error, rtol=0.6)
    figure = size_crossings(found)
    assert len(figure.axes) == 1 and "$L = 5$" in figure.axes[0].get_legend_handles_labels()[1]


def test_what_cannot_be_compared_is_refused(lattices):
    with pytest.raises(InputError, match="at least two"):
        crossings(lattices[:1])
    with pytest.raises(InputError, match="each once"):
        crossings([lattices[0], lattices[0]])
    with pytest.raises(InputError, match="differ: simulate all sizes at the same ones"):
        crossings([lattices[0], lattices[1].isel(temperature=[0, 1])])
    with pytest.raises(InputError, match="needs at least 8"):
        crossings([lattices[0], lattices[1].isel(disorder=range(5))])
    with pytest.raises(InputError, match="choose binder or correlation_length"):
        crossings(lattices, "other")


def test_compare_lays_ensembles_of_several_sizes_over_one_another(lattices, tmp_path, capsys):
    """On the command line, into a folder and into MLflow."""
    ordered = lattices[0].copy(deep=True)  # the largest: all of one kind when cold, free when hot, a crossing for sure
    hot = ordered["field"][{"temperature": slice(1, None)}]
    ordered["field"][{"temperature": slice(1, None)}] = np.random.default_rng(2).choice([-1, 1], hot.shape)
    ordered["field"][{"temperature": 0}] = 1
    paths = [save_ensemble(one, tmp_path / f"{place}.h5") for place, one in enumerate([ordered, *lattices[1:]])]
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    assert main(["compare", *map(str, paths), "-o", str(tmp_path / "sizes"), "--uri", uri]) == 0
    printed = capsys.readouterr().out
    assert "3, 4" in printed and "MLflow" in printed
    summary = json.loads((tmp_path / "sizes" / "summary.json").read_text())
    assert set(summary) == {"crossing_binder", "crossing_correlation_length"}
    assert set(summary["crossing_binder"]["3_4"]) == {"value", "error", "crossed"}
    assert 0.7 < summary["crossing_binder"]["4_5"]["value"] < 1.2 and summary["crossing_binder"]["4_5"]["crossed"] == 1
    assert (tmp_path / "sizes" / "figures" / "crossings.png").stat().st_size > 1000
    sent = MlflowClient(uri).search_runs(["1"])[0]
    wanted = {f"{name}/{pair}": one["value"] for name, pairs in summary.items() for pair, one in pairs.items()}
    wanted |= {f"{name}_error/{pair}": one["error"] for name, pairs in summary.items() for pair, one in pairs.items()}
    metrics = {key: value for key, value in sent.data.metrics.items() if key.startswith("crossing")}
    assert metrics == {key: value for key, value in wanted.items() if value is not None}
    assert {"crossing_binder/4_5", "crossing_binder_error/4_5"} <= set(metrics)
    names = [item.path for item in MlflowClient(uri).list_artifacts(sent.info.run_id, "figures")]
    assert names == ["figures/crossings.png", "figures/crossings.svg"]
    assert main(["compare", str(paths[0]), "-o", str(tmp_path / "one")]) == 2
    assert "at least two" in capsys.readouterr().err
