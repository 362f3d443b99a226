r"""Between an ensemble of Potts states and the tensors of the core.

x is a vector of q components at each site, one for its state and zero else. The condition is ``channels``:
:math:`\beta J` of the 2d bonds around each site, for each space dim in order the bond up (+dim) and the bond down
(-dim), and ``labels``, :math:`\ln\beta`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from physgen.domains.lattice_bonds import requested, streams_of_bonds
from physgen.domains.potts.lattice import (
    STATES,
    check_potts,
    couplings_of,
    grid_dims,
    states_of,
    with_colours,
)
from physgen.domains.quenched import (
    around_sites,
    over_temperatures,
    sample_shape,
    temperature_labels,
)
from physgen.errors import InputError
from physgen.lattice import Draws, Moves, equal_axes, whole_numbers

if TYPE_CHECKING:
    import xarray as xr


def encoding_constants(train: xr.Dataset) -> dict[str, Any]:
    """What a network for these states is built for; they need no scaling."""
    check_potts(train)
    return {STATES: states_of(train), "temperatures": [float(t) for t in train["temperature"].values]}


def conditions(ensemble: xr.Dataset) -> dict[str, torch.Tensor]:
    r"""``labels`` (B, 1) and ``channels`` (B, 2d, \*grid); B runs over SAMPLE in C order."""
    check_potts(ensemble)
    bonds = around_sites(couplings_of(ensemble))
    return {"channels": over_temperatures(bonds, ensemble), "labels": temperature_labels(ensemble)}


def encode_states(ensemble: xr.Dataset) -> torch.Tensor:
    r"""Vectors (B, q, \*grid) float32."""
    colours = torch.from_numpy(check_potts(ensemble)["field"].values.astype(np.int64)).flatten(0, 2)
    return torch.nn.functional.one_hot(colours, states_of(ensemble)).movedim(-1, 1).to(torch.float32)


def decode_states(x: torch.Tensor, template: xr.Dataset) -> xr.Dataset:
    r"""The largest component of x (B, q, \*grid) as states of the template, energies recomputed from them."""
    shape = (*sample_shape(template), *(int(template.sizes[name]) for name in grid_dims(template)))
    if x.ndim != len(shape) - 1 or x[:, 0].numel() != np.prod(shape):
        raise InputError(f"{tuple(x.shape)} values do not fill a template of shape {shape}: draw as many as it asks")
    if not torch.isfinite(x).all():
        raise InputError("the sampler returned values that are not finite: train longer, or lower the learning rate")
    return with_colours(template, x.detach().cpu().argmax(1).reshape(shape).numpy())


def request_states(
    like: xr.Dataset, n: int, given: Mapping[str, float], constants: Mapping[str, Any] | None = None
) -> xr.Dataset:
    """A template of ``n`` replicas for each instance and temperature of ``like``.

    A ``temperature`` that is given lies within those of the training part (``constants``), or outside by at most
    a share of their range.
    """
    template = check_potts(requested(like, n, given, constants))
    if constants and states_of(like) != constants[STATES]:
        raise InputError(
            f"sites of {states_of(like)} states were asked for, the network was trained on {constants[STATES]}: "
            "train one for these"
        )
    return template


def sample_streams(template: xr.Dataset) -> np.ndarray:
    """Number (B,) of the noise stream of each sample, :func:`physgen.domains.quenched.numbers_of_streams`."""
    return streams_of_bonds(template, b"physgen-potts")


def random_symmetry(
    x: torch.Tensor, condition: Mapping[str, torch.Tensor], draws: Draws, periodic: bool
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    r"""A permutation of the states of each sample, and where the lattice has no seam a move of the whole lattice.

    Args:
        x: (B, q, \*grid). condition: ``channels`` move along. periodic: along all dims.
    """
    order = draws.uniform((x.shape[1],)).argsort(1).to(x.device)
    x = x.gather(1, order.reshape(*order.shape, *[1] * (x.ndim - 2)).expand_as(x))
    if not periodic:
        return x, dict(condition)
    grid = tuple(x.shape[2:])
    orders = torch.tensor(equal_axes(grid))
    chosen, *numbers = whole_numbers(draws, [len(orders), *grid, *[2] * len(grid)])
    found = torch.stack(numbers, dim=1)
    moves = Moves(orders.to(found.device)[chosen], found[:, len(grid) :].bool(), found[:, : len(grid)])
    return moves.move(x), {**condition, "channels": moves.move_bonds(condition["channels"])}
