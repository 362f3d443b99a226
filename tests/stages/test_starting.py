"""A training that begins with the weights of another run: its first denoiser is that of the other, label for label."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from physgen.cli import main
from physgen.config import load_config
from physgen.errors import InputError
from physgen.runs.folder import open_run
from physgen.runs.model import load_model
from physgen.stages import simulate, train
from physgen.stages.distillation import DistillOptions, distill
from physgen.tracking.journal import read_journal

CONFIG = Path(__file__).resolve().parents[2] / "configs" / "cosmology" / "smoke.yaml"
SMALL = [
    "data.cells=8", "data.particles=8", "data.steps=2", "data.simulations=8", "tracking.uri=off", "training.steps=6",
]  # fmt: skip


def experiment(folder, name, *words):
    return load_config(CONFIG, [*SMALL, f"name={name}", f"dataset={folder / 'data.h5'}", *words])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Data, the run that others begin with (calibrated, at a high rate), a fresh one, and data of 16 cells."""
    made = tmp_path_factory.mktemp("start")
    parent = experiment(made, "parent", "training.calibration=8", "training.learning_rate=0.02")
    simulate(parent, made / "data.h5")
    train(parent, made, device="cpu")
    train(experiment(made, "fresh", "seed=5", "training.steps=1"), made, device="cpu")
    wide = experiment(made, "wide", "data.cells=16", 'data.box_size="128 Mpc/h"', "data.particles=16", "seed=2")
    simulate(wide, made / "wide.h5")
    return made


def first_ratios(run):
    """Loss over that of the baseline, by level, before the first step."""
    return next(entry["ratio"] for entry in read_journal(run) if entry.get("event") == "validation")


def same_at(one, other):
    """Both denoisers on noise of two levels."""
    generator = torch.Generator().manual_seed(1)
    y = torch.randn(3, *one.encoding.shape, generator=generator)
    labels = {"labels": torch.rand(3, one.encoding.labels, generator=generator)}
    s = torch.tensor([0.1, 1.0, 5.0])
    return torch.equal(one.denoiser(y, s, labels), other.denoiser(y, s, labels))


def test_it_begins_where_the_other_ended(folder):
    parent = load_model(folder / "parent" / "model", "cpu")
    assert parent.denoiser.calibration is not None
    # other simulations than those of the parent, so that an encoding of their own would show
    words = ["seed=5", f"training.start={folder / 'parent'}", "training.learning_rate=1e-12", "training.steps=1"]
    stood = load_model(train(experiment(folder, "stood", *words), folder, device="cpu") / "model", "cpu")
    assert stood.encoding == parent.encoding
    assert same_at(parent, stood)
    moved = [*words[:2], "training.learning_rate=0.02"]
    gone = train(experiment(folder, "moved", *moved), folder, device="cpu")
    assert not same_at(parent, load_model(gone / "model", "cpu"))
    # before its first step an untrained network is the Gaussian baseline itself; the parent's is elsewhere
    fresh = folder / "fresh"
    assert first_ratios(fresh) == pytest.approx([1.0] * len(first_ratios(fresh)), abs=1e-5)
    assert max(abs(ratio - 1) for ratio in first_ratios(gone)) > 1e-3


def test_the_folder_alone_is_enough(folder, tmp_path):
    for name in ("parent", "data.h5"):
        copy = shutil.copytree if (folder / name).is_dir() else shutil.copyfile
        copy(folder / name, tmp_path / name)
    words = [f"training.start={tmp_path / 'parent'}", "training.checkpoint_every=4"]
    whole = experiment(tmp_path, "whole", *words)
    train(whole, tmp_path, device="cpu")
    part = experiment(tmp_path, "part", *words)
    train(part, tmp_path, device="cpu")
    kept = json.loads((tmp_path / "part" / "start" / "model.json").read_text())["weights_sha256"]
    assert kept == json.loads((tmp_path / "parent" / "model" / "model.json").read_text())["weights_sha256"]
    shutil.rmtree(tmp_path / "parent")
    shutil.rmtree(tmp_path / "part" / "checkpoints")  # killed before the first checkpoint
    train(part, tmp_path, resume=True, device="cpu")
    one, other = (load_model(tmp_path / name / "model", "cpu") for name in ("whole", "part"))
    assert same_at(one, other)
    assert "start" in open_run(tmp_path / "part").experiment.resolved()["training"]


def test_on_another_lattice_the_network_alone_is_taken_over(folder):
    parent = load_model(folder / "parent" / "model", "cpu")
    words = [
        "data.cells=16", 'data.box_size="128 Mpc/h"', "data.particles=16", f"dataset={folder / 'wide.h5'}",
        f"training.start={folder / 'parent'}", "training.learning_rate=1e-12", "training.steps=1",
    ]  # fmt: skip
    wide = load_model(train(experiment(folder, "wider", *words), folder, device="cpu") / "model", "cpu")
    assert wide.encoding.grid == (16, 16) and wide.encoding.domain["spectrum"] != parent.encoding.domain["spectrum"]
    one, other = (model.denoiser.network.state_dict() for model in (parent, wide))
    assert all(torch.allclose(one[name], other[name], atol=1e-9) for name in one)
    assert wide.denoiser.calibration is None
    assert wide.encoding.domain["labels"] == parent.encoding.domain["labels"]


def test_what_cannot_begin_says_why_and_leaves_nothing(folder, capsys):
    distill(folder / "fresh", folder / "student", DistillOptions(overrides=("training.steps=1",)), device="cpu")
    for words, message in (
        (["network.width=4"], "network.width=4 is not that of training.start"),
        (["diffusion.head=v"], "diffusion.head='v' is not that of"),
        ([f"training.start={folder / 'nowhere'}"], "is not a run"),
        (["training.start=emulator:slabs46"], "did you mean emulator:slabs64"),
        ([f"training.start={folder / 'student'}"], "not the mean"),
        (["data.cells=16", f"dataset={folder / 'wide.h5'}", "training.start=emulator:slabs64"], "network.width=8"),
    ):
        given = [f"training.start={folder / 'parent'}", *words]
        with pytest.raises(InputError, match=message.replace("(", r"\(")):
            train(experiment(folder, "refused", *given), folder, device="cpu")
        assert not (folder / "refused" / "experiment.yaml").exists()
    # what was read of the data, or is said of them, does not fit
    log = [f"training.start={folder / 'parent'}", "data.transform=log"]
    with pytest.raises(InputError, match="encodes with knots=one of its own, this configuration"):
        train(experiment(folder, "refused", *log), folder, device="cpu")
    # cells of 16 Mpc/h in place of 8: said of the data, after they were read
    coarse = ["data.cells=4", "data.particles=4", "network.multipliers=[1, 2]"]
    simulate(experiment(folder, "coarse", *coarse), folder / "coarse.h5")
    given = [*SMALL, *coarse, f"dataset={folder / 'coarse.h5'}", f"training.start={folder / 'parent'}", "name=refused"]
    capsys.readouterr()
    assert main(["train", str(CONFIG), *given, "--runs", str(folder)]) == 2
    assert "was trained on cells of [8.0, 8.0], these data have [16.0, 16.0]" in capsys.readouterr().err
    assert not (folder / "refused").exists()
