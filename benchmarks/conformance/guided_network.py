"""Guidance of a trained network: plain and exact draws beside the guided law of the mixture that it learned."""

import torch

from benchmarks.conformance.guidance import BIMODAL, UPPER, by_quadrature, estimate, mixture
from benchmarks.conformance.row import Row
from physgen.diffusion.inference.guidance import Product, classifier_free, with_condition
from physgen.diffusion.learning.denoisers import FieldDenoiser, LogUniform
from physgen.diffusion.learning.training import Recipe, TrainingState, train
from physgen.diffusion.levels import log_uniform
from physgen.diffusion.sampling.samplers import sample
from physgen.networks.mlp import MLP

LOWER, COUNT, DROPOUT = mixture([-0.7], [0.2], [1.0]), 2**15, 0.2
CLASSES = {"upper": (1.0, UPPER), "lower": (-1.0, LOWER)}
DRAWN, TRAINING_STEPS = 10000, 4000
PARTICLES, STEPS = 1000, 60  # of each population


def trained():
    """A network of the mixture and of its two classes, the label left out in a fifth of the samples."""
    generator = torch.Generator().manual_seed(0)
    label = torch.where(torch.rand(COUNT, 1, generator=generator) < 0.7, 1.0, -1.0)
    x = 0.7 * label[..., None] + 0.2**0.5 * torch.randn(COUNT, 1, 1, generator=generator)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        denoiser = FieldDenoiser(MLP(1, labels=1, width=64, blocks=2), sigma_data=float(x.std()))
    recipe = Recipe(
        TRAINING_STEPS, 256, 2e-3, level_distribution=LogUniform(0.02, 20.0), label_dropout=DROPOUT
    )  # fmt: skip
    state = TrainingState(denoiser, recipe)
    for _ in train(state, x, {"labels": label}):
        pass
    return state.ema.double()


def plain(guided):
    """Mean, variance and P(x > 0) of DPM-Solver++ on the guided score, and their standard errors."""
    x = sample(guided, log_uniform(20, 0.02, STEPS), (DRAWN, 1, 1), 0, tile=DRAWN, dtype=torch.float64)[:, 0, 0]
    mean, variance, above = x.mean(), x.var(), (x > 0).double().mean()
    fourth = ((x - mean) ** 4).mean()
    errors = (variance / DRAWN, (fourth - variance**2) / DRAWN, above * (1 - above) / DRAWN)
    return [float(v) for v in (mean, variance, above)], [float(e) ** 0.5 for e in errors]


def guided_by(network, label, strength):
    """The guided denoiser of the network, labels fixed in it: W = 1 + strength."""
    here, none = ({"labels": torch.full((1, 1), value).double()} for value in (label, torch.nan))
    if strength == 0:
        return Product((with_condition(network, here),), (1.0,))
    return classifier_free(with_condition(network, here), with_condition(network, none), strength)


def rows():
    network = trained()
    law = "p(x|c)^W p(x)^(1-W), quadrature"
    for name, (label, conditional) in CLASSES.items():
        for strength in (0.0, 0.5, 1.0, 2.0):
            exact = by_quadrature((conditional, BIMODAL), (1 + strength, -strength))
            guided = guided_by(network, label, strength)
            (biased, spread), (value, error) = plain(guided), estimate(guided, particles=PARTICLES, steps=STEPS)
            for i, what in enumerate(("mean", "variance", "P(x > 0)")):
                said = f"trained network, {name} class, W = {1 + strength:g}"
                cost = f"{STEPS} evaluations"
                yield Row("guidance", f"{said}, plain: {what}", law, biased[i], exact[i], spread[i], None, None, cost)
                # what is left is the error of the network, which the exponent W multiplies
                allowed = max(4 * error[i], 0.5 * abs(biased[i] - exact[i]))
                kept = abs(value[i] - exact[i]) < allowed if strength else None
                whole = f"{said}, exact: {what} (kept: within 4 errors, or half the bias of plain)"
                yield Row("guidance", whole, law, value[i], exact[i], error[i], kept, None, f"{2 * STEPS} evaluations")
