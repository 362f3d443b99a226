"""Mixtures of exact laws: against enumeration, against the Gaussian mixture, and their classes."""

import math

import pytest
import torch

from physgen.diffusion.exact import (
    CurieWeiss,
    EnumeratedIsing,
    GaussianMixture,
    IsingRing,
    IsingStrip,
    IsingTree,
    LawMixture,
    tree_chain,
)
from physgen.diffusion.exact.atoms import enumerate_spins
from physgen.diffusion.noise import generator_for, noise_like
from physgen.errors import InputError

SITES = 6
WEIGHTS = torch.tensor([1.0, 2.0, 0.5])


def numbers(*shape):
    return noise_like(0, "law mixture", [0], shape, dtype=torch.float64)[0]


def spin_laws(name):
    """Three laws of one kind on six spins."""
    fields = [None, numbers(SITES), 0.5 * torch.ones(SITES)]
    if name == "chain":
        return [IsingTree(tree_chain(SITES), numbers(3, SITES)[j], 0.7, (1, 6), h) for j, h in enumerate(fields)]
    if name == "ring":
        return [IsingRing(numbers(3, SITES)[j], 0.7, (1, 6), h) for j, h in enumerate(fields)]
    if name == "curie_weiss":
        return [CurieWeiss(beta, (1, 6), h) for beta, h in zip((0.5, 1.2, 1.5), fields, strict=True)]
    couplings = numbers(3, 2, 3, 2)
    couplings[:, 0, -1] = 0
    return [IsingStrip(couplings[j], 0.6, None if h is None else h.reshape(3, 2)) for j, h in enumerate(fields)]


def shape_of(name):
    return (1, 3, 2) if name == "strip" else (1, 6)


def weights_of(law, shape):
    """Probabilities (2^N,) of all states by the law's own partition function, in fields that single each out."""
    states = enumerate_spins(SITES).double().reshape(-1, *shape)
    return states, law.log_probability_of_known(states).exp()


@pytest.mark.parametrize("name", ["chain", "ring", "curie_weiss", "strip"])
def test_spin_mixture_equals_the_sum_over_all_states(name):
    shape, laws = shape_of(name), spin_laws(name)
    mixture = LawMixture(laws, WEIGHTS)
    states, _ = weights_of(laws[0], shape)
    p = torch.stack([weights_of(law, shape)[1] for law in laws])  # (J, 2^N)
    assert torch.allclose(p.sum(1), torch.ones(3).double(), atol=1e-12)
    joint = mixture.prior[:, None] * p
    whole = EnumeratedIsing(joint.sum(0).log(), shape)
    s = torch.tensor([0.4, 1.0, 3.0, 1.0]).double()
    y = states[[3, 17, 40, 63]] + s.reshape(-1, *[1] * len(shape)) * numbers(4, *shape)
    assert torch.allclose(mixture(y, s), whole(y, s), atol=1e-10)
    assert torch.allclose(mixture.log_density(y, s), whole.log_density(y, s), atol=1e-10)
    distance = (y.flatten(1)[:, None] - states.flatten(1)).square().sum(2)
    weight = joint * torch.exp(-0.5 * distance / s[:, None] ** 2)[:, None]  # (B, J, 2^N)
    posterior = weight.sum(2) / weight.sum((1, 2))[:, None]
    assert torch.allclose(mixture.class_posterior(y, s), posterior, atol=1e-10)
    known = states[[5, 33]].clone()
    known.flatten(1)[:, [0, 4]] = 0
    fits = ((known.flatten(1)[:, None] * states.flatten(1)) >= 0).all(2).double()
    expected = (fits @ joint.T) / (fits @ joint.sum(0))[:, None]
    assert torch.allclose(mixture.known_posterior(known), expected, atol=1e-10)
    rho = torch.tensor([0.3, 0.8]).double()
    flip = ((1 + rho[:, None, None] * states[[5, 33]].flatten(1)[:, None] * states.flatten(1)) / 2).prod(2)
    assert torch.allclose(mixture.flipped_log_probabilities(states[[5, 33]], rho), (flip @ p.T).log(), atol=1e-10)


def test_mixture_of_gaussians_is_the_gaussian_mixture():
    means, variances, shape = numbers(3, 1, 4), torch.tensor([0.3, 1.0, 2.0]).double(), (1, 4)
    whole = GaussianMixture(means, variances, WEIGHTS)
    mixture = LawMixture([GaussianMixture(means[j : j + 1], variances[j : j + 1]) for j in range(3)], WEIGHTS)
    y, s = 2 * numbers(50, *shape), torch.linspace(0.1, 3, 50).double()
    assert torch.allclose(mixture(y, s), whole(y, s), atol=1e-12)
    assert torch.allclose(mixture.log_density(y, s), whole.log_density(y, s), atol=1e-12)
    assert torch.allclose(mixture.class_posterior(y, s), whole.responsibilities(y, s), atol=1e-12)
    own = mixture.class_denoisers(y, s)
    spread = (mixture.class_posterior(y, s) * (own - mixture(y, s)[:, None]).square().sum((2, 3))).sum(1)
    assert torch.allclose(mixture.class_spread(y, s), spread)


def test_draws_come_with_their_class():
    laws = [CurieWeiss(0.5, (1, 9), h * torch.ones(9)) for h in (-1.0, 0.0, 1.0)]
    mixture, n = LawMixture(laws, WEIGHTS), 6000
    x, number = mixture.sample_with_class(n, generator_for(1, "draws", 0))
    assert x.shape == (n, 1, 9)
    for j, law in enumerate(laws):
        share = float((number == j).double().mean())
        w = float(mixture.prior[j])
        assert abs(share - w) < 4 * math.sqrt(w * (1 - w) / n)
        own = x[number == j].double().mean((1, 2))
        expected = float(law.magnetisation(torch.zeros(1, 9).double()).mean())
        assert abs(float(own.mean()) - expected) < 4 * float(own.std()) / math.sqrt(len(own))


def test_float32_in_float32_out_with_densities_in_float64():
    mixture = LawMixture(spin_laws("chain"))
    y, s = numbers(4, 1, 6).float(), torch.full((4,), 0.7)
    assert mixture(y, s).dtype == mixture.log_density(y, s).dtype == torch.float32
    assert mixture.class_log_densities(y, s).dtype == torch.float64


def test_what_is_no_mixture_is_refused():
    chain = spin_laws("chain")
    with pytest.raises(ValueError, match="at least one law"):
        LawMixture([])
    with pytest.raises(ValueError, match="2 positive numbers"):
        LawMixture(chain[:2], torch.tensor([1.0, 0.0]))
    with pytest.raises(InputError, match="GaussianMixture"):
        gaussian = GaussianMixture(torch.zeros(1, 1, 6), torch.ones(1))
        LawMixture([chain[0], gaussian]).known_posterior(torch.zeros(1, 1, 6))
