r"""Pointwise parts of message passing with their derivatives written out: torch's own would keep and read more fields.

Legend: x (F, ...), features first. All is made of torch's operations, backwards too, so it runs on every device, for
batches of gradients, and derivatives can be derived again.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def squashed(x: Tensor) -> Tensor:
    r""":math:`x / (1 + |x|)`."""
    value: Tensor = _Squashed.apply(x)
    return value


def normalized(x: Tensor, floor: float, centred: bool = True) -> Tensor:
    r""":math:`(x - m)/\sqrt{\mathrm{mean}(x - m)^2 + \mathrm{floor}}` over the features; m is their mean, or 0."""
    value: Tensor = _Normalized.apply(x, centred, floor)[0]
    return value


class _Squashed(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x / (1 + x.abs())

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.save_for_backward(output)
        ctx.save_for_forward(output)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Tensor:
        (y,) = ctx.saved_tensors
        return slope * (1 - y.abs()).square()  # 1/(1 + |x|) = 1 - |y|

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor) -> Tensor:
        return _Squashed.backward(ctx, tangent)


class _Normalized(torch.autograd.Function):
    """Returns the rate 1/sqrt(...) too, so that it is known, with its derivative, when the backward is derived."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, centred: bool, floor: float) -> tuple[Tensor, Tensor]:
        if centred:
            x = x - x.mean(0, keepdim=True)
        rate = (x.square().mean(0, keepdim=True) + floor).rsqrt()
        return x * rate, rate

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.centred = inputs[1]
        ctx.save_for_backward(*output)
        ctx.save_for_forward(*output)

    @staticmethod
    def backward(ctx: Any, slope: Tensor, slope_of_rate: Tensor) -> tuple[Tensor, None, None]:
        y, rate = ctx.saved_tensors
        along = (slope * y).mean(0, keepdim=True) + rate * slope_of_rate / len(y)
        across = slope - slope.mean(0, keepdim=True) if ctx.centred else slope
        return rate * torch.addcmul(across, y, along, value=-1), None, None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, _centred: None, _floor: None) -> tuple[Tensor, Tensor]:
        y, rate = ctx.saved_tensors
        if ctx.centred:
            tangent = tangent - tangent.mean(0, keepdim=True)
        along = (tangent * y).mean(0, keepdim=True)
        return rate * (tangent - y * along), -rate.square() * along
