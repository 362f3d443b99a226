"""Guided laws held to quadrature and closed forms: what plain guidance misses, Feynman-Kac weights put right."""

import math

import pytest
import torch

from physgen.diffusion.exact import GaussianField, GaussianMixture
from physgen.diffusion.inference.guidance import (
    ClassifierGuided,
    Product,
    classifier_free,
    guided_step,
    sample_guided,
    tempered,
    with_condition,
)
from physgen.diffusion.levels import log_uniform


def mixture(means, variances, weights):
    tensors = [torch.tensor(values, dtype=torch.float64) for values in (means, variances, weights)]
    return GaussianMixture(tensors[0][:, None, None], tensors[1], tensors[2])


BIMODAL = mixture([-0.7, 0.7], [0.2, 0.2], [0.3, 0.7])
UPPER = mixture([0.7], [0.2], [1.0])
GRID = log_uniform(20, 0.02, 80)


def by_quadrature(laws, exponents):
    """Mean, variance, P(x > 0) and ln of the integral of the product of powers, in one dimension."""
    x = torch.linspace(-9, 9, 200001, dtype=torch.float64)
    still = torch.zeros((), dtype=torch.float64)
    log_p = sum(g * law.log_density(x[:, None, None], still) for g, law in zip(exponents, laws, strict=True))
    weight = torch.softmax(log_p, 0)
    mean = (weight * x).sum()
    figures = [mean, (weight * (x - mean) ** 2).sum(), weight[x > 0].sum()]
    return torch.stack([*figures, torch.logsumexp(log_p, 0) + math.log(18 / 200000)])


def figures(guided, populations, count, threshold=0.5, levels=GRID):
    """The same of several populations of particles: estimate and standard error."""
    rows = []
    for seed in range(populations):
        drawn = sample_guided(guided, levels, (count, 1, 1), torch.Generator().manual_seed(seed), threshold=threshold)
        x, weight = drawn.x[:, 0, 0], drawn.weights
        mean = (weight * x).sum()
        moments = [mean, (weight * (x - mean) ** 2).sum(), weight[x > 0].sum()]
        rows.append(torch.stack([*moments, torch.tensor(drawn.log_normalizer)]))
    return torch.stack(rows).mean(0), torch.stack(rows).std(0) / math.sqrt(populations)


def test_corrected_classifier_free_guidance_has_the_law_that_it_names():
    """Strength 1 on two modes: exact mean .7456 and variance .1697; plain guidance gives .8236 and .1518."""
    exact = by_quadrature((UPPER, BIMODAL), (2, -1))
    assert exact[:2].tolist() == pytest.approx([0.7456, 0.1697], abs=5e-5)
    value, error = figures(classifier_free(UPPER, BIMODAL, 1.0), populations=12, count=3000)
    assert ((value - exact).abs() < 4 * error).all(), (value, exact, error)
    assert (error[:2] < 0.006).all()  # far below the shift that the weights undo


def test_plain_classifier_free_guidance_is_too_narrow_and_too_far_out():
    x = sample_guided(
        classifier_free(UPPER, BIMODAL, 1.0), GRID, (20000, 1, 1), torch.Generator().manual_seed(3), threshold=0
    ).x
    assert abs(float(x.mean()) - 0.8236) < 4 * math.sqrt(0.1518 / 20000)
    assert abs(float(x.var()) - 0.1518) < 4 * 0.1518 * math.sqrt(2 / 20000)


@pytest.mark.parametrize("power", [0.6, 1.25])
def test_corrected_tempering_of_a_field_has_its_variance_and_its_normaliser(power):
    spectrum = torch.tensor([[2.0, 0.5]], dtype=torch.float64)
    field = GaussianField(spectrum)
    log_normalizer = 0.5 * ((1 - power) * torch.log(2 * math.pi * spectrum) - math.log(power)).sum()
    rows, norms = [], []
    for seed in range(8):
        generator = torch.Generator().manual_seed(seed)
        drawn = sample_guided(tempered(field, power), log_uniform(25, 0.02, 90), (4000, 1, 2), generator)
        modes = torch.fft.fft(drawn.x, norm="ortho").abs().square()
        rows.append((drawn.weights[:, None, None] * modes).sum(0))
        norms.append(drawn.log_normalizer)
    rows, norms = torch.stack(rows) * power / spectrum, torch.tensor(norms)
    error = rows.std(0) / math.sqrt(8)
    assert ((rows.mean(0) - 1).abs() < 4.5 * error).all() and (error < 0.06).all()
    assert abs(norms.mean() - log_normalizer) < 4.5 * norms.std() / math.sqrt(8)


def test_the_product_of_two_gaussians_is_exact():
    first, second = mixture([-1.0], [0.5], [1.0]), mixture([1.5], [1.0], [1.0])
    exact = by_quadrature((first, second), (1, 1))
    value, error = figures(Product((first, second), (1, 1)), populations=8, count=3000)
    moments = [0, 1, 3]
    assert ((value - exact).abs() < 4.5 * error)[moments].all(), (value, exact, error)
    assert abs(float(exact[0]) - (-1 / 0.5 + 1.5 / 1.0) / 3) < 1e-9  # precision-weighted mean


def test_an_exact_classifier_is_the_conditional_law_and_its_power_a_product():
    """w = 1 gives the class itself without weights; w = 2 is classifier-free guidance of strength 1, rates too."""
    y = torch.linspace(-3, 3, 13, dtype=torch.float64)[:, None, None]
    s = torch.linspace(0.1, 2, 13, dtype=torch.float64)

    def classifier(y, s, condition):
        return BIMODAL.responsibilities(y, s)[:, 1].log()

    denoised, rate = ClassifierGuided(BIMODAL, classifier).evaluate(y, s)
    assert torch.allclose(denoised, UPPER(y, s), atol=1e-12) and (rate == 0).all()
    twice, free = ClassifierGuided(BIMODAL, classifier, 2.0).evaluate(y, s), classifier_free(UPPER, BIMODAL, 1.0)
    for ours, other in zip(twice, free.evaluate(y, s), strict=True):
        assert torch.allclose(ours, other, atol=1e-12)


def test_rates_do_not_depend_on_which_denoiser_stands_first():
    y, s = torch.randn(9, 1, 1, dtype=torch.float64), torch.full((9,), 0.4, dtype=torch.float64)
    ours = Product((UPPER, BIMODAL), (1.7, -0.4)).evaluate(y, s)
    other = Product((BIMODAL, UPPER), (-0.4, 1.7)).evaluate(y, s)
    assert torch.allclose(ours[0], other[0]) and torch.allclose(ours[1], other[1])


def test_the_guided_step_has_weak_order_two():
    """On a Gaussian the step is linear, so the variance obeys an exact recursion."""

    def variance(steps):
        law = tempered(mixture([0.0], [1.0], [1.0]), 1.0)

        def evaluate(y, s):
            return law.evaluate(y, y.new_full((len(y),), s))

        levels = log_uniform(1e4, 1e-4, steps).tolist()[:-1]
        value = levels[0] ** 2
        one, none = torch.ones(1, 1, 1, dtype=torch.float64), torch.zeros(1, 1, 1, dtype=torch.float64)
        for s, s_next in zip(levels[:-1], levels[1:], strict=True):
            gain, kick = guided_step(evaluate, one, s, s_next, none)[0], guided_step(evaluate, none, s, s_next, one)[0]
            value = float(gain) ** 2 * value + float(kick) ** 2
        return value - 1

    biases = [variance(steps) for steps in (100, 200, 400)]
    orders = [math.log2(abs(a / b)) for a, b in zip(biases, biases[1:], strict=False)]
    assert orders == pytest.approx([2, 2], abs=0.2)


def test_a_population_depends_on_its_generator_and_not_on_its_parts():
    guided = classifier_free(UPPER, BIMODAL, 2.0)
    levels = log_uniform(20, 0.02, 12)
    whole = sample_guided(guided, levels, (100, 1, 1), torch.Generator().manual_seed(1), threshold=0.9)
    parts = sample_guided(guided, levels, (100, 1, 1), torch.Generator().manual_seed(1), threshold=0.9, batch=7)
    assert torch.allclose(whole.x, parts.x, atol=1e-12) and whole.resamplings == parts.resamplings > 0
    assert whole.ancestors < 100 and whole.least_ess < 0.9


def test_one_network_serves_both_sides_of_classifier_free_guidance():
    def network(y, s, condition):
        return y * condition["labels"][:, :1, None]

    null = with_condition(network, {"labels": torch.zeros(1, 1)})
    guided = classifier_free(network, null, 0.5)
    y = torch.ones(3, 1, 1)
    assert torch.equal(guided(y, torch.ones(3), {"labels": torch.full((3, 1), 2.0)}), torch.full((3, 1, 1), 3.0))


@pytest.mark.parametrize(
    ("denoisers", "exponents"), [((UPPER,), (1, 1)), ((UPPER, BIMODAL), (1, -1)), ((UPPER,), (-0.5,))]
)
def test_exponents_that_name_no_law_are_refused(denoisers, exponents):
    with pytest.raises(ValueError, match="one exponent a denoiser and a positive sum"):
        Product(denoisers, exponents)


def test_a_threshold_that_is_no_fraction_is_refused():
    with pytest.raises(ValueError, match="threshold"):
        sample_guided(tempered(UPPER, 2), GRID, (2, 1, 1), torch.Generator(), threshold=2.0)


def test_the_tail_of_weights_is_that_of_the_pareto_law_that_made_them():
    """Shape k of weights u^-k, 4000 of them: error of the estimate about (1 + k)/sqrt(190)."""
    from physgen.diffusion.inference.weight_statistics import summarise_weights, tail_shape

    u = torch.rand(4000, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for k in (0.2, 0.5, 1.0):
        assert abs(tail_shape(-k * u.log()) - k) < 3 * (1 + k) / math.sqrt(190)
    assert math.isnan(tail_shape(u[:10])) and not summarise_weights(u[:10]).is_reliable
    assert summarise_weights(0.1 * u).is_reliable and not summarise_weights(-1.2 * u.log()).is_reliable
