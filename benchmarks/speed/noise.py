"""Noise by counter against torch's own generator, and a chi-square over a thousand million numbers."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable

import torch
from scipy.stats import chi2
from torch import Tensor

from benchmarks.speed.row import Cost, Row, race, timed
from physgen.diffusion.noise import engine_of, noise_like, uniform_like

SIZES = {"256 x 64^2": (256, 64**2), "8 x 128^3": (8, 128**3)}
GOAL = "<= 2 x torch.randn, on the device"
BINS, NUMBERS, ROWS, PLACES = 1000, 10**9, 64, 2**15


def rows() -> list[Row]:
    """Normal and uniform numbers at both sizes on the processor, the normal ones on a GPU, and the chi-square."""
    races = [_normal(work, *size, device) for device in _devices() for work, size in SIZES.items()]
    return [*races, _uniform(), chi_square()]


def _devices() -> list[str]:
    return ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


def _normal(work: str, count: int, places: int, device: str) -> Row:
    index = torch.arange(count, device=device)
    runs: dict[str, Callable[[], object] | None] = {
        "physgen": lambda: noise_like(0, "benchmark", index, (places,), device=device),
        "torch.randn": lambda: torch.randn(count, places, device=device),
        "a float64 generator a row": lambda: by_rows(count, places, device),
    }
    note = f"engine: {engine_of(device).name}, {torch.get_num_threads()} threads"
    return race(f"float32 noise, {work}, {device}", runs, GOAL, repeats=9, note=note)


def by_rows(count: int, places: int, device: str) -> Tensor:
    """How noise was drawn before: a hash and a generator for each row, float64, on the processor."""
    noise = torch.empty(count, places, dtype=torch.float64)
    for number, row in enumerate(noise):
        digest = hashlib.blake2b(f"0/benchmark/{number}/0".encode(), digest_size=8).digest()
        row.normal_(generator=torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1))
    return noise.to(device=device, dtype=torch.float32)


def _uniform() -> Row:
    count, places = SIZES["256 x 64^2"]
    index = torch.arange(count)
    runs: dict[str, Callable[[], object] | None] = {
        "physgen": lambda: uniform_like(0, "benchmark", index, (places,)),
        "torch.rand": lambda: torch.rand(count, places),
    }
    return race("float32 uniform numbers, 256 x 64^2, cpu", runs, repeats=9)


def chi_square(numbers: int = NUMBERS) -> Row:
    r""":math:`\chi^2 = \sum_i (n_i - n p)^2/(n p)` of normal numbers in 1000 bins of equal probability p."""
    counts = torch.zeros(BINS, dtype=torch.int64)

    def count() -> None:
        for part in range(math.ceil(numbers / (ROWS * PLACES))):
            noise = noise_like(0, "chi-square", range(part * ROWS, (part + 1) * ROWS), (PLACES,)).flatten()
            noise = noise[: numbers - int(counts.sum())]
            places = (torch.special.ndtr(noise.double()) * BINS).int().clamp_(max=BINS - 1)
            counts.add_(torch.bincount(places, minlength=BINS))

    cost: Cost = timed(count)
    expected = numbers / BINS
    statistic = float((counts.double() - expected).square().sum() / expected)
    p_value = float(chi2.sf(statistic, BINS - 1))
    note = f"chi-square/dof = {statistic / (BINS - 1):.3f} ({BINS - 1} dof), p = {p_value:.2g}"
    return Row(
        f"chi-square of {numbers:.0e} numbers in {BINS} equal bins", "0.0001 < p < 0.9999", {"physgen": cost}, note=note
    )
