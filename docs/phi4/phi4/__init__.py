r"""Lattice scalar field theory in two dimensions, by hybrid Monte Carlo.

.. math:: S[\phi] = \sum_x \Big[ \phi_x^2 + \lambda (\phi_x^2 - 1)^2 - 2 \kappa \sum_\mu \phi_x \phi_{x + \mu} \Big],
   \qquad p[\phi] \propto e^{-S[\phi]}

on a periodic square lattice. At lambda = 0 the field is Gaussian with P(k) = 1/(2 - 4 kappa sum_mu cos k_mu).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
import xarray as xr

from physgen.domains import contract
from physgen.errors import InputError
from physgen.lattice import Draws, random_moves


@dataclass(frozen=True)
class Domain(contract.Domain):
    """Independent chains, each at a kappa of its own; successive draws of one chain are correlated."""

    name: ClassVar[str] = "phi4"
    description: ClassVar[str] = "phi^4 theory on a periodic square lattice, labelled by the hopping parameter kappa"
    split_by: ClassVar[str] = "chain"  # what is independent: data are split by it, errors are taken over it
    exchangeable: ClassVar[tuple[str, ...]] = ("draw",)  # averaged within a chain
    labels: ClassVar[tuple[str, ...]] = ("kappa",)

    length: int = field(default=8, metadata={"help": "sites along each side", "min": 4})
    kappa: tuple[float, float] = field(default=(0.18, 0.24), metadata={"help": "range of the hopping parameter"})
    coupling: float = field(default=0.5, metadata={"help": "lambda of the quartic term", "min": 0.0})
    chains: int = field(default=60, metadata={"help": "independent Markov chains", "min": 3})
    draws: int = field(default=8, metadata={"help": "configurations of each chain", "min": 1})
    between: int = field(default=5, metadata={"help": "trajectories between two draws", "min": 1})
    thermalization: int = field(default=200, metadata={"help": "trajectories before the first draw", "min": 0})

    def __post_init__(self) -> None:
        low, high = self.kappa
        if not 0 <= low <= high < 0.25 + 10 * self.coupling:
            raise InputError(f"kappa = {list(self.kappa)} must be a range below 1/4 at lambda = 0: lower it")

    def simulate(self, seed: int, processes: int = 1, progress: Callable[[int, int], None] | None = None) -> xr.Dataset:
        """All chains at once; the chain is the unit that is independent."""
        random = np.random.default_rng(seed)
        kappa = random.permutation(np.linspace(*self.kappa, self.chains))
        phi = random.normal(size=(self.chains, self.length, self.length))
        kept = []
        for step in range(self.thermalization + self.draws * self.between):
            phi = self._trajectory(phi, kappa[:, None, None], random)
            if step >= self.thermalization and (step - self.thermalization) % self.between == self.between - 1:
                kept.append(phi.astype(np.float32))
                if progress:
                    progress(len(kept), self.draws)
        made = xr.Dataset(
            {"field": (("chain", "draw", "y", "x"), np.stack(kept, axis=1)), "kappa": ("chain", kappa)},
            attrs={"domain": self.name, "coupling": self.coupling, "seed": seed},
        )
        return contract.with_units(made, self)

    def _action(self, phi: np.ndarray, kappa: np.ndarray) -> np.ndarray:
        neighbours = np.roll(phi, -1, 1) + np.roll(phi, -1, 2)
        return (phi**2 + self.coupling * (phi**2 - 1) ** 2 - 2 * kappa * phi * neighbours).sum((1, 2))

    def _force(self, phi: np.ndarray, kappa: np.ndarray) -> np.ndarray:
        around = sum(np.roll(phi, shift, axis) for shift in (-1, 1) for axis in (1, 2))
        return 2 * kappa * around - 2 * phi - 4 * self.coupling * phi * (phi**2 - 1)

    def _trajectory(self, phi: np.ndarray, kappa: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """One unit of time by ten leapfrog steps, accepted or not in each chain: exact for any step."""
        steps, momentum = 10, random.normal(size=phi.shape)
        energy = self._action(phi, kappa) + 0.5 * (momentum**2).sum((1, 2))
        new, moving = phi, momentum + 0.5 / steps * self._force(phi, kappa)
        for i in range(steps):
            new = new + moving / steps
            moving = moving + (1.0 if i < steps - 1 else 0.5) / steps * self._force(new, kappa)
        change = self._action(new, kappa) + 0.5 * (moving**2).sum((1, 2)) - energy
        accepted = random.random(len(phi)) < np.exp(-np.maximum(change, 0))
        return np.where(accepted[:, None, None], new, phi)

    def augment(
        self, x: torch.Tensor, condition: Any, draws: Draws, constants: Mapping[str, Any] | None = None
    ) -> tuple[torch.Tensor, Any]:
        """The symmetries of the action: shifts, rotations and reflections of the lattice, and the sign of the field."""
        moved = random_moves(x.shape[2:], draws).move(x)
        return moved * (2 * draws.integers(2, (1, 1, 1)) - 1), condition
