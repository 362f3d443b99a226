"""Message passing of vectors: rotations and reflections are exact, and untrained it is belief propagation."""

import math

import pytest
import torch

from physgen.diffusion.exact import von_mises
from physgen.diffusion.learning.circle import CircleDenoiser
from physgen.networks.vector_passing import VectorPassing

WIDE = {"dtype": torch.float64}


def network(trained=True, **options):
    torch.manual_seed(0)
    made = VectorPassing(2, 1, **({"width": 8, "depth": 2} | options)).double()
    if trained:
        for parameter in made.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    return made


def case(grid=(4, 4), bonds=None):
    x = torch.randn(2, 2, *grid, generator=torch.Generator().manual_seed(0), **WIDE)
    up = torch.randn(2, 2, *grid, generator=torch.Generator().manual_seed(1), **WIDE) if bonds is None else bonds
    channels = torch.stack([up[:, 0], up[:, 0].roll(1, 1), up[:, 1], up[:, 1].roll(1, 2)], dim=1)
    return x, torch.tensor([-0.2, 0.1], **WIDE), {"channels": channels, "labels": torch.zeros(2, 1, **WIDE)}


@pytest.mark.parametrize("mirrored", [False, True])
def test_it_commutes_with_rotations_and_reflections_of_the_vectors(mirrored):
    x, c_noise, condition = case()
    model = network()
    turn = torch.tensor([[math.cos(0.7), -math.sin(0.7)], [math.sin(0.7), math.cos(0.7)]], **WIDE)
    turn = turn @ torch.diag(torch.tensor([1.0, -1.0], **WIDE)) if mirrored else turn
    out = model(x, c_noise, condition)
    turned = model(torch.einsum("ij,bj...->bi...", turn, x), c_noise, condition)
    torch.testing.assert_close(turned, torch.einsum("ij,bj...->bi...", turn, out), rtol=0, atol=1e-11)
    assert out.std() > 0.1 and (turned - out).abs().max() > 0.1
    denoiser = CircleDenoiser(model)
    s = torch.tensor([0.05, 2.0], **WIDE)
    mean = denoiser(torch.einsum("ij,bj...->bi...", turn, x), s, condition)
    torch.testing.assert_close(
        mean, torch.einsum("ij,bj...->bi...", turn, denoiser(x, s, condition)), rtol=0, atol=1e-9
    )


def test_it_commutes_with_translations_and_takes_any_lattice():
    x, c_noise, condition = case()
    model = network()
    moved = {"channels": condition["channels"].roll((1, 2), (2, 3)), "labels": condition["labels"]}
    expected = model(x, c_noise, condition).roll((1, 2), (2, 3))
    torch.testing.assert_close(model(x.roll((1, 2), (2, 3)), c_noise, moved), expected, rtol=0, atol=1e-11)
    assert model(*case((3, 6))).shape == (2, 2, 3, 6)


def test_untrained_it_knows_free_angles_exactly_and_a_pair_nearly():
    """A single bond between two sites, the others free: their means by quadrature over both angles."""
    bonds = torch.zeros(2, 2, 4, 4, **WIDE)
    bonds[:, 1, 2, 1] = torch.tensor([0.9, -0.7])
    y, _, condition = case(bonds=bonds)
    s = torch.tensor([0.8, 1.3], **WIDE)
    found = CircleDenoiser(network(False, iterations=4, damping=0.0))(y, s, condition)
    h = y / s.reshape(2, 1, 1, 1).square()
    free = von_mises.mean_of(h)
    torch.testing.assert_close(found[:, :, 0], free[:, :, 0], rtol=0, atol=1e-12)
    angles = torch.arange(48, **WIDE) * (2 * math.pi / 48)
    e = torch.stack([angles.cos(), angles.sin()], dim=1)
    local = h[:, :, 2, 1] @ e.T, h[:, :, 2, 2] @ e.T
    bond = bonds[:, 1, 2, 1].reshape(2, 1, 1) * (angles[:, None] - angles).cos()
    joint = (local[0][:, :, None] + local[1][:, None] + bond).flatten(1).softmax(1).reshape(2, 48, 48)
    for site, expected in ((1, joint.sum(2) @ e), (2, joint.sum(1) @ e)):
        moved = (expected - free[:, :, 2, site]).norm()
        assert moved > 0.05 and (found[:, :, 2, site] - expected).norm() < 0.15 * moved


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
            VectorPassing(2, **options)


def test_gradients_are_finite_where_vectors_vanish():
    x, c_noise, condition = case()
    x = torch.zeros_like(x, requires_grad=True)
    model = CircleDenoiser(network())
    model(x, torch.tensor([0.05, 5.0], **WIDE), condition).sum().backward()
    assert torch.isfinite(x.grad).all()
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in model.parameters())
