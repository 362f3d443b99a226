"""Grids of noise levels."""

import math

import pytest
import torch

from physgen.diffusion.levels import check_levels, karras, log_uniform


@pytest.mark.parametrize("make", [log_uniform, karras])
def test_grid_descends_between_its_ends_and_closes_with_zero(make):
    levels = make(80.0, 0.002, 17)
    assert levels.shape == (18,) and levels.dtype == torch.float64
    assert levels[0] == 80.0 and levels[-2] == 0.002 and levels[-1] == 0.0
    assert bool((levels.diff() < 0).all())


def test_log_uniform_has_equal_steps_of_log_s():
    steps = torch.log(log_uniform(100.0, 1e-3, 11)[:-1]).diff()
    torch.testing.assert_close(steps, torch.full_like(steps, math.log(1e-5) / 10))


def test_karras_has_equal_steps_of_the_root_and_tends_to_log_uniform():
    steps = (karras(80.0, 0.002, 9, rho=3.0)[:-1] ** (1 / 3)).diff()
    torch.testing.assert_close(steps, steps[0].expand_as(steps))
    torch.testing.assert_close(karras(80.0, 0.002, 9, rho=1e6), log_uniform(80.0, 0.002, 9), rtol=1e-4, atol=0)


@pytest.mark.parametrize(
    "arguments", [(1.0, 2.0, 8), (1.0, 0.0, 8), (math.inf, 0.1, 8), (1.0, 0.1, 1), (1.0, 0.1, 2.5)]
)
def test_impossible_grids_are_refused_with_the_value(arguments):
    with pytest.raises(ValueError, match="got"):
        log_uniform(*arguments)


@pytest.mark.parametrize("levels", [[1.0], [1.0, 1.0, 0.0], [0.5, 1.0], [1.0, -0.1], [math.nan, 0.0], [[1.0, 0.0]]])
def test_levels_that_do_not_descend_to_zero_or_above_are_refused(levels):
    with pytest.raises(ValueError, match="got"):
        check_levels(torch.tensor(levels))
