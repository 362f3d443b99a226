"""Toy domain without any condition: a Gaussian field on a ring, a torus or a 3-torus, with one or more components.

Its sample dim is not called sample.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
import xarray as xr

from physgen.diagnostics import memorization, moments, power_spectrum
from physgen.domains import contract
from physgen.lattice import Draws


@dataclass(frozen=True)
class Domain(contract.Domain):
    """White noise filtered by 1/(1 + |n|), n the whole wave numbers."""

    name: ClassVar[str] = "ring"
    description: ClassVar[str] = "Gaussian field on a ring, unconditional"
    split_by: ClassVar[str] = "configuration"

    cells: int = field(default=16, metadata={"help": "cells along each side", "min": 2})
    dimension: int = field(default=1, metadata={"help": "space dimensions", "min": 1, "max": 3})
    components: int = field(default=1, metadata={"help": "independent components of the field", "min": 1})
    count: int = field(default=60, metadata={"help": "configurations", "min": 3})

    def simulate(self, seed: int, processes: int = 1, progress: Callable[[int, int], None] | None = None) -> xr.Dataset:
        axes = tuple(range(2, 2 + self.dimension))
        white = np.random.default_rng(seed).standard_normal((self.count, self.components, *[self.cells] * len(axes)))
        n = np.meshgrid(*[np.fft.fftfreq(self.cells, 1 / self.cells)] * len(axes), indexing="ij")
        filtered = np.fft.ifftn(np.fft.fftn(white, axes=axes) / (1 + np.sqrt(sum(np.square(n)))), axes=axes).real
        space, cells = ("z", "y", "x")[-len(axes) :], np.arange(self.cells) + 0.5
        made = xr.Dataset({"field": (("configuration", "component", *space), filtered.astype(np.float32))})
        made = made.assign_coords({dim: (dim, cells, {"units": "rad"}) for dim in space})
        made = made.assign_coords(configuration=np.arange(self.count)).assign_attrs(domain=self.name)
        return contract.with_units(made, self)

    def augment(
        self,
        x: torch.Tensor,
        condition: Mapping[str, torch.Tensor],
        draws: Draws,
        constants: Mapping[str, Any] | None = None,
    ) -> tuple[torch.Tensor, Mapping[str, torch.Tensor]]:
        return x * (1 - 2 * draws.integers(2, [1] * (x.ndim - 1))), condition

    def diagnostics(self) -> dict[str, Callable[[xr.Dataset], xr.Dataset]]:
        return {"power_spectrum": power_spectrum, "moments": moments}

    def memorization(
        self, generated: xr.Dataset, train: xr.Dataset, heldout: xr.Dataset, **judged: float
    ) -> xr.Dataset:
        return memorization(generated, train, heldout, similarity="euclidean", **judged)
