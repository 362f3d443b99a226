"""Group averages: exactly equivariant for any denoiser, and never worse where the law has the symmetry."""

import math

import pytest
import torch

from physgen.diffusion.convention import like
from physgen.diffusion.exact import GaussianField
from physgen.diffusion.inference.likelihood import log_likelihood
from physgen.diffusion.levels import log_uniform
from physgen.diffusion.sampling.samplers import find_sampler, sample
from physgen.diffusion.symmetry import SPIN_FLIP, GroupAverage
from physgen.lattice import Symmetry, point_group, translations
from physgen.networks.unet import UNet

GRIDS = [(6,), (4, 4), (4, 6), (3, 3, 3), (4, 4, 3)]


def draw(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class Awkward:
    """A denoiser without any symmetry, which counts its calls."""

    def __init__(self, grid):
        self.weight, self.bias, self.calls = draw(*grid, seed=3), draw(*grid, seed=4), 0

    def __call__(self, y, s, condition=None):
        self.calls += 1
        extra = 0 if condition is None else (condition["channels"] * self.weight).sum(1, keepdim=True)
        return torch.tanh(self.weight * y + 0.3 * y.roll(1, 2).square() + self.bias + extra) / (1 + like(s, y))


def assert_equivariant(denoiser, group, y, s, channels=None, rule=Symmetry.move):
    condition = None if channels is None else {"channels": channels, "labels": draw(len(y), 2)}
    plain = denoiser(y, s, condition)
    for g in group:
        given = condition and condition | {"channels": rule(g, channels)}
        torch.testing.assert_close(denoiser(g(y), s, given), g(plain), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("grid", "size"), list(zip(GRIDS, (2, 8, 4, 48, 16), strict=True)))
def test_point_groups_are_groups_of_the_right_size(grid, size):
    group, x = point_group(grid), torch.arange(math.prod(grid)).reshape(1, 1, *grid).double()
    moved = {tuple(g(x).flatten().tolist()) for g in group}
    assert len(group) == len(moved) == size
    assert {tuple(g(h(x)).flatten().tolist()) for g in group for h in group} == moved
    assert all(torch.equal(g.undo(g(x)), x) for g in group)


def test_a_general_element_is_undone():
    g, x = Symmetry(axes=(1, 2, 0), mirrored=(0, 2), shift=(1, 2, 0), sign=-1), draw(2, 1, 3, 3, 3)
    assert torch.equal(g.undo(g(x)), x) and not torch.equal(g(x), x)


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("make", [point_group, translations, lambda grid: SPIN_FLIP])
def test_the_average_is_equivariant_whatever_the_denoiser(grid, make):
    group, y, s, channels = make(grid), draw(2, 1, *grid), torch.tensor([0.3, 2.0]).double(), draw(2, 2, *grid, seed=2)
    denoiser = Awkward(grid)
    average = GroupAverage(denoiser, group, channels=Symmetry.move)
    average(y, s, {"channels": channels})
    assert denoiser.calls == len(group)
    assert_equivariant(average, group, y, s)
    assert_equivariant(average, group, y, s, channels)
    with pytest.raises(AssertionError):
        assert_equivariant(denoiser, group, y, s)


def test_shifts_below_the_stride_make_a_decimated_network_commute_with_all():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = UNet(2, width=8, multipliers=(1, 2, 2))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)))
    network.double().eval().requires_grad_(False)
    y, s = draw(1, 1, 8, 12), torch.ones(1).double()
    average = GroupAverage(lambda y, s, condition=None: network(y, s.log() / 4), translations((network.stride,) * 2))
    assert len(average.group) == 16
    assert_equivariant(average, translations((5, 7)), y, s)
    both = GroupAverage(average, point_group((8, 12)))
    assert_equivariant(both, [*point_group((8, 12)), *translations((3, 3))], y, s)


@pytest.mark.parametrize("grid", [(6,), (4, 4), (3, 3, 3)])
def test_bonds_stay_with_their_pairs_of_sites(grid):
    """The local field of a spin, written with bonds around the sites, is equivariant under the rule of bonds alone."""
    up = draw(2, len(grid), *grid)
    around = torch.stack([b for a in range(len(grid)) for b in (up[:, a], up[:, a].roll(1, 1 + a))], dim=1)

    def local_field(y, s, condition):
        neighbours = [y.roll(way, 2 + axis) for axis in range(len(grid)) for way in (-1, 1)]
        return (condition["channels"] * torch.cat(neighbours, dim=1)).sum(1, keepdim=True)

    y, s, group = draw(2, 1, *grid, seed=5), torch.ones(2).double(), [*point_group(grid), *translations(grid)]
    assert_equivariant(local_field, group, y, s, around, Symmetry.move_bonds)
    with pytest.raises(AssertionError):
        assert_equivariant(local_field, group, y, s, around, Symmetry.move)
    averaged = GroupAverage(local_field, point_group(grid), Symmetry.move_bonds)(y, s, {"channels": around})
    torch.testing.assert_close(averaged, local_field(y, s, {"channels": around}), rtol=0, atol=1e-12)


def test_the_loss_falls_by_the_scatter_over_the_group():
    n, grid, group = 4000, (6, 6), point_group((6, 6))
    k = 2 * math.pi * torch.fft.fftfreq(6, dtype=torch.float64)
    law = GaussianField((1 / (0.3 + k[:, None] ** 2 + k**2))[None])
    perturbation = Awkward(grid)

    def imperfect(y, s, condition=None):
        return law(y, s) + 0.4 * perturbation(y, s)

    x0, s = law.sample(n, torch.Generator().manual_seed(0)), torch.full((n,), 0.7).double()
    y = x0 + 0.7 * draw(n, 1, *grid, seed=9)
    average = GroupAverage(imperfect, group)(y, s)

    def squares(x):
        return x.square().flatten(1).mean(1)

    gain = squares(imperfect(y, s) - x0) - squares(average - x0)
    scatter = torch.stack([squares(g.undo(imperfect(g(y), s)) - average) for g in group]).mean(0)
    error = (gain - scatter).std() / math.sqrt(n)
    assert (gain - scatter).mean().abs() < 4 * error < 0.2 * scatter.mean()
    assert gain.mean() > 4 * gain.std() / math.sqrt(n)


def test_samplers_and_likelihoods_take_it_and_inherit_the_symmetry():
    grid, levels = (4, 4), log_uniform(10.0, 0.1, 8)
    group = point_group(grid)
    average = GroupAverage(Awkward(grid), group)
    assert sample(average, levels, (3, 1, *grid), seed=0, dtype=torch.float64).isfinite().all()
    start, g = 10 * draw(2, 1, *grid), group[5]
    heun = find_sampler("heun")
    torch.testing.assert_close(heun(average, levels, g(start)), g(heun(average, levels, start)), rtol=0, atol=1e-10)
    y = draw(2, 1, *grid)
    nats = log_likelihood(average, levels, y).nats
    torch.testing.assert_close(log_likelihood(average, levels, g(y)).nats, nats, rtol=1e-10, atol=0)
    assert (
        log_likelihood(Awkward(grid), levels, g(y)).nats - log_likelihood(Awkward(grid), levels, y).nats
    ).abs().min() > 1e-3


def test_a_loss_in_units_of_the_denoiser_and_its_weights_pass_through():
    denoiser = torch.nn.Linear(1, 1)
    denoiser.error_scale = lambda s, condition=None: 2 * s
    average = GroupAverage(denoiser, SPIN_FLIP)
    assert average.error_scale(torch.ones(1)) == 2 and len(list(average.parameters())) == 2
    assert not hasattr(GroupAverage(lambda y, s, c: y, SPIN_FLIP), "error_scale")


Y, S = torch.zeros(1, 1, 4, 6), torch.ones(1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda d: GroupAverage(d, point_group((4, 6)))(Y, S, {"channels": Y}), "needs a rule"),
        (lambda d: GroupAverage(d, translations((2, 2)))(Y, S, {"matrix": torch.zeros(1, 24, 24)}), "'matrix'"),
        (lambda d: GroupAverage(d, point_group((4, 4)))(Y, S), "sizes differ"),
        (
            lambda d: GroupAverage(d, point_group((4, 6)), Symmetry.move_bonds)(Y, S, {"channels": Y}),
            "4 channels.*got 1",
        ),
        (lambda d: GroupAverage(d, ()), "at least one element"),
        (lambda d: translations((0, 2)), "shifts >= 1"),
        (lambda d: point_group((2, 2, 2, 2)), "1 to 3 axes"),
    ],
)
def test_what_cannot_be_transformed_gets_one_clear_message(call, message):
    with pytest.raises(ValueError, match=message):
        call(lambda y, s, condition: y)


def test_shifts_and_signs_need_no_rule():
    for group in (translations((2, 3)), SPIN_FLIP):
        # y c moves with both of its factors and changes sign with y alone: it is its own average
        averaged = GroupAverage(lambda y, s, c: y * c["channels"].sum(1, keepdim=True), group)(Y, S, {"channels": Y})
        torch.testing.assert_close(averaged, Y * Y, rtol=0, atol=1e-12)
    matrix = {"matrix": torch.ones(1, 24, 24, dtype=Y.dtype)}

    def uneven(y, s, condition):  # an odd and an even part: the flip keeps the first
        return (y.flatten(1) @ condition["matrix"][0]).reshape(y.shape) + y.square()

    kept = GroupAverage(uneven, SPIN_FLIP)(Y, S, matrix)
    torch.testing.assert_close(kept, Y.sum().expand(Y.shape), rtol=0, atol=1e-12)
