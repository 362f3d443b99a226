"""The fused layer and its kernels: the composition of torch's operations, to the rounding of each precision."""

import itertools
import re

import pytest
import torch

from physgen.networks import native
from physgen.networks.fused import PeriodicPad, activated, activated_beside, composed, pad
from physgen.networks.unet import UNet

ROUNDING = {torch.float64: 2**-52, torch.float32: 2**-23, torch.bfloat16: 2**-8}
CASES = [  # grid, channels, padding, periodic
    ((6, 10), 8, 1, True),
    ((5, 7), 24, 2, True),
    ((4, 4), 16, 4, True),
    ((64, 64), 16, 1, True),  # more than one piece of the sums
    ((6, 4), 8, 1, False),
    ((3, 5), 32, 0, True),
    ((4, 3, 6), 8, 1, True),
    ((4, 2, 2), 16, 2, True),
    ((2, 3, 4), 8, 1, False),
]

pytestmark = pytest.mark.skipif(native.library() is None, reason="no C++ compiler: there are no kernels to test")


def draw(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def inputs(grid, channels, dtype):
    """x with a mean of three standard deviations, gains and biases of order one."""
    x = (3 + draw(3, channels, *grid)).to(dtype)
    return [t.requires_grad_() for t in (x, draw(3, channels, seed=2).to(dtype), draw(3, channels, seed=3).to(dtype))]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("grid", "channels", "width", "periodic"), CASES)
@pytest.mark.parametrize("modulated", [True, False])
def test_values_and_gradients_are_those_of_the_composition_in_double(grid, channels, width, periodic, modulated, dtype):
    given = inputs(grid, channels, dtype)
    exact = [tensor.detach().double().requires_grad_() for tensor in given]
    if not modulated:
        given, exact = given[:1], exact[:1]
    y = activated(*given, width=width, periodic=periodic)
    wanted = composed(*exact, *[None] * (3 - len(exact)), width, periodic)
    assert y.dtype == dtype and y.is_contiguous(
        memory_format=[torch.channels_last, torch.channels_last_3d][len(grid) - 2]
    )
    weights = draw(*y.shape, seed=4).to(dtype)
    found = [y, *torch.autograd.grad(y, given, weights)]
    wanted = [wanted, *torch.autograd.grad(wanted, exact, weights.double())]
    for one, other in zip(found, wanted, strict=True):
        # each value passes through ten roundings or so, of numbers as large as the largest; bfloat16 through two
        assert (one.double() - other).abs().max() < 20 * ROUNDING[dtype] * other.abs().max()


def test_the_gradient_is_the_slope_of_the_function_and_so_is_the_second():
    x, gain, bias = inputs((2, 3), 8, torch.float64)
    assert torch.autograd.gradcheck(lambda *t: activated(*t, width=1), (x, gain, bias), fast_mode=True)
    assert torch.autograd.gradgradcheck(lambda *t: activated(*t, width=1), (x, gain, bias), fast_mode=True)
    assert torch.autograd.gradgradcheck(lambda t: activated(t), (x,), fast_mode=True)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_the_other_user_of_x_adds_its_slope(dtype):
    x, gain, bias = given = inputs((4, 6), 16, dtype)
    weights, others = draw(3, 16, 6, 8, seed=4).to(dtype), draw(3, 16, 4, 6, seed=5).to(dtype)
    y, kept = activated_beside(x, gain, bias, 1)
    found = torch.autograd.grad([y, kept], given, [weights, others], retain_graph=True)
    exact = [tensor.detach().double().requires_grad_() for tensor in given]
    wanted = torch.autograd.grad(composed(*exact, 1, True), exact, weights.double())
    wanted = [wanted[0] + others.double(), *wanted[1:]]
    for one, other in zip(found, wanted, strict=True):
        assert (one.double() - other).abs().max() < 20 * ROUNDING[dtype] * other.abs().max()
    assert torch.equal(torch.autograd.grad(kept, x, others, retain_graph=True)[0], others)  # of it alone
    (alone,) = torch.autograd.grad(y, x, weights)
    assert torch.equal(alone, torch.autograd.grad(activated(x, gain, bias, 1), x, weights)[0])
    if dtype == torch.float64:

        def both(*tensors):
            y, kept = activated_beside(*tensors, width=1)
            return y[:, :, 1:-1, 1:-1] * kept

        few = inputs((2, 3), 8, dtype)  # the slopes of all numbers in all others, along random directions
        assert all(
            check(both, few, fast_mode=True) for check in (torch.autograd.gradcheck, torch.autograd.gradgradcheck)
        )


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(2, 1, 5, 4), (3, 8, 4, 6), (2, 3, 2, 3, 4)])
@pytest.mark.parametrize("width", [1, 2])
def test_without_a_gradient_padding_has_the_bits_of_the_one_that_has_one(shape, width, dtype):
    x = draw(*shape).to(dtype)
    assert torch.equal(pad(x, width), PeriodicPad.apply(x, width))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_with_and_without_a_gradient_the_same_bits(dtype):
    x, gain, bias = inputs((6, 10), 16, dtype)
    rows = torch.cat([gain, bias], 1).detach().float()  # views that are rows of one tensor, as a network has them
    kept = activated(x, *rows.chunk(2, 1), 1)
    with torch.no_grad():
        assert torch.equal(activated(x, *rows.chunk(2, 1), 1), kept)
        assert torch.equal(activated(x, gain.double(), bias.double(), 1), kept)


def test_transformations_of_torch_func_go_through_the_composition():
    x, gain, bias = (tensor.detach() for tensor in inputs((4, 6), 8, torch.float64))
    tangent = draw(*x.shape, seed=5)
    _, slope = torch.func.jvp(lambda t: activated(t, gain, bias, 1), (x,), (tangent,))
    step = 1e-6
    around = [activated(x + sign * step * tangent, gain, bias, 1) for sign in (1, -1)]
    torch.testing.assert_close(slope, (around[0] - around[1]) / (2 * step), rtol=0, atol=1e-8)
    rows = torch.func.vmap(lambda t: activated(t[None], width=1)[0])(x)
    torch.testing.assert_close(rows, activated(x, width=1), rtol=0, atol=1e-13)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_neither_batch_nor_threads_change_a_bit(dtype):
    threads = torch.get_num_threads()
    x, gain, bias = inputs((64, 64), 16, dtype)
    results = []
    try:
        for count, batch in itertools.product((1, 2, 5), (1, 3)):
            torch.set_num_threads(count)
            part = [tensor[:batch].detach().requires_grad_() for tensor in (x, gain, bias)]
            y = activated(*part, width=1)
            results.append([t[0] for t in (y, *torch.autograd.grad(y.float().square().sum(), part))])
    finally:
        torch.set_num_threads(threads)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_value_that_is_not_finite_is_not_hidden(dtype):
    x = draw(2, 8, 4, 4).to(dtype)
    x[0, 0, 1, 1] = float("nan")
    x.requires_grad_()
    y = activated(x, width=1)
    y[1].float().sum().backward(retain_graph=True)
    assert torch.isnan(y[0]).all() and torch.isfinite(y[1]).all()
    assert torch.isfinite(x.grad[1]).all()
    large = torch.full((1, 8, 4, 4), 1e30, dtype=dtype)
    large[0, :, 0, 0] = -1e30
    assert torch.isfinite(activated(large)).all()


def test_not_a_number_of_any_bits_stays_one():
    """Rounding to bfloat16 adds to the bits; what is filled with ones would become a zero."""
    ones = torch.tensor(-1, dtype=torch.int32).view(torch.float32)
    x = draw(1, 8, 4, 4).to(torch.bfloat16)
    assert torch.isnan(activated(x, torch.full((1, 8), ones), torch.zeros(1, 8))).all()
    assert torch.isnan(activated(x, torch.zeros(1, 8), torch.full((1, 8), ones))).all()
    assert torch.isnan(activated(torch.full_like(x, ones))).all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_the_activation_over_its_whole_range(dtype):
    """Of a constant field the normalised one is zero, and what is left is the SiLU of the bias."""
    bias = torch.linspace(-70, 70, 8 * 512).reshape(512, 8)
    y = activated(torch.ones(512, 8, 2, 2, dtype=dtype), torch.zeros_like(bias), bias)[:, :, 0, 0].double()
    wanted = torch.nn.functional.silu(bias.double())
    # relative, however small; an error of the argument grows with it
    rounding = 4 * ROUNDING[dtype] + (0 if dtype == torch.float64 else 10 * ROUNDING[torch.float32])
    assert ((y - wanted) / wanted).abs().max() < rounding


def test_a_constant_field_is_the_bias():
    y = activated(torch.full((1, 8, 4, 4), 7.0), torch.zeros(1, 8), torch.full((1, 8), 2.0), 1)
    torch.testing.assert_close(y, torch.full((1, 8, 6, 6), 2 / (1 + torch.tensor(-2.0).exp().item())))


@pytest.mark.parametrize("dimension", [2, 3])
def test_a_network_with_and_without_kernels(dimension):
    network = UNet(dimension, width=8, multipliers=(1, 2)).double()
    with torch.no_grad():
        for index, parameter in enumerate(network.parameters()):
            parameter.add_(0.1 * draw(*parameter.shape, seed=index))
    x, c_noise = draw(2, 1, *[4, 6, 4][:dimension]), draw(2)
    found = []
    for context in (native.without_kernels, torch.enable_grad):
        with context():
            network.zero_grad()
            y = network(x, c_noise)
            y.square().sum().backward()
        found.append([y.detach(), *[p.grad for p in network.parameters()]])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12 * float(other.abs().max()))


def test_channels_that_fill_no_group_are_refused():
    with pytest.raises(ValueError, match="multiple of 8 .*got 12"):
        activated(torch.zeros(1, 12, 4, 4))


@pytest.mark.parametrize(
    ("compiler", "message"), [(None, "no C\\+\\+ compiler"), ("false", "cannot build the kernels")]
)
def test_without_a_compiler_one_line_says_so(compiler, message, monkeypatch, tmp_path, caplog):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(native.shutil, "which", lambda name: compiler)
    with caplog.at_level("WARNING"):
        assert native._library.__wrapped__() is None
    assert len(caplog.records) == 1
    assert re.search(message, caplog.text)


def test_the_switch_in_the_environment(monkeypatch):
    monkeypatch.setenv("PHYSGEN_KERNELS", "off")
    assert native.library() is None
