"""Sampling: what a tile, the levels and the loop cost beside the network itself; growth over the number of samples.

The network is the demo's U-Net (width 16, levels 1, 2, 3) in its Wiener preconditioning, filled with noise: how long
it takes does not depend on what it has learned. Peers get the same network, the same start and the same noise levels,
so that a ratio above 1 is the loop around the network.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from benchmarks.speed.row import Row, growth, race
from physgen.diffusion.discretization.check import candidate_levels, convergence
from physgen.diffusion.learning.denoisers import FieldDenoiser
from physgen.diffusion.learning.prior_spectrum import fit_spectrum
from physgen.diffusion.levels import log_uniform
from physgen.diffusion.sampling.samplers import sample
from physgen.diffusion.sampling.tiles import tile_of
from physgen.networks.unet import UNet

S_MAX, S_MIN = 100.0, 0.01
STEPS = 8


def rows() -> Iterator[Row]:
    denoiser, condition = demo(32)
    levels = log_uniform(S_MAX, S_MIN, STEPS)
    yield fitting(denoiser, condition, levels)
    yield peers(denoiser, condition, levels)
    yield check(denoiser, condition)
    wanted = {n: functools.partial(draw, denoiser, condition, levels, n) for n in (1, 16, 64, 128)}
    yield growth(f"n fields of 32^2, {STEPS} levels", "n", wanted, "linear from a full tile on")
    for cells in (32, 64, 128):
        yield tiles(cells)


def demo(cells: int) -> tuple[FieldDenoiser, Tensor]:
    torch.manual_seed(0)
    network = UNet(2, labels=2, width=16, multipliers=(1, 2, 3))
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    x, labels = torch.randn(64, 1, cells, cells), torch.rand(256, 2) * 2 - 1
    return FieldDenoiser(network, fit_spectrum(x, labels[:64])).eval().requires_grad_(False), labels


def draw(denoiser: FieldDenoiser, labels: Tensor, levels: Tensor, n: int, tile: int | None = None) -> Tensor:
    shape = (n, 1, *denoiser.spectrum.grid)
    return sample(denoiser, levels, shape, 0, {"labels": labels[:n]}, "dpmpp_2m", tile=tile)


def fitting(denoiser: FieldDenoiser, labels: Tensor, levels: Tensor) -> Row:
    """A small request in the tile of the lattice, in one that fits it, and the evaluations of the network alone."""
    y, s = torch.randn(16, 1, 32, 32), torch.ones(16)

    def network() -> None:
        with torch.no_grad():
            for _ in range(STEPS):
                denoiser.network(y, s, {"labels": labels[:16]})

    runs: dict[str, Callable[[], object]] = {
        "physgen": functools.partial(draw, denoiser, labels, levels, 16),
        "fitting tile": functools.partial(draw, denoiser, labels, levels, 16, 16),
        "network alone": network,
        "tile of 64, as before": functools.partial(draw, denoiser, labels, levels, 16, 64),
    }
    return race(f"16 fields of 32^2, {STEPS} levels", runs, "<= 1.2 x the fitting tile", repeats=9)


def peers(denoiser: FieldDenoiser, labels: Tensor, levels: Tensor) -> Row:
    start, condition = torch.randn(16, 1, 32, 32) * S_MAX, {"labels": labels[:16]}
    runs: dict[str, Callable[[], object] | None] = {
        "physgen": lambda: sample(denoiser, levels, (16, 1, 32, 32), 0, condition, "euler", start=start),
        "azula": azula(denoiser, condition, start),
        "diffusers": diffusers(denoiser, condition, start, levels),
    }
    note = "Euler (DDIM) steps of one network; azula on its own log-uniform levels of the same ends"
    return race(f"16 fields of 32^2, {STEPS} Euler steps, same network", runs, "<= 1", repeats=9, note=note)


def azula(denoiser: FieldDenoiser, condition: dict[str, Tensor], start: Tensor) -> Callable[[], object] | None:
    try:
        from azula.denoise import Denoiser, DiracPosterior
        from azula.noise import VESchedule
        from azula.sample import DDIMSampler
    except ImportError:
        return None

    class Wrapped(Denoiser):
        """Our D(y, s) under the interface of azula."""

        def __init__(self) -> None:
            super().__init__()
            self.schedule = VESchedule(S_MIN, S_MAX)

        def forward(self, x_t: Tensor, t: Tensor, **_: object) -> DiracPosterior:
            sigma = self.schedule.sigma(t)
            return DiracPosterior(denoiser(x_t, sigma.expand(len(x_t)), condition))

    sampler = DDIMSampler(Wrapped(), steps=STEPS, silent=True)
    return lambda: sampler(start)


def diffusers(
    denoiser: FieldDenoiser, condition: dict[str, Tensor], start: Tensor, levels: Tensor
) -> Callable[[], object] | None:
    try:
        from diffusers import EulerDiscreteScheduler
    except ImportError:
        return None

    def run() -> Tensor:
        scheduler = EulerDiscreteScheduler(prediction_type="sample")
        scheduler.set_timesteps(STEPS)
        scheduler.sigmas = levels.float()  # its own schedule replaced: the levels are given
        y = start
        with torch.no_grad():
            for i, t in enumerate(scheduler.timesteps):
                scheduler.is_scale_input_called = True  # our denoiser scales its input
                y = scheduler.step(denoiser(y, levels[i].float().expand(len(y)), condition), t, y).prev_sample
        return y

    return run


def check(denoiser: FieldDenoiser, labels: Tensor) -> Row:
    """What a training pays once for its levels, beside as many draws: the check of 8 levels on 32^2."""
    spectra, ends = denoiser.spectrum({"labels": torch.zeros(1, 2)}).double(), (S_MIN, S_MAX)

    def whole() -> None:
        candidates = candidate_levels(spectra, STEPS, "dpmpp_2m", ends, ends)
        condition = {"labels": labels[:8]}
        convergence(denoiser, candidates, (8, 1, 32, 32), 0, ends=(S_MAX, S_MIN), condition=condition, tile=8)

    levels = log_uniform(S_MAX, S_MIN, STEPS)
    runs = {"physgen": whole, "drawing 16 fields": functools.partial(draw, denoiser, labels, levels, 16)}
    return race(f"check of {STEPS} levels, 32^2, once after training", runs, "nothing to a request", repeats=3)


def tiles(cells: int) -> Row:
    """CPU time of one evaluation a sample over the tile, for the rule of tile_of."""
    denoiser, labels = demo(cells)
    chosen = tile_of((1, cells, cells))
    sizes = [tile for tile in (2, 4, 8, 16, 32, 64, 128) if tile * cells**2 <= 2**17]
    most = max(sizes)

    def evaluations(tile: int) -> Callable[[], object]:
        y, s, condition = torch.randn(tile, 1, cells, cells), torch.ones(tile), {"labels": labels[:tile]}

        def run() -> None:
            with torch.no_grad():
                for _ in range(most // tile):
                    denoiser(y, s, condition)

        return run

    runs = {f"physgen, tile {chosen}": evaluations(chosen)}
    runs |= {f"tile {tile}": evaluations(tile) for tile in sizes if tile != chosen}
    work = f"U-Net of width 16 on {most} fields of {cells}^2, in tiles"
    return race(work, runs, "within 20 % of the best tile", repeats=5)
