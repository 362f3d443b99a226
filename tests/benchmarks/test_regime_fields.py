"""The campaign on fields: what its figures are made from."""

import numpy as np
import pytest
import torch

from benchmarks.regimes.fields.course import moments, record
from benchmarks.regimes.fields.timescales import orbit_speciation
from benchmarks.regimes.fields.windows import Mean, law, memorized, overfitted, runs
from physgen.lattice import Symmetry, point_group, translations

KEY = {"data": "d", "network": "w", "augment": False, "n": 8, "seed": 1}


def test_speciation_of_orbits_is_the_largest_eigenvalue_of_all_images():
    x = torch.randn(6, 1, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x = x + x.roll(1, 2) + 0.5
    shifted = [Symmetry(g.axes, g.mirrored, t.shift) for g in point_group((4, 4)) for t in translations((4, 4))]
    images = torch.cat([g(x) for g in shifted]).flatten(1)
    top = torch.linalg.eigvalsh(images.T @ images / len(images))[-1]
    assert orbit_speciation(x, np.arange(6))["eigenvalue"] == pytest.approx(float(top), rel=1e-12)


def _told(step, copies, train, test):
    return {
        "step": step,
        "train": {"loss": [train], "error": [0.01]},
        "test": {"loss": [test], "error": [0.01]},
        "f_mem": {"orbit": copies},
    }


def test_a_record_tells_its_times_and_is_not_written_twice(tmp_path):
    path = tmp_path / "record.jsonl"
    told = [{"null": {"orbit": 0.25}}, _told(100, 0.25, 1.0, 1.0), _told(200, 0.5, 1.0, 2.0), _told(400, 1.0, 1.0, 4.0)]
    record(path, KEY, told[:2], {})  # the shorter of two attempts under one key is left out
    path.write_text("\n".join(path.read_text().splitlines()[:-1]) + "\n")
    record(path, KEY, told, {})
    size = path.stat().st_size
    record(path, KEY, told, {})
    assert path.stat().st_size == size
    (run,) = runs(path)
    assert run.done and [line["step"] for line in run.told] == [100, 200, 400]
    # half of the samples beyond the quarter that held-out data give: between .25 at 200 and .75 at 400
    assert memorized(run, 0.5) == pytest.approx(200 * 2**0.5)
    assert overfitted(run, 0, 2.0) == pytest.approx(200)
    assert memorized(run, 0.9) == np.inf


def test_a_law_is_found_and_needs_three_times():
    times = [(n, 5 * n**1.3) for n in (8, 16, 32)]
    fit = law([*times, (64, np.inf)], [64])
    assert float(fit.exponent) == pytest.approx(1.3) and float(fit.tau_mem[0]) == pytest.approx(5 * 64**1.3)
    assert law(times[:2]) is None
    assert Mean.over([4.0, 9.0, np.inf]).value == pytest.approx(6) and Mean.over([4.0, np.inf]).reached == 1


def test_moments_are_geometric_and_end_in_time():
    assert moments(16, 64) == [16, 23, 32, 45, 64]
