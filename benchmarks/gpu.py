"""The GPU page: ``python -m benchmarks.gpu`` writes docs/benchmarks-gpu.md where a CUDA device is at hand.

Without one it says so and writes nothing; with ``--exercise`` the same code then runs on the CPU at tiny sizes, to
the screen alone, so that it is known to run before a GPU is at hand.
"""

from __future__ import annotations

import argparse
import copy
import datetime
import itertools
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import gpu_races
from benchmarks.speed.__main__ import HEAD, as_lines
from benchmarks.speed.network import PEAK
from physgen.diffusion.learning.denoisers import FieldDenoiser, LogNormal
from physgen.diffusion.learning.prior_spectrum import fit_spectrum
from physgen.diffusion.learning.training import Recipe, TrainingState, train
from physgen.diffusion.levels import log_uniform
from physgen.diffusion.sampling.samplers import sample
from physgen.diffusion.sampling.tiles import tile_of
from physgen.networks.unet import UNet
from physgen.provenance import git_commit

PAGE = Path(__file__).resolve().parents[1] / "docs" / "benchmarks-gpu.md"
COLUMNS = ("work", "batch or tile", "seconds", "samples/s", "TFLOP/s", "of bf16 matmul", "of data sheet", "device busy")
RACES = (
    "Races, as in [the benchmarks](benchmarks.md), which explains the columns; *recorded* is a CUDA graph. Small work "
    "is done several times a turn, so that the host runs ahead of the device, as it does in a training."
)
STEPS = 10**6  # of a recipe: more than is measured


@dataclass(frozen=True)
class Case:
    """A U-Net of levels (1, 2, 3) on a lattice, trained and drawn in one precision."""

    grid: tuple[int, ...]
    batch: int
    width: int
    precision: str

    def __str__(self) -> str:
        return f"{'x'.join(map(str, self.grid))}, width {self.width}, {self.precision}"


CASES = (
    Case((64, 64), 256, 32, "float32"),
    Case((64, 64), 256, 32, "bfloat16"),
    Case((256, 256), 16, 64, "bfloat16"),
    Case((256, 256), 16, 128, "bfloat16"),
    Case((256, 256), 16, 256, "bfloat16"),
    Case((64, 64, 64), 4, 32, "bfloat16"),
    Case((128, 128, 128), 1, 32, "bfloat16"),
)
TINY = (Case((8, 8), 4, 8, "float32"), Case((8, 8, 8), 2, 8, "bfloat16"))


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--exercise", action="store_true", help="run the code at tiny sizes on the CPU; writes nothing")
    asked = parser.parse_args(words)
    if asked.exercise:
        print("an exercise of the code on the CPU: these are no figures of a GPU\n")
        print("\n".join(table(TINY, torch.device("cpu"), 2, 64)))
    elif not torch.cuda.is_available():
        print("no GPU at hand: nothing was measured and nothing written (--exercise runs the code on the CPU)")
    else:
        with PAGE.open("w") as page:  # line by line: a campaign that is stopped leaves what it measured
            for line in itertools.chain([_head()], table(CASES, torch.device("cuda"), 5, 8192), races()):
                print(line, file=page, flush=True)
        print(f"wrote {PAGE}")


def table(cases: Sequence[Case], device: torch.device, repeats: int, matmul_size: int) -> Iterator[str]:
    """The rows as Markdown; ``repeats`` are the runs of which the median counts."""
    peak = matmul(device, repeats, matmul_size)
    card = torch.cuda.get_device_name() if device.type == "cuda" else ""
    sheet = next((value for name, value in PEAK.items() if name in card), None)
    yield f"A product of two bf16 matrices of size {matmul_size} runs at {peak / 1e12:.3g} TFLOP/s here.\n"
    yield f"| {' | '.join(COLUMNS)} |\n" + "|---" * len(COLUMNS) + "|"
    for case in cases:
        for name, samples, run, flops, in_a_row in (*training(case, device), *drawing(case, device)):
            seconds = median_seconds(run, device, repeats, in_a_row)
            rate = flops / seconds
            cells = (
                f"{name}, {case}", f"{samples}", f"{seconds:.3g}", f"{samples / seconds:.3g}", f"{rate / 1e12:.3g}",
                f"{rate / peak:.0%}", f"{rate / sheet:.0%}" if sheet else "", busy(run, device),
            )  # fmt: skip
            yield f"| {' | '.join(cells)} |"


def races() -> Iterator[str]:
    """The rows of docs/benchmarks.md that a GPU has a part in, against the same peers."""
    yield f"\n{RACES}\n\n{HEAD}"
    for row in gpu_races.rows():
        yield from as_lines(row)


Measured = tuple[str, int, Callable[[], object], float, int]  # name, samples, run, its FLOP, how many in a row


def training(case: Case, device: torch.device) -> list[Measured]:
    """A step of the whole training loop: batch, noise, loss, gradients, optimiser, EMA."""
    denoiser = _denoiser(case, device)
    recipe = Recipe(
        STEPS, case.batch, learning_rate=1e-4, level_distribution=LogNormal(-0.5, 1.4), precision=case.precision
    )
    x = torch.randn(2 * case.batch, 1, *case.grid)
    steps = train(TrainingState(denoiser, recipe), x, {})
    next(steps)
    # three times the forward pass: the gradients of the weights and of the activations cost as much each
    return [("training step", case.batch, lambda: next(steps), 3 * forward_flops(denoiser, case, case.batch), 10)]


def drawing(case: Case, device: torch.device, steps: int = 16) -> list[Measured]:
    """A full tile of samples, noise and solver included; physgen draws in float32, whatever it has trained in."""
    denoiser = _denoiser(case, device).eval().requires_grad_(False)
    tile = tile_of((1, *case.grid), device.type)
    levels = log_uniform(100.0, 0.01, steps)

    def run() -> torch.Tensor:
        return sample(denoiser, levels, (tile, 1, *case.grid), 0, device=device)

    return [(f"{steps} levels in float32", tile, run, steps * forward_flops(denoiser, case, tile), 1)]


def _denoiser(case: Case, device: torch.device) -> FieldDenoiser:
    torch.manual_seed(0)
    network = UNet(len(case.grid), width=case.width, multipliers=(1, 2, 3))
    return FieldDenoiser(network, fit_spectrum(torch.randn(2, 1, *case.grid))).to(device)


def forward_flops(denoiser: FieldDenoiser, case: Case, samples: int) -> float:
    """Multiplications and additions of the convolutions and matrix products for so many samples.

    Counted where nothing is computed: kernels of ours and zeros that make up channels are no work of the model.
    """
    ghost = copy.deepcopy(denoiser).to("meta")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        ghost(torch.empty(1, 1, *case.grid, device="meta"), torch.ones(1, device="meta"))
    return float(samples * counter.get_total_flops())


def matmul(device: torch.device, repeats: int, size: int) -> float:
    """FLOP/s of a bf16 matrix product: what the device gives, not what its maker states."""
    a, b = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    return 2 * size**3 / median_seconds(lambda: a @ b, device, repeats, 10)


def median_seconds(run: Callable[[], object], device: torch.device, repeats: int, in_a_row: int) -> float:
    """Wall time of a run, of so many in a row after which the host waits; two unmeasured rounds come first."""
    times = []
    for i in range(repeats + 2):
        _wait(device)
        started = time.perf_counter()
        for _ in range(in_a_row):
            run()
        _wait(device)
        if i >= 2:
            times.append((time.perf_counter() - started) / in_a_row)
    return statistics.median(times)


def busy(run: Callable[[], object], device: torch.device) -> str:
    """Share of the wall time during which kernels run on the device, by the profiler; of a GPU alone."""
    if device.type != "cuda":
        return "not a GPU"
    count = 5
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
        _wait(device)
        started = time.perf_counter()
        for _ in range(count):
            run()
        _wait(device)
        wall = time.perf_counter() - started
    spans = [(e.time_range.start, e.time_range.end) for e in profiler.events() if e.device_type.name == "CUDA"]
    return f"{covered(spans) / (1e6 * wall):.0%}"


def covered(spans: Sequence[tuple[float, float]]) -> float:
    """Length of the union of intervals: kernels of several streams that overlap count once."""
    total, reached = 0.0, -float("inf")
    for start, end in sorted(spans):
        total += max(end - max(start, reached), 0.0)
        reached = max(reached, end)
    return total


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _head() -> str:
    return (
        "# Benchmarks on a GPU\n\nWritten by `python -m benchmarks.gpu` on "
        f"{datetime.date.today()}, commit {git_commit()}: {torch.cuda.get_device_name()}, torch {torch.__version__}. "
        "Medians of the wall time, of a training step of ten in a row; *of data sheet* is the model FLOP utilisation, "
        "of the dense bf16 rate that the maker states. FLOP are those of convolutions and matrix products, a training "
        "step three times "
        "the forward pass.\n"
    )


if __name__ == "__main__":
    main()
