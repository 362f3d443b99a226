r"""What training and weighing take from the law of spins: means to learn from, and its density up to the norm.

:math:`\ln \tilde p(s) = -\beta H(s)`, so that its norm is Z.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import torch

from physgen.domains.quenched import sample_shape
from physgen.domains.spins.denoiser import TransferMatrixDenoiser
from physgen.domains.spins.enumeration import enumerate_graph
from physgen.domains.spins.exact import log_partition
from physgen.domains.spins.layout import Disorder, check_spins, disorder_of, energy_of
from physgen.domains.spins.posterior_sweeps import of_neighbours, own_fields
from physgen.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

    Condition = Mapping[str, torch.Tensor] | None


def log_boltzmann(template: xr.Dataset) -> Callable[[torch.Tensor, int], torch.Tensor]:
    r"""-beta H (b,) float64 of x (b, 1, \*grid) of +-1, in the couplings of a flattened sample of the template."""
    check_spins(template)
    disorder, shape = disorder_of(template), sample_shape(template)
    temperatures = template["temperature"].values

    def log_target(x: torch.Tensor, sample: int) -> torch.Tensor:
        instance, temperature, _ = np.unravel_index(sample, shape)
        spins, one = x[:, 0].detach().cpu().numpy(), slice(instance, instance + 1)
        outer = None if disorder.external_field is None else disorder.external_field[one]
        levels = None if disorder.levels is None else disorder.levels[one]
        alone = Disorder(disorder.couplings[one], disorder.edges, outer, levels)
        energy = energy_of(spins[None, None], alone)[0, 0]
        return torch.from_numpy(-energy * spins[0].size / float(temperatures[temperature])).to(x.device)

    return log_target


def log_boltzmann_given(x: torch.Tensor, condition: Condition) -> torch.Tensor:
    r""":math:`-\beta H = \beta \sum_{ij} J_{ij} x_i x_j + \beta \sum_i h_i x_i` (B,) of x (B, 1, \*grid) of +-1.

    Args:
        condition: ``channels``, or ``matrix``, or ``edges`` and ``bonds``; and ``field`` where there is one; of each x.
    """
    pairs = x * of_neighbours(condition, x.shape[-1])(x) / 2  # each bond is met from both ends
    outer = (condition or {}).get("field")
    energy = pairs if outer is None else pairs + x * outer.reshape(x.shape)
    return energy.flatten(1).double().sum(1)


def log_probability(template: xr.Dataset) -> Callable[[torch.Tensor, int, float], torch.Tensor]:
    r"""-beta H - ln Z (b,) of x like :func:`log_boltzmann`, at s = 0; NaN where the system is too large for Z."""
    log_target, shape, disorder = log_boltzmann(template), sample_shape(template), disorder_of(template)
    temperatures = template["temperature"].values

    @cache
    def log_norm(instance: int, temperature: int) -> float:
        outer = None if disorder.external_field is None else disorder.external_field[instance]
        couplings, heat = disorder.couplings[instance], float(temperatures[temperature])
        try:
            if disorder.edges is None:
                return log_partition(couplings, heat, outer)[0]
            spins = int(template.sizes["site"])
            return enumerate_graph(spins, disorder.edges, couplings, heat, outer).log_partition
        except InputError:
            return math.nan

    def log_law(x: torch.Tensor, sample: int, s: float) -> torch.Tensor:
        if s:
            raise ValueError(f"spins have a probability without noise, got s = {s}: give 0")
        instance, temperature, _ = np.unravel_index(sample, shape)
        return log_target(x, sample) - log_norm(int(instance), int(temperature))

    return log_law


def conditional_mean(x0: torch.Tensor, y: torch.Tensor, s: torch.Tensor, condition: Condition = None) -> torch.Tensor:
    r""":math:`E[\sigma_i | y, \sigma_{j \ne i}] = \tanh(y_i/s^2 + \beta \sum_j J_{ij} \sigma_j)`, Callen's identity.

    Args:
        x0: (B, 1, \*grid) of +-1. y: x0 + s z. s: (B,). condition: ``channels``, or ``matrix``, or ``edges`` and
            ``bonds``; and ``field`` where there is one.
    """
    return torch.tanh(own_fields(y, s, condition) + of_neighbours(condition, x0.shape[-1])(x0))


def exact_mean(x0: torch.Tensor, y: torch.Tensor, s: torch.Tensor, condition: Condition = None) -> torch.Tensor:
    r""":math:`E[\sigma | y]` by the transfer matrix; arguments of :func:`conditional_mean`."""
    return TransferMatrixDenoiser()(y, s, condition)
