"""Draws belong to a sample, and successive calls are independent."""

import math

import torch

from physgen.diffusion.draws import SampleDraws


def three(index):
    draws = SampleDraws(3, "test", index)
    return draws.integers(10, (4,)), draws.uniform((2,)), draws.normal((5, 2)), draws.integers(10, (4,))


def test_a_sample_gets_the_same_numbers_in_any_batch():
    for whole, part in zip(three(range(20)), three(torch.tensor([13, 2])), strict=True):
        assert torch.equal(whole[[13, 2]], part)


def test_successive_calls_are_independent():
    """Correlation of n pairs of independent numbers: a standard deviation of 1/sqrt(n)."""
    draws, n = SampleDraws(3, "test", range(20_000)), 20_000
    for draw in (lambda: draws.integers(2).double(), draws.uniform, draws.normal):
        pair = torch.stack([draw().double(), draw().double()])
        assert abs(float(torch.corrcoef(pair)[0, 1])) < 4 / math.sqrt(n)


def test_whole_numbers_are_uniform():
    """chi2 of 6 degrees of freedom within 4 of its standard deviations, sqrt(12), and more on the long side."""
    count = torch.bincount(SampleDraws(1, "test", range(70_000)).integers(7), minlength=7)
    assert len(count) == 7 and float((count - 10_000).square().sum() / 10_000) < 6 + 6 * math.sqrt(12)
