r"""The law of spins up to its norm: :math:`\ln \tilde p(s) = -\beta H(s)`, so that its norm is Z."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch

from physgen.domains.spins.encoding import sample_shape
from physgen.domains.spins.layout import Disorder, check_spins, disorder_of, energy_of

if TYPE_CHECKING:
    import xarray as xr


def log_boltzmann(template: xr.Dataset) -> Callable[[torch.Tensor, int], torch.Tensor]:
    r"""-beta H (b,) float64 of x (b, 1, \*grid) of +-1, in the couplings of a flattened sample of the template."""
    check_spins(template)
    disorder, shape = disorder_of(template), sample_shape(template)
    temperatures = template["temperature"].values

    def log_target(x: torch.Tensor, sample: int) -> torch.Tensor:
        instance, temperature, _ = np.unravel_index(sample, shape)
        spins, one = x[:, 0].detach().cpu().numpy(), slice(instance, instance + 1)
        outer = None if disorder.external_field is None else disorder.external_field[one]
        energy = energy_of(spins[None, None], Disorder(disorder.couplings[one], disorder.edges, outer))[0, 0]
        return torch.from_numpy(-energy * spins[0].size / float(temperatures[temperature])).to(x.device)

    return log_target
