"""The tutorial of a third physics runs as it stands in the documentation, and its numbers are right."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import physgen.domains
from physgen.diagnostics import power_spectrum
from physgen.domains.contract import get_domain
from physgen.ensemble import independent_units, load_ensemble

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "how-to" / "own_physics.md"
FOLDER = ROOT / "docs" / "phi4"
# commands one after another in one process, which imports once; what each prints, by its first word
SESSION = """
import contextlib, io, json, sys
from physgen.cli import main

printed = {}
for words in json.load(sys.stdin):
    with contextlib.redirect_stdout(io.StringIO()) as said:
        assert not main(words), words
    printed[words[0]] = said.getvalue()
print(json.dumps(printed))
"""


def commands():
    blocks = re.findall(r"```bash\n(.*?)```", PAGE.read_text(), flags=re.S)
    return [shlex.split(line) for block in blocks for line in block.splitlines() if line.startswith("physgen ")]


@pytest.fixture(scope="module")
def phi4():
    physgen.domains.__path__.append(str(FOLDER))
    yield get_domain("phi4")
    physgen.domains.__path__.remove(str(FOLDER))


@pytest.mark.timeout(600)
def test_every_command_of_the_page_runs_from_nothing_to_a_verdict(tmp_path):
    shutil.copytree(FOLDER, tmp_path, dirs_exist_ok=True)
    here = {
        "PHYSGEN_DOMAINS": str(tmp_path),
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
    }
    done = subprocess.run(
        [sys.executable, "-c", SESSION], input=json.dumps([words[1:] for words in commands()]),
        cwd=tmp_path, env=os.environ | here, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout.splitlines()[-1])
    assert "phi4" in printed["domains"]
    assert "power spectrum" in printed["evaluate"] and "memorization" in printed["evaluate"]
    assert "hopping" in printed["config"]
    assert np.all(load_ensemble(tmp_path / "critical.h5").kappa == 0.21)
    assert independent_units(load_ensemble(tmp_path / "phi4.h5")).count == 60


def test_a_free_field_has_its_exact_spectrum(phi4):
    """lambda = 0: P(k) = 1/(2 - 4 kappa (cos k_x + cos k_y)), each point within 4 errors over chains."""
    kappa, length = 0.15, 8
    free = phi4(length=length, kappa=(kappa, kappa), coupling=0.0, chains=200, draws=10).simulate(3)
    k = 2 * np.pi * np.fft.fftfreq(length)
    exact = 1 / (2 - 4 * kappa * (np.cos(k)[:, None] + np.cos(k)))
    modes = np.abs(np.fft.fft2(free.field.values)) ** 2 / length**2
    per_chain = modes.mean(1)
    error = per_chain.std(0, ddof=1) / np.sqrt(len(per_chain))
    assert np.abs((per_chain.mean(0) - exact) / error).max() < 4.5  # 34 different modes


def test_errors_are_those_of_independent_chains(phi4):
    """The quoted error against the scatter of the mean over many ensembles: equal within its sampling error.

    ln of a standard deviation from n values scatters by 1/sqrt(2(n - 1)).
    """
    domain = phi4(chains=12, draws=8, between=1, thermalization=100, kappa=(0.24, 0.24))
    results = [power_spectrum(domain.simulate(seed)) for seed in range(40)]
    assert {result.attrs["n_independent"] for result in results} == {12}
    scatter = np.std([r["value"].values[0] for r in results], ddof=1)
    quoted = np.sqrt(np.mean([r["error"].values[0] ** 2 for r in results]))
    allowed = 4 * np.sqrt(1 / (2 * 39) + 1 / (2 * 11 * 40))
    assert abs(np.log(quoted / scatter)) < allowed
    draws = [domain.simulate(seed) for seed in range(5)]
    for ensemble in draws:
        del ensemble.attrs["independent_unit"], ensemble.attrs["exchangeable"]
    naive = np.sqrt(np.mean([power_spectrum(ensemble)["error"].values[0] ** 2 for ensemble in draws]))
    assert quoted > 1.4 * naive, "draws of one chain are correlated here, or this test shows nothing"
