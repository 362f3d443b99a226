r"""Traces and Jacobians of maps that treat samples independently, by backward passes done many at a time.

Shapes: B batch, C channels, \*grid lattice, d = C x grid, K probes.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Map = Callable[[Tensor], Tensor]


def exact_trace(function: Map, y: Tensor, chunk: int) -> tuple[Tensor, Tensor]:
    """Value (B, C, *grid) and trace (B,) of the Jacobian of each sample, d backward passes, ``chunk`` at once."""
    value, at = _traced(function, y)
    size, trace = y[0].numel(), torch.zeros(len(y), dtype=y.dtype, device=y.device)
    for first in range(0, size, chunk):
        index = torch.arange(first, min(first + chunk, size), device=y.device)
        rows = _pull_back(value, at, _unit(index, y))
        trace = trace + rows.flatten(2)[torch.arange(len(index)), :, index].sum(0)
    return value.detach(), trace


def probe_traces(function: Map, y: Tensor, probes: Tensor, chunk: int) -> tuple[Tensor, Tensor]:
    r"""Value and Hutchinson's estimates :math:`v^T J v` (K, B) for probes v (K, B, C, \*grid) with unit covariance.

    Source: Hutchinson 1990; Grathwohl et al., arXiv:1810.01367.
    """
    value, at = _traced(function, y)
    pulled = torch.cat([_pull_back(value, at, part) for part in probes.split(chunk)])
    return value.detach(), (pulled * probes).flatten(2).sum(2)


def jacobian(function: Map, y: Tensor, chunk: int) -> tuple[Tensor, Tensor]:
    """Value (B, C, *grid) and Jacobian (B, d, d) of each sample, row = output, ``chunk`` backward passes at once."""
    value, at = _traced(function, y)
    indices = torch.arange(y[0].numel(), device=y.device)
    rows = [_pull_back(value, at, _unit(index, y)).flatten(2) for index in indices.split(chunk)]
    return value.detach(), torch.cat(rows).transpose(0, 1)


def _traced(function: Map, y: Tensor) -> tuple[Tensor, Tensor]:
    with torch.enable_grad():
        at = y.detach().requires_grad_()
        return function(at), at


def _unit(index: Tensor, y: Tensor) -> Tensor:
    """Unit vectors (chunk, B, C, *grid), the same for each sample."""
    vectors = torch.zeros(len(index), y[0].numel(), dtype=y.dtype, device=y.device)
    vectors[torch.arange(len(index)), index] = 1
    return vectors.reshape(len(index), 1, *y.shape[1:]).expand(-1, *y.shape)


def _pull_back(value: Tensor, at: Tensor, vectors: Tensor) -> Tensor:
    """The products v^T J, (K, B, C, *grid) for as many vectors: at once, or one by one where a layer cannot do that."""
    try:
        (rows,) = torch.autograd.grad(value, at, vectors, retain_graph=True, is_grads_batched=True)
    except RuntimeError:  # compiled kernels and memory formats know no batch of slopes; what else fails, fails again
        one_by_one = (torch.autograd.grad(value, at, vector, retain_graph=True)[0] for vector in vectors)
        rows = torch.stack(list(one_by_one))
    return rows
