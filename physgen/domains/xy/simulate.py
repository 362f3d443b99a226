"""Equilibrium configurations of angles, by Markov chains that show to forget their start."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from physgen.domains.lattice_bonds import forgotten_starts
from physgen.domains.xy.chains import chain
from physgen.domains.xy.lattice import energy_per_site, template_of, with_angles

if TYPE_CHECKING:
    import xarray as xr

    from physgen.domains.xy.domain import XY


def simulated(
    domain: XY, couplings: np.ndarray, seed: int, progress: Callable[[int, int], None] | None = None
) -> xr.Dataset:
    r"""An ensemble in bonds (D, d, \*grid), units of J: each configuration ends a chain of its own.

    Raises InputError where cold and hot starts still differ at the end.
    """
    temperatures = np.array(domain.temperatures)
    drawn = np.empty((len(couplings), len(temperatures), domain.replicas, *couplings.shape[2:]))
    for i, bonds in enumerate(couplings):
        for t, temperature in enumerate(temperatures):
            for replica in range(domain.replicas):
                rng = np.random.default_rng([int(seed), i, t, replica])
                drawn[i, t, replica] = chain(bonds / temperature, domain.sweeps, bool(replica % 2), rng)
            if progress is not None:
                progress(i * len(temperatures) + t + 1, len(couplings) * len(temperatures))
    told = forgotten_starts(energy_per_site(drawn, couplings), temperatures, domain.sweeps)
    template = template_of(couplings, temperatures, domain.replicas, {"seed": int(seed), "equilibration": told})
    return with_angles(template, drawn)
