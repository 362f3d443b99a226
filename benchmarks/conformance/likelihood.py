"""Likelihood by the probability flow: exact trace, Hutchinson, adaptive, and the exact Jacobian of the discrete map."""

import math

import torch

from benchmarks.conformance.row import Row
from physgen.diffusion.exact import GaussianField, GaussianMixture, IsingRing
from physgen.diffusion.inference.likelihood import log_likelihood, sample_with_log_density
from physgen.diffusion.inference.weight_statistics import summarise_weights
from physgen.diffusion.levels import log_uniform
from physgen.diffusion.noise import generator_for, noise_like


def normal(*shape, seed=0):
    return noise_like(seed, "conformance likelihood", [0], shape, dtype=torch.float64)[0]


def field(*grid):
    k = torch.stack(torch.meshgrid(*[torch.fft.fftfreq(n, dtype=torch.float64) * n for n in grid], indexing="ij"))
    return GaussianField(10 / (1 + k.square().sum(0))[None], 0.3)


def laws():
    """Name, law, least noise level."""
    yield "Gaussian field 32", field(32), 0.1
    yield "Gaussian field 6^2", field(6, 6), 0.1
    yield "Gaussian field 3^3", field(3, 3, 3), 0.1
    factors = normal(3, 4, 4, seed=1)
    covariance = factors @ factors.mT / 8 + 0.05 * torch.eye(4).double()
    yield "mixture in 4-D", GaussianMixture(2 * normal(3, 1, 4, seed=2), covariance), 0.1
    yield "+-J ring, N = 16", IsingRing(normal(16, seed=3).sign(), 0.7, (1, 16)), 0.3


SETTINGS = {
    "RK4, exact trace": {"method": "rk4"},
    "Heun, exact trace": {"method": "heun"},
    "RK4, 24 Hutchinson probes": {"divergence": "hutchinson", "probes": 24},
    "Dormand-Prince, exact trace": {"method": "adaptive", "tolerance": 1e-5},
}


def closed_form_rows():
    n = 8
    for name, law, s_min in laws():
        x = law.sample(n, generator_for(4, "draw", 0)).double()
        y = x + s_min * normal(*x.shape, seed=4)
        exact = law.log_density(y, torch.tensor(s_min, dtype=torch.float64))
        for how, settings in SETTINGS.items():
            if law.__class__ is IsingRing and "hutchinson" in settings.values():
                continue  # slow on a recursion, nothing new
            found = log_likelihood(law, log_uniform(60, s_min, 49), y, **settings)
            value = float((found.nats - exact).mean())
            systematic = float((found.step_error + found.prior_error).mean())
            random = float(found.probe_error.square().sum().sqrt()) / n
            error = math.hypot(systematic, random)
            label = f"{name}, {how}: mean error of ln p, nats"
            kept = abs(value) < systematic + 3 * random
            yield Row("likelihood", label, "closed form", value, 0, error, kept, cost=f"{found.evaluations}")


def order_rows():
    law = GaussianMixture(2 * normal(3, 1, 4, seed=2), torch.tensor([0.1, 0.2, 0.3]).double())
    y = law.sample(16, generator_for(5, "draw", 0)).double()
    y = y + 0.1 * normal(*y.shape, seed=5)
    exact = law.log_density(y, torch.tensor(0.1, dtype=torch.float64))
    for method, order in (("heun", 2), ("rk4", 4)):
        errors = []
        for steps in (41, 81):
            found = log_likelihood(law, log_uniform(20, 0.1, steps), y, prior=law, method=method)
            errors.append(float((found.nats - exact).abs().mean()))
        slope = math.log2(errors[0] / errors[1])
        name = f"mixture in 4-D, {method}, exact trace: mean |error|, 80 steps"
        stated = float(found.step_error.mean())
        kept = errors[1] < stated and abs(slope - order) < 0.5
        yield Row("likelihood", name, f"order {order}", errors[1], 0, stated, kept, slope, str(found.evaluations))


def white_noise_row():
    n = 200
    law = GaussianField(torch.full((1, 8, 8), 0.99).double())
    found = log_likelihood(law, log_uniform(40, 0.1, 25), normal(n, 1, 8, 8, seed=6), batch=n)
    bits, error = found.mean_bits_per_dimension()
    expected = 0.5 * math.log2(2 * math.pi * math.e)
    kept = abs(bits - expected) < 3 * error
    return Row("likelihood", "white noise 8^2, bits per dimension", "log2(2 pi e)/2", bits, expected, error, kept)


def spin_rows():
    law = IsingRing(normal(9, seed=7).sign(), 1.0, (1, 9))
    for steps in (16, 32, 64):
        levels = log_uniform(20, 0.25, steps + 1)[:-1]
        x, log_density = sample_with_log_density(law, levels, (400, 1, 9), 8, tile=400)
        target = law.log_density(x, levels[-1]) + law.log_Z
        found = summarise_weights(target - log_density)
        kept = abs(found.log_Z - law.log_Z) < 2.5 * found.log_Z_error
        name, cost = f"+-J ring, N = 9, Heun, {steps} steps: ln Z", f"400 x {2 * steps} and the Jacobian"
        label = f"exact Jacobian; ESS {found.effective_fraction:.3f}"
        yield Row("likelihood", name, label, found.log_Z, law.log_Z, found.log_Z_error, kept, cost=cost)
        integral = log_likelihood(law, levels, x[:200], method="heun", batch=200)
        found = summarise_weights(target[:200] - integral.nats)
        bias = abs(found.log_Z - law.log_Z) / found.log_Z_error
        label = f"for contrast: divergence integral, biased; ESS {found.effective_fraction:.3f} is blind to it"
        yield Row(
            "likelihood", name, label, found.log_Z, law.log_Z, found.log_Z_error, bias > 3, cost=f"200 x {2 * steps}"
        )


def rows():
    yield from closed_form_rows()
    yield from order_rows()
    yield white_noise_row()
    yield from spin_rows()
