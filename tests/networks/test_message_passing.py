"""Message passing on bonds: its symmetries are exact, and untrained it is belief propagation."""

import itertools

import pytest
import torch

from physgen.diffusion.learning.denoisers import SpinDenoiser
from physgen.networks import native
from physgen.networks.message_passing import MessagePassing

GRIDS = {1: (8,), 2: (4, 6), 3: (4, 3, 4)}


def draw(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def trained_like(network):
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return network.double()


def around(couplings):
    """Bond channels of each site from couplings of shape (B, *grid) along each dimension: +dim, -dim for each."""
    pairs = [(bond, bond.roll(1, 1 + axis)) for axis, bond in enumerate(couplings)]
    return {"channels": torch.stack([bond for pair in pairs for bond in pair], dim=1)}


def case(dimension):
    grid = GRIDS[dimension]
    couplings = [draw(2, *grid, seed=2 + axis) for axis in range(dimension)]
    return trained_like(MessagePassing(dimension, width=8, depth=2)), draw(2, 1, *grid), draw(2) / 4, couplings


@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_gauge_transformations_commute_with_the_network(dimension):
    network, x, c_noise, couplings = case(dimension)
    signs = draw(2, *GRIDS[dimension], seed=9).sign()
    turned = [bond * signs * signs.roll(-1, 1 + axis) for axis, bond in enumerate(couplings)]
    output = network(x, c_noise, around(couplings))
    gauged = network(x * signs[:, None], c_noise, around(turned))
    torch.testing.assert_close(gauged, output * signs[:, None], rtol=1e-12, atol=1e-12)
    assert (network(x, c_noise, around(turned)) - output).abs().max() > 1e-3  # the couplings do matter


@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_the_network_is_odd(dimension):
    network, x, c_noise, couplings = case(dimension)
    output = network(x, c_noise, around(couplings))
    torch.testing.assert_close(network(-x, c_noise, around(couplings)), -output, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_every_translation_commutes_with_the_network(dimension):
    network, x, c_noise, couplings = case(dimension)
    output = network(x, c_noise, around(couplings))
    for axis in range(dimension):
        rolled = network(x.roll(1, 2 + axis), c_noise, around([bond.roll(1, 1 + axis) for bond in couplings]))
        torch.testing.assert_close(rolled, output.roll(1, 2 + axis), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_an_external_field_turns_with_its_spins_and_moves_with_its_sites(dimension):
    network, x, c_noise, couplings = case(dimension)
    outer, signs = draw(2, 1, *GRIDS[dimension], seed=7), draw(2, *GRIDS[dimension], seed=9).sign()

    def at(x, field, bonds=couplings):
        return network(x, c_noise, around(bonds) | {"field": field})

    output = at(x, outer)
    torch.testing.assert_close(at(-x, -outer), -output, rtol=1e-12, atol=1e-12)
    turned = [bond * signs * signs.roll(-1, 1 + axis) for axis, bond in enumerate(couplings)]
    gauged = at(x * signs[:, None], outer * signs[:, None], turned)
    torch.testing.assert_close(gauged, output * signs[:, None], rtol=1e-12, atol=1e-12)
    for axis in range(dimension):
        rolled = at(x.roll(1, 2 + axis), outer.roll(1, 2 + axis), [bond.roll(1, 1 + axis) for bond in couplings])
        torch.testing.assert_close(rolled, output.roll(1, 2 + axis), rtol=1e-12, atol=1e-12)
    none = network(x, c_noise, around(couplings))
    assert (at(-x, outer) + output).abs().max() > 1e-3 and (output - none).abs().max() > 1e-3
    torch.testing.assert_close(at(x, torch.zeros_like(outer)), none, rtol=1e-12, atol=1e-12)


def test_free_spins_in_a_field_need_no_training():
    """F = 0, since the denoiser adds y/s^2 + beta h itself; from no noise to none but noise."""
    network, x = MessagePassing(2, width=8, depth=2), draw(5, 1, 4, 6).float()
    s = torch.tensor([0.05, 0.5, 1.0, 30.0, 1e3])
    given = {"channels": torch.zeros(5, 4, 4, 6), "field": draw(5, 1, 4, 6, seed=2).float()}
    level = s.reshape(-1, 1, 1, 1)
    exact = torch.tanh(x / level**2 + given["field"])
    assert torch.equal(SpinDenoiser(network)(x, s, given), exact)


def test_without_a_field_the_features_are_to_the_last_bit_those_of_networks_trained_before():
    """Written out once more: shipped networks learned from these."""
    network, x, c_noise, couplings = case(2)
    found = network._features(x, c_noise, around(couplings)["channels"], around(couplings))
    s2 = torch.exp(8 * c_noise)
    scale = (1 + s2).sqrt()
    free = x[:, 0] * (scale / s2).reshape(-1, 1, 1)
    odd = torch.stack([x[:, 0], torch.tanh(free) * scale.reshape(-1, 1, 1)])
    assert torch.equal(found.odd, odd) and torch.equal(found.field, free) and torch.equal(found.scale, scale)
    with native.without_kernels():
        assert torch.equal(network(x, c_noise, around(couplings))[:, 0], network.composed(found))


@pytest.mark.parametrize("external", [False, True])
def test_untrained_it_is_exact_on_a_tree(external):
    """Open chain of 8 spins in a field: belief propagation is exact after as many iterations as the chain is long."""
    network = MessagePassing(1, width=8, depth=4, iterations=10, damping=0.0).double()
    s, couplings = 0.8, draw(1, 8)
    couplings[:, -1] = 0  # open
    x = draw(1, 1, 8)
    outer = {"field": draw(1, 1, 8, seed=3)} if external else {}
    field = x * (1 + s**2) ** 0.5 / s**2 + outer.get("field", 0.0)
    states = torch.tensor(list(itertools.product([1.0, -1.0], repeat=8)), dtype=torch.float64)
    bonds = (states[:, :-1] * states[:, 1:]) @ couplings[0, :-1]
    exact = torch.softmax(bonds + states @ field[0, 0], 0) @ states
    c_noise = torch.full((1,), s, dtype=torch.float64).log() / 4
    logit = field + network(x, c_noise, around([couplings]) | outer) / (1 + s**2) ** 0.5
    torch.testing.assert_close(torch.tanh(logit)[0, 0], exact, rtol=0, atol=1e-6)  # atanh is cut at 1 - 1e-6


def test_all_parameters_learn_and_extreme_noise_levels_stay_finite(every_parameter_learns):
    network, x, _, couplings = case(2)
    for ln_s in (-7.0, 0.0, 7.0):
        assert torch.isfinite(network(x, torch.full((2,), ln_s / 4).double(), around(couplings))).all()
    every_parameter_learns(network, lambda: network(x, torch.zeros(2).double(), around(couplings)).square().sum())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: MessagePassing(2, width=8, depth=0), "depth >= 1"),
        (lambda: MessagePassing(2, width=8)(torch.zeros(1, 1, 4, 4), torch.zeros(1)), "bonds of each site.*got none"),
        (lambda: MessagePassing(2, condition_channels=3), "4 condition channels"),
        (lambda: MessagePassing(2, in_channels=2), "one spin"),
        (lambda: MessagePassing(2, width=10), "multiple of 4"),
        (lambda: MessagePassing(2, damping=1.0), "damping"),
    ],
)
def test_bad_input_gets_one_clear_message(call, message):
    with pytest.raises(ValueError, match=message):
        call()
