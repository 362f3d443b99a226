"""The vector network: any number of values, zero at the start, as large as its formula says."""

import pytest
import torch

from physgen.networks.mlp import MLP


def parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("d, width, blocks", [(8, 128, 3), (8, 64, 3), (5, 10, 2), (1, 4, 1)])
def test_its_parameters_are_those_of_the_formula(d, width, blocks):
    """p = W(2d + 13) + d + 6W^2 of three blocks, 102024 in arXiv:2505.17638."""
    found = parameters(MLP(d, width=width, blocks=blocks, modulation="added"))
    assert found == 2 * blocks * width**2 + (2 * d + 4 * blocks + 1) * width + d
    if blocks == 3:
        assert found == width * (2 * d + 13) + d + 6 * width**2
    assert parameters(MLP(8, width=128, modulation="added")) == 102024


@pytest.mark.parametrize("modulation", ["gain", "added"])
@pytest.mark.parametrize("shape", [(7,), (7, 1), (1, 9), (2, 3, 4)])
def test_it_starts_at_zero_and_depends_on_everything_when_trained(modulation, shape):
    values = torch.Size(shape).numel()
    network = MLP(values, 2, width=16, blocks=2, modulation=modulation)
    generator = torch.Generator().manual_seed(0)
    x, c_noise, labels = (torch.randn(*s, generator=generator) for s in ((5, *shape), (5,), (5, 2)))
    assert torch.equal(network(x, c_noise, {"labels": labels}), torch.zeros_like(x))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    output = network(x, c_noise, {"labels": labels})
    assert output.shape == x.shape and torch.isfinite(output).all()
    for changed in ((-x, c_noise, labels), (x, c_noise + 0.3, labels), (x, c_noise, labels + 0.5)):
        other = network(changed[0], changed[1], {"labels": changed[2]})
        assert ((other - output).flatten(1).norm(dim=1) > 1e-3 * output.flatten(1).norm(dim=1)).all()
    one = network(x[2:3], c_noise[2:3], {"labels": labels[2:3]})
    torch.testing.assert_close(one, output[2:3], rtol=1e-4, atol=1e-5)  # samples do not see each other


def test_wrong_options_and_shapes_are_refused():
    for wrong in ({"width": 0}, {"blocks": 1.5}, {"modulation": "film"}, {"dropout": 1}, {"width": 5}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            MLP(8, **{"modulation": "added", **wrong})
    with pytest.raises(ValueError, match="8 values, got 6"):
        MLP(8)(torch.zeros(2, 6), torch.zeros(2))
    with pytest.raises(ValueError, match="2 columns"):
        MLP(8, 2, modulation="added")(torch.zeros(2, 8), torch.zeros(2))
