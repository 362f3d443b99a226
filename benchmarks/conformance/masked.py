"""Masked diffusion of spins against enumeration."""

import math

import torch

from benchmarks.conformance.row import Row
from physgen.diffusion.exact import EnumeratedIsing
from physgen.diffusion.exact.atoms import enumerate_spins
from physgen.diffusion.inference.weight_statistics import reweighted_mean, summarise_weights
from physgen.diffusion.masked import from_denoiser, log_probability, sample_masked
from physgen.diffusion.noise import generator_for, noise_like

SHAPE, SITES, COUNT = (1, 3, 3), 9, 8000


def glass(beta):
    """-beta E of the 2^9 states of a Gaussian spin glass on a 3 x 3 torus in a weak random field."""
    numbers = noise_like(0, "conformance masked", [0], (3, SITES), dtype=torch.float64)[0]
    grid = torch.arange(SITES).reshape(3, 3)
    states = enumerate_spins(SITES).double()
    log_weight = 0.3 * states @ numbers[2]
    for axis in (0, 1):
        log_weight = log_weight + (states * states[:, grid.roll(-1, axis).flatten()]) @ numbers[axis]
    return states, beta * log_weight


def blind(x, u, condition=None):
    """A poor model: a mean field of the sites known so far."""
    return 0.2 * x.flatten(1).sum(1).reshape(-1, 1, 1, 1).expand_as(x)


def rows():
    for beta in (0.5, 1.0):
        states, minus_energy = glass(beta)
        log_Z, law = float(torch.logsumexp(minus_energy, 0)), EnumeratedIsing(minus_energy, SHAPE)
        exact, p = from_denoiser(law), torch.softmax(minus_energy, 0)
        where = f"3 x 3 glass, beta = {beta}"
        order = torch.randperm(SITES, generator=generator_for(1, "order", 0))
        for name, model, steps in (("exact model", exact, None), ("poor model", blind, None), ("poor model", blind, 3)):
            found = log_probability(model, states.reshape(-1, *SHAPE), order, steps=steps)
            total = float(torch.logsumexp(found, 0))
            title, kept = f"{name}, {steps or SITES} steps, {where}: ln sum of q(S|order)", abs(total) < 1e-12
            yield Row("masked", title, "0, sum over 2^9 states", total, 0, 1e-12, kept)
        gap = float((log_probability(exact, states.reshape(-1, *SHAPE), order) - minus_energy + log_Z).abs().max())
        yield Row("masked", f"exact model, {where}: log q", "Boltzmann, all states", gap, 0, 1e-9, gap < 1e-9)
        drawn = sample_masked(exact, (COUNT, *SHAPE), seed=2, tile=COUNT)
        number = ((drawn.x.flatten(1) < 0) * 2 ** torch.arange(SITES)).sum(1)
        energy, spins = -minus_energy[number] / beta / SITES, drawn.x.flatten(1).mean(1)
        for what, values, all_values in (
            ("energy per spin", energy, -minus_energy / beta / SITES),
            ("magnetisation", spins, states.mean(1)),
        ):
            value, error = float(values.mean()), float(values.std()) / math.sqrt(COUNT)
            expected = float(p @ all_values)
            kept = abs(value - expected) < 4 * error
            title = f"exact model, {where}: {what}"
            yield Row("masked", title, "enumeration", value, expected, error, kept, None, f"{SITES}")
        yield from weight_rows(where, states, minus_energy, log_Z)


def weight_rows(where, states, minus_energy, log_Z):
    p = torch.softmax(minus_energy, 0)
    for steps in (SITES, 3):
        drawn = sample_masked(blind, (COUNT, *SHAPE), seed=3, steps=steps, tile=COUNT)
        number = ((drawn.x.flatten(1) < 0) * 2 ** torch.arange(SITES)).sum(1)
        log_weight = minus_energy[number] - drawn.log_probability
        found = summarise_weights(log_weight)
        name = f"poor model, {steps} steps, {where}, ESS {found.effective_fraction:.2f}"
        kept = abs(found.log_Z - log_Z) < 4 * found.log_Z_error
        yield Row(
            "masked", f"{name}: ln Z", "enumeration", found.log_Z, log_Z, found.log_Z_error, kept, None, f"{steps}"
        )
        value, error = reweighted_mean(states.mean(1)[number], log_weight)
        expected = float(p @ states.mean(1))
        kept = abs(float(value) - expected) < 4 * float(error)
        title = f"{name}: reweighted magnetisation"
        yield Row("masked", title, "enumeration", float(value), expected, float(error), kept, None, f"{steps}")
