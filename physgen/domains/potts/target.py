r"""What training and weighing take from the law of Potts states: means to learn from, and its density up to the norm.

:math:`\ln \tilde p(s) = -\beta H(s)`, so that its norm is Z. Shapes: B batch, q states, \*grid lattice of d dims;
x and y (B, q, \*grid), channels :math:`\beta J` (B, 2d, \*grid).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from physgen.domains import lattice_bonds
from physgen.domains.cluster_means import CLUSTER_SWEEPS, cluster_means
from physgen.domains.potts.encoding import conditions
from physgen.domains.potts.lattice import check_potts
from physgen.domains.potts.strip import chain_of, solve
from physgen.errors import InputError
from physgen.lattice import neighbour

if TYPE_CHECKING:
    import xarray as xr

    Condition = Mapping[str, Tensor] | None


def log_boltzmann(template: xr.Dataset) -> Callable[[Tensor, int], Tensor]:
    r"""-beta H (b,) float64 of x (b, q, \*grid) of 0 and 1, in the bonds of a flattened sample of a template."""
    check_potts(template)
    return lattice_bonds.log_boltzmann(template)


def log_probability(template: xr.Dataset) -> Callable[[Tensor, int, float], Tensor]:
    r"""-beta H - ln Z (b,) of x like :func:`log_boltzmann`, at s = 0; NaN where layers are too wide for Z."""
    check_potts(template)

    def norm(bonds: np.ndarray, states: int) -> float:
        return solve(torch.from_numpy(bonds), states, 0, torch.Generator())[0]

    return lattice_bonds.log_law(template, norm, "states have a probability without noise")


def conditional_mean(x0: Tensor, y: Tensor, s: Tensor, condition: Condition = None) -> Tensor:
    r"""Probability of each state given y and all other sites, softmax of :math:`y_a/s^2 + \beta\sum_j J_{ij} x_{ja}`.

    Args:
        x0: of zeros and ones. y: x0 + s z. s: (B,). condition: ``channels``.
    """
    logits = y / s.reshape(-1, *[1] * (y.ndim - 1)).square()
    for direction, bonds in enumerate((condition or {})["channels"].unbind(1)):
        logits = logits + bonds[:, None] * neighbour(x0, direction, x0.ndim - 2)
    return logits.softmax(1)


def cluster_mean(x0: Tensor, y: Tensor, s: Tensor, condition: Condition = None) -> Tensor:
    """Nearly the probability of each state given y, the mean over moves of clusters from x0; arguments of
    :func:`conditional_mean`, bonds that are not negative: :func:`physgen.domains.cluster_means.cluster_means`."""
    field = y / s.reshape(-1, *[1] * (y.ndim - 1)).square()
    return cluster_means(x0.argmax(1), field, (condition or {})["channels"][:, ::2], CLUSTER_SWEEPS)


def exact_mean(x0: Tensor, y: Tensor, s: Tensor, condition: Condition = None) -> Tensor:
    """Probability of each state given y, by the transfer matrix; arguments of :func:`conditional_mean`."""
    return ExactDenoiser()(y, s, condition)


class ExactDenoiser:
    r"""Exact D(y, s, condition) for lattices that are free along the first space dim and narrow in the others.

    The posterior is that of the same model in the fields :math:`y_a/s^2`. The couplings come from
    ``condition["channels"]``; without them, from ``channels`` (1 or B, 2d, \*grid).
    """

    def __init__(self, channels: Tensor | None = None) -> None:
        self.channels = channels

    @classmethod
    def for_template(cls, template: xr.Dataset) -> ExactDenoiser:
        """The denoiser of the couplings and temperatures of an ensemble or template."""
        return cls(conditions(template)["channels"])

    def __call__(self, y: Tensor, s: Tensor, condition: Condition = None) -> Tensor:
        r"""Probabilities (B, q, \*grid) like ``y``; ``s`` (B,)."""
        channels = (condition or {}).get("channels", self.channels)
        if channels is None or len(channels) not in (1, len(y)):
            raise InputError(f'the exact denoiser needs condition["channels"] for all {len(y)} samples: pass it')
        if channels[:, 0, -1].any():
            raise InputError(
                "the exact denoiser needs a free boundary along the first dim: use boundary cylinder or free"
            )
        chain, _ = chain_of(channels[:, ::2].double(), y.shape[1])
        field = (y.double() / s.double().reshape(-1, *[1] * (y.ndim - 1)).square()).movedim(1, -1)
        found = chain.probabilities(field.reshape(len(y), y.shape[2], -1, y.shape[1]))
        return found.reshape(field.shape).movedim(-1, 1).to(y.dtype)
