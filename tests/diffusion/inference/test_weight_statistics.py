"""Means of pairs and chains from log-weights: brute force, the scatter of repetitions, the law of four spins."""

import itertools

import numpy as np
import pytest
import torch
from scipy.stats import chi2

from physgen.diffusion.inference.weight_statistics import (
    independence_metropolis,
    reweighted_jackknife,
    reweighted_pair_mean,
    stays,
)


def test_pairs_are_those_of_different_draws_whatever_the_block():
    generator = torch.Generator().manual_seed(3)
    logs, values = torch.randn(50, 2, generator=generator, dtype=torch.float64).unbind(1)
    kernel = torch.outer(values, values)
    weight = torch.exp(logs)
    both = torch.outer(weight, weight).fill_diagonal_(0)
    mean, error = reweighted_pair_mean(lambda part: kernel[part], logs, block=7)
    assert mean == pytest.approx(float((both * kernel).sum() / both.sum()), rel=1e-12)
    without = []
    for j in range(50):
        rest = torch.arange(50) != j
        part = both[rest][:, rest]
        without.append(float((part * kernel[rest][:, rest]).sum() / part.sum()))
    assert error == pytest.approx(np.sqrt(49 / 50 * np.square(without - np.mean(without)).sum()), rel=1e-9)
    again = reweighted_pair_mean(lambda part: kernel[part], logs + 900.0)
    assert again == pytest.approx((mean, error), rel=1e-9)


def test_errors_of_weighted_means_are_the_scatter_between_repetitions():
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(700, 200, generator=generator, dtype=torch.float64)  # weight e^(x/2): the law is N(1/2, 1)
    single = np.array([reweighted_jackknife(one, one / 2) for one in x])
    pairs = np.array([reweighted_pair_mean(lambda part, one=one: one[part][:, None] * one, one / 2) for one in x])
    for found, exact in ((single, 0.5), (pairs, 0.25)):
        scatter = found[:, 0].std()
        assert abs(found[:, 0].mean() - exact) < 0.01 + 4 * scatter / 700**0.5  # the bias is of order 1/200
        # the mean square of the errors has a heavier tail than that of the means: 12 % at 700 repetitions
        assert np.sqrt(np.mean(found[:, 1] ** 2)) == pytest.approx(scatter, rel=0.12)
    mean, error = reweighted_jackknife(x[0], torch.where(torch.arange(200) == 7, 0.0, -900.0).double())
    assert mean == pytest.approx(float(x[0, 7])) and error == np.inf  # one draw has all of the weight


def test_the_chain_of_four_spins_is_stationary_at_the_enumerated_law():
    rng = np.random.default_rng(20)
    states = np.array(list(itertools.product([-1.0, 1.0], repeat=4)))
    bonds = np.triu(rng.normal(size=(4, 4)), 1)
    log_law = ((states @ bonds) * states).sum(axis=1)
    law = np.exp(log_law) / np.exp(log_law).sum()
    proposal = np.prod(np.where(states > 0, [0.6, 0.3, 0.5, 0.7], [0.4, 0.7, 0.5, 0.3]), axis=1)
    log_weight = log_law - np.log(proposal)

    chains, steps = 4000, 5  # each begins with a state of the law: it stays one
    start = rng.choice(16, size=(chains, 1), p=law)
    draws = np.hstack([start, rng.choice(16, size=(chains, steps), p=proposal)])
    counts, moves = np.zeros(16), np.zeros((16, 16))
    for chain, row in enumerate(draws):
        numbers, _ = independence_metropolis(torch.from_numpy(log_weight[row]), 21, chain)
        path = row[numbers.numpy()]
        counts[path[-1]] += 1
        np.add.at(moves, (path[:-1], path[1:]), 1)

    # the matrix of the chain in closed form; the law is its left eigenvector to the last digits
    matrix = proposal * np.minimum(1, np.exp(log_weight[None] - log_weight[:, None]))
    np.fill_diagonal(matrix, 0)
    np.fill_diagonal(matrix, 1 - matrix.sum(axis=1))
    np.testing.assert_allclose(law @ matrix, law, rtol=1e-12)
    expected = moves.sum(axis=1, keepdims=True) * matrix
    assert chi2.sf(np.sum((moves - expected) ** 2 / expected), 16 * 15) > 1e-4
    assert chi2.sf(np.sum((counts - chains * law) ** 2 / (chains * law)), 15) > 1e-4
    proposed = np.bincount(draws[:, -1], minlength=16)  # what is not chosen by weight is far from the law
    assert chi2.sf(np.sum((proposed - chains * law) ** 2 / (chains * law)), 15) < 1e-100


def test_stays_give_the_autocorrelation_time_of_what_does_not_depend_on_the_weight():
    log_weight = torch.from_numpy(np.random.default_rng(22).normal(size=5000))
    states, _ = independence_metropolis(log_weight, 23)
    lengths = stays(states).double()
    tau = float(lengths.square().sum() / lengths.sum())
    chain = torch.from_numpy(np.random.default_rng(24).normal(size=(800, 5000)))[:, states]
    ratio = chain.mean(1).square().mean() * 5000 / tau  # the variance of a mean over that of independent states
    assert abs(float(ratio) - 1) < 4 * (2 / 800) ** 0.5
    assert stays(torch.tensor([0, 0, 3, 4, 4, 4])).tolist() == [2, 1, 3]
