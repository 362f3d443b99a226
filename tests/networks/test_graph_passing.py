"""Message passing on any graph: its symmetries are exact, and untrained it is the mean-field theory that it names."""

import itertools

import pytest
import torch

from physgen.networks.graph_passing import GraphPassing

SPINS = 6


def draw(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def symmetric(couplings):
    upper = couplings.triu(1)
    return upper + upper.mT


def case(theory):
    network, generator = GraphPassing(width=8, depth=2, theory=theory), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return network.double(), draw(2, 1, SPINS), draw(2) / 4, symmetric(draw(2, SPINS, SPINS, seed=3)) / 2


@pytest.mark.parametrize("theory", ["tap", "bethe"])
def test_gauge_transformations_and_renumbering_commute_with_the_network(theory):
    network, x, c_noise, matrix = case(theory)
    output = network(x, c_noise, {"matrix": matrix})
    signs = draw(2, SPINS, seed=9).sign()
    turned = matrix * signs[:, None] * signs[:, :, None]
    gauged = network(x * signs[:, None], c_noise, {"matrix": turned})
    torch.testing.assert_close(gauged, output * signs[:, None], rtol=1e-12, atol=1e-12)
    assert (network(x, c_noise, {"matrix": turned}) - output).abs().max() > 1e-3  # the couplings do matter
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    renumbered = network(x[..., order], c_noise, {"matrix": matrix[:, order][:, :, order]})
    torch.testing.assert_close(renumbered, output[..., order], rtol=1e-12, atol=1e-12)


def magnetisation(field, matrix):
    """<s> (N,) by enumeration, with weights exp(sum_i<j K_ij s_i s_j + h.s)."""
    states = torch.tensor(list(itertools.product([-1.0, 1.0], repeat=len(field))), dtype=torch.float64)
    exponent = 0.5 * ((states @ matrix) * states).sum(1) + states @ field
    return torch.softmax(exponent, 0) @ states


def untrained(matrix, y, s, **options):
    """tanh of the logit that a network of these options gives before training."""
    network = GraphPassing(width=4, **options).double()
    scale = (1 + s * s) ** 0.5
    output = network(y[None, None] / scale, torch.tensor([s]).double().log() / 4, {"matrix": matrix[None]})
    return torch.tanh(y / s**2 + output[0, 0].detach() / scale)


def test_bethe_is_exact_on_a_tree():
    tree = torch.zeros(7, 7, dtype=torch.float64)
    for child, coupling in zip(range(1, 7), draw(6, seed=5), strict=True):
        tree[child, (child - 1) // 2] = coupling
    tree, y = tree + tree.T, draw(7)
    found = untrained(tree, y, 1.3, depth=2, iterations=4, damping=0.0, theory="bethe")
    torch.testing.assert_close(found, magnetisation(y / 1.3**2, tree), rtol=0, atol=1e-7)  # s goes through float32


def test_tap_errs_at_third_order_of_the_couplings():
    matrix, y = symmetric(draw(8, 8, seed=4)), draw(8)
    errors = []
    for size in (0.2, 0.1, 0.05):
        found = untrained(size * matrix, y, 1.0, depth=1, iterations=12, damping=0.0)
        errors.append(float((found - magnetisation(y, size * matrix)).abs().max()))
    assert 6 < errors[0] / errors[1] < 11 and 6.5 < errors[1] / errors[2] < 10  # 8 where the order is 3


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="tap, bethe"):
        GraphPassing(theory="naive")
    with pytest.raises(ValueError, match="shape \\(B, 6, 6\\)"):
        GraphPassing()(torch.zeros(1, 1, 6), torch.zeros(1), {"matrix": torch.zeros(1, 5, 5)})


@pytest.mark.parametrize(
    "option", [{"depth": 1}, {"iterations": 1}, {"damping": 0.5}, {"theory": "bethe"}, {"width": 4}], ids=str
)
def test_every_option_changes_the_network(option):
    def output(**options):
        torch.manual_seed(0)
        network = GraphPassing(**{"width": 8, "depth": 2} | options).double()
        torch.nn.init.ones_(network.head.weight)
        return network(draw(1, 1, SPINS), draw(1) / 4, {"matrix": symmetric(draw(1, SPINS, SPINS, seed=3)) / 2})

    assert (output(**option) - output()).abs().max() > 1e-6
