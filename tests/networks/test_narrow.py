"""The convolution to one channel: torch's in double precision, to the rounding of each precision."""

import itertools

import pytest
import torch
from torch import nn

from physgen.networks import native
from physgen.networks.narrow import CONVOLVE, fits, to_one_channel

ROUNDING = {torch.float64: 2**-52, torch.float32: 2**-23, torch.bfloat16: 2**-8}

pytestmark = pytest.mark.skipif(native.library() is None, reason="no C++ compiler: there are no kernels to test")


def draw(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def inputs(grid, channels, dtype):
    """x of the type, a kernel and a bias of at least single precision."""
    working = torch.promote_types(dtype, torch.float32)
    x, kernel, bias = draw(3, channels, *grid), draw(1, channels, *[3] * len(grid), seed=2), draw(1, seed=3)
    return [t.requires_grad_() for t in (x.to(dtype), kernel.to(working), bias.to(working))]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("grid", "channels"), [((3, 3), 8), ((6, 11), 16), ((7, 5), 24), ((34, 34), 32), ((3, 4, 5), 8), ((6, 5, 4), 32)]
)
def test_values_and_gradients_are_those_of_torch_in_double(grid, channels, dtype):
    given = inputs(grid, channels, dtype)
    exact = [tensor.detach().double().requires_grad_() for tensor in given]
    y, wanted = to_one_channel(*given), CONVOLVE[len(grid)](*exact)
    assert y.dtype == given[1].dtype
    weights = draw(*y.shape, seed=4).to(y.dtype)
    slopes = torch.autograd.grad(y, given, weights), torch.autograd.grad(wanted, exact, weights.double())
    for one, other in zip([y, *slopes[0]], [wanted, *slopes[1]], strict=True):
        # sums in at least single precision; only the slope of x is rounded to its own
        rounding = ROUNDING[dtype] if one.dtype == dtype else ROUNDING[torch.float32]
        assert (one.double() - other).abs().max() < 20 * rounding * max(other.abs().max(), 1)


def test_the_gradient_is_the_slope_of_the_function_and_so_is_the_second():
    given = inputs((4, 5), 8, torch.float64)
    assert torch.autograd.gradcheck(to_one_channel, given, fast_mode=True)
    assert torch.autograd.gradgradcheck(to_one_channel, given, fast_mode=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_neither_batch_nor_threads_change_a_bit(dtype):
    threads = torch.get_num_threads()
    x, kernel, bias = inputs((66, 34), 16, dtype)
    rows, whole = [], []
    try:
        for count, batch in itertools.product((1, 2, 5), (1, 3)):
            torch.set_num_threads(count)
            part = [x[:batch].detach().requires_grad_(), kernel, bias]
            y = to_one_channel(*part)
            slopes = torch.autograd.grad(y.square().sum(), part)
            rows.append([y[0], slopes[0][0]])
            if batch == 3:
                whole.append(slopes)
    finally:
        torch.set_num_threads(threads)
    for found in (rows, whole):
        for other in found[1:]:
            assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


def test_other_convolutions_are_left_to_torch():
    x = torch.zeros(1, 8, 6, 6)
    assert fits(nn.Conv2d(8, 1, 3), x)
    for other in (nn.Conv2d(8, 2, 3), nn.Conv2d(8, 1, 1), nn.Conv2d(8, 1, 3, dilation=2), nn.Conv1d(8, 1, 3)):
        assert not fits(other, x)
    with native.without_kernels():
        assert not fits(nn.Conv2d(8, 1, 3), x)
