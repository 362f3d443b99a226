"""The transformer on lattices: relative positions on the torus, zero at the start, derivatives of every kind."""

import pytest
import torch
from torch.func import jvp, vmap

from physgen.networks.dit import DiT, DiTOptions, turn
from physgen.networks.patches import Patches, differences, lattice_phases

GRIDS = {1: (12,), 2: (8, 12), 3: (4, 8, 4)}
SMALL = {"width": 24, "depth": 2, "heads": 2}


def trained_like(network, seed=0):
    """The network in float64 with no parameter at zero, as after training."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return network.double().eval()


def draw(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def close(left, right, scale):
    torch.testing.assert_close(left, right, rtol=0, atol=1e-12 * scale.detach().abs().max().item())


@pytest.mark.parametrize("options", [{}, {"overlap": 1}, {"window": 1}, {"window": 2, "overlap": 2}])
@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_shifts_by_the_patch_commute_with_the_network_and_smaller_ones_do_not(dimension, options):
    grid = GRIDS[dimension]
    network = trained_like(DiT(dimension, condition_channels=2, **SMALL, **options))
    x, channels, c_noise = draw(2, 1, *grid), draw(2, 2, *grid), draw(2)
    output = network(x, c_noise, {"channels": channels})
    for axis in range(2, 2 + dimension):
        moved = [network(x.roll(by, axis), c_noise, {"channels": channels.roll(by, axis)}) for by in (2, 1)]
        close(moved[0], output.roll(2, axis), output)
        assert (moved[1] - output.roll(1, axis)).std() > 0.1 * output.std()


def test_of_patch_one_every_shift_commutes_and_in_an_open_box_none():
    x, c_noise = draw(1, 1, 5, 7), draw(1)
    network = trained_like(DiT(2, patch=1, **SMALL))
    output = network(x, c_noise)
    close(network(x.roll((1, 3), (2, 3)), c_noise), output.roll((1, 3), (2, 3)), output)
    opened = trained_like(DiT(2, patch=1, periodic=False, overlap=1, **SMALL))
    output = opened(x, c_noise)
    assert (opened(x.roll(1, 3), c_noise) - output.roll(1, 3)).std() > 0.01 * output.std()


def test_opposite_sides_of_an_open_box_do_not_touch():
    """One block with a window of one token: what is changed at one end reaches two patches, not the other end."""
    network = trained_like(DiT(1, periodic=False, width=8, depth=1, heads=2, window=1, overlap=1))
    x, c_noise = draw(1, 1, 16), draw(1)
    changed = x.clone()
    changed[..., 0] += 1
    touched = (network(changed, c_noise) - network(x, c_noise))[0, 0].abs() > 0
    assert touched[:2].all() and not touched[-8:].any()


def test_a_window_does_on_a_larger_lattice_what_it_does_on_a_smaller_one():
    """A field repeated along each axis: the output is repeated, since attention ends within the window."""
    network = trained_like(DiT(2, window=1, overlap=1, **SMALL))
    x, c_noise = draw(2, 1, 6, 8), draw(2)
    output = network(x, c_noise)
    close(network(x.repeat(1, 1, 2, 3), c_noise), output.repeat(1, 1, 2, 3), output)
    whole = trained_like(DiT(2, **SMALL))  # without a window the wavenumbers are those of the lattice: it is not so
    repeated = whole(x.repeat(1, 1, 2, 3), c_noise) - whole(x, c_noise).repeat(1, 1, 2, 3)
    assert repeated.std() > 1e-3 * whole(x, c_noise).std()


def test_a_product_of_turned_pairs_is_the_sum_of_cosines_of_the_difference():
    tokens, pairs = (6, 4), 5
    phases = lattice_phases(tokens, pairs, True, torch.zeros((), dtype=torch.float64))
    ones = torch.cat([torch.ones(24, pairs), torch.zeros(24, pairs)], 1).double()
    turned = turn(ones, (phases.cos(), phases.sin()))
    place = torch.cartesian_prod(torch.arange(6), torch.arange(4)).double()
    apart = place[:, None] - place[None]
    vectors = [(1, 0), (0, 1), (2, 0), (0, 2), (3, 0)]  # from the lowest to Nyquist's, the axes in turn
    wanted = sum(torch.cos(2 * torch.pi * (n * apart[..., 0] / 6 + m * apart[..., 1] / 4)) for n, m in vectors)
    torch.testing.assert_close(turned @ turned.T, wanted, rtol=0, atol=1e-13)


def test_differences_are_the_shortest_on_the_torus():
    row, inside = differences((5,), 1, True)
    assert row[0].tolist() == [1, 2, 2, 0, 0] and inside[0].tolist() == [True, True, False, False, True]
    row, inside = differences((5,), 1, False)
    assert inside[0].tolist() == [True, True, False, False, False] and row[4].tolist() == [0, 0, 0, 0, 1]


@pytest.mark.parametrize("periodic", [True, False])
def test_writing_patches_is_the_adjoint_of_reading_them(periodic):
    patches = Patches(2, (3, 8, 3), 2, 1, periodic).double()
    with torch.no_grad():
        patches.embed.bias.zero_()
        patches.head.weight.copy_(patches.embed.weight)
        x, hidden = draw(2, 3, 4, 6), draw(2, 6, 8)
        there, tokens = patches.read(x)
        torch.testing.assert_close(
            (there * hidden).sum(), (x * patches.write(hidden, tokens)).sum(), rtol=1e-12, atol=0
        )


@pytest.mark.parametrize(("window", "periodic"), [(0, False), (1, True)])
def test_an_untrained_network_is_zero_and_every_parameter_learns(every_parameter_learns, periodic, window):
    network = DiT(2, condition_channels=1, labels=2, periodic=periodic, width=16, depth=2, window=window, overlap=1)
    condition = {"channels": draw(3, 1, 8, 8), "labels": draw(3, 2)}
    given = {key: value.float() for key, value in condition.items()}
    assert network(torch.randn(3, 1, 8, 8), torch.zeros(3), given).abs().max() == 0
    trained_like(network)
    x, c_noise = draw(3, 1, 8, 8), draw(3)
    every_parameter_learns(network, lambda: network(x, c_noise, condition).square().sum())


def test_labels_none_of_them_channels_and_noise_level_reach_the_output():
    network = trained_like(DiT(2, condition_channels=1, labels=2, **SMALL))
    x, c_noise, condition = draw(1, 1, 8, 8), draw(1), {"channels": draw(1, 1, 8, 8), "labels": draw(1, 2)}
    output = network(x, c_noise, condition)
    null = torch.full_like(condition["labels"], torch.nan)
    for changed in (
        network(x, c_noise + 0.1, condition),
        network(x, c_noise, condition | {"labels": condition["labels"] + 0.1}),
        network(x, c_noise, condition | {"labels": null}),
        network(x, c_noise, condition | {"channels": condition["channels"] + 0.1}),
    ):
        assert torch.isfinite(changed).all() and (changed - output).abs().max() > 1e-6 * output.abs().max()


@pytest.mark.parametrize("options", [{}, {"window": 1, "overlap": 1}, {"periodic": False, "overlap": 1}])
def test_derivatives_of_every_kind_agree(options):
    """Slopes along a direction by torch.func.jvp, under vmap, and by going backwards; and a second derivative."""
    network = trained_like(DiT(2, **SMALL, **options)).requires_grad_(False)
    x, directions, c_noise = draw(1, 1, 4, 4), draw(3, 1, 1, 4, 4), draw(1)
    output = network(x, c_noise)
    slopes = vmap(lambda v: jvp(lambda x: network(x, c_noise), (x,), (v,))[1])(directions)
    step = 1e-5
    for v, slope in zip(directions, slopes, strict=True):
        one = jvp(lambda x: network(x, c_noise), (x,), (v,))[1]
        close(one, slope, slope)
        apart = (network(x + step * v, c_noise) - network(x - step * v, c_noise)) / (2 * step)
        torch.testing.assert_close(slope, apart, rtol=0, atol=1e-6 * slope.abs().max().item())
    given = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad((network(given, c_noise) * output).sum(), given, create_graph=True)
    torch.testing.assert_close((gradient * directions[0]).sum(), (slopes[0] * output).sum(), rtol=1e-9, atol=0)
    (second,) = torch.autograd.grad(gradient.square().sum(), given)
    assert torch.isfinite(second).all() and second.abs().max() > 0


def test_the_same_call_gives_the_same_numbers_and_dropout_acts_in_training_only():
    network = trained_like(DiT(2, dropout=0.5, **SMALL))
    x, c_noise = draw(1, 1, 8, 8), draw(1)
    assert torch.equal(network(x, c_noise), network(x, c_noise))
    network.train()
    assert not torch.equal(network(x, c_noise), network(x, c_noise))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: DiT(2, patch=4)(torch.zeros(1, 1, 10, 8), torch.zeros(1)),
            "divisible by its patch of 4 .*\\(10, 8\\)",
        ),
        (lambda: DiT(2)(torch.zeros(1, 1, 8), torch.zeros(1)), "2 dimensions"),
        (lambda: DiT(4), "1, 2 or 3 dimensions, got 4"),
        (lambda: DiT(2, depth=0), "depth must be a whole number >= 1, got 0"),
        (lambda: DiT(2, width=30, heads=4), "multiple of 2 x heads = 8, got 30"),
        (lambda: DiT(3, width=8, heads=2), "at least 2 x heads x dimension = 12, got 8"),
        (lambda: DiT(2, overlap=3), "overlap must be at most the patch"),
        (lambda: DiT(2, dropout=1.0), "probability below 1"),
        (lambda: DiT(2, labels=2)(torch.zeros(1, 1, 8, 8), torch.zeros(1)), "labels.*got none"),
        (lambda: DiT(2, condition_channels=4)(torch.zeros(1, 1, 8, 8), torch.zeros(1)), "needs 4 .*got 0"),
    ],
)
def test_bad_input_gets_one_clear_message(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_options_are_those_of_the_network():
    assert DiT(1, width=8, depth=1).options == DiTOptions(8, 1, 2, 2, 4, 0, 0, 0.0)


def test_half_precision_is_that_of_the_products_alone():
    """Under autocast the sums of the blocks stay float32: errors are those of bfloat16 products, 2^-9 each."""
    network = trained_like(DiT(2, overlap=1, **SMALL)).float()
    x, c_noise = draw(2, 1, 8, 8).float(), draw(2).float()
    output = network(x, c_noise)
    with torch.autocast("cpu", torch.bfloat16):
        half = network(x, c_noise).float()
    assert 0 < (half - output).std() < 10 * 2**-9 * output.std()
