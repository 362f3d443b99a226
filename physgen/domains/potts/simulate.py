"""Equilibrium configurations: exact where layers are narrow, else by Markov chains that show to forget their start."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from physgen.domains.lattice_bonds import forgotten_starts
from physgen.domains.potts.lattice import energy_per_site, template_of, with_colours
from physgen.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

    from physgen.domains.potts.domain import Potts

CHEAP = 3**6  # states of a layer up to which the transfer matrix is taken unasked


def simulated(
    domain: Potts, couplings: np.ndarray, seed: int, progress: Callable[[int, int], None] | None = None
) -> xr.Dataset:
    r"""An ensemble in bonds (D, d, \*grid), units of J, by the method of the domain.

    Raises:
        InputError: layers too wide for the transfer matrix, clusters of negative bonds, or chains whose starts still
            show.
    """
    method = _method(domain, couplings)
    temperatures = np.array(domain.temperatures)
    total = len(couplings) * len(temperatures)
    drawn = np.empty((len(couplings), len(temperatures), domain.replicas, *couplings.shape[2:]), dtype=np.int8)
    attrs: dict[str, Any] = {"method": method, "seed": int(seed)}
    log_partition = np.full(drawn.shape[:2], np.nan)
    for i, bonds in enumerate(couplings):
        for t, temperature in enumerate(temperatures):
            if method == "transfer_matrix":
                log_partition[i, t], drawn[i, t] = _exact(domain, bonds, temperature, [seed, i, t])
            else:
                drawn[i, t] = _chains(domain, bonds / temperature, [seed, i, t], method == "cluster")
            if progress is not None:
                progress(i * len(temperatures) + t + 1, total)
    template = template_of(couplings, domain.states, temperatures, domain.replicas, attrs)
    if method != "transfer_matrix":
        energies = energy_per_site(drawn, couplings)
        return with_colours(
            template.assign_attrs(equilibration=forgotten_starts(energies, temperatures, domain.sweeps)), drawn
        )
    told = {"long_name": "ln of the partition function, exact", "units": "1", "is_condition": 0}
    template["log_partition"] = (("disorder", "temperature"), log_partition, told)
    return with_colours(template, drawn)


def _method(domain: Potts, couplings: np.ndarray) -> str:
    from physgen.domains.potts.strip import check_states

    ring, width = bool(np.any(couplings[:, 0, -1])), int(np.prod(couplings.shape[3:]))
    negative = bool((couplings < 0).any())
    if domain.method == "auto":
        if domain.states**width <= CHEAP:
            return "transfer_matrix"
        return "heat_bath" if negative else "cluster"
    if domain.method == "transfer_matrix":
        check_states(domain.states, width, ring)
    if domain.method == "cluster" and negative:
        raise InputError("clusters need couplings that are not negative: use method heat_bath, or transfer_matrix")
    return domain.method


def _exact(domain: Potts, bonds: np.ndarray, temperature: float, numbers: list[int]) -> tuple[float, np.ndarray]:
    from physgen.domains.potts.strip import solve

    generator = torch.Generator().manual_seed(int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1))
    known = torch.from_numpy(bonds.astype(np.float64) / temperature)
    log_z, found = solve(known, domain.states, domain.replicas, generator)
    return log_z, found.numpy()


def _chains(domain: Potts, bonds: np.ndarray, numbers: list[int], clusters: bool) -> np.ndarray:
    from physgen.domains.potts.clusters import chain

    generators = [np.random.default_rng([*numbers, replica]) for replica in range(domain.replicas)]
    cold = [bool(replica % 2) for replica in range(domain.replicas)]
    return np.stack([
        chain(bonds, domain.states, domain.sweeps, start, clusters, rng)
        for start, rng in zip(cold, generators, strict=True)
    ])  # fmt: skip
