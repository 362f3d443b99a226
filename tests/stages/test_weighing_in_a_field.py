"""From a plain table of couplings and fields to exact weights; networks that learned without fields say no."""

from pathlib import Path

import numpy as np
import pytest

from physgen.cli import main
from physgen.config import load_config
from physgen.domains.spins.exact import log_partition
from physgen.ensemble import load_ensemble
from physgen.stages import simulate, train

SMOKE = Path(__file__).resolve().parents[2] / "configs" / "spins" / "smoke.yaml"
QUICK = ["tracking.uri=off", "training.steps=2", "training.warmup=1", "data.instances=8", "data.replicas=4"]
QUICK += [
    "data.random_field=0.8 J",
    "network={kind: message_passing, width: 16, depth: 2}",
    "data.temperatures=[1.5 J, 3.0 J]",
]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of two steps in random fields: message passing is belief propagation then."""
    folder = tmp_path_factory.mktemp("fields")
    asked = load_config(SMOKE, [*QUICK, f"dataset={folder / 'data.h5'}"])
    simulate(asked, folder / "data.h5")
    return train(asked, folder / "runs", device="cpu")


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A chequered cylinder of 3 x 4 spins in a text file, bonds and then fields, its ln Z known."""
    rng = np.random.default_rng(4)
    bonds, outer = rng.normal(size=(2, 3, 4)).astype(np.float32), 0.8 * rng.normal(size=(3, 4)).astype(np.float32)
    bonds[0, -1] = 0
    sites = np.arange(12).reshape(3, 4)
    rows = [f"{sites[i, j]} {sites[i + 1, j]} {bonds[0, i, j]!s}" for i in range(2) for j in range(4)]
    rows += [f"{sites[i, j]} {sites[i, (j + 1) % 4]} {bonds[1, i, j]!s}" for i in range(3) for j in range(4)]
    rows += [f"{sites[i, j]} {sites[i, j]} {outer[i, j]!s}" for i in range(3) for j in range(4)]
    path = tmp_path_factory.mktemp("table") / "glass.txt"
    # the sign stands before vartype, whose own is the other one
    path.write_text("\n".join(["# H = -sum", "# vartype=SPIN", "# first=0", "# shape=3,4", *rows]) + "\n")
    return path, {t: log_partition(bonds, t, outer)[0] for t in (1.5, 3.0)}


def test_ln_z_is_exact_from_a_text_file_with_fields(run, table, tmp_path, capsys):
    path, exact = table
    out = tmp_path / "drawn.h5"
    words = ["sample", str(run), "--like", str(path), "--weights", "-n", "200", "--steps", "8", "-o", str(out)]
    assert main(words) == 0, capsys.readouterr().err
    made = load_ensemble(out)
    for temperature, log_z in exact.items():
        law = made.sel(temperature=temperature).isel(disorder=0)
        assert abs(float(law["log_Z"]) - log_z) < 4 * float(law["log_Z_error"]) < 1.0
        assert float(law["tail"]) < 0.7


def test_a_network_trained_without_fields_refuses_them(table, tmp_path, capsys):
    words = ["sample", "glass:ea2d", "--like", str(table[0]), "-n", "2", "-o", str(tmp_path / "no.h5")]
    assert main(words) == 2
    said = capsys.readouterr().err
    assert "external fields of" in said and "trained without any" in said and "data.random_field" in said
    assert not (tmp_path / "no.h5").exists()
