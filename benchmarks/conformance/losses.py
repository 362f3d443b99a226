"""Losses and heads: the minimiser of a quadratic loss against the exact denoiser; EMA of weights.

Each model is linear in its coefficients and holds the exact answer as the first of three functions, so its coefficient
must come out as 1, within the standard error over independent batches.
"""

import math

import torch
from torch import nn

from benchmarks.conformance.row import Row
from physgen.diffusion.convention import like
from physgen.diffusion.exact import GaussianMixture
from physgen.diffusion.learning.denoisers import LogUniform
from physgen.diffusion.learning.ema import PowerEMA, exponent_of, synthesize
from physgen.diffusion.learning.heads import PREDICTIONS, EnergyDenoiser, PredictionDenoiser
from physgen.diffusion.learning.losses import (
    ImplicitScoreMatching,
    LearnedWeight,
    SlicedScoreMatching,
    WeightedDenoising,
    likelihood_weight,
    min_snr_weight,
)
from physgen.diffusion.noise import generator_for, noise_like

LAWS = {
    "Gaussian": GaussianMixture(torch.zeros(1, 1, 2).double(), torch.tensor([[[2.0, 0.9], [0.9, 0.6]]]).double()),
    "mixture of 2": GaussianMixture(
        torch.tensor([[[1.0, 0.0]], [[-1.0, 0.8]]]).double(),
        torch.tensor([[[0.2, 0.1], [0.1, 0.3]], [[0.1, 0.0], [0.0, 0.4]]]).double(),
        torch.tensor([0.6, 0.4]).double(),
    ),
}
LOSSES = {
    "denoising": WeightedDenoising,
    "denoising, likelihood weight": lambda denoiser: WeightedDenoising(denoiser, likelihood_weight),
    "denoising, min-SNR": lambda denoiser: WeightedDenoising(denoiser, min_snr_weight()),
    "denoising, learned weight": lambda denoiser: LearnedWeight(denoiser).double(),
    "implicit, exact trace": ImplicitScoreMatching,
    "sliced, 1 projection": lambda denoiser: SlicedScoreMatching(denoiser, generator=torch.Generator().manual_seed(0)),
}


class Combination(nn.Module):
    """Sum of functions with coefficients to find."""

    def __init__(self, *functions):
        super().__init__()
        self.functions, self.coefficients = functions, nn.Parameter(torch.zeros(len(functions)).double())

    def forward(self, y, level, condition=None):
        return sum(c * function(y, level) for c, function in zip(self.coefficients, self.functions, strict=True))


def minimiser(loss, law, batches=12, count=3000):
    """The first coefficient at the minimum and its standard error."""
    name = max((name for name, _ in loss.named_parameters()), key=len)  # the innermost
    found = []
    for seed in range(batches):
        generator = generator_for(seed, "conformance losses", 0)
        x0 = law.sample(count, generator)
        s = 0.3 * 10 ** torch.rand(count, generator=generator, dtype=torch.float64)
        noise = torch.randn(x0.shape, generator=generator, dtype=torch.float64)

        def objective(coefficients, batch=(x0, s, noise, None)):
            return torch.func.functional_call(loss, {name: coefficients}, batch).mean()

        start = torch.zeros(3).double().requires_grad_()
        (slope,) = torch.autograd.grad(objective(start), start)
        found.append(-torch.linalg.solve(torch.autograd.functional.hessian(objective, start), slope).detach()[0])
    return float(torch.stack(found).mean()), float(torch.stack(found).std()) / math.sqrt(batches)


def prediction(law, head):
    """What the network of a head should say of x = y/sqrt(1 + s^2)."""

    def predict(x, c_noise):
        s = torch.exp(4 * c_noise)
        alpha = (1 + s**2).rsqrt()
        if head == "energy":
            total = law.log_density(x / like(alpha, x), s) + 0.5 * x.square().flatten(1).sum(1)
            return like(total / alpha / x[0].numel(), x).expand_as(x)
        a, b = like(alpha, x), like(s * alpha, x)
        score = law.score(x / a, s) / a
        eps, x0 = -b * score, (x + b**2 * score) / a
        return {"x0": x0, "eps": eps, "v": a * eps - b * x0, "score": score}[head]

    return predict


def rows():
    for place, law in LAWS.items():
        claim = f"exact denoiser of a {place}: its coefficient at the minimum"
        for name, make in LOSSES.items():
            model = Combination(law, lambda y, s: y / (1 + like(s, y) ** 2), lambda y, s: torch.sin(2 * y))
            value, error = minimiser(make(model), law)
            yield Row("losses", name, claim, value, 1, error, abs(value - 1) < 4 * error < 0.4)
        for head in (*PREDICTIONS, "energy"):
            network = Combination(prediction(law, head), lambda x, c: x, lambda x, c: torch.cos(2 * x) * like(c, x))
            denoiser = EnergyDenoiser(network) if head == "energy" else PredictionDenoiser(network, head)
            value, error = minimiser(WeightedDenoising(denoiser), law, count=1000)
            yield Row("losses", f"head {head}", claim, value, 1, error, abs(value - 1) < 4 * error < 0.4)
    yield from likelihood_row()
    yield from averaging_rows()


def likelihood_row():
    """The excess of the likelihood-weighted loss of the denoiser of N(0, 1.5) for data N(0, .5), levels .1 to 100."""
    true, model, s_min, s_max = 0.5, 1.5, 0.1, 100.0
    s = LogUniform(s_min, s_max)((torch.arange(200000) + 0.5).double() / 200000)
    gap = s**2 * (model - true) / (true + s**2) / (model + s**2)  # (D_model - D_true)/y
    nats = float((likelihood_weight(s) * gap**2 * (true + s**2)).mean()) * math.log(s_max / s_min)
    ratio = (true + s_min**2) / (model + s_min**2)
    exact = 0.5 * (ratio - 1 - math.log(ratio))
    bound = 2e-5 * exact  # what levels above s_max would add
    yield Row(
        "losses",
        "likelihood weight: excess loss in nats",
        "KL of two Gaussians",
        nats,
        exact,
        bound,
        abs(nats - exact) < bound,
    )


def averaging_rows():
    """A wandering parameter, snapshots of widths .05 and .10 every 5 % of 2000 updates."""
    updates = 2000
    walk = torch.cumsum(noise_like(0, "conformance averaging", [0], (updates, 20), dtype=torch.float64)[0], 0)
    model, stored = nn.Linear(20, 1, bias=False).double(), []
    emas = PowerEMA(model)
    for step, weights in enumerate(walk, start=1):
        model.weight.data = weights[None]
        emas.update(model)
        stored += emas.snapshots() if step % 100 == 0 else []
    for width in (0.04, 0.08, 0.15, 0.25):
        shares = torch.diff((torch.arange(updates + 1).double() / updates) ** (exponent_of(width) + 1))
        exact = shares @ walk
        found, residual = synthesize(stored, width)
        gap = float((found["weight"][0] - exact).norm() / (walk[-1] - exact).norm())
        bound = residual + 10 / updates
        name = f"average of width {width} after the fact, residual of the profile {residual:.1e}"
        law = "direct average of the recorded weights, relative to its lag"
        yield Row("losses", name, law, gap, 0, bound, gap < bound, None, "40 snapshots")
