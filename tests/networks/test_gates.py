"""Written-out derivatives are those that torch finds, once and twice, alone and in batches."""

import pytest
import torch

from physgen.networks.gates import normalized, squashed

PARTS = {
    "squashed": (squashed, lambda x: x / (1 + x.abs())),
    "centred": (
        lambda x: normalized(x, 1e-2),
        lambda x: (x - x.mean(0)) / (x.var(0, unbiased=False) + 1e-2).sqrt(),
    ),
    "not centred": (lambda x: normalized(x, 1.0, centred=False), lambda x: x / (x.square().mean(0) + 1).sqrt()),
}


@pytest.mark.parametrize("name", PARTS)
def test_values_and_derivatives_are_those_of_the_formula(name):
    part, formula = PARTS[name]
    x = torch.randn(4, 2, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64).requires_grad_()
    torch.testing.assert_close(part(x), formula(x), rtol=1e-14, atol=1e-14)
    assert torch.autograd.gradcheck(part, x, check_batched_grad=True)
    assert torch.autograd.gradgradcheck(part, x, check_batched_grad=True)
    assert torch.autograd.gradcheck(part, x, check_forward_ad=True)
    weights = torch.linspace(-1, 2, x.numel(), dtype=torch.float64).view_as(x)

    def twice(function):
        (slope,) = torch.autograd.grad((function(x) * weights).sum(), x, create_graph=True)
        return torch.autograd.grad(slope.square().sum(), x)[0]

    torch.testing.assert_close(twice(part), twice(formula), rtol=1e-12, atol=1e-12)
