"""Symmetries of a lattice move fields and bonds alike, one for all samples or one for each."""

import math

import pytest
import torch

from physgen.diffusion.draws import SampleDraws
from physgen.lattice import Moves, Symmetry, equal_axes, point_group, random_moves, whole_numbers

GRIDS = [(6,), (4, 4), (4, 6), (3, 3, 3), (4, 4, 3)]


def field(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def around(up):
    """Bonds (B, 2d, *grid) around each site of the bonds up (B, d, *grid)."""
    return torch.stack([b for a in range(up.shape[1]) for b in (up[:, a], up[:, a].roll(1, 1 + a))], dim=1)


@pytest.mark.parametrize("grid", GRIDS)
def test_a_move_of_each_sample_is_the_symmetry_of_its_numbers(grid):
    d, group = len(grid), point_group(grid)
    shifts = [tuple((3 * b + a) % 7 - 2 for a in range(d)) for b in range(len(group))]
    elements = [Symmetry(g.axes, g.mirrored, shift) for g, shift in zip(group, shifts, strict=True)]
    moves = Moves(
        torch.tensor([g.axes for g in elements]),
        torch.tensor([[axis in g.mirrored for axis in range(d)] for g in elements]),
        torch.tensor(shifts),
    )
    x, bonds = field(len(group), 3, *grid), around(field(len(group), d, *grid, seed=2))
    for b, g in enumerate(elements):
        assert torch.equal(moves.move(x)[b], g.move(x[b : b + 1])[0])
        assert torch.equal(moves.move_bonds(bonds)[b], g.move_bonds(bonds[b : b + 1])[0])


@pytest.mark.parametrize("grid", GRIDS)
def test_moved_bonds_stay_with_their_pairs_of_sites(grid):
    """The energy of each bond's two ends, summed at every site, moves along like a field."""
    d = len(grid)
    x, bonds = field(500, 1, *grid), around(field(500, d, *grid, seed=3))

    def energy(x, bonds):
        return sum(bonds[:, 2 * a + down, None] * x * x.roll(2 * down - 1, 2 + a) for a in range(d) for down in (0, 1))

    moves = random_moves(grid, SampleDraws(4, "moves", range(500)))
    moved = energy(moves.move(x), moves.move_bonds(bonds))
    torch.testing.assert_close(moved, moves.move(energy(x, bonds)), rtol=1e-13, atol=1e-13)
    with pytest.raises(ValueError, match=f"{2 * d} channels"):
        moves.move_bonds(bonds[:, 1:])


def test_random_moves_are_uniform_over_the_group():
    """Square of side 2: 32 images of equal probability; chi2 of 31 degrees of freedom below its 1e-6 quantile."""
    n, marks = 32_000, torch.arange(16.0).reshape(1, 1, 4, 4)
    images = random_moves((4, 4), SampleDraws(0, "moves", range(n))).move(marks.expand(n, 1, 4, 4))
    _, count = images.flatten(1).unique(dim=0, return_counts=True)
    assert len(count) == 128
    expected = n / 128
    assert float((count - expected).square().sum() / expected) < 127 + 6 * math.sqrt(2 * 127)


def test_a_sample_is_moved_alike_in_any_batch():
    x = field(10, 2, 4, 4)
    whole = random_moves((4, 4), SampleDraws(5, "moves", range(10))).move(x)
    part = random_moves((4, 4), SampleDraws(5, "moves", [7, 2])).move(x[[7, 2]])
    assert torch.equal(part, whole[[7, 2]])


def test_digits_of_a_draw_are_uniform_and_independent():
    """Counts of all 24 triples: chi2 of 23 degrees of freedom. Numbers too large for one draw take several."""
    n = 24_000
    a, b, c = whole_numbers(SampleDraws(6, "digits", range(n)), [2, 3, 4])
    count = torch.bincount(a + 2 * b + 6 * c, minlength=24)
    assert len(count) == 24 and float((count - 1000).square().sum() / 1000) < 23 + 6 * math.sqrt(46)
    highs = [2**30, 5, 2**31, 1]
    large = whole_numbers(SampleDraws(6, "digits", range(n)), highs)
    for number, high in zip(large, highs, strict=True):  # the mean of n uniform numbers
        assert abs(float(number.double().mean()) - (high - 1) / 2) <= 4 * high / math.sqrt(12 * n)
    spread = torch.corrcoef(torch.stack([number.double() for number in large[:3]])) - torch.eye(3)
    assert float(spread.abs().max()) < 4.5 / math.sqrt(n)


def test_an_exchange_of_unequal_axes_is_refused():
    order, none = torch.tensor([[1, 0]]), torch.zeros(1, 2, dtype=torch.long)
    with pytest.raises(RuntimeError, match="cannot change places where their sizes differ"):
        Moves(order, none.bool(), none).move(field(1, 1, 4, 6))


def test_axes_are_exchanged_only_where_lengths_and_cells_agree():
    assert equal_axes((4, 4), (1.0, 1.0 + 1e-8)) == [(0, 1), (1, 0)]
    assert equal_axes((4, 4), (1.0, 1.001)) == [(0, 1)] == equal_axes((4, 5))
    assert len(equal_axes((4, 4, 6))) == 2 and len(point_group((4, 4, 4), (1.0, 1.0, 2.0))) == 16
