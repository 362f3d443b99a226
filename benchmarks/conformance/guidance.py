"""Guided laws against quadrature, and posterior samplers against the exact posterior of a Gaussian field."""

import math

import torch

from benchmarks.conformance.row import Row
from physgen.diffusion.exact import GaussianField, GaussianMixture
from physgen.diffusion.inference.guidance import (
    ClassifierGuided,
    Product,
    classifier_free,
    guided_step,
    sample_guided,
    tempered,
)
from physgen.diffusion.inference.inverse import Observation, dps, mmps, pigdm, repaint
from physgen.diffusion.levels import log_uniform
from physgen.diffusion.noise import generator_for
from physgen.diffusion.sampling.samplers import SAMPLERS

POPULATIONS, PARTICLES, STEPS = 10, 3000, 100
SITES, SEEN, NOISE_VARIANCE = 12, 5, 0.25


def mixture(means, variances, weights):
    tensors = [torch.tensor(values, dtype=torch.float64) for values in (means, variances, weights)]
    return GaussianMixture(tensors[0][:, None, None], tensors[1], tensors[2])


BIMODAL, UPPER = mixture([-0.7, 0.7], [0.2, 0.2], [0.3, 0.7]), mixture([0.7], [0.2], [1.0])


def by_quadrature(laws, exponents):
    """Mean, variance, P(x > 0) and ln Z of the product of powers."""
    x = torch.linspace(-9, 9, 200001, dtype=torch.float64)
    still = torch.zeros((), dtype=torch.float64)
    log_p = sum(g * law.log_density(x[:, None, None], still) for g, law in zip(exponents, laws, strict=True))
    weight = torch.softmax(log_p, 0)
    mean = (weight * x).sum()
    log_Z = torch.logsumexp(log_p, 0) + math.log(18 / 200000)
    return [float(v) for v in (mean, (weight * (x - mean) ** 2).sum(), weight[x > 0].sum(), log_Z)]


def estimate(guided, threshold=0.5, particles=PARTICLES, steps=STEPS):
    """The same from independent populations: values and standard errors."""
    found = []
    for seed in range(POPULATIONS):
        generator = generator_for(seed, "conformance guidance", 0)
        drawn = sample_guided(guided, log_uniform(20, 0.02, steps), (particles, 1, 1), generator, threshold=threshold)
        x, weight = drawn.x[:, 0, 0], drawn.weights if threshold else torch.full((particles,), 1 / particles)
        mean = (weight * x).sum()
        found.append([float(mean), float((weight * (x - mean) ** 2).sum()), float(weight[x > 0].sum())])
        found[-1].append(drawn.log_normalizer)
    table = torch.tensor(found, dtype=torch.float64)
    return table.mean(0).tolist(), (table.std(0) / math.sqrt(POPULATIONS)).tolist()


def particle_rows():
    cost = f"{2 * STEPS} evaluations x {POPULATIONS * PARTICLES} particles"
    cases = [
        ("classifier-free, w = 1", classifier_free(UPPER, BIMODAL, 1.0), (UPPER, BIMODAL), (2, -1), (0.8236, 0.1518)),
        (
            "classifier-free, w = .5",
            classifier_free(UPPER, BIMODAL, 0.5),
            (UPPER, BIMODAL),
            (1.5, -0.5),
            (0.7742, 0.1663),
        ),
        ("tempering, p^2", tempered(BIMODAL, 2.0), (BIMODAL,), (2,), (0.4406, 0.2596)),
        ("product p_c p_u", Product((UPPER, BIMODAL), (1, 1)), (UPPER, BIMODAL), (1, 1), None),
    ]
    for name, guided, laws, exponents, plain in cases:
        exact = by_quadrature(laws, exponents)
        value, error = estimate(guided)
        for what, i in (("mean", 0), ("variance", 1), ("P(x > 0)", 2), ("ln Z", 3)):
            kept = abs(value[i] - exact[i]) < 4 * error[i]
            law = "product of powers, quadrature"
            yield Row("guidance", f"{name}, Feynman-Kac: {what}", law, value[i], exact[i], error[i], kept, None, cost)
        if plain:
            value, error = estimate(guided, threshold=0)
            for what, i in (("mean", 0), ("variance", 1)):
                kept = abs(value[i] - plain[i]) < 4 * error[i] + 0.002  # 3000 Euler steps made the reference
                law = f"bias of plain guidance (exact law: {exact[i]:.4f})"
                yield Row(
                    "guidance", f"{name}, no weights: {what}", law, value[i], plain[i], error[i], kept, None, cost
                )


def identity_rows():
    y = torch.linspace(-3, 3, 13, dtype=torch.float64)[:, None, None]
    s = torch.linspace(0.1, 2, 13, dtype=torch.float64)

    def classifier(y, s, condition):
        return BIMODAL.responsibilities(y, s)[:, 1].log()

    gap = float((ClassifierGuided(BIMODAL, classifier)(y, s) - UPPER(y, s)).abs().max())
    yield Row("guidance", "exact classifier, w = 1", "denoiser of the class", gap, 0, 1e-12, gap < 1e-12)
    twice = ClassifierGuided(BIMODAL, classifier, 2.0).evaluate(y, s)[1]
    gap = float((twice - classifier_free(UPPER, BIMODAL, 1.0).evaluate(y, s)[1]).abs().max())
    law = "rate of classifier-free guidance, w = 1"
    yield Row("guidance", "exact classifier, w = 2: rate of the weights", law, gap, 0, 1e-11, gap < 1e-11)
    law, bias = tempered(mixture([0.0], [1.0], [1.0]), 1.0), []
    one, none = torch.ones(1, 1, 1, dtype=torch.float64), torch.zeros(1, 1, 1, dtype=torch.float64)

    def evaluate(y, s):
        return law.evaluate(y, y.new_full((len(y),), s))

    for steps in (200, 400):
        levels = log_uniform(1e4, 1e-4, steps).tolist()[:-1]
        variance = levels[0] ** 2
        for s, s_next in zip(levels[:-1], levels[1:], strict=True):
            gain, kick = guided_step(evaluate, one, s, s_next, none)[0], guided_step(evaluate, none, s, s_next, one)[0]
            variance = float(gain) ** 2 * variance + float(kick) ** 2
        bias.append(abs(variance - 1))
    order = math.log2(bias[0] / bias[1])
    kept = abs(order - 2) < 0.2
    yield Row("guidance", "stochastic Heun step, variance bias", "order 2", bias[1], 0, bias[1], kept, order, "800")


def circulant(spectrum):
    row = torch.fft.ifft(spectrum).real
    return torch.stack([row.roll(shift) for shift in range(len(row))])


def posterior(prior, noise_variance, values):
    gain = prior[:, :SEEN] @ torch.linalg.inv(prior[:SEEN, :SEEN] + noise_variance * torch.eye(SEEN).double())
    return gain @ values, prior - gain @ prior[:SEEN]


def inverse_rows():
    k = torch.fft.fftfreq(SITES, 1 / SITES, dtype=torch.float64).abs()
    spectrum = 4 / (1 + k) ** 2
    field, values = GaussianField(spectrum[None]), torch.tensor([1.0, 0.5, -0.3, -1.0, 0.8], dtype=torch.float64)
    seen = Observation(lambda x: x[..., :SEEN], values[None, None], NOISE_VARIANCE)
    start = torch.cat([torch.zeros(1, SITES).double(), torch.eye(SITES).double()])[:, None]
    mean, spread = posterior(circulant(spectrum), NOISE_VARIANCE, values)
    law = "exact Gaussian posterior (12 sites, 5 seen, noise .25): variance of the others, ratio"
    methods = [
        ("MMPS", mmps(field, seen), 1.0, 1e-3, 200),
        ("PiGDM", pigdm(field, seen, float(spectrum.mean())), 0.931, 2e-3, 400),
        ("DPS", dps(field, seen), 0.826, 2e-3, 400),
    ]
    for name, denoiser, stated, bound, steps in methods:
        levels = log_uniform(300, 0.003, steps)
        drawn = SAMPLERS["heun"](denoiser, levels, start * levels[0])[:, 0]
        variance = (drawn[1:] - drawn[0]).square().sum(0)
        ratio = float(variance[SEEN:].sum() / spread.diagonal()[SEEN:].sum())
        kept, note = abs(ratio - stated) < bound, "" if stated == 1 else f" (biased, stated {stated})"
        yield Row("guidance", f"{name}{note}", law, ratio, 1, bound, kept, None, f"{2 * steps}")
        shift = float(((drawn[0] - mean).abs() / spread.diagonal().sqrt())[SEEN:].max())
        stated_shift = {"MMPS": 0, "PiGDM": 0.13, "DPS": 0.58}[name]
        kept = abs(shift - stated_shift) < 0.01
        law_mean = "the same: largest error of a mean, standard deviations"
        yield Row("guidance", f"{name}{note and f' (biased, stated {stated_shift})'}", law_mean, shift, 0, 0.01, kept)
    yield from moment_matching_rows(field, spectrum, values)
    yield from repaint_rows(field, spectrum, values)


def moment_matching_rows(field, spectrum, values):
    """The posterior denoiser itself, ours and azula's, against linear algebra: y is one more observation of all."""
    count, identity = 8, torch.eye(SITES, dtype=torch.float64)
    y = torch.randn(count, 1, SITES, generator=generator_for(0, "conformance posterior", 0), dtype=torch.float64)
    s = torch.full((count,), 0.7, dtype=torch.float64)
    prior = circulant(spectrum)
    gain = prior @ torch.linalg.inv(prior + 0.49 * identity)
    spread, mean = prior - gain @ prior, y[:, 0] @ gain.T
    correction, _ = posterior(spread, NOISE_VARIANCE, torch.eye(SEEN, dtype=torch.float64))
    exact = mean + (values - mean[:, :SEEN]) @ correction.T
    seen = Observation(lambda x: x[..., :SEEN], values[None, None], NOISE_VARIANCE)
    for code, found in (
        ("physgen", mmps(field, seen)(y, s)[:, 0]),
        ("azula", azula_moment_matching(field, y[:, 0], 0.7, values)),
    ):
        gap = float((found - exact).abs().max())
        law = "posterior mean of a Gaussian field given y, largest error"
        yield Row("guidance", "MMPS denoiser, s = .7", law, gap, 0, 1e-9, gap < 1e-9, None, "6 backward passes", code)


def azula_moment_matching(field, y, s, values):
    from azula.denoise import Denoiser, DiracPosterior
    from azula.guidance.mmps import MMPSDenoiser
    from azula.linalg.covariance import IsotropicCovariance

    class Adapted(Denoiser):
        def schedule(self, t):
            return torch.ones_like(t), t

        def forward(self, x_t, t, **options):
            return DiracPosterior(mean=field(x_t[:, None], t.expand(len(x_t)))[:, 0])

    noise = IsotropicCovariance(torch.tensor(NOISE_VARIANCE, dtype=torch.float64))
    guided = MMPSDenoiser(Adapted(), values, lambda x: x[:, :SEEN], noise, solver="cg", iterations=6)
    return guided(y, torch.tensor(s, dtype=torch.float64)).mean.detach()


def repaint_rows(field, spectrum, values):
    count, generator = 3000, generator_for(0, "conformance repaint", 0)
    mean, spread = posterior(circulant(spectrum), 0.0, values)
    known = torch.cat([values, torch.zeros(SITES - SEEN).double()])

    def noise(number):
        return torch.randn(count, 1, SITES, generator=generator, dtype=torch.float64)

    for again, stated, cost in ((1, 0.962, "40"), (10, 0.862, "391")):
        draw = repaint(torch.arange(SITES) < SEEN, known, again)
        x = draw(field, log_uniform(30, 0.01, 40), 30 * noise(0), None, noise)[:, 0]
        ratio = float(x.var(0)[SEEN:].sum() / spread.diagonal()[SEEN:].sum())
        error = ratio * math.sqrt(2 / count)
        name, law = (
            f"RePaint, {again} resamplings (biased, stated {stated})",
            "exact posterior, no noise: variance ratio",
        )
        yield Row("guidance", name, law, ratio, 1, error, abs(ratio - stated) < 4 * error, None, cost)


def rows():
    yield from particle_rows()
    yield from identity_rows()
    yield from inverse_rows()
