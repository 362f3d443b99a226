"""Toy domain with names of its own: phi^4 by Markov chains, whose draws are correlated and whose chains are not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
import xarray as xr

from physgen.domains import contract
from physgen.lattice import Draws

LAMBDA = 0.5


@dataclass(frozen=True)
class Domain(contract.Domain):
    r""":math:`S = \sum_x [\phi^2 + \lambda(\phi^2 - 1)^2 - 2\kappa\sum_\mu \phi_x\phi_{x+\mu}]`; Metropolis."""

    name: ClassVar[str] = "phi4_chains"
    description: ClassVar[str] = "phi^4 theory in two dimensions by Markov chains"
    split_by: ClassVar[str] = "chain"
    labels: ClassVar[tuple[str, ...]] = ("kappa",)
    exchangeable: ClassVar[tuple[str, ...]] = ("draw",)

    length: int = field(default=8, metadata={"help": "sites along each side", "min": 2})
    chains: int = field(default=20, metadata={"help": "independent chains, each with a kappa of its own", "min": 3})
    draws: int = field(default=6, metadata={"help": "configurations of a chain", "min": 1})
    sweeps: int = field(default=2, metadata={"help": "sweeps between two of them: few, they are correlated", "min": 1})
    kappa: tuple[float, ...] = field(default=(0.18, 0.22), metadata={"help": "smallest and largest hopping parameter"})

    def simulate(self, seed: int, processes: int = 1, progress: Callable[[int, int], None] | None = None) -> xr.Dataset:
        rng, kept = np.random.default_rng(seed), []
        kappa = rng.permutation(np.linspace(*self.kappa, self.chains))
        phi = rng.standard_normal((self.chains, self.length, self.length))
        colour = np.indices(phi.shape[1:]).sum(axis=0) % 2
        for sweep in range(30 + self.draws * self.sweeps):
            for parity in (0, 1):
                around = sum(np.roll(phi, shift, axis) for shift in (-1, 1) for axis in (1, 2))
                new = phi + rng.uniform(-1.5, 1.5, phi.shape)
                pull = 2 * kappa[:, None, None] * around
                before, after = (p**2 + LAMBDA * (p**2 - 1) ** 2 - pull * p for p in (phi, new))
                phi = np.where((colour == parity) & (rng.random(phi.shape) < np.exp(before - after)), new, phi)
            if sweep >= 30 and (sweep - 30) % self.sweeps == 0:
                kept.append(phi.astype(np.float32))
        sites = {d: (d, 0.1 * np.arange(self.length), {"units": "fm"}) for d in ("y", "x")}
        made = xr.Dataset({"field": (("chain", "draw", "y", "x"), np.stack(kept, axis=1))}, sites)
        made = made.assign_coords(chain=np.arange(self.chains), draw=np.arange(self.draws))
        return contract.with_units(made.assign(kappa=("chain", kappa)).assign_attrs(domain=self.name), self)

    def augment(
        self,
        x: torch.Tensor,
        condition: Mapping[str, torch.Tensor],
        draws: Draws,
        constants: Mapping[str, Any] | None = None,
    ) -> tuple[torch.Tensor, Mapping[str, torch.Tensor]]:
        return x * (1 - 2 * draws.integers(2, (1, 1, 1))), condition
