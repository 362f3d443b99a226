"""Block averages and repeated sites: the bits of torch's operations, with the kernels and without, and their slopes."""

import itertools

import pytest
import torch

from physgen.networks import native
from physgen.networks.resolution import AVERAGE_POOLS, downsample, downsample_beside, raised, upsample

DTYPES = [torch.float64, torch.float32, torch.bfloat16]


def draw(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("channels", [3, 8, 16])
@pytest.mark.parametrize("grid", [(8,), (4, 6), (5, 6), (2, 4, 6)])
def test_the_block_average_has_the_bits_of_torch_and_so_has_its_gradient(grid, channels, dtype):
    if dtype == torch.bfloat16 and len(grid) == 3:
        pytest.skip("torch has no such average: autocast takes that of float32")
    x = draw(2, channels, *grid).to(dtype).requires_grad_()
    y, wanted = downsample(x), AVERAGE_POOLS[len(grid)](x, 2)
    assert torch.equal(y, wanted)
    weights = draw(*y.shape, seed=4).to(dtype)
    assert torch.equal(*(torch.autograd.grad(out, x, weights)[0] for out in (y, wanted)))
    if dtype == torch.float64:
        few = x.detach().requires_grad_()  # the slopes of all numbers in all others, along random directions
        assert torch.autograd.gradgradcheck(lambda t: downsample(t).square(), (few,), fast_mode=True)
        _, slope = torch.func.jvp(downsample, (x.detach(),), (x.detach(),))
        assert torch.equal(slope, y)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(2, 3, 5), (2, 3, 2, 5), (3, 8, 3, 4), (2, 48, 2, 1), (2, 16, 2, 3, 1)])
def test_what_is_raised_onto_a_field_has_the_bits_of_two_operations(shape, dtype):
    x, onto = draw(*shape).to(dtype), draw(*shape[:2], *(2 * size for size in shape[2:]), seed=2).to(dtype)
    assert torch.equal(raised(x, onto), upsample(x) + onto)
    assert torch.equal(raised(x, factor=0.25), upsample(x * 0.25))
    given = [x.requires_grad_(), onto.requires_grad_()]
    weights = draw(*onto.shape, seed=3).to(dtype)
    found, wanted = (torch.autograd.grad(y, given, weights) for y in (raised(x, onto), upsample(x) + onto))
    assert torch.equal(found[1], weights)
    # a sum of 2^d slopes: torch's rounds between them in half precision
    assert (found[0] - wanted[0]).abs().max() <= 8 * torch.finfo(dtype).eps * wanted[0].abs().max()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("grid", [(4, 6), (2, 4, 6)])
def test_the_other_user_of_the_fine_field_adds_its_slope(grid, dtype):
    x = draw(2, 16, *grid).to(dtype).requires_grad_()
    weights, others = draw(2, 16, *(size // 2 for size in grid), seed=2).to(dtype), draw(*x.shape, seed=3).to(dtype)
    y, kept = downsample_beside(x)
    (found,) = torch.autograd.grad([y, kept], x, [weights, others], retain_graph=True)
    assert torch.equal(found, upsample(weights * 0.5 ** len(grid)) + others)
    assert torch.equal(torch.autograd.grad(kept, x, others)[0], others)
    with native.without_kernels(), torch.no_grad():
        if dtype != torch.bfloat16 or len(grid) < 3:  # torch has no such average
            assert torch.equal(downsample_beside(x)[0], y)


@pytest.mark.parametrize("shape", [(1, 8, 2, 2), (1, 8, 2, 2, 2)])
def test_slopes_of_slopes(shape):
    x, onto = (
        draw(*shape).requires_grad_(),
        draw(*shape[:2], *(2 * size for size in shape[2:]), seed=2).requires_grad_(),
    )

    def both(x):
        y, kept = downsample_beside(x)
        return y * kept[..., :1, :1].sum()

    for function, given in ((both, (x,)), (lambda x, onto: raised(x, onto).square(), (x, onto))):
        for check in (torch.autograd.gradcheck, torch.autograd.gradgradcheck):
            assert check(function, given, fast_mode=True)
    rows = torch.func.vmap(lambda t: raised(t[None], factor=0.5)[0])(x)
    assert torch.equal(rows, raised(x, factor=0.5))
    _, slope = torch.func.jvp(raised, (x.detach(),), (x.detach(),))
    assert torch.equal(slope, raised(x))


@pytest.mark.skipif(native.library() is None, reason="no C++ compiler: there are no kernels to test")
def test_threads_change_no_bit_and_a_value_that_is_not_finite_stays_so():
    threads = torch.get_num_threads()
    x, onto = draw(3, 16, 6, 10).bfloat16(), draw(3, 16, 12, 20, seed=2).bfloat16()
    x[0, 0, 1, 1], onto[1, 0, 2, 3] = float("nan"), float("inf")
    results = []
    try:
        for count, batch in itertools.product((1, 2, 5), (1, 3)):
            torch.set_num_threads(count)
            results.append([raised(x[:batch], onto[:batch])[0], downsample(onto[:batch])[0]])
    finally:
        torch.set_num_threads(threads)
    for other in results[1:]:
        assert all(torch.equal(a.nan_to_num(7), b.nan_to_num(7)) for a, b in zip(results[0], other, strict=True))
    y = raised(x, onto)
    assert torch.isnan(y[0, 0, 2:4, 2:4]).all() and torch.isnan(y).sum() == 4 and torch.isinf(y).sum() == 1
    assert torch.isinf(downsample(onto)).sum() == 1
