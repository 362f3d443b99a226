r"""The law of spins up to its norm: :math:`\ln \tilde p(s) = -\beta H(s)`, so that its norm is Z."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch

from physgen.domains.spins.encoding import sample_shape
from physgen.domains.spins.energy import graph_energy, lattice_energy
from physgen.domains.spins.layout import check_spins, disorder_of

if TYPE_CHECKING:
    import xarray as xr


def log_boltzmann(template: xr.Dataset) -> Callable[[torch.Tensor, int], torch.Tensor]:
    r"""-beta H (b,) float64 of x (b, 1, \*grid) of +-1, in the couplings of a flattened sample of the template."""
    check_spins(template)
    disorder, shape = disorder_of(template), sample_shape(template)
    temperatures = template["temperature"].values

    def log_target(x: torch.Tensor, sample: int) -> torch.Tensor:
        instance, temperature, _ = np.unravel_index(sample, shape)
        spins, couplings = x[:, 0].detach().cpu().numpy(), disorder.couplings[instance]
        outer = None if disorder.external_field is None else disorder.external_field[instance]
        if disorder.edges is None:
            energy = lattice_energy(spins, couplings, couplings.shape[0], outer)
        else:
            energy = graph_energy(spins, disorder.edges, couplings, outer)
        sites = spins[0].size
        return torch.from_numpy(-energy * sites / float(temperatures[temperature])).to(x.device)

    return log_target
