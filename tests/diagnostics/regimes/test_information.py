"""Information on classes and free entropies, against quadrature and binomial sums."""

import math

import numpy as np
import pytest
import torch

from physgen.diagnostics.regimes.clocks import FLIPS, REVEALED
from physgen.diagnostics.regimes.information import class_information, free_entropy_speciation, time_of_peak
from physgen.diagnostics.regimes.mixture_theory import mixture_cloning
from physgen.diagnostics.regimes.revealed import (
    revealed_collapse,
    revealed_collapse_fraction,
    revealed_pair_speciation_fraction,
    revealed_speciation_fraction,
)
from physgen.diffusion.exact import GaussianMixture, IsingTree, LawMixture, tree_chain
from physgen.diffusion.noise import generator_for
from physgen.errors import InputError


def gaussians(means, sigma=1.0, weights=None):
    variance = torch.tensor([sigma**2]).double()
    return LawMixture([GaussianMixture(m[None, None], variance) for m in means], weights)


def test_published_cloning_probabilities_and_the_peak():
    """phi at t_S for d = 256 and sigma 1, .5, 2; phi at u = 1/2 and 2; peak of the information rate at u = 1.5085."""
    t_S = 0.5 * math.log(256)
    for sigma, expected in ((1.0, 0.77520), (0.5, 0.7757), (2.0, 0.7734)):
        found = float(mixture_cloning(16.0, [t_S], sigma)["value"][0])
        assert found == pytest.approx(expected, abs=5e-5 if sigma != 1 else 5e-6)
    others = mixture_cloning(16.0, [t_S - 0.5 * math.log(2), t_S + 0.5 * math.log(2)])["value"].values
    assert np.allclose(others, [0.88449, 0.67506], atol=5e-6)
    ts = np.arange(2.4, 2.8, 0.005)
    rate = mixture_cloning(16.0, ts)["rate"].values
    assert ts[rate.argmax()] - t_S == pytest.approx(-0.5 * math.log(1.5085), abs=0.003)


def test_theory_does_not_depend_on_how_the_means_are_written():
    """Two classes as a number, as vectors in 5 dimensions, and as the third class of no weight."""
    ts = [0.5, 1.5]
    one = mixture_cloning(2.0, ts, weights=[0.3, 0.7])
    axis = np.array([0.6, 0, 0.8, 0, 0]) * 2
    five = mixture_cloning([5 - axis, 5 + axis], ts, weights=[0.3, 0.7])
    third = mixture_cloning([-axis, axis, [0, 9, 0, 0, 0]], ts, weights=[0.3, 0.7, 1e-12])
    for name in ("value", "information", "rate"):
        assert np.allclose(five[name], one[name], atol=1e-9)
        assert np.allclose(third[name], one[name], atol=1e-8)
    with pytest.raises(InputError, match="span 4 dimensions"):
        mixture_cloning(np.eye(5), ts)


@pytest.mark.parametrize("sigma, weights", [(1.0, None), (0.5, torch.tensor([1.0, 2.0, 5.0]))])
def test_information_cloning_and_rate_of_an_exact_mixture_follow_the_quadrature(sigma, weights):
    means = 5 * torch.eye(3, 8).double()
    mixture, n = gaussians(means, sigma, weights), 3000
    x = mixture.sample(n, generator_for(0, "information", 0))
    ts = np.arange(0.5, 1.7, 0.15)
    found = class_information(x, ts, 1, mixture.class_posterior, mixture.class_spread)
    theory = mixture_cloning(means.numpy(), ts, sigma, None if weights is None else weights.numpy())
    for name, exact in (("value", "information"), ("cloning", "value"), ("rate", "rate")):
        error = found["error" if name == "value" else f"{name}_error"]
        assert np.all(np.abs(found[name] - theory[exact]) < 4 * error)
    peak = float(time_of_peak(ts, theory["rate"].values[None])[0])
    assert abs(float(found["t_peak"]) - peak) < 4 * float(found["t_peak_error"])


def test_free_entropies_of_two_gaussians_part_at_the_spectral_time():
    """mean = 2u and variance = 4u: equal at u = 1, t = ln |c|, if sigma = 1; with four classes pair by pair."""
    means = torch.zeros(3, 6).double()
    means[0, 0], means[1, 0], means[2, 1] = 4, -4, 9
    mixture = gaussians(means)
    x, labels = mixture.sample_with_class(6000, generator_for(0, "free entropy", 0))
    found = free_entropy_speciation(x, labels.numpy(), mixture.class_log_densities, np.arange(0.6, 2.6, 0.1), 1)
    for i, j in ((0, 1), (1, 0), (0, 2), (2, 1)):
        exact = math.log(float((means[i] - means[j]).norm()) / 2)
        assert abs(float(found["t_S"][i, j]) - exact) < 4 * float(found["t_S_error"][i, j])
    assert float(found["t_S_error"].max()) < 0.04 and np.isnan(float(found["t_S"][0, 0]))


def free_spins(mean, sites):
    """Two classes of independent values with means +-m, in a spin law."""
    field = math.atanh(mean) * torch.ones(sites)
    zero = torch.zeros(sites)
    return LawMixture([IsingTree(tree_chain(sites), zero, 1.0, (1, sites), sign * field) for sign in (-1, 1)])


def test_masked_classes_of_independent_sites_follow_the_binomial_law():
    sites, mean = 60, 0.4
    mixture = free_spins(mean, sites)
    x, labels = mixture.sample_with_class(4000, generator_for(0, "masked", 0))
    fractions = np.array([2, 5, 8, 16]) / sites
    found = class_information(x, fractions, 1, lambda y, f: mixture.known_posterior(y), clock=REVEALED)
    for k, value, error in zip((2, 5, 8, 16), found["cloning"].values, found["cloning_error"].values, strict=True):
        up = np.arange(k + 1)
        p = np.array([math.comb(k, j) * (0.5 + mean / 2) ** j * (0.5 - mean / 2) ** (k - j) for j in up])
        exact = 1 - (p * p[::-1] / (p + p[::-1])).sum()
        assert abs(value - exact) < 4 * error
    parted = free_entropy_speciation(
        x, labels.numpy(), lambda y, f: mixture.known_log_probabilities(y), fractions, 1, clock=REVEALED
    )
    exact = revealed_speciation_fraction(sites, mean)
    for i, j in ((0, 1), (1, 0)):
        assert abs(float(parted["t_S"][i, j]) - exact) < 4 * float(parted["t_S_error"][i, j])


def test_flipped_classes_part_where_the_eigenvalue_is_washed_out():
    """Values of correlation rho have the mean rho m: (1 - rho^2 m^2)/(rho^2 m^2) = N, so rho^2 = 1/(m^2 (N + 1))."""
    sites, mean = 60, 0.4
    mixture = free_spins(mean, sites)
    x, labels = mixture.sample_with_class(4000, generator_for(0, "flipped", 0))
    found = free_entropy_speciation(
        x, labels.numpy(), mixture.flipped_log_probabilities, np.arange(0.6, 1.8, 0.1), 1, clock=FLIPS
    )
    exact = 0.5 * math.log(mean**2 * (sites + 1))
    for i, j in ((0, 1), (1, 0)):
        assert abs(float(found["t_S"][i, j]) - exact) < 4 * float(found["t_S_error"][i, j])


def test_masked_collapse_of_random_values_is_that_of_the_random_energy_model():
    """K - 1 is Poisson of mean n/2^k: Y2 = (1 - e^-mean)/mean, .632 where ln n nats are known."""
    n, sites = 2048, 40
    x = torch.where(torch.rand(n, 1, sites, generator=generator_for(0, "collapse", 0)) < 0.5, -1.0, 1.0)
    found = revealed_collapse(x, np.array([8, 11, 13]) / sites, 1)
    mean = n / 2.0 ** np.array([8, 11, 13])
    exact = (1 - np.exp(-mean)) / mean
    assert np.all(np.abs(found["order_parameter"] - exact) < 5 * found["order_parameter_error"])  # pairs are shared
    assert revealed_collapse_fraction(n, sites, math.log(2)) == pytest.approx(11 / sites)
    assert exact[1] == pytest.approx(0.632, abs=1e-3)


def test_pairs_of_sites_that_hardly_differ():
    """For small correlations kappa = (c - c')^2/2 and q = (c - c')^2, so theta = 2/(|c - c'| sqrt N)."""
    found = revealed_pair_speciation_fraction(10000, [1e-3], [2e-3])
    assert found == pytest.approx(2 / (1e-3 * 100), rel=0.01)


def test_what_cannot_be_measured_is_refused():
    mixture, x = free_spins(0.4, 8), torch.ones(4, 1, 8)
    with pytest.raises(InputError, match="pass one"):
        class_information(x, [1.0], 0)
    with pytest.raises(InputError, match="Ornstein"):
        class_information(x, [0.5], 0, spread=mixture.class_spread, clock=REVEALED)
    with pytest.raises(InputError, match="at most 1"):
        revealed_collapse(x, [1.5], 0)
    with pytest.raises(InputError, match="number them from 0"):
        free_entropy_speciation(x, np.array([0, 0, 5, 5]), mixture.class_log_densities, [1.0], 0)
    with pytest.raises(InputError, match=r"values \+-1"):
        revealed_collapse(0.5 * x, [0.5], 0)
