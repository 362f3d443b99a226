"""Binary heartbeat: 20 bits, a one every 5, in five phases; the truth is -log2 5 = -2.32193 bits a sequence.

The paper's binomial chain of T = 2000 steps, exact and trained, and masked diffusion. No model may lie above the truth.
"""

import functools
import math

import torch

from benchmarks.sohl_dickstein.binomial import Bits, BitsLoss, ExactBits, TrainedBits, bound, path_log_likelihood
from benchmarks.sohl_dickstein.row import Clock, Row
from benchmarks.sohl_dickstein.trained import trained
from physgen.diffusion.masked import MaskedDenoiser, MaskedLoss, log_probability, sample_masked, uniform_fraction
from physgen.domains.points.binary_sequences import heartbeat
from physgen.networks.mlp import MLP

LN2, TRUTH, PAPER, NULL = math.log(2), -math.log2(5), -2.414, -20 * 0.7219280948873623
BEST = {200: -2.690, 500: -2.470, 1000: -2.400, 2000: -2.3652}  # of the paper's bound, by Monte Carlo elsewhere
BEST_ERRORS = {200: 0.006, 500: 0.005, 1000: 0.011, 2000: 0.0025}
DRAWS = {200: 4000, 500: 1600, 1000: 800, 2000: 800}  # rows at each step
RECIPE = {"batch_size": 256, "learning_rate": 3e-3, "level_distribution": uniform_fraction}
BITS_STEPS, MASKED_STEPS, WIDTH, BLOCKS, ORDERS, PATHS = 3000, 2500, 64, 2, 400, 32
KNOWN = heartbeat(20, 5)
ONES = (KNOWN.values + 1) / 2


def exact_rows():
    """The best factorised reverse step at four T."""
    for steps, draws in DRAWS.items():
        clock, chain = Clock(), Bits(steps, 0.2)
        found = bound(ExactBits(chain, ONES, KNOWN.weights), chain, ONES, draws, seed=steps)
        value, error = found["paper"]
        other, spread = BEST[steps], math.hypot(error, BEST_ERRORS[steps])
        yield Row(
            f"ceiling of the paper's bound, binomial chain, T = {steps}, bits", value, error,
            "−2.414 (trained)" if steps == 2000 else "", other, BEST_ERRORS[steps], clock.read(),
            abs(value - other) < 3 * spread,
            f"exact posterior in a factorised reverse step; kept: within 3 errors of an independent Monte Carlo. With "
            f"the model's own first step in place of the forward one the same chain has {found['own'][0]:.4f}",
        )  # fmt: skip


@functools.cache
def bits_model():
    """The trained chain of T = 2000, and its cost."""
    clock, chain = Clock(), Bits(2000, 0.2)
    torch.manual_seed(0)
    network = MLP(20, width=WIDTH, blocks=BLOCKS)
    return trained(TrainedBits(network, chain), BitsLoss, KNOWN.values, {"steps": BITS_STEPS, **RECIPE}), clock.read()


@functools.cache
def masked_model():
    """The trained masked model, and its cost."""
    clock = Clock()
    torch.manual_seed(0)
    network = MaskedDenoiser(MLP(20, width=WIDTH, blocks=BLOCKS))
    return trained(network, MaskedLoss, KNOWN.values, {"steps": MASKED_STEPS, **RECIPE}), clock.read()


def bits_rows():
    """K of the trained chain by both first steps, and its likelihood by paths."""
    (model, cost), chain, clock = bits_model(), Bits(2000, 0.2), Clock()
    found = bound(model, chain, ONES, 400, seed=1)
    value, error = found["paper"]
    said = f"MLP of {WIDTH} x {BLOCKS} blocks, {BITS_STEPS} steps of 256"
    yield Row(
        "K, binomial chain, T = 2000, the paper's bound, trained, bits", value, error, "−2.414", BEST[2000], 0.0025,
        cost + clock.read(), value + 3 * error > PAPER and value < BEST[2000] + 3 * math.hypot(error, 0.0025),
        f"{said}; kept: not below the paper, not above the ceiling, by 3 errors",
    )  # fmt: skip
    value, error = found["own"]
    yield Row(
        "the same network, with its own first step", value, error, "", TRUTH, 0.0, None, value < TRUTH + 3 * error,
        "kept: not above the truth by 3 errors",
    )  # fmt: skip
    yield Row(
        "the same, K − L_null", found["paper"][0] - NULL, found["paper"][1], "12.024", BEST[2000] - NULL, 0.0025, None,
        None, "L_null = −20 H(0.2) = −14.4386 bits",
    )  # fmt: skip
    batches = path_log_likelihood(model, chain, ONES.repeat(4, 1), PATHS, seed=3).reshape(4, 5) / LN2
    value, error = float(batches.mean()), float(batches.mean(1).std()) / 2
    yield Row(
        "ln p of the same network by path weights (annealed importance sampling)", value, error, "", TRUTH, 0.0,
        clock.read(), value < TRUTH + 3 * error,
        f"the paper states the estimator and prints no figure of it; 4 batches of {PATHS} paths for each sequence; the "
        "mean of its logarithm lies below ln p; kept: not above the truth by 3 errors",
    )  # fmt: skip


def masked_rows():
    """Bound over all orders, likelihood, and what is drawn."""
    (model, cost), clock = masked_model(), Clock()
    generator = torch.Generator().manual_seed(1)
    rows = KNOWN.values.repeat_interleave(ORDERS, 0)
    orders = torch.stack([torch.randperm(20, generator=generator) for _ in rows])
    with torch.no_grad():
        logs = log_probability(model, rows, orders).reshape(5, ORDERS)
    each = logs.mean(0) / LN2
    value, error = float(each.mean()), float(each.std()) / math.sqrt(ORDERS)
    yield Row(
        "K, masked diffusion by the core, trained, bits", value, error, "−2.414 (another chain)", TRUTH, 0.0,
        cost + clock.read(), value + 3 * error > PAPER and value < TRUTH + 3 * error,
        f"mean of log2 q(x|order) over all five sequences and {ORDERS} orders of each; MLP of {WIDTH} x {BLOCKS} "
        f"blocks, {MASKED_STEPS} steps of 256; kept: in [−2.414, −2.322] by 3 errors",
    )  # fmt: skip
    drawn = sample_masked(model, (4000, 20), seed=2, tile=4000)
    valid = KNOWN.matches(drawn.x).double()
    part, count = float(valid.sum(1).mean()), valid.sum(0)
    expected = float(count.sum()) / 5
    chi_square = float(((count - expected) ** 2 / expected).sum())
    yield Row(
        "the same: valid sequences among 4000 draws", part, math.sqrt(max(part * (1 - part), 1e-9) / 4000), "", 1.0,
        0.0, clock.read(), None,
        f"chi-square of the five phases {chi_square:.1f} of 4 degrees of freedom (95 %: 9.5)",
    )  # fmt: skip


def rows():
    """All rows of this topic."""
    return [*exact_rows(), *bits_rows(), *masked_rows()]
