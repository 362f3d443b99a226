"""Path weights: ln Z and reweighted means at few steps, where the plain samples are biased."""

import math

import torch

from benchmarks.conformance.row import Row
from physgen.diffusion.exact import GaussianField, GaussianMixture, IsingRing, phi4_site
from physgen.diffusion.inference.path_weights import noising_log_weight, weighted_sample
from physgen.diffusion.inference.reverse_kernels import (
    Ancestral,
    EulerMaruyama,
    FourierCovariance,
    LocalCovariance,
    SpinMixture,
)
from physgen.diffusion.inference.weight_statistics import independence_metropolis, reweighted_mean, summarise_weights
from physgen.diffusion.levels import log_uniform
from physgen.diffusion.noise import generator_for, noise_like

BETA, SITES = 0.7, 32
COUPLINGS = noise_like(0, "weights", [0], (SITES,), dtype=torch.float64)[0].sign()
RING = IsingRing(COUPLINGS, BETA, (1, SITES))
RANGE = 6.0, 0.45  # the start knows the variance of a spin, the read-out its mean: no levels are wasted on either
WIDE_RANGE = math.sqrt(math.expm1(8)), math.sqrt(math.expm1(0.04))  # t_OU from 4 to 0.02
LEAST = {20: 0.08, 50: 0.35, 100: 0.63}
ZERO = torch.tensor(0.0, dtype=torch.float64)


def minus_energy(x):
    return (COUPLINGS * x[:, 0] * x[:, 0].roll(-1, 1)).sum(1)


def ring(kernel, levels, paths, seed):
    return weighted_sample(
        RING,
        kernel,
        levels,
        (paths, 1, SITES),
        seed,
        lambda x: BETA * minus_energy(x),
        readout="bernoulli",
        tile=2000,
        dtype=torch.float64,
    )


def log_z_row(name, found, expected, cost, within=3):
    z = (found.log_Z - expected) / found.log_Z_error
    law = f"ln Z; ESS {found.effective_fraction:.3f}, path KL {found.path_KL:.2f} nats"
    return Row("weights", name, law, found.log_Z, expected, found.log_Z_error, abs(z) < within, cost=cost)


def ring_rows():
    name = "+-J ring, N = 32, beta = 0.7"
    for steps, least in LEAST.items():
        paths = 4000 if steps < 100 else 2000
        label = f"{name}, local covariance, {steps} steps"
        yield from target_rows(label, LocalCovariance(), log_uniform(*RANGE, steps), paths, least)
        # the reference's own range of levels, where one Gaussian a spin has heavy tails
        label = f"{name}, spin mixture, {steps} steps, t from 4 to 0.02"
        yield from target_rows(label, SpinMixture(), log_uniform(*WIDE_RANGE, steps), 3 * paths, least)
    for label, kernel, levels in (
        ("spin mixture, 10 steps", SpinMixture(), log_uniform(*RANGE, 10)),
        ("spin mixture, 20 steps", SpinMixture(), log_uniform(*RANGE, 20)),
        ("local covariance, 50 steps, t from 4 to 0.02", LocalCovariance(), log_uniform(*WIDE_RANGE, 50)),
        ("averaged covariance, 20 steps", LocalCovariance(averaged=True), log_uniform(*RANGE, 20)),
        ("DDPM, 20 steps", Ancestral(), log_uniform(*RANGE, 20)),
    ):
        found = summarise_weights(ring(kernel, levels, 3000, 3).log_weight)
        yield log_z_row(f"{name}, {label}", found, RING.log_Z, f"3000 x {len(levels) - 1}")


def target_rows(label, kernel, levels, paths, least):
    """ln Z within two errors, and the effective fraction beside the least one asked for."""
    drawn, cost = ring(kernel, levels, paths, 3), f"{paths} x {len(levels) - 1}"
    found = summarise_weights(drawn.log_weight)
    yield log_z_row(label, found, RING.log_Z, cost, within=2)
    error, fraction = math.sqrt(blocks_variance(drawn.log_weight)), found.effective_fraction
    claim = f"at least {least}; ln Z off by {(found.log_Z - RING.log_Z) / found.log_Z_error:+.1f} errors"
    yield Row("weights", f"{label}: ESS", claim, fraction, least, error, fraction >= least, cost=cost)


def blocks_variance(log_weight, blocks=10):
    """Variance of the effective fraction from that of equal blocks."""
    parts = torch.stack([1 / (torch.softmax(part, 0).square().sum() * len(part)) for part in log_weight.chunk(blocks)])
    return float(parts.var()) / blocks


def energy_rows():
    levels, exact = log_uniform(*RANGE, 20), -SITES * math.tanh(BETA)
    drawn = ring(LocalCovariance(), levels, 4000, 3)
    energy = -minus_energy(drawn.x)
    error = float(energy.std()) / math.sqrt(len(energy))
    bias = float(energy.mean()) - exact
    name = "+-J ring, 20 steps, local covariance: energy"
    yield Row(
        "weights",
        f"{name}, plain",
        "for contrast: without weights it is biased",
        exact + bias,
        exact,
        error,
        bias > 5 * error,
    )
    mean, error = reweighted_mean(energy, drawn.log_weight)
    kept = abs(float(mean) - exact) < 3 * float(error)
    yield Row("weights", f"{name}, reweighted", "-N tanh beta", float(mean), exact, float(error), kept)
    states, accepted = independence_metropolis(drawn.log_weight, 4)
    chain = energy[states][len(states) // 20 :]
    parts = torch.stack([part.mean() for part in chain.chunk(20)])
    error = float(parts.std()) / math.sqrt(20)
    kept = abs(float(chain.mean()) - exact) < 3 * error
    law = f"-N tanh beta; {accepted:.0%} accepted"
    yield Row("weights", f"{name}, independence Metropolis", law, float(chain.mean()), exact, error, kept)
    x = RING.sample(4000, generator_for(5, "draw", 0))
    settings = {"readout": "bernoulli", "tile": 2000, "dtype": torch.float64}
    levels, target = log_uniform(*RANGE, 20), lambda x: BETA * minus_energy(x)
    upward = summarise_weights(-noising_log_weight(RING, LocalCovariance(), levels, x, 5, target, **settings))
    kept = abs(-upward.log_Z - RING.log_Z) < 3 * upward.log_Z_error
    name = "noised exact samples of the ring, 20 steps"
    yield Row("weights", name, "-ln E[1/w] = ln Z", -upward.log_Z, RING.log_Z, upward.log_Z_error, kept)


def field_rows():
    k = torch.fft.fftfreq(16, dtype=torch.float64) * 16
    power = 1 / (1 + k[:, None] ** 2 + k**2)
    law = GaussianField(200 * power[None], 0.3)
    for steps in (1, 3):
        levels = torch.tensor([20.0, 0.0]) if steps == 1 else log_uniform(20, 0.5, steps)
        drawn = weighted_sample(
            law,
            FourierCovariance(law),
            levels,
            (64, 1, 16, 16),
            6,
            lambda x: law.log_density(x, ZERO),
            dtype=torch.float64,
        )
        worst = float(drawn.log_weight.abs().max())
        name = f"Gaussian field 16^2, Fourier covariance, {steps} step{'s' * (steps > 1)}: largest |ln w|"
        yield Row("weights", name, "every weight is 1", worst, 0, 1e-6, worst < 1e-6, cost=f"64 x {steps}")
    means, weights = torch.tensor([-1.0, 1.0]).reshape(2, 1, 1).double(), torch.tensor([0.3, 0.7]).double()
    law = GaussianMixture(means, torch.tensor([0.05, 0.05]).double(), weights)
    for label, kernel in (("DDPM", Ancestral()), ("Euler-Maruyama", EulerMaruyama())):
        drawn = weighted_sample(
            law,
            kernel,
            log_uniform(8, 0.15, 12),
            (10000, 1, 1),
            7,
            lambda x: law.log_density(x, ZERO),
            tile=2000,
            dtype=torch.float64,
        )
        yield log_z_row(f"mixture in 1-D, {label}, 12 steps", summarise_weights(drawn.log_weight), 0.0, "10000 x 12")
        mean, error = reweighted_mean(drawn.x[:, 0, 0] ** 2, drawn.log_weight)
        kept = abs(float(mean) - 1.05) < 3 * float(error)
        name = f"mixture in 1-D, {label}, 12 steps: second moment, reweighted"
        yield Row("weights", name, "1.05", float(mean), 1.05, float(error), kept)


def sampler_rows():
    """Samplers by name: a step that remembers the last one, and a Langevin corrector."""
    means, weights = torch.tensor([-1.0, 1.0]).reshape(2, 1, 1).double(), torch.tensor([0.3, 0.7]).double()
    law, levels, exact = (
        GaussianMixture(means, torch.tensor([0.3, 0.3]).double(), weights),
        log_uniform(8, 0.4, 12),
        1.3,
    )
    options = {"tile": 2000, "dtype": torch.float64}
    for name in ("dpmpp_2m_sde", "predictor_corrector"):
        drawn = weighted_sample(law, name, levels, (10000, 1, 1), 7, lambda x: law.log_density(x, ZERO), **options)
        label = f"broad mixture in 1-D, {name}, 12 steps"
        yield log_z_row(label, summarise_weights(drawn.log_weight), 0.0, "10000 x 12")
        mean, error = reweighted_mean(drawn.x[:, 0, 0] ** 2, drawn.log_weight)
        kept = abs(float(mean) - exact) < 3 * float(error)
        yield Row("weights", f"{label}: second moment, reweighted", "1.3", float(mean), exact, float(error), kept)


def phi4_rows():
    law = phi4_site(1.0, -3.0, (1, 2))
    drawn = weighted_sample(
        law,
        Ancestral(),
        log_uniform(6, 0.15, 30),
        (2000, 1, 2),
        8,
        lambda x: -law.action(x).flatten(1).sum(1),
        tile=1000,
        dtype=torch.float64,
    )
    found = summarise_weights(drawn.log_weight)
    yield log_z_row("phi^4, two wells, two sites, DDPM, 30 steps", found, 2 * law.log_Z, "2000 x 30")


def rows():
    yield from ring_rows()
    yield from energy_rows()
    yield from field_rows()
    yield from sampler_rows()
    yield from phi4_rows()
