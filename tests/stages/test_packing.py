"""A packed run draws what the run draws, bit for bit, without data; networks that come with the package are runs."""

import shutil
from pathlib import Path

import numpy as np
import pytest

import physgen as pg
from physgen.cli import main
from physgen.errors import InputError
from physgen.runs import shipped
from physgen.stages import pack_run

CONFIG = Path(__file__).resolve().parents[2] / "configs" / "cosmology" / "smoke.yaml"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("packing")
    words = [
        "data.cells=8",
        "data.particles=8",
        "data.steps=2",
        "training.steps=3",
        "tracking.uri=off",
        "data.snapshots=2",
    ]
    experiment = pg.load_config(CONFIG, words)
    data = pg.simulate(experiment, progress=False).assign_attrs(source="/home/me/secret/a.h5, b.h5")
    return pg.train(experiment, data, runs=folder, device="cpu", progress=False)


def test_a_packed_run_draws_as_the_run_does_without_its_data(run, tmp_path):
    packed = pack_run(run.run, tmp_path / "packed")
    held = {str(file.relative_to(packed)) for file in packed.rglob("*") if file.is_file()}
    assert held == {
        "experiment.yaml", "facts.json", "encoding.json", "data/test.h5", "model/weights.safetensors",
        "model/model.json", "model/levels.json",
    }  # fmt: skip
    assert not [name for name in held if b"secret" in (packed / name).read_bytes()]  # folders of one's own machine
    assert "a.h5, b.h5" in (packed / "experiment.yaml").read_text()
    one, other = (pg.open_run(folder, "cpu").sample(5, progress=False) for folder in (run.folder, packed))
    np.testing.assert_array_equal(one["field"], other["field"])
    np.testing.assert_array_equal(one["redshift"], other["redshift"])
    assert "template" not in other.attrs and one["field"].attrs == other["field"].attrs
    with pytest.raises(InputError, match="exists already"):
        pack_run(run.run, packed)
    assert "physgen simulate" in str(pytest.raises(InputError, pg.open_run(packed).data, "test").value)


def test_a_packed_run_draws_given_an_observation(run, tmp_path):
    packed = pg.open_run(pack_run(run.run, tmp_path / "packed"), "cpu")
    truth = run.data("test").isel(sample=[0, 5])
    found = [one.observe(truth, "noise sigma=0.3", seed=1) for one in (run, packed)]
    np.testing.assert_array_equal(found[0]["field"], found[1]["field"])
    drawn = [one.sample_given(found[0], draws=2, steps=4, progress=False) for one in (run, packed)]
    np.testing.assert_array_equal(drawn[0]["field"], drawn[1]["field"])


def test_a_network_that_comes_with_the_package_has_a_name(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(shipped, "SHIPPED", tmp_path / "shipped")
    (tmp_path / "shipped" / "emulator").mkdir(parents=True)
    pack_run(run.run, tmp_path / "shipped" / "emulator" / "tiny")
    assert shipped.shipped_names() == ["emulator:tiny"]
    before = {file: file.read_bytes() for file in (tmp_path / "shipped").rglob("*") if file.is_file()}
    monkeypatch.chdir(tmp_path)
    words = ["sample", "emulator:tiny", "-n", "3", "--condition", "Omega_m=0.3,sigma_8=0.8", "--steps", "6"]
    assert main([*words, "-o", "new.h5", "--device", "cpu"]) == 0
    said = capsys.readouterr().out
    assert "--given new.h5" in said and "not held fixed, as in the test part: redshift" in said
    drawn = pg.load_ensemble("new.h5")
    assert drawn.sizes["sample"] == 3 and (drawn["Omega_m"] == 0.3).all()
    assert {file: file.read_bytes() for file in (tmp_path / "shipped").rglob("*") if file.is_file()} == before
    # nothing else writes there either, unless it is told where
    for words in (["likelihood", "emulator:tiny", "new.h5"], ["infer", "emulator:tiny", "new.h5"]):
        assert main([*words, "--device", "cpu"]) == 2
        assert "comes with physgen and stays as it is" in capsys.readouterr().err
    assert main(["evaluate", "new.h5", "--reference", "new.h5", "--run", "emulator:tiny", "-o", "judged"]) == 2
    assert {file: file.read_bytes() for file in (tmp_path / "shipped").rglob("*") if file.is_file()} == before
    assert main(["sample", "emulator:tinny", "-o", "other.h5"]) == 2
    assert "did you mean emulator:tiny?" in capsys.readouterr().err
    shutil.copytree(tmp_path / "shipped" / "emulator" / "tiny", tmp_path / "a:b")
    assert shipped.folder_of("a:b") == Path("a:b")  # a folder of the user comes first
