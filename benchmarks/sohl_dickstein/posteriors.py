r"""Multiplying by r(x), posteriors, products of two laws (sections 2.5 and 3.2 of the paper), each beside its answer.

The paper shows images and prints no figures. Laws are mixtures of three Gaussians in the plane and the heartbeat, of
which every answer is known; *plain* is guidance as the paper has it, the score of p plus that of r, *weighted* the same
with the weights that make it exact (:mod:`physgen.diffusion.inference`).
"""

import math

import torch

from benchmarks.sohl_dickstein.binomial import Bits, ExactBits
from benchmarks.sohl_dickstein.heartbeat import KNOWN, ONES, masked_model
from benchmarks.sohl_dickstein.row import Clock, Row
from physgen.diffusion.exact import GaussianMixture
from physgen.diffusion.inference import Observation, Product, mmps, reweighted_mean, sample_guided, weighted_posterior
from physgen.diffusion.levels import log_uniform
from physgen.diffusion.masked import sample_masked
from physgen.diffusion.noise import generator_for
from physgen.diffusion.sampling.samplers import sample

NOT_PRINTED = "an image, no figure"
POPULATIONS, PARTICLES, STEPS = 8, 4000, 60
SEEN, NOISE = 0.3, 0.1  # the known component and the width of its error
TILT, CHAIN = 0.6, Bits(400, 0.2)


def mixture(means, variances, weights):
    """Of isotropic Gaussians in the plane."""
    return GaussianMixture(*(torch.tensor(v, dtype=torch.float64) for v in (means, variances, weights)))


LAW = mixture([[-1.2, 0.0], [0.8, 1.0], [0.6, -1.0]], [0.10, 0.06, 0.15], [0.5, 0.3, 0.2])
OTHER = mixture([[0.9, 0.6], [-0.8, -0.6]], [0.40, 0.50], [0.5, 0.5])
FACTOR = mixture([[0.5, 0.5]], [0.8], [1.0])


def product_of(law, other):
    """The normalised product of two mixtures, in closed form: pairs of components."""
    means, variances, logs = [], [], []
    for mu, v, w in zip(law.means, law.covariance, law.weights, strict=True):
        for nu, u, q in zip(other.means, other.covariance, other.weights, strict=True):
            means.append((mu * u + nu * v) / (u + v))
            variances.append(u * v / (u + v))
            logs.append(torch.log(w * q) - (mu - nu).square().sum() / 2 / (u + v) - torch.log(2 * math.pi * (u + v)))
    return GaussianMixture(torch.stack(means), torch.stack(variances), torch.softmax(torch.stack(logs), 0))


def given_first(law, value, noise):
    """The posterior law of x given value = x_1 + noise z, as means and variances (J, 2) by axis, and weights."""
    total = law.covariance + noise**2
    weight = law.weights * torch.exp(-((value - law.means[:, 0]) ** 2) / 2 / total) / total.sqrt()
    first = (law.means[:, 0] * noise**2 + value * law.covariance) / total
    return torch.stack([first, law.means[:, 1]], 1), weight / weight.sum()


def guided_rows(name, other):
    """Plain and weighted draws of p times another law: the mean of the first component."""
    exact = product_of(LAW, other)
    truth = float(exact.weights @ exact.means[:, 0])
    guided = Product((LAW, other), (1, 1))
    for words, threshold in (("plain", 0), ("weighted", 0.5)):
        clock, found = Clock(), []
        for seed in range(POPULATIONS):
            generator = generator_for(seed, "products", 0)
            levels = log_uniform(20, 0.02, STEPS)
            drawn = sample_guided(guided, levels, (PARTICLES, 2), generator, threshold=threshold)
            weight = drawn.weights if threshold else torch.full((PARTICLES,), 1 / PARTICLES, dtype=torch.float64)
            found.append(float(weight @ drawn.x[:, 0]))
        values = torch.tensor(found, dtype=torch.float64)
        value, error = float(values.mean()), float(values.std()) / math.sqrt(POPULATIONS)
        kept = abs(value - truth) < 4 * error if threshold else None
        yield Row(
            f"{name}, {words}: mean of x_1", value, error, NOT_PRINTED, truth, 0.0, clock.read(), kept,
            f"{POPULATIONS} populations of {PARTICLES}, {STEPS} levels; truth in closed form"
            + ("; kept: within 4 errors" if threshold else "; biased, as the product of noised laws is no noised law"),
        )  # fmt: skip


def known_component_rows():
    """Inpainting of the mixture: the posterior of x given x_1, by moment matching, plain and weighted."""
    centre, weight = given_first(LAW, SEEN, NOISE)
    truth = float(weight @ centre[:, 1])
    seen = Observation(lambda x: x[:, :1], torch.full((1, 1), SEEN, dtype=torch.float64), NOISE**2)
    aimed, levels, count, clock = mmps(LAW, seen, iterations=2), log_uniform(20, 0.02, STEPS), 4000, Clock()
    plain = sample(aimed, levels, (count, 2), 1, sampler="ancestral", tile=count, dtype=torch.float64)[:, 1]
    yield Row(
        "inpainting, the mixture given x_1, moment matching, plain: mean of x_2", float(plain.mean()),
        float(plain.std()) / math.sqrt(count), NOT_PRINTED, truth, 0.0, clock.read(), None,
        f"x_1 = {SEEN} with an error of {NOISE}; exact for one Gaussian, not for three",
    )  # fmt: skip
    drawn = weighted_posterior(
        LAW, aimed, levels, (count, 2), 2, lambda x: -0.5 * ((x[:, 0] - SEEN) / NOISE) ** 2
    )  # fmt: skip
    value, error = (float(v) for v in reweighted_mean(drawn.x[:, 1], drawn.log_weight))
    yield Row(
        "the same, weighted", value, error, NOT_PRINTED, truth, 0.0, clock.read(), abs(value - truth) < 4 * error,
        f"{count} paths of {STEPS} levels; kept: within 4 errors",
    )  # fmt: skip


def known_bits_row():
    """Inpainting of the heartbeat by the trained masked model: r is a delta on known bits, no approximation."""
    (model, _), clock = masked_model(), Clock()
    known = torch.tensor([3, 9])  # no one there: phases 0, 1, 2 are left of five
    order = torch.cat([known, torch.tensor([i for i in range(20) if i not in known.tolist()])])
    drawn = sample_masked(model, (6000, 20), seed=4, order=order, tile=6000).x
    kept = drawn[(drawn[:, known] < 0).all(1)]
    part = KNOWN.matches(kept).double().mean(0)
    expected = torch.tensor([1.0, 1.0, 1.0, 0.0, 0.0], dtype=torch.float64) / 3
    distance = float(0.5 * ((part - expected).abs().sum() + 1 - part.sum()))
    floor = float(0.5 * 3 * math.sqrt(2 / math.pi * (2 / 9) / len(kept)))
    return Row(
        "inpainting, the heartbeat given two zeros, trained masked model: distance (TV) to the posterior", distance,
        floor, NOT_PRINTED, 0.0, 0.0, clock.read(), distance < 0.05,
        f"{len(kept)} draws with the known bits first; three phases of 1/3 are left; floor of perfect draws "
        f"{floor:.3f}; kept: below 0.05",
    )  # fmt: skip


def tilted_bits_row():
    """The paper's rule for Bernoulli steps on the exact chain: c e/(c e + (1 - c)(1 - e))."""
    clock, count = Clock(), 2000
    model, generator = ExactBits(CHAIN, ONES, KNOWN.weights), torch.Generator().manual_seed(5)
    logit = TILT * (torch.arange(20) % 5 == 0).double()  # r favours ones where the first phase has them
    truth = float(torch.softmax(ONES @ logit, 0)[0])
    x = (torch.rand(count, 20, generator=generator, dtype=torch.float64) < CHAIN.mean).double()
    for step in range(CHAIN.steps, 0, -1):
        t = torch.full((count,), step)
        c = CHAIN.step(x, model(x, t), t)
        tilted = torch.sigmoid(torch.logit(c.clamp(1e-12, 1 - 1e-12)) + logit)
        x = (torch.rand(x.shape, generator=generator, dtype=torch.float64) < tilted).double()
    valid = (2 * x - 1) @ KNOWN.values.T == 20
    value = float(valid[:, 0].double().mean())
    return Row(
        "multiplying the heartbeat by r(x), the paper's rule for Bernoulli steps: probability of the favoured phase",
        value, math.sqrt(value * (1 - value) / count), NOT_PRINTED, truth, 0.0, clock.read(), None,
        f"exact chain of T = {CHAIN.steps}, odds of a one times e^{TILT} at the four sites of a phase; valid sequences "
        f"{float(valid.any(1).double().mean()):.3f}. The rule is an approximation of the paper, not of this code",
    )  # fmt: skip


def rows():
    """All rows of this topic."""
    found = [*guided_rows("multiplying by a Gaussian r(x)", FACTOR), *guided_rows("product of two mixtures", OTHER)]
    return [*found, *known_component_rows(), known_bits_row(), tilted_bits_row()]
