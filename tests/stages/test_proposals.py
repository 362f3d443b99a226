"""A network as a move of Monte Carlo: the law stays as it is, by enumeration, whatever the network is worth."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from physgen.diffusion.exact.atoms import enumerate_spins
from physgen.diffusion.levels import log_uniform
from physgen.domains.spins import Spins, monte_carlo, moves
from physgen.domains.spins.couplings import lattice_couplings, lattice_edges
from physgen.domains.spins.enumeration import enumerate_graph
from physgen.domains.spins.layout import Disorder, spin_template
from physgen.domains.spins.moved import simulate_with_moves
from physgen.domains.spins.tempering import Between
from physgen.errors import InputError
from physgen.runs.folder import open_run
from physgen.runs.levels import Levels
from physgen.runs.model import build_denoiser, load_model
from physgen.stages.proposals import Proposals

GRID, SPINS, LADDERS, SIGNIFICANCE = (2, 3), 6, 1000, 1e-3
TEMPERATURES = np.array([1.5, 2.0])
COUPLINGS = lattice_couplings(GRID, "gaussian", "cylinder", 8, np.arange(1))
EDGES = lattice_edges(GRID)
GRAPH = monte_carlo.make_graph(EDGES, COUPLINGS.reshape(-1), SPINS)
STATES, WEIGHTS = np.asarray(enumerate_spins(SPINS)), 1 << np.arange(SPINS)
PLACES = np.argsort((STATES > 0) @ WEIGHTS)
LAWS = [enumerate_graph(SPINS, EDGES, COUPLINGS.reshape(-1), t).probabilities for t in TEMPERATURES]


@pytest.fixture(scope="module")
def proposals():
    """Of a network that never learned anything, its weights pushed about, with three steps."""
    shipped = load_model(open_run("glass:ea2d").folder / "model", "cpu")
    options = {**shipped.experiment.network.model_dump(), "width": 8, "depth": 2}
    network = build_denoiser(shipped.domain, options, 0, shipped.encoding, None).eval().requires_grad_(False)
    noise = torch.Generator().manual_seed(0)
    for weights in network.parameters():
        weights += 0.1 * torch.randn(weights.shape, generator=noise)
    return Proposals(replace(shipped, denoiser=network, folder=None), Levels(log_uniform(6.0, 0.5, 3), "few"), seed=5)


def template(temperatures=TEMPERATURES, grid=GRID, couplings=COUPLINGS):
    return spin_template(Disorder(couplings, None, None), grid, temperatures, np.arange(1), 1)


def after(propose, count):
    """p-values of the law at each temperature after moves from equilibrium, and the share accepted."""
    rng = np.random.default_rng(2)
    walkers = monte_carlo.start(GRAPH, TEMPERATURES, LADDERS, rng)
    for level, law in enumerate(LAWS):
        walkers.spins[:, walkers.lane_at[:, level]] = STATES[rng.choice(len(law), LADDERS, p=law)].T
    taken = [moves.propose_lattices(walkers, GRAPH, np.arange(2), propose, n).mean() for n in range(count)]
    found = []
    for level, law in enumerate(LAWS):
        spins = monte_carlo.configurations(walkers, np.array([level]))[0]
        counts = np.bincount(PLACES[(spins > 0) @ WEIGHTS], minlength=len(law))
        rare = law * LADDERS < 8
        expected = np.append(law[~rare], law[rare].sum()) * LADDERS
        found.append(stats.chisquare(np.append(counts[~rare], counts[rare].sum()), expected).pvalue)
    return found, np.mean(taken)


def test_a_network_that_is_wrong_leaves_the_law_as_it_is(proposals):
    found, taken = after(proposals(template(), LADDERS), 3)
    assert min(found) > SIGNIFICANCE and 0.1 < taken < 0.95


def test_the_same_network_without_the_ratio_does_not(proposals):
    propose = proposals(template(), LADDERS)

    def always(here, number):
        new, log_ratio = propose(here, number)
        return new, np.zeros_like(log_ratio)

    assert max(after(always, 1)[0]) < SIGNIFICANCE**3


def test_shapes_are_those_that_came_in(proposals):
    propose = proposals(template(), 4)
    here = np.ones((2, 4, *GRID), dtype=np.int8)
    new, log_ratio = propose(here, 0)
    flat, same = propose(here.reshape(2, 4, SPINS), 0)
    assert new.shape == here.shape and new.dtype == np.int8 and log_ratio.shape == (2, 4)
    assert np.array_equal(new.reshape(flat.shape), flat) and np.array_equal(log_ratio, same)
    alone, other = propose(here, 1)
    assert not np.array_equal(alone, new) and np.isfinite(other).all()
    with pytest.raises(InputError, match="give as many as the proposals were made for"):
        propose(here[:, :3], 0)


def test_parallel_tempering_takes_them(proposals):
    asked = Spins(length=4, instances=2, replicas=4, temperatures=(1.5, 2.0), sweeps=1000)
    made = simulate_with_moves(asked, 3, Between(proposals, 250))
    assert made.attrs["proposals"] == 2 * 2 * 4 * 4 and made.attrs["equilibration"] == "passed"
    assert 0 < made.attrs["proposals_accepted"] < 64


def test_what_the_network_cannot_draw_is_refused(proposals):
    with pytest.raises(InputError, match="too few"):
        Proposals.of("glass:ea2d", steps=1)
    cube = lattice_couplings((2, 2, 2), "gaussian", "periodic", 1, np.arange(1))
    with pytest.raises(InputError, match="propose with one trained on it"):
        proposals(template(grid=(2, 2, 2), couplings=cube), 4)
