r"""The one convention: :math:`y = x_0 + s z` with z standard normal, and a denoiser :math:`D(y, s) = E[x_0 | y]`.

Shapes: B batch, C channels, \*grid lattice; y (B, C, \*grid), s (B,).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor

Condition = Mapping[str, Tensor] | None


class Denoiser(Protocol):
    r"""Any callable D(y, s, condition) -> E[x0 | y], shape of y; the condition's tensors lead with B."""

    def __call__(self, y: Tensor, s: Tensor, condition: Condition = None, /) -> Tensor: ...


def in_dtype(condition: Condition, dtype: torch.dtype) -> Condition:
    """The condition with its floating tensors in one dtype."""
    if condition is None:
        return None
    return {name: value.to(dtype) if value.is_floating_point() else value for name, value in condition.items()}


def like(s: Tensor, x: Tensor) -> Tensor:
    """s of shape (B,) or () with singleton dims appended, so that it broadcasts against x of shape (B, ...)."""
    return s.reshape(s.shape + (1,) * (x.ndim - s.ndim))
