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
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn import functional as F

from physgen.networks.native import library

GROUP = 8  # channels that are normalised together; kernels.cpp has the same
MEMORY_FORMATS = {1: torch.contiguous_format, 2: torch.channels_last, 3: torch.channels_last_3d}
NAMES = {torch.bfloat16: "bfloat16", torch.float32: "float32", torch.float64: "float64"}


def full_precision(x: Tensor) -> Tensor:
    """float32 instead of half precision; float32 and float64 as they are."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


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
    return PeriodicPad.apply(x, width)


def composed(
    x: Tensor, gain: Tensor | None, bias: Tensor | None, width: int, periodic: bool, offset: Tensor | None = None
) -> Tensor:
    """:func:`activated` by the operations of torch: the definition."""
    if offset is not None:
        x = x + offset.to(x.dtype).reshape(-1, *[1] * (x.ndim - 2))
    hidden = F.group_norm(full_precision(x), x.shape[1] // GROUP)
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
    if has_kernel(x):
        return _Activated.apply(x, gain, bias, width, periodic)
    return composed(x, gain, bias, width, periodic)


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
            "periodic", "threads",
        )
    ]  # fmt: skip

    @classmethod
    def of(cls, shape: Sequence[int], width: int, periodic: bool) -> "_Shape":
        batch, channels, *grid = shape
        missing = 3 - len(grid)
        sizes, pads = [1] * missing + grid, [0] * missing + [width] * len(grid)
        return cls(batch, *sizes, channels, *pads, periodic, torch.get_num_threads())


class _Activated(torch.autograd.Function):
    """:func:`activated` by kernels.cpp. A second derivative goes through the composition."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, gain: Tensor | None, bias: Tensor | None, width: int, periodic: bool) -> Tensor:
        layout = MEMORY_FORMATS[x.ndim - 2]
        ctx.save_for_backward(x, gain, bias)
        ctx.options = (width, periodic)
        x = x.contiguous(memory_format=layout)
        grid = [size + 2 * width for size in x.shape[2:]]
        y = torch.empty(*x.shape[:2], *grid, dtype=x.dtype, memory_format=layout)
        ctx.moments = torch.empty(2, len(x), x.shape[1] // GROUP, dtype=torch.float64)
        ctx.modulation = _in_double(gain), _in_double(bias)
        _call("forward", x, [x, y, *ctx.modulation, *ctx.moments], width, periodic)
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, gain, bias = ctx.saved_tensors
        if torch.is_grad_enabled():  # create_graph
            inputs = [tensor for tensor in (x, gain, bias) if tensor is not None and tensor.requires_grad]
            y = composed(x, gain, bias, *ctx.options)
            slopes = iter(torch.autograd.grad(y, inputs, gradient, create_graph=True))
            return *(next(slopes) if t is not None and t.requires_grad else None for t in (x, gain, bias)), None, None
        layout = MEMORY_FORMATS[x.ndim - 2]
        x = x.contiguous(memory_format=layout)
        gradient = gradient.to(x.dtype).contiguous(memory_format=layout)
        slope = torch.empty_like(x)
        of_gain, of_bias = torch.empty(2, *x.shape[:2], dtype=torch.float64)
        arrays = [gradient, x, slope, *ctx.modulation, *ctx.moments, of_gain, of_bias]
        _call("backward", x, arrays, *ctx.options)
        if gain is None or bias is None:
            return slope, None, None, None, None
        return slope, of_gain.to(gain.dtype), of_bias.to(bias.dtype), None, None


def _in_double(x: Tensor | None) -> Tensor | None:
    return None if x is None else x.detach().double().contiguous()


def _call(name: str, x: Tensor, arrays: Sequence[Tensor | None], width: int, periodic: bool) -> None:
    """A function of kernels.cpp for the type of x on the addresses of the arrays."""
    kernel = getattr(library(), f"{name}_{NAMES[x.dtype]}")
    addresses = [ctypes.c_void_p(None if array is None else array.data_ptr()) for array in arrays]
    kernel(*addresses, ctypes.byref(_Shape.of(x.shape, width, periodic)))
