r"""Traces and Jacobians of maps that treat samples independently, by backward passes of several copies of the batch.

A backward pass of k copies of the batch has k slopes for each sample. Layers never see a batch of slopes in any other
form: compiled kernels, memory formats and functions with rules of their own work as they do in training.

Shapes: B batch, C channels, \*grid lattice, d = C x grid, K probes.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from physgen.diffusion.convention import Condition

Map = Callable[[Tensor], Tensor]  # of (B, C, *grid), and of whole copies of that batch, one after the other
ROOM = {"cpu": 2**16}  # values in one pass: more copies of a larger batch gain nothing
ROOM_ELSEWHERE = 2**22


def exact_trace(function: Map, y: Tensor, chunk: int) -> tuple[Tensor, Tensor]:
    """Value (B, C, *grid) and trace (B,) of the Jacobian of each sample: d slopes, at most ``chunk`` in one pass."""
    size, trace = y[0].numel(), torch.zeros(len(y), dtype=y.dtype, device=y.device)
    back = _Backward(function, y, min(chunk, size))
    for index in torch.arange(size, device=y.device).split(back.copies):
        rows = back(_unit(index, y))
        trace = trace + rows.flatten(2)[torch.arange(len(index)), :, index].sum(0)
    return back.value, trace


def probe_traces(function: Map, y: Tensor, probes: Tensor, chunk: int) -> tuple[Tensor, Tensor]:
    r"""Value and Hutchinson's estimates :math:`v^T J v` (K, B) for probes v (K, B, C, \*grid) with unit covariance.

    Source: Hutchinson 1990; Grathwohl et al., arXiv:1810.01367.
    """
    back = _Backward(function, y, min(chunk, len(probes)))
    pulled = torch.cat([back(part) for part in probes.split(back.copies)])
    return back.value, (pulled * probes).flatten(2).sum(2)


def jacobian(function: Map, y: Tensor, chunk: int) -> tuple[Tensor, Tensor]:
    """Value (B, C, *grid) and Jacobian (B, d, d) of each sample, row = output, at most ``chunk`` rows in one pass."""
    size = y[0].numel()
    back = _Backward(function, y, min(chunk, size))
    rows = [back(_unit(index, y)).flatten(2) for index in torch.arange(size, device=y.device).split(back.copies)]
    return back.value, torch.cat(rows).transpose(0, 1)


def for_copies(condition: Condition, rows: int) -> Condition:
    """The condition of a batch, for ``rows`` rows that are whole copies of the batch."""
    return condition and {
        name: value.repeat(rows // len(value), *[1] * (value.ndim - 1)) for name, value in condition.items()
    }


class _Backward:
    """Products v^T J of a map at y; ``copies``: vectors for each sample in one pass. ``value`` (B, C, *grid)."""

    def __init__(self, function: Map, y: Tensor, wanted: int) -> None:
        room = ROOM.get(y.device.type, ROOM_ELSEWHERE)
        self.copies = max(1, min(wanted, room // y.numel()))
        with torch.enable_grad():
            self._at = y.detach().repeat(self.copies, *[1] * (y.ndim - 1)).requires_grad_()
            self._value = function(self._at)
        self.value = self._value[: len(y)].detach()

    def __call__(self, vectors: Tensor) -> Tensor:
        """(K, B, C, *grid) for as many vectors, K at most ``copies``."""
        full = torch.zeros_like(self._at)
        rows = vectors.flatten(0, 1)
        full[: len(rows)] = rows
        (pulled,) = torch.autograd.grad(self._value, self._at, full, retain_graph=True)
        return pulled[: len(rows)].reshape(vectors.shape)


def _unit(index: Tensor, y: Tensor) -> Tensor:
    """Unit vectors (k, B, C, *grid), the same for each sample."""
    vectors = torch.zeros(len(index), y[0].numel(), dtype=y.dtype, device=y.device)
    vectors[torch.arange(len(index)), index] = 1
    return vectors.reshape(len(index), 1, *y.shape[1:]).expand(-1, *y.shape)
