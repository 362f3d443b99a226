"""The U-Net: periodic in every dimension, conditioned, zero at the start."""

import pytest
import torch

from physgen.networks.fused import PeriodicPad
from physgen.networks.layers import modulations
from physgen.networks.unet import UNet


def trained_like(network, seed=0):
    """The network in float64 with no parameter at zero, as after training."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return network.double().eval()


def draw(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


GRIDS = {1: (16,), 2: (8, 12), 3: (4, 8, 4)}


@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_shifts_by_the_stride_commute_with_the_network(dimension):
    grid = GRIDS[dimension]
    options = {"multipliers": (1, 2, 2), "attention": True, "inject": True, "blocks": 2}
    network = trained_like(UNet(dimension, condition_channels=2, width=8, **options))
    x, channels, c_noise = draw(2, 1, *grid), draw(2, 2, *grid), draw(2)
    output = network(x, c_noise, {"channels": channels})
    for axis in range(2, 2 + dimension):
        rolled = network(x.roll(4, axis), c_noise, {"channels": channels.roll(4, axis)})
        torch.testing.assert_close(
            rolled, output.roll(4, axis), rtol=0, atol=1e-12 * output.detach().abs().max().item()
        )


def test_one_level_commutes_with_every_shift():
    network = trained_like(UNet(2, width=8, multipliers=(1,)))
    x, c_noise = draw(1, 1, 5, 7), draw(1)
    output = network(x, c_noise)
    torch.testing.assert_close(
        network(x.roll((1, 3), (2, 3)), c_noise), output.roll((1, 3), (2, 3)), rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("grid", [(10, 10), (12, 10), (2, 2)])
def test_two_levels_take_any_even_grid(grid):
    network, x, c_noise = trained_like(UNet(2, width=8, multipliers=(1, 2))), draw(1, 1, *grid), draw(1)
    output = network(x, c_noise)
    assert output.shape == x.shape and output.std() > 0
    moved = network(x.roll((2, -4), (2, 3)), c_noise)  # across the seam, wherever it is
    torch.testing.assert_close(
        moved, output.roll((2, -4), (2, 3)), rtol=0, atol=1e-12 * output.detach().abs().max().item()
    )


def test_an_untrained_network_is_zero_and_every_parameter_learns(every_parameter_learns):
    network = UNet(2, condition_channels=1, labels=2, width=8, multipliers=(1, 2), inject=True)
    condition = {"channels": torch.randn(3, 1, 8, 8), "labels": torch.randn(3, 2)}
    output = network(torch.randn(3, 1, 8, 8), torch.zeros(3), condition)
    assert output.abs().max() == 0
    trained_like(network)
    x, c_noise, given = draw(3, 1, 8, 8), draw(3), {k: v.double() for k, v in condition.items()}
    # a constant shift before a group normalisation with groups of one channel would be dead: none is here
    every_parameter_learns(network, lambda: network(x, c_noise, given).square().sum())


def test_labels_channels_and_noise_level_reach_the_output():
    network = trained_like(UNet(2, condition_channels=1, labels=2, width=8, multipliers=(1, 2)))
    x, c_noise, condition = draw(1, 1, 8, 8), draw(1), {"channels": draw(1, 1, 8, 8), "labels": draw(1, 2)}
    output = network(x, c_noise, condition)
    for changed in (
        network(x, c_noise + 0.1, condition),
        network(x, c_noise, condition | {"labels": condition["labels"] + 0.1}),
        network(x, c_noise, condition | {"channels": condition["channels"] + 0.1}),
    ):
        assert (changed - output).abs().max() > 1e-6 * output.abs().max()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: UNet(2, width=8)(torch.zeros(1, 1, 10, 10), torch.zeros(1)), "divisible by 4, got \\(10, 10\\)"),
        (lambda: UNet(2, width=8)(torch.zeros(1, 1, 8), torch.zeros(1)), "2 dimensions"),
        (lambda: UNet(4, width=8), "1, 2 or 3 dimensions, got 4"),
        (lambda: UNet(2, width=8, blocks=0), "blocks must be a whole number >= 1"),
        (lambda: UNet(2, width=12), "multiple of 8 .*got 12"),
        (lambda: UNet(2, width=8, labels=2)(torch.zeros(1, 1, 8, 8), torch.zeros(1)), "labels.*got none"),
        (lambda: UNet(2, width=8, condition_channels=4)(torch.zeros(1, 1, 8, 8), torch.zeros(1)), "needs 4 .*got 0"),
    ],
)
def test_bad_input_gets_one_clear_message(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_the_modulations_are_those_of_the_layers_one_by_one():
    layers = [torch.nn.Linear(6, size).double() for size in (16, 32, 16)]
    embedding = draw(3, 6)
    for layer, pair in zip(layers, modulations(layers, embedding), strict=True):
        for part, wanted in zip(pair, layer(embedding).chunk(2, dim=1), strict=True):
            torch.testing.assert_close(part, wanted, rtol=0, atol=1e-14)


def test_padding_is_the_circular_padding_of_torch_with_its_gradients():
    x = draw(2, 3, 4, 6).requires_grad_()
    padded = torch.nn.functional.pad(x, (1, 1, 1, 1), mode="circular")
    torch.testing.assert_close(PeriodicPad.apply(x, 1), padded, rtol=0, atol=0)
    assert torch.autograd.gradcheck(lambda x: PeriodicPad.apply(x, 1), x, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(lambda x: PeriodicPad.apply(x, 1).square(), x, fast_mode=True)


def test_dropout_acts_in_training_only():
    network = UNet(2, width=8, multipliers=(1,), dropout=0.5)
    trained_like(network)
    x, c_noise = draw(1, 1, 8, 8), draw(1)
    assert torch.equal(network(x, c_noise), network(x, c_noise))
    network.train()
    assert not torch.equal(network(x, c_noise), network(x, c_noise))
