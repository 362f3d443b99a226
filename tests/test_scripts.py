"""The three scripts of the documentation, run as they stand there."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = sorted((ROOT / "docs" / "scripts").glob("*.py"))
FEW = 20  # statements and imports, beside the title


def run(name, folder):
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": path, "MLFLOW_DISABLE_TELEMETRY": "true"}
    script = ROOT / "docs" / "scripts" / f"{name}.py"
    done = subprocess.run([sys.executable, script], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_a_configuration_forgets_its_class_beyond_the_speciation_time(tmp_path):
    """Below it nearly all keep it, at the largest noise one half does, within four standard errors; t_OU as printed."""
    lines = run("exact_mixture", tmp_path).splitlines()
    kept = [float(re.search(r"kept by ([\d.]+)", line)[1]) for line in lines]
    assert kept[0] > 0.99 and abs(kept[-1] - 0.5) < 4 * 0.5 / 32
    assert kept == sorted(kept, reverse=True)
    assert "t_OU = 0.80" in lines[1]  # 1/2 ln(1 + 2^2)


def test_maps_of_ones_own_are_learned_drawn_and_judged(tmp_path):
    shown = run("own_maps", tmp_path)
    assert "(Mpc/h)^2" in shown and re.search(r"power spectrum +(pass|open)", shown)
    assert (tmp_path / "new.h5").is_file() and (tmp_path / "runs" / "own-maps" / "model").is_dir()


def test_couplings_of_ones_own_are_drawn_and_judged(tmp_path):
    shown = run("own_couplings", tmp_path)
    assert re.search(r"energy +(pass|open)", shown) and "FAIL" not in shown
    assert "overlap" in shown


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_is_short(script):
    code = [line for line in script.read_text().splitlines()[1:] if line.strip() and not line.startswith("#")]
    assert len(code) <= FEW


def test_the_front_page_shows_the_script_that_runs():
    script = (ROOT / "docs" / "scripts" / "own_maps.py").read_text().split("\n", 2)[2].strip()
    assert script in (ROOT / "README.md").read_text(), "the README shows another version of docs/scripts/own_maps.py"
