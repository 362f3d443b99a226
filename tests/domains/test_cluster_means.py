"""Means over moves of clusters against enumeration and the transfer matrix, and what they refuse."""

import itertools
import math

import pytest
import torch

from physgen.domains.cluster_means import cluster_means
from physgen.domains.contract import get_domain
from physgen.domains.spins import target
from physgen.errors import InputError

LARGEST_Z = 4.0  # of about 20 deviations: one right run in 1000 exceeds it
CHAINS = 8000


def normal(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def deviations(found, exact):
    """Of a mean over independent chains, in its standard errors."""
    return ((found.mean(0) - exact) / (found.std(0) / math.sqrt(len(found)))).abs()


@pytest.fixture(scope="module", params=[2, 3])
def law(request):
    """A 2 x 3 torus of q states: bonds, fields, all states, their probabilities, and the exact mean of each site."""
    states, grid = request.param, (2, 3)
    bonds, field = 1.2 * normal(1, 2, *grid, seed=1).abs(), normal(1, states, *grid, seed=2)
    every = torch.tensor(list(itertools.product(range(states), repeat=6))).reshape(-1, *grid)
    x = torch.nn.functional.one_hot(every, states).movedim(-1, 1).double()
    exponent = (x * field).flatten(1).sum(1)
    for axis in (0, 1):
        exponent += ((every == every.roll(-1, 1 + axis)) * bonds[:, axis]).flatten(1).sum(1)
    probability = exponent.softmax(0)
    return bonds, field, every, probability, torch.einsum("n,nqij->qij", probability, x)


def test_means_from_draws_of_a_law_are_its_means_after_any_number_of_moves(law):
    bonds, field, every, probability, exact = law
    torch.manual_seed(7)
    chosen = every[torch.multinomial(probability, CHAINS, replacement=True)]
    given = field.expand(CHAINS, -1, -1, -1), bonds.expand(CHAINS, -1, -1, -1)
    one, eight = (cluster_means(chosen, *given, sweeps) for sweeps in (1, 8))
    assert float(deviations(one, exact).max()) < LARGEST_Z
    assert float(deviations(eight, exact).max()) < LARGEST_Z
    assert float((one.sum(1) - 1).abs().max()) < 1e-12
    scatter = torch.nn.functional.one_hot(chosen, len(exact)).movedim(-1, 1).double().var(0).mean()
    assert float(one.var(0).mean()) < 0.5 * float(scatter)
    assert float(eight.var(0).mean()) < 0.5 * float(one.var(0).mean())


def test_another_law_is_seen(law):
    """The same test fails where bonds are a tenth stronger, or the starts are not of the law: it can."""
    bonds, field, every, probability, exact = law
    torch.manual_seed(8)
    chosen = every[torch.multinomial(probability, CHAINS, replacement=True)]
    given = field.expand(CHAINS, -1, -1, -1), bonds.expand(CHAINS, -1, -1, -1)
    assert float(deviations(cluster_means(chosen, given[0], 1.1 * given[1], 2), exact).max()) > LARGEST_Z
    assert float(deviations(cluster_means(torch.zeros_like(chosen), *given, 1), exact).max()) > LARGEST_Z


def test_spins_in_a_field_against_the_transfer_matrix():
    """A 3 x 3 cylinder: the mean of targets from enumerated configurations of the law given y is that of the matrix."""
    bonds, outer = torch.full((1, 2, 3, 3), 0.6), 0.4 * normal(1, 1, 3, 3, seed=4).float()
    bonds[:, 0, -1] = 0
    channels = torch.stack([bonds[:, 0], bonds[:, 0].roll(1, 1), bonds[:, 1], bonds[:, 1].roll(1, 2)], 1)
    y, s = 2 * normal(1, 1, 3, 3, seed=3).float(), torch.tensor([1.5])
    every = torch.tensor(list(itertools.product([-1.0, 1.0], repeat=9))).reshape(-1, 1, 3, 3)
    exponent = (every * (y / s.square() + outer)).flatten(1).sum(1)
    for axis in (0, 1):
        exponent += (every * every.roll(-1, 2 + axis) * bonds[:, axis : axis + 1]).flatten(1).sum(1)
    torch.manual_seed(4)
    started = every[torch.multinomial(exponent.softmax(0), 4000, replacement=True)]
    many = {"channels": channels.expand(4000, -1, -1, -1), "field": outer.expand(4000, -1, -1, -1)}
    found = target.cluster_mean(started, y.expand_as(started), s.expand(4000), many)
    exact = target.exact_mean(started[:1], y, s, {"channels": channels, "field": outer})
    assert float(deviations(found, exact[0]).max()) < LARGEST_Z


def test_two_states_of_potts_are_spins_of_half_the_coupling():
    """The same random numbers, so the same means to the last bits; and both domains offer them, vectors do not."""
    x, y, s = torch.sign(normal(5, 1, 3, 4, seed=5)), normal(5, 1, 3, 4, seed=6), torch.full((5,), 0.8).double()
    channels = torch.full((5, 4, 3, 4), 0.4).double()
    of_spins = get_domain("spins")().training_target("clusters", {})
    of_states = get_domain("potts")().training_target("clusters", {})
    torch.manual_seed(9)
    spins = of_spins(x, y, s, {"channels": channels})
    torch.manual_seed(9)
    states = of_states(torch.cat([-x, x], 1), torch.cat([-y, y], 1), s, {"channels": 2 * channels})
    assert float((states[:, 1:] - states[:, :1] - spins).abs().max()) < 1e-12
    assert get_domain("xy")().training_target("clusters", {}) is None


def test_what_has_no_clusters_is_refused():
    ones = torch.ones(1, 1, 3, 3)
    with pytest.raises(InputError, match="not negative, got -2"):
        target.cluster_mean(ones, ones, torch.ones(1), {"channels": -torch.ones(1, 4, 3, 3)})
    with pytest.raises(InputError, match="couplings on a lattice"):
        target.cluster_mean(ones, ones, torch.ones(1), {"matrix": torch.ones(1, 9, 9)})
