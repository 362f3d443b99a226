"""An ensemble of spins as the arrays that identities are measured on, with its weights and independent units.

Legend: D disorder instances, T temperatures, R replicas, N spins, M bonds.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from physgen.diagnostics.identity import Identity
from physgen.domains.spins.averages import normalised, pair_mean, thermal_mean
from physgen.domains.spins.couplings import lattice_edges
from physgen.domains.spins.layout import SAMPLE, Disorder, check_spins, disorder_of, energy_of, instance_digests
from physgen.domains.spins.measurement import temperatures_of
from physgen.domains.spins.planted import PLANTED
from physgen.ensemble import LOG_WEIGHT

if TYPE_CHECKING:
    import xarray as xr

LONGEST_TAIL = 0.7  # Pareto shape of the weights above which no mean of them is known
SMALLEST = 1e-12  # a yardstick below it would divide by nothing


@dataclass(frozen=True)
class Sampled:
    r"""An ensemble as arrays; without weights ``weights`` is None.

    Attributes:
        spins: (D, T, R, \*grid) int8.
        disorder: the couplings.
        temperatures: (T,).
        weights: (D, T, R) of mean 1 over replicas, or None.
        apart: (R, R) which pairs of replicas are of different chains.
        withheld: for each temperature why it cannot be decided, or "".
        unit: (D,) number of the independent unit of each instance.
        planted: (D, \*grid) or None.
    """

    spins: np.ndarray
    disorder: Disorder
    temperatures: np.ndarray
    weights: np.ndarray | None
    apart: np.ndarray
    withheld: tuple[str, ...]
    unit: np.ndarray
    planted: np.ndarray | None

    @property
    def count(self) -> int:
        """Number of spins N."""
        return int(np.prod(self.spins.shape[3:]))

    @property
    def replicas(self) -> int:
        """Configurations of each law."""
        return int(self.spins.shape[2])

    @cached_property
    def flat(self) -> np.ndarray:
        """(D, T, R, N)."""
        return self.spins.reshape(*self.spins.shape[:3], -1)

    @cached_property
    def edges(self) -> np.ndarray:
        """(M, 2), in the order of :attr:`bonds`."""
        return lattice_edges(self.spins.shape[3:]) if self.disorder.edges is None else self.disorder.edges

    @cached_property
    def bonds(self) -> np.ndarray:
        """Couplings (D, M)."""
        return self.disorder.couplings.reshape(len(self.spins), -1)

    @cached_property
    def energy(self) -> np.ndarray:
        """Energy per spin (D, T, R)."""
        return energy_of(self.spins, self.disorder)

    def weights_at(self, level: int, instance: int | None = None) -> np.ndarray | None:
        """Weights (D, R) at one temperature, or (R,) of one instance."""
        if self.weights is None:
            return None
        return self.weights[:, level] if instance is None else self.weights[instance, level]

    def mean(self, values: np.ndarray) -> np.ndarray:
        """Thermal mean (D, T) of values (D, T, R)."""
        return thermal_mean(values, self.weights)

    def pairs(self, pairs: np.ndarray, level: int) -> np.ndarray:
        """Mean over pairs of replicas (D,) at one temperature, of (D, R, R)."""
        return pair_mean(pairs, self.weights_at(level), self.apart)

    def row(
        self, name: str, level: int, deviation: np.ndarray, value: float, expected: float, yardstick: float,
        tolerance: float, of: str, units: str = "J", where: str = "", withheld: str = "",
        power: int = 1,
    ) -> Identity:  # fmt: skip
        """An identity at a temperature from the deviations (D,) of the instances."""
        total = np.bincount(self.unit, weights=deviation)
        deviations = total * len(total) / len(self.unit)
        where = where or f"T = {self.temperatures[level]:g}"
        scale = max(abs(float(yardstick)), SMALLEST)
        return Identity(
            name, where, deviations, float(value), float(expected), scale, tolerance, of, units,
            withheld or self.withheld[level], power,
        )  # fmt: skip


def sampled(ensemble: xr.Dataset) -> Sampled:
    """The arrays of an ensemble; instances of equal couplings are one unit.

    Raises InputError where it is no ensemble of spins with couplings and temperatures.
    """
    check_spins(ensemble)
    disorder, weights = disorder_of(ensemble), None
    withheld = [""] * ensemble.sizes["temperature"]
    if LOG_WEIGHT in ensemble:
        weights = normalised(ensemble[LOG_WEIGHT].transpose(*SAMPLE).values.astype(np.float64))
        if "tail" in ensemble:
            withheld = _heavy_tails(
                ensemble["tail"].broadcast_like(ensemble[LOG_WEIGHT]).transpose(*SAMPLE).values[..., 0]
            )
    replicas = ensemble.sizes["replica"]
    apart = 1.0 - np.eye(replicas)
    if "chain" in ensemble.variables and ensemble["chain"].dims == ("replica",):
        chains = ensemble["chain"].values
        apart = (chains[:, None] != chains[None, :]).astype(float)
    planted = ensemble[PLANTED].values if PLANTED in ensemble else None
    unit = np.unique(instance_digests(ensemble), return_inverse=True)[1]
    return Sampled(
        ensemble["field"].values, disorder, temperatures_of(ensemble), weights, apart, tuple(withheld), unit, planted
    )  # fmt: skip


def _heavy_tails(tail: np.ndarray) -> list[str]:
    """For each temperature what the tails (D, T) of the weights withhold."""
    found = []
    for shapes in tail.T:
        bad = int(np.sum(~(shapes <= LONGEST_TAIL)))
        few = (
            f"the weights of {bad} of {len(shapes)} instances have too heavy a tail (Pareto shape above {LONGEST_TAIL})"
        )
        found.append(few if bad else "")
    return found
