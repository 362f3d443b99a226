"""Students of an exact teacher against closed forms: ``python -m benchmarks.students_exact [STEPS]`` (a minute).

The teacher is the exact denoiser of a mixture of two Gaussians, in one dimension and along the diagonal of eight. The
error is the W1 distance along the axis of the means, over the standard deviation there, from the law itself: in one
dimension of the image of 4001 quantiles of the start, without Monte Carlo error where nothing is renoised; in eight
of 16384 draws, beside the same figure for 16384 true ones. Networks start from zero, G = 0; that of consistency
training, which is a tuning, is trained to denoise for as many steps before.
"""

from __future__ import annotations

import math
import sys
import time

import torch
from torch import Tensor

from physgen.diffusion.distillation import METHODS, FlowMap, StudentState, teachers_way
from physgen.diffusion.exact import GaussianMixture
from physgen.diffusion.learning.denoisers import FieldDenoiser, LogUniform
from physgen.diffusion.learning.prior_spectrum import fit_spectrum
from physgen.diffusion.learning.training import Recipe, TrainingState, train
from physgen.diffusion.levels import log_uniform
from physgen.diffusion.sampling.samplers import SAMPLERS
from physgen.networks.mlp import MLP

OFFSET, VARIANCE = 0.8, 0.1
DEVIATION = math.sqrt(OFFSET**2 + VARIANCE)
COUNTS = {1: 4001, 8: 16384}
OWN = {"progressive": "flow_map", "mean_flow": "flow_map"}


def law(dimension: int) -> GaussianMixture:
    """Means at +-0.8 along the diagonal, variance 0.1 in every direction."""
    axis = torch.ones(1, dimension) / dimension**0.5
    return GaussianMixture(torch.cat([-OFFSET * axis, OFFSET * axis]), torch.full((2,), VARIANCE))


def quantiles(count: int) -> Tensor:
    """Of the law along the axis of the means."""
    x = torch.linspace(-3, 3, 60001, dtype=torch.float64)
    cdf = 0.5 * sum(torch.special.ndtr((x + m) / VARIANCE**0.5) for m in (-OFFSET, OFFSET))
    return x[torch.searchsorted(cdf, (torch.arange(count).double() + 0.5) / count)]


def distance(x: Tensor) -> float:
    """W1 along the axis of the means over the standard deviation there."""
    along = (x.sum(1) / x.shape[1] ** 0.5).double().sort().values
    return float((along - quantiles(len(along))).abs().mean()) / DEVIATION


def white(dimension: int, steps: int) -> tuple[Tensor, Tensor]:
    """The noise of the start and of the steps."""
    count, generator = COUNTS[dimension], torch.Generator().manual_seed(5)
    if dimension == 1:
        start = torch.special.ndtri((torch.arange(count).double() + 0.5) / count).float()[:, None]
    else:
        start = torch.randn(count, dimension, generator=generator)
    return start, torch.randn(steps, count, dimension, generator=generator)


def drawn(denoiser: object, sampler: str, levels: Tensor, dimension: int) -> Tensor:
    """Samples from the noise that all share."""
    start, noise = white(dimension, len(levels))
    solver = SAMPLERS[sampler].of(denoiser)
    with torch.no_grad():
        return solver(denoiser, levels, solver.start(start, float(levels[0])), None, lambda i: noise[i])


def student(dimension: int, exact: GaussianMixture, x: Tensor, steps: int = 0) -> FlowMap:
    """The untrained student: G = 0, or after so many steps of denoising, which a tuning starts from."""
    torch.manual_seed(0)
    denoiser = FieldDenoiser(MLP(dimension, width=32, blocks=2), fit_spectrum(x[:4096]))
    if steps:
        state = TrainingState(denoiser, Recipe(steps, 128, 3e-3, 1, LogUniform(0.03, 6.0), warmup=20))
        for _ in train(state, x):
            pass
        denoiser = state.ema
    made = FlowMap.of(denoiser).requires_grad_(True)
    ln_s = torch.linspace(math.log(0.03), math.log(6), 17, dtype=torch.float64)
    noise = torch.randn(17, 512, dimension, generator=torch.Generator().manual_seed(1))
    way = teachers_way(exact, made.frame, x[:512], ln_s.exp(), lambda i: noise[i])
    made.lay_out(ln_s, way / way[-1] + torch.linspace(0, 0.5, 17))
    return made


def rows(dimension: int, steps: int) -> None:
    """Print the rows of a dimension."""
    exact = law(dimension)
    x = exact.sample(16384, torch.Generator().manual_seed(2))
    evaluations = (1, 2, 4, 8)
    found = [f"{100 * distance(drawn(exact, 'modal_4m', log_uniform(6, 0.03, n), dimension)):.2f}" for n in (4, 8)]
    print(f"| {dimension} | teacher, modal_4m | | | {' | '.join(found)} | |")
    start = student(dimension, exact, x)
    found = [f"{100 * distance(drawn(start, 'flow_map', start.levels(n), dimension)):.2f}" for n in evaluations]
    print(f"| {dimension} | start, G = 0 | {' | '.join(found)} | |")
    for method in METHODS:
        began = time.process_time()
        made = student(dimension, exact, x, steps if method == "consistency_training" else 0)
        recipe = Recipe(steps, 128, 3e-3, 1, made.level_at, warmup=20)
        state = StudentState(METHODS[method](made, exact, 4), recipe)
        for _ in train(state, x):
            pass
        cost = time.process_time() - began
        counts = [4] if method == "progressive" else evaluations
        sampler = OWN.get(method, "consistency")
        found = {n: distance(drawn(state.ema, sampler, state.ema.levels(n), dimension)) for n in counts}
        cells = " | ".join(f"{100 * found[n]:.2f}" if n in found else "" for n in evaluations)
        print(f"| {dimension} | {method} | {cells} | {cost:.1f} |", flush=True)
    if dimension > 1:
        other = exact.sample(COUNTS[dimension], torch.Generator().manual_seed(9))
        print(f"| {dimension} | as many true draws | {' | '.join([f'{100 * distance(other):.2f}'] * 4)} | |")


if __name__ == "__main__":
    torch.set_num_threads(1)
    print("| dimension | drawn by | 1 | 2 | 4 | 8 | CPU s |\n| --- | --- | --- | --- | --- | --- | --- |")
    for size in (1, 8):
        rows(size, int(sys.argv[1]) if len(sys.argv) > 1 else 400)
