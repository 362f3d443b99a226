"""Networks of energies: what is known to them, and what is not."""

import pytest
import torch

from physgen.diffusion.learning import EnergyDenoiser
from physgen.networks import DenseEnergy, LocalEnergy


def stirred(network, seed=0):
    draws = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=draws)
    return network


def test_they_begin_as_white_noise():
    y, s = torch.randn(3, 1, 4, 4), torch.full((3,), 0.5)
    white = 0.5 * y.square().flatten(1).sum(1) / 1.25
    for network in (LocalEnergy(2), DenseEnergy(16)):
        assert torch.allclose(EnergyDenoiser(network).energy(y, s), white)


def test_a_local_energy_is_the_same_everywhere_and_has_a_range():
    """Shifts leave it alone; the second derivative of values further apart than the range is zero."""
    network = stirred(LocalEnergy(2, labels=1, width=8, layers=2)).double()
    energy = EnergyDenoiser(network).energy
    given = {"labels": torch.tensor([[0.3]], dtype=torch.float64)}
    x, s = torch.randn(1, 1, 12, 12, dtype=torch.float64), torch.tensor([0.5], dtype=torch.float64)
    moved = torch.roll(x, (3, 5), (2, 3))
    assert torch.allclose(energy(x, s, given), energy(moved, s, given), rtol=1e-12)

    def row(x):
        x = x.detach().requires_grad_()
        (slope,) = torch.autograd.grad(energy(x, s, given).sum(), x, create_graph=True)
        return torch.autograd.grad(slope[0, 0, 0, 0], x)[0][0, 0, 0]

    coupled = row(x) != 0
    assert coupled[:5].all() and not coupled[5:8].any() and coupled[8:].all()  # range 2 + 2: both sites see a third


def test_a_dense_energy_of_pairs_is_a_boltzmann_machine():
    network = stirred(DenseEnergy(5, layers=0)).double()
    x = torch.randn(2, 1, 5, dtype=torch.float64)
    flat, form = x.flatten(1), network.form.weight
    expected = 0.5 * ((flat @ form.T) * flat).sum(1) + flat @ network.field
    assert torch.allclose(network(x, torch.zeros(2)).sum(1), expected)
    assert sum(p.numel() for p in network.parameters()) == 30


def test_wrong_sizes_are_refused():
    for make in (lambda: LocalEnergy(2, kernel=2), lambda: LocalEnergy(2, width=0), lambda: DenseEnergy(4, layers=-1)):
        with pytest.raises(ValueError, match="got"):
            make()
    with pytest.raises(ValueError, match="4 values"):
        DenseEnergy(4)(torch.ones(1, 5), torch.zeros(1))
