r"""The steps of a U-Net between its convolutions on a GPU: kernels of our own, their gradients, and when they are used.

Torch would take several passes over memory for each, add the bias of a convolution in one of its own, and make its
gradient in another: at width 64 these passes cost four times what the convolutions do. Here

.. math:: \mathrm{activated} = \mathrm{pad}(\mathrm{SiLU}((1 + g) N(x + o) + b)), \qquad
          \mathrm{joined} = a + b + o, \qquad \mathrm{raised} = \mathrm{skip} + \mathrm{repeat}(\mathrm{low}) + o,

with N of :mod:`physgen.networks.fused` and o the bias of the convolution that made the field, which then leaves it out.
Sums are float32 within pieces of a sample, float64 between them.

Shapes: B batch, C channels, \*grid lattice.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from physgen.networks import fused_launch, streams_triton
from physgen.networks.fused import MEMORY_FORMATS, composed, is_transformed
from physgen.networks.fused_launch import Modulation


def here(x: Tensor) -> bool:
    """Whether x lies on a GPU with Triton, as itself: not compiled, nor under a transformation of torch.func."""
    return (
        x.device.type == "cuda" and x.ndim in (4, 5) and streams_triton.kernels() is not None and not is_transformed()
    )


def fits(x: Tensor, width: int = 0, periodic: bool = True) -> bool:
    """Whether :func:`activated` and :func:`joined` take x here and now, padded by ``width`` sites."""
    return streams_triton.fits(x) and fused_launch.one_image(x, width, periodic) and not is_transformed()


def halves(x: Tensor) -> bool:
    """Whether :func:`averaged` takes x here and now."""
    return streams_triton.fits(x) and not any(size % 2 for size in x.shape[2:]) and not is_transformed()


def activated(
    x: Tensor,
    gain: Tensor | None = None,
    bias: Tensor | None = None,
    offset: Tensor | None = None,
    width: int = 0,
    periodic: bool = True,
) -> Tensor:
    r"""The activated and padded field of the module's equation.

    Args:
        x: (B, C, \*grid). gain, bias: (B, C), both or neither. offset: (C,) or None.
        width: sites of padding on every side. periodic: of the opposite side, else zeros.
    """
    value: Tensor = _Activated.apply(x, gain, bias, offset, width, periodic)[0]
    return value


def activated_beside(x: Tensor, width: int, periodic: bool) -> tuple[Tensor, Tensor]:
    """The activated and padded field, and x itself for whoever else reads it: one pass adds both gradients."""
    value: tuple[Tensor, Tensor] = _Activated.apply(x, None, None, None, width, periodic)
    return value


def joined(a: Tensor, b: Tensor, offset: Tensor | None = None) -> Tensor:
    r"""a + b + offset; a, b (B, C, \*grid), offset (C,)."""
    value: Tensor = _Joined.apply(*_alike(a, b), offset)
    return value


def raised(skip: Tensor, low: Tensor, offset: Tensor | None = None) -> Tensor:
    r"""skip + repeat(low) + offset, each site :math:`2^d` times; skip (B, C, \*grid), low (B, C, \*grid/2)."""
    value: Tensor = _Raised.apply(*_alike(skip, low), offset)
    return value


def averaged(x: Tensor) -> Tensor:
    r"""Average over :math:`2^d` sites: (B, C, \*grid) -> (B, C, \*grid/2)."""
    return _block_sums(x, 0.5 ** (x.ndim - 2))


def with_zeros(x: Tensor, channels: int) -> Tensor:
    """x with so many more channels, of zeros; channels last."""
    return _last(torch.cat([x, x.new_zeros(len(x), channels, *x.shape[2:])], 1))


def _alike(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Both in the more precise of their types."""
    dtype = torch.promote_types(a.dtype, b.dtype)
    return a.to(dtype), b.to(dtype)


def _last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=MEMORY_FORMATS[x.ndim - 2])


def _block_sums(x: Tensor, scale: float) -> Tensor:
    value: Tensor = _BlockSums.apply(x, scale)
    return value


class _Activated(torch.autograd.Function):
    """A second derivative goes through the composition."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        gain: Tensor | None,
        bias: Tensor | None,
        offset: Tensor | None,
        width: int,
        periodic: bool,
    ) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(x, gain, bias, offset)
        ctx.options = (width, periodic)
        grid, layout = [size + 2 * width for size in x.shape[2:]], MEMORY_FORMATS[x.ndim - 2]
        y = torch.empty(*x.shape[:2], *grid, dtype=x.dtype, device=x.device, memory_format=layout)
        ctx.made = fused_launch.forward(_last(x), _modulation(gain, bias, offset), y, width, periodic)
        ctx.set_materialize_grads(False)
        return y, x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor | None, beside: Tensor | None) -> tuple[Tensor | None, ...]:
        x, gain, bias, offset = ctx.saved_tensors
        if torch.is_grad_enabled():  # create_graph
            return *_with_a_graph(ctx, gradient, beside), None, None
        if gradient is None:
            return beside, None, None, None, None, None
        arrives, other = _last(gradient.to(x.dtype)), None if beside is None else _last(beside.to(x.dtype))
        modulation = _modulation(gain, bias, offset)
        return *fused_launch.backward(arrives, other, _last(x), modulation, ctx.made, ctx.options), None, None


def _with_a_graph(ctx: Any, gradient: Tensor | None, beside: Tensor | None) -> list[Tensor | None]:
    """Gradients of x, gain, bias and offset that can be derived again."""
    x, gain, bias, offset = given = ctx.saved_tensors
    inputs = [tensor for tensor in given if tensor is not None and tensor.requires_grad]
    width, periodic = ctx.options
    outputs = [composed(x, gain, bias, width, periodic, offset), x.view_as(x)]
    arrives = [torch.zeros_like(y) if g is None else g for y, g in zip(outputs, (gradient, beside), strict=True)]
    slopes = iter(torch.autograd.grad(outputs, inputs, arrives, create_graph=True))
    return [next(slopes) if t is not None and t.requires_grad else None for t in given]


def _modulation(*given: Tensor | None) -> Modulation:
    return Modulation(*(None if tensor is None else tensor.contiguous() for tensor in given))


class _Joined(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, offset: Tensor | None) -> Tensor:
        ctx.dtype = None if offset is None else offset.dtype
        return streams_triton.added(_last(a), _last(b), offset)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return gradient, gradient, _of_offset(ctx, gradient)


class _Raised(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, skip: Tensor, low: Tensor, offset: Tensor | None) -> Tensor:
        ctx.dtype = None if offset is None else offset.dtype
        return streams_triton.repeated(_last(low), _last(skip), offset)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        of_low = _block_sums(gradient, 1.0)
        return gradient, of_low, _of_offset(ctx, of_low)


def _of_offset(ctx: Any, gradient: Tensor) -> Tensor | None:
    """Gradient (C,) of an offset from that of the field to which it was added."""
    if ctx.dtype is None or not ctx.needs_input_grad[2]:
        return None
    if torch.is_grad_enabled():  # create_graph
        return gradient.to(ctx.dtype).transpose(0, 1).flatten(1).sum(1)
    return streams_triton.site_sums(_last(gradient)).to(ctx.dtype)


class _BlockSums(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: float) -> Tensor:
        ctx.scale = scale
        return streams_triton.block_sums(_last(x), scale)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return _Repeated.apply(gradient, ctx.scale), None


class _Repeated(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, low: Tensor, scale: float) -> Tensor:
        ctx.scale = scale
        return streams_triton.repeated(_last(low), None, None, scale)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return _block_sums(gradient, ctx.scale), None
