"""Power by shells: its definition on all modes, on any number of threads."""

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from physgen.lattice import half_grid, power_by_shell, shells

LARGE = """
import torch
from physgen.diffusion.learning.prior_spectrum import PowerMeter
from physgen.processes.memory import keep_freed_memory

def own():
    return next(int(line.split()[1]) // 1024 for line in open("/proc/self/status") if line.startswith("RssAnon"))

keep_freed_memory()
torch.set_num_threads(1)
one, meter = torch.zeros(1, 1, 128, 128, 128), PowerMeter()
meter.add(one.expand(3, -1, -1, -1, -1))
before = own()
meter.add(one.expand(60, -1, -1, -1, -1))
for _ in range(30):
    meter.add(one.clone())
print(own() - before)
"""
GRIDS = [(2,), (7,), (8,), (6, 5), (1, 4), (4, 7, 6), (5, 2, 3), (64, 64, 65)]


def fields(count, grid, mean=0.0, dtype=torch.float32):
    return (
        torch.randn(count, *grid, generator=torch.Generator().manual_seed(0), dtype=torch.float64).add(mean).to(dtype)
    )


def over_all_modes(x, grid, parts):
    """By numpy, in double precision, over the modes of the full spectrum."""
    axes, shell = tuple(range(1, x.ndim)), shells(grid, parts=parts, half=False).ravel()
    power = np.abs(np.fft.fftn(x.double().numpy(), axes=axes, norm="ortho")) ** 2
    return np.stack([np.bincount(shell, row.ravel()) for row in power])


@pytest.mark.parametrize("parts", [1, 4])
@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("mean", [0.0, 1e3])
def test_sums_are_those_over_all_modes(grid, parts, mean):
    """A mode of N unit variances errs by some roundings of its amplitude, log2 N of them one after another."""
    shell = torch.from_numpy(shells(grid, parts=parts))
    for dtype in (torch.float32, torch.float64):
        x = fields(3, grid, mean, dtype)
        found, expected = power_by_shell(x, shell).numpy(), over_all_modes(x, grid, parts)
        assert shell.shape == half_grid(grid) and found.dtype == np.float64
        rounding = torch.finfo(dtype).eps * (2 + math.log2(math.prod(grid)))
        np.testing.assert_allclose(found[:, 0], expected[:, 0], rtol=1e-12, atol=1e-20 * mean)  # the mean, in double
        # what is left of a large mean, which is rounded to the type, and the digits that numpy loses to it
        left = math.sqrt(math.prod(grid)) * torch.finfo(torch.float64).eps * mean
        atol = 4 * (rounding + left) * (1 + math.sqrt(math.prod(grid)) * left) + 1e-18
        np.testing.assert_allclose(found[:, 1:], expected[:, 1:], rtol=4 * rounding + left, atol=atol)


def test_integers_and_no_fields_are_taken():
    shell = torch.from_numpy(shells((4, 6)))
    x = torch.arange(48).reshape(2, 4, 6)
    assert torch.equal(power_by_shell(x, shell), power_by_shell(x.double(), shell))
    assert power_by_shell(x[:0], shell).shape == (0, int(shell.max()) + 1)


@pytest.mark.parametrize(("count", "grid"), [(300, (32, 32)), (3, (64, 64, 64))])
def test_the_number_of_threads_changes_no_bit(count, grid):
    x, shell, before, found = fields(count, grid), torch.from_numpy(shells(grid)), torch.get_num_threads(), []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            found.append(power_by_shell(x, shell))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*found)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the memory of a process from /proc")
def test_many_large_fields_do_not_fragment_the_memory():
    """90 results of 1 kB; a field takes 45 MB once. Small arrays kept between large ones took 200 MB and more."""
    root = str(Path(__file__).resolve().parents[2])
    done = subprocess.run([sys.executable, "-c", LARGE], cwd=root, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 60
