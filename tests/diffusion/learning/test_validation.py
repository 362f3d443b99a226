"""The headline of a validation: a ratio of sums with an error over independent units, defined on any data."""

import math

import numpy as np
import pytest
import torch

from physgen.diffusion.learning.validation import summarise_losses, validation_loss

LEVELS = torch.tensor([0.05, 0.5, 1.0, 4.0])


def free_spin(y, s, condition=None):
    return torch.tanh(y / s.reshape(-1, 1, 1).square())


def spins(count=48):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(2, (count, 1, 6), generator=generator).float() * 2 - 1


def test_a_level_without_mistakes_of_the_baseline_neither_rules_nor_spoils_the_headline():
    """At s = 0.05 the free-spin baseline is right to the bit: its loss is 0, and a level-wise ratio is 0/0."""
    x = spins()
    found = validation_loss(free_spin, x, None, LEVELS, 0, free_spin)
    assert math.isnan(found.ratio[0]) and not found.counted[0]
    assert found.counted[1:].all()
    assert found.overall == pytest.approx(1) and found.overall_error == 0
    noisy = validation_loss(lambda y, s, c=None: free_spin(y, s) + 1e-3, x, None, LEVELS, 0, free_spin)
    assert noisy.overall == pytest.approx(1, abs=1e-4)  # whereas its ratio at s = 0.05 is infinite


def test_the_headline_is_the_ratio_of_the_summed_losses():
    x = spins()
    found = validation_loss(lambda y, s, c=None: 0.9 * free_spin(y, s), x, None, LEVELS, 0, free_spin)
    reference = validation_loss(free_spin, x, None, LEVELS, 0, None)
    assert found.overall == pytest.approx(float(found.loss[1:].sum() / reference.loss[1:].sum()), rel=1e-12)


def test_its_error_is_the_scatter_over_units_between_repetitions():
    """Samples of one unit are copies of each other: the error must not shrink with their number."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(300):
        reference = np.repeat(rng.gamma(4.0, size=(3, 12)), 10, axis=1)
        error = reference * np.repeat(rng.normal(0.8, 0.2, size=(3, 12)), 10, axis=1)
        units = np.repeat(np.arange(12), 10)
        found.append(summarise_losses(LEVELS[:3], torch.from_numpy(error), torch.from_numpy(reference), units))
    scatter = np.std([f.overall for f in found], ddof=1)
    claimed = np.mean([f.overall_error for f in found])
    assert claimed == pytest.approx(scatter, rel=0.2)  # 300 repetitions: 4 %; few units: less than 10 % low
    level_scatter = np.std([f.ratio[0] for f in found], ddof=1)
    assert np.mean([f.ratio_error[0] for f in found]) == pytest.approx(level_scatter, rel=0.2)
    alone = summarise_losses(LEVELS[:3], torch.from_numpy(error), torch.from_numpy(reference), np.zeros(120))
    assert math.isnan(alone.overall_error) and not math.isnan(alone.overall)
