r"""Group normalisation, modulation, SiLU and padding in one pass over memory.

.. math:: y = \mathrm{pad}\big(\mathrm{SiLU}((1 + g)\,N(x) + b)\big), \qquad N(x) = (x - \mu_G) / \sqrt{v_G + \epsilon}

with moments over a group of channels and the whole grid. Between two convolutions of a U-Net these steps do a handful
of operations per value; what they cost is the memory that each of them reads and writes. On a CPU
:func:`activated` runs kernels.cpp (see native.py; gpu.py has that of a GPU): statistics and sums are float32 within a
piece of the grid, float64 between pieces; fields keep the precision that they come in. Everywhere else, under
torch.compile, and under transformations of torch.func it is the composition of torch's operations, which is also its
second derivative.

Shapes: B batch, C channels, \*grid lattice.
"""

import ctypes
import functools
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn import functional as F

from physgen.networks.native import kernel, library

GROUP = 8  # channels that are normalised together; kernels.cpp has the same
MEMORY_FORMATS = {1: torch.contiguous_format, 2: torch.channels_last, 3: torch.channels_last_3d}
NAMES = {torch.bfloat16: "bfloat16", torch.float32: "float32", torch.float64: "float64"}


def full_precision(x: Tensor) -> Tensor:
    """float32 instead of half precision; float32 and float64 as they are."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def group_norm(x: Tensor, groups: int) -> Tensor:
    """Group normalisation of x, at least in float32, without scale and shift."""
    x = full_precision(x)
    if is_transformed() and not torch.compiler.is_compiling():  # its tangent is taken by views of contiguous memory
        x = x.contiguous()
    return F.group_norm(x, groups)


def laid_out(x: Tensor) -> Tensor:
    """x in the memory format of the kernels; as it is where vmap looks on, which does not know formats."""
    if is_transformed() and not torch.compiler.is_compiling():
        return x
    return x.contiguous(memory_format=MEMORY_FORMATS[x.ndim - 2])


class PeriodicPad(torch.autograd.Function):
    """Circular padding of every lattice axis; its own backward, since that of torch costs as much as a convolution."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, width: int) -> Tensor:
        return _wrapped(x, width)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.width = inputs[1]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        width = ctx.width
        for axis in range(gradient.ndim - 1, 1, -1):
            size = gradient.shape[axis] - 2 * width
            inner = gradient.narrow(axis, width, size)
            if axis == gradient.ndim - 1:  # the other axes then add into this copy
                inner = inner.clone(memory_format=torch.preserve_format)
            inner.narrow(axis, 0, width).add_(gradient.narrow(axis, size + width, width))
            inner.narrow(axis, size - width, width).add_(gradient.narrow(axis, 0, width))
            gradient = inner
        return gradient, None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, _: None) -> Tensor:
        return PeriodicPad.apply(tangent, ctx.width)


def _wrapped(x: Tensor, width: int) -> Tensor:
    for axis in range(2, x.ndim):
        size = x.shape[axis]
        x = torch.cat([x.narrow(axis, size - width, width), x, x.narrow(axis, 0, width)], axis)
    return x


def pad(x: Tensor, width: int, periodic: bool = True) -> Tensor:
    """(B, C, *grid) with ``width`` sites around it on every side: those of the opposite side, or zeros."""
    if not width:
        return x
    if not periodic:
        return F.pad(x, [width] * (2 * (x.ndim - 2)))
    if torch.compiler.is_compiling():  # the compiler splits its graph at a function with rules of its own
        return _wrapped(x, width)
    if has_kernel(x) and not records(x):
        x, y = _surrounded(x, width)
        _run("surround", [x, y], x, width, True)
        return y
    return PeriodicPad.apply(x, width)


def records(*tensors: Tensor | None) -> bool:
    """Whether a function of these has a gradient: else the machinery of one is left out, which costs as much as it."""
    return torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in tensors)


def composed(
    x: Tensor, gain: Tensor | None, bias: Tensor | None, width: int, periodic: bool, offset: Tensor | None = None
) -> Tensor:
    """:func:`activated` by the operations of torch: the definition."""
    if offset is not None:
        x = x + offset.to(x.dtype).reshape(-1, *[1] * (x.ndim - 2))
    hidden = group_norm(x, x.shape[1] // GROUP)
    if gain is not None and bias is not None:
        ones = [1] * (x.ndim - 2)
        hidden = torch.addcmul(bias.reshape(*bias.shape, *ones), hidden, 1 + gain.reshape(*gain.shape, *ones))
    return pad(F.silu(hidden).to(x.dtype), width, periodic)


def activated(
    x: Tensor, gain: Tensor | None = None, bias: Tensor | None = None, width: int = 0, periodic: bool = True
) -> Tensor:
    r"""y of the module's equation.

    Args:
        x: (B, C, \*grid), C a multiple of 8. gain, bias: (B, C), both or neither.
        width: sites of padding on every side. periodic: of the opposite side, else zeros.

    Returns:
        (B, C, \*(grid + 2 width)) of the type of x.

    Raises:
        ValueError: channels that are no multiple of 8.
    """
    if x.shape[1] % GROUP:
        raise ValueError(f"channels must be a multiple of {GROUP} (a normalisation group), got {x.shape[1]}")
    if not has_kernel(x):
        return composed(x, gain, bias, width, periodic)
    if records(x, gain, bias):
        return _Activated.apply(x, gain, bias, width, periodic)[0]
    return _activated(x, gain, bias, width, periodic, None)


def activated_beside(
    x: Tensor, gain: Tensor | None = None, bias: Tensor | None = None, width: int = 0, periodic: bool = True
) -> tuple[Tensor, Tensor]:
    """:func:`activated`, and x for its other user: the kernel adds up the slopes of both, one pass less."""
    if has_kernel(x) and records(x):
        return _Activated.apply(x, gain, bias, width, periodic)
    return activated(x, gain, bias, width, periodic), x


def has_kernel(x: Tensor) -> bool:
    """Whether the compiled kernels take x here and now."""
    if x.device.type != "cpu" or x.ndim not in (4, 5) or x.dtype not in NAMES or not x.numel():
        return False
    return not is_transformed() and library() is not None


def is_transformed() -> bool:
    """Whether torch wants to see its own operations: compiles, goes forward, or has vmap, grad or jvp of torch.func."""
    if torch.compiler.is_compiling() or forward_ad._current_level >= 0:
        return True
    return torch._C._functorch.peek_interpreter_stack() is not None


class _Shape(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_int64)
        for name in (
            "batch", "depth", "height", "width", "channels", "pad_depth", "pad_height", "pad_width",
            "periodic", "gain_row", "bias_row", "single", "threads",
        )
    ]  # fmt: skip


@functools.lru_cache(maxsize=1024)
def _shape(
    shape: tuple[int, ...], width: int, periodic: bool, rows: tuple[int, int], single: bool, threads: int
) -> _Shape:
    batch, channels, *grid = shape
    missing = 3 - len(grid)
    sizes, pads = [1] * missing + grid, [0] * missing + [width] * len(grid)
    return _Shape(batch, *sizes, channels, *pads, periodic, *rows, single, threads)


class _Activated(torch.autograd.Function):
    """:func:`activated_beside` by kernels.cpp. A second derivative goes through the composition."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, gain: Tensor | None, bias: Tensor | None, width: int, periodic: bool
    ) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(x, gain, bias)
        ctx.set_materialize_grads(False)
        ctx.options = (width, periodic)
        ctx.moments = torch.empty(2, len(x), x.shape[1] // GROUP, dtype=torch.float64)
        return _activated(x, gain, bias, width, periodic, ctx.moments), x

    @staticmethod
    def backward(ctx: Any, gradient: Tensor | None, kept: Tensor | None) -> tuple[Tensor | None, ...]:
        x, gain, bias = ctx.saved_tensors
        if gradient is None:
            return kept, None, None, None, None
        if torch.is_grad_enabled():  # create_graph
            inputs = [tensor for tensor in (x, gain, bias) if tensor is not None and tensor.requires_grad]
            y = composed(x, gain, bias, *ctx.options)
            slopes = iter(torch.autograd.grad(y, inputs, gradient, create_graph=True))
            of_x, *others = (next(slopes) if t is not None and t.requires_grad else None for t in (x, gain, bias))
            return of_x if kept is None or of_x is None else of_x + kept, *others, None, None
        layout = MEMORY_FORMATS[x.ndim - 2]
        x = x.contiguous(memory_format=layout)
        gradient = gradient.to(x.dtype).contiguous(memory_format=layout)
        if kept is not None:
            kept = kept.to(x.dtype).contiguous(memory_format=layout)
        slope, of_rows = torch.empty_like(x), torch.empty(2, *x.shape[:2], dtype=torch.float64)
        (width, periodic), (strides, rows) = ctx.options, _rows(gain, bias)
        _run("backward", [gradient, kept, x, slope, *rows, ctx.moments, of_rows], x, width, periodic, strides)
        if gain is None or bias is None:
            return slope, None, None, None, None
        of_gain, of_bias = of_rows.to(gain.dtype).unbind()
        return slope, of_gain, of_bias.to(bias.dtype), None, None


def _activated(
    x: Tensor, gain: Tensor | None, bias: Tensor | None, width: int, periodic: bool, moments: Tensor | None
) -> Tensor:
    x, y = _surrounded(x, width)
    strides, rows = _rows(gain, bias)
    _run("forward", [x, y, *rows, moments], x, width, periodic, strides)
    return y


def _surrounded(x: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """x in the layout of the kernels, and room for it with its padding."""
    layout = MEMORY_FORMATS[x.ndim - 2]
    sizes = (*x.shape[:2], *(size + 2 * width for size in x.shape[2:]))
    return x.contiguous(memory_format=layout), torch.empty(sizes, dtype=x.dtype, memory_format=layout)


Strides = tuple[tuple[int, int], bool]  # from one sample to the next of gains and biases; whether they are float32
NO_ROWS: Strides = ((0, 0), False)


def _rows(gain: Tensor | None, bias: Tensor | None) -> tuple[Strides, tuple[Tensor | None, Tensor | None]]:
    """Gains and biases as the kernels read them: rows of float32 or float64, which need not follow on another."""
    if gain is None or bias is None:
        return NO_ROWS, (None, None)
    if gain.dtype != bias.dtype or gain.dtype not in (torch.float32, torch.float64):
        gain, bias = gain.double(), bias.double()
    if gain.stride(1) != 1 or bias.stride(1) != 1:
        gain, bias = gain.contiguous(), bias.contiguous()
    return ((gain.stride(0), bias.stride(0)), gain.dtype == torch.float32), (gain, bias)


def _run(
    name: str, arrays: list[Tensor | None], x: Tensor, width: int, periodic: bool, strides: Strides = NO_ROWS
) -> None:
    """A function of kernels.cpp for the type of x on the addresses of the arrays."""
    shape = _shape(x.shape, width, periodic, *strides, torch.get_num_threads())
    addresses = [None if array is None else array.data_ptr() for array in arrays]
    kernel(f"{name}_{NAMES[x.dtype]}", len(arrays) + 1)(*addresses, ctypes.addressof(shape))
