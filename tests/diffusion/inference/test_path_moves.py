"""Paths as moves, against enumeration: 4000 chains that share nothing, so that counts are multinomial."""

import numpy as np
import pytest
import torch
from scipy import stats

from physgen.diffusion.exact.atoms import enumerate_spins
from physgen.diffusion.inference import PathProposal, SpinMixture
from physgen.diffusion.levels import log_uniform
from physgen.domains.spins.couplings import lattice_couplings, lattice_edges
from physgen.domains.spins.enumeration import enumerate_graph

GRID, CHAINS, SIGNIFICANCE = (2, 3), 4_000, 1e-3
EDGES = lattice_edges(GRID)
COUPLINGS = lattice_couplings(GRID, "gaussian", "periodic", 5, np.arange(1)).reshape(-1)
FIELD = np.array([0.6, -0.4, 0.0, 1.0, 0.2, -0.8])  # no state has a twin of equal weight
LAW = enumerate_graph(6, EDGES, COUPLINGS, 3.0, FIELD).probabilities
STATES = torch.as_tensor(np.asarray(enumerate_spins(6)), dtype=torch.float64)


def number_of(x):
    """Which of STATES a configuration is: the order of enumeration says it."""
    return (STATES[None] == x.reshape(len(x), 1, 6).double()).all(-1).long().argmax(1)


def log_law(x):
    return torch.log(torch.as_tensor(LAW))[number_of(x)]


def wrong(y, s, condition=None):
    """A denoiser that knows no coupling, believes in the wrong strength of its input, and in a field that is not."""
    return torch.tanh(0.8 * y / s.reshape(-1, 1, 1, 1).square() + 0.15)


def after(start, moves, always=False):
    """States of the chains after so many moves, and the share of proposals that were accepted."""
    propose = PathProposal(wrong, SpinMixture(), log_uniform(8.0, 0.4, 4), log_law, "bernoulli", tile=CHAINS)
    x, generator, accepted = start, torch.Generator().manual_seed(3), 0.0
    for number in range(moves):
        proposed, log_ratio = propose(x, number)
        taken = torch.rand(len(x), generator=generator, dtype=torch.float64).log() < log_ratio
        accepted += float(taken.double().mean()) / moves
        x = proposed if always else torch.where(taken[:, None, None, None], proposed, x)
    return np.bincount(number_of(x), minlength=64), accepted


def p_value(counts):
    return stats.chisquare(counts, LAW * CHAINS).pvalue


@pytest.fixture(scope="module")
def equilibrium():
    drawn = np.random.default_rng(1).choice(64, CHAINS, p=LAW)
    return STATES[drawn].reshape(CHAINS, 1, *GRID).float()


def test_the_law_is_left_as_it_is_by_a_denoiser_that_is_wrong(equilibrium):
    assert LAW.min() * CHAINS > 5
    counts, accepted = after(equilibrium, 3)
    assert p_value(counts) > SIGNIFICANCE and 0.05 < accepted < 0.9


def test_an_acceptance_that_is_wrong_is_found_out(equilibrium):
    assert p_value(after(equilibrium, 3, always=True)[0]) < SIGNIFICANCE**4


def test_moves_alone_reach_the_law_from_anywhere():
    start = torch.ones(CHAINS, 1, *GRID)
    assert p_value(after(start, 1)[0]) < SIGNIFICANCE**4  # not there yet
    assert p_value(after(start, 15)[0]) > SIGNIFICANCE


def test_a_move_depends_on_its_number_and_row_alone(equilibrium):
    propose = PathProposal(wrong, SpinMixture(), log_uniform(8.0, 0.4, 4), log_law, "bernoulli")
    once, again, next_one = (propose(equilibrium[:64], number) for number in (7, 7, 8))
    assert torch.equal(once.x, again.x) and torch.equal(once.log_ratio, again.log_ratio)
    assert not torch.equal(once.x, next_one.x)
