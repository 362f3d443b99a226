"""One-site phi^4 and entropy production against adaptive quadrature, finite differences and closed forms."""

import math

import pytest
import torch
from scipy.integrate import quad

from physgen.diffusion.exact import (
    GaussianField,
    GaussianMixture,
    IsingRing,
    SiteLaw,
    entropy_rates,
    field_entropy_production,
    field_entropy_rate,
    field_KL,
    phi4_site,
)
from physgen.diffusion.noise import generator_for, noise_like


def normal(*shape, seed=0):
    return noise_like(seed, "exact site", [0], shape, dtype=torch.float64)[0]


COUPLINGS = [(0.022, None), (1.0, -4.0), (0.1, 2.0)]


@pytest.mark.parametrize(("quartic", "quadratic"), COUPLINGS)
@pytest.mark.parametrize(("y", "s"), [(0.0, 2.0), (0.3, 0.5), (1.6, 0.02), (-9.0, 0.7), (40.0, 30.0)])
def test_phi4_denoiser_and_density_equal_adaptive_quadrature(quartic, quadratic, y, s):
    a = 1 - 2 * quartic if quadratic is None else quadratic
    law = phi4_site(quartic, quadratic)

    def action(x):
        return a * x * x + quartic * x**4

    def exponent(x):
        return -action(x) - (y - x) ** 2 / (2 * s * s)

    top = max(exponent(-12 + 0.001 * i) for i in range(24001))
    centre = max((-12 + 0.001 * i for i in range(24001)), key=exponent)
    bounds = {"limit": 400, "points": [centre - 5 * min(s, 1), centre, centre + 5 * min(s, 1)], "epsabs": 1e-13}
    norm = quad(lambda x: math.exp(exponent(x) - top), -12, 12, **bounds)[0]
    mean = quad(lambda x: x * math.exp(exponent(x) - top), -12, 12, **bounds)[0] / norm
    one = quad(lambda x: math.exp(-action(x) - 4), -12, 12, limit=400, epsabs=1e-13)[0]
    log_density = top + math.log(norm) - math.log(one) - 4 - math.log(s * math.sqrt(2 * math.pi))
    at, level = torch.tensor([[[y]]], dtype=torch.float64), torch.tensor([s], dtype=torch.float64)
    assert float(law(at, level)) == pytest.approx(mean, rel=1e-8, abs=1e-9)
    assert float(law.log_density(at, level)) == pytest.approx(log_density, rel=1e-9, abs=1e-9)


def test_phi4_score_is_the_gradient_and_sites_are_independent():
    law, levels = phi4_site(1.0, -4.0, (1, 2, 3)), torch.tensor([0.1, 0.6, 4.0], dtype=torch.float64)
    y = normal(3, 1, 2, 3).requires_grad_()
    (gradient,) = torch.autograd.grad(law.log_density(y, levels).sum(), y)
    torch.testing.assert_close(law.score(y.detach(), levels), gradient, rtol=1e-8, atol=1e-8)
    single = phi4_site(1.0, -4.0)
    torch.testing.assert_close(law(y, levels)[:, :, 1, 2], single(y[:, :, 1, 2:], levels)[..., 0])


def test_quadratic_action_is_the_gaussian():
    law, y, s = SiteLaw(lambda x: x**2 / (2 * 0.3), 8.0), normal(4, 1, 1, seed=2), torch.tensor(0.8).double()
    torch.testing.assert_close(law(y, s), y * 0.3 / (0.3 + s**2), rtol=1e-11, atol=1e-13)
    assert law.log_Z == pytest.approx(0.5 * math.log(2 * math.pi * 0.3), abs=1e-12)


def test_phi4_samples_have_the_moments_of_the_quadrature():
    law, n = phi4_site(1.0, -4.0), 20000
    x = law.sample(n, generator_for(3, "draw", 0)).flatten()
    for power in (1, 2, 4):
        moment = x**power
        assert abs(float(moment.mean()) - law.moment(power)) < 4 * float(moment.std()) / math.sqrt(n)
    # E[x dS/dx] = 1, an identity of any such law
    assert law.moment(4) * 4 - 8 * law.moment(2) == pytest.approx(1, abs=1e-10)


def test_negative_quartic_coupling_is_refused():
    with pytest.raises(ValueError, match="got -1"):
        phi4_site(-1.0)


def even(power):
    return 0.5 * (power + power.flip(1).roll(1, 1))


FIELD = GaussianField(even(normal(1, 12, seed=4).exp()), torch.tensor([0.6], dtype=torch.float64))


def test_entropy_rate_of_a_field_is_the_derivative_of_its_entropy():
    def entropy(t):
        return 0.5 * float(torch.log(1 + (FIELD.spectrum - 1) * math.exp(-2 * t)).sum())

    for t in (0.05, 0.7, 2.0):
        slope = (entropy(t + 1e-5) - entropy(t - 1e-5)) / 2e-5
        assert field_entropy_rate(FIELD, t) == pytest.approx(slope, rel=1e-7, abs=1e-8)


def test_production_of_a_field_adds_up_to_its_divergence_from_the_normal_law():
    for t in (0.0, 0.4):
        total = quad(lambda u: field_entropy_production(FIELD, u), t, 40, limit=400)[0]
        assert total == pytest.approx(field_KL(FIELD, t), rel=1e-8)


@pytest.mark.parametrize("t", [0.1, 0.8])
def test_rates_from_samples_agree_with_the_closed_forms_of_a_field(t):
    rates = entropy_rates(FIELD, t, 4000, generator_for(5, "draw", 0))
    for name, exact in (
        ("entropy_rate", field_entropy_rate(FIELD, t)),
        ("entropy_production", field_entropy_production(FIELD, t)),
    ):
        value, error = rates[name]
        assert abs(value - exact) < 4 * error


def test_production_of_a_mixture_adds_up_to_its_divergence_from_the_normal_law():
    """The bimodal example 0.3 N(-1, 0.1) + 0.7 N(1, 0.1): from t = 1e-4 on 0.59165, KL 0.59248."""
    means, weights = torch.tensor([-1.0, 1.0]).reshape(2, 1, 1).double(), torch.tensor([0.3, 0.7]).double()
    law = GaussianMixture(means, torch.tensor([0.1, 0.1]).double(), weights)
    edges = torch.linspace(math.log(1e-4), math.log(8.0), 40, dtype=torch.float64).exp()
    total, square = 0.0, 0.0
    for i, (low, high) in enumerate(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)):
        value, error = entropy_rates(law, math.sqrt(low * high), 4000, generator_for(6, "draw", i))[
            "entropy_production"
        ]
        weight = math.sqrt(low * high) * math.log(high / low)  # midpoint rule in log t
        total, square = total + weight * value, square + (weight * error) ** 2
    assert abs(total - 0.59165) < 4 * math.sqrt(square)


def test_spins_produce_entropy_at_the_rate_of_their_mean_square_error():
    """E|score|^2 = N/s^2 - mmse/s^4 ties the rate to the denoiser's error: an I-MMSE identity."""
    law, t, n = IsingRing(normal(12, seed=7), 0.8, (1, 12)), 0.4, 4000
    value, error = entropy_rates(law, t, n, generator_for(7, "draw", 0))["entropy_rate"]
    s2, x = math.expm1(2 * t), law.sample(n, generator_for(8, "draw", 0)).double()
    y = x + math.sqrt(s2) * normal(n, 1, 12, seed=9)
    wrong = (x - law(y, torch.tensor(math.sqrt(s2)).double())).square().flatten(1).sum(1)
    fisher = math.exp(2 * t) * (12 / s2 - wrong / s2**2)
    assert abs(value - float(fisher.mean() - 12)) < 4 * math.hypot(error, float(fisher.std()) / math.sqrt(n))
