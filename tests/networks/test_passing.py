"""Message passing by its kernel: the composition of torch's operations, to the rounding of each precision."""

import copy
import itertools

import pytest
import torch

from physgen.diffusion.traces import exact_trace, for_copies, jacobian
from physgen.networks import native, passing
from physgen.networks.message_passing import MessagePassing

GRIDS = [(1,), (2,), (8,), (1, 1), (2, 2), (1, 3), (5, 7), (8, 8), (2, 1, 3), (4, 3, 4)]
ROUNDING = {torch.float64: 2**-52, torch.float32: 2**-23}

pytestmark = pytest.mark.skipif(native.library() is None, reason="no C++ compiler: there are no kernels to test")


def draw(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def network(dimension, width=16, depth=2, labels=1, **options):
    """In double precision, all parameters of order one over the square root of their inputs."""
    made = MessagePassing(dimension, width=width, depth=depth, labels=labels, **options).double()
    with torch.no_grad():
        for index, parameter in enumerate(made.parameters()):
            parameter.copy_(0.2 * draw(*parameter.shape, seed=10 + index))
    return made


def inputs(grid, batch, dtype=torch.float64):
    """x, c_noise, couplings, labels; the first three with a gradient."""
    x, c_noise, couplings = draw(batch, 1, *grid), draw(batch, seed=2) / 4, draw(batch, 2 * len(grid), *grid, seed=3)
    leaves = [tensor.to(dtype).requires_grad_() for tensor in (x, c_noise, couplings)]
    return leaves, draw(batch, 1, seed=4).to(dtype)


def run(made, leaves, labels):
    """Output and all gradients."""
    y = made(leaves[0], leaves[1], {"channels": leaves[2], "labels": labels})
    weights = draw(*y.shape, seed=5).to(y.dtype)
    return [y, *torch.autograd.grad(y, [*leaves, *made.parameters()], weights)]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("grid", GRIDS)
def test_values_and_gradients_are_those_of_the_composition_in_double(grid, batch, dtype):
    exact = network(len(grid))
    leaves, labels = inputs(grid, batch)
    with native.without_kernels():
        wanted = run(exact, leaves, labels)
        plain = run(copy.deepcopy(exact).to(dtype), *inputs(grid, batch, dtype))
    found = run(copy.deepcopy(exact).to(dtype), *inputs(grid, batch, dtype))
    for one, other, true in zip(found, plain, wanted, strict=True):
        # what rounding does to a sum of many terms shows in the composition: two layers amplify it as they like
        size = max(float(true.detach().abs().max()), 1e-3)
        allowed = 100 * ROUNDING[dtype] * size + 10 * float((other.double() - true).abs().max())
        assert (one.double() - true).abs().max() < allowed


def test_in_an_external_field_it_is_the_composition_with_the_slope_of_the_field():
    made, (leaves, labels) = network(2), inputs((4, 5), 3)
    field = draw(3, 1, 4, 5, seed=8).requires_grad_()

    def value_and_slopes():
        y = made(leaves[0], leaves[1], {"channels": leaves[2], "labels": labels, "field": field})
        weights = draw(*y.shape, seed=5)
        return [y, *torch.autograd.grad(y, [*leaves, field, *made.parameters()], weights)]

    found = value_and_slopes()
    with native.without_kernels():
        wanted = value_and_slopes()
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10 * float(other.detach().abs().max()))


def test_the_kernel_is_what_runs_and_where_it_does_not():
    made = network(2).float()
    (x, c_noise, couplings), labels = inputs((4, 4), 2, torch.float32)
    y = made(x, c_noise, {"channels": couplings, "labels": labels})
    assert "_Passed" in str(y.grad_fn.next_functions)
    weight = made.odd_in.weight
    assert passing.has_kernel(x, weight)
    assert not passing.has_kernel(x, weight.double())
    assert not passing.has_kernel(x, weight[:8])  # fills no register
    assert not passing.has_kernel(x.to("meta"), weight)
    assert not passing.has_kernel(x[:0], weight)
    with native.without_kernels():
        assert not passing.has_kernel(x, weight)


@pytest.mark.parametrize("options", [{"iterations": 0}, {"iterations": 5, "damping": 0.0}, {"depth": 1}, {"width": 24}])
def test_options(options):
    made = network(2, **{"width": 8, **options})
    given = inputs((3, 4), 2)
    with native.without_kernels():
        wanted = run(made, *given)
    for one, other in zip(run(made, *given), wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-11 * max(1.0, float(other.detach().abs().max())))


def test_certain_messages_have_no_slope():
    """Couplings so strong that the argument of atanh is cut."""
    made, (leaves, labels) = network(2, width=8), inputs((4, 4), 2)
    leaves[2] = (20 * leaves[2]).detach().requires_grad_()
    leaves[0] = (20 * leaves[0]).detach().requires_grad_()
    with native.without_kernels():
        wanted = run(made, leaves, labels)
    for one, other in zip(run(made, leaves, labels), wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-9 * max(1.0, float(other.detach().abs().max())))


def test_the_gradient_is_the_slope_of_the_function_and_so_is_the_second():
    made, (leaves, labels) = network(2, width=8, depth=1), inputs((2, 3), 1)
    names, parameters = zip(*made.named_parameters(), strict=True)

    def function(x, c_noise, couplings, *values):
        given = dict(zip(names, values, strict=True))
        condition = {"channels": couplings, "labels": labels}
        return torch.func.functional_call(made, given, (x, c_noise, condition))

    assert torch.autograd.gradcheck(function, (*leaves, *parameters), fast_mode=True)
    assert torch.autograd.gradgradcheck(function, (*leaves, *parameters), fast_mode=True)


def test_a_gradient_that_keeps_its_graph_is_the_same():
    made, (leaves, labels) = network(2, width=8), inputs((3, 4), 2)
    y = made(leaves[0], leaves[1], {"channels": leaves[2], "labels": labels})
    wanted = [*leaves, *made.parameters()]
    plain = torch.autograd.grad(y.square().sum(), wanted, retain_graph=True)
    kept = torch.autograd.grad(y.square().sum(), wanted, create_graph=True)
    for one, other in zip(kept, plain, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12 * max(1.0, float(other.abs().max())))


def test_slopes_of_copies_of_a_batch_are_slopes_one_after_the_other():
    made, (leaves, labels) = network(2, width=8), inputs((3, 4), 2)
    condition = {"channels": leaves[2].detach(), "labels": labels}

    def function(y):
        return made(y, leaves[1].detach().repeat(len(y) // 2), for_copies(condition, len(y)))

    y = leaves[0].detach()
    value, matrix = jacobian(function, y, 5)
    slopes = torch.autograd.functional.jacobian(function, y).flatten(4).flatten(1, 3)
    for sample in range(2):
        torch.testing.assert_close(matrix[sample], slopes[sample].unflatten(1, (2, -1))[:, sample], rtol=0, atol=1e-13)
    with native.without_kernels():
        other, trace = exact_trace(function, y, 7)
    torch.testing.assert_close(value, other, rtol=0, atol=1e-13)
    torch.testing.assert_close(matrix.diagonal(dim1=1, dim2=2).sum(1), trace, rtol=0, atol=1e-12)


def test_transformations_of_torch_func_go_through_the_composition():
    made, (leaves, labels) = network(2, width=8), inputs((3, 4), 2)
    x, c_noise, couplings = (leaf.detach() for leaf in leaves)
    tangent = draw(*x.shape, seed=6)

    def function(t):
        return made(t, c_noise, {"channels": couplings, "labels": labels})

    _, slope = torch.func.jvp(function, (x,), (tangent,))
    step = 1e-6
    around = [function(x + sign * step * tangent) for sign in (1, -1)]
    torch.testing.assert_close(slope, (around[0] - around[1]) / (2 * step), rtol=0, atol=1e-7)
    rows = torch.func.vmap(lambda t: function(t))(torch.stack([x, -x]))
    torch.testing.assert_close(rows[1], function(-x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("grid", [(8,), (5, 7), (8, 8), (4, 3, 4)])
def test_neither_batch_nor_threads_change_a_bit(grid):
    made, threads = network(len(grid)).float(), torch.get_num_threads()
    (x, c_noise, couplings), labels = inputs(grid, 40, torch.float32)
    features = [tensor.detach() for tensor in made._features(x, c_noise, couplings, {"labels": labels}).tensors()]
    axes = (1, 1, 0, 1, 0, 0)  # of the batch
    learned = [value for name, value in made.named_parameters() if "embedding" not in name and "modulation" not in name]
    rows, whole = [], []
    try:
        for count, batch in itertools.product((1, 2, 5), (1, 3, 40)):
            torch.set_num_threads(count)
            leaves = [t.narrow(axis, 0, batch).requires_grad_() for t, axis in zip(features, axes, strict=True)]
            y = passing.passed(made, passing.Features(*leaves))
            slopes = torch.autograd.grad(y, [*leaves, *learned], torch.ones_like(y))
            own = [slope.select(axis, 0) for slope, axis in zip(slopes, axes, strict=False)]
            with torch.no_grad():
                assert torch.equal(passing.passed(made, passing.Features(*leaves)), y)
            rows.append([y[0].detach(), *own])
            if batch == 40:
                whole.append(slopes)
    finally:
        torch.set_num_threads(threads)
    for found in (rows, whole):
        for other in found[1:]:
            assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


def test_a_value_that_is_not_finite_is_not_hidden():
    made, (leaves, labels) = network(2).float(), inputs((4, 4), 6, torch.float32)[0:2]
    x = leaves[0].detach()
    x[1, 0, 1, 2] = float("nan")
    y = made(x, leaves[1], {"channels": leaves[2], "labels": labels})
    assert torch.isnan(y[1]).any()
    assert torch.isfinite(y[[0, 2, 3, 4, 5]]).all()
    y.sum().backward()
    assert torch.isnan(made.layers[0].message.weight.grad).any()
