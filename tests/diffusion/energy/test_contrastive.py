"""Contrastive divergence as a loss of the training loop: it learns, and continues bit for bit."""

import copy

import pytest
import torch

from physgen.diffusion.energy import ContrastiveDivergence, EnergyAtLevel, Langevin, SiteFlips
from physgen.diffusion.exact import CurieWeiss
from physgen.diffusion.learning import EnergyDenoiser, Recipe, TrainingState, train
from physgen.networks import DenseEnergy, LocalEnergy


def state_of(network, x, recipe, move, **options):
    torch.manual_seed(0)
    chains = x[: recipe.batch_size]
    return TrainingState(
        EnergyDenoiser(network()), recipe, lambda loss: ContrastiveDivergence(loss.denoiser, move, chains, **options)
    )


def test_it_continues_bit_for_bit_with_its_chains():
    """A training that was stopped ends as one that was not: weights, chains and step size."""
    x = torch.randn(32, 1, 4, 4)
    whole, first, second = (
        state_of(lambda: LocalEnergy(2, width=4, layers=1), x, Recipe(6, 16, warmup=1), Langevin(), level=0.2)
        for _ in range(3)
    )
    for _ in train(whole, x):
        pass
    for step in train(first, x):
        if step.step == 3:
            break
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for _ in train(second, x):
        pass
    assert not torch.equal(whole.loss.chains, x[:16])
    assert whole.state_dict()["loss"].keys() == {"chains", "log_size", "accepted"}
    for name, value in whole.state_dict()["loss"].items():
        assert torch.equal(value, second.state_dict()["loss"][name]), name
    for one, other in zip(whole.ema.parameters(), second.ema.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_loss_without_memory_adds_none():
    state = TrainingState(EnergyDenoiser(DenseEnergy(4)), Recipe(1, 4))
    assert state.state_dict()["loss"] == {}


def test_the_loss_has_the_gradient_of_the_likelihood():
    """At fixed chains: d/d theta of mean E(data) - mean E(chains), per value."""
    x, chains, energy = torch.randn(8, 1, 4), torch.randn(6, 1, 4), EnergyDenoiser(DenseEnergy(4, layers=0))
    loss = ContrastiveDivergence(energy, Langevin(), chains, level=0.5, noisy=False)
    loss(x, torch.ones(8), torch.zeros_like(x), None).mean().backward()
    found = energy.network.form.weight.grad
    # E = |x|^2/2 (1 + s^2) - alpha (alpha^2 x A x/2 + alpha h x): the slope in A is -alpha^3 <x x>/2
    moments = [torch.einsum("bi,bj->ij", v.flatten(1), v.flatten(1)) / len(v) for v in (x, loss.chains)]
    torch.testing.assert_close(found, -0.5 * 1.25**-1.5 * (moments[0] - moments[1]) / 4)


@pytest.mark.parametrize("persistent", [True, False])
def test_it_learns_the_coupling_of_a_magnet(persistent):
    """Above the transition, where CD-k forgets its data soon: M^2 of the energy against the exact one."""
    law = CurieWeiss(0.6, (1, 12))
    x = law.sample(3000, torch.Generator().manual_seed(1))
    recipe = Recipe(90, 256, 0.05, warmup=1, clip_norm=10.0)
    state = state_of(
        lambda: DenseEnergy(12, layers=0), x, recipe, SiteFlips(updates=6), level=0.2, noisy=False,
        persistent=persistent, steps=1 if persistent else 2,
    )  # fmt: skip
    for _ in train(state, x):
        pass
    with torch.no_grad():
        found = EnergyAtLevel(state.ema, 0.2)(x)
    true = -0.6 * x.flatten(1).sum(1).square() / 24
    # residual variance of maximum likelihood with 78 parameters on 3000 data: 78/3000 nats^2, of 256 chains more
    residual = found - true - (found - true).mean()
    assert float(residual.square().mean()) < 0.2 * float(true.var())
    slope = float(((found - found.mean()) * (true - true.mean())).sum() / (true - true.mean()).square().sum())
    assert abs(slope - 1) < 0.25


def test_the_level_of_the_data_is_that_of_the_energy():
    """With noise the data are x0 + s_0 z: of white data the energy that is learnt is that of variance 1 + s_0^2."""
    energy = EnergyDenoiser(DenseEnergy(4, layers=0))
    loss = ContrastiveDivergence(energy, Langevin(), torch.randn(4000, 1, 4) * 1.25**0.5, level=0.5)
    x, z = torch.randn(4000, 1, 4), torch.randn(4000, 1, 4)
    loss(x, torch.ones(4000), z, None).mean().backward()
    scatter = 0.5 * 1.25**-1.5 / 4 * 1.25 * (2 * 2 / 4000) ** 0.5  # of a difference of two variances
    assert float(energy.network.form.weight.grad.abs().max()) < 5 * scatter
