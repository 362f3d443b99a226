"""Means that a training may denoise towards: of the same mean given y as the configuration, by enumeration."""

import itertools
import math

import pytest
import torch

from physgen.domains.spins.domain import Spins
from physgen.domains.spins.target import conditional_mean, exact_mean
from physgen.errors import InputError

S = torch.tensor([0.9], dtype=torch.float64)


def normal(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def lattice(free):
    """Bonds of a 3 x 4 lattice (free or periodic along the first dim) and a field, and -beta H of x (B, 1, 3, 4)."""
    up, outer = normal(2, 3, 4, seed=1), 0.5 * normal(1, 3, 4, seed=2)
    if free:
        up[0, -1] = 0
    channels = torch.stack([up[0], up[0].roll(1, 0), up[1], up[1].roll(1, 1)])[None]

    def weight(x):
        x = x[:, 0]
        return (x * (up[0] * x.roll(-1, 1) + up[1] * x.roll(-1, 2) + outer)).flatten(1).sum(1)

    return {"channels": channels, "field": outer[None]}, weight, (3, 4)


def graph():
    bonds = torch.triu(normal(10, 10, seed=3) / math.sqrt(10), 1)
    return {"matrix": (bonds + bonds.T)[None]}, lambda x: torch.einsum("bi,ij,bj->b", x[:, 0], bonds, x[:, 0]), (10,)


def posterior(weight, grid, y):
    """All states and their probabilities given y."""
    states = torch.tensor(list(itertools.product([-1.0, 1.0], repeat=math.prod(grid))), dtype=torch.float64)
    states = states.reshape(-1, 1, *grid)
    return states, torch.softmax(weight(states) + (states * y / S**2).flatten(1).sum(1), 0)


@pytest.mark.parametrize("law", [lattice(free=False), graph()], ids=["lattice", "graph"])
def test_each_spin_given_all_others_and_its_mean_over_them(law):
    condition, weight, grid = law
    y = normal(1, 1, *grid, seed=5)
    states, probability = posterior(weight, grid, y)
    given = {name: value.expand(len(states), *value.shape[1:]) for name, value in condition.items()}
    aims = conditional_mean(states, y.expand_as(states), S.expand(len(states)), given)
    exact = (probability.reshape(-1, *[1] * (y.ndim - 1)) * states).sum(0)
    mean = (probability.reshape(-1, *[1] * (y.ndim - 1)) * aims).sum(0)
    assert float((mean - exact).abs().max()) < 1e-12  # the tower rule
    scatter = (probability @ (aims - exact).flatten(1).square()).sum()
    assert float(scatter) < 0.8 * float((1 - exact.square()).sum())  # and the target scatters less than the spins
    # one spin given the others, by its two states
    site = states[17].clone()
    flipped = site.clone()
    flipped.view(-1)[2] *= -1
    both = torch.stack([site, flipped])
    odds = torch.softmax(weight(both) + (both * y / S**2).flatten(1).sum(1), 0)
    expected = float(odds @ both.flatten(1)[:, 2])
    assert float(aims[17].flatten()[2]) == pytest.approx(expected, abs=1e-12)


def test_the_exact_mean_is_that_of_enumeration_and_needs_a_free_side():
    condition, weight, grid = lattice(free=True)
    y = normal(1, 1, *grid, seed=6)
    states, probability = posterior(weight, grid, y)
    exact = (probability.reshape(-1, 1, 1, 1) * states).sum(0)
    assert float((exact_mean(states[:1], y, S, condition) - exact).abs().max()) < 1e-12
    with pytest.raises(InputError, match="free boundary along the first dim"):
        exact_mean(states[:1], y, S, lattice(free=False)[0])


def test_the_domain_gives_both():
    assert Spins().training_target("conditional", {}) is conditional_mean
    assert Spins().training_target("exact", {}) is exact_mean
