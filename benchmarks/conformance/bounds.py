"""Bounds of ln p in their order, VLB <= weighted over K reversed paths <= exact: exact laws and trained networks."""

import math
import tempfile
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.conformance.row import Row
from physgen.config import load_config
from physgen.diffusion.exact import CurieWeiss, EnumeratedIsing, GaussianField, GaussianMixture, IsingRing
from physgen.diffusion.exact.atoms import enumerate_spins
from physgen.diffusion.inference.masked_orders import masked_bounds
from physgen.diffusion.inference.reverse_kernels import Ancestral, FourierCovariance, SpinMixture
from physgen.diffusion.inference.reversed_paths import chain_bounds
from physgen.diffusion.levels import log_uniform
from physgen.diffusion.masked import from_denoiser
from physgen.diffusion.noise import generator_for, noise_like
from physgen.runs.folder import open_run
from physgen.runs.model import load_model
from physgen.stages import simulate, train
from physgen.stages.encoded_data import encoded_data, limited
from physgen.stages.likelihood_methods import Measurement
from physgen.stages.likelihood_options import LikelihoodOptions

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
COUNT, PATHS, S_MIN = 300, 64, 0.1


def standing(difference):
    """Mean of (N,), and its standard error."""
    return float(difference.mean()), float(difference.std()) / math.sqrt(len(difference))


def ordered(where, found, exact, law, cost, counts=(1, 4, 16, 64)):
    """A row for each number of paths: its mean beside the exact one, the error that of the paired difference.

    Kept: it is above the bound with fewer paths, and below the exact one, both within three standard errors.
    """
    below = None
    for paths in counts:
        bound = found.importance(paths)
        _, error = standing(exact - bound)
        kept = float((exact - bound).mean()) > -3 * error
        if below is not None:
            grown, spread = standing(bound - below)
            kept = kept and grown > -3 * spread
        name = f"{where}: " + ("VLB" if paths == 1 else f"{paths} paths") + ", mean ln p, nats"
        yield Row("bounds", name, law, float(bound.mean()), float(exact.mean()), error, kept, cost=f"{paths * cost}")
        below = bound


def field(grid):
    k = torch.fft.fftfreq(grid, dtype=torch.float64) * grid
    return GaussianField((10 / (1 + k.square()))[None])


def density_rows():
    means = torch.tensor([[1.5, 0, 0, 0], [-1, 1, 0, 0.5], [0, -2, 0, -0.5]]).double()
    mixture, gaussian = GaussianMixture(means, torch.full((3,), 0.2).double()), field(32)
    name = "mixture in 4-D, ancestral"
    cases = (
        (name, mixture, Ancestral(), 20, 16), (name, mixture, Ancestral(), 20, 64),
        ("Gaussian field 32, ancestral", gaussian, Ancestral(), 40, 64),
        ("Gaussian field 32, Fourier covariance", gaussian, FourierCovariance(gaussian), 40, 4),
    )  # fmt: skip
    for name, law, kernel, s_max, steps in cases:
        x = law.sample(COUNT, generator_for(0, "draw", 0)).double()
        y = x + S_MIN * noise_like(0, "noise", range(COUNT), tuple(x.shape[1:]), dtype=torch.float64)
        exact = law.log_density(y, torch.tensor(S_MIN, dtype=torch.float64))
        levels = log_uniform(s_max, S_MIN, steps + 1)[:-1]
        found = chain_bounds(law, kernel, levels, y, PATHS, 1, dtype=torch.float64)
        where = f"{name}, {steps} steps"
        if isinstance(kernel, FourierCovariance):
            gap = float((found.log_weight - exact).abs().max())
            yield Row(
                "bounds",
                f"{where}: largest distance of ln w from ln p",
                "every path is exact",
                gap,
                0,
                1e-8,
                gap < 1e-8,
            )
        else:
            yield from ordered(where, found, exact, "closed form, y = x + 0.1 z", steps)


def spin_rows():
    ring, mean_field = (
        IsingRing(noise_like(1, "bonds", [0], (16,))[0].double().sign(), 0.7, (1, 16)),
        CurieWeiss(1.2, (1, 16)),
    )
    for name, law, shape in (
        ("+-J ring, N = 16", ring, (1, 16)),
        ("Curie-Weiss, N = 16, beta = 1.2", mean_field, (1, 16)),
    ):
        x = law.sample(COUNT, generator_for(2, "draw", 0)).double().reshape(-1, *shape)
        exact = law.log_probability_of_known(x)
        for steps in (8, 32):
            levels = torch.cat([log_uniform(10, 0.35, steps)[:-1], torch.zeros(1, dtype=torch.float64)])
            found = chain_bounds(law, SpinMixture(), levels, x, PATHS, 3, readout="bernoulli", dtype=torch.float64)
            yield from ordered(f"{name}, {steps} steps", found, exact, "ln P(S), closed form", steps)


def masked_rows():
    """A model whose law is known by all its orders."""

    def poor(x, u, condition=None):
        return 0.9 * x.roll(1, -1) - 0.4 * x.roll(-1, -1) + 0.2

    states = enumerate_spins(4).double()[:, None]
    found = masked_bounds(poor, states.repeat(COUNT, 1, 1), 16, 4)
    p = found.importance(16).reshape(COUNT, -1).exp().sum(1)
    value, error = standing(p)
    kept = abs(value - 1) < 3 * error
    yield Row("bounds", "masked, poor model, N = 4: sum of P(S), 16 orders", "one", value, 1, error, kept, cost="64")
    log_weight = 0.5 * states[:, 0].sum(1) + states[:, 0, 0] * states[:, 0, 2]
    exact, law = torch.log_softmax(log_weight, 0), from_denoiser(EnumeratedIsing(log_weight, (1, 4)))
    gap = float((masked_bounds(law, states, 4, 5).log_weight - exact).abs().max())
    name = "masked, exact model, N = 4: largest distance of ln q of an order from ln P"
    yield Row("bounds", name, "every order is exact", gap, 0, 1e-9, gap < 1e-9)


TRAINED = {
    "points": ["training.log_every=500"],
    "spins": ["data.length=3", "data.instances=60", "training.steps=600", "training.batch_size=64",
              "training.learning_rate=3e-3", "network={kind: message_passing, width: 16, depth: 3}",
              "data.temperatures=[1.0 J, 2.0 J]", "training.validate_every=600", "training.checkpoint_every=600"],
}  # fmt: skip
SETTINGS = {"points": ("demo", 200, 32), "spins": ("smoke", None, 12)}  # configuration, limit, steps
REFERENCE = 512


def trained_run(domain, folder):
    words = ["tracking.uri=off", f"dataset={folder / 'data.h5'}", *TRAINED[domain]]
    asked = load_config(CONFIGS / domain / f"{SETTINGS[domain][0]}.yaml", words)
    simulate(asked, folder / "data.h5")
    return open_run(train(asked, folder / "runs", device="cpu"))


def trained_rows(domain, folder):
    run, (_, limit, steps) = trained_run(domain, folder), SETTINGS[domain]
    model = load_model(run.folder / "model", "cpu")
    data = encoded_data(run, model, run.open_part("test"))
    data = limited(data, limit) if domain == "points" else data
    plan = LikelihoodOptions("all", steps=steps, paths=PATHS + REFERENCE)
    measured = Measurement(run, model, data, plan)
    where, chain = f"trained on {domain}, {len(data.x)} test configurations", measured.chain
    found, many = (replace(chain, log_weight=w) for w in chain.log_weight.split([PATHS, REFERENCE]))
    exact = many.importance()
    left = float(0.5 * many.importance_error().square().mean())
    law = f"{REFERENCE} other paths, about {left:.1g} below ln p of this chain"
    yield from ordered(f"{where}, {steps} steps", found, exact, law, steps)
    if not measured.is_discrete:
        yield from ancestral_rows(
            where, replace(measured, plan=replace(plan, kernel="ancestral", paths=PATHS)).chain, exact, steps
        )
    methods = "law" if measured.is_discrete else "flow,bound,law"
    for one in replace(measured, plan=replace(plan, method=methods, steps=None)).estimates():
        nats, is_law = torch.from_numpy(one.ln_p), one.method == "law"
        above, error = standing(nats - exact)
        error = math.hypot(error, one.shared)
        name, law = f"{where}: {one.method}, mean ln p, nats", "at least" if is_law else "another law than"
        yield Row(
            "bounds", name, f"{law} ln p of the chain", float(nats.mean()), float(exact.mean()), error,
            above > -3 * error if is_law else None, cost=one.cost,
        )  # fmt: skip
    if domain == "spins":
        yield from every_state_rows(measured)


def ancestral_rows(where, chain, exact, steps):
    """DDPM's chain of as many steps, and its two numbers."""
    _, error = standing(exact - chain.variational)
    name, law = f"{where}, {steps} ancestral steps (DDPM): VLB, mean ln p, nats", "below ln p of the other chain"
    kept = float((exact - chain.variational).mean()) > -3 * error
    yield Row(
        "bounds", name, law, float(chain.variational.mean()), float(exact.mean()), error, kept, cost=f"{steps}"
    )  # fmt: skip
    for part in ("rate", "distortion"):
        value, error = standing(getattr(chain, part))
        yield Row("bounds", f"the same VLB: {part}, nats", "stated", value, value, error, None, cost=f"{steps}")


def every_state_rows(measured):
    """All 2^9 states in the couplings of one sample: what the weights estimate is a probability."""
    states = enumerate_spins(9).reshape(-1, 1, 3, 3).float()
    condition = {
        name: value[:1].expand(len(states), *value.shape[1:]) for name, value in measured.data.condition.items()
    }
    data = replace(measured.data, x=states, condition=condition)
    chain = replace(measured, data=data, plan=replace(measured.plan, seed=2, paths=24)).chain
    totals = chain.log_weight.exp().sum(1)
    value, error = standing(totals)
    kept = abs(value - 1) < 3 * error
    yield Row(
        "bounds", "the same network: sum of P(S) of its chain over 2^9 states", "one", value, 1, error, kept, cost="288"
    )


def rows():
    yield from density_rows()
    yield from spin_rows()
    yield from masked_rows()
    for domain in TRAINED:
        with tempfile.TemporaryDirectory() as folder:
            yield from trained_rows(domain, Path(folder))
