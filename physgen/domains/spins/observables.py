r"""What weighted draws of spins are averaged over: energy, magnetization, overlap of two of them.

The overlap moment needs no N^2 correlations: over pairs of different draws a, b of one instance and temperature,
:math:`\langle q_{ab}^2\rangle = \frac1{N^2}\sum_{ij}\langle s_i s_j\rangle^2`, without bias.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from physgen.domains.contract import Observable, PairObservable
from physgen.domains.spins.layout import disorder_of, energy_of
from physgen.domains.spins.measurement import spins_of

if TYPE_CHECKING:
    import xarray as xr


def spin_observables(ensemble: xr.Dataset) -> list[Observable | PairObservable]:
    r"""``energy`` per spin (J), ``magnetization`` :math:`|m|`, ``magnetization_squared`` :math:`m^2` and, of pairs,
    ``overlap_squared`` :math:`q^2`, with m the mean spin and q the mean product of the spins of two configurations."""
    spins = spins_of(ensemble)
    flat = spins.reshape(-1, spins.shape[-1])
    energies = energy_of(ensemble["field"].values, disorder_of(ensemble)).reshape(-1)
    magnetizations = flat.mean(axis=1, dtype=np.float64)

    def overlap_squared(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
        # sums of +-1 are whole numbers, which float32 holds
        products = flat[rows].astype(np.float32) @ flat[others].astype(np.float32).T
        return np.square(products.astype(np.float64) / flat.shape[1])

    return [
        Observable("energy", "energy per spin", "J", lambda rows: energies[rows]),
        Observable(
            "magnetization", "modulus of the magnetization per spin", "1", lambda rows: np.abs(magnetizations[rows])
        ),
        Observable(
            "magnetization_squared", "square of the magnetization per spin", "1", lambda rows: magnetizations[rows] ** 2
        ),
        PairObservable("overlap_squared", "square of the overlap of two configurations", "1", overlap_squared),
    ]
