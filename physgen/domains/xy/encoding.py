r"""Between an ensemble of angles and the tensors of the core.

x is the vector :math:`(\cos\theta, \sin\theta)` at each site, two components. The condition is ``channels``:
:math:`\beta J` of the 2d bonds around each site, for each space dim in order the bond up (+dim) and the bond down
(-dim), and ``labels``, :math:`\ln\beta`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from physgen.domains.lattice_bonds import couplings_of, grid_dims
from physgen.domains.quenched import around_sites, over_temperatures, sample_shape, temperature_labels
from physgen.domains.xy.lattice import check_xy, with_angles
from physgen.errors import InputError
from physgen.lattice import Draws, Moves, equal_axes, whole_numbers

if TYPE_CHECKING:
    import xarray as xr


def encoding_constants(train: xr.Dataset) -> dict[str, Any]:
    """What a network for these angles is built for; they need no scaling."""
    return {"temperatures": [float(t) for t in check_xy(train)["temperature"].values]}


def conditions(ensemble: xr.Dataset) -> dict[str, torch.Tensor]:
    r"""``labels`` (B, 1) and ``channels`` (B, 2d, \*grid); B runs over SAMPLE in C order."""
    bonds = around_sites(couplings_of(check_xy(ensemble)))
    return {"channels": over_temperatures(bonds, ensemble), "labels": temperature_labels(ensemble)}


def encode_angles(ensemble: xr.Dataset) -> torch.Tensor:
    r"""Vectors (B, 2, \*grid) float32."""
    angles = torch.from_numpy(check_xy(ensemble)["field"].values.astype(np.float64)).flatten(0, 2)
    return torch.stack([angles.cos(), angles.sin()], dim=1).to(torch.float32)


def decode_angles(x: torch.Tensor, template: xr.Dataset) -> xr.Dataset:
    r"""The directions of x (B, 2, \*grid) as angles of the template, energies recomputed from them."""
    shape = (*sample_shape(template), *(int(template.sizes[name]) for name in grid_dims(template)))
    if x.ndim != len(shape) - 1 or x[:, 0].numel() != np.prod(shape):
        raise InputError(f"{tuple(x.shape)} values do not fill a template of shape {shape}: draw as many as it asks")
    if not torch.isfinite(x).all():
        raise InputError("the sampler returned values that are not finite: train longer, or lower the learning rate")
    x = x.detach().cpu().double()
    return with_angles(template, torch.atan2(x[:, 1], x[:, 0]).reshape(shape).numpy())


def random_symmetry(
    x: torch.Tensor, condition: Mapping[str, torch.Tensor], draws: Draws, periodic: bool
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    r"""A rotation and reflection of all vectors of each sample, and where there is no seam a move of the whole lattice.

    Args:
        x: (B, 2, \*grid). condition: ``channels`` move along. periodic: along all dims.
    """
    ones = [1] * (x.ndim - 2)
    turn = (2 * math.pi * draws.uniform((1,))).to(x).reshape(-1, *ones)
    sign = (2 * draws.integers(2, (1,)) - 1).to(x).reshape(-1, *ones)
    along, across = x[:, 0], sign * x[:, 1]
    x = torch.stack([turn.cos() * along - turn.sin() * across, turn.sin() * along + turn.cos() * across], dim=1)
    if not periodic:
        return x, dict(condition)
    grid = tuple(x.shape[2:])
    orders = torch.tensor(equal_axes(grid))
    chosen, *numbers = whole_numbers(draws, [len(orders), *grid, *[2] * len(grid)])
    found = torch.stack(numbers, dim=1)
    moves = Moves(orders.to(found.device)[chosen], found[:, len(grid) :].bool(), found[:, : len(grid)])
    return moves.move(x), {**condition, "channels": moves.move_bonds(condition["channels"])}
