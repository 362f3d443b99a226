r"""A convolution of 3 sites along each axis to a single channel, :math:`y_s = b + \sum_{t, c} k_{tc}\, x_{s + t, c}`.

It does next to no arithmetic, but the matrix units of a processor compute sixteen outputs where one is wanted: the head
of a U-Net of width 16 cost a fifteenth of its step. On a CPU :func:`to_one_channel` runs narrow.cpp (see native.py),
which sums in float32, and in float64 for float64 fields. Everywhere else, under torch.compile, and under
transformations of torch.func it is torch's convolution, which is also its second derivative.
"""

import ctypes
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from physgen.networks.fused import MEMORY_FORMATS, NAMES, has_kernel, records
from physgen.networks.native import kernel as kernel_of

CONVOLVE = {2: F.conv2d, 3: F.conv3d}


def fits(convolution: nn.Module, x: Tensor) -> bool:
    """Whether :func:`to_one_channel` is this convolution of x."""
    if not isinstance(convolution, (nn.Conv2d, nn.Conv3d)) or convolution.out_channels != 1:
        return False
    if set(convolution.kernel_size) != {3} or set(convolution.dilation) != {1}:
        return False
    return x.shape[1] % 8 == 0 and has_kernel(x)


def to_one_channel(x: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:
    r"""y of the module's equation.

    Args:
        x: (B, C, \*(grid + 2)), C a multiple of 8. kernel: (1, C, 3, ...). bias: (1,).

    Returns:
        (B, 1, \*grid) of the type of x, float32 for half precision.
    """
    return _ToOneChannel.apply(x, kernel, bias) if records(x, kernel, bias) else _forward(x, kernel, bias)


class _Box(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_int64)
        for name in ("batch", "depth", "height", "width", "channels", "taps_depth", "threads")
    ]  # fmt: skip

    @classmethod
    def of(cls, x: Tensor) -> "_Box":
        batch, channels, *grid = x.shape
        depth = grid[0] if len(grid) == 3 else 1
        return cls(batch, depth, *grid[-2:], channels, 3 if len(grid) == 3 else 1, torch.get_num_threads())


class _ToOneChannel(torch.autograd.Function):
    """:func:`to_one_channel` by narrow.cpp. A second derivative goes through torch's convolution."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, kernel, bias)
        return _forward(x, kernel, bias)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, kernel, bias = ctx.saved_tensors
        if torch.is_grad_enabled():  # create_graph
            inputs = [tensor for tensor in (x, kernel, bias) if tensor.requires_grad]
            y = CONVOLVE[x.ndim - 2](x.to(gradient.dtype), kernel.to(gradient.dtype), bias.to(gradient.dtype))
            slopes = iter(torch.autograd.grad(y, inputs, gradient, create_graph=True))
            return tuple(next(slopes) if tensor.requires_grad else None for tensor in (x, kernel, bias))
        x = x.contiguous(memory_format=MEMORY_FORMATS[x.ndim - 2])
        around = F.pad(gradient.squeeze(1), [2] * (2 * (x.ndim - 2))).contiguous()
        taps = _taps(kernel, gradient.dtype)
        of_x = torch.empty_like(x)
        of_taps, of_bias = (torch.empty(len(x), *shape, dtype=torch.float64) for shape in (taps.shape, (1,)))
        _call("backward", x, [around, x, taps, of_x, of_taps, of_bias])
        of_kernel = of_taps.sum(0).movedim(-1, 0)[None].to(kernel.dtype)
        return of_x, of_kernel, of_bias.sum(0).to(bias.dtype)


def _forward(x: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:
    x = x.contiguous(memory_format=MEMORY_FORMATS[x.ndim - 2])
    working = torch.float64 if x.dtype == torch.float64 else torch.float32
    y = torch.empty(len(x), 1, *(size - 2 for size in x.shape[2:]), dtype=working)
    _call("forward", x, [x, _taps(kernel, working), y])
    return y.add_(bias.to(working))


def _taps(kernel: Tensor, working: torch.dtype) -> Tensor:
    """(1, C, 3, ...) -> (3, ..., C)."""
    return kernel.detach()[0].movedim(0, -1).to(working).contiguous()


def _call(name: str, x: Tensor, arrays: list[Tensor]) -> None:
    box = _Box.of(x)
    addresses = [array.data_ptr() for array in arrays]
    kernel_of(f"narrow_{name}_{NAMES[x.dtype]}", len(arrays) + 1)(*addresses, ctypes.addressof(box))
