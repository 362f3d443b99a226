r"""What training and weighing take from the law of angles: means to learn from, and its density up to the norm.

:math:`\ln\tilde p(\theta) = -\beta H(\theta)` per radian of each angle, so that its norm is
:math:`Z = \int \prod_i d\theta_i\, e^{-\beta H}`. Shapes: B batch, \*grid lattice of d dims; x and y (B, 2, \*grid),
channels :math:`\beta J` (B, 2d, \*grid).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from physgen.domains.lattice_bonds import couplings_of
from physgen.domains.quenched import sample_shape
from physgen.domains.xy.lattice import check_xy
from physgen.domains.xy.strip import log_partition
from physgen.errors import InputError
from physgen.lattice import neighbour

if TYPE_CHECKING:
    import xarray as xr

    Condition = Mapping[str, Tensor] | None


def log_boltzmann(template: xr.Dataset) -> Callable[[Tensor, int], Tensor]:
    r"""-beta H (b,) float64 of unit vectors x (b, 2, \*grid), in the bonds of a flattened sample of a template."""
    couplings, shape = couplings_of(check_xy(template)).astype(np.float64), sample_shape(template)
    temperatures = template["temperature"].values

    def log_target(x: Tensor, sample: int) -> Tensor:
        instance, temperature, _ = np.unravel_index(sample, shape)
        bonds = torch.from_numpy(couplings[instance] / float(temperatures[temperature])).to(x.device)
        aligned = torch.stack([(x * neighbour(x, 2 * axis, len(bonds))).sum(1) for axis in range(len(bonds))], dim=1)
        return (bonds * aligned.double()).flatten(1).sum(1)

    return log_target


def log_density(template: xr.Dataset) -> Callable[[Tensor, int, float], Tensor]:
    r"""-beta H - ln Z (b,) of x like :func:`log_boltzmann`, at s = 0; NaN where layers are too wide for Z."""
    log_target, shape = log_boltzmann(template), sample_shape(template)
    couplings, temperatures = couplings_of(template).astype(np.float64), template["temperature"].values

    @cache
    def log_norm(instance: int, temperature: int) -> float:
        try:
            return log_partition(couplings[instance] / float(temperatures[temperature]))
        except InputError:
            return math.nan

    def log_law(x: Tensor, sample: int, s: float) -> Tensor:
        if s:
            raise ValueError(f"angles have a density without noise, got s = {s}: give 0")
        instance, temperature, _ = np.unravel_index(sample, shape)
        return log_target(x, sample) - log_norm(int(instance), int(temperature))

    return log_law


def conditional_mean(x0: Tensor, y: Tensor, s: Tensor, condition: Condition = None) -> Tensor:
    r"""Mean vector given y and all other sites, that of the field :math:`y/s^2 + \beta\sum_j J_{ij} e_j`.

    Args:
        x0: unit vectors. y: x0 + s z. s: (B,). condition: ``channels``.
    """
    from physgen.diffusion.exact.von_mises import mean_of

    field = y / s.reshape(-1, *[1] * (y.ndim - 1)).square()
    for direction, bonds in enumerate((condition or {})["channels"].unbind(1)):
        field = field + bonds[:, None] * neighbour(x0, direction, x0.ndim - 2)
    return mean_of(field)
