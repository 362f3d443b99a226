"""Chosen noise levels and their safeguard on a trained network: lognormal fields, samples against much finer levels."""

import math
from collections.abc import Iterator

import torch

from benchmarks.conformance.row import Row
from benchmarks.conformance.trained_symmetry import lognormal_fields, train_denoiser
from physgen.diffusion.discretization.check import candidate_levels, convergence, most_converged
from physgen.diffusion.learning.denoisers import FieldDenoiser, LogUniform
from physgen.diffusion.learning.prior_spectrum import fit_spectrum
from physgen.diffusion.learning.training import Recipe
from physgen.networks.unet import UNet

TRAINED, TRIED, COUNT, SHAPE = 500, 16, 32, (1, 32, 32)


def rows() -> Iterator[Row]:
    x = lognormal_fields(1024, torch.Generator().manual_seed(0))
    spectrum = fit_spectrum(x)
    power = spectrum.ln_power.exp().double()
    # of the training and of the fine levels: wider than those of any candidate
    ends = 30 * float(power.max().sqrt()), 0.03 * float(power.min().sqrt())
    with torch.random.fork_rng():
        torch.manual_seed(0)
        denoiser = FieldDenoiser(UNet(2, width=16, multipliers=(1, 2, 3)), spectrum)
    law = LogUniform(ends[1], ends[0])
    recipe = Recipe(TRAINED, batch_size=16, learning_rate=2e-3, warmup=30, level_distribution=law)
    denoiser = train_denoiser(denoiser, x, recipe, turned=True)
    for steps in (10, 16):
        candidates = candidate_levels(power, steps)
        picked = most_converged(convergence(denoiser, candidates, (TRIED, *SHAPE), 7, ends=ends))
        found = convergence(denoiser, candidates, (COUNT, *SHAPE), 0, ends=ends)
        for name, measured in found.items():
            distance = f"mean distance {measured.distance:.2g}({measured.distance_error:.1g})"
            yield Row(
                "trained levels", f"dpmpp_2m, {name}: largest error of P(k); {distance}",
                "levels eight times finer, same network and noise", measured.power, 0.0, measured.power_error, None,
                cost=f"{steps} evaluations",
            )  # fmt: skip
        even, taken = found["log-uniform"], found[picked]
        error = math.hypot(*(max(f.power_error, 2 * f.distance_error) for f in (taken, even)))
        name = f"safeguard on {TRIED} samples takes {picked}: max(error of P, 2 distance) on {COUNT} others"
        yield Row(
            "trained levels", name,
            "not above that of log-uniform", taken.worst, even.worst, error, taken.worst <= even.worst + error,
            cost=f"{steps} evaluations",
        )  # fmt: skip
