"""A held-out corner of the label space: out of every part, in one of its own; what is drawn there says so."""

import json

import numpy as np
import pytest
import xarray as xr

from physgen.config import check_config
from physgen.domains.cosmology.arrays import make_ensemble
from physgen.ensemble import CORNER, EXTRAPOLATED, cut_corner, in_corner, load_ensemble, save_ensemble
from physgen.errors import InputError
from physgen.report.evaluation_prose import extrapolation_banner
from physgen.stages import DrawOptions, sample, train
from physgen.stages.evaluation import Evaluator, without_extrapolation

SIMULATIONS, MAPS = 16, 4
RANGES = {"Omega_m": [0.35, 0.5], "sigma_8": [0.8, 1.0]}


def maps(seed=0):
    rng = np.random.default_rng(seed)
    shape = (SIMULATIONS * MAPS, 8, 8)
    table = np.stack(np.meshgrid([0.15, 0.25, 0.4, 0.5], [0.6, 0.7, 0.85, 1.0]), -1).reshape(-1, 2)
    labels = {n: np.repeat(table[:, i], MAPS) for i, n in enumerate(RANGES)}
    fields = np.exp(0.3 * rng.standard_normal(shape)) - 1
    return make_ensemble(
        fields.astype(np.float32), "delta", 32.0, labels, np.repeat(np.arange(SIMULATIONS), MAPS),
        {"domain": "cosmology", "redshift": 0.0},
    )  # fmt: skip


def experiment(dataset, corner=RANGES):
    return check_config({
        "name": "corner", "domain": "cosmology", "dataset": str(dataset), "tracking": {"uri": "off"},
        "data": {"cells": 8, "box_size": "32 Mpc/h", "thickness": "8 Mpc/h", "slabs_per_axis": 1, "particles": 8},
        "split": {"train": 0.5, "validation": 0.25, "test": 0.25, "corner": corner},
        "network": {"kind": "unet", "width": 8, "multipliers": [1]},
        "training": {"steps": 1, "warmup": 0, "batch_size": 4}, "sampling": {"steps": 3, "levels": "log-uniform"},
    })  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corner")
    save_ensemble(maps(), folder / "data.h5")
    return train(experiment(folder / "data.h5"), folder / "runs", device="cpu")


def test_no_part_but_its_own_holds_the_corner_and_nothing_is_lost(run):
    parts = {name: load_ensemble(run / "data" / f"{name}.h5") for name in ("train", "validation", "test", CORNER)}
    assert {name: int(in_corner(part, RANGES).sum()) for name, part in parts.items()} == {
        "train": 0, "validation": 0, "test": 0, CORNER: 4 * MAPS,
    }  # fmt: skip
    units = [np.unique(part["simulation"]) for part in parts.values()]
    assert sorted(np.concatenate(units)) == list(range(SIMULATIONS))


def test_what_is_drawn_in_the_corner_is_marked_and_what_is_not_is_not(run, tmp_path, capsys):
    from physgen.cli import main

    inside = load_ensemble(sample(run, tmp_path / "in.h5", DrawOptions(n=16, like=run / "data" / "corner.h5")))
    words = "16 of 16 in the held-out corner Omega_m 0.35 to 0.5, sigma_8 0.8 to 1"
    assert inside.attrs[EXTRAPOLATED] == words
    assert json.loads(inside.attrs[CORNER]) == RANGES
    assert words in extrapolation_banner(inside)
    plain = load_ensemble(sample(run, tmp_path / "out.h5", DrawOptions(n=4)))
    assert EXTRAPOLATED not in plain.attrs
    assert extrapolation_banner(plain) == ""
    given = ["--condition", "Omega_m=0.4", "--condition", "sigma_8=0.9"]
    main(["sample", str(run), "-n", "2", "-o", str(tmp_path / "given.h5"), *given])
    assert "extrapolation: 2 of 2 in the held-out corner" in capsys.readouterr().out
    again = load_ensemble(sample(run, tmp_path / "again.h5", DrawOptions(n=4, given={"Omega_m": 0.2}, like=inside)))
    assert EXTRAPOLATED not in again.attrs, "the mark of the conditions that were taken over"


def test_a_plain_verdict_leaves_extrapolation_out_and_one_on_it_says_so():
    drawn, said = maps(1), {CORNER: json.dumps(RANGES)}
    drawn.attrs |= said | {EXTRAPOLATED: "16 of 64 in the held-out corner"}
    kept = without_extrapolation(drawn)
    assert int(in_corner(kept, RANGES).sum()) == 0
    assert EXTRAPOLATED not in kept.attrs
    assert "16 of 64" in kept.attrs["frame_notes"]
    evaluator = Evaluator(maps(2))
    evaluator.diagnostics = {"one_point": evaluator.diagnostics["one_point"]}
    both = evaluator.evaluate(drawn)
    assert both.reference.sizes["sample"] == both.generated.sizes["sample"] == 12 * MAPS
    assert not both.verdicts[0].reason.startswith("by extrapolation")
    corner = drawn.isel(sample=np.flatnonzero(in_corner(drawn, RANGES).values))
    alone = evaluator.evaluate(corner)
    assert alone.generated.sizes["sample"] == 4 * MAPS
    assert alone.verdicts[0].reason.startswith("by extrapolation: ")
    assert alone.table.startswith("Extrapolation: 16 of 64 in the held-out corner") and "xtrapol" not in both.table


def test_a_unit_with_one_sample_in_the_corner_is_held_out_whole():
    data = xr.Dataset(
        {"tilt": ("sample", [0.0, 1.0, 0.1, 0.2]), "unit": ("sample", [0, 0, 1, 1])}, {"sample": np.arange(4)}
    )
    rest, held = cut_corner(data, {"tilt": (0.5, 2.0)}, "unit")
    assert held["unit"].values.tolist() == [0, 0]
    assert rest["unit"].values.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("corner", "message"),
    [
        ({"Omega_b": [0.1, 0.2]}, "no label of these data"),
        ({"Omega_m": [0.9, 1.0]}, "holds no unit"),
        ({"Omega_m": [0.0, 1.0]}, "holds every unit"),
        ({"Omega_m": [0.5, 0.4]}, "low < high"),
    ],
)
def test_a_corner_that_is_none_is_refused(corner, message, tmp_path):
    with pytest.raises(InputError, match=message):
        wanted = experiment(tmp_path / "data.h5", corner)
        cut_corner(maps(), wanted.split.corner, "simulation")
