"""Message passing of colours: its symmetries are exact, and untrained it is belief propagation."""

import itertools

import pytest
import torch

from physgen.diffusion.learning.categorical import CategoricalDenoiser
from physgen.networks.colour_passing import ColourPassing

WIDE = {"dtype": torch.float64}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def network(trained=True, **options):
    torch.manual_seed(0)
    made = ColourPassing(2, 1, **({"width": 8, "depth": 2} | options)).double()
    if trained:
        for parameter in made.parameters():
            torch.nn.init.normal_(parameter, std=0.2)
    return made


def case(states=3, grid=(4, 4), bonds=None):
    x = torch.randn(2, states, *grid, generator=seeded(), **WIDE)
    up = torch.randn(2, 2, *grid, generator=seeded(1), **WIDE) if bonds is None else bonds
    channels = torch.stack([up[:, 0], up[:, 0].roll(1, 1), up[:, 1], up[:, 1].roll(1, 2)], dim=1)
    return x, torch.tensor([-0.2, 0.1], **WIDE), {"channels": channels, "labels": torch.zeros(2, 1, **WIDE)}


def test_it_commutes_with_every_permutation_of_the_colours():
    x, c_noise, condition = case()
    model = network()
    out = model(x, c_noise, condition)
    assert out.std() > 0.1
    for order in itertools.permutations(range(3)):
        torch.testing.assert_close(model(x[:, order], c_noise, condition), out[:, order], rtol=0, atol=1e-12)
    assert (out[:, 0] - out[:, 1]).abs().max() > 0.1


def test_it_commutes_with_translations_and_takes_any_number_of_colours_and_any_lattice():
    x, c_noise, condition = case()
    model = network()
    moved = {"channels": condition["channels"].roll((1, 2), (2, 3)), "labels": condition["labels"]}
    expected = model(x, c_noise, condition).roll((1, 2), (2, 3))
    torch.testing.assert_close(model(x.roll((1, 2), (2, 3)), c_noise, moved), expected, rtol=0, atol=1e-12)
    wide = case(5, (3, 6))
    assert model(*wide).shape == (2, 5, 3, 6)


def test_untrained_it_is_exact_on_a_tree():
    """A single bond between two sites, the others free: belief propagation is exact there."""
    bonds = torch.zeros(2, 2, 4, 4, **WIDE)
    bonds[:, 1, 2, 1] = torch.tensor([0.9, -0.7])
    y, _, condition = case(bonds=bonds)
    s = torch.tensor([0.7, 1.3], **WIDE)
    denoiser = CategoricalDenoiser(network(False, iterations=4, damping=0.0))
    found = denoiser(y, s, condition)
    free = (y / s.reshape(2, 1, 1, 1).square()).softmax(1)
    same = torch.eye(3, **WIDE) * torch.expm1(bonds[:, 1, 2, 1]).reshape(2, 1, 1) + 1
    joint = free[:, :, 2, 1, None] * free[:, None, :, 2, 2] * same
    joint = joint / joint.sum((1, 2), keepdim=True)
    torch.testing.assert_close(found[:, :, 2, 1], joint.sum(2), rtol=0, atol=1e-6)
    torch.testing.assert_close(found[:, :, 2, 2], joint.sum(1), rtol=0, atol=1e-6)
    torch.testing.assert_close(found[:, :, 0], free[:, :, 0], rtol=0, atol=1e-12)
    assert (found[:, :, 2, 1] - free[:, :, 2, 1]).abs().max() > 0.01


def test_every_option_changes_the_network():
    x, c_noise, condition = case()
    base = network(False)(x, c_noise, condition)
    for options in ({"depth": 1}, {"iterations": 1}, {"damping": 0.1}):
        assert (network(False, **options)(x, c_noise, condition) - base).abs().max() > 1e-4, options
    assert sum(p.numel() for p in network(width=12).parameters()) != sum(p.numel() for p in network().parameters())


def test_wrong_sizes_are_refused():
    x, c_noise, condition = case()
    with pytest.raises(ValueError, match="bonds of each site"):
        network()(x, c_noise, {"labels": condition["labels"]})
    for options in ({"depth": 0}, {"damping": 1.0}, {"width": 0}):
        with pytest.raises(ValueError, match="depth|width"):
            ColourPassing(2, **options)
