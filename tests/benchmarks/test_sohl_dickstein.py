"""The chains of the Sohl-Dickstein page held to enumeration and closed forms."""

import itertools
import math

import pytest
import torch

from benchmarks.sohl_dickstein.binomial import Bits, ExactBits, TrainedBits, bound, first_entropy, path_log_likelihood
from benchmarks.sohl_dickstein.plane_chain import ExactMoments, PlaneKernel, PlaneMoments, step_terms
from benchmarks.sohl_dickstein.plane_chain import bound as plane_bound
from benchmarks.sohl_dickstein.posteriors import LAW, OTHER, given_first, product_of
from physgen.diffusion.inference.path_weights import noising_log_weight
from physgen.domains.points.binary_sequences import heartbeat
from physgen.domains.points.curves import curve_law
from physgen.networks.mlp import MLP

LENGTH, PERIOD, CHAIN = 6, 3, Bits(5, 0.3)
KNOWN = heartbeat(LENGTH, PERIOD)
ONES = (KNOWN.values + 1) / 2
STATES = torch.tensor(list(itertools.product((0.0, 1.0), repeat=LENGTH)), dtype=torch.float64)


def transition(t):
    """q(x_t|x_{t-1}) between all states, (before, after), from the words of the paper alone."""
    beta = 1 / (CHAIN.steps - t + 1)
    one = (1 - beta) * STATES + beta * CHAIN.mean  # probability of a one at each site
    return torch.where(STATES[None] > 0.5, one[:, None], 1 - one[:, None]).prod(2)


def enumerated():
    """By sums over all states: K with the forward first step, K with the model's own, ln p(x0) of the chain, nats."""
    start = (STATES[:, None] == ONES).all(2).double().T  # (K, states)
    forward = [start]
    for t in range(1, CHAIN.steps + 1):
        forward.append(forward[-1] @ transition(t))
    chain, terms = (CHAIN.mean * STATES + (1 - CHAIN.mean) * (1 - STATES)).prod(1), {}
    for t in range(CHAIN.steps, 0, -1):
        joint = forward[t - 1][:, :, None] * transition(t)[None]  # (K, before, after)
        mixed = joint.mean(0)
        c = (mixed.T @ STATES) / mixed.sum(0)[:, None].clamp(min=1e-300)  # of a one before, given the state after
        reverse = torch.where(STATES[None] > 0.5, c[:, None], 1 - c[:, None]).prod(2)  # (after, before)
        back = joint / joint.sum(1, keepdim=True).clamp(min=1e-300)
        ratio = torch.where(joint > 0, (back / reverse.T.clamp(min=1e-300)).clamp(min=1e-300).log(), 0.0)
        terms[t] = float((joint * ratio).sum((1, 2)).mean())
        chain = chain @ reverse
    total = sum(terms[t] for t in range(2, CHAIN.steps + 1))
    drawn = (start * chain.clamp(min=1e-300).log()).sum(1).mean()
    return -(total + first_entropy(CHAIN, ONES)), -(total + terms[1]), float(drawn)


def test_the_ceiling_is_that_of_enumeration():
    exact = ExactBits(CHAIN, ONES, KNOWN.weights)
    forward_first, own_first, log_p = enumerated()
    found = bound(exact, CHAIN, ONES, 3000, seed=0)
    for name, value in (("paper", forward_first), ("own", own_first)):
        measured, error = found[name]
        assert abs(measured - value / math.log(2)) < 4 * error + 1e-9, name
    assert own_first <= log_p <= -math.log(PERIOD)
    paths = path_log_likelihood(exact, CHAIN, ONES, 4000, seed=1)
    assert float(paths.mean()) == pytest.approx(log_p, abs=0.05)  # 4000 weights of scatter e^1: 0.016 each


def test_the_backward_step_is_bayes():
    x0, t = ONES[:1].expand(2, -1), torch.tensor([2, 4])
    for row, step in enumerate(t.tolist()):
        prior = CHAIN.marginal(x0, t - 1)[row]
        beta = 1 / (CHAIN.steps - step + 1)
        for value in (0.0, 1.0):
            x = torch.full((2, LENGTH), value, dtype=torch.float64)
            like = [(1 - beta) * v + beta * CHAIN.mean for v in (0.0, 1.0)]
            like = like if value else [1 - p for p in like]
            expected = like[1] * prior / (like[1] * prior + like[0] * (1 - prior))
            torch.testing.assert_close(CHAIN.backward(x, x0, t)[row], expected)


def test_an_untrained_network_lies_below_the_ceiling():
    model = TrainedBits(MLP(LENGTH, width=8, blocks=1), CHAIN)
    ceiling = bound(ExactBits(CHAIN, ONES, KNOWN.weights), CHAIN, ONES, 500, seed=0)["paper"]
    assert bound(model, CHAIN, ONES, 500, seed=0)["paper"][0] < ceiling[0] - 3 * ceiling[1]


LEVELS = torch.cat([torch.exp(torch.linspace(math.log(5), math.log(0.2), 12, dtype=torch.float64)), torch.zeros(1)])


def test_the_chain_in_the_plane_is_exact_for_a_gaussian():
    """Unit variance in all directions: each step is exact, so K is minus the entropy and every path weighs the same."""
    exact = ExactMoments(torch.zeros(1, 2).double(), torch.ones(1).double(), 1.0)
    x = torch.randn(2000, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    log_p = -0.5 * x.square().sum(1) - math.log(2 * math.pi)
    gap = plane_bound(exact, LEVELS, x, 1) - log_p
    assert abs(float(gap.mean())) < 4 * float(gap.std()) / 2000**0.5
    found = noising_log_weight(
        lambda y, s, c: y, PlaneKernel(exact), LEVELS, x[:50], 2, lambda y: torch.zeros(len(y), dtype=torch.float64)
    )  # fmt: skip
    torch.testing.assert_close(-found, log_p[:50], rtol=0, atol=1e-5)


def test_exact_moments_are_those_of_the_denoiser_and_its_slope():
    law = curve_law("swiss_roll", 0.1, (1.0,))
    model = ExactMoments(*law.nodes[:2], 0.1)
    y = law.sample(3, torch.Generator().manual_seed(0))
    s = torch.full((3,), 0.4, dtype=torch.float64)
    mean, covariance = model.moments(y, s)
    torch.testing.assert_close(mean, law.exact(y, s))
    slope = torch.stack([torch.autograd.functional.jacobian(lambda v: law.exact(v[None], s[:1])[0], one) for one in y])
    torch.testing.assert_close(covariance, 0.4**2 * slope, rtol=1e-6, atol=1e-8)  # Tweedie, second order


def test_a_network_has_a_covariance_and_a_finite_term_at_every_step():
    model, x = PlaneMoments(8, 1), torch.randn(13, 2)
    _, covariance = model.moments(x, torch.full((13,), 0.3))
    assert (torch.linalg.eigvalsh(covariance) > 0).all()
    assert torch.isfinite(step_terms(model, LEVELS, torch.arange(12), x[:12], torch.randn(12, 2))).all()


def test_products_and_posteriors_of_mixtures_are_those_of_quadrature():
    edge = torch.linspace(-5, 5, 301, dtype=torch.float64)
    y, area = torch.cartesian_prod(edge, edge), (10 / 300) ** 2
    still = torch.tensor(0.0)
    log_p, log_q = (law.log_density(y, still) for law in (LAW, OTHER))
    product = torch.softmax(log_p + log_q, 0)
    torch.testing.assert_close(product_of(LAW, OTHER).log_density(y, still).exp() * area, product, rtol=0, atol=1e-9)
    posterior = torch.softmax(log_p - 0.5 * ((0.3 - y[:, 0]) / 0.2) ** 2, 0)
    centre, weight = given_first(LAW, 0.3, 0.2)
    torch.testing.assert_close(weight @ centre, posterior @ y, rtol=0, atol=1e-8)
