r"""Physical values of encoded fields in differentiable torch operations: what an observation model sees.

Together the same map as :func:`physgen.domains.cosmology.encoding.decode_field`, without the count of what was
clipped.

Shapes: B fields, C components, \*grid lattice.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from physgen.domains.cosmology.encoding import LOWEST, component_constants
from physgen.domains.cosmology.gaussianise import _segments

# a field stops where its own mean is met: what one decodes to does not depend on those beside it
NEWTON_STEPS, LONGEST_STEP, LEAST_SLOPE = 8, 1.0, 1e-6


def decoded_values(x: Tensor, constants: Mapping[str, Any]) -> Tensor:
    r"""Field values (B, C, \*grid) of encoded x; the gradient is zero where a value is clipped."""
    parts = component_constants(constants)
    return torch.stack([_decoded(x[:, c], part) for c, part in enumerate(parts)], dim=1)


def zero_mode_shift(x: Tensor, constants: Mapping[str, Any]) -> Tensor | None:
    r"""c (B, C, 1, ...) with which x + c decodes to the mean that the zero mode of x stands for; None without these.

    Newton steps; the gradient is that of the implicit function. See :mod:`physgen.domains.cosmology.zero_mode`.
    """
    parts = component_constants(constants)
    if not any("zero_mode" in part for part in parts):
        return None
    shifts = [_shift(x[:, c], part) if "zero_mode" in part else x[:, c].mean() * 0 for c, part in enumerate(parts)]
    one = [len(x), *[1] * (x.ndim - 2)]
    return torch.stack([shift.expand(one) for shift in shifts], dim=1)


def _shift(x: Tensor, part: Mapping[str, Any]) -> Tensor:
    zero_mode, cells = part["zero_mode"], tuple(range(1, x.ndim))
    zero = x.mean(cells, keepdim=True)
    wanted = zero_mode["mean"] + (zero / zero_mode["slope"] if zero_mode["slope"] else 0 * zero)
    still, shift = x.detach(), torch.zeros_like(zero.detach())
    for _ in range(NEWTON_STEPS):
        with torch.enable_grad():
            point = shift.requires_grad_()
            mean = _decoded(still + point, part).mean(cells, keepdim=True) / part["scale"]
            (slope,) = torch.autograd.grad(mean.sum(), point)
        miss, slope = mean.detach() - wanted.detach(), slope.clamp(min=LEAST_SLOPE)
        open_ = miss.abs() > 10 * torch.finfo(x.dtype).eps
        if not bool(open_.any()):
            break
        shift = shift.detach() - torch.where(open_, miss / slope, 0.0).clamp(-LONGEST_STEP, LONGEST_STEP)
    left = _decoded(x + shift, part).mean(cells, keepdim=True) / part["scale"] - wanted
    return shift.detach() - (left - left.detach()) / slope


def _decoded(x: Tensor, part: Mapping[str, Any]) -> Tensor:
    v = x * part["std"] + part["mean"]
    if "knots" in part:
        v = _values_of_scores(v, part["knots"])
    lowest = LOWEST[part["field_kind"]]
    if part["transform"] == "asinh":
        limit = float(np.arcsinh(part["ceiling"]))
        return (torch.sinh(v.clamp(-limit, limit)) * part["scale"]).clamp(min=lowest)
    limit = float(np.log(part["ceiling"] + part["floor"]))
    density = torch.exp(v.clamp(max=limit)) - part["floor"]
    return density.clamp(min=0.0) * part["scale"] - part["offset"]


def _values_of_scores(scores: Tensor, knots: Mapping[str, list[float]]) -> Tensor:
    """:func:`physgen.domains.cosmology.gaussianise.from_scores`."""
    x, y, secant, slope = (torch.as_tensor(a).to(scores) for a in _segments(dict(knots)))
    k = (torch.searchsorted(y, scores.detach().contiguous(), right=True) - 1).clamp(0, len(y) - 2)
    rise = y[k + 1] - y[k]
    height = (scores - y[k]).clamp(min=0.0).minimum(rise)
    curve = height * (slope[k] + slope[k + 1] - 2 * secant[k])
    a, b, c = rise * (secant[k] - slope[k]) + curve, rise * slope[k] - curve, -secant[k] * height
    root = (b**2 - 4 * a * c).clamp(min=torch.finfo(scores.dtype).tiny).sqrt()
    inner = x[k] + (x[k + 1] - x[k]) * (2 * c / (-b - root))
    tail = torch.where(scores < y[0], x[0] + (scores - y[0]) / slope[0], x[-1] + (scores - y[-1]) / slope[-1])
    return torch.where((scores >= y[0]) & (scores <= y[-1]), inner, tail)
