r"""Physical values of encoded fields in differentiable torch operations: what an observation model sees.

The same map as :func:`physgen.domains.cosmology.encoding.decode_field`, without the count of what was clipped. Shapes:
B fields, C components, \*grid lattice.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from physgen.domains.cosmology.encoding import LOWEST, component_constants
from physgen.domains.cosmology.gaussianise import _segments


def decoded_values(x: Tensor, constants: Mapping[str, Any]) -> Tensor:
    r"""Field values (B, C, \*grid) of encoded x; the gradient is zero where a value is clipped."""
    parts = component_constants(constants)
    return torch.stack([_decoded(x[:, c], part) for c, part in enumerate(parts)], dim=1)


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
