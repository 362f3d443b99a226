"""Means along sweeps of the law given y: unbiased at any number of sweeps, by enumeration."""

import math

import pytest
import torch

from physgen.domains.spins.domain import Spins
from physgen.domains.spins.posterior_sweeps import PosteriorSweeps, independent_set, lattice_colours
from physgen.lattice import neighbour
from tests.domains.spins.test_target import S, graph, lattice, normal, posterior

COUNT = 20_000


def ring():
    """Ten spins, degrees 2 and 3, as a list of edges with one that is not there."""
    edges = torch.tensor([[i, (i + 1) % 10] for i in range(10)] + [[0, 5], [2, 7], [1, 8]])
    bonds = normal(13, seed=8)
    bonds[-1] = 0
    return (
        {"edges": edges[None], "bonds": bonds[None]},
        lambda x: (bonds * x[:, 0, edges[:, 0]] * x[:, 0, edges[:, 1]]).sum(1),
        (10,),
    )


@pytest.mark.parametrize("law", [lattice(free=False), graph(), ring()], ids=["lattice in a field", "matrix", "edges"])
def test_from_draws_of_the_law_the_mean_is_exact_at_any_number_of_sweeps(law):
    condition, weight, grid = law
    y = normal(1, 1, *grid, seed=5)
    states, probability = posterior(weight, grid, y)
    shape = (-1, *[1] * (y.ndim - 1))
    exact = (probability.reshape(shape) * states).sum(0)
    torch.manual_seed(1)
    starts = states[torch.multinomial(probability, COUNT, replacement=True)]
    given = {name: value.expand(COUNT, *value.shape[1:]) for name, value in condition.items()}
    spread = []
    for sweeps in (1, 12):
        means = PosteriorSweeps(sweeps)(starts, y.expand_as(starts), S.expand(COUNT), given)
        error = (means.var(0) / COUNT).sqrt()
        assert float(((means.mean(0) - exact) / error).abs().max()) < 4.5  # of 10 or 12 sites
        spread.append(float(means.var(0).sum()))
    assert spread[1] < 0.75 * spread[0]  # later states are news


@pytest.mark.parametrize("law", [lattice(free=False), graph(), ring()], ids=["lattice in a field", "matrix", "edges"])
def test_a_long_chain_from_any_start_comes_to_the_exact_mean(law):
    """The sweeps leave the law itself unchanged, not only some law in which the starts happen to stand."""
    condition, weight, grid = law
    y = normal(1, 1, *grid, seed=7)
    states, probability = posterior(weight, grid, y)
    exact = (probability.reshape(-1, *[1] * (y.ndim - 1)) * states).sum(0)
    torch.manual_seed(2)
    starts = torch.ones(400, 1, *grid, dtype=torch.float64)
    given = {name: value.expand(400, *value.shape[1:]) for name, value in condition.items()}
    means = PosteriorSweeps(400)(starts, y.expand_as(starts), S.expand(400), given)
    error = (means.var(0) / 400).sqrt()
    bias = 10 / 400  # of a start that is forgotten in ten sweeps
    assert float(((means.mean(0) - exact).abs() - bias).div(error).max()) < 4.5


@pytest.mark.parametrize("grid", [(6,), (5,), (4, 6), (3, 4), (5, 3), (1, 5), (2, 3, 4), (3, 3, 5)])
def test_no_neighbour_has_the_same_colour(grid):
    colour = lattice_colours(grid)
    assert int(colour.max()) == (2 if any(length % 2 and length > 1 for length in grid) else 1)
    for direction in range(2 * len(grid)):
        if grid[direction // 2] > 1:
            assert bool((neighbour(colour[None, None], direction, len(grid))[0, 0] != colour).all())


def test_an_independent_set_has_no_bond_inside_and_reaches_every_spin():
    condition, _, (spins,) = ring()
    edges, bonds = condition["edges"].expand(300, -1, -1), condition["bonds"].expand(300, -1)
    torch.manual_seed(3)
    chosen = independent_set(edges, bonds, spins)
    first, second = edges.unbind(-1)
    assert not bool((chosen.gather(1, first) & chosen.gather(1, second) & (bonds != 0)).any())
    assert float(chosen.double().mean(0).min()) > 1 / 4 - 4 * math.sqrt(3 / 16 / 300)  # 1/(1 + degree)


def test_the_domain_gives_them():
    assert Spins().training_target("conditional", {}, 8) == PosteriorSweeps(8)
