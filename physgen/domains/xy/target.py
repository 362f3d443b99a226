r"""What training and weighing take from the law of angles: means to learn from, and its density up to the norm.

:math:`\ln\tilde p(\theta) = -\beta H(\theta)` per radian of each angle, so that its norm is
:math:`Z = \int \prod_i d\theta_i\, e^{-\beta H}`. Shapes: B batch, \*grid lattice of d dims; x and y (B, 2, \*grid),
channels :math:`\beta J` (B, 2d, \*grid).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from physgen.domains import lattice_bonds
from physgen.domains.xy.lattice import check_xy
from physgen.domains.xy.strip import log_partition
from physgen.lattice import neighbour

if TYPE_CHECKING:
    import xarray as xr

    Condition = Mapping[str, Tensor] | None


def log_boltzmann(template: xr.Dataset) -> Callable[[Tensor, int], Tensor]:
    r"""-beta H (b,) float64 of unit vectors x (b, 2, \*grid), in the bonds of a flattened sample of a template."""
    return lattice_bonds.log_boltzmann(check_xy(template))


def log_density(template: xr.Dataset) -> Callable[[Tensor, int, float], Tensor]:
    r"""-beta H - ln Z (b,) of x like :func:`log_boltzmann`, at s = 0; NaN where layers are too wide for Z."""

    def norm(bonds: np.ndarray, _: int) -> float:
        return log_partition(bonds)

    return lattice_bonds.log_law(check_xy(template), norm, "angles have a density without noise")


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
